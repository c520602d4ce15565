//! Relay: key for nodes that no link of this node leads to, or whose links make none, carried hop by hop over trusted nodes (Y3803-9.3).
//!
//! The source draws fresh random key and sends it along a path, under a pad of link key on every hop (scheme R2, Y3803-9.3-01).
//! What arrives is link key like any other, of a pool that leads to the destination instead of to a neighbour: blocks are
//! bound with it before anyone asks, so an application does not wait for a relay, nor notice when its route changes.
//!
//! ```text
//!   source            trusted node          destination
//!     │ ─── Announce ─────────────────────► │    directly: what will come, and which way
//!     │ ─── Reserve ───► │ ─── Reserve ───► │    each sender takes a pad out of its store first
//!     │ ◄── Reserved ─── │ ◄── Reserved ─── │    or Refused: what was set aside goes back
//!     │ ─── Key ⊕ pad ─► │ ─── Key ⊕ pad ─► │    a pad that was used never goes back
//!     │ ◄── Complete ─── │ ◄── Complete ─── │    in the store there; only then usable here
//! ```
//!
//! Reserve, Reserved and Refused carry tags of their own ([`authentic`](super::authentic)), the key the tag of its pad, and
//! Complete a tag under 32 octets of what was relayed, for the source to check: it shows that the destination has the same
//! key, and tells nothing of it. After any doubt pads and key are burnt, at both ends, and another relay starts.
//!
//! What was not announced by the source itself is not taken, so no node on the way can bring the destination a key of its own, or
//! a key again that was used.
//!
//! A pool may want more than one path ([`Sharing`]): then each part of a key takes one of several paths that have no node
//! in common. All parts are reserved before the first is sent; the key is there when as many as needed have arrived.

mod arrival;
mod hops;
mod pool;
mod source;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use itu_y3803::message::{Body, RelayMessage, RelayRefusal, RelayStep};
use itu_y3803::{Incarnation, KeyId, KmId, LinkId, RandomSource};

use super::scarcity::Pair;
use super::{KeyManager, Misbehaviour, Now};
use crate::shares::Sharing;
use crate::store::KeyStore;

use arrival::Expected;
use hops::{Completed, Passing};
use source::{Bundle, Outbound, ends};

pub(super) use pool::{Relayed, pool_name};
pub(super) use source::overhead;

/// Octets at the end of what is relayed that key the tag of its completion, and are used for nothing else.
const COMPLETION_OCTETS: usize = 32;

/// The relays that this node takes part in.
#[derive(Default)]
pub(super) struct Relays {
    /// Keys from here, each with its parts.
    bundles: BTreeMap<KeyId, Bundle>,
    outbound: BTreeMap<KeyId, Outbound>,
    passing: BTreeMap<KeyId, Passing>,
    /// The newest last.
    completed: VecDeque<Completed>,
    /// Keys that were announced to come here.
    expected: BTreeMap<KeyId, Expected>,
}

impl Relays {
    fn deadline(&self) -> Option<Instant> {
        let bundles = self.bundles.values().map(|bundle| bundle.give_up);
        let passing = self.passing.values().map(|passing| passing.give_up);
        let expected = self.expected.values().map(|expected| expected.give_up);
        bundles.chain(passing).chain(expected).min()
    }

    /// How many keys from here are under way to this pool.
    pub(super) fn coming(&self, pool: &LinkId) -> usize {
        self.bundles.values().filter(|bundle| bundle.pool == *pool).count()
    }

    /// Bits of the pads to a neighbour that are set aside for relays between these two.
    pub(super) fn bits_set_aside(&self, to: &KmId, pair: &Pair) -> u64 {
        let first = self.outbound.values().filter_map(Outbound::set_aside);
        let onward = self.passing.values().filter_map(Passing::set_aside);
        let theirs = first.chain(onward).filter(|(path, pad)| pad.peer == *to && ends(path) == *pair);
        theirs.map(|(_, pad)| u64::from(pad.material.size().bits())).sum()
    }

    /// The lowest link key of this link that the other end must keep for a relay, or relayed key that it may yet be told to use.
    pub(super) fn lowest_in_use(&self, link: &LinkId) -> Option<KeyId> {
        let keys = self.bundles.iter().filter(|(_, bundle)| bundle.pool == *link).map(|(&id, _)| id);
        let first = self.outbound.values().map(|part| &part.reservation);
        let onward = self.passing.values().filter_map(Passing::onward);
        let pads = first.chain(onward).filter(|hop| hop.link == *link).map(|hop| hop.pad);
        keys.chain(pads).min()
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn relay_deadline(&self) -> Option<Instant> {
        self.pool_deadlines().chain(self.relays.deadline()).min()
    }

    pub(super) fn relay(&mut self, now: Now, from: &KmId, sender: Incarnation, message: RelayMessage) -> Result<(), S::Error> {
        let RelayMessage { relay, step, proof } = message;
        if let RelayStep::Announce(announcement) = step {
            return self.announced(now, from, sender, relay, announcement);
        }
        if !self.is_neighbour(from) {
            self.misbehaviour(from, Misbehaviour::NoNeighbour);
            return Ok(());
        }
        if matches!(step, RelayStep::Reserve(_) | RelayStep::Reserved | RelayStep::Refused { .. }) {
            let text = words::step(sender, from, &self.config.id, relay, &step);
            let Some(proof) = proof else {
                self.misbehaviour(from, Misbehaviour::Malformed);
                return Ok(());
            };
            if !self.verify(from, &proof, &text)? {
                return Ok(());
            }
        }
        match step {
            RelayStep::Reserve(reservation) => self.reserve(now, from, relay, reservation),
            RelayStep::Reserved if self.relays.passing.contains_key(&relay) => self.reserved_further_on(now, from, relay),
            RelayStep::Reserved => self.reserved(from, relay),
            RelayStep::Refused { at, reason } if self.relays.passing.contains_key(&relay) => {
                self.refused_further_on(now, from, relay, at, reason)
            }
            RelayStep::Refused { at, reason } if self.is_first_hop(relay, from) => self.part_failed(now, relay, at, reason),
            RelayStep::Key { sealed, tag } => self.relayed_key(now, from, sender, relay, sealed, tag),
            RelayStep::Complete { tag } if self.is_first_hop(relay, from) => self.complete(now, from, relay, tag),
            RelayStep::Complete { tag } => {
                self.complete_further_on(from, relay, tag);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Sends a step with a proof. `false` when there is no link key for the proof: then nothing was said.
    fn send_step(&mut self, now: Now, to: &KmId, relay: KeyId, step: RelayStep) -> Result<bool, S::Error> {
        let text = words::step(self.notes.incarnation, &self.config.id, to, relay, &step);
        let Some(proof) = self.prove(now, to, &text)? else { return Ok(false) };
        self.send(to, Body::Relay(RelayMessage { relay, step, proof: Some(proof) }));
        Ok(true)
    }

    fn refuse_relay(&mut self, now: Now, to: &KmId, relay: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        self.send_step(now, to, relay, RelayStep::Refused { at, reason }).map(drop)
    }

    pub(super) fn give_up_relays(&mut self, now: Now) -> Result<(), S::Error> {
        let bundles = &self.relays.bundles;
        let over: Vec<_> = bundles.iter().filter(|(_, bundle)| bundle.give_up <= now.instant).map(|(&id, _)| id).collect();
        for key in over {
            let Bundle { destination, parts, .. } = &self.relays.bundles[&key];
            let silent = parts.iter().filter_map(|part| self.relays.outbound.get(part)?.silent());
            let (at, silent) = (destination.clone(), silent.cloned().collect::<Vec<_>>());
            silent.iter().for_each(|peer| self.doubt_tag_keys(now, peer));
            self.bundle_failed(now, key, at, RelayRefusal::Late)?;
        }
        let passing = &self.relays.passing;
        let over: Vec<_> = passing.iter().filter(|(_, passing)| passing.give_up <= now.instant).map(|(&id, _)| id).collect();
        for relay in over {
            if let Some(silent) = self.relays.passing[&relay].silent().cloned() {
                self.doubt_tag_keys(now, &silent);
            }
            self.drop_passing(now, relay)?;
        }
        self.relays.completed.retain(|completed| completed.give_up > now.instant);
        self.relays.expected.retain(|_, expected| expected.give_up > now.instant);
        Ok(())
    }

    /// A peer has lost its store: what it had a part in is over, and pads that it had a copy of are worth nothing.
    pub(super) fn burn_relays_with(&mut self, now: Now, peer: &KmId) -> Result<(), S::Error> {
        let mut keys = BTreeSet::new();
        for part in self.relays.outbound.values_mut().filter(|part| part.reservation.path.contains(peer)) {
            part.burn_pad_for(peer);
            keys.insert(part.reservation.key);
        }
        for key in keys {
            self.bundle_failed(now, key, peer.clone(), RelayRefusal::NotReserved)?;
        }
        let passing = self.relays.passing.iter_mut();
        let concerned: Vec<_> = passing.filter_map(|(&relay, passing)| passing.burn_pad_for(peer).then_some(relay)).collect();
        for relay in concerned {
            self.drop_passing(now, relay)?;
        }
        self.relays.expected.retain(|_, expected| expected.source() != peer);
        Ok(())
    }
}

/// Whether these are distinct nodes, and not too many.
fn is_path(path: &[KmId]) -> bool {
    let distinct: BTreeSet<_> = path.iter().collect();
    (2..=itu_y3803::message::MAX_PATH_NODES).contains(&path.len()) && distinct.len() == path.len()
}
