//! Who may take the link key that leads to a neighbour when it is short.
//!
//! Key is taken for pairs of key managers: those that share what it is for, be it relayed over this node or bound with the
//! neighbour. Each comes with how much it has left. While somebody waits who has less, the others leave some pads to it: the more
//! they have, the more they leave, up to three quarters of [`Config::link_low`](super::Config::link_low). So pools run low together,
//! those that are far apart like those next door; and those who are behind find pads at all hops at the same time, which a relay needs.
//! Promising pads in turns does not do that: a promise at one hop would wait for one at the next. Neither does counting what each took
//! at a link: whose way leads over it takes more there, without having more.
//!
//! Who is the source of a relay, and how much it has left, is not proven to the nodes on the way: they believe the neighbour that
//! it comes from. So each neighbour has so many places among those who wait, and a word of one neighbour does not change what another
//! one said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use itu_y3803::message::RelayRefusal;
use itu_y3803::{KmId, KmaKey, Parties, RandomSource};

use super::config::Entitlement;
use super::{Config, KeyManager, Now};
use crate::store::KeyStore;

/// What was taken is forgotten like this: of all that is remembered one part in so many, each second.
const MEMORY: u32 = 64;
const SECOND: Duration = Duration::from_secs(1);
/// What is left is said in one octet: from here on up how full a pool is; below, how long it has had nothing although it was wanted.
const SHORT: u8 = 95;
/// Who waits longer is not told from who waits so long.
const LONG: Duration = Duration::from_secs(60);
/// So many pairs wait that come from one neighbour, or from here.
const PLACES: usize = 256;

/// The key manager that makes a key, and the one that it is for.
pub(super) type Pair = (KmId, KmId);

/// Who asks for a pad.
#[derive(Clone, Copy)]
pub(super) struct Taker<'a> {
    /// The neighbour that asked, or this node.
    pub(super) from: &'a KmId,
    pub(super) pair: &'a Pair,
    /// How much it has left.
    pub(super) spare: u8,
}

/// Who wants link key that leads to one neighbour.
pub(super) struct Takers {
    /// By where they come from: who was refused, when last, and what was left to it.
    waiting: BTreeMap<KmId, BTreeMap<Pair, (Instant, u8)>>,
    /// How many bits those who have an [`Entitlement`] took of late.
    taken: BTreeMap<Pair, u64>,
    forgotten_until: Instant,
}

impl Takers {
    fn new(now: Instant) -> Self {
        Self { waiting: BTreeMap::new(), taken: BTreeMap::new(), forgotten_until: now }
    }

    /// Time has passed: who does not come again does not wait any more.
    fn forget(&mut self, now: Instant, waits: Duration) {
        let seconds = now.saturating_duration_since(self.forgotten_until).as_secs();
        if seconds == 0 {
            return;
        }
        self.forgotten_until += SECOND * u32::try_from(seconds).unwrap_or(0);
        for _ in 0..seconds.min(64 * u64::from(MEMORY)) {
            self.taken.values_mut().for_each(|bits| *bits -= bits.div_ceil(MEMORY.into()));
        }
        self.waiting.values_mut().for_each(|from| from.retain(|_, (refused, _)| now < *refused + waits));
    }

    /// In bit/s, over the last minute; what is set aside may yet be used.
    fn rate(&self, pair: &Pair, set_aside: u64) -> u64 {
        self.taken.get(pair).copied().unwrap_or(0).saturating_add(set_aside) / u64::from(MEMORY)
    }

    /// Who has less than it is guaranteed comes before all others.
    fn entitled<'a>(&self, config: &Config, taker: Taker<'a>, set_aside: u64) -> Taker<'a> {
        let guaranteed = config.entitlements.get(taker.pair).map_or(0, |entitlement| entitlement.guaranteed);
        if self.rate(taker.pair, set_aside) < guaranteed { Taker { spare: 0, ..taker } } else { taker }
    }

    /// Whether somebody else waits who has less.
    fn others_come_first(&self, taker: Taker<'_>) -> bool {
        self.waiting.values().flatten().any(|(pair, (_, left))| *left < taker.spare && pair != taker.pair)
    }

    fn wait(&mut self, now: Instant, taker: Taker<'_>) {
        let places = self.waiting.entry(taker.from.clone()).or_default();
        if let Some((refused, left)) = places.get_mut(taker.pair) {
            // Several pools of one pair ask one after the other.
            *left = if now < *refused + SECOND { taker.spare.min(*left) } else { taker.spare };
            *refused = now;
            return;
        }
        if places.len() >= PLACES {
            let last = places.iter().max_by_key(|(_, (_, left))| *left).map(|(pair, (_, left))| (pair.clone(), *left));
            let Some((pair, _)) = last.filter(|(_, left)| *left > taker.spare) else { return };
            places.remove(&pair);
        }
        places.insert(taker.pair.clone(), (now, taker.spare));
    }

    fn wait_no_more(&mut self, taker: Taker<'_>) {
        if let Some(places) = self.waiting.get_mut(taker.from) {
            places.remove(taker.pair);
        }
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// Sets aside a link key to `to` of so many octets for a relay, if this pair may take one; leaves those that are for this node's
    /// own use.
    pub(super) fn take_for_relay(
        &mut self,
        now: Now,
        to: &KmId,
        taker: Taker<'_>,
        at_least: usize,
    ) -> Result<Result<KmaKey, RelayRefusal>, S::Error> {
        if !self.may_take(now, to, taker, false) {
            return Ok(Err(RelayRefusal::NoKey));
        }
        let floor = self.config.link_floor;
        if let Some((link, id)) = self.choose_link_key(now, to, floor, at_least)
            && let Some(pad) = self.take_outgoing(&link, id)?
        {
            return Ok(Ok(pad));
        }
        self.keep_waiting(now.instant, to, taker);
        let short = self.choose_link_key(now, to, floor, 0).is_some();
        Ok(Err(if short { RelayRefusal::ShortKey } else { RelayRefusal::NoKey }))
    }

    /// Whether this pair may take a link key to `to`; if not, it waits from now on. What a link keeps for this node's `own` use is not
    /// for relays; while the link makes key it is filled up first, else nobody would have it.
    pub(super) fn may_take(&mut self, now: Now, to: &KmId, taker: Taker<'_>, own: bool) -> bool {
        let floor = self.config.link_floor;
        let (mut stored, mut free, mut makes_key) = (0, 0, false);
        for link in self.links.values().filter(|link| link.peer == *to && !link.is_relayed()) {
            stored += link.outgoing.len();
            free += link.outgoing.len().saturating_sub(floor);
            makes_key |= link.agreed.is_some_and(|agreed| now.instant < agreed + self.config.give_up);
        }
        let config = &self.config;
        let set_aside = self.bits_set_aside(to, taker.pair);
        let takers = self.takers.entry(to.clone()).or_insert_with(|| Takers::new(now.instant));
        takers.forget(now.instant, waits(config));
        let Entitlement { highest, .. } = config.entitlements.get(taker.pair).copied().unwrap_or_default();
        if takers.rate(taker.pair, set_aside) >= highest {
            // Nobody leaves anything to it.
            takers.wait_no_more(taker);
            return false;
        }
        let taker = takers.entitled(config, taker, set_aside);
        let leaves = if takers.others_come_first(taker) { config.link_low * 3 / 4 * usize::from(taker.spare) / 255 } else { 0 };
        let nobody_elses = own && stored > 0 && (!makes_key || free == 0 && leaves == 0);
        let may_take = free > leaves || nobody_elses;
        if may_take {
            takers.wait_no_more(taker);
        } else {
            takers.wait(now.instant, taker);
        }
        may_take
    }

    /// A pad that this pair took was not used: it goes back, and the pair still waits.
    pub(super) fn put_pad_back(&mut self, now: Now, taker: Taker<'_>, pad: KmaKey) -> Result<(), S::Error> {
        self.keep_waiting(now.instant, &pad.peer, taker);
        self.put_back(pad)
    }

    /// What this pair might take did not help it: it still waits.
    pub(super) fn keep_waiting(&mut self, now: Instant, to: &KmId, taker: Taker<'_>) {
        let set_aside = self.bits_set_aside(to, taker.pair);
        if let Some(takers) = self.takers.get_mut(to) {
            takers.wait(now, takers.entitled(&self.config, taker, set_aside));
        }
    }

    /// What this pair has of the pads to a neighbour and has not used yet. Looked at only for those that settings name.
    fn bits_set_aside(&self, to: &KmId, pair: &Pair) -> u64 {
        if self.config.entitlements.contains_key(pair) { self.relays.bits_set_aside(to, pair) } else { 0 }
    }

    /// A pad was used for this pair.
    pub(super) fn count_taken(&mut self, to: &KmId, pair: &Pair, bits: u64) {
        // Nobody else is looked at, so there are as many as settings name.
        if self.config.entitlements.contains_key(pair)
            && let Some(takers) = self.takers.get_mut(to)
        {
            *takers.taken.entry(pair.clone()).or_insert(0) += bits;
        }
    }

    /// What is left for these parties.
    pub(super) fn spare_of(&self, now: Now, parties: &Parties) -> u8 {
        let Some(pool) = self.pools.get(parties) else { return SHORT };
        match pool.short_since(self.config.pool_high) {
            Some(since) => wanting(now.instant, since),
            None => ready(pool.octets_coming(), pool.mark(self.config.pool_high)),
        }
    }

    /// What is left for all parties together that share key with another node, relayed key included.
    pub(super) fn spare_with(&self, now: Now, peer: &KmId) -> u8 {
        let (mut short, mut held, mut wanted) = (None, 0, 0_usize);
        for pool in self.pools.values().filter(|pool| pool.is_with(peer)) {
            short = short.into_iter().chain(pool.short_since(self.config.pool_high)).min();
            held += pool.octets_coming();
            wanted = wanted.saturating_add(pool.mark(self.config.pool_high));
        }
        if let Some(since) = short {
            return wanting(now.instant, since);
        }
        let link_key = self.config.qkd_keys_per_link_key as usize * self.config.qkd_key_size.octets();
        for link in self.links.values().filter(|link| link.peer == *peer && link.is_wanted(now.instant, self.config.idle)) {
            held += link.level().1 + self.relays.coming(&link.id) * link_key;
            wanted = wanted.saturating_add(self.config.relay_high * link_key);
        }
        ready(held, wanted)
    }
}

/// Who was refused comes again within this time, if it still wants key: relays pause for no longer.
fn waits(config: &Config) -> Duration {
    (config.draw_pause * 100).max(config.give_up * 2)
}

/// Key has been wanted since then, and there was none.
fn wanting(now: Instant, since: Instant) -> u8 {
    let waited = now.saturating_duration_since(since).as_secs().min(LONG.as_secs());
    SHORT - (u64::from(SHORT) * waited / LONG.as_secs()) as u8
}

fn ready(held: usize, target: usize) -> u8 {
    let target = target.max(1);
    SHORT + (held.min(target) as u128 * u128::from(u8::MAX - SHORT) / target as u128) as u8
}
