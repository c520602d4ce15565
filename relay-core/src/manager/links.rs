//! Link key: drawn from the QKD modules, agreed with the neighbour, kept until it becomes a pad (digest 9.1).
//!
//! Each end draws keys of its own from its module and offers them to the other end, which fetches the same keys from its
//! module. Whoever drew a key decides what becomes of it, the other end only follows: so the two ends never use one key for
//! two things, although nobody coordinates them (relay digest A.4, item 5).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use itu_y3803::message::{Body, KeyOffer, MAX_OFFERED_KEYS, OfferAnswer};
use itu_y3803::{Incarnation, KeyEvent, KeyId, KmId, KmaKey, LinkId, QkdKey, RandomSource, WallTime};

use super::authentic::TagKeys;
use super::config::{LinkAuthentication, LinkConfig};
use super::relay::{Relayed, pool_name};
use super::{Config, Event, KeyManager, Misbehaviour, Now, Output, Use};
use crate::key_id::MAX_BLOCK_OCTETS;
use crate::pad::TAG_KEY_OCTETS;
use crate::policy::Ways;
use crate::routing::Label;
use crate::store::{KeyStore, Pool, StoredKey};

pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) peer: KmId,
    labels: Vec<Label>,
    /// Octets and expiry of the link keys in the store that this node may use.
    pub(super) outgoing: BTreeMap<KeyId, (usize, WallTime)>,
    /// When the last of them was agreed, or since when that is waited for.
    pub(super) agreed: Option<Instant>,
    /// Those that the neighbour may use.
    incoming: BTreeSet<KeyId>,
    offers: BTreeMap<KeyId, Offered>,
    fetching: HashMap<KeyId, KeyOffer>,
    /// QKD keys that are too few for a link key, and when they came. In memory only: nobody was told of them, so after a crash
    /// nobody misses them.
    rest: Vec<(Instant, QkdKey)>,
    draw: Draw,
    /// Filling goes on until the high mark, once it began.
    pub(super) filling: bool,
    /// No QKD link, but a pool of key that is relayed over other nodes.
    pub(super) relayed: Option<Relayed>,
    pub(super) tag_keys: TagKeys,
}

/// A key that was offered to the neighbour and waits in memory for the answer: after a crash nobody misses it.
struct Offered {
    key: KmaKey,
    offer: KeyOffer,
    repeat: Instant,
    give_up: Instant,
}

/// What is known of a link key once it was made a pad.
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

enum Draw {
    Idle,
    Asked,
    Pausing(Instant),
}

impl Link {
    pub(super) fn all(config: &Config) -> BTreeMap<LinkId, Self> {
        let link = |id: &LinkId, peer: &KmId, labels, by, relayed| Self {
            id: id.clone(),
            peer: peer.clone(),
            labels,
            outgoing: BTreeMap::new(),
            agreed: None,
            incoming: BTreeSet::new(),
            offers: BTreeMap::new(),
            fetching: HashMap::new(),
            rest: Vec::new(),
            draw: Draw::Idle,
            filling: true,
            relayed,
            tag_keys: TagKeys::new(by),
        };
        let links = config.links.iter().map(|config| {
            let LinkConfig { id, peer, authentication, .. } = config;
            (id.clone(), link(id, peer, config.all_labels(), *authentication, None))
        });
        let pools = config.pools().filter_map(|(peer, ways)| {
            let id = pool_name(&config.id, peer, &ways)?;
            let pool = link(&id, peer, Vec::new(), LinkAuthentication::OneTime, Some(Relayed::new(ways)));
            Some((id, pool))
        });
        links.chain(pools).collect()
    }

    /// Whether this is a pool of relayed key, and no QKD link.
    pub(super) fn is_relayed(&self) -> bool {
        self.relayed.is_some()
    }

    /// Whether this is a QKD link over which nothing may be relayed in such ways.
    pub(super) fn is_barred(&self, ways: &Ways) -> bool {
        !self.is_relayed() && !ways.allow_link(&self.labels)
    }

    /// Whether this is a QKD link whose key will do where such ways are demanded.
    pub(super) fn serves(&self, ways: &Ways) -> bool {
        !self.is_relayed() && ways.allow_direct(&self.labels)
    }

    pub(super) fn level(&self) -> (usize, usize) {
        let octets = self.outgoing.values().map(|(octets, _)| octets.saturating_sub(TAG_KEY_OCTETS)).sum();
        (self.outgoing.len(), octets)
    }

    pub(super) fn deadline(&self, up: bool, config: &Config) -> Option<Instant> {
        let offers = self.offers.values().map(|offered| if up { offered.repeat.min(offered.give_up) } else { offered.give_up });
        let draw = match self.draw {
            Draw::Pausing(until) if up && self.wants(config) => Some(until),
            _ => None,
        };
        let rest = self.rest_due(config).filter(|_| up);
        offers.chain(draw).chain(rest).min()
    }

    /// When QKD keys that are too few become a shorter link key; `None` while they are too few for that, too, or there is key for
    /// more than what is left to this node itself: under a shorter one nothing that is long is relayed.
    fn rest_due(&self, config: &Config) -> Option<Instant> {
        let (since, _) = self.rest.first()?;
        let enough = self.rest.len() * config.qkd_key_size.octets() > TAG_KEY_OCTETS;
        let wanted = self.level_with_offers() <= config.link_floor;
        (enough && wanted).then(|| *since + config.join_within)
    }

    pub(super) fn repeat_at(&mut self, instant: Instant) {
        self.offers.values_mut().for_each(|offered| offered.repeat = instant);
    }

    /// The oldest key of so many octets that this node may use and that the neighbour still has then.
    fn next_pad(&self, usable_until: WallTime, at_least: usize) -> Option<KeyId> {
        let fits = |&(octets, expires): &(usize, WallTime)| octets >= at_least && expires > usable_until;
        self.outgoing.iter().find(|(_, key)| fits(key)).map(|(&id, _)| id)
    }

    pub(super) fn remove_outgoing(&mut self, id: KeyId) {
        self.outgoing.remove(&id);
    }

    pub(super) fn insert_outgoing(&mut self, key: &KmaKey) {
        self.outgoing.insert(key.id, (key.material.size().octets(), key.expires));
    }

    pub(super) fn has_incoming(&self, id: KeyId) -> bool {
        self.incoming.contains(&id)
    }

    pub(super) fn incoming_len(&self) -> usize {
        self.incoming.len()
    }

    pub(super) fn insert_incoming(&mut self, id: KeyId) {
        self.incoming.insert(id);
    }

    pub(super) fn remove_incoming(&mut self, id: KeyId) -> bool {
        self.incoming.remove(&id)
    }

    fn level_with_offers(&self) -> usize {
        self.outgoing.len() + self.offers.len()
    }

    fn wants(&self, config: &Config) -> bool {
        !self.is_relayed() && self.level_with_offers() < if self.filling { config.link_high } else { config.link_low }
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    pub(super) fn index_link_key(&mut self, pool: Pool, id: KeyId, link: &LinkId, octets: usize, expires: WallTime) -> bool {
        let Some(link) = self.links.get_mut(link) else { return false };
        match pool {
            Pool::Outgoing => {
                link.outgoing.insert(id, (octets, expires));
            }
            _ => {
                link.incoming.insert(id);
            }
        }
        true
    }

    pub(super) fn forget_link_key(&mut self, pool: Pool, id: KeyId) {
        for link in self.links.values_mut() {
            match pool {
                Pool::Outgoing => link.remove_outgoing(id),
                _ => drop(link.remove_incoming(id)),
            }
        }
        self.link_key_event(pool, id, KeyEvent::Expire);
    }

    /// Empties a link, and says what of it is in the store. QKD keys that were not offered stay: the module at the other end has
    /// them still.
    pub(super) fn drain_link(&mut self, link: &LinkId) -> Vec<(Pool, KeyId)> {
        let Some(link) = self.links.get_mut(link) else { return Vec::new() };
        link.fetching.clear();
        link.tag_keys.clear();
        let offered: Vec<_> = std::mem::take(&mut link.offers).into_keys().collect();
        let outgoing = std::mem::take(&mut link.outgoing).into_keys().map(|id| (Pool::Outgoing, id));
        let incoming = std::mem::take(&mut link.incoming).into_iter().map(|id| (Pool::Incoming, id));
        let stored: Vec<_> = outgoing.chain(incoming).collect();
        for &(pool, id) in &stored {
            self.link_key_event(pool, id, KeyEvent::Burn);
        }
        for id in offered {
            self.link_key_event(Pool::Outgoing, id, KeyEvent::Burn);
        }
        stored
    }

    /// Whether a QKD link leads there.
    pub(super) fn is_neighbour(&self, peer: &KmId) -> bool {
        self.links.values().any(|link| link.peer == *peer && !link.is_relayed())
    }

    pub(super) fn fill_links(&mut self, now: Now) {
        let mut draws = Vec::new();
        for link in self.links.values_mut().filter(|link| !link.is_relayed()) {
            let up = self.peers.get(&link.peer).is_some_and(|peer| peer.is_known_and_up());
            let ready = match link.draw {
                Draw::Idle => true,
                Draw::Asked => false,
                Draw::Pausing(until) => until <= now.instant,
            };
            if !link.wants(&self.config) {
                link.filling = false;
            } else if up && ready {
                link.filling = true;
                link.draw = Draw::Asked;
                let missing = (self.config.link_high - link.level_with_offers()) as u32;
                let per_key = self.config.qkd_keys_per_link_key;
                let whole_limit = self.config.draw_limit - self.config.draw_limit % per_key;
                // Fewer than one link key takes.
                let rest = link.rest.len() as u32;
                let number = missing.saturating_mul(per_key).min(whole_limit) - rest;
                draws.push(Output::Draw { link: link.id.clone(), number, size: self.config.qkd_key_size });
            }
        }
        self.staged.extend(draws);
    }

    /// Whole link keys are offered; what is too few for one waits for the next draw. A slow module gives a key at a time.
    pub(super) fn drawn(&mut self, now: Now, id: &LinkId, keys: Vec<QkdKey>) {
        let per_key = self.config.qkd_keys_per_link_key as usize;
        let size = self.config.qkd_key_size;
        let Some(link) = self.links.get_mut(id) else { return };
        let fitting = keys.into_iter().filter(|key| key.material.size() == size);
        link.rest.extend(fitting.map(|key| (now.instant, key)));
        let whole = link.rest.len() - link.rest.len() % per_key;
        link.draw = if whole == 0 { Draw::Pausing(now.instant + self.config.draw_pause) } else { Draw::Idle };
        let mut keys = link.rest.drain(..whole).map(|(_, key)| key).collect::<Vec<_>>().into_iter();
        while keys.len() > 0 {
            let group = keys.by_ref().take(per_key).collect();
            self.make_offer(now, id, group);
        }
    }

    /// What waited for long makes a shorter link key, before the module at the other end drops it.
    pub(super) fn offer_rests(&mut self, now: Now) {
        let mut groups = Vec::new();
        for link in self.links.values_mut() {
            let up = self.peers.get(&link.peer).is_some_and(|peer| peer.is_known_and_up());
            // The module at the other end does not keep them for ever either.
            link.rest.retain(|(since, _)| now.instant < *since + self.config.link_key_life);
            if up && link.rest_due(&self.config).is_some_and(|due| due <= now.instant) {
                let group = std::mem::take(&mut link.rest).into_iter().map(|(_, key)| key).collect();
                groups.push((link.id.clone(), group));
            }
        }
        for (link, group) in groups {
            self.make_offer(now, &link, group);
        }
    }

    fn make_offer(&mut self, now: Now, id: &LinkId, group: Vec<QkdKey>) {
        let Some(peer) = self.links.get(id).map(|link| link.peer.clone()) else { return };
        let number = self.number();
        let key = self.notes.incarnation.key_id(number);
        let qkd_keys = group.iter().map(|key| key.id).collect();
        let expires = now.wall.after(self.config.link_key_life);
        let Some(joined) = KmaKey::from_qkd_keys(key, peer.clone(), id.clone(), group, now.wall, expires) else { return };
        let size = self.config.qkd_key_size;
        let offer = KeyOffer { link: id.clone(), key, qkd_keys, size, expires, spent_below: self.spent_below(now, id, key) };
        let offered = Offered {
            key: joined,
            offer: offer.clone(),
            repeat: now.instant + self.config.repeat,
            give_up: now.instant + self.config.give_up,
        };
        if let Some(link) = self.links.get_mut(id) {
            link.offers.insert(key, offered);
        }
        self.send(&peer, Body::Offer(offer));
    }

    /// The lowest link key that this node may still use or has just used: the neighbour needs nothing below it.
    pub(super) fn spent_below(&self, now: Now, id: &LinkId, newest: KeyId) -> KeyId {
        let Some(link) = self.links.get(id) else { return newest };
        let stored = link.outgoing.keys().next().copied();
        let offered = link.offers.keys().next().copied();
        let in_flight = self.binding.values().filter_map(|binding| binding.lowest_pad(id)).min();
        // Once begun, the other end has taken its copy out.
        let tags = link.tag_keys.begun(now.instant.checked_sub(self.config.give_up));
        let relays = self.relays.lowest_in_use(id);
        [stored, offered, in_flight, tags, relays].into_iter().flatten().min().unwrap_or(newest)
    }

    /// The oldest key of `at_least` so many octets of the fullest QKD link to `peer` that has one, and more than `floor` of any length.
    pub(super) fn choose_link_key(&self, now: Now, peer: &KmId, floor: usize, at_least: usize) -> Option<(LinkId, KeyId)> {
        self.choose_key(now, peer, at_least, |link| !link.is_relayed() && link.outgoing.len() > floor)
    }

    /// The same of a QKD link whose key may be used where such ways are demanded.
    pub(super) fn choose_direct_key(&self, now: Now, peer: &KmId, at_least: usize, ways: &Ways) -> Option<(LinkId, KeyId)> {
        self.choose_key(now, peer, at_least, |link| link.serves(ways))
    }

    /// The oldest key of so many octets of the pool of key that is relayed to `peer` like this. It cost a pad a hop, and other nodes have
    /// seen it.
    pub(super) fn choose_relayed_key(&self, now: Now, peer: &KmId, at_least: usize, ways: &Ways) -> Option<(LinkId, KeyId)> {
        self.choose_key(now, peer, at_least, |link| link.ways() == Some(ways))
    }

    fn choose_key(&self, now: Now, peer: &KmId, at_least: usize, fits: impl Fn(&Link) -> bool) -> Option<(LinkId, KeyId)> {
        if !self.is_up(peer) {
            return None;
        }
        let usable_until = now.wall.after(self.config.clock_skew);
        let mut links: Vec<_> = self.links.values().filter(|link| link.peer == *peer && fits(link)).collect();
        links.sort_by_key(|link| std::cmp::Reverse(link.outgoing.len()));
        links.into_iter().find_map(|link| Some((link.id.clone(), link.next_pad(usable_until, at_least)?)))
    }

    /// Sets a link key aside: it has left the store when the next output is seen.
    pub(super) fn take_outgoing(&mut self, link: &LinkId, id: KeyId) -> Result<Option<KmaKey>, S::Error> {
        if let Some(link) = self.links.get_mut(link) {
            link.remove_outgoing(id);
        }
        let Some(StoredKey::Outgoing(key)) = self.take(Pool::Outgoing, id)? else { return Ok(None) };
        self.link_key_event(Pool::Outgoing, id, KeyEvent::Reserve);
        Ok(Some(key))
    }

    /// Returns a link key that was set aside, and with which nothing was made.
    pub(super) fn put_back(&mut self, key: KmaKey) -> Result<(), S::Error> {
        let Some(link) = self.links.get_mut(&key.link) else { return Ok(()) };
        link.insert_outgoing(&key);
        // Relays go on after their pause: at once, they would take this pad from each other again and again.
        self.pools_wanting = true;
        self.link_key_event(Pool::Outgoing, key.id, KeyEvent::PutBack);
        self.put(StoredKey::Outgoing(key))
    }

    pub(super) fn spend(&mut self, pool: Pool, key: &KmaKey, on: Use) {
        self.spent(pool, &Spent::of(key), on);
    }

    pub(super) fn spent(&mut self, pool: Pool, spent: &Spent, on: Use) {
        self.event(Event::Spent { pool, link: spent.link.clone(), id: spent.id, octets: spent.octets, on });
    }

    pub(super) fn offer(&mut self, from: &KmId, sender: Incarnation, offer: KeyOffer) -> Result<(), S::Error> {
        if !self.links.get(&offer.link).is_some_and(|link| link.peer == *from && !link.is_relayed()) {
            self.misbehaviour(from, Misbehaviour::ForeignLink);
            return Ok(());
        }
        let octets = offer.qkd_keys.len() * offer.size.octets();
        let well_formed = Incarnation::split(offer.key).0 == sender
            && offer.qkd_keys.len() <= MAX_OFFERED_KEYS
            && offer.size.bits().is_multiple_of(8)
            && (TAG_KEY_OCTETS + 1..=TAG_KEY_OCTETS + MAX_BLOCK_OCTETS).contains(&octets);
        if !well_formed {
            self.misbehaviour(from, Misbehaviour::Malformed);
            return Ok(());
        }
        self.burn_spent(&offer.link, sender, offer.spent_below)?;
        let Some(link) = self.links.get_mut(&offer.link) else { return Ok(()) };
        if link.incoming.contains(&offer.key) {
            self.answer_offer(from, &offer.link, offer.key, true);
        } else if link.fetching.contains_key(&offer.key) {
            // The answer comes when the module has answered.
        } else if self
            .notes
            .offered
            .get(&offer.link)
            .is_some_and(|&highest| Incarnation::split(highest).0 == sender && offer.key <= highest)
        {
            // It had its chance, and may have been used as a pad since.
            self.answer_offer(from, &offer.link, offer.key, false);
        } else if link.incoming.len() + link.fetching.len() >= self.config.max_incoming {
            self.misbehaviour(from, Misbehaviour::TooMuch);
            self.answer_offer(from, &offer.link, offer.key, false);
        } else {
            self.notes.offered.insert(offer.link.clone(), offer.key);
            self.notes_changed = true;
            let fetch = Output::Fetch { link: offer.link.clone(), key: offer.key, qkd_keys: offer.qkd_keys.clone() };
            link.fetching.insert(offer.key, offer);
            self.staged.push_back(fetch);
        }
        Ok(())
    }

    pub(super) fn fetched(&mut self, now: Now, id: &LinkId, key: KeyId, keys: Vec<QkdKey>) -> Result<(), S::Error> {
        let Some(link) = self.links.get_mut(id) else { return Ok(()) };
        let Some(offer) = link.fetching.remove(&key) else { return Ok(()) };
        let peer = link.peer.clone();
        let as_offered = keys.len() == offer.qkd_keys.len()
            && keys.iter().zip(&offer.qkd_keys).all(|(key, id)| key.id == *id && key.material.size() == offer.size);
        // Whatever the neighbour says, nothing is kept for ever.
        let expires = offer.expires.min(now.wall.after(self.config.link_key_life + self.config.clock_skew));
        let joined =
            if as_offered { KmaKey::from_qkd_keys(key, peer.clone(), id.clone(), keys, now.wall, expires) } else { None };
        let accepted = joined.is_some();
        if let Some(joined) = joined {
            link.incoming.insert(key);
            self.put(StoredKey::Incoming(joined))?;
            self.link_key_event(Pool::Incoming, key, KeyEvent::Confirm);
        }
        self.answer_offer(&peer, id, key, accepted);
        Ok(())
    }

    fn answer_offer(&mut self, to: &KmId, link: &LinkId, key: KeyId, accepted: bool) {
        self.send(to, Body::OfferAnswer(OfferAnswer { link: link.clone(), key, accepted }));
    }

    pub(super) fn offer_answer(&mut self, now: Now, from: &KmId, answer: OfferAnswer) -> Result<(), S::Error> {
        let Some(link) = self.links.get_mut(&answer.link).filter(|link| link.peer == *from) else {
            self.misbehaviour(from, Misbehaviour::ForeignLink);
            return Ok(());
        };
        // An answer to what is no longer asked is late, or comes twice.
        let Some(Offered { key, .. }) = link.offers.remove(&answer.key) else { return Ok(()) };
        if !answer.accepted {
            if !matches!(link.draw, Draw::Asked) {
                link.draw = Draw::Pausing(now.instant + self.config.draw_pause);
            }
            self.link_key_event(Pool::Outgoing, answer.key, KeyEvent::Burn);
            return Ok(());
        }
        link.outgoing.insert(key.id, (key.material.size().octets(), key.expires));
        link.agreed = Some(now.instant);
        self.put(StoredKey::Outgoing(key))?;
        self.link_key_event(Pool::Outgoing, answer.key, KeyEvent::Confirm);
        self.resume_relays();
        self.pools_wanting = true;
        Ok(())
    }

    pub(super) fn repeat_offers(&mut self, now: Now) {
        let mut sends = Vec::new();
        let mut burnt = Vec::new();
        for link in self.links.values_mut() {
            let up = self.peers.get(&link.peer).is_some_and(|peer| peer.is_known_and_up());
            link.offers.retain(|&id, offered| {
                if offered.give_up <= now.instant {
                    burnt.push(id);
                    return false;
                }
                if up && offered.repeat <= now.instant {
                    offered.repeat = now.instant + self.config.repeat;
                    sends.push((link.peer.clone(), offered.offer.clone()));
                }
                true
            });
        }
        for id in burnt {
            self.link_key_event(Pool::Outgoing, id, KeyEvent::Burn);
        }
        let mut greeted = None;
        for (peer, offer) in sends {
            if greeted.as_ref() != Some(&peer) {
                self.greet(&peer);
                greeted = Some(peer.clone());
            }
            self.send(&peer, Body::Offer(offer));
        }
    }

    /// The other end will not use its keys below this one.
    pub(super) fn burn_spent(&mut self, link: &LinkId, sender: Incarnation, spent_below: KeyId) -> Result<(), S::Error> {
        let first = sender.key_id(0);
        let incoming = self.links.get(link).map(|link| &link.incoming);
        let spent: Vec<_> = match incoming {
            Some(incoming) if first < spent_below => incoming.range(first..spent_below).copied().collect(),
            _ => Vec::new(),
        };
        for id in spent {
            self.burn_incoming(link, id)?;
        }
        Ok(())
    }

    fn burn_incoming(&mut self, link: &LinkId, id: KeyId) -> Result<(), S::Error> {
        if self.links.get_mut(link).is_some_and(|link| link.remove_incoming(id)) {
            self.remove(Pool::Incoming, id)?;
            self.link_key_event(Pool::Incoming, id, KeyEvent::Burn);
        }
        Ok(())
    }
}
