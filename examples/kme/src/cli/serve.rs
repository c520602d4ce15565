//! `kme serve`: a KME in a runtime of its own, until it is told to stop.

use std::future::pending;
use std::io::{self, Read, Write};

use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::{Done, ServeArguments};
use crate::config::Config;
use crate::serve::Ready;

pub(super) fn serve(arguments: &ServeArguments) -> Done {
    let config = Config::load(&arguments.config)?;
    crate::logging::start(&config.log);
    // On a single core, threads that steal work from each other only cost.
    let mut runtime = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        // Before the ready line, so that a signal sent because of it is not lost.
        let stop = StopSignals::new(arguments.exit_with_parent)?;
        Ok(crate::serve::serve(config, print_ready, stop.received()).await?)
    })
}

fn print_ready(ready: &Ready) {
    let line = json!({
        "ready": true,
        "northbound": ready.northbound.to_string(),
        "kx": ready.kx.map(|address| address.to_string()),
        "admin": ready.admin.map(|address| address.to_string()),
    });
    let mut out = io::stdout().lock();
    // Who started this KME without reading along does not miss it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What asks this process to stop.
pub(super) struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// Listens from now on, to the end of standard input as well if that is wanted. Needs a runtime.
    pub(super) fn new(exit_with_parent: bool) -> io::Result<Self> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            stdin: exit_with_parent.then(stdin_closed),
        })
    }

    #[cfg(unix)]
    pub(super) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = closed(self.stdin) => {}
        }
    }

    #[cfg(not(unix))]
    pub(super) async fn received(self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = closed(self.stdin) => {}
        }
    }
}

async fn closed(stdin: Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(stdin) => drop(stdin.await),
        None => pending().await,
    }
}

/// Reads standard input to its end on a thread of its own: a read in the runtime would keep the runtime from ending.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut ignored = [0; 256];
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        // The receiver may be gone: then this process is about to end anyway.
        let _ = sender.send(());
    });
    receiver
}
