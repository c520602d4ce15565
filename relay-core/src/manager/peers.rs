//! Neighbours: connections and incarnations.

use std::collections::BTreeMap;
use std::sync::Arc;

use itu_y3803::message::{Body, Hello};
use itu_y3803::{Incarnation, KmId, RandomSource};

use super::notes::Notes;
use super::{Config, Event, KeyManager, Misbehaviour, Now, Output};
use crate::key_id::IdCipher;
use crate::store::{KeyStore, Pool};

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
        for link in &config.links {
            let lives = notes.peers.get(&link.peer).map_or(&[][..], |peer| &peer.lives);
            let ids: Vec<_> =
                lives.iter().filter_map(|(incarnation, secret)| Some((*incarnation, Arc::new(IdCipher::new(secret)?)))).collect();
            let current = lives.last().map(|(incarnation, _)| *incarnation);
            peers.insert(link.peer.clone(), Self { up: false, current, ids });
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
        self.pools_wanting = true;
    }

    pub(super) fn peer_down(&mut self, id: &KmId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.up = false;
        }
    }

    pub(super) fn greet(&mut self, id: &KmId) {
        let hello = Hello { id_secret: self.notes.id_secret.duplicate() };
        self.send(id, Body::Hello(hello));
    }

    pub(super) fn hello(&mut self, from: &KmId, sender: Incarnation, hello: &Hello) -> Result<(), S::Error> {
        let (Some(peer), Some(ids)) = (self.peers.get_mut(from), IdCipher::new(&hello.id_secret)) else {
            self.misbehaviour(from, Misbehaviour::Malformed);
            return Ok(());
        };
        if peer.ids.iter().any(|(known, _)| *known == sender) {
            // The current life again, or a late greeting from a former one.
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
            self.burn_what_was_agreed_with(from)?;
            self.event(Event::PeerRenewed { peer: from.clone() });
        }
        // It may not know this node either.
        self.greet(from);
        Ok(())
    }

    /// The neighbour has lost its store: its copies of link keys and blocks are gone, so ours are worth nothing.
    ///
    /// Blocks that it bound for applications of this node stay: its masters may have been given keys from them.
    fn burn_what_was_agreed_with(&mut self, peer: &KmId) -> Result<(), S::Error> {
        let links: Vec<_> = self.links.values().filter(|link| link.peer == *peer).map(|link| link.id.clone()).collect();
        for link in links {
            for (pool, key) in self.drain_link(&link) {
                self.remove(pool, key)?;
            }
            self.notes.offered.remove(&link);
        }
        let bindings: Vec<_> = self.binding.iter().filter(|(_, binding)| binding.waits_for(peer)).map(|(&id, _)| id).collect();
        for block in bindings {
            self.drop_binding(block);
        }
        let parties: Vec<_> = self
            .pools
            .keys()
            .filter(|parties| parties.slaves().iter().any(|slave| self.home(slave) == Some(peer)))
            .cloned()
            .collect();
        for parties in parties {
            for block in self.drain_pool(&parties) {
                self.remove(Pool::Supply, block)?;
            }
            self.staged.push_back(Output::Revoked { parties });
        }
        Ok(())
    }
}
