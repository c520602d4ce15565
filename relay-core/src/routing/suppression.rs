//! Which changes of a link are worth telling the network: fills in steps with hysteresis, outages at once, flapping damped.

use std::time::{Duration, Instant};

use crate::routing::metric::{Fill, Metric};

/// Steps of the fill that is advertised.
const LEVELS: u32 = 8;
/// The class of a full pool.
pub const FULL_CLASS: u8 = LEVELS as u8 - 1;
const WIDTH: u32 = Fill::FULL.parts() / LEVELS;
/// How far into the next level the fill has to be before that is told.
const MARGIN: u32 = WIDTH / 4;

/// After this, half of the penalty of a link is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// What one change to or from unusable adds.
const FLAP: u64 = 1_000;
/// With more than this, a link that is usable again is not said to be: at most three such changes are told in 30 s. That it
/// is unusable is always told.
const REUSE: u64 = 1_400;
/// A link that flaps for hours is usable again some four minutes after it stopped.
const CEILING: u64 = 20_000;

/// What one end of a link is known for in the network.
#[derive(Clone, Debug, Default)]
pub(super) struct Suppressor {
    /// The level, `None` when unusable.
    advertised: Option<u8>,
    penalty: u64,
    /// When the penalty was that.
    since: Option<Instant>,
}

/// What to do about what is seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what is advertised, or near enough.
    Same,
    /// To be told when the time for it comes.
    Ordinary(Option<u8>),
    /// To be told at once.
    Urgent(Option<u8>),
    /// Usable again, but only to be told after this time.
    Damped(Instant),
}

impl Suppressor {
    pub(super) fn advertised(&self) -> Option<u8> {
        self.advertised
    }

    /// Judges what is seen; `None` is unusable.
    pub(super) fn judge(&self, now: Instant, seen: Option<Fill>) -> Verdict {
        let level = seen.map(level);
        match (self.advertised, seen) {
            (None, None) => Verdict::Same,
            (Some(_), None) => Verdict::Urgent(None),
            (None, Some(_)) => match self.reusable(now) {
                Some(until) => Verdict::Damped(until),
                None => Verdict::Urgent(level),
            },
            (Some(advertised), Some(fill)) => {
                let (bottom, top) = (u32::from(advertised) * WIDTH, (u32::from(advertised) + 1) * WIDTH);
                let same = fill.parts() + MARGIN > bottom && fill.parts() < top + MARGIN;
                if same || level == self.advertised { Verdict::Same } else { Verdict::Ordinary(level) }
            }
        }
    }

    /// This is told now.
    pub(super) fn advertise(&mut self, now: Instant, level: Option<u8>) {
        if level.is_some() != self.advertised.is_some() {
            self.penalty = (self.penalty(now) + FLAP).min(CEILING);
            self.since = Some(now);
        }
        self.advertised = level;
    }

    fn penalty(&self, now: Instant) -> u64 {
        self.since.map_or(0, |since| decayed(self.penalty, now.saturating_duration_since(since)))
    }

    /// Until when the link is not said to be usable.
    fn reusable(&self, now: Instant) -> Option<Instant> {
        let since = self.since.filter(|_| self.penalty(now) > REUSE)?;
        // Each whole half-life halves; in the last one the decay is linear (see `decayed`).
        let mut halved = self.penalty;
        let mut lives = 0;
        while halved / 2 > REUSE {
            halved /= 2;
            lives += 1;
        }
        let part = HALF_LIFE.as_millis() as u64 * 2 * (halved - REUSE) / halved.max(1) + 1;
        Some((since + HALF_LIFE * lives + Duration::from_millis(part)).max(now + Duration::from_millis(1)))
    }
}

/// Halved for each half-life, linear in between: integers, the same on every machine, and never less than the exponential.
fn decayed(penalty: u64, elapsed: Duration) -> u64 {
    let (elapsed, half_life) = (elapsed.as_millis(), HALF_LIFE.as_millis());
    let lives = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
    let halved = penalty.checked_shr(lives).unwrap_or(0);
    let rest = (elapsed % half_life) as u64;
    halved - halved * rest / (2 * half_life as u64)
}

pub(super) fn level(fill: Fill) -> u8 {
    (fill.parts() / WIDTH).min(LEVELS - 1) as u8
}

/// The cost that goes with a level: the ends of the range are reached.
pub(super) fn cost(metric: &impl Metric, level: u8) -> super::metric::Cost {
    metric.cost(Fill::new(u32::from(level) * Fill::FULL.parts() / (LEVELS - 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::metric::FillMetric;

    fn fill(percent: u32) -> Option<Fill> {
        Some(Fill::new(Fill::FULL.parts() * percent / 100))
    }

    /// Tells what is to be told, at once; when it was told.
    fn follow(link: &mut Suppressor, now: Instant, seen: Option<Fill>) -> bool {
        match link.judge(now, seen) {
            Verdict::Ordinary(level) | Verdict::Urgent(level) => {
                link.advertise(now, level);
                true
            }
            Verdict::Same | Verdict::Damped(_) => false,
        }
    }

    #[test]
    fn a_level_is_left_by_a_quarter_of_the_next() {
        let now = Instant::now();
        let mut link = Suppressor::default();
        assert!(follow(&mut link, now, fill(55)));
        assert_eq!(link.advertised(), Some(4), "50.0 to 62.5 %");
        for same in [50, 62, 64, 65, 48, 47] {
            assert_eq!(link.judge(now, fill(same)), Verdict::Same, "{same}");
        }
        assert_eq!(link.judge(now, fill(66)), Verdict::Ordinary(Some(5)));
        assert_eq!(link.judge(now, fill(46)), Verdict::Ordinary(Some(3)));
        assert_eq!(link.judge(now, fill(100)), Verdict::Ordinary(Some(7)));
    }

    #[test]
    fn unusable_and_usable_again_are_told_at_once_but_flapping_is_damped() {
        let start = Instant::now();
        let mut link = Suppressor::default();
        link.advertise(start, Some(7));
        let quiet = start + HALF_LIFE * 12;
        let mut told = Vec::new();
        // down and up each second for ten minutes
        for second in 0..600 {
            let now = quiet + Duration::from_secs(second);
            let seen = fill(100).filter(|_| second % 2 == 1);
            if follow(&mut link, now, seen) {
                told.push(second);
            }
        }
        assert_eq!(told[..3], [0, 1, 2]);
        for window in told.windows(4) {
            assert!(window[3] - window[0] > 30, "{told:?}");
        }
        // up for good: told as soon as the penalty is gone, and no later than said
        let end = quiet + Duration::from_secs(600);
        if let Verdict::Damped(until) = link.judge(end, fill(100)) {
            assert_eq!(link.judge(until - Duration::from_millis(2), fill(100)), Verdict::Damped(until));
            assert_eq!(link.judge(until, fill(100)), Verdict::Urgent(Some(7)));
            assert!(until < end + HALF_LIFE * 4);
        } else {
            assert!(link.advertised().is_some());
        }
    }

    proptest! {
        #[test]
        fn constant_fill_is_told_once_and_a_step_once_more(first in 0_u32..=65_536, second in 0_u32..=65_536) {
            let now = Instant::now();
            let mut link = Suppressor::default();
            let told = |link: &mut Suppressor, fill| (0..100).filter(|_| follow(link, now, Some(Fill::new(fill)))).count();
            prop_assert_eq!(told(&mut link, first), 1);
            prop_assert!(told(&mut link, second) <= 1);
        }

        /// Whatever was advertised before, the ends of a link that see the same fill are one level apart at most.
        #[test]
        fn both_ends_are_within_one_level(a in 0_u32..=65_536, b in 0_u32..=65_536, fill in 0_u32..=65_536) {
            let now = Instant::now();
            let ends = [a, b].map(|before| {
                let mut link = Suppressor::default();
                follow(&mut link, now, Some(Fill::new(before)));
                follow(&mut link, now, Some(Fill::new(fill)));
                link.advertised().expect("usable")
            });
            prop_assert!(ends[0].abs_diff(ends[1]) <= 1, "{ends:?}");
        }

        #[test]
        fn fill_that_swings_by_less_than_the_margin_is_told_once(fill in 0_u32..=65_536, swings: Vec<u16>) {
            let now = Instant::now();
            let mut link = Suppressor::default();
            follow(&mut link, now, Some(Fill::new(fill)));
            for swing in swings {
                let swung = (fill + u32::from(swing) % MARGIN).saturating_sub(MARGIN / 2);
                prop_assert!(!follow(&mut link, now, Some(Fill::new(swung))));
            }
        }

        #[test]
        fn a_fuller_level_costs_no_more(lower in 0_u8..LEVELS as u8 - 1) {
            let metric = FillMetric::default();
            prop_assert!(cost(&metric, lower + 1) < cost(&metric, lower));
            prop_assert_eq!((cost(&metric, 0).get(), cost(&metric, FULL_CLASS).get()), (256, 16));
        }
    }
}
