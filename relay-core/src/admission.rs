//! Admission: whether the links of a path can feed one session more, beside those that were admitted.
//!
//! A session asks each link for so many bits each so often. That covers all schemes of relay:
//!
//! | scheme | on each link of the path | on the first link |
//! |---|---|---|
//! | key over one link, hop by hop, to the destination, by a centre (R1 to R4) | `L` each interval | the same |
//! | a batch of `m` keys made ahead, under a cipher | `L` each `m` intervals | `(m + 1) · L` each `m` intervals |
//!
//! Three tests, link by link; the answer to a refusal names the test and the link, so that the next path can be tried:
//!
//! * [`Test::Rate`]: all sessions together take no more than a part of the rate.
//! * [`Test::Burst`]: at no time up to the horizon the pool falls to less than its floor.
//! * [`Test::Expiry`]: the same, when key is used oldest first and what gets too old is lost. A bit that is too old makes up for
//!   nothing.
//!
//! The last two run the pool forward in slots of time. Key counts from the end of the slot in which it is made and dies early by
//! as much, requests come at the start of theirs: what passes would pass in any finer count. Rates are to be lower bounds
//! ([`low_rate`]). A session holds its reservation, also before it asks for anything, until it is closed or its lease runs out.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use relay_core::admission::{Admission, LinkSupply, Refused, SessionId, Settings, Stored, Test, Use};
//!
//! let now = Instant::now();
//! let mut admission = Admission::new(Settings::default())?;
//! let hour = Duration::from_secs(3_600);
//! for link in ["north-middle", "middle-south"] {
//!     let stored = vec![Stored { bits: 10_000, lasts: hour }];
//!     admission.measure(now, link, LinkSupply { rate: 1_000, life: hour, floor: 1_000, stored });
//! }
//! // 256 bits a second over both links
//! let uses = ["north-middle", "middle-south"].map(|link| Use { link, bits: 256, every: Duration::from_secs(1) });
//! for session in 0..3 {
//!     admission.admit(now, SessionId(session), uses.to_vec())?;
//! }
//! let refused = admission.admit(now, SessionId(3), uses.to_vec()).unwrap_err();
//! assert_eq!(refused, Refused::Link { link: "north-middle", test: Test::Rate });
//!
//! // A minute later two of them have not renewed.
//! let now = now + Duration::from_secs(50);
//! admission.renew(now, SessionId(0));
//! assert_eq!(admission.expire(now + Duration::from_secs(10)), [SessionId(1), SessionId(2)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod forecast;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forecast::{Forecast, Reserved};

/// A session, by a number of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// How strict admission is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The step of the forecast; 1 s.
    pub slot: Duration,
    /// How many of them to look ahead, [`MAX_SLOTS`] at most; 60. Longer than the life of key is no use.
    pub slots: u32,
    /// The part of the rate that may be reserved, in thousandths; 900.
    pub usable: u16,
    /// How long a session holds its reservation without renewing it; 60 s.
    pub lease: Duration,
    /// The most sessions; 4096.
    pub max_sessions: usize,
}

/// The most slots of a forecast.
pub const MAX_SLOTS: u32 = 4_096;
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Settings {
    fn default() -> Self {
        let (slot, lease) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { slot, slots: 60, usable: 900, lease, max_sessions: 4_096 }
    }
}

/// Settings that make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(&'static str);

/// What a link has and makes, as measured. Amounts are in bits, the rate in bit/s.
#[derive(Clone, Debug)]
pub struct LinkSupply {
    /// The rate that is at least to be expected.
    pub rate: u64,
    /// How long key lives from when it is made.
    pub life: Duration,
    /// What is to stay in the pool, for authentication.
    pub floor: u64,
    /// What is in the pool, in any order.
    pub stored: Vec<Stored>,
}

/// Key of one age.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// How much.
    pub bits: u64,
    /// How long it can still be used.
    pub lasts: Duration,
}

/// What a session takes from a link: so many bits at once at its start, and each so often from then on.
#[derive(Clone, Debug)]
pub struct Use<L> {
    /// Which link.
    pub link: L,
    /// How many bits.
    pub bits: u64,
    /// How often.
    pub every: Duration,
}

/// The tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Test {
    /// The rate would not do for all sessions.
    #[error("its rate is too low")]
    Rate,
    /// The pool would run short.
    #[error("its pool would run short")]
    Burst,
    /// The pool would run short of key that is not too old.
    #[error("its pool would run short because key gets too old")]
    Expiry,
}

/// Why a session is not admitted. Nothing is reserved then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused<L> {
    /// A link cannot feed it.
    #[error("link {link} cannot feed the session: {test}")]
    Link {
        /// The first such link in the order of the uses.
        link: L,
        /// The test that it did not pass.
        test: Test,
    },
    /// The link was never measured.
    #[error("link {0} is not known")]
    UnknownLink(L),
    /// The link was measured so long ago that nothing is known of it.
    #[error("nothing new is known of link {0}")]
    Stale(L),
    /// A use is of no bits, or has no time between requests.
    #[error("the session does not say how much key it takes")]
    Use,
    /// A session of this number has a reservation.
    #[error("the session is admitted already")]
    Known,
    /// There are as many sessions as may be.
    #[error("there are too many sessions")]
    TooMany,
}

/// The reservations of all sessions, on links named by `L`.
#[derive(Clone, Debug)]
pub struct Admission<L> {
    settings: Settings,
    links: BTreeMap<L, Link>,
    /// When each loses its reservation.
    sessions: BTreeMap<SessionId, Instant>,
}

#[derive(Clone, Debug)]
struct Link {
    supply: LinkSupply,
    measured: Instant,
    reserved: Vec<(SessionId, Reserved)>,
}

impl<L: Ord + Clone> Admission<L> {
    /// Without links and sessions.
    ///
    /// # Errors
    /// [`InvalidSettings`] names the first that makes no sense.
    pub fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        for (holds, problem) in [
            ((1..=DAY.as_nanos()).contains(&settings.slot.as_nanos()), "a slot is nothing, or above a day"),
            ((1..=MAX_SLOTS).contains(&settings.slots), "the forecast has no slots, or too many"),
            ((1..=1_000).contains(&settings.usable), "the usable part of the rate is not 1 to 1000 thousandths"),
            ((1..=DAY.as_nanos()).contains(&settings.lease.as_nanos()), "a lease is nothing, or above a day"),
        ] {
            if !holds {
                return Err(InvalidSettings(problem));
            }
        }
        Ok(Self { settings, links: BTreeMap::new(), sessions: BTreeMap::new() })
    }

    /// Takes over what was measured of a link just now. What sessions took before `now` is no longer in it, and what they take from
    /// now on is foreseen. Reservations stay, whatever is measured.
    pub fn measure(&mut self, now: Instant, link: L, supply: LinkSupply) {
        let reserved = self.links.remove(&link).map(|link| link.reserved).unwrap_or_default();
        self.links.insert(link, Link { supply, measured: now, reserved });
    }

    /// Admits a session that starts now, if all links can feed it, and reserves what it takes.
    ///
    /// # Errors
    /// [`Refused`] says why not.
    pub fn admit(&mut self, now: Instant, session: SessionId, uses: Vec<Use<L>>) -> Result<(), Refused<L>> {
        self.expire(now);
        if self.sessions.contains_key(&session) {
            return Err(Refused::Known);
        }
        if self.sessions.len() >= self.settings.max_sessions {
            return Err(Refused::TooMany);
        }
        if uses.is_empty() || uses.iter().any(|wanted| wanted.bits == 0 || wanted.every.is_zero()) {
            return Err(Refused::Use);
        }
        for wanted in &uses {
            let link = self.links.get(&wanted.link).ok_or_else(|| Refused::UnknownLink(wanted.link.clone()))?;
            let more = uses.iter().filter(|other| other.link == wanted.link);
            let reserved: Vec<_> =
                link.reserved.iter().map(|(_, reserved)| *reserved).chain(more.map(|one| one.from(now))).collect();
            let forecast = Forecast::new(&self.settings, &link.supply, link.measured, now, &reserved)
                .ok_or_else(|| Refused::Stale(wanted.link.clone()))?;
            if let Some(test) = forecast.fails() {
                return Err(Refused::Link { link: wanted.link.clone(), test });
            }
        }
        for wanted in uses {
            let reserved = wanted.from(now);
            if let Some(link) = self.links.get_mut(&wanted.link) {
                link.reserved.push((session, reserved));
            }
        }
        self.sessions.insert(session, now + self.settings.lease);
        Ok(())
    }

    /// Prolongs the lease of a session; `false` when it has none any more and must be admitted anew.
    pub fn renew(&mut self, now: Instant, session: SessionId) -> bool {
        self.expire(now);
        self.sessions.get_mut(&session).map(|until| *until = now + self.settings.lease).is_some()
    }

    /// Ends a session; `false` when there is none.
    pub fn close(&mut self, session: SessionId) -> bool {
        let closed = self.sessions.remove(&session).is_some();
        if closed {
            self.release(|other| other == session);
        }
        closed
    }

    /// Ends the sessions whose lease has run out, and names them.
    pub fn expire(&mut self, now: Instant) -> Vec<SessionId> {
        let over: Vec<_> = self.sessions.iter().filter(|&(_, &until)| until <= now).map(|(session, _)| *session).collect();
        if !over.is_empty() {
            self.sessions.retain(|_, until| *until > now);
            self.release(|session| over.binary_search(&session).is_ok());
        }
        over
    }

    /// When the next lease runs out.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions.values().min().copied()
    }

    /// What all sessions take from a link, in bit/s, rounded up.
    #[must_use]
    pub fn reserved_rate(&self, link: &L) -> u64 {
        let rates = self.links.get(link).into_iter().flat_map(|link| &link.reserved).map(|(_, reserved)| reserved.rate());
        u64::try_from(rates.fold(0, u128::saturating_add).div_ceil(1_000)).unwrap_or(u64::MAX)
    }

    fn release(&mut self, of: impl Fn(SessionId) -> bool) {
        self.links.values_mut().for_each(|link| link.reserved.retain(|(session, _)| !of(*session)));
    }
}

impl<L> Use<L> {
    fn from(&self, start: Instant) -> Reserved {
        Reserved { bits: self.bits, every: self.every, start }
    }
}

/// The rate that is at least to be expected, from the mean of so many measurements and their standard deviation, in bit/s:
/// `mean - z * deviation / sqrt(measurements)`, with `z` in hundredths (164 leaves out one case in twenty). Rounded down.
#[must_use]
pub fn low_rate(mean: u64, deviation: u64, measurements: u32, z: u32) -> u64 {
    let margin = u128::from(deviation) * u128::from(z);
    let squared = margin.checked_mul(margin).filter(|_| measurements > 0);
    let Some(squared) = squared.map(|squared| squared.div_ceil(10_000 * u128::from(measurements))) else { return 0 };
    let root = squared.isqrt();
    let margin = if root * root < squared { root + 1 } else { root };
    mean.saturating_sub(u64::try_from(margin).unwrap_or(u64::MAX))
}
