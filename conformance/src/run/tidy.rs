//! What a run does for itself: keys that cases have left are fetched, and passive cases get something to look at.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::Runner;
use crate::bounds;
use crate::case::Case;
use crate::ctx::not_yet;
use crate::lab::{Mode, Request};
use crate::rng::Rng;
use crate::secret::is_uuid;

/// More keys than a case may cost that are fetched all the same.
const SLACK: usize = 8;
/// The longest that is spent on what one case has left.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys drawn so that passive cases have something to look at.
pub(crate) const FEED: u64 = 2;

impl Runner<'_> {
    /// Slaves fetch what a case has drawn and left: no more than it may cost, whatever was delivered, and not for ever. The
    /// ledger has the rest.
    pub(super) fn tidy_up(&self, case: Option<&Case>, index: usize, cost: u64) {
        let most = usize::try_from(cost).unwrap_or(usize::MAX).saturating_add(SLACK).min(bounds::KEYS);
        let left: Vec<_> =
            self.lab.ledger().left_behind(Some(index)).filter(|key| is_uuid(&key.id)).take(most).cloned().collect();
        // Of a case that does nothing odd, keys that nobody has asked for have to be there.
        let ordinary = case.is_none_or(|case| !case.negative && !case.needs_hook());
        let mut sets: BTreeMap<(String, Vec<String>, bool), Vec<String>> = BTreeMap::new();
        for key in left {
            sets.entry((key.master, key.slaves, key.plain && ordinary)).or_default().push(key.id);
        }
        let settle = self.lab.config.limits.settle();
        let mut patient = true;
        let batch = usize::try_from(self.limits.max_per_request.unwrap_or(1).clamp(1, 64)).unwrap_or(1);
        let until = Instant::now() + PATIENCE;
        for ((master, slaves, plain), ids) in sets {
            let Some(slave) = self.lab.saes().find(|sae| slaves.contains(&sae.id)) else { continue };
            let mut fetched = |ids: &[String]| -> Option<bool> {
                let began = Instant::now();
                let answer = loop {
                    // Whoever does not answer now will not for the next one either.
                    let answer = self.lab.exchange(slave, Request::post_ids(&master, ids)).ok()?;
                    // Keys may still be on their way; those of one case all need the same time.
                    if !(plain && patient && not_yet(&answer)) || began.elapsed() > settle {
                        break answer;
                    }
                    thread::sleep(Duration::from_millis(100));
                };
                let refused = matches!(answer.status(), Some(400..=499));
                patient &= answer.is(200);
                if plain && (answer.is(200) || refused && ids.len() == 1) {
                    self.lab.passive().fetched(&answer, !refused, &self.lab.vault);
                }
                (answer.outcome.is_ok() && Instant::now() < until).then_some(!answer.keys.is_empty())
            };
            for ids in ids.chunks(batch) {
                match fetched(ids) {
                    Some(false) if ids.len() > 1 => {
                        if ids.chunks(1).any(|id| fetched(id).is_none()) {
                            return;
                        }
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        }
    }

    /// Gives passive cases something to look at, if no other case has.
    pub(super) fn feed(&mut self, passive: &[&'static Case]) {
        if self.unreachable.is_some() || self.gone.is_some() {
            return;
        }
        self.lab.enter(usize::MAX - 1);
        let roles = &self.lab.config.roles;
        let (master, slave) = (self.lab.sae(&roles.master), roles.slave.as_ref().and_then(|name| self.lab.sae(name)));
        let (Some(master), Some(slave)) = (master, slave) else { return };
        let starved = |id: &str| self.lab.passive().tallies.get(id).is_none_or(|tally| tally.looked == 0);
        let no_key = self.options.mode != Mode::Safe && self.lab.ledger().drawn.is_empty();
        if !no_key && !passive.iter().any(|case| starved(case.id)) {
            return;
        }
        let mut rng = Rng::new(self.plan.seed, "feed");
        let unknown: String = crate::hex(&rng.octets::<16>());
        let unknown =
            format!("{}-{}-{}-{}-{}", &unknown[..8], &unknown[8..12], &unknown[12..16], &unknown[16..20], &unknown[20..]);
        // An unknown ID, and no ID at all.
        for request in [Request::post_ids(&master.id, &[unknown]), Request::post_ids_body(&master.id, "{}")] {
            let _ = self.lab.exchange(slave, request.faulty());
        }
        if self.options.mode != Mode::Safe && self.lab.budget().left() >= FEED {
            self.lab.budget().enter_case(Some(FEED));
            for request in [Request::post_key(&slave.id, "{}"), Request::get_key(&slave.id, "")] {
                let _ = self.lab.exchange(master, Request::status(&slave.id));
                let _ = self.lab.exchange(master, request);
            }
            self.tidy_up(None, usize::MAX - 1, FEED);
        }
        self.lab.take_evidence();
    }
}
