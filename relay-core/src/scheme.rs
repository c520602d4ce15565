//! Relay over trusted nodes after ITU-T Y.3803: who sends what to whom, and what the ends compute from it.
//!
//! A path has nodes 0 (the source) to `hops` (the destination), and a link key for each hop, known to the two nodes of the hop
//! and used once. All schemes follow one rule: **a node sends the exclusive or of all that it heard and of its link keys on the
//! path; that of the destination is the key.** They differ in whom the nodes send to, and in what the source starts with.
//!
//! | digest | figure | here | messages | delay |
//! |---|---|---|---|---|
//! | R1 | 5 | [`HopByHop`](Scheme::HopByHop)`(`[`FirstLink`](EndKey::FirstLink)`)` | each node to the next; none from the source | hops - 1 |
//! | R2 | 6 | `HopByHop(`[`Random`](EndKey::Random)`)`, the default | each node to the next | hops |
//! | R3 | 7 | [`ToDestination`](Scheme::ToDestination) | each node to the destination | 1 |
//! | R4 | 8 | [`Central`](Scheme::Central) | each node to the relay centre, which sends one to the destination | 2 |
//!
//! Each costs as much link key as the key is long, on every link.
//!
//! ```
//! use std::num::NonZeroU8;
//!
//! use itu_y3803::KeyMaterial;
//! use relay_core::scheme::{Node, Relay, Scheme};
//! use subtle::ConstantTimeEq;
//!
//! // North – middle – south: north and the middle share one link key, the middle and south another.
//! let link_key = |octet| KeyMaterial::from_octets(vec![octet; 32]).expect("whole octets");
//! let relay = Relay::new(Scheme::default(), NonZeroU8::new(2).expect("two hops"));
//! assert!(relay.messages().eq([(Node::At(0), Node::At(1)), (Node::At(1), Node::At(2))]));
//!
//! # let mut random = |out: &mut [u8]| out.fill(7);
//! // `random` fills a slice from a cryptographic generator.
//! let (key, message) = relay.source(link_key(1), &mut random);
//! let message = message.expect("north sends one");
//! let message = relay.intermediate(1, [(Node::At(0), message)], link_key(1), link_key(2))?;
//! let at_south = relay.destination([(Node::At(1), message)], link_key(2))?;
//! assert!(bool::from(at_south.ct_eq(&key)));
//! # Ok::<(), relay_core::scheme::RelayError>(())
//! ```
//!
//! # Who learns what
//!
//! Every scheme needs trusted nodes. What is told of the key, if link keys are secret and random:
//!
//! | to whom | hop by hop | to the destination | central |
//! |---|---|---|---|
//! | who sees all messages, but is no node | nothing | nothing | nothing |
//! | a node between, by its keys and the messages that it sends and gets | all | nothing; all to node 1 if the key is the first link's | the same |
//! | a node between that sees all messages | all | all | all |
//! | the relay centre | | | nothing (the exclusive or of key and last link key) |
//! | the relay centre together with a node between | | | all |
//!
//! So [`ToDestination`](Scheme::ToDestination) and [`Central`](Scheme::Central) keep the key from single nodes only if messages
//! travel encrypted to whom they are for; and a random key is better in every scheme, for node 1 has the first link's key anyway.
//! To be safe from any one node, send [shares](crate::shares) over several paths. A link key that is used for two relays tells
//! everybody the exclusive or of the two keys.
//!
//! This is the algebra alone. A changed octet of a message changes the same octet of the key, unseen: whoever sends messages
//! authenticates each of them together with path, place and identifiers (Y3803-9.3-07), as [`Pad`](crate::Pad) does.

use std::collections::BTreeSet;
use std::num::NonZeroU8;

use itu_y3803::{KeyMaterial, RandomSource};
use zeroize::Zeroizing;

/// How a key gets from the source to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Each node sends to the next one, which could read the key (R1, R2).
    HopByHop(EndKey),
    /// Each node sends to the destination (R3).
    ToDestination(EndKey),
    /// Each node sends to a relay centre that is trusted to work, not with the key (R4).
    Central(EndKey),
}

/// What becomes the key of the two ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndKey {
    /// The link key of the first hop: the source need not send anything.
    FirstLink,
    /// A fresh random one, which no node has as a link key.
    #[default]
    Random,
}

impl Default for Scheme {
    /// R2: a random key, hop by hop.
    fn default() -> Self {
        Self::HopByHop(EndKey::Random)
    }
}

impl Scheme {
    /// What becomes the key.
    #[must_use]
    pub fn end_key(self) -> EndKey {
        match self {
            Self::HopByHop(key) | Self::ToDestination(key) | Self::Central(key) => key,
        }
    }
}

/// Who takes part in a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The node at this place on the path; 0 is the source.
    At(u8),
    /// The relay centre.
    Centre,
}

/// What a node sends: key under link key, or a sum of link keys.
///
/// Alone it tells nothing, but a node of the path can turn it into the key. So it is kept like one, and is none.
#[derive(Debug)]
pub struct Masked(pub KeyMaterial);

/// One relay: a scheme on a path of so many hops.
///
/// Link keys are taken by value, so using one twice does not compile (Y3803-7.1-02):
///
/// ```compile_fail
/// # use relay_core::scheme::Relay;
/// # fn twice(relay: Relay, first: itu_y3803::KeyMaterial, random: &mut dyn itu_y3803::RandomSource) {
/// let one = relay.source(first, random);
/// let two = relay.source(first, random); // the link key was moved
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    scheme: Scheme,
    hops: NonZeroU8,
}

impl Relay {
    /// This scheme on a path of so many hops; one hop is a path without trusted nodes between.
    #[must_use]
    pub const fn new(scheme: Scheme, hops: NonZeroU8) -> Self {
        Self { scheme, hops }
    }

    /// Who sends to whom, one message each; a node has heard all that it needs from those before.
    pub fn messages(self) -> impl Iterator<Item = (Node, Node)> {
        let hops = self.hops.get();
        let first = match self.scheme.end_key() {
            EndKey::FirstLink => 1,
            EndKey::Random => 0,
        };
        let (to, centre): (fn(u8, u8) -> Node, _) = match self.scheme {
            Scheme::HopByHop(_) => (|at, _| Node::At(at + 1), None),
            Scheme::ToDestination(_) => (|_, hops| Node::At(hops), None),
            Scheme::Central(_) => (|_, _| Node::Centre, (first < hops).then_some((Node::Centre, Node::At(hops)))),
        };
        (first..hops).map(move |at| (Node::At(at), to(at, hops))).chain(centre)
    }

    /// At the source, with the link key of the first hop: the key, and the message if the source sends one.
    #[must_use]
    pub fn source(self, first: KeyMaterial, random: &mut dyn RandomSource) -> (KeyMaterial, Option<Masked>) {
        match self.scheme.end_key() {
            EndKey::FirstLink => (first, None),
            EndKey::Random => {
                let key = KeyMaterial::generate(first.size(), random);
                let message = self.carry(first, &key).expect("a random key of the same size");
                (key, Some(message))
            }
        }
    }

    /// At the source, in place of [`source`](Self::source): the message for a secret that is there already, such as a
    /// [share](crate::shares), where a scheme has a random key.
    ///
    /// # Errors
    /// [`RelayError`] when lengths differ, or the key of the scheme is the first link's. The link key is gone then, too.
    pub fn carry(self, first: KeyMaterial, secret: &KeyMaterial) -> Result<Masked, RelayError> {
        match self.scheme.end_key() {
            EndKey::FirstLink => Err(RelayError::NoPart),
            EndKey::Random => exclusive_or([&first, secret]).map(Masked),
        }
    }

    /// At a node between, with its place, what it heard, and the link keys towards the source and towards the destination:
    /// the message that it sends. The key does not come into being here, in no scheme.
    ///
    /// # Errors
    /// [`RelayError`] when the place is not between the ends, messages are not those expected, or lengths differ. All the
    /// keys are gone then, too.
    pub fn intermediate(
        self,
        at: u8,
        heard: impl IntoIterator<Item = (Node, Masked)>,
        incoming: KeyMaterial,
        outgoing: KeyMaterial,
    ) -> Result<Masked, RelayError> {
        if !(1..self.hops.get()).contains(&at) {
            return Err(RelayError::NoPart);
        }
        self.sum(Node::At(at), vec![incoming, outgoing], heard).map(Masked)
    }

    /// At the relay centre, with what it heard: the message that it sends to the destination.
    ///
    /// # Errors
    /// [`RelayError`] when there is nothing to do for a centre, messages are not those expected, or lengths differ.
    pub fn centre(self, heard: impl IntoIterator<Item = (Node, Masked)>) -> Result<Masked, RelayError> {
        self.sum(Node::Centre, Vec::new(), heard).map(Masked)
    }

    /// At the destination, with what it heard and the link key of the last hop: the key.
    ///
    /// # Errors
    /// [`RelayError`] when messages are not those expected, or lengths differ. The link key is gone then, too.
    pub fn destination(
        self,
        heard: impl IntoIterator<Item = (Node, Masked)>,
        last: KeyMaterial,
    ) -> Result<KeyMaterial, RelayError> {
        self.sum(Node::At(self.hops.get()), vec![last], heard)
    }

    /// Link keys come first, so that at a node between no intermediate result is the key.
    fn sum(
        self,
        node: Node,
        mut parts: Vec<KeyMaterial>,
        heard: impl IntoIterator<Item = (Node, Masked)>,
    ) -> Result<KeyMaterial, RelayError> {
        let mut expected: BTreeSet<Node> = self.messages().filter(|(_, to)| *to == node).map(|(from, _)| from).collect();
        for (from, Masked(message)) in heard {
            // A second message of one node would cancel the first.
            if !expected.remove(&from) {
                return Err(RelayError::Unexpected(from));
            }
            parts.push(message);
        }
        match expected.first() {
            Some(&from) => Err(RelayError::Missing(from)),
            None => exclusive_or(&parts),
        }
    }
}

/// Why there is no key or message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// Keys and messages are not all of one length; none is cut.
    #[error("link keys and messages of a relay differ in length")]
    Lengths,
    /// A message has not been heard.
    #[error("the message of {0:?} is missing")]
    Missing(Node),
    /// A message from one that sends none to this node, or a second one.
    #[error("{0:?} sends no such message, or only one")]
    Unexpected(Node),
    /// There is no such node in this relay, or it has nothing to do.
    #[error("the node has no part in this relay")]
    NoPart,
}

fn exclusive_or<'a>(parts: impl IntoIterator<Item = &'a KeyMaterial>) -> Result<KeyMaterial, RelayError> {
    let mut parts = parts.into_iter();
    let first = parts.next().ok_or(RelayError::NoPart)?;
    let mut sum = Zeroizing::new(first.expose_secret().to_vec());
    for part in parts {
        if part.size() != first.size() {
            return Err(RelayError::Lengths);
        }
        sum.iter_mut().zip(part.expose_secret()).for_each(|(sum, octet)| *sum ^= octet);
    }
    KeyMaterial::new(std::mem::take(&mut *sum), first.size()).map_err(|_| RelayError::Lengths)
}

#[cfg(test)]
mod tests;
