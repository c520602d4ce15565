//! How a program that serves is told to stop.

use std::future::pending;
use std::io::{self, Read};

use tokio::sync::oneshot;

/// What asks this process to stop: SIGTERM, ctrl-c, or the end of its standard input.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// Listens from now on, to the end of standard input as well if that is wanted. Needs a runtime.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new(exit_with_parent: bool) -> io::Result<Self> {
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

    /// Completes when one of them has come.
    #[cfg(unix)]
    pub async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = closed(self.stdin) => {}
        }
    }

    /// Completes when one of them has come.
    #[cfg(not(unix))]
    pub async fn received(self) {
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
