//! What applications do.

use itu_y3803::{ApplicationId, KeyId, KeySize, Parties};
use relay_core::Input;

use super::settings::APPLICATIONS;
use super::{Pending, Step, World, app, one};

impl World {
    /// Applications ask for keys, and for keys that are not theirs.
    pub(super) fn load(&mut self) {
        if !self.settling() {
            let next = 20 + self.random.below(200);
            self.after(next, Step::Load);
            if self.random.one_in(2) {
                self.ask_for_keys();
            }
            if self.random.one_in(3) {
                self.ask_for_what_is_not_theirs();
            }
        } else {
            self.after(100, Step::Load);
        }
        for _ in 0..if self.settling() { 20 } else { 3 } {
            self.collect_something();
        }
    }

    fn ask_for_keys(&mut self) {
        let (master, _) = self.random.pick(&APPLICATIONS);
        let Some(&home) = self.directory.get(&app(master)) else { return };
        let mut slaves: Vec<_> = APPLICATIONS.iter().map(|(id, _)| app(id)).filter(|id| *id != app(master)).collect();
        while slaves.len() > 1 && self.random.one_in(2) || slaves.len() > 3 {
            slaves.remove(self.random.below(slaves.len() as u64) as usize);
        }
        // Without faults nobody asks for what cannot be.
        if !self.faults.operators {
            slaves.retain(|slave| self.directory[slave] == home || self.network.are_neighbours(home, self.directory[slave]));
        }
        let Some(parties) = Parties::new(app(master), slaves) else { return };
        let number = 1 + self.random.below(4) as u32;
        let size = KeySize::from_octets(1 + self.random.below(40) as usize).expect("not zero");
        let wall = self.wall(home);
        let node = &mut self.nodes[home];
        if node.manager.is_none() {
            return;
        }
        let lease = !node.strict;
        if lease {
            let served = node.leases.get_mut(&parties).and_then(|lease| lease.supply(wall, one(number), size));
            if let Some(keys) = served {
                self.give(home, &parties, keys, number, size);
                return;
            }
        }
        let order = self.order(Pending::Supply { node: home, parties: parties.clone(), number, size });
        let number = one(number);
        self.nodes[home].inbox.push(match lease {
            true => Input::Lease { order, parties, number, size },
            false => Input::Supply { order, parties, number, size },
        });
    }

    fn collect_something(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let (id, slave) = self.open.swap_remove(at);
        let master = self.given[&id].parties.master().clone();
        let node = self.given[&id].homes[&slave];
        if self.nodes[node].manager.is_none() {
            self.open.push((id, slave));
            return;
        }
        let mut keys = vec![id];
        // Now and then several in one request.
        let more = self.random.below(3) as usize;
        let fits = |(other, who): &(KeyId, ApplicationId)| {
            let given = &self.given[other];
            *who == slave && *given.parties.master() == master && given.homes[who] == node
        };
        let others: Vec<_> = (0..self.open.len().min(20)).filter(|&at| fits(&self.open[at])).take(more).collect();
        for at in others.into_iter().rev() {
            keys.push(self.open.swap_remove(at).0);
        }
        for key in &keys {
            self.given.get_mut(key).expect("given").waiting.remove(&slave);
        }
        let order = self.order(Pending::Collect { node, slave: slave.clone(), keys: keys.clone() });
        self.nodes[node].inbox.push(Input::Collect { order, slave, master, keys });
    }

    fn ask_for_what_is_not_theirs(&mut self) {
        if self.all_given.is_empty() {
            return;
        }
        let id = self.random.pick(&self.all_given);
        let master = self.given[&id].parties.master().clone();
        let (who, first_home) = self.random.pick(&APPLICATIONS);
        let who = app(who);
        let node = self.directory.get(&who).copied().unwrap_or(first_home);
        // Whoever was cut off may come again, and get it then.
        let entitled = self.given[&id].waiting.contains(&who) || self.cut_off.contains(&(id, who.clone()));
        if entitled || self.nodes[node].manager.is_none() {
            return;
        }
        // Not among the slaves, or it has the key already, or the wrong master, or an identifier that was never given.
        let (key, master) = match self.random.below(4) {
            0 => (id, app("nobody")),
            1 => (KeyId::from_octets(self.random.octets()), master),
            _ => (id, master),
        };
        self.report.hostile += 1;
        let order = self.order(Pending::Forbidden { node });
        self.nodes[node].inbox.push(Input::Collect { order, slave: who, master, keys: vec![key] });
    }
}
