//! Allocation: the key of one pool is handed out to services, cycle by cycle.
//!
//! 1. A floor is left alone, for relay and authentication.
//! 2. Guaranteed rates are topped up in the order of priority: each service has what its rate makes in a cycle, and what it is
//!    owed from before. Within one priority, key that is too little is shared by weight.
//! 3. What remains is shared by weight (deficit round robin: who came off worse by the rounding to whole keys is first next time).
//!    Nothing is left that somebody could take, but for less than one key that is saved for whoever is due a larger one.
//! 4. Nobody gets more than the highest rate makes in a cycle, and a burst.
//!
//! All is counted in whole bits, and rates exactly. Both ends of a pool that start with the same services and take the same
//! inputs come to the same allotments. A cycle that is asked for again is answered with what it was.
//!
//! The services may be those of one node, to which keys go; or the pools with remote nodes that share a link, and then
//! [`Allotments::turns`] says whose relay goes next.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::num::NonZeroU32;
//! use std::time::Duration;
//!
//! use relay_core::allocation::{Allocator, Service};
//!
//! // Two cycles a second; 1024 bits are never allotted.
//! let mut allocator = Allocator::new(Duration::from_millis(500), 1_024).unwrap();
//! let service = Service::new(NonZeroU32::new(256).unwrap()); // keys of 256 bits
//! allocator.insert("voice", Service { guaranteed: 1_024, priority: 1, ..service })?;
//! allocator.insert("backup", service)?;
//! allocator.insert("sensor", Service { highest: 1_024, ..service })?;
//!
//! let wanted = BTreeMap::from([("voice", u64::MAX), ("backup", u64::MAX), ("sensor", u64::MAX)]);
//! let allotments = allocator.allot(1, 1_024 + 2_560, &wanted)?;
//! assert_eq!(allotments.of(&"voice"), 512 + 768); // guaranteed, and a share
//! assert_eq!(allotments.of(&"backup"), 768);
//! assert_eq!(allotments.of(&"sensor"), 512); // no more than its highest rate
//! let first: Vec<_> = allotments.turns().take(4).copied().collect();
//! assert_eq!(first, ["voice", "backup", "sensor", "voice"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use share::{Claim, entitle, give};

/// A bit in the units of rate times cycle: bit/s times ns.
const BIT: u128 = 1_000_000_000;
/// Longer cycles are no use, and counting stays far from overflow.
const MAX_CYCLE: Duration = Duration::from_secs(3_600);

/// What a service is entitled to. In ETSI GS QKD 004: `Min_bps`, `Max_bps`, `Priority` and `Key_chunk_size`.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The rate it gets before others get more than theirs, in bit/s.
    pub guaranteed: u64,
    /// The rate it never exceeds, in bit/s.
    pub highest: u64,
    /// Lower numbers are served first.
    pub priority: u8,
    /// Its share of what is not guaranteed, against that of others.
    pub weight: NonZeroU32,
    /// It gets keys of so many bits. With pools of remote nodes, what one relay takes from the link.
    pub chunk: NonZeroU32,
    /// How many bits it may make up for in one cycle, when it got less than its highest rate allows before. Of the guaranteed
    /// rate as much is made up for, one key at least.
    pub burst: u64,
}

impl Service {
    /// With no guaranteed rate and no limit.
    #[must_use]
    pub const fn new(chunk: NonZeroU32) -> Self {
        Self { guaranteed: 0, highest: u64::MAX, priority: u8::MAX, weight: NonZeroU32::MIN, chunk, burst: 0 }
    }
}

/// Hands the key of one pool out to the services `S`.
#[derive(Clone, Debug)]
pub struct Allocator<S> {
    /// In nanoseconds.
    cycle: u64,
    floor: u64,
    accounts: BTreeMap<S, Account>,
    last: Option<(u64, Allotments<S>)>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    service: Service,
    /// What it is guaranteed and did not get, in units of rate times time.
    owed: u128,
    /// What it may get, in the same.
    allowed: u128,
    /// In bits, how far it is behind (ahead, below zero) by rounding to whole keys: no more than a key of each service.
    deficit: i64,
}

/// Why a service is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidService {
    /// The guaranteed rate is above the highest.
    #[error("the guaranteed rate is above the highest")]
    Rates,
    /// What it may get in a cycle, with the burst, never makes a key.
    #[error("its highest rate and burst never make one key")]
    NeverAKey,
}

/// The cycle is before the last one, so what it was is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cycle {asked} is over: the last was {last}")]
pub struct CycleIsOver {
    /// The cycle asked for.
    pub asked: u64,
    /// The last that was allotted.
    pub last: u64,
}

impl<S: Ord + Clone> Allocator<S> {
    /// With no services. `None` when a cycle is zero or above an hour.
    #[must_use]
    pub fn new(cycle: Duration, floor: u64) -> Option<Self> {
        let nanoseconds = u64::try_from(cycle.as_nanos()).ok().filter(|_| !cycle.is_zero() && cycle <= MAX_CYCLE)?;
        Some(Self { cycle: nanoseconds, floor, accounts: BTreeMap::new(), last: None })
    }

    /// Takes a service in from the next cycle on, or changes it; it then keeps what it is owed.
    ///
    /// # Errors
    /// [`InvalidService`] when it could not be served as it says.
    pub fn insert(&mut self, name: S, service: Service) -> Result<(), InvalidService> {
        if service.guaranteed > service.highest {
            return Err(InvalidService::Rates);
        }
        if self.made(service.highest) + u128::from(service.burst) * BIT < u128::from(service.chunk.get()) * BIT {
            return Err(InvalidService::NeverAKey);
        }
        let burst = u128::from(service.burst) * BIT;
        let account = self.accounts.entry(name).or_insert(Account { service, owed: 0, allowed: burst, deficit: 0 });
        account.service = service;
        Ok(())
    }

    /// Forgets a service from the next cycle on.
    pub fn remove(&mut self, name: &S) {
        self.accounts.remove(name);
    }

    /// Allots the bits of cycle `number` out of `available` ones in the pool, the floor included; no service gets more than is
    /// `wanted` for it. The last cycle is answered again as it was, whatever the other arguments are. Numbers may be left out:
    /// a cycle that nobody asked for brings nothing.
    ///
    /// # Errors
    /// [`CycleIsOver`] for a number below the last.
    pub fn allot(&mut self, number: u64, available: u64, wanted: &BTreeMap<S, u64>) -> Result<&Allotments<S>, CycleIsOver> {
        let done = self.last.as_ref().map(|(last, _)| *last);
        if let Some(last) = done.filter(|last| number < *last) {
            return Err(CycleIsOver { asked: number, last });
        }
        let allotments = match self.last.take() {
            Some((last, allotments)) if last == number => allotments,
            _ => self.compute(available.saturating_sub(self.floor), wanted),
        };
        Ok(&self.last.insert((number, allotments)).1)
    }

    /// Gives back what was allotted to a service in cycle `number` and not moved, because the other end did not have it or a relay
    /// failed: the service may get as much again. No more comes back than it got, and nothing when another cycle was allotted since.
    pub fn give_back(&mut self, number: u64, name: &S, bits: u64) {
        let Some((_, allotments)) = self.last.as_mut().filter(|(last, _)| *last == number) else { return };
        let Some(allotment) = allotments.0.iter_mut().find(|allotment| allotment.service == *name) else { return };
        let bits = bits.min(allotment.bits);
        let of_guaranteed = bits.saturating_sub(allotment.bits - allotment.guaranteed);
        allotment.bits -= bits;
        allotment.guaranteed -= of_guaranteed;
        if let Some(account) = self.accounts.get_mut(name) {
            account.allowed += u128::from(bits) * BIT;
            account.owed += u128::from(of_guaranteed) * BIT;
        }
    }

    fn compute(&mut self, available: u64, wanted: &BTreeMap<S, u64>) -> Allotments<S> {
        let cycle = self.cycle;
        self.accounts.values_mut().for_each(|account| account.begin(cycle));
        let mut accounts: Vec<_> = self.accounts.iter_mut().collect();
        accounts.sort_by_key(|(_, account)| account.service.priority);
        let mut claims: Vec<_> =
            accounts.iter().map(|(name, account)| account.claim(wanted.get(name).copied().unwrap_or(0))).collect();

        // What each should get, in bits: the guaranteed rates by priority, then the rest for all. What was not given to those who
        // are behind is theirs already.
        let owed: Vec<_> = accounts.iter().map(|(_, account)| bits(account.owed)).collect();
        let saved = u64::try_from(accounts.iter().map(|(_, account)| i128::from(account.deficit)).sum::<i128>()).unwrap_or(0);
        let mut classes = Vec::new();
        let mut start = 0;
        for class in accounts.chunk_by(|(_, a), (_, b)| a.service.priority == b.service.priority) {
            classes.push(start..start + class.len());
            start += class.len();
        }
        let mut rest = available.saturating_sub(saved);
        for class in &classes {
            let owed = &owed[class.clone()];
            rest = entitle(rest, &mut claims[class.clone()], |at, claim| owed[at].min(claim.room));
        }
        let guaranteed: Vec<_> = claims.iter().map(|claim| claim.entitled).collect();
        entitle(rest, &mut claims, |_, claim| claim.room - claim.entitled);

        // The same in whole keys, and what is left of that for whoever can take it.
        let mut rest = available;
        let mut waiting = false;
        for class in classes {
            if !waiting {
                rest = give(rest, &mut claims[class.clone()], Claim::due);
                // A key is due that is larger than what is left: it is saved up for, else small keys would always be first.
                waiting = claims[class].iter().any(|claim| claim.due() > claim.given);
            }
        }
        if !waiting {
            give(rest, &mut claims, |claim| claim.limit);
        }

        let most: i64 = accounts.iter().map(|(_, account)| i64::from(account.service.chunk.get())).sum();
        let settle = |(((name, account), claim), guaranteed): (((&S, &mut Account), Claim), u64)| {
            account.owed -= u128::from(guaranteed) * BIT;
            account.allowed -= u128::from(claim.given) * BIT;
            // As in any deficit round robin, who wants nothing saves nothing up.
            let behind = if claim.limit == 0 { 0 } else { claim.behind() };
            account.deficit = behind.clamp(i128::from(-most), i128::from(most)) as i64;
            let (bits, chunk) = (claim.given, account.service.chunk);
            Allotment { service: name.clone(), bits, guaranteed: guaranteed.min(bits), chunk }
        };
        Allotments(accounts.into_iter().zip(claims).zip(guaranteed).map(settle).collect())
    }

    fn made(&self, rate: u64) -> u128 {
        u128::from(rate) * u128::from(self.cycle)
    }
}

impl Account {
    fn begin(&mut self, cycle: u64) {
        let made = |rate: u64| u128::from(rate) * u128::from(cycle);
        let (chunk, burst) = (u128::from(self.service.chunk.get()) * BIT, u128::from(self.service.burst) * BIT);
        self.owed = self.owed.min(burst.max(chunk)) + made(self.service.guaranteed);
        self.allowed = self.allowed.min(burst) + made(self.service.highest);
    }

    fn claim(&self, wanted: u64) -> Claim {
        let (weight, chunk) = (u64::from(self.service.weight.get()), u64::from(self.service.chunk.get()));
        let (wanted, allowed) = (wanted - wanted % chunk, bits(self.allowed));
        // Who is behind could take that much more only because of that, so it is not to count twice.
        let room = wanted.min(allowed.saturating_add_signed(-self.deficit));
        let limit = wanted.min(allowed - allowed % chunk);
        Claim { weight, chunk, limit, room, entitled: 0, deficit: self.deficit, given: 0 }
    }
}

/// Whole bits in units of rate times time.
fn bits(amount: u128) -> u64 {
    u64::try_from(amount / BIT).unwrap_or(u64::MAX)
}

/// What each service gets in one cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotments<S>(Vec<Allotment<S>>);

/// What one service gets in one cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allotment<S> {
    /// Which service.
    pub service: S,
    /// The bits it gets: whole keys.
    pub bits: u64,
    /// How many of them are guaranteed.
    pub guaranteed: u64,
    chunk: NonZeroU32,
}

impl<S: Ord> Allotments<S> {
    /// Each service, by priority, then by name.
    pub fn iter(&self) -> impl Iterator<Item = &Allotment<S>> {
        self.0.iter()
    }

    /// The bits of one service.
    #[must_use]
    pub fn of(&self, service: &S) -> u64 {
        self.0.iter().find(|allotment| allotment.service == *service).map_or(0, |allotment| allotment.bits)
    }

    /// The bits of all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|allotment| allotment.bits).sum()
    }

    /// Whose key is next, one entry a key: by turns, those of higher priority first in each turn.
    pub fn turns(&self) -> impl Iterator<Item = &S> {
        let keys = |allotment: &Allotment<S>| allotment.bits / u64::from(allotment.chunk.get());
        let last = self.0.iter().map(keys).max().unwrap_or(0);
        (0..last).flat_map(move |turn| self.0.iter().filter(move |allotment| turn < keys(allotment)).map(|one| &one.service))
    }
}
