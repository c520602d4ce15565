//! Who may take the link key that leads to a neighbour when it is short.
//!
//! Key is taken for pairs of key managers: those that share what it is for, be it relayed over this node or bound with the
//! neighbour. While somebody was refused who has less left, the fuller the pool of a pair, the more it must leave, up to three
//! quarters of [`Config::link_low`](super::Config::link_low); one that has had nothing for long, while somebody waits, may take the last. So pools run low together, those that are far apart like those next door, and all pairs are
//! refused as often; and pairs that are behind find key at every hop at the same time, which one relay needs.
//!
//! How full its pool is the source of a relay says itself, and is believed by those who trust it with keys. What a pair may take
//! whatever it says is limited by its [`Entitlement`].
//!
//! Neither to promise pads in turns nor to count what each pair took at one link does that: a promise at one hop waits for one at
//! the next, and whose way leads over a link takes more there than others without having more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use itu_y3803::message::RelayRefusal;
use itu_y3803::{KmId, KmaKey, Parties, RandomSource};

use super::config::Entitlement;
use super::supply::SupplyPool;
use super::{KeyManager, Now};
use crate::store::KeyStore;

/// What was taken is forgotten like this: of all that is remembered one part in so many, each second.
const MEMORY: u32 = 64;
const SECOND: Duration = Duration::from_secs(1);
/// What is left is said in one octet: from here on up how full a pool is; below, how long it has had nothing while somebody waits.
const SHORT: u8 = 95;
/// Who was refused comes again within this time, if it still wants key.
const WAITS: Duration = Duration::from_secs(20);
/// Who waits longer is not told from who waits so long.
const LONG: Duration = Duration::from_secs(60);

/// The key manager that makes a key, and the one that it is for.
pub(super) type Pair = (KmId, KmId);

/// Who wants link key that leads to one neighbour.
pub(super) struct Takers {
    /// Who was refused, when last, and what was left for it.
    waiting: BTreeMap<Pair, (Instant, u8)>,
    /// How many bits those who have an [`Entitlement`] took of late.
    taken: BTreeMap<Pair, u64>,
    forgotten_until: Instant,
}

impl Takers {
    fn new(now: Instant) -> Self {
        Self { waiting: BTreeMap::new(), taken: BTreeMap::new(), forgotten_until: now }
    }

    fn forget(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.forgotten_until).as_secs();
        self.forgotten_until += SECOND * u32::try_from(seconds).unwrap_or(0);
        for _ in 0..seconds.min(64 * u64::from(MEMORY)) {
            self.taken.values_mut().for_each(|bits| *bits -= bits.div_ceil(MEMORY.into()));
        }
    }

    /// In bit/s, over the last minute.
    fn rate(&self, pair: &Pair) -> u64 {
        self.taken.get(pair).copied().unwrap_or(0) / u64::from(MEMORY)
    }

    /// Whether somebody else waits who has less.
    fn is_behind_others(&self, now: Instant, pair: &Pair, spare: u8) -> bool {
        self.waiting.iter().any(|(other, (refused, left))| other != pair && *left < spare && now < *refused + WAITS)
    }

    fn note(&mut self, now: Instant, pair: &Pair, spare: u8, may_take: bool, most: usize) {
        if may_take {
            self.waiting.remove(pair);
            return;
        }
        if self.waiting.len() >= most && !self.waiting.contains_key(pair) {
            self.waiting.retain(|_, (refused, _)| now < *refused + WAITS);
        }
        if self.waiting.len() < most || self.waiting.contains_key(pair) {
            self.waiting.insert(pair.clone(), (now, spare));
        }
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// Sets aside a link key to `to` of so many octets for a relay between these two, if they may take one; leaves those that are for
    /// this node's own use.
    pub(super) fn take_for_relay(
        &mut self,
        now: Now,
        to: &KmId,
        pair: &Pair,
        spare: u8,
        at_least: usize,
    ) -> Result<Result<KmaKey, RelayRefusal>, S::Error> {
        let floor = self.config.link_floor;
        if !self.may_take(now, to, pair, spare, floor) {
            return Ok(Err(RelayRefusal::NoKey));
        }
        let Some((link, id)) = self.choose_link_key(now, to, floor, at_least, None) else {
            let short = self.choose_link_key(now, to, floor, 0, None).is_some();
            return Ok(Err(if short { RelayRefusal::ShortKey } else { RelayRefusal::NoKey }));
        };
        let Some(pad) = self.take_outgoing(&link, id)? else { return Ok(Err(RelayRefusal::NoKey)) };
        self.count_taken(pair, &pad);
        Ok(Ok(pad))
    }

    /// Whether a pair whose pool is so full, of 255, may take a link key to `to`, of which `floor` are not for it.
    pub(super) fn may_take(&mut self, now: Now, to: &KmId, pair: &Pair, spare: u8, floor: usize) -> bool {
        let of_links = self.links.values().filter(|link| link.peer == *to && !link.is_relayed());
        let stored = of_links.map(|link| link.outgoing.len()).sum::<usize>().saturating_sub(floor);
        let config = &self.config;
        let takers = self.takers.entry(to.clone()).or_insert_with(|| Takers::new(now.instant));
        takers.forget(now.instant);
        let behind = takers.is_behind_others(now.instant, pair, spare);
        let leaves = if behind { config.link_low * 3 / 4 * usize::from(spare) / 255 } else { 0 };
        let Entitlement { guaranteed, highest } = config.entitlements.get(pair).copied().unwrap_or_default();
        let rate = takers.rate(pair);
        let may_take = rate < highest && (stored > leaves || rate < guaranteed && stored > 0);
        takers.note(now.instant, pair, spare, may_take, config.max_passing);
        may_take
    }

    pub(super) fn count_taken(&mut self, pair: &Pair, pad: &KmaKey) {
        // Nobody else is looked at, so there are as many as settings name.
        if self.config.entitlements.contains_key(pair)
            && let Some(takers) = self.takers.get_mut(&pad.peer)
        {
            *takers.taken.entry(pair.clone()).or_insert(0) += u64::from(pad.material.size().bits());
        }
    }

    /// A pad that this pair took is put back.
    pub(super) fn count_put_back(&mut self, pair: &Pair, pad: &KmaKey) {
        let taken = self.takers.get_mut(&pad.peer).and_then(|takers| takers.taken.get_mut(pair));
        if let Some(taken) = taken {
            *taken = taken.saturating_sub(u64::from(pad.material.size().bits()));
        }
    }

    /// What is left for these parties.
    pub(super) fn spare_of(&self, now: Now, parties: &Parties) -> u8 {
        self.pools.get(parties).map_or(0, |pool| match pool.short_since() {
            Some(since) => waiting(now.instant, since),
            None => ready(pool.octets_coming(), self.config.pool_high),
        })
    }

    /// What is left for all parties together that share key with another node, relayed key included.
    pub(super) fn spare_with(&self, now: Now, peer: &KmId) -> u8 {
        let with_peer = |parties: &Parties| parties.slaves().iter().any(|slave| self.home(slave) == Some(peer));
        let pools = || self.pools.iter().filter(|(parties, _)| with_peer(parties)).map(|(_, pool)| pool);
        if let Some(since) = pools().filter_map(SupplyPool::short_since).min() {
            return waiting(now.instant, since);
        }
        let held = pools().map(SupplyPool::octets_coming).sum::<usize>();
        let target = pools().count().saturating_mul(self.config.pool_high);
        let relayed = self.links.values().filter(|link| link.peer == *peer && link.is_relayed());
        let (relayed, pools) = relayed.fold((0, 0), |(octets, pools), link| (octets + link.level().1, pools + 1));
        let full =
            pools * self.config.relay_high * self.config.qkd_keys_per_link_key as usize * self.config.qkd_key_size.octets();
        ready(held + relayed, target.saturating_add(full))
    }
}

/// Somebody waits for key since then.
fn waiting(now: Instant, since: Instant) -> u8 {
    let waited = now.saturating_duration_since(since).as_secs().min(LONG.as_secs());
    SHORT - (u64::from(SHORT) * waited / LONG.as_secs()) as u8
}

fn ready(held: usize, target: usize) -> u8 {
    let target = target.max(1);
    SHORT + (held.min(target) as u128 * u128::from(u8::MAX - SHORT) / target as u128) as u8
}
