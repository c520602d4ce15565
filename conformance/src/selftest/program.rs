//! The program of faulty KMEs, as an external process that is ended and reaped whatever happens.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// What is planted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Fault {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// What is expected of the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// One deviation: the cases for it fail.
    Mutant,
    /// Odd, and conforming: none fails.
    Variant,
    /// Wants to harm the harness.
    Hostile,
}

/// How long the program may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) list: Duration,
    pub(crate) ready: Duration,
    pub(crate) stop: Duration,
}

impl Patience {
    pub(crate) fn new(seconds: u64) -> Self {
        Self { list: Duration::from_secs(10), ready: Duration::from_secs(seconds), stop: Duration::from_secs(seconds) }
    }
}

/// A line of it that is longer is not `ready`.
const MAX_LINE: u64 = 4096;
/// Of what a program printed, so much is read.
const MAX_OUTPUT: u64 = 1024 * 1024;

/// Asks the program what it can plant.
pub(crate) fn list(program: &Path, patience: Patience) -> Result<Vec<Fault>, String> {
    let folder = Folder::new("list")?;
    let output = folder.path().join("list.json");
    let mut command = Command::new(program);
    command.args(["list", "--json"]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(create(&output)?);
    let child = Guarded::spawn(&mut command).map_err(|error| format!("{}: {error}", program.display()))?;
    let status = child
        .wait(patience.list, &AtomicBool::new(false), |_| ())
        .ok_or_else(|| format!("{} list --json: no end after {} s", program.display(), patience.list.as_secs()))?;
    if !status.success() {
        return Err(format!("{} list --json: {status}", program.display()));
    }
    read_list(&beginning(&output)).map_err(|error| format!("{} list --json: {error}", program.display()))
}

fn read_list(text: &str) -> Result<Vec<Fault>, String> {
    let faults: Vec<Fault> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut met = BTreeSet::new();
    for fault in &faults {
        let letter = match fault.kind {
            Kind::Mutant => 'M',
            Kind::Variant => 'B',
            Kind::Hostile => 'H',
        };
        let digits = fault.id.strip_prefix(letter).unwrap_or_default();
        // The id becomes the name of a folder and a cell of a table.
        if !(2..=4).contains(&digits.len()) || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(format!("{:?}: a {:?} is called {letter}01 and so on", fault.id, fault.kind));
        }
        if !met.insert(&fault.id) {
            return Err(format!("{} occurs twice", fault.id));
        }
        if fault.what.trim().is_empty() || fault.what.chars().any(char::is_control) {
            return Err(format!("{}: does not say what it is", fault.id));
        }
    }
    if faults.is_empty() { Err("the list is empty".to_owned()) } else { Ok(faults) }
}

/// A pair of KMEs that serves.
pub(crate) struct Serving {
    child: Guarded,
    stdin: Option<ChildStdin>,
    pub(crate) config: PathBuf,
}

impl Serving {
    /// Starts the pair with that fault, and waits until it is ready.
    pub(crate) fn start(
        program: &Path,
        fault: Option<&str>,
        folder: &Path,
        patience: Patience,
        interrupted: &AtomicBool,
    ) -> Result<Self, String> {
        let errors = folder.join("stderr.log");
        let mut command = Command::new(program);
        command.arg("serve");
        if let Some(fault) = fault {
            command.args(["--fault", fault]);
        }
        command.arg("--dir").arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(create(&errors)?);
        let mut child = Guarded::spawn(&mut command).map_err(|error| format!("{}: {error}", program.display()))?;
        let stdin = child.0.stdin.take();
        let stdout = child.0.stdout.take().ok_or("no standard output")?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            let read = (&mut lines).take(MAX_LINE).read_line(&mut line);
            // The other side may have gone.
            let _ = tell.send(read.map(|_| line));
            // What else it says is not wanted, but must not stop it either.
            let _ = std::io::copy(&mut lines, &mut std::io::sink());
        });
        let until = Instant::now() + patience.ready;
        let line = loop {
            match told.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(line)) => break line,
                Ok(Err(error)) => return Err(format!("not ready: {error}")),
                Err(_) if interrupted.load(Ordering::SeqCst) => return Err("interrupted".to_owned()),
                Err(_) if Instant::now() < until => {}
                Err(_) => return Err(format!("not ready after {} s", patience.ready.as_secs_f32())),
            }
        };
        let Some(config) = line.trim_end().strip_prefix("ready ") else {
            drop(child);
            let said = if line.is_empty() { "it ended".to_owned() } else { format!("it said {:?}", line.trim_end()) };
            let errors = beginning(&errors);
            let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            return Err(format!("not ready: {said}; {}", shown(last)));
        };
        Ok(Self { child, stdin, config: PathBuf::from(config) })
    }

    /// Whether it still runs.
    pub(crate) fn serves(&mut self) -> bool {
        matches!(self.child.0.try_wait(), Ok(None))
    }

    /// Closes its standard input and waits for its end; kills it if that takes too long, and says so.
    pub(crate) fn stop(mut self, patience: Patience) -> Result<(), String> {
        drop(self.stdin.take());
        let ended = self.child.wait(patience.stop, &AtomicBool::new(false), |_| ());
        ended.map(|_| ()).ok_or_else(|| "did not stop when its standard input was closed".to_owned())
    }
}

/// A process that does not outlive its owner.
pub(crate) struct Guarded(Child);

impl Guarded {
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Waits so long for its end; looks at it meanwhile. Nothing: it was killed.
    pub(crate) fn wait(mut self, limit: Duration, interrupted: &AtomicBool, mut look: impl FnMut(u32)) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        let mut nap = Duration::from_millis(2);
        loop {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            if Instant::now() >= until || interrupted.load(Ordering::SeqCst) {
                return None;
            }
            look(self.0.id());
            thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(50));
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes with its owner.
pub(crate) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("qkdspec-selftest-{}-{number}-{name}", std::process::id()));
        let mut builder = fs::DirBuilder::new();
        // Private keys will be in it.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// One that stays, for somebody to look at.
    pub(crate) fn kept(within: &Path, name: &str) -> Result<Self, String> {
        let path = within.join(name);
        // Of an earlier run.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path, keep: true })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

pub(crate) fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The first part of a file that another program wrote.
pub(crate) fn beginning(path: &Path) -> String {
    let mut octets = Vec::new();
    if let Ok(file) = File::open(path) {
        // What can be read is enough.
        let _ = file.take(MAX_OUTPUT).read_to_end(&mut octets);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// A line of another program, fit for the screen.
pub(crate) fn shown(line: &str) -> String {
    crate::lab::cut(&crate::lab::printable(line), 200)
}

/// This program as it is called by itself: nothing in the environment changes what it does.
pub(crate) fn own(program: &Path) -> Command {
    let mut command = Command::new(program);
    let foreign = |name: &OsStr| name.to_string_lossy().starts_with("QKDSPEC_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(name)) {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lists_are_refused() {
        let good = r#"[{"id":"M102","kind":"mutant","what":"x"},{"id":"B04","kind":"variant","what":"y"}]"#;
        assert_eq!(read_list(good).map(|faults| faults.len()), Ok(2));
        for (bad, why) in [
            ("[]", "empty"),
            ("{", "expected"),
            (r#"[{"id":"M102","kind":"mutant","what":"x"},{"id":"M102","kind":"mutant","what":"x"}]"#, "twice"),
            (r#"[{"id":"../..","kind":"mutant","what":"x"}]"#, "is called M01"),
            (r#"[{"id":"B04","kind":"mutant","what":"x"}]"#, "is called M01"),
            (r#"[{"id":"M102","kind":"mutant","what":" "}]"#, "what it is"),
            (r#"[{"id":"M102","kind":"friend","what":"x"}]"#, "friend"),
        ] {
            let error = read_list(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
