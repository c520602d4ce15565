//! Shell commands of the laboratory.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::ctx::Stop;
use crate::lab::Lab;

/// After an interruption a hook that is undone anyhow has so long to come to its end.
const GRACE: Duration = Duration::from_secs(10);
/// So long what is ended by force may take.
const FORCED: Duration = Duration::from_secs(3);

/// How a hook came to its end.
#[derive(Debug)]
enum End {
    Itself(ExitStatus),
    Forced,
    /// It is somebody else's, such as root's, or hangs in the kernel.
    Not,
}

/// Runs a hook to its end, or to that of its time, even after an interruption: the laboratory must not be left half changed.
/// Its output is not ours to show.
pub(crate) fn run(lab: &Lab, name: &str) -> Result<(), Stop> {
    let until = Instant::now() + lab.config.limits.hook();
    perform(lab, name, || until)
}

/// The same of one that another hook undoes: after an interruption it is not waited for much longer.
fn run_undone(lab: &Lab, name: &str) -> Result<(), Stop> {
    let until = Instant::now() + lab.config.limits.hook();
    let mut hurried = None;
    perform(lab, name, || match lab.interrupted.load(Ordering::SeqCst) {
        true => until.min(*hurried.get_or_insert_with(|| Instant::now() + GRACE)),
        false => until,
    })
}

fn perform(lab: &Lab, name: &str, until: impl FnMut() -> Instant) -> Result<(), Stop> {
    let command = lab.config.hooks.get(name).ok_or_else(|| Stop::Skip(format!("no hook {name}")))?;
    let began = Instant::now();
    // A group of its own: what it started ends with it, and Ctrl-C does not reach it.
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| Stop::Error(format!("hook {name}: {error}")))?;
    let end = ended(child, until, kill);
    let limit = lab.config.limits.hook();
    let why = match end {
        End::Itself(status) if status.success() => return Ok(()),
        End::Itself(status) => format!("{status}"),
        End::Forced | End::Not => {
            let what = match end {
                End::Not => "could not be ended (does it run as somebody else?)",
                _ => "was ended, with all that it had started",
            };
            match began.elapsed() < limit {
                true => format!("when the run was interrupted, it did not end and {what}"),
                false => format!("it did not end within {} s and {what}; raise limits.hook_s?", limit.as_secs_f64()),
            }
        }
    };
    Err(Stop::Inconclusive(format!("hook {name}: {why}")))
}

/// Waits so long for the end; then all processes of the group are ended. One that ends by itself may leave others running,
/// such as the KME that it has started.
fn ended(mut child: Child, until: impl FnMut() -> Instant, kill: impl Fn(&Child)) -> End {
    if let Some(status) = wait(&mut child, until) {
        return End::Itself(status);
    }
    kill(&child);
    let forced = Instant::now() + FORCED;
    wait(&mut child, || forced).map_or(End::Not, |_| End::Forced)
}

fn wait(child: &mut Child, mut until: impl FnMut() -> Instant) -> Option<ExitStatus> {
    let mut nap = Duration::from_millis(2);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let left = until().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::sleep(nap.min(left));
        nap = (nap * 2).min(Duration::from_millis(50));
    }
}

/// Ends all processes of its group, as far as that is permitted.
fn kill(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Does something between two hooks. The second one is run whatever happens.
pub(crate) fn between<T>(lab: &Lab, first: &str, last: &str, within: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    let outcome = run_undone(lab, first).and_then(|()| within());
    let undone = run(lab, last);
    let outcome = outcome?;
    undone.map(|()| outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(command: &str) -> Child {
        Command::new("sh").args(["-c", command]).process_group(0).spawn().expect("a shell")
    }

    fn shell(command: &str, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        match ended(sh(command), || until, kill) {
            End::Itself(status) => Some(status),
            _ => None,
        }
    }

    #[test]
    fn what_cannot_be_ended_holds_nobody_up() {
        let began = Instant::now();
        // As if it were not permitted.
        let end = ended(sh("exec sleep 20"), Instant::now, |_| {});
        assert!(matches!(end, End::Not), "{end:?}");
        assert!(began.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn what_does_not_end_is_ended_with_all_its_processes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("alive");
        let began = Instant::now();
        // The inner one would write when the outer one is long gone.
        let command = format!("(sleep 1; touch '{}') & sleep 1000", file.display());
        assert!(shell(&command, Duration::from_millis(200)).is_none());
        assert!(began.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(1500));
        assert!(!file.exists(), "a process of the hook outlived it");
    }

    #[test]
    fn what_ends_in_time_may_leave_something_running() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("alive");
        let command = format!("(sleep 0.3; touch '{}') & exit 3", file.display());
        let status = shell(&command, Duration::from_secs(60)).expect("an end");
        assert_eq!(status.code(), Some(3));
        let until = Instant::now() + Duration::from_secs(20);
        while !file.exists() && Instant::now() < until {
            thread::sleep(Duration::from_millis(50));
        }
        assert!(file.exists());
    }
}
