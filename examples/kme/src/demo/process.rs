//! A process of the demonstration: this program once more, in another part.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::DemoError;

/// The processes that were started, whether they are ready or not: none is forgotten, whatever becomes of its start.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Server>);

impl Servers {
    /// Adds one.
    pub(super) fn add(&mut self, server: Server) {
        self.0.push(server);
    }

    /// Waits until all say that they are ready.
    pub(super) async fn ready(&mut self) -> Result<(), DemoError> {
        for server in &mut self.0 {
            server.ready().await?;
        }
        Ok(())
    }

    /// Whether all are still there.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        self.0.iter_mut().try_for_each(Server::check)
    }

    /// Waits until one of them ends, which it should not.
    pub(super) async fn ended(&mut self) -> DemoError {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    }

    /// Has all end in order, the last that was started first.
    pub(super) async fn stop(&mut self) {
        while let Some(server) = self.0.pop() {
            server.stop().await;
        }
    }
}

/// A process that serves until its standard input closes. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    child: Child,
    /// Held open: the process ends when this closes.
    stdin: Option<ChildStdin>,
    /// Where it says that it is ready; nothing once it has.
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Server {
    /// Starts a process in the part that `arguments` name.
    pub(super) fn start(name: &'static str, arguments: &[&str], config: PathBuf, log: PathBuf) -> Result<Self, DemoError> {
        let start_error = |source| DemoError::Start { name, source };
        let log_file = File::create(&log).map_err(|source| DemoError::File { path: log.clone(), source })?;
        let mut command = this_program().map_err(start_error)?;
        command.args(arguments).arg("--config").arg(config).arg("--exit-with-parent");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
        // Ctrl-c is for the parent, which then ends its children in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(start_error)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().map(BufReader::new));
        Ok(Self { name, child, stdin, stdout, log })
    }

    async fn ready(&mut self) -> Result<(), DemoError> {
        let Some(mut stdout) = self.stdout.take() else { return Ok(()) };
        match timeout(READY_LIMIT, ready_line(&mut stdout)).await {
            Ok(true) => {}
            Ok(false) => return Err(self.ended().await),
            Err(_) => return Err(self.not_ready()),
        }
        // Nothing more is expected, but a full pipe would stop the process.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends, which it should not.
    async fn ended(&mut self) -> DemoError {
        match self.child.wait().await {
            Ok(status) => self.ended_with(status),
            Err(source) => DemoError::Start { name: self.name, source },
        }
    }

    /// Whether it is still there.
    fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.ended_with(status)),
            _ => Ok(()),
        }
    }

    /// Has the process end in order, or else kills it.
    async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            // It is gone already if this fails.
            let _ = self.child.kill().await;
        }
    }

    fn ended_with(&self, status: ExitStatus) -> DemoError {
        DemoError::Ended { name: self.name, status, log_tail: tail(&self.log) }
    }

    fn not_ready(&self) -> DemoError {
        DemoError::NotReady { name: self.name, limit: READY_LIMIT, log_tail: tail(&self.log) }
    }
}

/// A command that is this program.
pub(super) fn this_program() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.kill_on_drop(true);
    Ok(command)
}

const READY_LIMIT: Duration = Duration::from_secs(30);
const CHECK_PAUSE: Duration = Duration::from_millis(50);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const TAIL_LINES: usize = 12;
const MAX_TAIL_OCTETS: u64 = 8 << 10;

/// Whether a line comes that says `{"ready":true…}` or `{"event":"ready"…}`, before the output ends.
async fn ready_line(stdout: &mut BufReader<ChildStdout>) -> bool {
    let mut line = String::new();
    while stdout.take(MAX_TAIL_OCTETS).read_line(&mut line).await.is_ok_and(|octets| octets > 0) {
        if let Ok(value) = serde_json::from_str::<Value>(&line)
            && (value["ready"] == true || value["event"] == "ready")
        {
            return true;
        }
        line.clear();
    }
    false
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let mut end = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let start = file.metadata()?.len().saturating_sub(MAX_TAIL_OCTETS);
        file.seek(SeekFrom::Start(start))?;
        file.take(MAX_TAIL_OCTETS).read_to_end(&mut end)
    });
    if let Err(error) = read {
        return format!("  ({}: {error})", log.display());
    }
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    last.iter().map(|line| format!("  {line}\n")).collect::<String>() + &format!("  ({})", log.display())
}
