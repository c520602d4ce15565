//! Which ways key may take through the network.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use itu_y3803::{KmId, Paths};
use sha2::{Digest, Sha256};

use super::{Breach, InvalidPolicy};
use crate::encoding::Writer;
use crate::routing::{Constraints, Label, LinkAdvert};
use crate::shares::Sharing;

/// The label of links whose messages are authenticated with one-time keys.
pub const ITS_AUTHENTICATION: &str = "auth-its";

/// Which ways key may take; the default is [any](Self::ANY) one path.
///
/// A QKD link between the nodes of master and slave has no node on the way: it serves whatever is said here of nodes, hops and paths,
/// unless nodes are required.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ways {
    /// Over how many paths a key is shared out, and how many of them have to arrive.
    pub sharing: Sharing,
    /// The most hops of a path. Of several paths together, those that a router finds may be longer although there are shorter ones.
    pub max_hops: Option<usize>,
    /// Which nodes may be between the ends.
    pub nodes: Allowed<KmId>,
    /// Which nodes have to be.
    pub required_nodes: BTreeSet<KmId>,
    /// Which links may be used: with `Only`, those with one of the labels at least. For relays, of several links between two nodes all have
    /// to be like this: a node takes key of whichever has most.
    pub labels: Allowed<Label>,
    /// Labels that each link must have, all of them.
    pub required_labels: BTreeSet<Label>,
    /// How messages on the way are authenticated.
    pub authentication: Authentication,
}

impl Ways {
    /// Any one path.
    pub const ANY: Self = Self {
        sharing: Sharing::ONE,
        max_hops: None,
        nodes: Allowed::Any,
        required_nodes: BTreeSet::new(),
        labels: Allowed::Any,
        required_labels: BTreeSet::new(),
        authentication: Authentication::Any,
    };

    /// Any ways that key can be shared out over like this.
    #[must_use]
    pub fn shared(sharing: Sharing) -> Self {
        Self { sharing, ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), InvalidPolicy> {
        let several = self.sharing.of() > 1;
        let reachable = |node: &KmId| self.nodes.allows(node);
        let barred = |label: &str| match &self.labels {
            Allowed::Except(set) => set.iter().any(|barred| barred.as_str() == label),
            Allowed::Any | Allowed::Only(_) => false,
        };
        let required_is_barred = self.required_labels.iter().any(|label| barred(label.as_str()))
            || self.authentication == Authentication::Its && barred(ITS_AUTHENTICATION);
        for (holds, problem) in [
            (self.max_hops != Some(0), "a path has no hops"),
            (!several || self.sharing.needed() > 1, "a key is shared out so that less than two shares give it away"),
            (self.required_nodes.iter().all(reachable), "a node is required and not allowed"),
            (self.required_nodes.is_empty() || !several, "a node is required on paths that are to share none"),
            (self.required_nodes.len() < self.max_hops.unwrap_or(usize::MAX), "more nodes are required than hops allow"),
            (!required_is_barred, "a label is required and not allowed"),
        ] {
            if !holds {
                return Err(InvalidPolicy(problem));
            }
        }
        Ok(())
    }

    /// Whether a link with these labels may be used.
    #[must_use]
    pub fn allow_link(&self, labels: &[Label]) -> bool {
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

    /// Whether all nodes on these paths may be there.
    pub(crate) fn allow_nodes_of(&self, paths: &Paths) -> bool {
        paths.between().all(|node| self.nodes.allows(node))
    }

    /// Whether key of a QKD link with these labels will do between its ends.
    pub(crate) fn allow_direct(&self, labels: &[Label]) -> bool {
        self.required_nodes.is_empty() && self.allow_link(labels)
    }

    /// Whether key may be relayed over these paths, all at once; each with all its nodes, the first and the last as well. Whether their
    /// links will do, the router has seen to: it knows how they are labelled.
    ///
    /// # Errors
    /// [`Breach`] names the first thing that is not as demanded.
    pub fn check_paths(&self, paths: &[Vec<KmId>]) -> Result<(), Breach> {
        if paths.len() != usize::from(self.sharing.of()) {
            return Err(Breach::Paths(paths.len()));
        }
        let mut met = BTreeSet::new();
        for path in paths {
            let [_, between @ .., to] = &path[..] else { return Err(Breach::Hops(0)) };
            if self.max_hops.is_some_and(|most| between.len() + 1 > most) {
                return Err(Breach::Hops(between.len() + 1));
            }
            if let Some(node) = between.iter().find(|node| !self.nodes.allows(node)) {
                return Err(Breach::Node(node.clone()));
            }
            if let Some(node) = self.required_nodes.iter().find(|node| !between.contains(node)) {
                return Err(Breach::NotVia(node.clone()));
            }
            if let Some(node) = between.iter().find(|node| !met.insert(*node)) {
                return Err(Breach::Meet(node.clone()));
            }
            // Paths of one hop have no node to meet in, and yet are one and the same.
            if between.is_empty() && !met.insert(to) {
                return Err(Breach::Meet(to.clone()));
            }
        }
        Ok(())
    }

    /// Calls `route` with what a router has to keep to.
    pub fn with_constraints<T>(&self, route: impl FnOnce(&Constraints<'_>) -> T) -> T {
        let node = |node: &KmId| self.nodes.allows(node);
        let link = |link: &LinkAdvert| self.allow_link(&link.labels);
        route(&Constraints {
            max_hops: self.max_hops,
            node: (!self.nodes.is_any()).then_some(&node as &dyn Fn(&KmId) -> bool),
            via: (!self.required_nodes.is_empty()).then_some(&self.required_nodes),
            hop: None,
            link: self.ask_for_links().then_some(&link as &dyn Fn(&LinkAdvert) -> bool),
        })
    }

    /// Whether what keeps to this keeps to `other`, too. When it cannot be told, not.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        let spare = |sharing: Sharing| sharing.of() - sharing.needed();
        self.sharing.needed() >= other.sharing.needed()
            && spare(self.sharing) >= spare(other.sharing)
            && other.max_hops.is_none_or(|most| self.max_hops.is_some_and(|own| own <= most))
            && (self.nodes.are_within(&other.nodes) || self.nodes.are_none_of(&other.nodes))
            && self.required_nodes.is_superset(&other.required_nodes)
            && self.labels.are_within(&other.labels)
            && self.required_labels.is_superset(&other.required_labels)
            && self.authentication >= other.authentication
    }

    /// A name for everything but the number of paths: the same at every node, whatever its rules are called and in which order they
    /// come, and another one as soon as anything differs. `None` for ways without restrictions.
    pub(crate) fn name(&self) -> Option<String> {
        if *self == Self::shared(self.sharing) {
            return None;
        }
        let mut text = Writer::with_capacity(256);
        text.text("qkms ways 1");
        text.number(self.max_hops.map_or(u64::MAX, |most| most as u64));
        self.nodes.write(&mut text, KmId::as_str);
        write_all(&mut text, &self.required_nodes, KmId::as_str);
        self.labels.write(&mut text, Label::as_str);
        write_all(&mut text, &self.required_labels, Label::as_str);
        text.octet(match self.authentication {
            Authentication::Any => 0,
            Authentication::Its => 1,
        });
        let digest = Sha256::digest(&*text.0);
        Some(digest[..16].iter().fold(String::new(), |mut name, octet| {
            // A string takes what is written.
            let _ = write!(name, "{octet:02x}");
            name
        }))
    }

    /// Whether links are asked for their labels at all.
    pub(super) fn ask_for_links(&self) -> bool {
        !self.labels.is_any() || !self.required_labels.is_empty() || self.authentication != Authentication::Any
    }

    /// Whether nodes are asked for.
    pub(super) fn ask_for_nodes(&self) -> bool {
        !self.nodes.is_any() || !self.required_nodes.is_empty()
    }
}

/// What may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowed<T> {
    /// Everything.
    #[default]
    Any,
    /// These, and nothing else.
    Only(BTreeSet<T>),
    /// Everything but these.
    Except(BTreeSet<T>),
}

impl<T: Ord> Allowed<T> {
    fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    fn allows(&self, item: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(set) => set.contains(item),
            Self::Except(set) => !set.contains(item),
        }
    }

    /// Whether this allows only what the other does not except. Not for labels, of which a link may have others beside.
    fn are_none_of(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Only(own), Self::Except(other)) if own.is_disjoint(other))
    }

    /// Whether what is allowed here is allowed there. Of what has several labels, it is not known for others than the ones named.
    fn are_within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Any) => true,
            (Self::Only(own), Self::Only(other)) => own.is_subset(other),
            (Self::Except(own), Self::Except(other)) => own.is_superset(other),
            _ => false,
        }
    }

    fn write(&self, out: &mut Writer, text: fn(&T) -> &str) {
        let (kind, set) = match self {
            Self::Any => (0, None),
            Self::Only(set) => (1, Some(set)),
            Self::Except(set) => (2, Some(set)),
        };
        out.octet(kind);
        if let Some(set) = set {
            write_all(out, set, text);
        }
    }
}

fn write_all<T>(out: &mut Writer, set: &BTreeSet<T>, text: fn(&T) -> &str) {
    out.number(set.len() as u64);
    set.iter().for_each(|item| out.text(text(item)));
}

/// How relay messages have to be authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authentication {
    /// In any way that the link has.
    #[default]
    Any,
    /// With one-time keys: only over links that have the label [`ITS_AUTHENTICATION`].
    Its,
}
