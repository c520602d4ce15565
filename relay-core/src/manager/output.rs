//! What a key manager wants done, and what it answers.

use std::sync::Arc;

use itu_y3803::{KeyId, KeySize, KmId, KmMessage, KsaKey, LinkId, Parties};

use super::{Event, OrderId};
use crate::lease::Lease;
use crate::policy::Ways;

/// What is to be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Tell a neighbour, or another key manager of [`Config::distant`](super::Config::distant). If it does not arrive, it is said again
    /// in time.
    Send {
        /// Whom.
        to: KmId,
        /// What.
        message: KmMessage,
    },
    /// Ask this end's QKD module for new keys; answer with [`Input::Drawn`](super::Input::Drawn), whatever happens.
    Draw {
        /// The link to ask for.
        link: LinkId,
        /// How many keys at the most.
        number: u32,
        /// Of which size.
        size: KeySize,
    },
    /// Ask this end's QKD module for the keys that the other end drew; answer with [`Input::Fetched`](super::Input::Fetched), whatever happens.
    Fetch {
        /// The link to ask for.
        link: LinkId,
        /// The KMA key that they become.
        key: KeyId,
        /// The QKD keys.
        qkd_keys: Vec<KeyId>,
    },
    /// Find paths for relays to a distant key manager (Y3803-8.3-01), for instance with
    /// [`LinkStates::paths`](crate::routing::LinkStates::paths); answer with [`Input::Route`](super::Input::Route), whatever comes of it.
    RouteWanted {
        /// Names the question.
        pool: LinkId,
        /// The destination.
        to: KmId,
        /// How many, with no node in common but their ends, and what they have to keep to. Paths that do not are not taken; of the labels
        /// of links, this node knows those of its own alone, and believes the answer for the rest.
        ways: Arc<Ways>,
        /// Hops that a node refused of late: other ways are better, if there are any. For a pool with a neighbour also the hop to it:
        /// a way of that hop alone is no use, and not taken.
        avoid: Vec<(KmId, KmId)>,
    },
    /// Keys for the application of this order.
    Supplied {
        /// The order.
        order: OrderId,
        /// The keys: as many as were asked for, in the order asked for.
        keys: Vec<KsaKey>,
    },
    /// Key for the caller to serve from.
    Leased {
        /// The order.
        order: OrderId,
        /// The key.
        lease: Lease,
    },
    /// No keys for this order, and none were spent.
    Refused {
        /// The order.
        order: OrderId,
        /// Why.
        reason: Refusal,
    },
    /// What was leased for these parties before is void: a slave's key manager has lost its copy.
    Revoked {
        /// Whose leases.
        parties: Arc<Parties>,
    },
    /// For logs and meters.
    Event(Event),
}

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An application is not in the directory, or the master is not of this node.
    #[error("an application is not known")]
    UnknownApplication,
    /// The size is not whole octets, or too large.
    #[error("keys of this size cannot be supplied")]
    SizeNotSupported,
    /// Too few keys are left, also after some patience (Y3803-9.4-04).
    #[error("too few keys are available")]
    NotEnoughKeys,
    /// Policy does not allow keys of this size to one of the applications; [`Event::Ruled`] names the rule.
    #[error("keys like these are not allowed")]
    NotAllowed,
    /// Too few keys are left, and policy allows a hybrid key instead ([`hybrid`](crate::hybrid)): whoever has a second key can make one
    /// of a smaller QKD key.
    #[error("too few keys are available; a hybrid key is allowed")]
    HybridInstead,
    /// No way over usable links leads to the key manager of a slave (Y3803-9.3-09).
    #[error("the key manager of an application cannot be reached")]
    Unreachable,
    /// More key is wanted at once than this node ever holds for one set of parties, or for too many sets of parties.
    #[error("more is wanted than this node ever holds")]
    TooMuch,
    /// Some of the keys are not here: never were, were collected before, or have expired.
    #[error("one or more keys are not here")]
    NotFound {
        /// Which.
        keys: Vec<KeyId>,
    },
    /// The application is not among the slaves of one of the keys (014-5.4-04).
    #[error("one or more keys are for others")]
    NotEntitled,
}
