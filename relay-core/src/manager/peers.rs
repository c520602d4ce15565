//! Neighbours: connections and incarnations.

use std::collections::BTreeMap;
use std::sync::Arc;

use itu_y3803::message::{Body, Hello};
use itu_y3803::{Incarnation, KmId, RandomSource};

use super::bind::Binding;
use super::notes::Notes;
use super::{Config, Event, KeyManager, Misbehaviour, Now};
use crate::key_id::IdCipher;
use crate::store::KeyStore;

/// Former lives of a neighbour that are remembered: keys from them may still be collected.
const MAX_LIVES: usize = 8;

pub(super) struct Peer {
    up: bool,
    pub(super) current: Option<Incarnation>,
    /// How keys are identified that the neighbour supplied, in each of its lives.
    pub(super) ids: Vec<(Incarnation, Arc<IdCipher>)>,
}

impl Peer {
    pub(super) fn all(config: &Config, notes: &Notes) -> BTreeMap<KmId, Self> {
        let mut peers = BTreeMap::new();
        for id in config.links.iter().map(|link| &link.peer).chain(&config.distant) {
            let lives = notes.peers.get(id).map_or(&[][..], |peer| &peer.lives);
            let ids: Vec<_> =
                lives.iter().filter_map(|(incarnation, secret)| Some((*incarnation, Arc::new(IdCipher::new(secret)?)))).collect();
            let current = lives.last().map(|(incarnation, _)| *incarnation);
            peers.insert(id.clone(), Self { up: false, current, ids });
        }
        peers
    }

    pub(super) fn is_known_and_up(&self) -> bool {
        self.up && self.current.is_some()
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// Whether a neighbour can be told something and is known.
    pub(super) fn is_up(&self, peer: &KmId) -> bool {
        self.peers.get(peer).is_some_and(Peer::is_known_and_up)
    }

    pub(super) fn peer_up(&mut self, id: &KmId, now: Now) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.up = true;
        self.greet(id);
        // What was said over the former connection may be lost.
        for link in self.links.values_mut().filter(|link| link.peer == *id) {
            link.repeat_at(now.instant);
        }
        for binding in self.binding.values_mut() {
            binding.repeat_at(now.instant);
        }
        self.forget_tag_keys(id);
        self.pools_wanting = true;
    }

    pub(super) fn peer_down(&mut self, now: Now, id: &KmId) -> Result<(), S::Error> {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.up = false;
        }
        self.fail_relays_over(now, id)
    }

    /// Greets whoever has not greeted yet: the first greeting may have been lost.
    pub(super) fn greet_strangers(&mut self) {
        let strangers: Vec<_> =
            self.peers.iter().filter(|(_, peer)| peer.up && peer.current.is_none()).map(|(id, _)| id.clone()).collect();
        for peer in strangers {
            self.greet(&peer);
        }
    }

    pub(super) fn greet(&mut self, id: &KmId) {
        let hello = Hello { id_secret: self.notes.id_secret.duplicate() };
        self.send(id, Body::Hello(hello));
    }

    pub(super) fn hello(&mut self, now: Now, from: &KmId, sender: Incarnation, hello: &Hello) -> Result<(), S::Error> {
        let taken = |(id, peer): (&KmId, &Peer)| id != from && peer.ids.iter().any(|(known, _)| *known == sender);
        if sender == self.notes.incarnation || self.peers.iter().any(taken) {
            self.misbehaviour(from, Misbehaviour::ForeignStore);
            return Ok(());
        }
        let (Some(peer), Some(ids)) = (self.peers.get_mut(from), IdCipher::new(&hello.id_secret)) else {
            self.misbehaviour(from, Misbehaviour::Malformed);
            return Ok(());
        };
        if let Some((known, _)) = peer.ids.iter().find(|(known, _)| *known == sender) {
            // The current life again, or a former one: a late greeting, or a store that was put back.
            if peer.current != Some(*known) {
                self.misbehaviour(from, Misbehaviour::FormerStore);
            }
            return Ok(());
        }
        let renewed = peer.current.replace(sender).is_some();
        peer.ids.push((sender, Arc::new(ids)));
        let lives = &mut self.notes.peers.entry(from.clone()).or_default().lives;
        lives.push((sender, hello.id_secret.duplicate()));
        if lives.len() > MAX_LIVES {
            lives.remove(0);
            peer.ids.remove(0);
        }
        self.notes_changed = true;
        self.pools_wanting = true;
        if renewed {
            self.burn_what_was_agreed_with(now, from)?;
            self.event(Event::PeerRenewed { peer: from.clone() });
        }
        // It may not know this node either.
        self.greet(from);
        Ok(())
    }

    /// The neighbour has lost its store: its copies of link keys and blocks are gone, so ours are worth nothing.
    ///
    /// Blocks that it bound for applications of this node stay: its masters may have been given keys from them.
    fn burn_what_was_agreed_with(&mut self, now: Now, peer: &KmId) -> Result<(), S::Error> {
        let links: Vec<_> = self.links.values().filter(|link| link.peer == *peer).map(|link| link.id.clone()).collect();
        for link in links {
            for (pool, key) in self.drain_link(&link) {
                self.remove(pool, key)?;
            }
            self.notes.offered.remove(&link);
        }
        self.burn_relays_with(now, peer)?;
        // Also those that this peer has agreed to and others not yet.
        let concerns = |binding: &Binding| binding.parties().slaves().iter().any(|slave| self.home(slave) == Some(peer));
        let bindings: Vec<_> = self.binding.iter().filter(|(_, binding)| concerns(binding)).map(|(&id, _)| id).collect();
        for block in bindings {
            self.drop_binding(now, block);
        }
        let homes = self.config.applications.clone();
        self.burn_supply(|parties| parties.slaves().iter().any(|slave| homes.get(slave) == Some(peer)))
    }
}
