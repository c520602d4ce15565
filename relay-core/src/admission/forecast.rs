//! What becomes of the pool of a link, slot by slot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{LinkSupply, Settings, Test};

const SECOND: u128 = 1_000_000_000;

/// What one session takes from one link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    pub(super) bits: u64,
    /// Not zero.
    pub(super) every: Duration,
    pub(super) start: Instant,
}

impl Reserved {
    /// In thousandths of bit/s, rounded up.
    pub(super) fn rate(&self) -> u128 {
        (u128::from(self.bits) * SECOND * 1_000).div_ceil(self.every.as_nanos())
    }

    /// How many requests it has made before `time` after `origin`, in nanoseconds.
    fn requests_before(&self, origin: Instant, time: u128) -> u128 {
        let (late, early) =
            (self.start.saturating_duration_since(origin).as_nanos(), origin.saturating_duration_since(self.start).as_nanos());
        (time + early).saturating_sub(late).div_ceil(self.every.as_nanos())
    }
}

pub(super) struct Forecast<'a> {
    settings: &'a Settings,
    supply: &'a LinkSupply,
    reserved: &'a [Reserved],
    /// What is asked for in each slot.
    demand: Vec<u128>,
}

impl<'a> Forecast<'a> {
    /// From when the link was measured until the horizon, as seen from now; `None` when it was measured longer ago than that.
    pub(super) fn new(
        settings: &'a Settings,
        supply: &'a LinkSupply,
        measured: Instant,
        now: Instant,
        reserved: &'a [Reserved],
    ) -> Option<Self> {
        let slot = settings.slot.as_nanos();
        let passed = now.saturating_duration_since(measured).as_nanos().div_ceil(slot);
        let passed = u32::try_from(passed).ok().filter(|passed| *passed <= settings.slots)?;
        let demand = (0..u128::from(settings.slots + passed))
            .map(|at| {
                let asked = reserved.iter().map(|one| {
                    let requests = one.requests_before(measured, (at + 1) * slot) - one.requests_before(measured, at * slot);
                    requests.saturating_mul(u128::from(one.bits))
                });
                asked.fold(0, u128::saturating_add)
            })
            .collect();
        Some(Self { settings, supply, reserved, demand })
    }

    /// The first test that fails.
    pub(super) fn fails(&self) -> Option<Test> {
        let rate = self.reserved.iter().map(Reserved::rate).fold(0, u128::saturating_add);
        if rate > u128::from(self.supply.rate) * u128::from(self.settings.usable) {
            return Some(Test::Rate);
        }
        if !self.lasts(false) {
            return Some(Test::Burst);
        }
        (!self.lasts(true)).then_some(Test::Expiry)
    }

    /// Whether the pool, used oldest first, keeps its floor in each slot in which some is taken; with key that gets too old, or without.
    fn lasts(&self, with_expiry: bool) -> bool {
        let slot = self.settings.slot.as_nanos();
        // Key can be used in the slots that are over before it is too old. By the slot in which it no longer can:
        let ends = |from: u128, lasts: Duration| if with_expiry { from + lasts.as_nanos() / slot } else { u128::MAX };
        let mut pool = BTreeMap::new();
        let mut left = 0;
        let add = |pool: &mut BTreeMap<u128, u128>, left: &mut u128, end, bits| {
            *pool.entry(end).or_insert(0) += bits;
            *left += bits;
        };
        for stored in &self.supply.stored {
            add(&mut pool, &mut left, ends(0, stored.lasts), u128::from(stored.bits));
        }
        let made_before = |at: u128| u128::from(self.supply.rate).saturating_mul(at * slot) / SECOND;
        for (at, &asked) in (0..).zip(&self.demand) {
            if let Some(before) = u128::checked_sub(at, 1) {
                let made = made_before(at) - made_before(before);
                add(&mut pool, &mut left, ends(before, self.supply.life), made);
            }
            while let Some(oldest) = pool.first_entry().filter(|oldest| *oldest.key() <= at) {
                left -= oldest.remove();
            }
            if asked > 0 && left < asked.saturating_add(u128::from(self.supply.floor)) {
                return false;
            }
            left -= asked;
            let mut asked = asked;
            while let Some(mut oldest) = pool.first_entry().filter(|_| asked > 0) {
                let taken = asked.min(*oldest.get());
                asked -= taken;
                *oldest.get_mut() -= taken;
                if *oldest.get() == 0 {
                    oldest.remove();
                }
            }
        }
        true
    }
}
