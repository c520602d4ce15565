//! Tags for what neighbours say to each other about relays, under link key (relay digest A.4, item 1).
//!
//! A link key is set aside for tags at a time: each tag has 32 octets of it for itself, so that a forgery succeeds by chance
//! only, whatever the forger can compute. The receiver takes each place of such a key once, so nothing can be said twice.

use std::collections::VecDeque;
use std::time::Instant;

use itu_y3803::message::Proof;
use itu_y3803::{KeyEvent, KeyId, KmId, KmaKey, RandomSource, WallTime};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use subtle::ConstantTimeEq;

use super::{KeyManager, Misbehaviour, Now, Use};
use crate::pad::TAG_KEY_OCTETS;
use crate::store::{KeyStore, Pool, StoredKey};

/// Link keys of the neighbour that are held for tags: one in use, and some whose last messages may still be on their way.
const MAX_RECEIVING: usize = 4;

/// The tag keys of one link, in memory only: after a restart nobody can know which places were used, so new key is taken.
#[derive(Default)]
pub(super) struct TagKeys {
    sending: Option<Sending>,
    /// In the order in which they were begun.
    receiving: VecDeque<Receiving>,
}

struct Sending {
    key: KmaKey,
    next: usize,
    begun: Instant,
}

struct Receiving {
    key: KmaKey,
    used: Vec<bool>,
}

impl TagKeys {
    /// The link key in use for sending, if it was begun after `since`: the neighbour may not have taken its copy out yet.
    pub(super) fn begun(&self, since: Option<Instant>) -> Option<KeyId> {
        self.sending.as_ref().filter(|sending| since.is_none_or(|since| sending.begun > since)).map(|sending| sending.key.id)
    }

    /// A tag under the next place; `None` when there is none left that the neighbour surely has.
    fn sign(&mut self, usable_until: WallTime, message: &[u8]) -> Option<(KeyId, u32, [u8; 16])> {
        let sending = self.sending.as_mut().filter(|sending| sending.key.expires > usable_until);
        let signed = sending.and_then(|sending| {
            let place = sending.next;
            let tag = tag(&sending.key, place, message)?;
            sending.key.material.wipe(octets(place));
            sending.next += 1;
            Some((sending.key.id, u32::try_from(place).ok()?, tag))
        });
        if signed.is_none() {
            self.sending = None;
        }
        signed
    }
}

impl Receiving {
    fn new(key: KmaKey) -> Self {
        let used = vec![false; key.material.size().octets() / TAG_KEY_OCTETS];
        Self { key, used }
    }

    /// Whether the tag fits a place that was not used; the place is used then.
    fn verify(&mut self, proof: &Proof, message: &[u8]) -> bool {
        let place = proof.place as usize;
        let Some(used) = self.used.get_mut(place).filter(|used| !**used) else { return false };
        let fits = tag(&self.key, place, message).is_some_and(|tag| tag.ct_eq(&proof.tag).into());
        // A forger could use up places; a place under which a tag did not fit stays good for the one that does.
        if fits {
            *used = true;
            self.key.material.wipe(octets(place));
        }
        fits
    }
}

fn octets(place: usize) -> std::ops::Range<usize> {
    let start = place.saturating_mul(TAG_KEY_OCTETS);
    start..start.saturating_add(TAG_KEY_OCTETS)
}

fn tag(key: &KmaKey, place: usize, message: &[u8]) -> Option<[u8; 16]> {
    let key = key.material.expose_secret().get(octets(place))?.first_chunk::<TAG_KEY_OCTETS>()?;
    Some(Poly1305::new(key.into()).compute_unpadded(message).into())
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// A proof for a message to `peer`; `None` when there is no link key for it.
    pub(super) fn prove(&mut self, now: Now, peer: &KmId, message: &[u8]) -> Result<Option<Proof>, S::Error> {
        let usable_until = now.wall.after(self.config.clock_skew);
        for renewed in [false, true] {
            if renewed && !self.renew_tag_key(now, peer)? {
                break;
            }
            for link in self.links.values_mut().filter(|link| link.peer == *peer && !link.is_relayed()) {
                if let Some((key, place, tag)) = link.tag_keys.sign(usable_until, message) {
                    return Ok(Some(Proof { link: link.id.clone(), key, place, tag }));
                }
            }
        }
        Ok(None)
    }

    /// Takes link key out of the pool, for tags only.
    fn renew_tag_key(&mut self, now: Now, peer: &KmId) -> Result<bool, S::Error> {
        let Some((link, id)) = self.choose_link_key(now, peer, 0, TAG_KEY_OCTETS) else { return Ok(false) };
        let Some(key) = self.take_outgoing(&link, id)? else { return Ok(false) };
        self.spend(Pool::Outgoing, &key, Use::Authentication);
        for event in [KeyEvent::Use, KeyEvent::Finish] {
            self.link_key_event(Pool::Outgoing, id, event);
        }
        if let Some(link) = self.links.get_mut(&link) {
            link.tag_keys.sending = Some(Sending { key, next: 0, begun: now.instant });
        }
        Ok(true)
    }

    /// Whether the neighbour made this proof for this message, and for the first time.
    pub(super) fn verify(&mut self, from: &KmId, proof: &Proof, message: &[u8]) -> Result<bool, S::Error> {
        let own_link = |link: &&mut super::Link| link.peer == *from && !link.is_relayed();
        let Some(link) = self.links.get_mut(&proof.link).filter(own_link) else {
            self.misbehaviour(from, Misbehaviour::ForeignLink);
            return Ok(false);
        };
        if let Some(at) = link.tag_keys.receiving.iter().position(|receiving| receiving.key.id == proof.key) {
            let receiving = &mut link.tag_keys.receiving[at];
            let fits = receiving.verify(proof, message);
            if receiving.used.iter().all(|used| *used) {
                link.tag_keys.receiving.remove(at);
            }
            if !fits {
                self.misbehaviour(from, Misbehaviour::WrongTag);
            }
            return Ok(fits);
        }
        self.begin_tag_key(from, proof, message)
    }

    /// The neighbour begins to use a link key for tags. It leaves the store only if the tag fits: who has no key burns none.
    fn begin_tag_key(&mut self, from: &KmId, proof: &Proof, message: &[u8]) -> Result<bool, S::Error> {
        if !self.links.get_mut(&proof.link).is_some_and(|link| link.remove_incoming(proof.key)) {
            return Ok(false);
        }
        let Some(StoredKey::Incoming(key)) = self.take(Pool::Incoming, proof.key)? else { return Ok(false) };
        let mut receiving = Receiving::new(key);
        if !receiving.verify(proof, message) {
            if let Some(link) = self.links.get_mut(&proof.link) {
                link.insert_incoming(proof.key);
            }
            self.put(StoredKey::Incoming(receiving.key))?;
            self.misbehaviour(from, Misbehaviour::WrongTag);
            return Ok(false);
        }
        self.spend(Pool::Incoming, &receiving.key, Use::Authentication);
        for event in [KeyEvent::Reserve, KeyEvent::Use, KeyEvent::Finish] {
            self.link_key_event(Pool::Incoming, proof.key, event);
        }
        if let Some(link) = self.links.get_mut(&proof.link) {
            link.tag_keys.receiving.push_back(receiving);
            if link.tag_keys.receiving.len() > MAX_RECEIVING {
                link.tag_keys.receiving.pop_front();
            }
        }
        Ok(true)
    }

    /// After a new connection the other end may have been started anew, and know no key that was begun before.
    pub(super) fn forget_tag_keys(&mut self, peer: &KmId) {
        for link in self.links.values_mut().filter(|link| link.peer == *peer) {
            link.tag_keys.sending = None;
        }
    }
}
