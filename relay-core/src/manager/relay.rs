//! Relay: key for nodes that no link of this node leads to, carried hop by hop over trusted nodes (Y3803-9.3).
//!
//! The source draws fresh random key and sends it along a path, under a pad of link key on every hop (scheme R2 of Y.3803).
//! What arrives is link key like any other, of a pool that leads to the destination instead of to a neighbour: blocks are
//! bound with it before anyone asks, so an application does not wait for a relay, nor notice when its route changes.
//!
//! ```text
//!   source            trusted node          destination
//!     │ ─── Reserve ───► │ ─── Reserve ───► │    each sender takes a pad out of its store first
//!     │ ◄── Reserved ─── │ ◄── Reserved ─── │    or Refused: what was set aside goes back
//!     │ ─── Key ⊕ pad ─► │ ─── Key ⊕ pad ─► │    a pad that was used never goes back
//!     │ ◄── Complete ─── │ ◄── Complete ─── │    in the store there; only then usable here
//! ```
//!
//! Reserve, Reserved and Refused carry tags of their own ([`authentic`](super::authentic)), the key the tag of its pad, and
//! Complete a tag under 32 octets of what was relayed, for the source to check: it shows that the destination has the same
//! key, and tells nothing of it. After any doubt pads and key are burnt, at both ends, and another relay starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use itu_y3803::message::{Body, MAX_PATH_NODES, MAX_SEALED_OCTETS, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyEvent, KeyId, KeyMaterial, KeySize, KmId, KmaKey, LinkId, RandomSource};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use subtle::ConstantTimeEq;

use super::links::Link;
use super::{Config, Event, KeyManager, Misbehaviour, Now, Output, Use};
use crate::encoding::Writer;
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
use crate::store::{KeyStore, Pool, StoredKey};

/// Octets at the end of what is relayed that key the tag of its completion, and are used for nothing else.
pub(super) const COMPLETION_OCTETS: usize = 32;

/// The name of the pool of relayed key between two nodes: the same at both.
pub(super) fn pool_name(a: &KmId, b: &KmId) -> Option<LinkId> {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    LinkId::new(&format!("relay {} {first} {second}", first.as_str().len())).ok()
}

/// What a pool of relayed key has beside its keys.
#[derive(Default)]
pub(super) struct Relayed {
    /// When key of it was last wanted.
    wanted: Option<Instant>,
    asked_for_route: bool,
    /// No relay before, after some were refused in a row.
    pause: Option<Instant>,
    failures: u32,
    /// The router knew no way when it was last asked.
    unreachable: bool,
    /// Nodes that refused of late, and until when others are preferred.
    avoided: BTreeMap<KmId, Instant>,
}

/// The relays that this node takes part in.
#[derive(Default)]
pub(super) struct Relays {
    outbound: BTreeMap<KeyId, Outbound>,
    passing: BTreeMap<KeyId, Passing>,
}

/// A relay from here.
struct Outbound {
    pool: LinkId,
    reservation: RelayReservation,
    /// Until it is used.
    pad: Option<KmaKey>,
    /// What was sent, completion key included.
    sent: Option<KeyMaterial>,
    give_up: Instant,
}

/// A relay that comes through here, or ends here.
struct Passing {
    from: KmId,
    /// As it came.
    reservation: RelayReservation,
    /// `None` at the destination.
    onward: Option<Onward>,
    stage: Stage,
    give_up: Instant,
}

struct Onward {
    to: KmId,
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

impl Outbound {
    fn destination(&self) -> Option<&KmId> {
        self.reservation.path.last()
    }
}

impl Relays {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let outbound = self.outbound.values().map(|relay| relay.give_up);
        outbound.chain(self.passing.values().map(|relay| relay.give_up)).min()
    }

    /// The lowest link key of this link that the other end must keep for a relay, or relayed key that it may yet be told to use.
    pub(super) fn lowest_in_use(&self, link: &LinkId) -> Option<KeyId> {
        let ours = self.outbound.iter().filter(|(_, relay)| relay.pool == *link).map(|(&id, _)| id);
        let first = self.outbound.values().map(|relay| &relay.reservation);
        let onward = self.passing.values().filter_map(|relay| Some(&relay.onward.as_ref()?.reservation));
        let pads = first.chain(onward).filter(|hop| hop.link == *link).map(|hop| hop.pad);
        ours.chain(pads).min()
    }

    fn outbound_to(&self, pool: &LinkId) -> usize {
        self.outbound.values().filter(|relay| relay.pool == *pool).count()
    }
}

impl Link {
    /// Whether this is a pool of relayed key that no way leads to.
    pub(super) fn is_unreachable(&self) -> bool {
        self.relayed.as_ref().is_some_and(|relayed| relayed.unreachable)
    }

    fn relay_deadline(&self, config: &Config) -> Option<Instant> {
        self.relayed.as_ref()?.pause.filter(|_| self.outgoing_len() < config.relay_high)
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn relay_deadline(&self) -> Option<Instant> {
        let pauses =
            self.links.values().filter(|link| self.is_up(&link.peer)).filter_map(|link| link.relay_deadline(&self.config));
        pauses.chain(self.relays.deadline()).min()
    }

    /// Key that is shared with this peer was wanted: what is used is replaced ahead of demand.
    pub(super) fn want_relayed(&mut self, now: Now, peer: &KmId) {
        for link in self.links.values_mut().filter(|link| link.peer == *peer) {
            if let Some(relayed) = &mut link.relayed {
                relayed.wanted = Some(now.instant);
            }
        }
    }

    /// Asks for a way to each destination whose pool runs low.
    pub(super) fn fill_relayed(&mut self, now: Now) {
        let mut asked = Vec::new();
        for link in self.links.values_mut() {
            let level = link.outgoing_len() + self.relays.outbound_to(&link.id);
            let up = self.peers.get(&link.peer).is_some_and(super::peers::Peer::is_known_and_up);
            let filling = link.filling;
            let Some(relayed) = &mut link.relayed else { continue };
            relayed.pause = relayed.pause.filter(|until| *until > now.instant);
            let wanted = relayed.wanted.is_some_and(|at| now.instant < at + self.config.idle);
            let mark = if filling { self.config.relay_high } else { self.config.relay_low };
            link.filling = wanted && level < mark;
            if link.filling && up && !relayed.asked_for_route && relayed.pause.is_none() {
                relayed.asked_for_route = true;
                relayed.avoided.retain(|_, until| *until > now.instant);
                let avoid = relayed.avoided.keys().cloned().collect();
                asked.push(Output::RouteWanted { to: link.peer.clone(), avoid });
            }
        }
        self.staged.extend(asked);
    }

    /// Starts as many relays along the path as the pool wants, `None` when there is no way.
    pub(super) fn route(&mut self, now: Now, to: &KmId, path: Option<&[KmId]>) -> Result<(), S::Error> {
        let Some(pool) = pool_name(&self.config.id, to) else { return Ok(()) };
        let level = self.relays.outbound_to(&pool);
        let Some(link) = self.links.get_mut(&pool) else { return Ok(()) };
        let missing = self.config.relay_high.saturating_sub(link.outgoing_len() + level);
        let Some(relayed) = &mut link.relayed else { return Ok(()) };
        relayed.asked_for_route = false;
        relayed.unreachable = path.is_none();
        // While relays fail, one at a time tries: each costs tags.
        let at_once = if relayed.failures > 0 { 1 } else { self.config.relays_at_once };
        let usable = path.filter(|path| is_path(path) && path.first() == Some(&self.config.id) && path.last() == Some(to));
        let mut started = 0;
        if let Some(path) = usable {
            while started < missing.min(at_once.saturating_sub(level)) && self.start_relay(now, &pool, path)? {
                started += 1;
            }
        }
        if started == 0 && missing > 0 {
            self.pause_relays(now, &pool);
        }
        Ok(())
    }

    fn start_relay(&mut self, now: Now, pool: &LinkId, path: &[KmId]) -> Result<bool, S::Error> {
        let Some((link, pad)) = self.choose_link_key(now, &path[1], self.config.link_floor, false) else { return Ok(false) };
        let Some(pad) = self.take_outgoing(&link, pad)? else { return Ok(false) };
        let octets = pad.material.size().octets().saturating_sub(TAG_KEY_OCTETS).min(MAX_SEALED_OCTETS);
        let relay = self.notes.incarnation.key_id(self.number());
        let reservation = RelayReservation {
            path: path.to_vec(),
            hop: 1,
            octets: octets as u32,
            expires: now.wall.after(self.config.link_key_life),
            spent_below: self.spent_below(pool, relay),
            link,
            pad: pad.id,
        };
        if octets <= COMPLETION_OCTETS + TAG_KEY_OCTETS
            || !self.send_step(now, &path[1], relay, RelayStep::Reserve(reservation.clone()))?
        {
            self.put_back(pad)?;
            return Ok(false);
        }
        let give_up = now.instant + self.config.give_up;
        let outbound = Outbound { pool: pool.clone(), reservation, pad: Some(pad), sent: None, give_up };
        self.relays.outbound.insert(relay, outbound);
        Ok(true)
    }

    /// Sends a step with a proof. `false` when there is no link key for the proof: then nothing was said.
    fn send_step(&mut self, now: Now, to: &KmId, relay: KeyId, step: RelayStep) -> Result<bool, S::Error> {
        let text = text(self.notes.incarnation, &self.config.id, to, relay, &step);
        let Some(proof) = self.prove(now, to, &text)? else { return Ok(false) };
        self.send(to, Body::Relay(RelayMessage { relay, step, proof: Some(proof) }));
        Ok(true)
    }

    fn refuse_relay(&mut self, now: Now, to: &KmId, relay: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        self.send_step(now, to, relay, RelayStep::Refused { at, reason }).map(drop)
    }

    pub(super) fn relay(&mut self, now: Now, from: &KmId, sender: Incarnation, message: RelayMessage) -> Result<(), S::Error> {
        if !self.links.values().any(|link| link.peer == *from && !link.is_relayed()) {
            self.misbehaviour(from, Misbehaviour::NoNeighbour);
            return Ok(());
        }
        let RelayMessage { relay, step, proof } = message;
        if matches!(step, RelayStep::Reserve(_) | RelayStep::Reserved | RelayStep::Refused { .. }) {
            let text = text(sender, from, &self.config.id, relay, &step);
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
            RelayStep::Reserved => self.reserved(now, from, relay),
            RelayStep::Refused { at, reason } => self.relay_refused(now, from, relay, at, reason),
            RelayStep::Key { sealed, tag } => self.relayed_key(now, from, sender, relay, Sealed { octets: sealed, tag }),
            RelayStep::Complete { tag } => self.relay_complete(now, from, relay, tag),
            _ => Ok(()),
        }
    }

    fn reserve(&mut self, now: Now, from: &KmId, relay: KeyId, reservation: RelayReservation) -> Result<(), S::Error> {
        match self.admit_relay(now, from, relay, &reservation)? {
            Err(reason) => self.refuse_relay(now, from, relay, self.config.id.clone(), reason),
            Ok(onward) => {
                let stage = if onward.is_none() { Stage::Ready } else { Stage::Asked };
                let answer = onward.is_none();
                let give_up = now.instant + self.config.give_up;
                self.relays.passing.insert(relay, Passing { from: from.clone(), reservation, onward, stage, give_up });
                if answer {
                    self.send_step(now, from, relay, RelayStep::Reserved)?;
                }
                Ok(())
            }
        }
    }

    /// Sets a pad aside and asks the next node; `None` at the destination.
    fn admit_relay(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        reservation: &RelayReservation,
    ) -> Result<Result<Option<Onward>, RelayRefusal>, S::Error> {
        let RelayReservation { path, hop, octets, expires, .. } = reservation;
        let (hop, octets) = (usize::from(*hop), *octets as usize);
        let here = path.get(hop) == Some(&self.config.id) && path.get(hop.wrapping_sub(1)) == Some(from);
        if !is_path(path) || !here {
            return Ok(Err(RelayRefusal::BadPath));
        }
        if self.relays.outbound.contains_key(&relay) || self.relays.passing.contains_key(&relay) {
            return Ok(Err(RelayRefusal::BadPath));
        }
        if self.relays.passing.values().filter(|passing| passing.from == *from).count() >= self.config.max_passing {
            return Ok(Err(RelayRefusal::TooMany));
        }
        let fits = self
            .links
            .get(&reservation.link)
            .is_some_and(|link| link.peer == *from && !link.is_relayed() && link.has_incoming(reservation.pad));
        if !fits || octets > MAX_SEALED_OCTETS || octets <= COMPLETION_OCTETS + TAG_KEY_OCTETS {
            return Ok(Err(RelayRefusal::BadPad));
        }
        let Some(next) = path.get(hop + 1) else {
            let wanted = self.admit_relayed_key(relay, &path[0], reservation)?;
            let in_time = now.wall < *expires;
            return Ok(if wanted && in_time { Ok(None) } else { Err(RelayRefusal::NotWanted) });
        };
        if !self.is_up(next) {
            return Ok(Err(RelayRefusal::NoConnection));
        }
        let Some((link, id)) = self.choose_link_key(now, next, self.config.link_floor, false) else {
            return Ok(Err(RelayRefusal::NoKey));
        };
        let Some(pad) = self.take_outgoing(&link, id)? else { return Ok(Err(RelayRefusal::NoKey)) };
        if pad.material.size().octets() < TAG_KEY_OCTETS + octets {
            self.put_back(pad)?;
            return Ok(Err(RelayRefusal::NoKey));
        }
        let onward = RelayReservation { hop: reservation.hop + 1, link, pad: id, ..reservation.clone() };
        if !self.send_step(now, next, relay, RelayStep::Reserve(onward.clone()))? {
            self.put_back(pad)?;
            return Ok(Err(RelayRefusal::NoKey));
        }
        Ok(Ok(Some(Onward { to: next.clone(), reservation: onward, pad: Some(pad) })))
    }

    /// Whether this node, as the destination, shares key with the source, and this is not one it was told to forget.
    fn admit_relayed_key(&mut self, relay: KeyId, source: &KmId, reservation: &RelayReservation) -> Result<bool, S::Error> {
        let life = Incarnation::split(relay).0;
        let current = self.peers.get(source).is_some_and(|peer| peer.current == Some(life));
        let Some(pool) = pool_name(&self.config.id, source).filter(|pool| current && self.links.contains_key(pool)) else {
            return Ok(false);
        };
        self.burn_spent(&pool, life, reservation.spent_below)?;
        let floor = self.notes.offered.get(&pool).copied().filter(|floor| Incarnation::split(*floor).0 == life);
        if floor.is_none_or(|floor| floor < reservation.spent_below) && Incarnation::split(reservation.spent_below).0 == life {
            self.notes.offered.insert(pool.clone(), reservation.spent_below);
            self.notes_changed = true;
        }
        let known = |link: &Link| link.has_incoming(relay) || link.incoming_len() >= self.config.max_incoming;
        Ok(floor.is_none_or(|floor| relay >= floor) && self.links.get(&pool).is_some_and(|link| !known(link)))
    }

    fn reserved(&mut self, now: Now, from: &KmId, relay: KeyId) -> Result<(), S::Error> {
        if let Some(passing) = self.relays.passing.get_mut(&relay) {
            let from_onward = passing.onward.as_ref().is_some_and(|onward| onward.to == *from);
            if from_onward && passing.stage == Stage::Asked {
                passing.stage = Stage::Ready;
                let back = passing.from.clone();
                self.send_step(now, &back, relay, RelayStep::Reserved)?;
            }
            return Ok(());
        }
        let Some(outbound) = self.relays.outbound.get_mut(&relay) else { return Ok(()) };
        if outbound.reservation.path.get(1) != Some(from) {
            return Ok(());
        }
        let Some(pad) = outbound.pad.take() else { return Ok(()) };
        let octets = outbound.reservation.octets as usize;
        let Some(size) = KeySize::from_octets(octets) else { return Ok(()) };
        let material = KeyMaterial::generate(size, &mut self.random);
        let context =
            text(self.notes.incarnation, &self.config.id, from, relay, &RelayStep::Reserve(outbound.reservation.clone()));
        let pad_id = pad.id;
        let spent = Spent::of(&pad);
        let Ok(sealed) = Pad::new(pad).shortened_to(octets).and_then(|pad| pad.seal(&context, &material)) else { return Ok(()) };
        outbound.sent = Some(material);
        self.spent(Pool::Outgoing, &spent, Use::Relay);
        self.link_key_event(Pool::Outgoing, pad_id, KeyEvent::Use);
        let step = RelayStep::Key { sealed: sealed.octets, tag: sealed.tag };
        self.send(from, Body::Relay(RelayMessage { relay, step, proof: None }));
        Ok(())
    }

    fn relayed_key(&mut self, now: Now, from: &KmId, sender: Incarnation, relay: KeyId, sealed: Sealed) -> Result<(), S::Error> {
        let Some(passing) = self.relays.passing.get_mut(&relay).filter(|passing| passing.from == *from) else {
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::NotReserved);
        };
        if passing.stage != Stage::Ready {
            // The same said again, or too early: what is reserved is decided by the answers.
            return Ok(());
        }
        let came = passing.reservation.clone();
        let context = text(sender, from, &self.config.id, relay, &RelayStep::Reserve(came.clone()));
        let Some(material) = self.open_relayed(&came, &context, &sealed)? else {
            self.misbehaviour(from, Misbehaviour::WrongTag);
            self.drop_passing(relay)?;
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::BadPad);
        };
        let Some(passing) = self.relays.passing.get_mut(&relay) else { return Ok(()) };
        passing.stage = Stage::Done;
        let Some(onward) = &mut passing.onward else { return self.arrived(now, from, relay, &came, &material) };
        let Some(pad) = onward.pad.take() else { return Ok(()) };
        let to = onward.to.clone();
        let step = RelayStep::Reserve(onward.reservation.clone());
        let context = text(self.notes.incarnation, &self.config.id, &to, relay, &step);
        let (pad_id, spent) = (pad.id, Spent::of(&pad));
        let sealed = Pad::new(pad).shortened_to(came.octets as usize).and_then(|pad| pad.seal(&context, &material));
        let Ok(sealed) = sealed else { return Ok(()) };
        self.spent(Pool::Outgoing, &spent, Use::Relay);
        self.link_key_event(Pool::Outgoing, pad_id, KeyEvent::Use);
        let step = RelayStep::Key { sealed: sealed.octets, tag: sealed.tag };
        self.send(&to, Body::Relay(RelayMessage { relay, step, proof: None }));
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
        let octets = came.octets as usize;
        let fits = sealed.octets.len() == octets;
        let pad = Pad::new(pad).shortened_to(octets).ok().filter(|_| fits);
        Ok(pad.and_then(|pad| pad.open(context, sealed).ok()))
    }

    /// At the destination: the key is durable before the source hears of it.
    fn arrived(
        &mut self,
        now: Now,
        from: &KmId,
        relay: KeyId,
        came: &RelayReservation,
        material: &KeyMaterial,
    ) -> Result<(), S::Error> {
        let source = came.path[0].clone();
        let wanted = self.admit_relayed_key(relay, &source, came)?;
        let key = pool_name(&self.config.id, &source).filter(|_| wanted).and_then(|pool| {
            let expires = came.expires.min(now.wall.after(self.config.link_key_life + self.config.clock_skew));
            relayed_link_key(relay, source, pool, material, now, expires)
        });
        let (Some(key), Some(tag)) = (key, completion_tag(relay, came, material)) else {
            return self.refuse_relay(now, from, relay, self.config.id.clone(), RelayRefusal::NotWanted);
        };
        if let Some(link) = self.links.get_mut(&key.link) {
            link.insert_incoming(relay);
        }
        self.put(StoredKey::Incoming(key))?;
        self.link_key_event(Pool::Incoming, relay, KeyEvent::Confirm);
        self.event(Event::Relayed { key: relay, path: came.path.clone() });
        self.send(from, Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
        Ok(())
    }

    fn relay_complete(&mut self, now: Now, from: &KmId, relay: KeyId, tag: [u8; 16]) -> Result<(), S::Error> {
        if let Some(passing) = self.relays.passing.get(&relay) {
            let Some(onward) = passing.onward.as_ref().filter(|onward| onward.to == *from && onward.pad.is_none()) else {
                return Ok(());
            };
            let (pad, back) = (onward.reservation.pad, passing.from.clone());
            self.relays.passing.remove(&relay);
            self.link_key_event(Pool::Outgoing, pad, KeyEvent::Finish);
            self.send(&back, Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
            return Ok(());
        }
        let sent = self.relays.outbound.get(&relay).filter(|outbound| outbound.reservation.path.get(1) == Some(from));
        let Some(material) = sent.and_then(|outbound| outbound.sent.as_ref()) else { return Ok(()) };
        let Some(reservation) = sent.map(|outbound| &outbound.reservation) else { return Ok(()) };
        let fits = completion_tag(relay, reservation, material).is_some_and(|expected| expected.ct_eq(&tag).into());
        let Some(outbound) = self.relays.outbound.remove(&relay) else { return Ok(()) };
        let destination = outbound.destination().cloned();
        let key = outbound.sent.as_ref().zip(destination.clone()).filter(|_| fits).and_then(|(material, to)| {
            relayed_link_key(relay, to, outbound.pool.clone(), material, now, outbound.reservation.expires)
        });
        let Some(key) = key else {
            self.link_key_event(Pool::Outgoing, outbound.reservation.pad, KeyEvent::Burn);
            self.relay_failed(now, relay, &outbound, destination.unwrap_or_else(|| from.clone()), RelayRefusal::BadPad);
            return Ok(());
        };
        self.link_key_event(Pool::Outgoing, outbound.reservation.pad, KeyEvent::Finish);
        if let Some(link) = self.links.get_mut(&key.link) {
            link.insert_outgoing(&key);
            if let Some(relayed) = &mut link.relayed {
                (relayed.failures, relayed.pause) = (0, None);
                relayed.avoided.clear();
            }
        }
        self.put(StoredKey::Outgoing(key))?;
        self.link_key_event(Pool::Outgoing, relay, KeyEvent::Confirm);
        self.event(Event::Relayed { key: relay, path: outbound.reservation.path });
        self.pools_wanting = true;
        Ok(())
    }

    fn relay_refused(&mut self, now: Now, from: &KmId, relay: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        if let Some(passing) = self.relays.passing.get(&relay) {
            if passing.onward.as_ref().is_some_and(|onward| onward.to == *from) {
                let back = passing.from.clone();
                self.drop_passing(relay)?;
                self.refuse_relay(now, &back, relay, at, reason)?;
            }
            return Ok(());
        }
        let ours = self.relays.outbound.get(&relay).is_some_and(|outbound| outbound.reservation.path.get(1) == Some(from));
        if ours { self.drop_outbound(now, relay, at, reason) } else { Ok(()) }
    }

    /// Ends a relay from here: the pad goes back if it was not used, and is burnt with the key if it was.
    fn drop_outbound(&mut self, now: Now, relay: KeyId, at: KmId, reason: RelayRefusal) -> Result<(), S::Error> {
        let Some(mut outbound) = self.relays.outbound.remove(&relay) else { return Ok(()) };
        match outbound.pad.take() {
            Some(pad) => self.put_back(pad)?,
            None => self.link_key_event(Pool::Outgoing, outbound.reservation.pad, KeyEvent::Burn),
        }
        self.relay_failed(now, relay, &outbound, at, reason);
        Ok(())
    }

    fn relay_failed(&mut self, now: Now, relay: KeyId, outbound: &Outbound, at: KmId, reason: RelayRefusal) {
        self.link_key_event(Pool::Outgoing, relay, KeyEvent::Burn);
        let between = outbound.reservation.path.iter().skip(1).rev().skip(1).any(|node| *node == at);
        if let Some(relayed) = self.links.get_mut(&outbound.pool).and_then(|link| link.relayed.as_mut())
            && between
        {
            relayed.avoided.insert(at.clone(), now.instant + self.config.give_up);
        }
        self.pause_relays(now, &outbound.pool);
        self.event(Event::NotRelayed { key: relay, path: outbound.reservation.path.clone(), at, reason });
    }

    fn drop_passing(&mut self, relay: KeyId) -> Result<(), S::Error> {
        let Some(passing) = self.relays.passing.remove(&relay) else { return Ok(()) };
        let Some(onward) = passing.onward else { return Ok(()) };
        match onward.pad {
            Some(pad) => self.put_back(pad),
            None => {
                self.link_key_event(Pool::Outgoing, onward.reservation.pad, KeyEvent::Burn);
                Ok(())
            }
        }
    }

    /// After a failure: the next relay in a while, later each time.
    fn pause_relays(&mut self, now: Now, pool: &LinkId) {
        let first = self.config.draw_pause;
        if let Some(relayed) = self.links.get_mut(pool).and_then(|link| link.relayed.as_mut()) {
            relayed.pause = Some(now.instant + first.saturating_mul(1 << relayed.failures.min(4)));
            relayed.failures += 1;
        }
    }

    pub(super) fn give_up_relays(&mut self, now: Now) -> Result<(), S::Error> {
        let over: Vec<_> =
            self.relays.outbound.iter().filter(|(_, relay)| relay.give_up <= now.instant).map(|(&id, _)| id).collect();
        for relay in over {
            let at = self.relays.outbound[&relay].destination().cloned().unwrap_or_else(|| self.config.id.clone());
            self.drop_outbound(now, relay, at, RelayRefusal::NoConnection)?;
        }
        let over: Vec<_> =
            self.relays.passing.iter().filter(|(_, relay)| relay.give_up <= now.instant).map(|(&id, _)| id).collect();
        for relay in over {
            self.drop_passing(relay)?;
        }
        Ok(())
    }

    /// A peer has lost its store: what it had a part in is over, and pads that it had a copy of are worth nothing.
    pub(super) fn burn_relays_with(&mut self, now: Now, peer: &KmId) -> Result<(), S::Error> {
        for relay in self.relays.outbound.keys().copied().collect::<BTreeSet<_>>() {
            let Some(outbound) = self.relays.outbound.get_mut(&relay) else { continue };
            if !outbound.reservation.path.contains(peer) {
                continue;
            }
            outbound.pad = outbound.pad.take().filter(|pad| pad.peer != *peer);
            self.drop_outbound(now, relay, peer.clone(), RelayRefusal::NotReserved)?;
        }
        for relay in self.relays.passing.keys().copied().collect::<BTreeSet<_>>() {
            let Some(passing) = self.relays.passing.get_mut(&relay) else { continue };
            if !passing.reservation.path.contains(peer) {
                continue;
            }
            if let Some(onward) = &mut passing.onward {
                onward.pad = onward.pad.take().filter(|pad| pad.peer != *peer);
            }
            self.drop_passing(relay)?;
        }
        Ok(())
    }
}

/// What was used of a link key, once the key itself is gone.
pub(super) struct Spent {
    pub(super) id: KeyId,
    pub(super) link: LinkId,
    pub(super) octets: usize,
}

impl Spent {
    pub(super) fn of(key: &KmaKey) -> Self {
        Self { id: key.id, link: key.link.clone(), octets: key.material.size().octets() }
    }
}

fn is_path(path: &[KmId]) -> bool {
    let distinct: BTreeSet<_> = path.iter().collect();
    (2..=MAX_PATH_NODES).contains(&path.len()) && distinct.len() == path.len()
}

/// What was relayed, without the octets that authenticated its completion.
fn relayed_link_key(
    id: KeyId,
    peer: KmId,
    link: LinkId,
    material: &KeyMaterial,
    now: Now,
    expires: itu_y3803::WallTime,
) -> Option<KmaKey> {
    let octets = material.size().octets().checked_sub(COMPLETION_OCTETS)?;
    Some(KmaKey { id, peer, link, material: material.section(0..octets)?, created: now.wall, expires })
}

fn completion_tag(relay: KeyId, reservation: &RelayReservation, material: &KeyMaterial) -> Option<[u8; 16]> {
    let (key, completion) = material.expose_secret().split_last_chunk::<COMPLETION_OCTETS>()?;
    let mut text = Writer::with_capacity(256 + key.len() + path_octets(&reservation.path));
    text.text("qkms relay completion 1");
    text.0.extend_from_slice(&relay.octets());
    write_path(&mut text, &reservation.path);
    text.number(reservation.expires.millis());
    text.octets(key);
    Some(Poly1305::new(completion.into()).compute_unpadded(&text.0).into())
}

/// What a step says, with who says it to whom: what the tags of its proof, and of the pad, are made over (relay digest A.4,
/// item 2).
fn text(sender: Incarnation, from: &KmId, to: &KmId, relay: KeyId, step: &RelayStep) -> Vec<u8> {
    let mut out = Writer::with_capacity(256);
    out.text("qkms relay 1");
    out.0.extend_from_slice(&sender.octets());
    out.text(from.as_str());
    out.text(to.as_str());
    out.0.extend_from_slice(&relay.octets());
    match step {
        RelayStep::Reserve(reservation) => {
            out.text("reserve R2");
            write_path(&mut out, &reservation.path);
            out.octet(reservation.hop);
            out.number(u64::from(reservation.octets));
            out.number(reservation.expires.millis());
            out.0.extend_from_slice(&reservation.spent_below.octets());
            out.text(reservation.link.as_str());
            out.0.extend_from_slice(&reservation.pad.octets());
        }
        RelayStep::Reserved => out.text("reserved"),
        RelayStep::Refused { at, reason } => {
            out.text("refused");
            out.text(at.as_str());
            out.text(reason.as_str());
        }
        // These have tags of their own.
        _ => {}
    }
    std::mem::take(&mut *out.0)
}

fn write_path(out: &mut Writer, path: &[KmId]) {
    out.number(path.len() as u64);
    path.iter().for_each(|node| out.text(node.as_str()));
}

fn path_octets(path: &[KmId]) -> usize {
    path.iter().map(|node| node.as_str().len() + 4).sum()
}
