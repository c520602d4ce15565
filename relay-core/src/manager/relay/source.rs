//! Relays from here.

use std::collections::BTreeSet;
use std::time::Instant;

use itu_y3803::message::{Body, MAX_SEALED_OCTETS, RelayAnnouncement, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{KeyEvent, KeyId, KeyMaterial, KeySize, KmId, KmaKey, LinkId, Paths, RandomSource, WallTime};
use subtle::ConstantTimeEq;

use super::super::links::Spent;
use super::super::scarcity::{Pair, Taker};
use super::super::{Event, KeyManager, Misbehaviour, Now, Use};
use super::{COMPLETION_OCTETS, Sharing, words};
use crate::pad::{Pad, TAG_KEY_OCTETS};
use crate::shares::CHECK_OCTETS;
use crate::store::{KeyStore, Pool, StoredKey};

/// A key from here: one part, or several that take a path each.
pub(super) struct Bundle {
    pub(super) pool: LinkId,
    pub(super) destination: KmId,
    pub(super) give_up: Instant,
    sharing: Sharing,
    /// Parts that have neither failed nor been sent and acknowledged.
    pub(super) parts: BTreeSet<KeyId>,
    paths: Vec<Vec<KmId>>,
    failed: u8,
    /// What was sent, completion key included.
    sent: Option<KeyMaterial>,
}

/// One part of a key from here.
pub(super) struct Outbound {
    /// As the first node was told.
    pub(super) reservation: RelayReservation,
    /// Until it is used.
    pad: Option<KmaKey>,
    reserved: bool,
}

impl Outbound {
    /// Its path, and the pad while it is not used.
    pub(super) fn set_aside(&self) -> Option<(&[KmId], &KmaKey)> {
        Some((&self.reservation.path, self.pad.as_ref()?))
    }

    /// The first node, if it has not answered.
    pub(super) fn silent(&self) -> Option<&KmId> {
        self.reservation.path.get(1).filter(|_| !self.reserved)
    }

    /// Drops the pad if `peer`, which has lost its store, had the other copy.
    pub(super) fn burn_pad_for(&mut self, peer: &KmId) {
        self.pad = self.pad.take().filter(|pad| pad.peer != *peer);
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn is_first_hop(&self, relay: KeyId, node: &KmId) -> bool {
        self.relays.outbound.get(&relay).is_some_and(|part| part.reservation.path.get(1) == Some(node))
    }

    /// Sets a pad aside for the first hop of each path, and has the others do so. `false` when there is too little key.
    pub(super) fn start_relay(&mut self, now: Now, pool: &LinkId, paths: &[Vec<KmId>]) -> Result<bool, S::Error> {
        let found = self.links.get(pool).and_then(|link| Some((link.sharing()?, link.peer.clone())));
        let Some((sharing, destination)) = found else { return Ok(false) };
        // Something must be left beside the tags, on the way and of blocks.
        let shortest = overhead(sharing) + 2 * TAG_KEY_OCTETS + 1;
        let spare = self.spare_with(now, &destination);
        let (own, mut pads) = (self.config.id.clone(), Vec::new());
        for path in paths {
            let Ok(pad) = self.take_for_relay(now, &path[1], Taker { from: &own, pair: &ends(path), spare }, shortest)? else {
                self.put_all_back(now, paths, spare, pads)?;
                return Ok(false);
            };
            pads.push(pad);
        }
        let octets = pads.iter().map(|pad| pad.material.size().octets()).min().unwrap_or(0);
        let octets = octets.saturating_sub(TAG_KEY_OCTETS).min(MAX_SEALED_OCTETS);
        let key = self.notes.incarnation.key_id(self.number());
        let spent_below = self.spent_below(now, pool, key);
        let expires = now.wall.after(self.config.link_key_life);
        let mut parts = Vec::new();
        for (part, (path, pad)) in (1..).zip(paths.iter().zip(pads)) {
            // Of a single part, the relay has the name of the key.
            let relay = if part == 1 { key } else { self.notes.incarnation.key_id(self.number()) };
            let reservation = RelayReservation {
                key,
                part,
                needed: sharing.needed(),
                of: sharing.of(),
                path: path.clone(),
                hop: 1,
                octets: octets as u32,
                expires,
                link: pad.link.clone(),
                pad: pad.id,
                spare,
            };
            parts.push((relay, Outbound { reservation, pad: Some(pad), reserved: false }));
        }
        let paths = paths.to_vec();
        let announcement = RelayAnnouncement {
            pool: pool.clone(),
            needed: sharing.needed(),
            paths: paths.clone(),
            octets: octets as u32,
            expires,
            spent_below,
        };
        let step = RelayStep::Announce(announcement);
        self.send(&destination, Body::Relay(RelayMessage { relay: key, step, proof: None }));
        for (relay, part) in &parts {
            if !self.send_step(now, &part.reservation.path[1], *relay, RelayStep::Reserve(part.reservation.clone()))? {
                // Who has been told already frees its pads in time.
                let pads = parts.into_iter().filter_map(|(_, part)| part.pad).collect();
                self.put_all_back(now, &paths, spare, pads)?;
                return Ok(false);
            }
        }
        let bundle = Bundle {
            pool: pool.clone(),
            destination,
            give_up: now.instant + self.config.give_up,
            sharing,
            parts: parts.iter().map(|(relay, _)| *relay).collect(),
            paths,
            failed: 0,
            sent: None,
        };
        self.relays.bundles.insert(key, bundle);
        self.relays.outbound.extend(parts);
        Ok(true)
    }

    fn put_all_back(&mut self, now: Now, paths: &[Vec<KmId>], spare: u8, pads: Vec<KmaKey>) -> Result<(), S::Error> {
        let own = self.config.id.clone();
        for (pad, path) in pads.into_iter().zip(paths) {
            self.put_pad_back(now, Taker { from: &own, pair: &ends(path), spare }, pad)?;
        }
        Ok(())
    }

    /// All nodes of one path have set a pad aside; when those of all have, the key goes.
    pub(super) fn reserved(&mut self, from: &KmId, relay: KeyId) -> Result<(), S::Error> {
        let Some(part) = self.relays.outbound.get_mut(&relay) else { return Ok(()) };
        if part.reservation.path.get(1) != Some(from) {
            return Ok(());
        }
        part.reserved = true;
        let key = part.reservation.key;
        let octets = part.reservation.octets as usize;
        let facts = words::key(&part.reservation);
        let Some(bundle) = self.relays.bundles.get_mut(&key).filter(|bundle| bundle.sent.is_none()) else { return Ok(()) };
        let all = bundle.parts.iter().all(|part| self.relays.outbound.get(part).is_some_and(|part| part.reserved));
        let several = bundle.sharing.of() > 1;
        let secret_octets = if several { octets - CHECK_OCTETS } else { octets };
        let Some(size) = KeySize::from_octets(secret_octets).filter(|_| all) else { return Ok(()) };
        let secret = KeyMaterial::generate(size, &mut self.random);
        let materials: Vec<_> = if several {
            let shares = bundle.sharing.split(&facts, &secret, &mut self.random).unwrap_or_default();
            shares.into_iter().map(|share| share.material).collect()
        } else {
            vec![secret.duplicate()]
        };
        bundle.sent = Some(secret);
        let parts: Vec<_> = bundle.parts.iter().copied().collect();
        for relay in parts {
            let Some(part) = self.relays.outbound.get_mut(&relay) else { continue };
            let (to, reservation) = (part.reservation.path[1].clone(), part.reservation.clone());
            let material = materials.get(usize::from(reservation.part) - 1);
            let (Some(pad), Some(material)) = (part.pad.take(), material) else { continue };
            self.send_key(&to, relay, reservation, pad, material);
        }
        Ok(())
    }

    /// Sends key under the pad that was reserved for this hop.
    pub(super) fn send_key(
        &mut self,
        to: &KmId,
        relay: KeyId,
        reservation: RelayReservation,
        pad: KmaKey,
        material: &KeyMaterial,
    ) {
        let (octets, spent) = (reservation.octets as usize, Spent::of(&pad));
        self.count_taken(to, &ends(&reservation.path), pad.material.size().bits().into());
        let context = words::step(self.notes.incarnation, &self.config.id, to, relay, &RelayStep::Reserve(reservation));
        self.spent(Pool::Outgoing, &spent, Use::Relay);
        self.link_key_event(Pool::Outgoing, spent.id, KeyEvent::Use);
        // The pad was at least as long when it was reserved.
        if let Ok(sealed) = Pad::new(pad).shortened_to(octets).and_then(|pad| pad.seal(&context, material)) {
            let step = RelayStep::Key { sealed: sealed.octets, tag: sealed.tag };
            self.send(to, Body::Relay(RelayMessage { relay, step, proof: None }));
        }
    }

    /// The destination says that it has the key.
    pub(super) fn complete(&mut self, now: Now, from: &KmId, relay: KeyId, tag: [u8; 16]) -> Result<(), S::Error> {
        let Some(reservation) = self.relays.outbound.get(&relay).map(|part| part.reservation.clone()) else { return Ok(()) };
        let Some(bundle) = self.relays.bundles.get(&reservation.key) else { return Ok(()) };
        let Some(secret) = &bundle.sent else { return Ok(()) };
        let fits = words::completion_tag(&reservation, secret).is_some_and(|expected| expected.ct_eq(&tag).into());
        if !fits {
            // The one that fits may yet come.
            self.misbehaviour(from, Misbehaviour::WrongTag);
            return Ok(());
        }
        self.relays.outbound.remove(&relay);
        self.link_key_event(Pool::Outgoing, reservation.pad, KeyEvent::Finish);
        let Some(bundle) = self.relays.bundles.remove(&reservation.key) else { return Ok(()) };
        // The other parts are on their way, or lost: neither matters any more.
        for part in bundle.parts.iter().filter(|part| **part != relay) {
            if let Some(part) = self.relays.outbound.remove(part) {
                self.link_key_event(Pool::Outgoing, part.reservation.pad, KeyEvent::Burn);
            }
        }
        let key = bundle.sent.as_ref().and_then(|secret| {
            relayed_link_key(
                reservation.key,
                bundle.destination.clone(),
                bundle.pool.clone(),
                secret,
                bundle.paths.clone(),
                now,
                reservation.expires,
            )
        });
        let Some(key) = key else { return Ok(()) };
        if let Some(link) = self.links.get_mut(&key.link) {
            link.insert_outgoing(&key);
            if let Some(relayed) = &mut link.relayed {
                relayed.succeeded();
            }
        }
        self.put(StoredKey::Outgoing(key))?;
        self.link_key_event(Pool::Outgoing, reservation.key, KeyEvent::Confirm);
        self.event(Event::Relayed { key: reservation.key, paths: bundle.paths });
        self.pools_wanting = true;
        Ok(())
    }

    /// One part has failed. If all are needed, or nothing was sent yet, the key has.
    pub(super) fn part_failed(&mut self, now: Now, relay: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        let Some(key) = self.relays.outbound.get(&relay).map(|part| part.reservation.key) else { return Ok(()) };
        let Some(bundle) = self.relays.bundles.get_mut(&key) else { return Ok(()) };
        bundle.failed += 1;
        if bundle.sent.is_none() || bundle.failed > bundle.sharing.of() - bundle.sharing.needed() {
            return self.bundle_failed(now, key, at, reason);
        }
        bundle.parts.remove(&relay);
        let path = self.relays.outbound.get(&relay).map(|part| part.reservation.path.clone()).unwrap_or_default();
        self.drop_outbound(now, relay)?;
        self.event(Event::NotRelayed { key, path, at, reason });
        Ok(())
    }

    /// Ends a key from here: pads that were not used go back, the others are burnt (Y3803-9.3-08).
    pub(super) fn bundle_failed(&mut self, now: Now, key: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        let Some(bundle) = self.relays.bundles.remove(&key) else { return Ok(()) };
        for &relay in &bundle.parts {
            self.drop_outbound(now, relay)?;
        }
        self.link_key_event(Pool::Outgoing, key, KeyEvent::Burn);
        let hop = |path: &Vec<KmId>| {
            let place = path.iter().position(|node| *node == at)?;
            Some((at.clone(), path.get(place + 1)?.clone()))
        };
        let path = bundle.paths.iter().find(|path| hop(path).is_some());
        // Whoever was silent is between the ends, somewhere.
        let silent = || bundle.paths.iter().flat_map(|path| path.windows(2).map(|hop| (hop[0].clone(), hop[1].clone())));
        let hops: Vec<_> =
            if reason == RelayRefusal::Late { silent().collect() } else { path.and_then(hop).into_iter().collect() };
        let pool = self.links.get_mut(&bundle.pool);
        if let Some((empty, relayed)) = pool.and_then(|link| Some((link.outgoing.is_empty(), link.relayed.as_mut()?))) {
            // Key comes back soon, as a rule, and costs tell where there is more. Who has none left does not wait.
            if reason != RelayRefusal::NoKey || empty || relayed.gives_up_way(now.instant, self.config.give_up) {
                hops.into_iter().for_each(|hop| relayed.avoid(hop, now.instant + self.config.give_up));
            }
        }
        self.pause_relays(now, &bundle.pool);
        let path = path.or(bundle.paths.first()).cloned().unwrap_or_default();
        self.event(Event::NotRelayed { key, path, at, reason });
        Ok(())
    }

    /// The connection to the first node is gone: what was on it will not be answered.
    pub(in super::super) fn fail_relays_over(&mut self, now: Now, peer: &KmId) -> Result<(), S::Error> {
        let over = |part: &&Outbound| part.reservation.path.get(1) == Some(peer);
        let keys: BTreeSet<_> = self.relays.outbound.values().filter(over).map(|part| part.reservation.key).collect();
        keys.into_iter().try_for_each(|key| self.bundle_failed(now, key, self.config.id.clone(), RelayRefusal::NoConnection))
    }

    fn drop_outbound(&mut self, now: Now, relay: KeyId) -> Result<(), S::Error> {
        let Some(part) = self.relays.outbound.remove(&relay) else { return Ok(()) };
        match part.pad {
            Some(pad) => {
                let RelayReservation { path, spare, .. } = &part.reservation;
                let own = self.config.id.clone();
                self.put_pad_back(now, Taker { from: &own, pair: &ends(path), spare: *spare }, pad)?;
            }
            None => self.link_key_event(Pool::Outgoing, part.reservation.pad, KeyEvent::Burn),
        }
        Ok(())
    }
}

/// Between which nodes key is shared that takes this path.
pub(super) fn ends(path: &[KmId]) -> Pair {
    (path[0].clone(), path[path.len() - 1].clone())
}

/// Octets of a relayed secret that do not become key.
pub(in super::super) fn overhead(sharing: Sharing) -> usize {
    COMPLETION_OCTETS + if sharing.of() > 1 { CHECK_OCTETS } else { 0 }
}

/// What was relayed, without the octets that authenticated its completion.
pub(super) fn relayed_link_key(
    id: KeyId,
    peer: KmId,
    link: LinkId,
    secret: &KeyMaterial,
    paths: Vec<Vec<KmId>>,
    now: Now,
    expires: WallTime,
) -> Option<KmaKey> {
    let octets = secret.size().octets().checked_sub(COMPLETION_OCTETS)?;
    let (material, paths) = (secret.section(0..octets)?, Paths::new(paths));
    Some(KmaKey { id, peer, link, material, paths, created: now.wall, expires })
}
