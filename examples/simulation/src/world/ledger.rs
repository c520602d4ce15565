//! What became of every bit of key that the modules of a link handed out.
//!
//! A node that draws QKD keys offers them to its neighbour as one link key; agreed, it is stored; in the end it is spent as a pad,
//! or burnt, or expires. The ledger follows each by what the node says and by its events. What the module counts and what lies on
//! disks comes from elsewhere, so the two can be held against each other ([`checks`](super::checks)).

use std::collections::{BTreeMap, BTreeSet};

use itu_y3803::message::{Body, KeyOffer};
use itu_y3803::{KeyEvent, KeyId};
use relay_core::Use;

/// Octets of a pad that make the key of its tag.
const TAG_KEY_BITS: u64 = 256;

/// Sums of bits of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// Drawn or offered, and not agreed yet.
    pub waiting: u64,
    /// Agreed, and unused.
    pub stored: u64,
    /// One-time pads of blocks that are being bound, with their tags.
    pub in_use: u64,
    /// One-time pads of blocks that were bound: key that applications can have.
    pub payload: u64,
    /// One-time pads of hops of relays.
    pub relayed: u64,
    /// Spent on tags.
    pub authentication: u64,
    /// The ends of pads that were longer than their block.
    pub cut_off: u64,
    /// Too old.
    pub expired: u64,
    /// Given up after a doubt, or lost in crashes.
    pub burnt: u64,
}

impl Bits {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let spent = self.payload + self.relayed + self.authentication + self.cut_off;
        self.waiting + self.stored + self.in_use + spent + self.expired + self.burnt
    }
}

/// The ledger of one link.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Keys that a node drew and has not offered, by node.
    drawn: BTreeMap<usize, BTreeSet<KeyId>>,
    link_keys: BTreeMap<KeyId, LinkKey>,
    /// Of what is over.
    done: Bits,
}

#[derive(Debug)]
struct LinkKey {
    node: usize,
    bits: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offered,
    Stored,
    /// With the bits of the block that it hides, once that was seen.
    InUse(Option<u64>),
    /// The pad of one hop of a relay.
    Relaying,
    /// For tags only.
    Tags,
}

impl Ledger {
    /// A module gave keys to a node.
    pub(super) fn drawn(&mut self, node: usize, keys: impl IntoIterator<Item = KeyId>) {
        self.drawn.entry(node).or_default().extend(keys);
    }

    /// A node says something: an offer, or a block under a pad.
    pub(super) fn said(&mut self, node: usize, body: &Body) {
        match body {
            Body::Offer(offer) => self.offered(node, offer),
            Body::SupplyNotification(told) => {
                if let Some(LinkKey { state: State::InUse(block @ None), .. }) = self.link_keys.get_mut(&told.pad) {
                    *block = Some(8 * told.sealed.len() as u64);
                }
            }
            _ => {}
        }
    }

    fn offered(&mut self, node: usize, offer: &KeyOffer) {
        let Some(drawn) = self.drawn.get_mut(&node) else { return };
        let fresh = offer.qkd_keys.iter().filter(|key| drawn.remove(key)).count() as u64;
        if fresh > 0 {
            let bits = fresh * u64::from(offer.size.bits());
            self.link_keys.insert(offer.key, LinkKey { node, bits, state: State::Offered });
        }
    }

    /// A step in the life of a link key, at the end that may use it.
    pub(super) fn event(&mut self, id: KeyId, event: KeyEvent) {
        let Some(key) = self.link_keys.get_mut(&id) else { return };
        match event {
            KeyEvent::Confirm | KeyEvent::PutBack => key.state = State::Stored,
            KeyEvent::Reserve => key.state = State::InUse(None),
            // What for was said before.
            KeyEvent::Use => {}
            KeyEvent::Finish => {
                let bits = key.bits;
                match key.state {
                    State::InUse(Some(block)) => {
                        self.done.payload += block;
                        self.done.authentication += TAG_KEY_BITS;
                        self.done.cut_off += bits - block - TAG_KEY_BITS;
                    }
                    State::Relaying => {
                        self.done.relayed += bits - TAG_KEY_BITS;
                        self.done.authentication += TAG_KEY_BITS;
                    }
                    State::Tags => self.done.authentication += bits,
                    _ => self.done.burnt += bits,
                }
                self.link_keys.remove(&id);
            }
            KeyEvent::Expire => {
                self.done.expired += key.bits;
                self.link_keys.remove(&id);
            }
            KeyEvent::Burn => {
                self.done.burnt += key.bits;
                self.link_keys.remove(&id);
            }
        }
    }

    /// What a link key is used for, at the end that decides it.
    pub(super) fn spent(&mut self, id: KeyId, on: Use) {
        if let Some(key) = self.link_keys.get_mut(&id) {
            match on {
                Use::Relay => key.state = State::Relaying,
                Use::Authentication => key.state = State::Tags,
                _ => {}
            }
        }
    }

    /// The process of a node is gone: what is not on its disk is lost. What is on it counts as stored, even if the node did not
    /// live to say so.
    pub(super) fn crashed(&mut self, node: usize, on_disk: &BTreeMap<KeyId, u64>, key_bits: u64) {
        let done = &mut self.done;
        done.burnt += self.drawn.remove(&node).unwrap_or_default().len() as u64 * key_bits;
        self.link_keys.retain(|id, key| {
            let stays = key.node != node || on_disk.contains_key(id);
            if !stays {
                done.burnt += key.bits;
            } else if key.node == node {
                key.state = State::Stored;
            }
            stays
        });
    }

    /// Which keys a node is said to have stored, with their bits.
    pub(super) fn stored(&self, node: usize) -> impl Iterator<Item = (KeyId, u64)> {
        let of_node = self.link_keys.iter().filter(move |(_, key)| key.node == node && key.state == State::Stored);
        of_node.map(|(&id, key)| (id, key.bits))
    }

    /// The sums.
    pub(super) fn bits(&self, key_bits: u64) -> Bits {
        let mut bits = self.done;
        bits.waiting += self.drawn.values().map(|keys| keys.len() as u64 * key_bits).sum::<u64>();
        for key in self.link_keys.values() {
            match key.state {
                State::Offered => bits.waiting += key.bits,
                State::Stored => bits.stored += key.bits,
                State::InUse(_) | State::Relaying | State::Tags => bits.in_use += key.bits,
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use itu_y3803::{KeySize, LinkId, WallTime};

    use super::*;

    fn id(number: u8) -> KeyId {
        KeyId::from_octets([number; 16])
    }

    fn offer(key: u8, qkd_keys: &[u8]) -> Body {
        Body::Offer(KeyOffer {
            link: LinkId::new("link").expect("valid"),
            key: id(key),
            qkd_keys: qkd_keys.iter().map(|&key| id(key)).collect(),
            size: KeySize::BITS_256,
            expires: WallTime::from_millis(1),
            spent_below: id(0),
        })
    }

    #[test]
    fn every_bit_is_somewhere() {
        let mut ledger = Ledger::default();
        ledger.drawn(0, [1, 2, 3, 4, 5].map(id));
        for (key, of) in [(100, [1, 2]), (101, [3, 4])] {
            ledger.said(0, &offer(key, &of));
            ledger.said(0, &offer(key, &of));
        }
        // One is left for a later offer.
        assert_eq!(ledger.bits(256), Bits { waiting: 1_280, ..Bits::default() });
        ledger.event(id(100), KeyEvent::Confirm);
        assert_eq!(ledger.stored(0).collect::<Vec<_>>(), [(id(100), 512)]);
        // A crash keeps what is on the disk, and no more.
        ledger.crashed(0, &[(id(100), 512)].into(), 256);
        assert_eq!(ledger.bits(256), Bits { stored: 512, burnt: 768, ..Bits::default() });
        ledger.event(id(100), KeyEvent::Reserve);
        ledger.event(id(100), KeyEvent::Use);
        assert_eq!(ledger.bits(256).in_use, 512);
        ledger.event(id(100), KeyEvent::Finish);
        assert_eq!(ledger.bits(256), Bits { burnt: 1_280, ..Bits::default() }, "no block was seen under it");
        assert_eq!(ledger.bits(256).total(), 5 * 256);
    }
}
