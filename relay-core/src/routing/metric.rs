//! What it costs to relay over a link, from its key pool and rates.

use std::num::NonZeroU16;
use std::time::Duration;

/// The cost of a link, at least 1. Equal at both ends is not required: the worse of the two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(NonZeroU16);

impl Cost {
    /// `None` for 0.
    #[must_use]
    pub fn new(cost: u16) -> Option<Self> {
        NonZeroU16::new(cost).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// How full a pool is, or will be, in parts of [`Fill::FULL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fill(u32);

impl Fill {
    /// A full pool.
    pub const FULL: Self = Self(1 << 16);
    /// An empty one.
    pub const EMPTY: Self = Self(0);

    /// `parts` of 65,536; more is full.
    #[must_use]
    pub fn new(parts: u32) -> Self {
        Self(parts.min(Self::FULL.0))
    }

    /// 0 to 65,536.
    #[must_use]
    pub const fn parts(self) -> u32 {
        self.0
    }
}

/// One end of a link, as it is now. Amounts are in bits, rates in bit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// Whether key can pass at all.
    pub up: bool,
    /// Agreed with the neighbour and not reserved.
    pub stored: u64,
    /// What the pool is to hold.
    pub target: u64,
    /// Kept for authentication and rekeying of the link itself.
    pub floor: u64,
    /// Smoothed secret key rate.
    pub rate: u64,
    /// Smoothed consumption.
    pub consumption: u64,
    /// There is key to authenticate messages with.
    pub authentication: bool,
}

/// A rule for costs. What is advertised is the cost of a fill that was quantised, so the two are asked for apart.
pub trait Metric {
    /// How full the link counts as; `None` when it cannot be used.
    fn fill(&self, link: &LinkStatus) -> Option<Fill>;

    /// The cost of a fill; not higher for a higher fill.
    fn cost(&self, fill: Fill) -> Cost;
}

/// The fill to be expected after a while, so that a full but dead link gets costly before it is empty:
///
/// `f = (stored - floor + horizon * (rate - consumption)) / (target - floor)`, within 0 and 1;
/// `cost = 16 * (1 + 15 * (1 - f)^2)`, that is 16 to 256. The bounded ratio limits how long a detour may get (16 times the
/// hops) and how far the cost can swing.
#[derive(Clone, Copy, Debug)]
pub struct FillMetric {
    /// How far to look ahead.
    pub horizon: Duration,
}

impl Default for FillMetric {
    fn default() -> Self {
        Self { horizon: Duration::from_secs(30) }
    }
}

const BASE: u64 = 16;
const RISE: u64 = 15;

impl Metric for FillMetric {
    fn fill(&self, link: &LinkStatus) -> Option<Fill> {
        let dead = link.stored <= link.floor && link.rate == 0;
        if !link.up || !link.authentication || dead {
            return None;
        }
        // 64 bits of rate times 64 of milliseconds: no overflow in 128 with the sign.
        let milliseconds = i128::try_from(self.horizon.as_millis()).unwrap_or(i128::MAX).min(i128::from(u32::MAX));
        let change = (i128::from(link.rate) - i128::from(link.consumption)) * milliseconds / 1_000;
        let expected = i128::from(link.stored) - i128::from(link.floor) + change;
        let room = i128::from(link.target.saturating_sub(link.floor).max(1));
        let full = i128::from(Fill::FULL.0);
        Some(Fill((expected.clamp(0, room) * full / room) as u32))
    }

    fn cost(&self, fill: Fill) -> Cost {
        let (full, lack) = (u64::from(Fill::FULL.0), u64::from(Fill::FULL.0 - fill.0));
        let cost = BASE + (BASE * RISE * lack * lack + full * full / 2) / (full * full);
        Cost(NonZeroU16::MIN.saturating_add(u16::try_from(cost - 1).unwrap_or(u16::MAX)))
    }
}

/// Each usable link costs 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct HopCount;

impl Metric for HopCount {
    fn fill(&self, link: &LinkStatus) -> Option<Fill> {
        FillMetric::default().fill(link).map(|_| Fill::FULL)
    }

    fn cost(&self, _: Fill) -> Cost {
        Cost(NonZeroU16::MIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(stored: u64, rate: u64, consumption: u64) -> LinkStatus {
        LinkStatus { up: true, stored, target: 1_000_000, floor: 10_000, rate, consumption, authentication: true }
    }

    fn cost(link: &LinkStatus) -> Option<u16> {
        let metric = FillMetric::default();
        metric.fill(link).map(|fill| metric.cost(fill).get())
    }

    #[test]
    fn the_cost_runs_from_16_to_256_and_to_infinity() {
        assert_eq!(cost(&link(1_000_000, 1_000, 1_000)), Some(16));
        assert_eq!(cost(&link(10_000, 1_000, 1_000)), Some(256));
        assert_eq!(cost(&link(505_000, 0, 0)), Some(76), "half full: 16 * (1 + 15/4)");
        assert_eq!(cost(&link(10_000, 0, 0)), None);
        assert_eq!(cost(&link(10_001, 0, 0)), Some(256));
        assert_eq!(cost(&LinkStatus { up: false, ..link(1_000_000, 1_000, 0) }), None);
        assert_eq!(cost(&LinkStatus { authentication: false, ..link(1_000_000, 1_000, 0) }), None);
    }

    #[test]
    fn a_full_link_without_rate_gets_costly_before_it_is_empty() {
        assert_eq!(cost(&link(1_000_000, 20_000, 20_000)), Some(16));
        assert!(cost(&link(1_000_000, 0, 20_000)) > Some(90), "30 s from now it is 0.39 full");
    }

    proptest! {
        #[test]
        fn the_cost_falls_with_key_and_rate(
            stored: u64, more: u64, rate: u64, faster: u64, consumption: u64, target: u64, floor: u64,
        ) {
            let less = LinkStatus { up: true, stored, target, floor, rate, consumption, authentication: true };
            let infinity = |cost: Option<u16>| cost.unwrap_or(u16::MAX);
            for better in [
                LinkStatus { stored: stored.saturating_add(more), ..less },
                LinkStatus { rate: rate.saturating_add(faster), ..less },
            ] {
                prop_assert!(infinity(cost(&better)) <= infinity(cost(&less)));
            }
            prop_assert!(cost(&less).is_none_or(|cost| (16..=256).contains(&cost)));
        }
    }
}
