//! Relays that come through here, and the last hop of those that end here.

use std::time::Instant;

use itu_y3803::message::{Body, MAX_SEALED_OCTETS, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyEvent, KeyId, KmId, KmaKey, RandomSource};

use super::super::scarcity::Taker;
use super::super::{KeyManager, Misbehaviour, Now, Use};
use super::source::{ends, overhead};
use super::{Sharing, is_path, words};
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
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

/// A relay that came through here and was said to be complete. Its source alone can tell whether that is true: if not, what is
/// said later must still get through.
pub(super) struct Completed {
    pub(super) give_up: Instant,
    relay: KeyId,
    from: KmId,
    to: KmId,
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

impl Passing {
    pub(super) fn onward(&self) -> Option<&RelayReservation> {
        self.onward.as_ref().map(|onward| &onward.reservation)
    }

    /// Who has not answered.
    pub(super) fn silent(&self) -> Option<&KmId> {
        match self.stage {
            Stage::Asked => self.onward.as_ref().map(|onward| &onward.to),
            Stage::Ready => Some(&self.from),
            Stage::Done => None,
        }
    }

    /// Drops the pad if `peer`, which has lost its store, had the other copy. Whether the peer takes part in this relay.
    pub(super) fn burn_pad_for(&mut self, peer: &KmId) -> bool {
        if let Some(onward) = &mut self.onward {
            onward.pad = onward.pad.take().filter(|pad| pad.peer != *peer);
        }
        self.reservation.path.contains(peer)
    }

    /// Its path, and the pad of the next hop while it is not used.
    pub(super) fn set_aside(&self) -> Option<(&[KmId], &KmaKey)> {
        Some((&self.reservation.path, self.onward.as_ref()?.pad.as_ref()?))
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
        // What ends here waits for the word of its source, which takes another way.
        let ready = onward.is_none() && self.is_expected(&reservation);
        let stage = if ready { Stage::Ready } else { Stage::Asked };
        let give_up = now.instant + self.config.give_up;
        self.relays.passing.insert(relay, Passing { give_up, from: from.clone(), reservation, onward, stage });
        if ready {
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
        // The names of this node's own relays are for itself to give.
        let life = Incarnation::split(relay).0;
        let foreign = life == self.notes.incarnation || life != Incarnation::split(reservation.key).0;
        if !is_path(path) || !here || known || foreign {
            return Ok(Err(RelayRefusal::BadPath));
        }
        let Some(sharing) = Sharing::new(*needed, *of).filter(|_| (1..=*of).contains(&reservation.part)) else {
            return Ok(Err(RelayRefusal::BadPath));
        };
        self.supersede(now, from, reservation)?;
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
            let wanted = now.wall < reservation.expires && self.may_be_expected(reservation);
            return Ok(if wanted { Ok(None) } else { Err(RelayRefusal::NotWanted) });
        };
        if !self.is_up(next) {
            return Ok(Err(RelayRefusal::NoConnection));
        }
        let taker = Taker { from, pair: &ends(path), spare: reservation.spare };
        let pad = match self.take_for_relay(now, next, taker, TAG_KEY_OCTETS + octets)? {
            Ok(pad) => pad,
            Err(reason) => return Ok(Err(reason)),
        };
        let onward = RelayReservation { hop: reservation.hop + 1, link: pad.link.clone(), pad: pad.id, ..reservation.clone() };
        if !self.send_step(now, next, relay, RelayStep::Reserve(onward.clone()))? {
            self.put_pad_back(now, taker, pad)?;
            return Ok(Err(RelayRefusal::NoKey));
        }
        Ok(Ok(Some(Onward { to: next.clone(), reservation: onward, pad: Some(pad) })))
    }

    /// A neighbour that names a pad again has given up what it named it for before, and what was set aside for that is free.
    fn supersede(&mut self, now: Now, from: &KmId, reservation: &RelayReservation) -> Result<(), S::Error> {
        let same = |passing: &Passing| {
            let former = &passing.reservation;
            passing.from == *from
                && (&former.link, former.pad) == (&reservation.link, reservation.pad)
                && passing.stage != Stage::Done
        };
        let former = self.relays.passing.iter().find(|(_, passing)| same(passing)).map(|(&relay, _)| relay);
        former.map_or(Ok(()), |relay| self.drop_passing(now, relay))
    }

    /// The source has announced this key: parts that came before its word can go on.
    pub(super) fn announced_parts(&mut self, now: Now, key: KeyId) -> Result<(), S::Error> {
        let waits =
            |passing: &Passing| passing.reservation.key == key && passing.onward.is_none() && passing.stage == Stage::Asked;
        let waiting: Vec<_> = (self.relays.passing.iter())
            .filter(|(_, passing)| waits(passing))
            .map(|(&relay, passing)| (relay, passing.from.clone(), self.is_expected(&passing.reservation)))
            .collect();
        for (relay, from, expected) in waiting {
            if !expected {
                self.relays.passing.remove(&relay);
                self.refuse_relay(now, &from, relay, self.config.id.clone(), RelayRefusal::NotWanted)?;
                continue;
            }
            if let Some(passing) = self.relays.passing.get_mut(&relay) {
                passing.stage = Stage::Ready;
            }
            self.send_step(now, &from, relay, RelayStep::Reserved)?;
        }
        Ok(())
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
        self.drop_passing(now, relay)?;
        self.refuse_relay(now, &back, relay, at, reason)
    }

    pub(super) fn complete_further_on(&mut self, from: &KmId, relay: KeyId, tag: [u8; 16]) {
        if let Some(completed) = self.first_completion(from, relay) {
            if self.relays.completed.len() >= self.config.max_passing {
                self.relays.completed.pop_front();
            }
            self.relays.completed.push_back(completed);
        }
        let said = |completed: &&Completed| completed.relay == relay && completed.to == *from;
        let Some(back) = self.relays.completed.iter().rev().find(said).map(|completed| completed.from.clone()) else { return };
        self.send(&back, Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
    }

    /// The pad is done with, and so is the room that this relay took.
    fn first_completion(&mut self, from: &KmId, relay: KeyId) -> Option<Completed> {
        let sent = |passing: &&Passing| passing.is_onward(from) && passing.stage == Stage::Done;
        self.relays.passing.get(&relay).filter(sent)?;
        let Passing { give_up, from, onward, .. } = self.relays.passing.remove(&relay)?;
        let onward = onward?;
        self.link_key_event(Pool::Outgoing, onward.reservation.pad, KeyEvent::Finish);
        Some(Completed { give_up, relay, from, to: onward.to })
    }

    pub(super) fn drop_passing(&mut self, now: Now, relay: KeyId) -> Result<(), S::Error> {
        let Some(Passing { from, onward: Some(onward), .. }) = self.relays.passing.remove(&relay) else { return Ok(()) };
        match onward.pad {
            Some(pad) => {
                let RelayReservation { path, spare, .. } = &onward.reservation;
                self.put_pad_back(now, Taker { from: &from, pair: &ends(path), spare: *spare }, pad)?;
            }
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
        // Late, said again, or too early: an answer would cost key, and the source gives up in time.
        let ready = |passing: &&Passing| passing.from == *from && passing.stage == Stage::Ready;
        let Some(passing) = self.relays.passing.get(&relay).filter(ready) else { return Ok(()) };
        let came = passing.reservation.clone();
        let context = words::step(sender, from, &self.config.id, relay, &RelayStep::Reserve(came.clone()));
        let Some(pad) = self.take_incoming(&came)? else {
            // The source has given it up since.
            return self.drop_passing(now, relay);
        };
        let fits = sealed.len() == came.octets as usize;
        let pad = Pad::new(pad).shortened_to(sealed.len()).ok().filter(|_| fits);
        let Some(material) = pad.and_then(|pad| pad.open(&context, &Sealed { octets: sealed, tag }).ok()) else {
            self.misbehaviour(from, Misbehaviour::WrongTag);
            self.drop_passing(now, relay)?;
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::BadPad);
        };
        let Some(passing) = self.relays.passing.get_mut(&relay) else { return Ok(()) };
        passing.stage = Stage::Done;
        let Some(onward) = &mut passing.onward else {
            self.relays.passing.remove(&relay);
            return self.arrived(now, from, relay, came, material);
        };
        let (to, reservation) = (onward.to.clone(), onward.reservation.clone());
        if let Some(pad) = onward.pad.take() {
            self.send_key(&to, relay, reservation, pad, &material);
        }
        Ok(())
    }

    /// The pad of this hop, which is gone from the store then.
    fn take_incoming(&mut self, came: &RelayReservation) -> Result<Option<KmaKey>, S::Error> {
        if !self.links.get_mut(&came.link).is_some_and(|link| link.remove_incoming(came.pad)) {
            return Ok(None);
        }
        let Some(StoredKey::Incoming(pad)) = self.take(Pool::Incoming, came.pad)? else { return Ok(None) };
        self.spend(Pool::Incoming, &pad, Use::Relay);
        for event in [KeyEvent::Reserve, KeyEvent::Use, KeyEvent::Finish] {
            self.link_key_event(Pool::Incoming, came.pad, event);
        }
        Ok(Some(pad))
    }
}
