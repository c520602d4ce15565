//! The terms on which key is shared.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use itu_y3803::{KeySize, KmId, SecrecyLabel};

use super::InvalidPolicy;
use crate::routing::Label;
use crate::shares::Sharing;

/// The most paths: shares are numbered by the elements of GF(2^8) other than zero.
pub const MAX_PATHS: u8 = 255;
/// The label of links whose messages are authenticated with one-time keys.
pub const ITS_AUTHENTICATION: &str = "auth-its";

/// On which terms applications share key. Start from the default, which demands keys that rest on no computation over any one
/// path and refuses when short, and change what should differ.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The smallest key; 1 bit.
    pub smallest: KeySize,
    /// The largest key; 2^32 - 1 bits.
    pub largest: KeySize,
    /// How long a key is kept; 4 h.
    pub life: Duration,
    /// What the secrecy of keys rests on at least.
    pub secrecy: SecrecyLabel,
    /// The most hops of a path.
    pub max_hops: Option<usize>,
    /// Which nodes may be between the ends.
    pub nodes: Allowed<KmId>,
    /// Which nodes have to be.
    pub required_nodes: BTreeSet<KmId>,
    /// Which links may be used: with `Only`, those with one of the labels at least.
    pub labels: Allowed<Label>,
    /// Labels that each link must have, all of them.
    pub required_labels: BTreeSet<Label>,
    /// Over how many paths, and how many of them have to arrive.
    pub shares: Shares,
    /// How messages on the way are authenticated.
    pub authentication: Authentication,
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
            max_hops: None,
            nodes: Allowed::Any,
            required_nodes: BTreeSet::new(),
            labels: Allowed::Any,
            required_labels: BTreeSet::new(),
            shares: Shares::One,
            authentication: Authentication::Any,
            short: WhenShort::Refuse,
        }
    }
}

impl Terms {
    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        let paths = self.shares.paths();
        let enough_shares = match self.shares {
            Shares::One => true,
            Shares::Xor { paths } => paths >= 2,
            Shares::Threshold { needed, paths } => (2..=paths).contains(&needed),
        };
        let reachable = |node: &KmId| self.nodes.allows(node);
        let barred = |label: &str| match &self.labels {
            Allowed::Except(set) => set.iter().any(|barred| barred.as_str() == label),
            Allowed::Any | Allowed::Only(_) => false,
        };
        let required_is_barred = self.required_labels.iter().any(|label| barred(label.as_str()))
            || self.authentication == Authentication::Its && barred(ITS_AUTHENTICATION);
        let hybrid_is_less = self.short == WhenShort::Hybrid && !SecrecyLabel::Hybrid.satisfies(self.secrecy);
        for (holds, problem) in [
            (self.smallest <= self.largest, "the smallest key is above the largest"),
            (!self.life.is_zero(), "keys have no life time"),
            (self.max_hops != Some(0), "a path has no hops"),
            (enough_shares, "a key is shared out so that less than two shares give it away"),
            (self.required_nodes.iter().all(reachable), "a node is required and not allowed"),
            (self.required_nodes.is_empty() || paths == 1, "a node is required on paths that are to share none"),
            (self.required_nodes.len() < self.max_hops.unwrap_or(usize::MAX), "more nodes are required than hops allow"),
            (!required_is_barred, "a label is required and not allowed"),
            (!hybrid_is_less, "hybrid keys are given when short, but are less than is demanded"),
            (self.short != WhenShort::Wait(Duration::ZERO), "the wait for key is zero: refuse instead"),
        ] {
            if !holds {
                return Err(InvalidPolicy(problem));
            }
        }
        Ok(())
    }

    /// Whether a link with these labels may be used.
    pub(super) fn allow_link(&self, labels: &[Label]) -> bool {
        let authenticated = || labels.iter().any(|label| label.as_str() == ITS_AUTHENTICATION);
        let allowed = match &self.labels {
            Allowed::Any => true,
            Allowed::Only(set) => labels.iter().any(|label| set.contains(label)),
            Allowed::Except(set) => !labels.iter().any(|label| set.contains(label)),
        };
        allowed
            && self.required_labels.iter().all(|label| labels.contains(label))
            && (self.authentication == Authentication::Any || authenticated())
    }

    /// Whether it matters which way key takes, beside the number of paths.
    pub(crate) fn restrict_paths(&self) -> bool {
        self.max_hops.is_some() || !self.nodes.is_any() || !self.required_nodes.is_empty() || self.ask_for_links()
    }

    /// Whether links are asked for their labels at all.
    pub(super) fn ask_for_links(&self) -> bool {
        !self.labels.is_any() || !self.required_labels.is_empty() || self.authentication != Authentication::Any
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { smallest, largest, life, secrecy, .. } = self;
        write!(f, "{} to {largest}, life {} s, at least {secrecy}, ", smallest.bits(), life.as_secs())?;
        match self.shares {
            Shares::One => f.write_str("one path")?,
            Shares::Xor { paths } => write!(f, "all of {paths} paths")?,
            Shares::Threshold { needed, paths } => write!(f, "{needed} of {paths} paths")?,
        }
        if let Some(most) = self.max_hops {
            write!(f, ", {most} hops at most")?;
        }
        if !self.nodes.is_any() || !self.required_nodes.is_empty() {
            f.write_str(", over certain nodes")?;
        }
        if self.ask_for_links() {
            f.write_str(", over certain links")?;
        }
        match self.short {
            WhenShort::Wait(at_most) => write!(f, ", waits {} ms when short", at_most.as_millis()),
            WhenShort::Refuse => f.write_str(", refuses when short"),
            WhenShort::Hybrid => f.write_str(", hybrid when short"),
        }
    }
}

/// What may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Everything.
    Any,
    /// These, and nothing else.
    Only(BTreeSet<T>),
    /// Everything but these.
    Except(BTreeSet<T>),
}

impl<T: Ord> Allowed<T> {
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    pub(super) fn allows(&self, item: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(set) => set.contains(item),
            Self::Except(set) => !set.contains(item),
        }
    }
}

/// How key is shared out over paths that have no node in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shares {
    /// It is not: one path carries it.
    One,
    /// The key is the XOR of all shares; none may be missing.
    Xor {
        /// How many shares, 2 at least.
        paths: u8,
    },
    /// Shamir's secret sharing.
    Threshold {
        /// How many shares give the key, 2 at least: with one, every node on the way would have it.
        needed: u8,
        /// How many shares are made.
        paths: u8,
    },
}

impl Shares {
    /// How the key manager shares key out like this; `None` when that is over more paths than it can.
    #[must_use]
    pub fn sharing(self) -> Option<Sharing> {
        match self {
            Self::One => Some(Sharing::ONE),
            Self::Xor { paths } => Sharing::new(paths, paths),
            Self::Threshold { needed, paths } => Sharing::new(needed, paths),
        }
    }

    /// The number of paths.
    #[must_use]
    pub const fn paths(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Xor { paths } | Self::Threshold { paths, .. } => paths,
        }
    }
}

/// How relay messages have to be authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// In any way that the link has.
    Any,
    /// With one-time keys: only over links that have the label [`ITS_AUTHENTICATION`].
    Its,
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
