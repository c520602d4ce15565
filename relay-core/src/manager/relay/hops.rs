//! Relays that come through here, or end here.

use std::time::Instant;

use itu_y3803::message::{Body, MAX_SEALED_OCTETS, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyEvent, KeyId, KeyMaterial, KmId, KmaKey, LinkId, RandomSource};

use super::super::{Event, KeyManager, Misbehaviour, Now, Use};
use super::source::{overhead, relayed_link_key};
use super::{Sharing, is_path, pool_name, words};
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
use crate::shares::Share;
use crate::store::{KeyStore, Pool, StoredKey};

/// A relay that comes through here, or ends here.
pub(super) struct Passing {
    pub(super) give_up: Instant,
    from: KmId,
    /// As it came.
    reservation: RelayReservation,
    /// `None` at the destination.
    onward: Option<Onward>,
    stage: Stage,
}

struct Onward {
    to: KmId,
    /// As the next node was told.
    reservation: RelayReservation,
    /// Until it is used.
    pad: Option<KmaKey>,
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// The nodes further on have not answered.
    Asked,
    /// All pads from here on are set aside.
    Ready,
    /// The key went on, or has arrived.
    Done,
}

/// A key for here whose parts come over several paths.
pub(super) struct Gathering {
    pub(super) give_up: Instant,
    /// Of the first part that arrived: the others have to agree in what concerns the key.
    reservation: RelayReservation,
    shares: Vec<Share>,
    /// Whom to tell, and by which name of the relay.
    arrived: Vec<(KmId, KeyId)>,
    /// Once the key is stored.
    complete: Option<[u8; 16]>,
}

impl Gathering {
    pub(super) fn source(&self) -> &KmId {
        &self.reservation.path[0]
    }
}

impl Passing {
    pub(super) fn onward(&self) -> Option<&RelayReservation> {
        self.onward.as_ref().map(|onward| &onward.reservation)
    }

    /// Drops the pad if `peer`, which has lost its store, had the other copy. Whether the peer takes part in this relay.
    pub(super) fn burn_pad_for(&mut self, peer: &KmId) -> bool {
        if let Some(onward) = &mut self.onward {
            onward.pad = onward.pad.take().filter(|pad| pad.peer != *peer);
        }
        self.reservation.path.contains(peer)
    }

    fn is_onward(&self, node: &KmId) -> bool {
        self.onward.as_ref().is_some_and(|onward| onward.to == *node)
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn reserve(&mut self, now: Now, from: &KmId, relay: KeyId, reservation: RelayReservation) -> Result<(), S::Error> {
        let onward = match self.admit_relay(now, from, relay, &reservation)? {
            Ok(onward) => onward,
            Err(reason) => return self.refuse_relay(now, from, relay, self.config.id.clone(), reason),
        };
        let ends_here = onward.is_none();
        let stage = if ends_here { Stage::Ready } else { Stage::Asked };
        let give_up = now.instant + self.config.give_up;
        self.relays.passing.insert(relay, Passing { give_up, from: from.clone(), reservation, onward, stage });
        if ends_here {
            self.send_step(now, from, relay, RelayStep::Reserved)?;
        }
        Ok(())
    }

    /// Sets a pad aside and asks the next node; `None` at the destination.
    fn admit_relay(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        reservation: &RelayReservation,
    ) -> Result<Result<Option<Onward>, RelayRefusal>, S::Error> {
        let RelayReservation { path, needed, of, .. } = reservation;
        let (hop, octets) = (usize::from(reservation.hop), reservation.octets as usize);
        let here = path.get(hop) == Some(&self.config.id) && path.get(hop.wrapping_sub(1)) == Some(from);
        let known = self.relays.outbound.contains_key(&relay) || self.relays.passing.contains_key(&relay);
        if !is_path(path) || !here || known {
            return Ok(Err(RelayRefusal::BadPath));
        }
        let Some(sharing) = Sharing::new(*needed, *of).filter(|_| (1..=*of).contains(&reservation.part)) else {
            return Ok(Err(RelayRefusal::BadPath));
        };
        if self.relays.passing.values().filter(|passing| passing.from == *from).count() >= self.config.max_passing {
            return Ok(Err(RelayRefusal::TooMany));
        }
        let is_pad = self
            .links
            .get(&reservation.link)
            .is_some_and(|link| link.peer == *from && !link.is_relayed() && link.has_incoming(reservation.pad));
        if !is_pad || octets > MAX_SEALED_OCTETS || octets <= overhead(sharing) + TAG_KEY_OCTETS {
            return Ok(Err(RelayRefusal::BadPad));
        }
        let Some(next) = path.get(hop + 1) else {
            let wanted = now.wall < reservation.expires && self.admit_relayed_key(relay, reservation)?;
            return Ok(if wanted { Ok(None) } else { Err(RelayRefusal::NotWanted) });
        };
        if !self.is_up(next) {
            return Ok(Err(RelayRefusal::NoConnection));
        }
        let Some((link, id)) = self.choose_link_key(now, next, self.config.link_floor, None) else {
            return Ok(Err(RelayRefusal::NoKey));
        };
        let Some(pad) = self.take_outgoing(&link, id)? else { return Ok(Err(RelayRefusal::NoKey)) };
        let onward = RelayReservation { hop: reservation.hop + 1, link, pad: id, ..reservation.clone() };
        let long_enough = pad.material.size().octets() >= TAG_KEY_OCTETS + octets;
        if !long_enough || !self.send_step(now, next, relay, RelayStep::Reserve(onward.clone()))? {
            self.put_back(pad)?;
            return Ok(Err(RelayRefusal::NoKey));
        }
        Ok(Ok(Some(Onward { to: next.clone(), reservation: onward, pad: Some(pad) })))
    }

    /// The pool here of what this reservation brings.
    fn pool_of(&self, reservation: &RelayReservation) -> Option<LinkId> {
        let sharing = Sharing::new(reservation.needed, reservation.of)?;
        pool_name(&self.config.id, reservation.path.first()?, sharing).filter(|pool| self.links.contains_key(pool))
    }

    /// Whether this node, as the destination, shares such key with the source, and this is not one it was told to forget.
    fn admit_relayed_key(&mut self, relay: KeyId, reservation: &RelayReservation) -> Result<bool, S::Error> {
        let RelayReservation { key, spent_below, .. } = *reservation;
        let life = Incarnation::split(key).0;
        let of_this_life = [relay, spent_below].iter().all(|id| Incarnation::split(*id).0 == life);
        let current = reservation.path.first().and_then(|source| self.peers.get(source)).and_then(|peer| peer.current);
        let Some(pool) = self.pool_of(reservation).filter(|_| of_this_life && current == Some(life)) else { return Ok(false) };
        self.burn_spent(&pool, life, spent_below)?;
        let floor = self.notes.offered.get(&pool).copied().filter(|floor| Incarnation::split(*floor).0 == life);
        if floor.is_none_or(|floor| floor < spent_below) {
            self.notes.offered.insert(pool.clone(), spent_below);
            self.notes_changed = true;
        }
        let has_room = |link: &super::Link| !link.has_incoming(key) && link.incoming_len() < self.config.max_incoming;
        Ok(floor.is_none_or(|floor| key >= floor) && self.links.get(&pool).is_some_and(has_room))
    }

    /// All nodes further on have set a pad aside.
    pub(super) fn reserved_further_on(&mut self, now: Now, from: &KmId, relay: KeyId) -> Result<(), S::Error> {
        let Some(passing) = self.relays.passing.get_mut(&relay) else { return Ok(()) };
        if passing.is_onward(from) && passing.stage == Stage::Asked {
            passing.stage = Stage::Ready;
            let back = passing.from.clone();
            self.send_step(now, &back, relay, RelayStep::Reserved)?;
        }
        Ok(())
    }

    pub(super) fn refused_further_on(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        at: KmId,
        reason: RelayRefusal,
    ) -> Result<(), S::Error> {
        let Some(passing) = self.relays.passing.get(&relay).filter(|passing| passing.is_onward(from)) else { return Ok(()) };
        let back = passing.from.clone();
        self.drop_passing(relay)?;
        self.refuse_relay(now, &back, relay, at, reason)
    }

    pub(super) fn complete_further_on(&mut self, from: &KmId, relay: KeyId, tag: [u8; 16]) {
        let sent = |passing: &&Passing| passing.is_onward(from) && passing.stage == Stage::Done;
        let Some(passing) = self.relays.passing.get(&relay).filter(sent) else { return };
        let (pad, back) = (passing.onward().map(|onward| onward.pad), passing.from.clone());
        self.relays.passing.remove(&relay);
        if let Some(pad) = pad {
            self.link_key_event(Pool::Outgoing, pad, KeyEvent::Finish);
        }
        self.send(&back, Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
    }

    pub(super) fn drop_passing(&mut self, relay: KeyId) -> Result<(), S::Error> {
        let Some(onward) = self.relays.passing.remove(&relay).and_then(|passing| passing.onward) else { return Ok(()) };
        match onward.pad {
            Some(pad) => self.put_back(pad)?,
            None => self.link_key_event(Pool::Outgoing, onward.reservation.pad, KeyEvent::Burn),
        }
        Ok(())
    }

    pub(super) fn relayed_key(
        &mut self,
        now: Now,
        from: &KmId,
        sender: Incarnation,
        relay: KeyId,
        sealed: Vec<u8>,
        tag: [u8; 16],
    ) -> Result<(), S::Error> {
        let Some(passing) = self.relays.passing.get(&relay).filter(|passing| passing.from == *from) else {
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::NotReserved);
        };
        if passing.stage != Stage::Ready {
            // The same said again, or too early: whether all is reserved, the answers say.
            return Ok(());
        }
        let came = passing.reservation.clone();
        let context = words::step(sender, from, &self.config.id, relay, &RelayStep::Reserve(came.clone()));
        let Some(material) = self.open_relayed(&came, &context, &Sealed { octets: sealed, tag })? else {
            self.misbehaviour(from, Misbehaviour::WrongTag);
            self.drop_passing(relay)?;
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::BadPad);
        };
        let Some(passing) = self.relays.passing.get_mut(&relay) else { return Ok(()) };
        passing.stage = Stage::Done;
        let Some(onward) = &mut passing.onward else { return self.arrived(now, from, relay, came, material) };
        let (to, reservation) = (onward.to.clone(), onward.reservation.clone());
        if let Some(pad) = onward.pad.take() {
            self.send_key(&to, relay, reservation, pad, &material);
        }
        Ok(())
    }

    /// Opens what came under the pad of this hop, which is gone then.
    fn open_relayed(
        &mut self,
        came: &RelayReservation,
        context: &[u8],
        sealed: &Sealed,
    ) -> Result<Option<KeyMaterial>, S::Error> {
        if !self.links.get_mut(&came.link).is_some_and(|link| link.remove_incoming(came.pad)) {
            return Ok(None);
        }
        let Some(StoredKey::Incoming(pad)) = self.take(Pool::Incoming, came.pad)? else { return Ok(None) };
        self.spend(Pool::Incoming, &pad, Use::Relay);
        for event in [KeyEvent::Reserve, KeyEvent::Use, KeyEvent::Finish] {
            self.link_key_event(Pool::Incoming, came.pad, event);
        }
        let fits = sealed.octets.len() == came.octets as usize;
        let pad = Pad::new(pad).shortened_to(sealed.octets.len()).ok().filter(|_| fits);
        Ok(pad.and_then(|pad| pad.open(context, sealed).ok()))
    }

    /// At the destination. With several paths, the key is put together when enough parts are there.
    fn arrived(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        came: RelayReservation,
        material: KeyMaterial,
    ) -> Result<(), S::Error> {
        let key = came.key;
        if came.of == 1 {
            let tag = self.store_relayed(now, relay, &came, &material)?;
            return self.answer_arrived(now, vec![(from.clone(), relay)], tag);
        }
        let gathering = self.relays.gathering.entry(key).or_insert_with(|| Gathering {
            give_up: now.instant + self.config.give_up,
            reservation: came.clone(),
            shares: Vec::new(),
            arrived: Vec::new(),
            complete: None,
        });
        let agrees = words::key(&gathering.reservation) == words::key(&came);
        let twice = gathering.shares.iter().any(|share| share.number == came.part);
        if !agrees || twice {
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::NotWanted);
        }
        gathering.shares.push(Share { number: came.part, material });
        gathering.arrived.push((from.clone(), relay));
        if let Some(tag) = gathering.complete {
            return self.answer_arrived(now, vec![(from.clone(), relay)], Some(tag));
        }
        let combined = Sharing::new(came.needed, came.of)
            .and_then(|sharing| sharing.combine(&words::key(&came), &gathering.shares).ok())
            .map(|combined| combined.secret);
        let all_came = gathering.shares.len() == usize::from(came.of);
        let arrived = gathering.arrived.clone();
        match combined {
            Some(secret) => {
                let tag = self.store_relayed(now, relay, &came, &secret)?;
                match (self.relays.gathering.get_mut(&key), tag) {
                    // Parts that are still on their way get the same answer.
                    (Some(gathering), Some(_)) if !all_came => gathering.complete = tag,
                    _ => drop(self.relays.gathering.remove(&key)),
                }
                self.answer_arrived(now, arrived, tag)
            }
            None if all_came => {
                self.relays.gathering.remove(&key);
                self.answer_arrived(now, arrived, None)
            }
            None => Ok(()),
        }
    }

    /// The key is durable before the source hears of it. The tag to tell it with; `None` when it is not wanted any more.
    fn store_relayed(
        &mut self,
        now: Now,
        relay: KeyId,
        came: &RelayReservation,
        secret: &KeyMaterial,
    ) -> Result<Option<[u8; 16]>, S::Error> {
        if !self.admit_relayed_key(relay, came)? {
            return Ok(None);
        }
        let (Some(pool), Some(tag)) = (self.pool_of(came), words::completion_tag(came, secret)) else { return Ok(None) };
        let source = came.path[0].clone();
        let expires = came.expires.min(now.wall.after(self.config.link_key_life + self.config.clock_skew));
        let Some(key) = relayed_link_key(came.key, source, pool, secret, now, expires) else { return Ok(None) };
        if let Some(link) = self.links.get_mut(&key.link) {
            link.insert_incoming(came.key);
        }
        self.put(StoredKey::Incoming(key))?;
        self.link_key_event(Pool::Incoming, came.key, KeyEvent::Confirm);
        self.event(Event::Arrived { key: came.key, from: came.path[0].clone() });
        Ok(Some(tag))
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
