//! The promises, and the few keys that are excused from them.

use itu_y3803::{ApplicationId, KeyEvent, KeyId, KeySize, KeyState, KsaKey, Parties};
use relay_core::{Event, Misbehaviour, Refusal};

use super::settings::NODES;
use super::{Given, World};

pub(super) fn is_forbidden(reason: &Refusal) {
    assert!(matches!(reason, Refusal::NotFound { .. } | Refusal::NotEntitled), "{reason}");
}

impl World {
    /// A master has its keys.
    pub(super) fn give(&mut self, node: usize, parties: &Parties, keys: Vec<KsaKey>, number: u32, size: KeySize) {
        assert_eq!(keys.len(), number as usize);
        let homes = |slave: &ApplicationId| (slave.clone(), self.nodes[node].directory[slave]);
        let homes: std::collections::BTreeMap<_, _> = parties.slaves().iter().map(homes).collect();
        for key in keys {
            self.tell(|| format!("{} is given {}", parties.master(), key.id));
            assert_eq!(key.material.size(), size);
            assert!(self.delivered.insert((key.id, parties.master().clone())), "{} given twice", key.id);
            let given = Given {
                at: self.now,
                by: node,
                made: self.made.get(&(node, key.created)).copied().unwrap_or(0),
                expires: key.expires,
                octets: key.material.expose_secret().to_vec(),
                parties: parties.clone(),
                waiting: parties.slaves().iter().cloned().collect(),
                homes: homes.clone(),
            };
            self.leaves_time_to_collect(key.id, &given);
            self.open.extend(parties.slaves().iter().map(|slave| (key.id, slave.clone())));
            self.all_given.push(key.id);
            assert!(self.given.insert(key.id, given).is_none(), "{} given twice", key.id);
            self.report.supplied += 1;
        }
    }

    /// Whatever the clock of the master's node did, and as long as nobody set those of the slaves' nodes ahead.
    fn leaves_time_to_collect(&self, id: KeyId, given: &Given) {
        let network = &self.network;
        assert!(self.wall(given.by).after(network.collect_time) < given.expires, "{id} was given too late");
        // The clocks may differ when the block is bound, which takes up to `give_up`, and each may move by as much after it
        // without being noticed; a node that was down has a rougher idea.
        let differ = network.clock_skew * 7 / 2 + network.give_up;
        for &home in given.homes.values() {
            let set_ahead = self.nodes[home].clock.set_ahead.iter().any(|&at| at >= given.made);
            let in_time = self.wall(home).after(network.collect_time.saturating_sub(differ)) <= given.expires;
            assert!(set_ahead || in_time, "{id} was given, and is soon deleted at {}", NODES[home]);
        }
    }

    /// A slave has its keys.
    pub(super) fn collected(&mut self, slave: &ApplicationId, asked: &[KeyId], keys: Vec<KsaKey>) {
        assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), asked);
        for key in keys {
            self.tell(|| format!("{slave} collects {}", key.id));
            let given = &self.given[&key.id];
            assert!(given.parties.slaves().contains(slave), "{slave} collected what is for others");
            assert_eq!(given.octets, key.material.expose_secret(), "the ends of {} differ", key.id);
            assert_eq!(given.expires, key.expires, "the ends of {} live for different times", key.id);
            assert!(self.delivered.insert((key.id, slave.clone())), "{slave} collected {} twice", key.id);
            self.report.collected += 1;
        }
    }

    /// A master has none.
    pub(super) fn not_supplied(&mut self, node: usize, parties: &Parties, reason: &Refusal) {
        let of = &self.nodes[node];
        let served = |slave| of.directory.get(slave).is_some_and(|&at| at == node || self.network.are_neighbours(node, at));
        let known = of.directory.get(parties.master()) == Some(&node) && parties.slaves().iter().all(served);
        match reason {
            Refusal::NotEnoughKeys => assert!(known),
            Refusal::TooMuch => {
                assert!(known && self.network.tight);
                self.report.too_much += 1;
            }
            Refusal::UnknownApplication => {
                assert!(!known);
                return;
            }
            other => panic!("{} was refused keys: {other}", parties.master()),
        }
        self.report.refused += 1;
    }

    /// A slave has none: all that are missing must be excused, the others are there when it comes again.
    pub(super) fn not_collected(&mut self, node: usize, slave: &ApplicationId, keys: Vec<KeyId>, reason: &Refusal) {
        let Refusal::NotFound { keys: missing } = reason else { panic!("{slave} was refused {keys:?}: {reason}") };
        assert!(!missing.is_empty(), "{slave} was refused {keys:?} for nothing");
        for key in keys {
            let given = self.given.get_mut(&key).expect("asked for what was given");
            if !missing.contains(&key) {
                given.waiting.insert(slave.clone());
                self.open.push((key, slave.clone()));
                continue;
            }
            let clock = &self.nodes[node].clock;
            let shown_before = clock.set_back.iter().filter(|(at, _)| *at >= given.made).map(|(_, wall)| *wall).max();
            let (by, at, expires) = (given.by, given.at, given.expires);
            // Lost with a disk are keys that were given before the node of the master knew; then it gives no more from lost blocks.
            if at <= self.lost_until[by][node] {
                self.report.lost_with_disk += 1;
            } else if shown_before.max(Some(self.wall(node))) >= Some(expires) {
                self.report.expired += 1;
            } else {
                panic!("{slave} was refused {key} at {}, given at {at} ms: {reason}", NODES[node]);
            }
            self.cut_off.insert((key, slave.clone()));
        }
    }

    pub(super) fn event(&mut self, node: usize, event: Event) {
        self.tell(|| format!("{}: {event:?}", NODES[node]));
        match event {
            Event::Misbehaviour { what, .. } => {
                let tight = self.network.tight && what == Misbehaviour::TooMuch;
                assert!(self.faults.modules || tight, "without faults: {what}");
            }
            Event::ClockSetBack => self.report.set_back += 1,
            Event::Bound { .. } => {
                let made = (node, self.wall(node));
                self.made.entry(made).or_insert(self.now);
            }
            Event::LinkKey { pool, id, event } => {
                // Of a key that is not known, a crash has swallowed the beginning.
                let unknown = if event == KeyEvent::Reserve { KeyState::Available } else { KeyState::Received };
                let known_from_the_start = self.nodes[node].life == 0;
                let first = if known_from_the_start { KeyState::Received } else { unknown };
                let state = self.link_keys.entry((node, pool, id)).or_insert(first);
                *state = match state.on(event) {
                    Ok(next) => next,
                    Err(forbidden) => panic!("{} of {}: {forbidden}", id, NODES[node]),
                };
            }
            _ => {}
        }
    }
}
