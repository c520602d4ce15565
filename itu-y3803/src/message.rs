//! What two key managers say to each other (reference point Kx).
//!
//! The names follow the message types that Q.4163 lists where it has one: key supply notification and the response to it. The
//! messages carry no key in clear: QKD keys are named by identifier, supplied key is sealed under a one-time pad.
//!
//! These are values; how they become octets is the business of the transport.

use alloc::vec::Vec;
use core::fmt;

use crate::id::{ApplicationId, Incarnation, KeyId, KmId, LinkId};
use crate::key::{KeyMaterial, KeySize};
use crate::record::SecrecyLabel;
use crate::time::WallTime;

/// The most QKD keys one [`KeyOffer`] may name.
pub const MAX_OFFERED_KEYS: usize = 1024;
/// The most applications one [`SupplyNotification`] may entitle.
pub const MAX_SLAVES: usize = 64;
/// The most octets of sealed key in one [`SupplyNotification`].
pub const MAX_SEALED_OCTETS: usize = 64 * 1024;
/// The most nodes on the path of a [`RelayMessage`], both ends included.
pub const MAX_PATH_NODES: usize = 64;

/// A message with the incarnation of the key manager that sent it.
#[derive(Debug)]
pub struct KmMessage {
    /// Whose message it is. What a former incarnation of the sender said does not count any more.
    pub sender: Incarnation,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug)]
#[non_exhaustive]
pub enum Body {
    /// First on every connection, and again before each round of repetitions.
    Hello(Hello),
    /// The sender drew QKD keys from its end of a link; the receiver should fetch the same ones from its end.
    Offer(KeyOffer),
    /// Answer to an offer.
    OfferAnswer(OfferAnswer),
    /// Key supply notification: key for applications of the receiver.
    SupplyNotification(SupplyNotification),
    /// Answer to a key supply notification.
    SupplyResponse(SupplyResponse),
    /// Key relay over trusted nodes, step by step.
    Relay(RelayMessage),
}

/// Introduces an incarnation of a key manager.
pub struct Hello {
    /// 32 octets from which the identifiers of supplied keys are made, so that the peer knows them when it sees them.
    pub id_secret: KeyMaterial,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hello")
    }
}

impl Clone for Hello {
    fn clone(&self) -> Self {
        Self { id_secret: self.id_secret.duplicate() }
    }
}

/// Names QKD keys that both ends join to one KMA key (Y3803-9.1-02: identifiers only, no function of the key).
#[derive(Clone, Debug)]
pub struct KeyOffer {
    /// The link whose modules made the keys.
    pub link: LinkId,
    /// The identifier of the KMA key.
    pub key: KeyId,
    /// The QKD keys in it, in order; 1 to [`MAX_OFFERED_KEYS`].
    pub qkd_keys: Vec<KeyId>,
    /// The size of each QKD key.
    pub size: KeySize,
    /// When the KMA key is deleted if unused, at both ends.
    pub expires: WallTime,
    /// KMA keys of the sender with lower identifiers are used or gone; the receiver drops its copies.
    pub spent_below: KeyId,
}

/// Whether the receiver of an offer now has the key, durably.
#[derive(Clone, Debug)]
pub struct OfferAnswer {
    /// As in the offer.
    pub link: LinkId,
    /// As in the offer.
    pub key: KeyId,
    /// Whether it has it. If not, the key is burnt at both ends.
    pub accepted: bool,
}

/// The applications that share a key: one master, who asks for it first, and its slaves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parties {
    master: ApplicationId,
    slaves: Vec<ApplicationId>,
}

impl Parties {
    /// The parties of a key, the slaves in any order; `None` when there is no slave, one twice, or more than [`MAX_SLAVES`].
    #[must_use]
    pub fn new(master: ApplicationId, mut slaves: Vec<ApplicationId>) -> Option<Self> {
        slaves.sort_unstable();
        let distinct = slaves.windows(2).all(|pair| pair[0] != pair[1]);
        (distinct && !slaves.is_empty() && slaves.len() <= MAX_SLAVES).then_some(Self { master, slaves })
    }

    /// Who asks first.
    #[must_use]
    pub fn master(&self) -> &ApplicationId {
        &self.master
    }

    /// Who collects; sorted, each once, at least one.
    #[must_use]
    pub fn slaves(&self) -> &[ApplicationId] {
        &self.slaves
    }
}

/// A block of key for applications of the receiver, sealed under link key that both have.
#[derive(Clone, Debug)]
pub struct SupplyNotification {
    /// The identifier of the block.
    pub block: KeyId,
    /// The master, which the sender serves, and the slaves that the receiver serves.
    pub parties: Parties,
    /// What the secrecy of the block rests on.
    pub label: SecrecyLabel,
    /// When the block was made.
    pub created: WallTime,
    /// When what is left of it is deleted, at both ends.
    pub expires: WallTime,
    /// The link of the pad.
    pub link: LinkId,
    /// The KMA key that is the pad.
    pub pad: KeyId,
    /// The block XOR the pad.
    pub sealed: Vec<u8>,
    /// Authenticates all of the above, under octets of the same KMA key that are used for nothing else.
    pub tag: [u8; 16],
}

/// Whether the receiver of a key supply notification will supply the block, durably.
#[derive(Clone, Debug)]
pub struct SupplyResponse {
    /// As in the notification.
    pub block: KeyId,
    /// Whether it will. If not, the block and its pad are burnt at both ends.
    pub accepted: bool,
}

/// One step of the relay of one key over trusted nodes (Y3803-9.3).
///
/// A relay is reserved along the whole path, and the answer comes back, before any pad is used; then the key goes the same way
/// under a pad for each hop, and its completion comes back.
#[derive(Clone, Debug)]
pub struct RelayMessage {
    /// Names the relay: for the only or first part of a key, by the name of the key.
    pub relay: KeyId,
    /// Which step.
    pub step: RelayStep,
    /// Authenticates the message between the two neighbours; `None` for steps that have a tag of their own.
    pub proof: Option<Proof>,
}

/// The steps of a relay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RelayStep {
    /// From the source to the destination itself, before anything else: what will come, and over which paths.
    Announce(RelayAnnouncement),
    /// Onwards: set a pad aside for the next hop.
    Reserve(RelayReservation),
    /// Backwards: all hops from here on have done so.
    Reserved,
    /// Backwards: the relay has failed here or further on. What had been set aside and not been used is free again.
    Refused {
        /// Where.
        at: KmId,
        /// Why.
        reason: RelayRefusal,
    },
    /// Onwards: the key, under the pad that was reserved for this hop.
    Key {
        /// The key XOR the pad.
        sealed: Vec<u8>,
        /// Authenticates reservation and key, under octets of the same pad that are used for nothing else.
        tag: [u8; 16],
    },
    /// Backwards: the destination has the key, durably (Q.4163: key relay completion notification).
    Complete {
        /// Made by the destination under part of the relayed key, for the source alone to check.
        tag: [u8; 16],
    },
}

/// What source and destination agree on, so that no node on the way can bring the destination anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAnnouncement {
    /// Which pool of relayed key it is for, as both ends call it.
    pub pool: LinkId,
    /// How many parts give the key.
    pub needed: u8,
    /// The path of each part, from the source to the destination.
    pub paths: Vec<Vec<KmId>>,
    /// The length of what will be relayed, in octets.
    pub octets: u32,
    /// When the relayed key is deleted if unused, at both ends.
    pub expires: WallTime,
    /// Keys that the source relayed to this destination with lower identifiers are used or gone.
    pub spent_below: KeyId,
}

/// What every node on the path must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayReservation {
    /// The key, of which this relay carries a part, or all; the same at both ends (Y3803-9.3-06).
    pub key: KeyId,
    /// Which part; 1 for the first.
    pub part: u8,
    /// How many parts give the key.
    pub needed: u8,
    /// How many parts there are, each on a path of its own.
    pub of: u8,
    /// All nodes, from the source to the destination, none twice; 2 to [`MAX_PATH_NODES`].
    pub path: Vec<KmId>,
    /// The place of the receiver in the path; 1 at the first hop.
    pub hop: u8,
    /// The length of what will be relayed, in octets.
    pub octets: u32,
    /// When the relayed key is deleted if unused, at both ends.
    pub expires: WallTime,
    /// The link of the pad of this hop.
    pub link: LinkId,
    /// The pad that the sender has set aside for this hop.
    pub pad: KeyId,
    /// How much key for this destination the source has left, where 255 is all that it wants to hold ready and 95 none; and less than
    /// that, down to 0, the longer it has had none although it was asked for some. Where link key is short, those who have less come
    /// first.
    pub spare: u8,
}

/// Why a node does not relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayRefusal {
    /// No link key is left for the next hop.
    NoKey,
    /// What link key is left for the next hop is too short for what is relayed.
    ShortKey,
    /// There is no connection to the next node, or it is no neighbour.
    NoConnection,
    /// The path is not one that can be followed.
    BadPath,
    /// The pad is not here, was used, or does not fit the message.
    BadPad,
    /// Nothing is reserved under that name, or not any more.
    NotReserved,
    /// The destination does not share key with the source, or not for so long.
    NotWanted,
    /// Too many relays are under way.
    TooMany,
    /// No answer came in time.
    Late,
}

impl RelayRefusal {
    /// Every reason, for tables and decoders.
    pub const ALL: [Self; 9] = [
        Self::NoKey,
        Self::ShortKey,
        Self::NoConnection,
        Self::BadPath,
        Self::BadPad,
        Self::NotReserved,
        Self::NotWanted,
        Self::TooMany,
        Self::Late,
    ];

    /// The reason as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoKey => "no link key is left for the next hop",
            Self::ShortKey => "the link keys that are left for the next hop are too short",
            Self::NoConnection => "there is no connection to the next node",
            Self::BadPath => "the path cannot be followed",
            Self::BadPad => "the pad is not here or does not fit",
            Self::NotReserved => "nothing is reserved under that name",
            Self::NotWanted => "the destination does not take the key",
            Self::TooMany => "too many relays are under way",
            Self::Late => "no answer came in time",
        }
    }
}

impl fmt::Display for RelayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tag between two neighbours, under link key that is used for tags only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The link whose key it is.
    pub link: LinkId,
    /// The link key.
    pub key: KeyId,
    /// Which tag under that key; each place is used once.
    pub place: u32,
    /// The tag.
    pub tag: [u8; 16],
}
