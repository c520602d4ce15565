//! How fast a link makes key: playing back a trace or a constant, at a speed, with an override.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trace::{LinkState, Trace};

/// A secret key rate in bits per second: finite, not negative, at most [`Skr::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Skr(f64);

impl Skr {
    /// No key at all: the link has failed.
    pub const ZERO: Self = Self(0.0);
    /// The highest rate: one terabit per second.
    pub const MAX: Self = Self(1e12);

    /// A rate in bits per second.
    ///
    /// # Errors
    /// [`InvalidRate`] when it is negative, not finite, or beyond [`Skr::MAX`].
    pub fn new(bps: f64) -> Result<Self, InvalidRate> {
        // Adding 0 turns a negative zero into the common one.
        if (0.0..=Self::MAX.0).contains(&bps) { Ok(Self(bps + 0.0)) } else { Err(InvalidRate) }
    }

    /// The rate in bits per second.
    #[must_use]
    pub const fn bps(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Skr {
    type Error = InvalidRate;
    fn try_from(bps: f64) -> Result<Self, InvalidRate> {
        Self::new(bps)
    }
}

impl From<Skr> for f64 {
    fn from(rate: Skr) -> Self {
        rate.0
    }
}

/// A number that is no secret key rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret key rate is a number from 0 to 10^12 bits per second")]
pub struct InvalidRate;

/// How much faster than real time a link runs: 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Speed(f64);

impl Speed {
    /// Real time.
    pub const REAL_TIME: Self = Self(1.0);
    /// The highest speed.
    pub const MAX: Self = Self(1000.0);

    /// A speed as a factor.
    ///
    /// # Errors
    /// [`InvalidSpeed`] outside 1 to 1000.
    pub fn new(factor: f64) -> Result<Self, InvalidSpeed> {
        if (Self::REAL_TIME.0..=Self::MAX.0).contains(&factor) { Ok(Self(factor)) } else { Err(InvalidSpeed) }
    }

    /// The factor.
    #[must_use]
    pub const fn factor(self) -> f64 {
        self.0
    }

    fn stretch(self, time: Duration) -> Duration {
        Duration::try_from_secs_f64(time.as_secs_f64() * self.0).unwrap_or(Duration::MAX)
    }
}

impl TryFrom<f64> for Speed {
    type Error = InvalidSpeed;
    fn try_from(factor: f64) -> Result<Self, InvalidSpeed> {
        Self::new(factor)
    }
}

impl From<Speed> for f64 {
    fn from(speed: Speed) -> Self {
        speed.0
    }
}

/// A number that is no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the speed is a factor from 1 to 1000")]
pub struct InvalidSpeed;

/// Where the rate comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum RateSource {
    /// Always the same rate.
    Constant(Skr),
    /// A recorded or synthetic trace.
    Trace(Trace),
}

/// A rate source played at a speed. Times are real times since the link began.
#[derive(Clone, Debug)]
pub struct Playback {
    source: RateSource,
    speed: Speed,
    overridden: Option<Skr>,
}

impl Playback {
    /// Plays `source` at `speed`, without override.
    #[must_use]
    pub fn new(source: RateSource, speed: Speed) -> Self {
        Self { source, speed, overridden: None }
    }

    /// Sets a rate that holds instead of the source's, or with `None` goes back to the source, which has run on meanwhile.
    ///
    /// The rate is multiplied by the speed like every other.
    pub fn set_override(&mut self, rate: Option<Skr>) {
        self.overridden = rate;
    }

    /// The override, if one is set.
    #[must_use]
    pub fn overridden(&self) -> Option<Skr> {
        self.overridden
    }

    /// The speed.
    #[must_use]
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Whether the source is a trace that calls itself synthetic.
    #[must_use]
    pub fn is_synthetic(&self) -> bool {
        matches!(&self.source, RateSource::Trace(trace) if trace.is_synthetic())
    }

    /// The link's bits between two real times, under the present override.
    #[must_use]
    pub fn bits_between(&self, from: Duration, to: Duration) -> f64 {
        let constant = match (&self.source, self.overridden) {
            (_, Some(rate)) => rate,
            (RateSource::Constant(rate), None) => *rate,
            (RateSource::Trace(trace), None) => return trace.bits_between(self.speed.stretch(from), self.speed.stretch(to)),
        };
        to.saturating_sub(from).as_secs_f64() * self.speed.0 * constant.bps()
    }

    /// The condition at a real time.
    #[must_use]
    pub fn condition(&self, at: Duration) -> Condition {
        let constant = match (&self.source, self.overridden) {
            (_, Some(rate)) => rate,
            (RateSource::Constant(rate), None) => *rate,
            (RateSource::Trace(trace), None) => {
                let sample = trace.sample_at(self.speed.stretch(at));
                return Condition { skr: sample.skr, qber: sample.qber, state: sample.state };
            }
        };
        let state = if constant == Skr::ZERO { LinkState::Dead } else { LinkState::Good };
        Condition { skr: constant, qber: None, state }
    }
}

/// What a link delivers at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// The rate, before the speed is applied.
    pub skr: Skr,
    /// The quantum bit error rate as a fraction of 1, where known.
    pub qber: Option<f64>,
    /// Good, degraded or dead.
    pub state: LinkState,
}
