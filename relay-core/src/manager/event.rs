//! What a key manager tells logs and meters.

use std::sync::Arc;

use itu_y3803::message::RelayRefusal;
use itu_y3803::{ApplicationId, KeyEvent, KeyId, KmId, LinkId, Parties};

use super::Ruling;
use crate::store::Pool;

/// Something a meter or an operator wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A step in the life of a link key (Y3803-9.6-04). A key without former step is [`Received`](itu_y3803::KeyState).
    LinkKey {
        /// Which end of it this is.
        pool: Pool,
        /// Which key.
        id: KeyId,
        /// Which step.
        event: KeyEvent,
    },
    /// Link key was put to use; with [`LinkKey`](Self::LinkKey), the accounts of a link (Y3803-7.1-05).
    Spent {
        /// Which end of it this is.
        pool: Pool,
        /// The link, or pool of relayed key.
        link: LinkId,
        /// The link key.
        id: KeyId,
        /// Its length.
        octets: usize,
        /// What for.
        on: Use,
    },
    /// A key was relayed from here, and is at both ends (Y3803-9.3).
    Relayed {
        /// The key.
        key: KeyId,
        /// The paths of its parts: all nodes, both ends included.
        paths: Vec<Vec<KmId>>,
    },
    /// A relayed key has arrived here.
    Arrived {
        /// The key.
        key: KeyId,
        /// Its source.
        from: KmId,
    },
    /// A relay from here has failed; the pads that were used for it are burnt, and so is the key if too few parts are left.
    NotRelayed {
        /// The key.
        key: KeyId,
        /// The path it should have taken.
        path: Vec<KmId>,
        /// Where it failed.
        at: KmId,
        /// Why.
        reason: RelayRefusal,
    },
    /// A rule of policy fired: an order was refused for it.
    Ruled {
        /// The name of the rule.
        rule: Arc<str>,
        /// For this master
        master: ApplicationId,
        /// and this slave.
        slave: ApplicationId,
        /// What it says.
        ruling: Ruling,
    },
    /// A block is bound at all ends.
    Bound {
        /// The block.
        block: KeyId,
        /// Its parties.
        parties: Arc<Parties>,
        /// Its length.
        octets: usize,
    },
    /// A block could not be bound, and is burnt.
    NotBound {
        /// The block.
        block: KeyId,
    },
    /// What was left in a block reached its end of life.
    Expired {
        /// The pool.
        pool: Pool,
        /// The block or link key.
        id: KeyId,
    },
    /// Few numbers are left for blocks. When there are none, nothing can be supplied any more: before that the node needs a new
    /// store. Said at the start and again for every 4096 numbers, once an eighth is left.
    NumbersRunLow {
        /// How many.
        left: u64,
    },
    /// A neighbour came back with another store; all that was agreed with the former one is burnt.
    PeerRenewed {
        /// Which neighbour.
        peer: KmId,
    },
    /// This node's wall clock was set back, now or while the node was down; what was ready to be supplied is burnt.
    ClockSetBack,
    /// A neighbour did what no conforming one does, or the link key differs at the two ends.
    Misbehaviour {
        /// Which neighbour.
        from: KmId,
        /// What.
        what: Misbehaviour,
    },
}

/// What link key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Use {
    /// As the pad of a block for applications at its two ends.
    Supply,
    /// As the pad of one hop of a relay.
    Relay,
    /// For tags of messages.
    Authentication,
}

/// What a neighbour did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// It is not a neighbour.
    #[error("not a neighbour")]
    NoNeighbour,
    /// It spoke of a link that it is not at the other end of.
    #[error("names a link that is not its own")]
    ForeignLink,
    /// A message contradicts itself.
    #[error("sends a message that contradicts itself")]
    Malformed,
    /// It bound key for a master or slaves that are not its, or this node's, to serve.
    #[error("binds key for applications that are not its to bind")]
    ForeignApplication,
    /// It bound or announced key that took, or is to take, a way that this node's policy does not allow.
    #[error("uses key that takes a way which is not allowed")]
    WayNotAllowed,
    /// The tag did not fit: changed on the way, or the link key differs at the two ends.
    #[error("sends something whose tag does not fit the link key")]
    WrongTag,
    /// It came back with a store that it had replaced: what was agreed meanwhile is not in there.
    #[error("uses a store that it had replaced by another")]
    FormerStore,
    /// It says that it has the store of another.
    #[error("names the store of another as its own")]
    ForeignStore,
    /// Its clock and this node's differ by more than they may: the two ends would not agree on when key expires.
    #[error("has a clock that differs too much from this node's")]
    ClockApart,
    /// It sends more than may be held for it.
    #[error("wants more held for it than is allowed")]
    TooMuch,
}
