//! The queue in front of the engine's thread.
//!
//! Unlike a channel of the standard library it hands over all that waits at once, and wakes the thread only when it sleeps,
//! after letting go of the lock: on a busy core the thread would otherwise run at once, only to wait for that lock.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Puts in; cheap to clone.
pub(super) struct Sender<T>(Arc<Shared<T>>);

/// Takes out. When it is dropped, what still waits is dropped with it.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// Nobody takes out any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

struct Shared<T> {
    state: Mutex<State<T>>,
    came: Condvar,
}

struct State<T> {
    waiting: Vec<T>,
    asleep: bool,
    closed: bool,
}

pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State { waiting: Vec::new(), asleep: false, closed: false });
    let shared = Arc::new(Shared { state, came: Condvar::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    pub(super) fn send(&self, item: T) -> Result<(), Closed> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Closed);
        }
        state.waiting.push(item);
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.0.came.notify_one();
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Moves all that waits into `taken`, which is empty; waits for it until `due`.
    pub(super) fn take(&self, due: Instant, taken: &mut Vec<T>) {
        let mut state = self.0.lock();
        if state.waiting.is_empty() {
            state.asleep = true;
            while state.waiting.is_empty() {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state = self.0.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.asleep = false;
            if !state.waiting.is_empty() {
                // Whoever woke this thread may be about to bring more: it then shares the commit, and the switch of threads.
                drop(state);
                thread::yield_now();
                state = self.0.lock();
            }
        }
        std::mem::swap(&mut state.waiting, taken);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        // Dropped outside of the lock: dropping an item may send another.
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_arrives_once_and_in_order() {
        const EACH: usize = 2000;
        let (sender, receiver) = queue();
        let senders: Vec<_> = (0..3)
            .map(|who| {
                let sender = sender.clone();
                thread::spawn(move || (0..EACH).for_each(|item| sender.send((who, item)).expect("open")))
            })
            .collect();
        let (mut next, mut taken) = ([0; 3], Vec::new());
        while next.iter().sum::<usize>() < 3 * EACH {
            // A wake-up that is lost shows by the test not coming to an end.
            receiver.take(Instant::now() + Duration::from_secs(24 * 3600), &mut taken);
            for (who, item) in taken.drain(..) {
                assert_eq!(item, next[who]);
                next[who] += 1;
            }
        }
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
    }

    #[test]
    fn nothing_comes_until_it_is_due_and_nothing_after_the_end() {
        let (sender, receiver) = queue();
        let mut taken = Vec::new();
        receiver.take(Instant::now(), &mut taken);
        assert!(taken.is_empty());
        sender.send(1).expect("open");
        receiver.take(Instant::now(), &mut taken);
        assert_eq!(taken, [1]);
        drop(receiver);
        assert_eq!(sender.send(2), Err(Closed));
    }
}
