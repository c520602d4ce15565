//! Servers as processes of their own, pinned to a core.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::Failure;

/// The core of what is measured.
pub(super) const SERVER_CORE: usize = 0;
/// The core of everything else: load clients, and emulated QKD links.
pub(super) const CLIENT_CORE: usize = 1;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    ready: Value,
}

impl Server {
    /// Starts it, and waits until it says in one line of JSON that it is ready. It must end with its standard input.
    pub(super) fn start<A: AsRef<OsStr>>(core: usize, program: &Path, arguments: &[A]) -> Result<Self, Failure> {
        let mut child = pinned(core, program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let mut server = Self { child, ready: Value::Null };
        server.ready = serde_json::from_str(&line)
            .map_err(|_| Failure::other(format!("{} did not start; it said {line:?}", program.display())))?;
        Ok(server)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An address from the line it said.
    pub(super) fn address(&self, of: &str) -> Result<SocketAddr, Failure> {
        let address = self.ready.get(of).and_then(Value::as_str).and_then(|text| text.parse().ok());
        address.ok_or_else(|| Failure::other(format!("a server does not tell its address {of:?}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let patience = Instant::now() + Duration::from_secs(15);
        while Instant::now() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // It did not end by itself; nothing is lost with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that will run on this core only, ahead of ordinary processes if that is allowed.
pub(super) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string());
    if machine_allows_nice() {
        command.args(["nice", "-n", "-10"]);
    }
    command.arg(program);
    command
}

pub(super) fn machine_allows_nice() -> bool {
    rustix::process::geteuid().is_root()
}
