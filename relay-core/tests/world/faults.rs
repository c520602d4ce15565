//! What goes wrong, and what operators do.

use itu_y3803::KeyState;
use relay_core::Input;

use super::disk::{Disk, Failure};
use super::settings::{APPLICATIONS, NODES, km};
use super::{Pending, Step, World, app};

impl World {
    pub(super) fn fault(&mut self) {
        if self.settling() {
            return;
        }
        let next = 200 + self.random.below(2_000);
        self.after(next, Step::Fault);
        let node = self.random.below(3) as usize;
        let faults = self.faults;
        if faults.messages && self.random.one_in(2) {
            self.forge();
        }
        match self.random.below(16) {
            0..6 if faults.crashes => self.crash(node),
            6..10 if faults.cuts => self.cut(node),
            10 | 11 if faults.stores => {
                let failure = self.random.pick(&[Failure::Write, Failure::BeforeCommit, Failure::AfterCommit]);
                self.tell(|| format!("the disk of {} will fail: {failure:?}", NODES[node]));
                self.nodes[node].disk.fail(failure);
            }
            12 | 13 if faults.clocks => self.set_clock(node),
            14 if faults.operators => self.change_the_directory(),
            15 if faults.operators => self.restart(node),
            _ => {}
        }
    }

    fn cut(&mut self, node: usize) {
        let neighbours = self.network.neighbours(node);
        let peer = self.random.pick(&neighbours);
        if self.nodes[node].connected[peer] {
            self.nodes[node].connected[peer] = false;
            self.nodes[node].inbox.push(Input::PeerDown { peer: km(peer) });
            let back = self.random.below(2_000);
            self.after(back, Step::Connect { node, peer });
        }
    }

    /// It must have stopped for good.
    pub(super) fn store_failed(&mut self, node: usize) {
        let now = self.time(node);
        let manager = self.nodes[node].manager.as_mut().expect("it failed just now");
        assert!(manager.handle_input(now, Input::Timeout).is_err(), "goes on after its store failed");
        assert!(manager.poll_output().is_err(), "speaks after its store failed");
        self.report.failures += 1;
        self.crash(node);
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].manager.is_none() {
            return;
        }
        self.tell(|| format!("{} crashes", NODES[node]));
        self.report.crashes += 1;
        self.end(node);
        // Events that were not seen may be missing from here on; what was seen to be used stays used.
        self.link_keys.retain(|(at, ..), state| *at != node || matches!(state, KeyState::InUse | KeyState::Deleted));
        if self.faults.disks && self.random.one_in(3) {
            self.tell(|| format!("{} loses its disk", NODES[node]));
            self.nodes[node].disk = Disk::default();
            self.nodes[node].incarnation = None;
            for (by, lost_until) in self.lost_until.iter_mut().enumerate() {
                // Until the other end has learnt of it.
                lost_until[node] = if by == node { self.now } else { u64::MAX };
            }
            self.link_keys.retain(|(at, ..), _| *at != node);
        }
        let down = 10 + self.random.below(1_500);
        self.after(down, Step::Start { node });
    }

    /// The process is gone.
    fn end(&mut self, node: usize) {
        let of = &mut self.nodes[node];
        of.manager = None;
        of.life += 1;
        of.leases.clear();
        of.timer = None;
        of.inbox.clear();
        of.connected = [false; 3];
        for peer in self.network.neighbours(node) {
            if self.nodes[peer].connected[node] {
                self.nodes[peer].connected[node] = false;
                self.nodes[peer].inbox.push(Input::PeerDown { peer: km(node) });
            }
        }
        // Requests in flight are never answered; of a collection nobody knows how far it got.
        let in_flight: Vec<_> = self.orders.iter().filter(|(_, pending)| pending.node() == node).map(|(&id, _)| id).collect();
        for order in in_flight {
            if let Some(Pending::Collect { keys, slave, .. }) = self.orders.remove(&order) {
                self.report.cut_off += keys.len() as u64;
                self.cut_off.extend(keys.into_iter().map(|key| (key, slave.clone())));
            }
        }
    }

    /// Stopped in good order: what is out on lease goes back first.
    pub(super) fn restart(&mut self, node: usize) {
        let leases = std::mem::take(&mut self.nodes[node].leases).into_values();
        for lease in leases {
            self.report.given_back += lease.octets_left() as u64;
            self.nodes[node].inbox.push(Input::GiveBack { lease });
        }
        self.handle(node);
        self.crash(node);
    }

    /// An application moves, goes or comes back; all nodes are started again, one by one, to read the new directory.
    fn change_the_directory(&mut self) {
        let (who, _) = self.random.pick(&APPLICATIONS);
        let who = app(who);
        if self.directory.contains_key(&who) && self.random.one_in(3) {
            self.tell(|| format!("{who} is removed"));
            self.directory.remove(&who);
        } else {
            let home = self.random.below(3) as usize;
            self.tell(|| format!("{who} moves to {}", NODES[home]));
            self.directory.insert(who, home);
        }
        self.report.moves += 1;
        for node in 0..3 {
            let soon = self.random.below(2_000);
            self.after(soon, Step::Restart { node });
        }
    }

    /// By how much clocks differ in good times: two of them by no more than the skew that is allowed.
    pub(super) fn small_difference(&mut self) -> i64 {
        let skew = self.network.clock_skew.as_millis() as u64;
        self.random.below(skew) as i64 - skew as i64 / 2
    }

    pub(super) fn set_clock(&mut self, node: usize) {
        if self.nodes[node].clock.busy || self.settling() {
            return;
        }
        let skew = self.network.clock_skew.as_millis() as u64;
        let far = 3 * self.network.collect_time.as_millis() as u64;
        // What a node that is down cannot see is less than the time it was down.
        let least = 2 * skew + if self.nodes[node].manager.is_some() { 0 } else { 2_000 };
        let step = (least + self.random.below(far - least)) as i64;
        match self.random.below(4) {
            0 => {
                let ahead = self.small_difference();
                self.set_ahead_by(node, ahead);
            }
            1 => self.creep(node, self.nodes[node].life, 30),
            kind => {
                self.set_ahead_by(node, if kind == 2 { step } else { -step });
                self.nodes[node].clock.busy = true;
                let back = 500 + self.random.below(6_000);
                self.after(back, Step::SetRight { node });
            }
        }
    }

    /// Set back in steps each of which is too small to be noticed.
    pub(super) fn creep(&mut self, node: usize, life: u32, steps: u32) {
        self.nodes[node].clock.busy = true;
        let over = steps == 0 || self.nodes[node].life != life || self.settling();
        let wait = if over { 500 + self.random.below(6_000) } else { 10 };
        if !over {
            let step = self.network.clock_skew.as_millis() as i64 * 9 / 10;
            self.set_ahead_by(node, self.nodes[node].clock.ahead - step);
        }
        self.after(wait, if over { Step::SetRight { node } } else { Step::Creep { node, life, steps: steps - 1 } });
    }

    pub(super) fn set_right(&mut self, node: usize) {
        let skew = self.network.clock_skew.as_millis() as i64;
        let unseen = self.nodes[node].manager.is_none() && self.nodes[node].clock.ahead < 2_000 + 2 * skew;
        if self.nodes[node].clock.ahead > 0 && unseen {
            self.after(100, Step::SetRight { node });
            return;
        }
        self.nodes[node].clock.busy = false;
        let ahead = self.small_difference();
        self.set_ahead_by(node, ahead);
    }

    fn set_ahead_by(&mut self, node: usize, ahead: i64) {
        let (before, former) = (self.wall(node), self.nodes[node].clock.ahead);
        self.tell(|| format!("the clock of {} goes from {former} to {ahead} ms", NODES[node]));
        self.report.clock_steps += 1;
        let skew = self.network.clock_skew.as_millis() as i64;
        let now = self.now;
        let clock = &mut self.nodes[node].clock;
        clock.ahead = ahead;
        if ahead < former {
            clock.set_back.push((now, before));
        } else if ahead > former + skew {
            clock.set_ahead.push(now);
        }
        // The engine learns of it before a lease is used again.
        if self.nodes[node].manager.is_some() {
            self.nodes[node].inbox.push(Input::Timeout);
            self.handle(node);
        }
    }
}
