//! When to compute routes after changes: soon after the first, seldom in a storm of them (after RFC 8405).

use std::time::{Duration, Instant};

/// Delays between a change and the computation.
#[derive(Clone, Copy, Debug)]
pub struct SpfDelays {
    /// After the first change in a quiet network.
    pub initial: Duration,
    /// After the next ones, while more are to be expected from one failure.
    pub short: Duration,
    /// When changes go on and on.
    pub long: Duration,
    /// For how long after the first change more are taken as of the same failure.
    pub learn: Duration,
    /// The network is quiet again after so long without a change.
    pub hold_down: Duration,
}

impl Default for SpfDelays {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            short: Duration::from_millis(200),
            long: Duration::from_secs(5),
            learn: Duration::from_millis(500),
            hold_down: Duration::from_secs(10),
        }
    }
}

/// RFC 8405, clause 5.
#[derive(Debug)]
pub(super) struct Schedule {
    delays: SpfDelays,
    state: State,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Quiet,
    ShortWait { learnt: Instant, last: Instant },
    LongWait { last: Instant },
}

impl Schedule {
    pub(super) fn new(delays: SpfDelays) -> Self {
        Self { delays, state: State::Quiet, due: None }
    }

    /// Something changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.state = match self.state {
            State::ShortWait { last, .. } | State::LongWait { last } if now >= last + self.delays.hold_down => State::Quiet,
            State::ShortWait { learnt, .. } if now >= learnt => State::LongWait { last: now },
            other => other,
        };
        let delay = match &mut self.state {
            State::Quiet => {
                self.state = State::ShortWait { learnt: now + self.delays.learn, last: now };
                self.delays.initial
            }
            State::ShortWait { last, .. } => {
                *last = now;
                self.delays.short
            }
            State::LongWait { last } => {
                *last = now;
                self.delays.long
            }
        };
        self.due = self.due.or(Some(now + delay));
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to compute now; said once.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8405_quiet_short_wait_long_wait_and_quiet_again() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(SpfDelays::default());
        let mut delay = |ms| {
            schedule.changed(at(ms));
            let due = schedule.due().expect("a change");
            // more changes meanwhile do not put it off
            schedule.changed(at(ms));
            assert_eq!(schedule.due(), Some(due));
            assert!(!schedule.take(due - Duration::from_millis(1)) && schedule.take(due) && !schedule.take(due));
            (due - at(ms)).as_millis()
        };
        assert_eq!(delay(0), 50);
        assert_eq!(delay(100), 200);
        assert_eq!(delay(400), 200);
        assert_eq!(delay(601), 5_000, "past the time to learn");
        assert_eq!(delay(8_000), 5_000);
        assert_eq!(delay(17_999), 5_000, "not yet quiet");
        assert_eq!(delay(28_000), 50);
    }
}
