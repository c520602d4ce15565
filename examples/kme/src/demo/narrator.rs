//! What the demonstration tells on standard output.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Tells, with the time since it began. On a terminal, progress stays on one line.
pub(super) struct Narrator {
    begun: Instant,
    terminal: bool,
    within_line: AtomicBool,
}

impl Narrator {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), terminal: io::stdout().is_terminal(), within_line: AtomicBool::new(false) }
    }

    /// A line with the time.
    pub(super) fn tell(&self, line: &str) {
        self.say(&format!("[{:5.1} s]  {line}", self.begun.elapsed().as_secs_f64()));
    }

    /// A line, or several, as they are.
    pub(super) fn say(&self, text: &str) {
        self.end_progress();
        write(&format!("{text}\n"));
    }

    /// How far something has come.
    pub(super) fn progress(&self, what: &str, done: u64, of: u64) {
        let filled = usize::try_from(done.min(of).saturating_mul(BAR).checked_div(of).unwrap_or(0)).unwrap_or(0);
        let bar: String = (0..BAR as usize).map(|at| if at < filled { '#' } else { '.' }).collect();
        let line = format!("[{:5.1} s]  {what}: [{bar}] {done} of {of}", self.begun.elapsed().as_secs_f64());
        if self.terminal {
            self.within_line.store(true, Ordering::Relaxed);
            // Back to the start of the line, and the rest of it cleared.
            write(&format!("\r{line}\x1b[K"));
        } else {
            self.say(&line);
        }
    }

    /// What is told next begins a line of its own.
    pub(super) fn end_progress(&self) {
        if self.within_line.swap(false, Ordering::Relaxed) {
            write("\n");
        }
    }
}

const BAR: u64 = 30;

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that has gone away does not end the demonstration.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
