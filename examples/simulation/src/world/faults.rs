//! What goes wrong at random.

use qkd_link::rate::Skr;

use super::disk::{Disk, Failure};
use super::{MICROS, Step, World};

/// Which faults there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages are lost, late, repeated, out of order, changed.
    pub messages: bool,
    /// Connections break for a while.
    pub connections: bool,
    /// QKD links make no key for a while.
    pub links: bool,
    /// Nodes crash and come back.
    pub crashes: bool,
    /// Some of them without their disk.
    pub disks: bool,
    /// Disks fail.
    pub stores: bool,
    /// Clocks differ and are set, within what is allowed.
    pub clocks: bool,
    /// A node that others relay over lies about it for a while.
    pub liars: bool,
}

impl Faults {
    /// None.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            messages: false,
            connections: false,
            links: false,
            crashes: false,
            disks: false,
            stores: false,
            clocks: false,
            liars: false,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            messages: true,
            connections: true,
            links: true,
            crashes: true,
            disks: true,
            stores: true,
            clocks: true,
            liars: true,
        }
    }

    /// Those that come from outside, and may hide from the world what an engine did.
    pub(super) fn any_but_liars(self) -> bool {
        Self { liars: false, ..self } != Self::none()
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if !self.is_busy() {
            return;
        }
        let next = MICROS / 5 + self.random.below(4 * MICROS);
        self.after(next, Step::Fault);
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let link = self.random.below(self.links.len() as u64) as usize;
        let faults = self.settings.faults;
        match self.random.below(10) {
            0 | 1 if faults.crashes => self.crash(node),
            2 | 3 if faults.connections => {
                self.tell(|world| format!("the connection along {} breaks", world.links[link].id));
                self.report.broken += 1;
                self.disconnect(link);
                let back = self.random.below(5 * MICROS);
                self.after(back, Step::Connect { link });
            }
            4 | 5 if faults.links => {
                self.report.outages += 1;
                self.after(0, Step::SetRate { link, rate: Some(Skr::ZERO) });
                let back = self.random.below(20 * MICROS);
                self.after(back, Step::SetRate { link, rate: None });
            }
            6 if faults.stores => {
                let failures = [Failure::Write, Failure::BeforeCommit, Failure::AfterCommit];
                let failure = failures[self.random.below(3) as usize];
                self.tell(|world| format!("the disk of {} will fail: {failure:?}", world.nodes[node].id));
                self.nodes[node].disk.fail(failure);
            }
            7 if faults.clocks => self.set_clock(node),
            _ => {}
        }
    }

    /// The process is killed, and started again soon.
    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].engines.is_none() {
            return;
        }
        self.tell(|world| format!("{} crashes", world.nodes[node].id));
        self.report.crashes += 1;
        if self.settings.faults.disks && self.is_busy() && self.random.one_in(4) {
            self.lose_disk(node);
        }
        self.stop(node);
        let down = 10_000 + self.random.below(3 * MICROS);
        self.after(down, Step::Start { node });
    }

    fn lose_disk(&mut self, node: usize) {
        self.tell(|world| format!("{} loses its disk", world.nodes[node].id));
        self.report.disks_lost += 1;
        self.nodes[node].disk = Disk::default();
        self.nodes[node].incarnation = None;
        self.forget_all_link_key_states(node);
        for by in (0..self.nodes.len()).filter(|&by| by != node) {
            // Until the other one has learnt of it.
            self.lost_until.insert((by, node), u64::MAX);
        }
    }

    /// It knows now that its neighbour came with another disk, and gives no more of what was lost with the former one.
    pub(super) fn learnt_of_lost_disk(&mut self, node: usize, neighbour: usize) {
        let now = self.now;
        if let Some(until) = self.lost_until.get_mut(&(node, neighbour)) {
            *until = now.min(*until);
        }
    }

    /// A crash before the commit loses all that was just taken in.
    pub(super) fn crashes_before_the_commit(&mut self) -> bool {
        self.settings.faults.crashes && self.is_busy() && self.random.one_in(5_000)
    }

    /// The key manager must have stopped for good.
    pub(super) fn disk_failed(&mut self, node: usize) {
        self.tell(|world| format!("the disk of {} fails", world.nodes[node].id));
        self.report.disk_failures += 1;
        self.it_stops_when_its_disk_fails(node);
        self.crash(node);
    }

    /// By no more than clocks may differ.
    fn set_clock(&mut self, node: usize) {
        let skew = self.settings.key_manager.clock_skew.as_millis() as u64;
        let ahead = self.random.below(skew * 9 / 10) as i64 - (skew * 9 / 20) as i64;
        self.tell(|world| format!("the clock of {} is now {ahead} ms ahead", world.nodes[node].id));
        self.report.clock_steps += 1;
        self.nodes[node].clock_ahead = ahead;
    }
}
