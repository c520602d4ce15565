//! A process that serves, and ends with the test.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};

use serde_json::Value;

use super::PATIENCE;

/// Killed when dropped. Should the test itself be killed, it ends because its standard input closes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
    ready: Mutex<mpsc::Receiver<()>>,
}

impl Process {
    /// Starts the built `kme`. Its log is appended to `log`.
    pub(crate) fn spawn(arguments: &[&str], config: &Path, log: &Path, rust_log: Option<&str>) -> Self {
        let stderr = OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let stdout = stderr.try_clone().expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kme"));
        command.args(arguments).arg("--config").arg(config).arg("--exit-with-parent");
        command.env_remove("RUST_LOG");
        command.envs(rust_log.map(|level| ("RUST_LOG", level)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("it starts");
        let (stdin, output) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || watch(BufReader::new(output), stdout, &sender));
        Self { child, stdin, log: log.to_owned(), ready: Mutex::new(ready) }
    }

    /// Waits until it says that it is ready. False when it ended instead.
    pub(crate) fn is_ready(&self) -> bool {
        match self.ready.lock().expect("no panic").recv_timeout(PATIENCE) {
            Ok(()) => true,
            Err(mpsc::RecvTimeoutError::Disconnected) => false,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("not ready in time: {}", self.log_tail()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it has no say in this.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// Has it end in order.
    pub(crate) fn stop(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().expect("it ends")
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies the output to the log, and tells of the line that says "ready".
fn watch(output: impl BufRead, mut log: File, ready: &mpsc::Sender<()>) {
    for line in output.lines().map_while(Result::ok) {
        let _ = std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes());
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["ready"] == true || said["event"] == "ready" {
            let _ = ready.send(());
        }
    }
}
