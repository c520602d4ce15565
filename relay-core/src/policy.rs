//! Policy: on which terms two applications share key.
//!
//! A [`Policy`] is a list of [`Rule`]s; the first whose patterns fit master and slave counts, and the default if none does. A
//! [`Decision`] is what follows for one pair: it checks sizes and labels, and names the rule, for the log. Its [`Ways`] give the router
//! its constraints, and check what it found. Several slaves are several pairs, and a key for all of them has to keep to each decision.
//!
//! Terms are checked when a rule is made; where they contradict each other there is no rule.
//!
//! ```
//! use std::time::Duration;
//!
//! use itu_y3803::{ApplicationId, KeySize, KmId, SecrecyLabel};
//! use relay_core::policy::{Allowed, Pattern, Policy, Rule, Shortage, Terms, Ways, WhenShort};
//! use relay_core::routing::Label;
//! use relay_core::shares::Sharing;
//!
//! // Banks want three ways over links of vendors they trust, and rather wait than do with less.
//! let ways = Ways {
//!     sharing: Sharing::new(2, 3).unwrap(),
//!     nodes: Allowed::Except([KmId::new("airport")?].into()),
//!     labels: Allowed::Only([Label::new("vendor-a")?, Label::new("vendor-b")?].into()),
//!     ..Ways::default()
//! };
//! let banks = Terms {
//!     smallest: KeySize::BITS_256,
//!     life: Duration::from_secs(600),
//!     ways,
//!     short: WhenShort::Wait(Duration::from_secs(5)),
//!     ..Terms::default()
//! };
//! let rest = Terms { secrecy: SecrecyLabel::Hybrid, short: WhenShort::Hybrid, ..Terms::default() };
//! let policy = Policy::new(vec![Rule::new("banks", Pattern::new("bank-*")?, Pattern::new("bank-*")?, banks)?], rest)?;
//!
//! let [north, south, shop] = ["bank-north", "bank-south", "shop"].map(|id| ApplicationId::new(id).unwrap());
//! let decision = policy.decide(&north, &south);
//! assert_eq!(decision.rule(), "banks");
//! assert!(decision.check_size(KeySize::from_bits(128).unwrap()).is_err());
//! assert!(decision.check_label(SecrecyLabel::Hybrid).is_err());
//! assert_eq!(decision.when_short(Duration::from_secs(3)), Shortage::Wait(Duration::from_secs(2)));
//! decision.terms().ways.with_constraints(|constraints| {
//!     let may = constraints.node.unwrap(); // goes to `Router::route` with the rest
//!     assert!(may(&KmId::new("harbour").unwrap()) && !may(&KmId::new("airport").unwrap()));
//! });
//!
//! assert_eq!(policy.decide(&north, &shop).rule(), "default");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod pattern;
mod terms;
#[cfg(test)]
mod tests;
mod ways;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use itu_y3803::{ApplicationId, KeySize, KmId, Parties, SecrecyLabel, WallTime};

pub use pattern::Pattern;
pub use terms::{Terms, WhenShort};
pub use ways::{Allowed, Authentication, ITS_AUTHENTICATION, Ways};

/// The name of the rule that counts when no other does.
pub const DEFAULT_RULE: &str = "default";

/// An ordered list of rules, and what counts when none of them fits.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    default: Rule,
}

impl Policy {
    /// Takes the rules in the order in which they are tried.
    ///
    /// # Errors
    /// [`InvalidPolicy`] when two have one name, one has the name of the default, or the default contradicts itself.
    pub fn new(rules: Vec<Rule>, default: Terms) -> Result<Self, InvalidPolicy> {
        let default = Rule::new(DEFAULT_RULE, Pattern::any(), Pattern::any(), default)?;
        let mut names = BTreeSet::from([&default.name]);
        if !rules.iter().all(|rule| names.insert(&rule.name)) {
            return Err(InvalidPolicy("two rules have one name, or one that of the default"));
        }
        Ok(Self { rules, default })
    }

    /// The terms for a master and a slave.
    #[must_use]
    pub fn decide<'a>(&'a self, master: &'a ApplicationId, slave: &'a ApplicationId) -> Decision<'a> {
        let fits = |rule: &&Rule| rule.master.matches(master.as_str()) && rule.slave.matches(slave.as_str());
        Decision { rule: self.rules.iter().find(fits).unwrap_or(&self.default), master, slave }
    }

    /// All terms, those of the default last.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.rules.iter().chain([&self.default]).map(|rule| &rule.terms)
    }

    /// The terms for each slave of these parties: another slave more makes none of them milder.
    pub fn decide_each<'a>(&'a self, parties: &'a Parties) -> impl Iterator<Item = Decision<'a>> {
        parties.slaves().iter().map(|slave| self.decide(parties.master(), slave))
    }
}

/// Terms for the pairs of applications that its patterns fit.
#[derive(Clone, Debug)]
pub struct Rule {
    name: Arc<str>,
    master: Pattern,
    slave: Pattern,
    terms: Terms,
}

impl Rule {
    /// Makes a rule.
    ///
    /// # Errors
    /// [`InvalidPolicy`] when the name is empty or has control characters, or the terms contradict each other.
    pub fn new(name: &str, master: Pattern, slave: Pattern, terms: Terms) -> Result<Self, InvalidPolicy> {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(InvalidPolicy("the name of a rule is empty, or has control characters"));
        }
        terms.check()?;
        Ok(Self { name: name.into(), master, slave, terms })
    }
}

/// What is wrong with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPolicy(&'static str);

/// The terms for one pair of applications, and where they come from. `Display` is a line for the log.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    rule: &'a Rule,
    master: &'a ApplicationId,
    slave: &'a ApplicationId,
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} for {:?} and {:?}: {}", self.rule(), self.master.as_str(), self.slave.as_str(), self.terms())
    }
}

impl<'a> Decision<'a> {
    /// The name of the rule that fitted.
    #[must_use]
    pub fn rule(&self) -> &'a str {
        &self.rule.name
    }

    /// The master it is for.
    #[must_use]
    pub fn master(&self) -> &'a ApplicationId {
        self.master
    }

    /// The slave it is for.
    #[must_use]
    pub fn slave(&self) -> &'a ApplicationId {
        self.slave
    }

    /// Its terms.
    #[must_use]
    pub fn terms(&self) -> &'a Terms {
        &self.rule.terms
    }

    /// Whether keys of this size may be had.
    ///
    /// # Errors
    /// [`Breach::Size`].
    pub fn check_size(&self, size: KeySize) -> Result<(), Breach> {
        let within = (self.terms().smallest..=self.terms().largest).contains(&size);
        if within { Ok(()) } else { Err(Breach::Size(size)) }
    }

    /// Whether a key with this label may be supplied.
    ///
    /// # Errors
    /// [`Breach::Label`].
    pub fn check_label(&self, label: SecrecyLabel) -> Result<(), Breach> {
        if label.satisfies(self.terms().secrecy) { Ok(()) } else { Err(Breach::Label(label)) }
    }

    /// When a key that was made at `created` is deleted if unused.
    #[must_use]
    pub fn expires(&self, created: WallTime) -> WallTime {
        created.after(self.terms().life)
    }

    /// What to do for a request that has waited so long, and for which there is too little key still.
    #[must_use]
    pub fn when_short(&self, waited: Duration) -> Shortage {
        match self.terms().short {
            WhenShort::Wait(at_most) => match at_most.checked_sub(waited) {
                Some(left) if !left.is_zero() => Shortage::Wait(left),
                _ => Shortage::Refuse,
            },
            WhenShort::Refuse => Shortage::Refuse,
            WhenShort::Hybrid => Shortage::Hybrid,
        }
    }
}

/// What to do with a request that there is too little key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Wait for key, so long at most.
    Wait(Duration),
    /// Refuse it.
    Refuse,
    /// Answer it from what QKD key there is and a second key; see [`hybrid`](crate::hybrid).
    Hybrid,
}

/// What is not as a rule demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A key too small or too large.
    #[error("keys of {0} are not allowed")]
    Size(KeySize),
    /// Secrecy that rests on too little.
    #[error("{0} keys are not allowed")]
    Label(SecrecyLabel),
    /// Too few paths, or too many.
    #[error("key is not shared out over {0} paths")]
    Paths(usize),
    /// A path that is too long.
    #[error("a path of {0} hops is too long")]
    Hops(usize),
    /// A path over a node that is not trusted with this.
    #[error("a path leads over {0}")]
    Node(KmId),
    /// A path that leaves a node out.
    #[error("a path does not lead over {0}")]
    NotVia(KmId),
    /// Paths that share a node, or a link.
    #[error("two paths meet in {0}")]
    Meet(KmId),
    /// Slaves that must not be given one key: it cannot keep to the rules of all.
    #[error("the slaves need key that takes different ways")]
    Apart,
}
