//! Tags for what neighbours say to each other about relays, under link key.
//!
//! A link key is set aside for tags at a time: each tag has 32 octets of it for itself, so that a forgery succeeds by chance
//! only, whatever the forger can compute. Where a link has little key to spare, it may be one key for many tags, as far as HMAC is
//! trusted ([`LinkAuthentication`]). The receiver takes each place of such a key once, so nothing can be said twice.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use itu_y3803::message::Proof;
use itu_y3803::{KeyEvent, KeyId, KmId, KmaKey, RandomSource, WallTime};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::config::LinkAuthentication;
use super::{KeyManager, Misbehaviour, Now, Use};
use crate::pad::TAG_KEY_OCTETS;
use crate::store::{KeyStore, Pool, StoredKey};

/// Tags under one link key with HMAC: few enough that what of them came is remembered, and many more than it would have octets for.
const HMAC_PLACES: usize = 4_096;
/// For so long a key is used for tags with HMAC: should the copy of the other end be another one, refusals come to nothing until then.
const HMAC_LIFE: Duration = Duration::from_secs(3_600);
/// Link keys of the neighbour that are held for tags: one in use, and some whose last messages may still be on their way.
const MAX_RECEIVING: usize = 4;

/// The tag keys of one link, in memory only: after a restart nobody can know which places were used, so new key is taken.
pub(super) struct TagKeys {
    by: LinkAuthentication,
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
    pub(super) fn new(by: LinkAuthentication) -> Self {
        Self { by, sending: None, receiving: VecDeque::new() }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.by);
    }

    /// The link key in use for sending, if it was begun after `since`: the neighbour may not have taken its copy out yet.
    pub(super) fn begun(&self, since: Option<Instant>) -> Option<KeyId> {
        self.sending.as_ref().filter(|sending| since.is_none_or(|since| sending.begun > since)).map(|sending| sending.key.id)
    }

    /// A tag under the next place; `None` when there is none left that the neighbour surely has.
    fn sign(&mut self, now: Instant, usable_until: WallTime, message: &[u8]) -> Option<(KeyId, u32, [u8; 16])> {
        let one_time = self.by == LinkAuthentication::OneTime;
        let young = |sending: &&mut Sending| one_time || now < sending.begun + HMAC_LIFE;
        let sending = self.sending.as_mut().filter(|sending| sending.key.expires > usable_until).filter(young);
        let signed = sending.and_then(|sending| {
            let place = sending.next;
            let tag = self.by.tag(&sending.key, place, message)?;
            sending.key.material.wipe(self.by.octets_of_one(place));
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
    fn new(by: LinkAuthentication, key: KmaKey) -> Self {
        let used = vec![false; by.places(&key)];
        Self { key, used }
    }

    /// Whether the tag fits a place that was not used; the place is used then.
    fn verify(&mut self, by: LinkAuthentication, proof: &Proof, message: &[u8]) -> bool {
        let place = proof.place as usize;
        let Some(used) = self.used.get_mut(place).filter(|used| !**used) else { return false };
        let fits = by.tag(&self.key, place, message).is_some_and(|tag| tag.ct_eq(&proof.tag).into());
        // A forger could use up places; a place under which a tag did not fit stays good for the one that does.
        if fits {
            *used = true;
            self.key.material.wipe(by.octets_of_one(place));
        }
        fits
    }
}

impl LinkAuthentication {
    /// How many tags are made under a link key.
    fn places(self, key: &KmaKey) -> usize {
        match self {
            Self::OneTime => key.material.size().octets() / TAG_KEY_OCTETS,
            Self::Hmac => HMAC_PLACES,
        }
    }

    /// Which octets of the key are for this tag alone.
    fn octets_of_one(self, place: usize) -> Range<usize> {
        match self {
            Self::OneTime => {
                let start = place.saturating_mul(TAG_KEY_OCTETS);
                start..start.saturating_add(TAG_KEY_OCTETS)
            }
            Self::Hmac => 0..0,
        }
    }

    fn tag(self, key: &KmaKey, place: usize, message: &[u8]) -> Option<[u8; 16]> {
        if place >= self.places(key) {
            return None;
        }
        let octets = key.material.expose_secret();
        match self {
            Self::OneTime => {
                let key = octets.get(self.octets_of_one(place))?.first_chunk::<TAG_KEY_OCTETS>()?;
                Some(Poly1305::new(key.into()).compute_unpadded(message).into())
            }
            Self::Hmac => {
                let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(octets).ok()?;
                mac.update(&u64::try_from(place).ok()?.to_be_bytes());
                mac.update(message);
                mac.finalize().into_bytes().first_chunk().copied()
            }
        }
    }
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
                if let Some((key, place, tag)) = link.tag_keys.sign(now.instant, usable_until, message) {
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
            let fits = receiving.verify(link.tag_keys.by, proof, message);
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
        let Some(link) = self.links.get_mut(&proof.link) else { return Ok(false) };
        let by = link.tag_keys.by;
        if !link.remove_incoming(proof.key) {
            return Ok(false);
        }
        let Some(StoredKey::Incoming(key)) = self.take(Pool::Incoming, proof.key)? else { return Ok(false) };
        let mut receiving = Receiving::new(by, key);
        if !receiving.verify(by, proof, message) {
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

    /// The neighbour has not answered. Perhaps its copy of the key is another one, or gone: it says nothing then. One-time keys are used
    /// up soon; of the others, a new one is begun, but not each time: there are other reasons to be silent.
    pub(super) fn doubt_tag_keys(&mut self, now: Now, peer: &KmId) {
        let tried = self.config.give_up * 6;
        for link in self.links.values_mut().filter(|link| link.peer == *peer && link.tag_keys.by == LinkAuthentication::Hmac) {
            link.tag_keys.sending = link.tag_keys.sending.take().filter(|sending| now.instant < sending.begun + tried);
        }
    }

    /// After a new connection the other end may have been started anew, and know no key that was begun before.
    pub(super) fn forget_tag_keys(&mut self, peer: &KmId) {
        for link in self.links.values_mut().filter(|link| link.peer == *peer) {
            link.tag_keys.sending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use itu_y3803::{KeyMaterial, LinkId, Paths};

    use super::*;

    fn key() -> KmaKey {
        KmaKey {
            id: KeyId::from_octets([1; 16]),
            peer: KmId::new("other").expect("valid"),
            link: LinkId::new("fibre").expect("valid"),
            material: KeyMaterial::from_octets((0..64).collect()).expect("whole octets"),
            paths: Paths::default(),
            created: WallTime::from_millis(0),
            expires: WallTime::NEVER,
        }
    }

    fn sending(by: LinkAuthentication) -> TagKeys {
        let mut keys = TagKeys::new(by);
        keys.sending = Some(Sending { key: key(), next: 0, begun: Instant::now() });
        keys
    }

    #[test]
    fn each_tag_is_taken_once_and_for_its_message_alone() {
        for (by, places) in [(LinkAuthentication::OneTime, 2), (LinkAuthentication::Hmac, HMAC_PLACES)] {
            let (mut sending, mut receiving, now) = (sending(by), Receiving::new(by, key()), Instant::now());
            for number in 0..places {
                let (key, place, tag) = sending.sign(now, WallTime::from_millis(0), b"said").expect("there is a place");
                let proof = Proof { link: LinkId::new("fibre").expect("valid"), key, place, tag };
                assert_eq!(place as usize, number);
                assert!(!receiving.verify(by, &proof, b"sad"), "{by:?}");
                let moved = Proof { place: place ^ 1, ..proof.clone() };
                assert!(!receiving.verify(by, &moved, b"said"), "{by:?}");
                assert!(receiving.verify(by, &proof, b"said"), "{by:?}");
                assert!(!receiving.verify(by, &proof, b"said"), "{by:?}: said twice");
            }
            assert!(sending.sign(now, WallTime::from_millis(0), b"said").is_none(), "{by:?}");
            let far = Proof { link: LinkId::new("fibre").expect("valid"), key: key().id, place: u32::MAX, tag: [0; 16] };
            assert!(!receiving.verify(by, &far, b"said"));
        }
    }

    #[test]
    fn a_key_for_many_tags_is_used_for_an_hour_and_one_of_one_time_tags_until_it_is_used_up() {
        for (by, after) in [(LinkAuthentication::OneTime, true), (LinkAuthentication::Hmac, false)] {
            let mut sending = sending(by);
            let begun = sending.sending.as_ref().expect("it was just begun").begun;
            let mut signs = |age: Duration| sending.sign(begun + age, WallTime::from_millis(0), b"said").is_some();
            assert!(signs(HMAC_LIFE - Duration::from_secs(1)), "{by:?}");
            assert_eq!(signs(HMAC_LIFE), after, "{by:?}");
        }
    }

    #[test]
    fn vector_of_a_tag_by_hmac() {
        let tag = LinkAuthentication::Hmac.tag(&key(), 5, b"what is said").expect("a place");
        // HMAC-SHA-256 under all octets of the key, over the place in 8 octets and the message, computed by another program.
        assert_eq!(tag.map(|octet| format!("{octet:02x}")).concat(), "7bb543c7e801021f4dd911f43dfa0c8e");
    }
}
