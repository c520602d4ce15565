//! Binding: fresh key for given parties, at all their key managers, before anyone asks for it (Y3803-8.2-02).
//!
//! The master's key manager draws a block of random key, and sends it to each key manager of a slave under a pad of link key
//! (scheme R2 of Y.3803 with a single hop). A pad has left the store, durably, before a message made with it is sent; the
//! block enters the store of the receiver, durably, before the receiver agrees; and only when all have agreed does it enter
//! the sender's store, to be supplied. So a key that a master is given is durable wherever its slaves will ask for it.
//!
//! After any doubt block and pads are burnt. What is repeated is the same octets, never another message under the same pad.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use itu_y3803::message::{Body, MAX_SEALED_OCTETS, SupplyNotification, SupplyResponse};
use itu_y3803::{
    ApplicationId, Incarnation, KeyEvent, KeyId, KeyMaterial, KeySize, KmId, LinkId, Parties, RandomSource, SecrecyLabel,
};

use super::collect::Collectable;
use super::config::MAX_BLOCK_LIFE;
use super::scarcity::{Pair, Taker};
use super::{Event, KeyManager, Misbehaviour, Now, Use};
use crate::block::{BlockInfo, CollectBlock, SupplyBlock, block_number};
use crate::encoding::Writer;
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
use crate::policy::Ways;
use crate::store::{KeyStore, Pool, StoredKey};

/// A block on its way to the key managers of its slaves.
pub(super) struct Binding {
    info: BlockInfo,
    material: KeyMaterial,
    /// Who has not agreed yet, and what it was told.
    waiting: BTreeMap<KmId, SupplyNotification>,
    repeat: Instant,
    give_up: Instant,
}

impl Binding {
    pub(super) fn deadline(&self) -> Instant {
        self.repeat.min(self.give_up)
    }

    pub(super) fn repeat_at(&mut self, instant: Instant) {
        self.repeat = instant;
    }

    pub(super) fn parties(&self) -> &Parties {
        &self.info.parties
    }

    pub(super) fn lowest_pad(&self, link: &LinkId) -> Option<KeyId> {
        self.waiting.values().filter(|told| told.link == *link).map(|told| told.pad).min()
    }
}

/// What there is too little of to bind a block now.
pub(super) enum CannotBind {
    LinkKey,
    Numbers,
    Room,
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// Starts to bind one block. Returns its length in octets, or why it cannot be done.
    pub(super) fn bind(&mut self, now: Now, parties: &Arc<Parties>) -> Result<Result<usize, CannotBind>, S::Error> {
        let mut slaves_at: BTreeMap<KmId, Vec<ApplicationId>> = BTreeMap::new();
        for slave in parties.slaves() {
            if let Some(home) = self.home(slave).cloned() {
                slaves_at.entry(home).or_default().push(slave.clone());
            }
        }
        let slaves_here = slaves_at.remove(&self.config.id).is_some();
        // Orders for parties without common ways are refused.
        let Some(ways) = self.ways(parties).cloned() else { return Ok(Err(CannotBind::LinkKey)) };
        let (mut chosen, spare) = (Vec::new(), self.spare_of(now, parties));
        for peer in slaves_at.keys() {
            self.want_relayed(now, peer, &ways);
            let (own, pair) = (self.config.id.clone(), self.pair_with(peer));
            let serves = self.links.values().any(|link| link.peer == *peer && link.serves(&ways));
            let may_take = serves && self.may_take(now, peer, Taker { from: &own, pair: &pair, spare }, true);
            let pad = if may_take { self.choose_direct_key(now, peer, TAG_KEY_OCTETS + 1, &ways) } else { None };
            // A relayed key is nobody else's.
            match pad.or_else(|| self.choose_relayed_key(now, peer, TAG_KEY_OCTETS + 1, &ways)) {
                Some((link, pad)) => chosen.push((peer.clone(), link, pad)),
                None => {
                    // Of its own pool each peer's key is nobody else's.
                    let of_links = |link: &LinkId| self.links.get(link).is_some_and(|link| !link.is_relayed());
                    let chosen: Vec<_> = chosen.into_iter().filter(|(_, link, _)| of_links(link)).collect();
                    for (peer, ..) in chosen {
                        let pair = self.pair_with(&peer);
                        self.keep_waiting(now.instant, &peer, Taker { from: &own, pair: &pair, spare });
                    }
                    return Ok(Err(CannotBind::LinkKey));
                }
            }
        }
        // Keys that never leave this node cost no link key: without a limit their number has none.
        if slaves_here && !self.has_room_to_collect(&self.config.id, self.config.local_block_octets) {
            return Ok(Err(CannotBind::Room));
        }
        let mut number = self.number();
        if has_slaves_here(number) != slaves_here {
            number = self.number();
        }
        let id = self.notes.incarnation.key_id(number);
        if block_number(id).is_none() {
            return Ok(Err(CannotBind::Numbers));
        }
        let (mut pads, mut ways) = (Vec::new(), Vec::new());
        for (peer, link, pad) in chosen {
            let Some(key) = self.take_outgoing(&link, pad)? else { return Ok(Err(CannotBind::LinkKey)) };
            self.spend(Pool::Outgoing, &key, Use::Supply);
            if !self.links.get(&link).is_some_and(super::Link::is_relayed) {
                self.count_taken(&peer, &self.pair_with(&peer), key.material.size().bits().into());
            }
            ways.extend(key.paths.iter().map(<[KmId]>::to_vec));
            pads.push((peer, link, pad, Pad::new(key)));
        }
        let octets = pads.iter().map(|(.., pad)| pad.capacity()).min().unwrap_or(self.config.local_block_octets);
        let label = if pads.is_empty() { SecrecyLabel::Local } else { SecrecyLabel::ItsRelay };
        let Some(size) = KeySize::from_octets(octets) else { return Ok(Err(CannotBind::LinkKey)) };
        let material = KeyMaterial::generate(size, &mut self.random);
        let expires = now.wall.after(self.block_life(parties));
        let info =
            BlockInfo { id, parties: Arc::clone(parties), label, paths: ways.into_iter().collect(), created: now.wall, expires };
        let mut waiting = BTreeMap::new();
        for (peer, link, pad_id, pad) in pads {
            let slaves = slaves_at.remove(&peer).unwrap_or_default();
            // Should one of them fail, nothing is bound, and all pads are gone.
            let Some(parties) = Parties::new(parties.master().clone(), slaves) else { return Ok(Err(CannotBind::LinkKey)) };
            let mut told = SupplyNotification {
                block: id,
                parties,
                label,
                created: info.created,
                expires,
                link,
                pad: pad_id,
                sealed: Vec::new(),
                tag: [0; 16],
            };
            let context = context(self.notes.incarnation, &self.config.id, &peer, &told);
            let Ok(sealed) = pad.shortened_to(octets).and_then(|pad| pad.seal(&context, &material)) else {
                return Ok(Err(CannotBind::LinkKey));
            };
            (told.sealed, told.tag) = (sealed.octets, sealed.tag);
            self.link_key_event(Pool::Outgoing, pad_id, KeyEvent::Use);
            self.send(&peer, Body::SupplyNotification(told.clone()));
            waiting.insert(peer, told);
        }
        let binding = Binding {
            info,
            material,
            waiting,
            repeat: now.instant + self.config.repeat,
            give_up: now.instant + self.config.give_up,
        };
        if binding.waiting.is_empty() {
            self.bound(now, binding)?;
        } else {
            self.add_binding_octets(parties, octets);
            self.binding.insert(id, binding);
        }
        Ok(Ok(octets))
    }

    fn pair_with(&self, peer: &KmId) -> Pair {
        (self.config.id.clone(), peer.clone())
    }

    fn bound(&mut self, now: Now, binding: Binding) -> Result<(), S::Error> {
        let Binding { info, material, .. } = binding;
        let octets = material.size().octets();
        let here: Vec<_> =
            info.parties.slaves().iter().filter(|slave| self.home(slave) == Some(&self.config.id)).cloned().collect();
        if let Some(parties) = Parties::new(info.parties.master().clone(), here) {
            let info = BlockInfo { parties: Arc::new(parties), ..info.clone() };
            let block = CollectBlock::new(info, [0; 16], material.duplicate());
            self.index_collect(block.info.id, Collectable::from(&block));
            self.put(StoredKey::Collect(block))?;
        }
        self.index_supply(now, info.id, &info.parties, octets);
        self.event(Event::Bound { block: info.id, parties: Arc::clone(&info.parties), octets });
        let parties = Arc::clone(&info.parties);
        let homes = parties.slaves().iter().filter_map(|slave| self.home(slave).cloned()).collect();
        self.put(StoredKey::Supply(SupplyBlock::new(info, homes, material)))?;
        self.bound_at_last(&parties, now);
        self.serve_waiting(now, &parties)
    }

    pub(super) fn supply_response(&mut self, now: Now, from: &KmId, response: &SupplyResponse) -> Result<(), S::Error> {
        let Some(binding) = self.binding.get_mut(&response.block) else { return Ok(()) };
        let Some(told) = binding.waiting.remove(from) else { return Ok(()) };
        let complete = binding.waiting.is_empty();
        self.link_key_event(Pool::Outgoing, told.pad, if response.accepted { KeyEvent::Finish } else { KeyEvent::Burn });
        if !response.accepted {
            self.drop_binding(now, response.block);
        } else if complete && let Some(binding) = self.binding.remove(&response.block) {
            self.remove_binding_octets(&binding.info.parties, binding.material.size().octets());
            self.bound(now, binding)?;
        }
        self.pools_wanting = true;
        Ok(())
    }

    pub(super) fn drop_binding(&mut self, now: Now, block: KeyId) {
        let Some(binding) = self.binding.remove(&block) else { return };
        for told in binding.waiting.values() {
            self.link_key_event(Pool::Outgoing, told.pad, KeyEvent::Burn);
        }
        self.remove_binding_octets(&binding.info.parties, binding.material.size().octets());
        self.back_off(&binding.info.parties, now);
        self.event(Event::NotBound { block });
    }

    pub(super) fn repeat_notifications(&mut self, now: Now) {
        let over: Vec<_> = self.binding.iter().filter(|(_, binding)| binding.give_up <= now.instant).map(|(&id, _)| id).collect();
        for block in over {
            self.drop_binding(now, block);
        }
        let mut sends = Vec::new();
        for binding in self.binding.values_mut().filter(|binding| binding.repeat <= now.instant) {
            binding.repeat = now.instant + self.config.repeat;
            sends.extend(binding.waiting.iter().map(|(peer, told)| (peer.clone(), told.clone())));
        }
        sends.retain(|(peer, _)| self.is_up(peer));
        let mut greeted = std::collections::BTreeSet::new();
        for (peer, told) in sends {
            if greeted.insert(peer.clone()) {
                self.greet(&peer);
            }
            self.send(&peer, Body::SupplyNotification(told));
        }
    }

    /// The other end of [`bind`](Self::bind).
    pub(super) fn supply_notification(
        &mut self,
        now: Now,
        from: &KmId,
        sender: Incarnation,
        told: SupplyNotification,
    ) -> Result<(), S::Error> {
        let accepted = if let Some(tag) = self.collectable_tag(told.block) {
            // The same said again, because the answer was lost; or another block under a number that was used.
            let same = tag == told.tag && self.home(told.parties.master()) == Some(from);
            if !same {
                self.misbehaviour(from, Misbehaviour::Malformed);
            }
            same
        } else {
            match self.open_notification(now, from, sender, &told)? {
                Ok(Some(block)) => {
                    self.index_collect(block.info.id, Collectable::from(&block));
                    self.put(StoredKey::Collect(block))?;
                    true
                }
                Ok(None) => false,
                Err(what) => {
                    self.misbehaviour(from, what);
                    false
                }
            }
        };
        self.send(from, Body::SupplyResponse(SupplyResponse { block: told.block, accepted }));
        Ok(())
    }

    fn open_notification(
        &mut self,
        now: Now,
        from: &KmId,
        sender: Incarnation,
        told: &SupplyNotification,
    ) -> Result<Result<Option<CollectBlock>, Misbehaviour>, S::Error> {
        let own_link = self.links.get(&told.link).is_some_and(|link| link.peer == *from);
        if !own_link {
            return Ok(Err(Misbehaviour::ForeignLink));
        }
        if !self.has_room_to_collect(from, told.sealed.len()) {
            return Ok(Err(Misbehaviour::TooMuch));
        }
        // From here on the pad is spent, whatever comes: there may be a message under it.
        if !self.links.get_mut(&told.link).is_some_and(|link| link.remove_incoming(told.pad)) {
            return Ok(Ok(None));
        }
        let Some(StoredKey::Incoming(pad)) = self.take(Pool::Incoming, told.pad)? else { return Ok(Ok(None)) };
        self.spend(Pool::Incoming, &pad, Use::Supply);
        self.link_key_event(Pool::Incoming, told.pad, KeyEvent::Reserve);
        self.link_key_event(Pool::Incoming, told.pad, KeyEvent::Use);
        self.link_key_event(Pool::Incoming, told.pad, KeyEvent::Finish);
        let well_formed = Incarnation::split(told.block).0 == sender
            && block_number(told.block).is_some()
            && told.sealed.len() <= MAX_SEALED_OCTETS
            && told.expires > now.wall
            // Kept for as long as the sender relies on it, or not taken at all.
            && told.expires <= now.wall.after(MAX_BLOCK_LIFE + self.config.clock_skew);
        if !well_formed {
            return Ok(Err(Misbehaviour::Malformed));
        }
        // The sender relies on its own clock for when it may still supply from the block. It says the same for up to `give_up`.
        let skew = self.config.clock_skew;
        if told.created > now.wall.after(skew) || told.created.after(skew + self.config.give_up) < now.wall {
            return Ok(Err(Misbehaviour::ClockApart));
        }
        // The rules of the two ends may differ while they are being changed.
        let allowed = |ways: &Ways| {
            let link = self.links.get(&told.link);
            link.is_some_and(|link| link.serves(ways) || link.ways().is_some_and(|taken| taken.cover(ways)))
        };
        if !self.ways(&told.parties).is_some_and(allowed) {
            return Ok(Err(Misbehaviour::WayNotAllowed));
        }
        let homes_fit = self.home(told.parties.master()) == Some(from)
            && told.parties.slaves().iter().all(|slave| self.home(slave) == Some(&self.config.id));
        if !homes_fit {
            return Ok(Err(Misbehaviour::ForeignApplication));
        }
        let context = context(sender, from, &self.config.id, told);
        let paths = pad.paths.clone();
        let sealed = Sealed { octets: told.sealed.clone(), tag: told.tag };
        let opened = Pad::new(pad).shortened_to(told.sealed.len()).ok().and_then(|pad| pad.open(&context, &sealed).ok());
        let Some(material) = opened else { return Ok(Err(Misbehaviour::WrongTag)) };
        let info = BlockInfo {
            id: told.block,
            parties: Arc::new(told.parties.clone()),
            label: told.label,
            paths,
            created: told.created,
            expires: told.expires,
        };
        Ok(Ok(Some(CollectBlock::new(info, told.tag, material))))
    }
}

/// Blocks of odd number have slaves at the node that made them. So it can tell, long after a block is gone, a key that was never
/// for any of its applications from one that was collected.
pub(super) fn has_slaves_here(number: u64) -> bool {
    !number.is_multiple_of(2)
}

/// All that a notification says beside the sealed octets, with who says it to whom (relay digest A.4, item 2).
fn context(sender: Incarnation, from: &KmId, to: &KmId, told: &SupplyNotification) -> Vec<u8> {
    let mut out = Writer::with_capacity(256);
    out.text("qkms supply notification 1");
    out.0.extend_from_slice(&sender.octets());
    out.text(from.as_str());
    out.text(to.as_str());
    out.0.extend_from_slice(&told.block.octets());
    out.text(told.parties.master().as_str());
    out.number(told.parties.slaves().len() as u64);
    told.parties.slaves().iter().for_each(|slave| out.text(slave.as_str()));
    out.text(told.label.as_str());
    out.number(told.created.millis());
    out.number(told.expires.millis());
    out.text(told.link.as_str());
    out.0.extend_from_slice(&told.pad.octets());
    std::mem::take(&mut *out.0)
}
