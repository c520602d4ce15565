//! The terms on which key is shared.

use std::fmt;
use std::time::Duration;

use itu_y3803::{KeySize, SecrecyLabel};

use super::{InvalidPolicy, Ways};

/// On which terms applications share key. Start from the default, which demands keys that rest on no computation over any one
/// path and refuses when short, and change what should differ. Whoever refuses when short also refuses the first order of
/// parties that were not prepared ([`Input::Prepare`](crate::Input::Prepare)): for them nothing is ready.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The smallest key; 1 bit.
    pub smallest: KeySize,
    /// The largest key; 2^32 - 1 bits.
    pub largest: KeySize,
    /// How long a key is kept; 4 h.
    pub life: Duration,
    /// What the secrecy of keys rests on at least. For who combines keys: those of the key manager itself satisfy anything.
    pub secrecy: SecrecyLabel,
    /// Which ways keys take.
    pub ways: Ways,
    /// What to do when there is too little key.
    pub short: WhenShort,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            smallest: KeySize::MIN,
            largest: KeySize::from_bits(u32::MAX).unwrap_or(KeySize::MIN),
            life: Duration::from_secs(4 * 3600),
            secrecy: SecrecyLabel::ItsRelay,
            ways: Ways::default(),
            short: WhenShort::Refuse,
        }
    }
}

impl Terms {
    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        self.ways.check()?;
        let hybrid_is_less = self.short == WhenShort::Hybrid && !SecrecyLabel::Hybrid.satisfies(self.secrecy);
        for (holds, problem) in [
            (self.smallest <= self.largest, "the smallest key is above the largest"),
            (!self.life.is_zero(), "keys have no life time"),
            (!hybrid_is_less, "hybrid keys are given when short, but are less than is demanded"),
            (self.short != WhenShort::Wait(Duration::ZERO), "the wait for key is zero: refuse instead"),
        ] {
            if !holds {
                return Err(InvalidPolicy(problem));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smallest, largest, life, secrecy, .. } = self;
        write!(f, "{} to {largest}, life {} s, at least {secrecy}, ", smallest.bits(), life.as_secs())?;
        match (self.ways.sharing.needed(), self.ways.sharing.of()) {
            (1, 1) => f.write_str("one path")?,
            (needed, of) if needed == of => write!(f, "all of {of} paths")?,
            (needed, of) => write!(f, "{needed} of {of} paths")?,
        }
        if let Some(most) = self.ways.max_hops {
            write!(f, ", {most} hops at most")?;
        }
        if self.ways.ask_for_nodes() {
            f.write_str(", over certain nodes")?;
        }
        if self.ways.ask_for_links() {
            f.write_str(", over certain links")?;
        }
        match self.short {
            WhenShort::Wait(at_most) => write!(f, ", waits {} ms when short", at_most.as_millis()),
            WhenShort::Refuse => f.write_str(", refuses when short"),
            WhenShort::Hybrid => f.write_str(", hybrid when short"),
        }
    }
}

/// What to do when there is too little key for a request (Y3803-9.4-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenShort {
    /// Wait so long, then refuse.
    Wait(Duration),
    /// Refuse at once.
    Refuse,
    /// Combine a small QKD key with a second key ([`hybrid`](crate::hybrid)); refuse when either is missing.
    Hybrid,
}
