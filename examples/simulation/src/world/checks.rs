//! The promises: what must hold whatever happens. Each is a function that panics when it is broken.

use std::collections::BTreeMap;

use itu_y3803::message::{Body, RelayMessage, RelayStep};
use itu_y3803::{KeyEvent, KeyId, KeyState, KmId, KsaKey, Paths};
use relay_core::policy::{Authentication, Ways};
use relay_core::{Event, Input, LinkAuthentication, Pool, Refusal};

use super::link::QKD_KEY;
use super::load::Outcome;
use super::{MICROS, World, micros};

impl World {
    pub(super) fn check_every_second(&mut self) {
        self.every_order_ends();
        self.every_bit_is_accounted_for();
    }

    pub(super) fn check_at_the_end(&mut self) {
        self.check_every_second();
        assert!(self.orders.is_empty(), "{} orders were never answered", self.orders.len());
        for (id, given) in &self.given {
            assert_ne!(given.outcome, Outcome::Open, "{id}, which {} has, was never collected", self.nodes[given.master].id);
        }
        self.no_more_is_given_than_was_carried();
    }

    /// A key has the same octets under the same identifier at both ends.
    pub(super) fn both_ends_have_the_same(&self, key: &KsaKey) {
        let given = &self.given[&key.id];
        assert_eq!(given.octets, key.material.expose_secret(), "the ends of {} differ", key.id);
        assert_eq!(given.expires, key.expires, "the ends of {} live for different times", key.id);
        assert_eq!(given.paths, key.paths, "the ends of {} know different paths", key.id);
        let ends = [given.master, given.slave].map(|node| &self.nodes[node].id);
        for path in key.paths.iter() {
            assert!(path.len() > 2 && [&path[0], &path[path.len() - 1]] == ends, "{} came over {path:?}", key.id);
        }
    }

    /// No application is given a key twice. That nobody but its parties is given it at all, [`Forbidden`] orders see to.
    ///
    /// [`Forbidden`]: super::load::Asked::Forbidden
    pub(super) fn nobody_gets_a_key_twice(&mut self, key: KeyId, node: usize) {
        let first = self.delivered.insert((key, node));
        assert!(first, "{} is given {key} twice", self.nodes[node].application);
    }

    /// Of a rule for the two applications, where there is one. A key without paths is of the link between their nodes.
    pub(super) fn key_took_a_way_that_is_allowed(&mut self, master: usize, slave: usize, paths: &Paths) {
        let ways = self.demanded_ways(master, slave);
        let [master, slave] = [master, slave].map(|node| &self.nodes[node].application);
        let its = self.settings.authentication == LinkAuthentication::OneTime;
        assert!(its || ways.authentication == Authentication::Any, "key from {master} for {slave} went over links with HMAC");
        let paths: Vec<Vec<KmId>> = paths.iter().map(<[KmId]>::to_vec).collect();
        if paths.is_empty() {
            assert!(ways.required_nodes.is_empty(), "key from {master} for {slave} went over none of {:?}", ways.required_nodes);
        } else {
            assert_eq!(ways.check_paths(&paths), Ok(()), "key from {master} for {slave} took {paths:?}");
        }
        self.report.restricted += u64::from(ways != Ways::shared(ways.sharing));
    }

    fn demanded_ways(&self, master: usize, slave: usize) -> Ways {
        let Some(policy) = &self.settings.key_manager.policy else { return Ways::default() };
        let [master, slave] = [master, slave].map(|node| &self.nodes[node].application);
        policy.decide(master, slave).terms().ways.clone()
    }

    /// Every order is answered within the patience of the key manager, or the process of its node ends.
    fn every_order_ends(&self) {
        let longest = micros(self.settings.key_manager.patience) + 2 * MICROS;
        for (id, order) in &self.orders {
            let waits = self.now - order.asked;
            assert!(waits <= longest, "order {id} at {} waits for {waits} us", self.nodes[order.node].id);
        }
    }

    /// A master is refused keys for a reason that is true.
    pub(super) fn a_refusal_has_its_reason(&self, pair: usize, reason: &Refusal) {
        let (master, slave) = self.settings.load.pairs[pair];
        let ways = self.demanded_ways(master, slave);
        let its = self.settings.authentication == LinkAuthentication::OneTime;
        let links_will_do = ways.required_nodes.is_empty() && (its || ways.authentication == Authentication::Any);
        let neighbours = links_will_do && self.neighbours[master].iter().any(|&(peer, _)| peer == slave);
        match reason {
            Refusal::NotEnoughKeys => {}
            Refusal::Unreachable => assert!(!neighbours, "there is a link"),
            other => panic!("{} was refused keys: {other}", self.nodes[master].application),
        }
    }

    /// A slave finds its key, unless the key was lost with the disk of its node before the master's node could know.
    pub(super) fn only_what_is_excused_is_not_there(&mut self, key: KeyId, reason: &Refusal) {
        let given = self.given.get_mut(&key).expect("asked for what was given");
        let lost_until = self.lost_until.get(&(given.master, given.slave)).copied();
        let excused = matches!(reason, Refusal::NotFound { .. }) && lost_until.is_some_and(|until| given.at <= until);
        assert!(excused, "{} is not there for {}: {reason}", key, self.nodes[given.slave].application);
        given.outcome = Outcome::Lost;
        self.report.lost_with_disk += 1;
    }

    /// A pad is used for one message, which may be said again in the same octets.
    pub(super) fn no_pad_hides_two_messages(&mut self, node: usize, body: &Body) {
        let (pad, octets) = match body {
            Body::SupplyNotification(told) => (told.pad, [&told.sealed[..], &told.tag].concat()),
            Body::Relay(relay) => {
                self.no_tag_key_makes_two_tags(relay);
                match &relay.step {
                    RelayStep::Reserve(reservation) => {
                        self.set_aside.insert((node, relay.relay), reservation.pad);
                        return;
                    }
                    RelayStep::Key { sealed, tag } => (self.set_aside[&(node, relay.relay)], [&sealed[..], tag].concat()),
                    _ => return,
                }
            }
            _ => return,
        };
        let former = self.pads.entry(pad).or_insert_with(|| octets.clone());
        assert_eq!(*former, octets, "pad {pad} hides two messages");
    }

    /// A place of a link key for tags is used for one message.
    fn no_tag_key_makes_two_tags(&mut self, relay: &RelayMessage) {
        let Some(proof) = &relay.proof else { return };
        let former = self.tags.insert((proof.key, proof.place), proof.tag);
        assert!(former.is_none(), "{} makes two tags at place {}", proof.key, proof.place);
        assert!(!self.pads.contains_key(&proof.key), "{} is a pad and makes tags", proof.key);
    }

    pub(super) fn link_keys_on_disk(&self, node: usize) -> BTreeMap<KeyId, u64> {
        self.nodes[node].disk.link_keys(|link| self.link_numbers.contains_key(link))
    }

    /// Every bit that the modules of a link handed out is somewhere: waiting, stored, in use, spent, expired or burnt. What is
    /// said to be stored is on the disks, and nothing else is.
    fn every_bit_is_accounted_for(&mut self) {
        let now = self.elapsed();
        let on_disks: Vec<BTreeMap<KeyId, u64>> = (0..self.nodes.len()).map(|node| self.link_keys_on_disk(node)).collect();
        for (node, on_disk) in on_disks.iter().enumerate() {
            let mut stored: Vec<_> =
                self.neighbours[node].iter().flat_map(|&(_, link)| self.links[link].ledger.stored(node)).collect();
            stored.sort_unstable();
            let on_disk: Vec<_> = on_disk.iter().map(|(&id, &bits)| (id, bits)).collect();
            assert_eq!(stored, on_disk, "the link keys of {} are not those on its disk", self.nodes[node].id);
        }
        for link in &mut self.links {
            let report = link.report(now);
            let key = u64::from(QKD_KEY.bits());
            assert_eq!(report.made, report.undrawn + report.drawn, "keys of {} in modules of {key} bits", link.id);
            assert_eq!(report.drawn, report.bits.total(), "bits of {} that were drawn: {report:?}", link.id);
        }
    }

    /// Masters were given no more key than pads have carried.
    fn no_more_is_given_than_was_carried(&mut self) {
        let now = self.elapsed();
        // A crash may hide that a block was bound, so what is burnt may have carried some.
        let carried = |bits: super::Bits| {
            bits.payload + bits.relayed + if self.settings.faults.any_but_liars() { bits.burnt + bits.in_use } else { 0 }
        };
        let carried: u64 = self.links.iter_mut().map(|link| carried(link.report(now).bits)).sum();
        assert!(self.report.supplied_bits <= carried, "{} bits given, {carried} carried", self.report.supplied_bits);
    }

    /// A key manager whose disk failed says no more.
    pub(super) fn it_stops_when_its_disk_fails(&mut self, node: usize) {
        let now = self.time(node);
        let Some(engines) = &mut self.nodes[node].engines else { return };
        assert!(engines.take_in(now, Input::Timeout).is_err(), "{} goes on after its disk failed", self.nodes[node].id);
    }

    /// Without changed messages, lost disks and liars, no engine thinks that another breaks the rules.
    pub(super) fn only_faults_look_like_misbehaviour(&mut self, node: usize) {
        let faults = self.settings.faults;
        assert!(faults.messages || faults.disks || faults.liars, "{} complains without reason", self.nodes[node].id);
        self.report.misbehaviour += 1;
    }

    pub(super) fn event(&mut self, node: usize, event: Event) {
        self.tell(|world| format!("{}: {event:?}", world.nodes[node].id));
        match event {
            Event::Misbehaviour { .. } => self.only_faults_look_like_misbehaviour(node),
            Event::Spent { pool: Pool::Outgoing, link, id, on, .. } => {
                if let Some(&link) = self.link_numbers.get(&link) {
                    self.links[link].ledger.spent(id, on);
                }
            }
            Event::Relayed { key, paths } => {
                self.no_key_is_relayed_that_was_lied_about(key);
                self.report.relayed += 1;
                self.report.relayed_in_parts += u64::from(paths.len() > 1);
                self.note_watched(node, &paths);
                self.report.hops += paths.iter().map(|path| path.len() as u64 - 1).sum::<u64>();
            }
            Event::Arrived { key, .. } => self.no_key_arrives_that_was_not_passed_on(key),
            Event::NotRelayed { key, reason, .. } => {
                self.notice_lie(key);
                *self.report.not_relayed.entry(reason.as_str()).or_default() += 1;
            }
            Event::Bound { block, .. } => self.no_block_is_bound_with_key_that_differs(block),
            Event::NotBound { block } => self.notice_lie(block),
            Event::LinkKey { pool, id, event } => {
                self.no_link_key_takes_a_forbidden_step(node, pool, id, event);
                if pool == Pool::Outgoing {
                    for (_, link) in self.neighbours[node].clone() {
                        self.links[link].ledger.event(id, event);
                    }
                }
            }
            _ => {}
        }
    }

    /// Which way the key of the watched pair came.
    fn note_watched(&mut self, node: usize, paths: &[Vec<KmId>]) {
        let Some((_, slave)) = self.settings.watch.filter(|(master, _)| *master == node) else { return };
        let path: Vec<usize> = paths.iter().flatten().map(|node| self.numbers[node]).collect();
        if path.last() == Some(&slave) {
            self.samples.relays.push((self.now as f64 / MICROS as f64, path));
        }
    }

    fn no_link_key_takes_a_forbidden_step(&mut self, node: usize, pool: Pool, id: KeyId, event: KeyEvent) {
        // Of a key that is not known, a crash has swallowed the beginning.
        let known_from_the_start = self.nodes[node].life == 0;
        let unknown = if event == KeyEvent::Reserve { KeyState::Available } else { KeyState::Received };
        let first = if known_from_the_start { KeyState::Received } else { unknown };
        let state = self.link_keys.entry((node, pool, id)).or_insert(first);
        match state.on(event) {
            Ok(next) => *state = next,
            Err(forbidden) => panic!("{id} of {}: {forbidden}", self.nodes[node].id),
        }
    }

    /// Events that were not seen may be missing after a crash; what was seen to be used stays used.
    pub(super) fn forget_link_key_states(&mut self, node: usize) {
        self.link_keys.retain(|(at, ..), state| *at != node || matches!(state, KeyState::InUse | KeyState::Deleted));
    }

    pub(super) fn forget_all_link_key_states(&mut self, node: usize) {
        self.link_keys.retain(|(at, ..), _| *at != node);
    }
}
