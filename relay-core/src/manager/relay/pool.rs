//! Pools of relayed key: kept filled ahead of demand, as long as they are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use itu_y3803::{KmId, LinkId, RandomSource};

use super::super::links::Link;
use super::super::{Config, KeyManager, Now, Output};
use super::{Sharing, is_path};
use crate::policy::Ways;
use crate::store::KeyStore;

/// The name of the pool of key that was relayed between two nodes like this: the same at both. `None` when it would be too long.
pub(in super::super) fn pool_name(a: &KmId, b: &KmId, ways: &Ways) -> Option<LinkId> {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    let (needed, of) = (ways.sharing.needed(), ways.sharing.of());
    let restricted = ways.name().map(|name| format!("{name} ")).unwrap_or_default();
    LinkId::new(&format!("relay {needed} of {of} {restricted}{} {first} {second}", first.as_str().len())).ok()
}

/// So many relays may fail for want of key before another way is looked for.
const PATIENCE: u32 = 2;

/// What a pool of relayed key has beside its keys.
pub(in super::super) struct Relayed {
    pub(super) ways: Arc<Ways>,
    /// When key of it was last wanted.
    wanted: Option<Instant>,
    asked_for_route: bool,
    /// No relay before, after some were refused in a row.
    pause: Option<Instant>,
    failures: u32,
    /// Which paths it takes, and since when.
    paths: Option<(Vec<Vec<KmId>>, Instant)>,
    /// It was this node's own links that had no key.
    short: bool,
    /// The router knew no way when it was last asked.
    unreachable: bool,
    /// Hops that were refused of late, and until when others are preferred.
    avoided: BTreeMap<(KmId, KmId), Instant>,
}

impl Relayed {
    pub(in super::super) fn new(ways: Arc<Ways>) -> Self {
        Self {
            ways,
            wanted: None,
            asked_for_route: false,
            pause: None,
            failures: 0,
            paths: None,
            short: false,
            unreachable: false,
            avoided: BTreeMap::new(),
        }
    }

    /// While relays fail, one at a time tries: each costs tags.
    fn at_once(&self, config: &Config) -> usize {
        if self.failures > 0 { 1 } else { config.relays_at_once }
    }

    pub(super) fn succeeded(&mut self) {
        (self.failures, self.pause, self.short) = (0, None, false);
        self.avoided.clear();
    }

    /// Whether one relay after the other fails on a way that was tried for some time: else key is waited for.
    pub(super) fn gives_up_way(&self, now: Instant, patience: Duration) -> bool {
        self.failures >= PATIENCE && self.paths.as_ref().is_some_and(|(_, since)| *since + patience <= now)
    }

    pub(super) fn avoid(&mut self, hop: (KmId, KmId), until: Instant) {
        self.avoided.insert(hop, until);
    }
}

impl Link {
    /// Which ways the key of this pool takes; `None` for a QKD link, which has no nodes between its ends.
    pub(in super::super) fn ways(&self) -> Option<&Ways> {
        self.relayed.as_ref().map(|relayed| &*relayed.ways)
    }

    pub(super) fn sharing(&self) -> Option<Sharing> {
        self.ways().map(|ways| ways.sharing)
    }

    /// Whether this is a pool of relayed key, and somebody uses it.
    pub(in super::super) fn is_wanted(&self, now: Instant, idle: Duration) -> bool {
        self.relayed.as_ref().is_some_and(|relayed| relayed.wanted.is_some_and(|at| now < at + idle))
    }

    /// Whether this is a pool of relayed key that no way leads to.
    pub(in super::super) fn is_unreachable(&self) -> bool {
        self.relayed.as_ref().is_some_and(|relayed| relayed.unreachable)
    }
}

impl<S: KeyStore, R: RandomSource> KeyManager<S, R> {
    /// When relays that pause go on.
    pub(super) fn pool_deadlines(&self) -> impl Iterator<Item = Instant> {
        let wanting = self.links.values().filter(|link| link.filling && self.is_up(&link.peer));
        wanting.filter_map(|link| link.relayed.as_ref()?.pause)
    }

    /// Key that is shared with this peer was wanted: what is used is replaced ahead of demand. Of a neighbour, relayed key is wanted
    /// while its links run low and make no key: one that does serves better than others that are taken key from.
    pub(in super::super) fn want_relayed(&mut self, now: Now, peer: &KmId, ways: &Ways) {
        let (mut left, mut alive) = (0, false);
        for link in self.links.values_mut().filter(|link| link.peer == *peer && link.serves(ways)) {
            left += link.outgoing.len();
            alive |= now.instant < *link.agreed.get_or_insert(now.instant) + self.config.give_up;
        }
        if alive || left > self.config.link_floor + self.config.relay_low {
            return;
        }
        for link in self.links.values_mut().filter(|link| link.peer == *peer) {
            if let Some(relayed) = link.relayed.as_mut().filter(|relayed| *relayed.ways == *ways) {
                relayed.wanted = Some(now.instant);
            }
        }
    }

    /// Asks for a way to each destination whose pool runs low.
    pub(in super::super) fn fill_relayed(&mut self, now: Now) {
        let mut asked = Vec::new();
        let neighbours: BTreeSet<_> =
            self.links.values().filter(|link| !link.is_relayed()).map(|link| link.peer.clone()).collect();
        for link in self.links.values_mut() {
            let Some(relayed) = &mut link.relayed else { continue };
            let coming = self.relays.coming(&link.id);
            let up = self.peers.get(&link.peer).is_some_and(super::super::peers::Peer::is_known_and_up);
            relayed.pause = relayed.pause.filter(|until| *until > now.instant);
            let wanted = relayed.wanted.is_some_and(|at| now.instant < at + self.config.idle);
            let mark = if link.filling { self.config.relay_high } else { self.config.relay_low };
            let may_ask = up && !relayed.asked_for_route && relayed.pause.is_none() && coming < relayed.at_once(&self.config);
            link.filling = wanted && link.outgoing.len() + coming < mark;
            if link.filling && may_ask {
                relayed.asked_for_route = true;
                relayed.avoided.retain(|_, until| *until > now.instant);
                asked.push(Output::RouteWanted {
                    pool: link.id.clone(),
                    to: link.peer.clone(),
                    ways: Arc::clone(&relayed.ways),
                    // Around the link itself, if there is one.
                    avoid: relayed
                        .avoided
                        .keys()
                        .cloned()
                        .chain(neighbours.contains(&link.peer).then(|| (self.config.id.clone(), link.peer.clone())))
                        .collect(),
                });
            }
        }
        self.staged.extend(asked);
    }

    /// Starts as many relays along these paths as the pool wants.
    pub(in super::super) fn route(&mut self, now: Now, pool: &LinkId, mut paths: Vec<Vec<KmId>>) -> Result<(), S::Error> {
        let coming = self.relays.coming(pool);
        let Some(ways) = self.links.get(pool).and_then(|link| Some(Arc::clone(&link.relayed.as_ref()?.ways))) else {
            return Ok(());
        };
        let barred = self.barred_neighbours(&ways);
        let may_begin = |hop: &KmId| !barred.contains(hop);
        let Some(link) = self.links.get_mut(pool) else { return Ok(()) };
        let missing = self.config.relay_high.saturating_sub(link.outgoing.len() + coming);
        let Some(relayed) = &mut link.relayed else { return Ok(()) };
        paths.truncate(relayed.ways.sharing.of().into());
        let leads_there =
            |path: &Vec<KmId>| is_path(path) && path.len() > 2 && path[0] == self.config.id && path.last() == Some(&link.peer);
        let enough = paths.iter().all(leads_there)
            && relayed.ways.check_paths(&paths).is_ok()
            && paths.iter().all(|path| may_begin(&path[1]));
        relayed.asked_for_route = false;
        relayed.unreachable = !enough;
        if !enough {
            // Perhaps there is but the way that is to be avoided.
            relayed.avoided.clear();
        }
        let wanted = missing.min(relayed.at_once(&self.config).saturating_sub(coming));
        if wanted == 0 {
            return Ok(());
        }
        relayed.short = false;
        if enough && relayed.paths.as_ref().is_none_or(|(former, _)| *former != paths) {
            relayed.paths = Some((paths.clone(), now.instant));
        }
        let mut started = 0;
        while enough && started < wanted && self.start_relay(now, pool, &paths)? {
            started += 1;
        }
        if started == 0 {
            self.pause_relays(now, pool);
            if let Some(relayed) = self.links.get_mut(pool).and_then(|link| link.relayed.as_mut()) {
                relayed.short = enough;
            }
        }
        Ok(())
    }

    /// Neighbours that nothing may be relayed to, or come from, in such ways: of several links to one, a relay may take any.
    pub(super) fn barred_neighbours(&self, ways: &Ways) -> BTreeSet<KmId> {
        self.links.values().filter(|link| link.is_barred(ways)).map(|link| link.peer.clone()).collect()
    }

    /// A link of this node has key again.
    pub(in super::super) fn resume_relays(&mut self) {
        for relayed in self.links.values_mut().filter_map(|link| link.relayed.as_mut()) {
            if std::mem::take(&mut relayed.short) {
                relayed.pause = None;
            }
        }
    }

    /// After a failure: the next relay in a while, later each time.
    pub(super) fn pause_relays(&mut self, now: Now, pool: &LinkId) {
        let first = self.config.draw_pause;
        let mut jitter = [0];
        self.random.fill(&mut jitter);
        if let Some(relayed) = self.links.get_mut(pool).and_then(|link| link.relayed.as_mut()) {
            let pause = first.saturating_mul(1 << relayed.failures.min(6));
            // Not all at once, or they take the last pads from each other again.
            relayed.pause = Some(now.instant + pause + pause / 1_024 * u32::from(jitter[0]));
            relayed.failures += 1;
        }
    }
}
