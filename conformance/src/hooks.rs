//! Shell commands of the laboratory.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::ctx::Stop;
use crate::lab::Lab;

/// Runs a hook to its end, or to that of its time; its output is not ours to show.
pub(crate) fn run(lab: &Lab, name: &str) -> Result<(), Stop> {
    let command = lab.config.hooks.get(name).ok_or_else(|| Stop::Skip(format!("no hook {name}")))?;
    let limit = lab.config.limits.hook();
    // A group of its own: what it started ends with it, and Ctrl-C does not leave the laboratory half changed.
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| Stop::Error(format!("hook {name}: {error}")))?;
    match ended(child, limit) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Stop::Inconclusive(format!("hook {name}: {status}"))),
        None => Err(Stop::Inconclusive(format!(
            "hook {name}: it did not end within {} s and was ended, with all that it had started; raise limits.hook_s?",
            limit.as_secs_f64()
        ))),
    }
}

/// Waits so long for the end; then all processes of the group are ended. One that ends by itself may leave others running,
/// such as the KME that it has started.
fn ended(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    let mut nap = Duration::from_millis(2);
    while Instant::now() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(nap.min(until.saturating_duration_since(Instant::now())));
        nap = (nap * 2).min(Duration::from_millis(50));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    None
}

/// Does something between two hooks. The second one is run whatever happens: the laboratory has to be as it was.
pub(crate) fn between<T>(lab: &Lab, first: &str, last: &str, within: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    let outcome = run(lab, first).and_then(|()| within());
    let undone = run(lab, last);
    let outcome = outcome?;
    undone.map(|()| outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(command: &str, limit: Duration) -> Option<ExitStatus> {
        ended(Command::new("sh").args(["-c", command]).process_group(0).spawn().expect("a shell"), limit)
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
