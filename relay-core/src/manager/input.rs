//! What a key manager is told, and when.

use std::num::NonZeroU32;
use std::time::Instant;

use itu_y3803::{ApplicationId, KeyId, KeySize, KmId, KmMessage, LinkId, Parties, QkdKey, WallTime};

use crate::lease::Lease;

/// The time of an input: a monotonic instant for timers, wall time for what is stored or sent.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back.
    pub instant: Instant,
    /// May be set by an operator.
    pub wall: WallTime,
}

/// Names one request of the caller until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderId(pub u64);

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The authenticated connection to a neighbour, or to another key manager of [`Config::distant`](super::Config::distant), is there, or
    /// there again.
    PeerUp {
        /// Which.
        peer: KmId,
    },
    /// The connection is gone.
    PeerDown {
        /// Which.
        peer: KmId,
    },
    /// One of them says something.
    Message {
        /// Who, as authenticated by the connection.
        from: KmId,
        /// What.
        message: KmMessage,
    },
    /// Answer to [`Output::Draw`](super::Output::Draw).
    Drawn {
        /// The link of the question.
        link: LinkId,
        /// What this end's QKD module gave; empty when it had nothing.
        keys: Vec<QkdKey>,
    },
    /// Answer to [`Output::Fetch`](super::Output::Fetch).
    Fetched {
        /// The link of the question.
        link: LinkId,
        /// The KMA key of the question.
        key: KeyId,
        /// All QKD keys of the question, in its order; empty when the module did not have all.
        keys: Vec<QkdKey>,
    },
    /// Answer to [`Output::RouteWanted`](super::Output::RouteWanted).
    Route {
        /// The pool of the question.
        pool: LinkId,
        /// All nodes of each path, this one first and the destination last; fewer than asked for, or none, when there are no more: orders
        /// that wait in vain are then refused as unreachable. Who has to ask somebody else first answers later; until then the pool does
        /// not ask again.
        paths: Vec<Vec<KmId>>,
    },
    /// These parties will want keys: hold some ready.
    Prepare {
        /// A master of this node, and its slaves.
        parties: Parties,
    },
    /// A master wants keys.
    Supply {
        /// Names the request in the answer, [`Output::Supplied`](super::Output::Supplied) or [`Output::Refused`](super::Output::Refused).
        order: OrderId,
        /// The master, of this node, and its slaves.
        parties: Parties,
        /// How many.
        number: NonZeroU32,
        /// Of which size.
        size: KeySize,
    },
    /// The caller wants to serve a master itself, from a lease.
    Lease {
        /// Names the request in the answer, [`Output::Leased`](super::Output::Leased) or [`Output::Refused`](super::Output::Refused).
        order: OrderId,
        /// The master, of this node, and its slaves.
        parties: Parties,
        /// How many keys the lease must be able to supply at the least.
        number: NonZeroU32,
        /// Of which size.
        size: KeySize,
    },
    /// The caller serves no more from a lease, as before a stop. What was revoked, or has burnt since, is dropped.
    GiveBack {
        /// What is left of it.
        lease: Lease,
    },
    /// A slave of this node comes for its keys.
    Collect {
        /// Names the request in the answer, [`Output::Supplied`](super::Output::Supplied) or [`Output::Refused`](super::Output::Refused).
        order: OrderId,
        /// Who comes, as authenticated.
        slave: ApplicationId,
        /// The master it names.
        master: ApplicationId,
        /// The keys it names; all or none are supplied.
        keys: Vec<KeyId>,
    },
    /// Time has passed.
    Timeout,
}
