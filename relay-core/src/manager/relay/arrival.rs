//! Relays that end here: what the source has announced, part by part.

use std::time::Instant;

use itu_y3803::message::{Body, MAX_SEALED_OCTETS, RelayAnnouncement, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyEvent, KeyId, KeyMaterial, KmId, LinkId, RandomSource};

use super::super::links::Link;
use super::super::{Event, KeyManager, Misbehaviour, Now};
use super::source::{overhead, relayed_link_key};
use super::{Sharing, is_path, words};
use crate::pad::TAG_KEY_OCTETS;
use crate::shares::Share;
use crate::store::{KeyStore, Pool, StoredKey};

/// The names on all paths of a key, which are kept with it, have no more octets than this.
const MAX_NAME_OCTETS: usize = 8 << 10;

/// A key that was announced to come here.
pub(super) struct Expected {
    pub(super) give_up: Instant,
    pool: LinkId,
    announcement: RelayAnnouncement,
    shares: Vec<Share>,
    /// Whom to tell, and by which name of the relay.
    arrived: Vec<(KmId, KeyId)>,
    /// Once the key is stored.
    complete: Option<[u8; 16]>,
}

impl Expected {
    pub(super) fn source(&self) -> &KmId {
        &self.announcement.paths[0][0]
    }

    /// Whether this is a part of it, on the path that it should take.
    fn is_part(&self, reservation: &RelayReservation) -> bool {
        let RelayAnnouncement { needed, paths, octets, expires, .. } = &self.announcement;
        let path = paths.get(usize::from(reservation.part).wrapping_sub(1));
        path == Some(&reservation.path)
            && (reservation.needed, usize::from(reservation.of)) == (*needed, paths.len())
            && (reservation.octets, reservation.expires) == (*octets, *expires)
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// The source of a relay says what will come, and what of its keys it will not use any more.
    pub(super) fn announced(
        &mut self,
        now: Now,
        from: &KmId,
        sender: Incarnation,
        key: KeyId,
        announcement: RelayAnnouncement,
    ) -> Result<(), S::Error> {
        let RelayAnnouncement { pool, needed, paths, octets, expires, spent_below } = &announcement;
        let sharing = u8::try_from(paths.len()).ok().and_then(|of| Sharing::new(*needed, of));
        let leads_here = |path: &Vec<KmId>| is_path(path) && path.first() == Some(from) && path.last() == Some(&self.config.id);
        let of_this_life = [key, *spent_below].iter().all(|id| Incarnation::split(*id).0 == sender);
        let octets_of_names: usize = paths.iter().flatten().map(|node| node.as_str().len()).sum();
        let well_formed =
            of_this_life && *spent_below <= key && paths.iter().all(leads_here) && octets_of_names <= MAX_NAME_OCTETS;
        let Some(sharing) = sharing.filter(|_| well_formed) else {
            self.misbehaviour(from, Misbehaviour::Malformed);
            return Ok(());
        };
        // The policies of the two ends may differ while they are being changed.
        let found = self.links.get(pool).filter(|link| link.peer == *from);
        let Some((pool, ways)) = found.and_then(|link| Some((link.id.clone(), link.ways()?))) else {
            self.misbehaviour(from, Misbehaviour::ForeignLink);
            return Ok(());
        };
        let barred = self.barred_neighbours(ways);
        let comes_over = |path: &Vec<KmId>| barred.contains(&path[path.len() - 2]);
        if ways.sharing != sharing || ways.check_paths(paths).is_err() || paths.iter().any(comes_over) {
            self.misbehaviour(from, Misbehaviour::WayNotAllowed);
            return Ok(());
        }
        let long_enough = (overhead(sharing) + TAG_KEY_OCTETS + 1..=MAX_SEALED_OCTETS).contains(&(*octets as usize));
        let newest = self.notes.offered.get(&pool).copied().filter(|newest| Incarnation::split(*newest).0 == sender);
        // It had its chance: late, or said again.
        let before = newest.is_some_and(|newest| key <= newest) || self.is_known_from(from, key);
        if before || *expires <= now.wall || !long_enough {
            return Ok(());
        }
        self.burn_spent(&pool, sender, *spent_below)?;
        let coming =
            self.relays.expected.values().filter(|expected| expected.pool == pool && expected.complete.is_none()).count();
        if self.links.get(&pool).map_or(0, Link::incoming_len) + coming >= self.config.max_incoming {
            self.misbehaviour(from, Misbehaviour::TooMuch);
            return Ok(());
        }
        self.notes.offered.insert(pool.clone(), key);
        self.notes_changed = true;
        let give_up = now.instant + self.config.give_up;
        let expected = Expected { give_up, pool, announcement, shares: Vec::new(), arrived: Vec::new(), complete: None };
        self.relays.expected.insert(key, expected);
        self.announced_parts(now, key)
    }

    /// Whether a key of this name came from there, or will.
    fn is_known_from(&self, source: &KmId, key: KeyId) -> bool {
        let mut of_source = self.links.values().filter(|link| link.peer == *source);
        self.relays.expected.contains_key(&key) || of_source.any(|link| link.has_incoming(key))
    }

    /// Whether this was announced, or may yet be.
    pub(super) fn may_be_expected(&self, reservation: &RelayReservation) -> bool {
        let life = Incarnation::split(reservation.key).0;
        let source = &reservation.path[0];
        let current = self.peers.get(source).is_some_and(|peer| peer.current == Some(life));
        let sharing = Sharing::new(reservation.needed, reservation.of);
        let mut pools = self.links.values().filter(|link| link.peer == *source && link.is_relayed() && link.sharing() == sharing);
        let may_come = |pool: &Link| {
            let newest = self.notes.offered.get(&pool.id).filter(|newest| Incarnation::split(**newest).0 == life);
            newest.is_none_or(|newest| reservation.key > *newest)
        };
        current && (self.is_expected(reservation) || pools.any(may_come))
    }

    pub(super) fn is_expected(&self, reservation: &RelayReservation) -> bool {
        self.relays.expected.get(&reservation.key).is_some_and(|expected| expected.is_part(reservation))
    }

    /// A part has arrived. With several, the key is put together when enough are there.
    pub(super) fn arrived(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        came: RelayReservation,
        material: KeyMaterial,
    ) -> Result<(), S::Error> {
        let here = (from.clone(), relay);
        let expected = self.relays.expected.get_mut(&came.key).filter(|expected| expected.is_part(&came));
        let Some(expected) = expected.filter(|expected| expected.shares.iter().all(|share| share.number != came.part)) else {
            return self.answer_arrived(now, vec![here], None);
        };
        if let Some(tag) = expected.complete {
            return self.answer_arrived(now, vec![here], Some(tag));
        }
        expected.shares.push(Share { number: came.part, material });
        expected.arrived.push(here);
        let sharing = Sharing::new(came.needed, came.of).unwrap_or(Sharing::ONE);
        let secret = if sharing == Sharing::ONE {
            expected.shares.pop().map(|share| share.material)
        } else {
            sharing.combine(&words::key(&came), &expected.shares).ok().map(|combined| combined.secret)
        };
        let all_came = expected.arrived.len() == usize::from(came.of);
        let arrived = expected.arrived.clone();
        let Some(secret) = secret else {
            if !all_came {
                return Ok(());
            }
            self.relays.expected.remove(&came.key);
            return self.answer_arrived(now, arrived, None);
        };
        let tag = self.store_relayed(now, &came, &secret)?;
        match self.relays.expected.get_mut(&came.key) {
            // Parts that are still on their way get the same answer.
            Some(expected) if tag.is_some() && !all_came => {
                expected.complete = tag;
                expected.shares.clear();
            }
            _ => drop(self.relays.expected.remove(&came.key)),
        }
        self.answer_arrived(now, arrived, tag)
    }

    /// The key is durable before the source hears of it. The tag to tell it with.
    fn store_relayed(&mut self, now: Now, came: &RelayReservation, secret: &KeyMaterial) -> Result<Option<[u8; 16]>, S::Error> {
        let expected = self.relays.expected.get(&came.key);
        let known = expected.map(|expected| (expected.pool.clone(), expected.announcement.paths.clone()));
        let Some((pool, paths)) = known else { return Ok(None) };
        let source = came.path[0].clone();
        let expires = came.expires.min(now.wall.after(self.config.link_key_life + self.config.clock_skew));
        let tag = words::completion_tag(came, secret);
        let key = relayed_link_key(came.key, source.clone(), pool, secret, paths, now, expires).filter(|_| tag.is_some());
        let Some(key) = key else { return Ok(None) };
        if let Some(link) = self.links.get_mut(&key.link) {
            link.insert_incoming(came.key);
        }
        self.put(StoredKey::Incoming(key))?;
        self.link_key_event(Pool::Incoming, came.key, KeyEvent::Confirm);
        self.event(Event::Arrived { key: came.key, from: source });
        Ok(tag)
    }

    fn answer_arrived(&mut self, now: Now, arrived: Vec<(KmId, KeyId)>, tag: Option<[u8; 16]>) -> Result<(), S::Error> {
        for (from, relay) in arrived {
            match tag {
                Some(tag) => {
                    self.send(&from, Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }))
                }
                None => self.refuse_relay(now, &from, relay, self.config.id.clone(), RelayRefusal::NotWanted)?,
            }
        }
        Ok(())
    }
}
