//! What happened, in numbers, and how it developed.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::{LinkReport, MICROS};

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Steps of the world.
    pub events: u64,
    /// Keys that masters were given.
    pub supplied: u64,
    /// The bits of these.
    pub supplied_bits: u64,
    /// Keys that might not take just any way.
    pub restricted: u64,
    /// Keys that slaves collected.
    pub collected: u64,
    /// Orders that were refused.
    pub refused: u64,
    /// Keys that the master of each pair was given, and orders of it that were refused, in the order of the load; empty in a sum of
    /// reports.
    pub of_pairs: Vec<[u64; 2]>,
    /// Orders that were not made since the node was down.
    pub node_was_down: u64,
    /// Orders that ended with the process of their node.
    pub cut_off: u64,
    /// Keys that were lost with the disk of the slave's node.
    pub lost_with_disk: u64,
    /// Requests for keys of others, or for keys that were collected before; all were refused.
    pub forbidden: u64,
    /// Keys that were relayed over trusted nodes.
    pub relayed: u64,
    /// Those of them that went in parts, over several paths.
    pub relayed_in_parts: u64,
    /// The hops of these.
    pub hops: u64,
    /// Relays that failed, by reason.
    pub not_relayed: BTreeMap<&'static str, u64>,
    /// Messages between nodes.
    pub messages: u64,
    /// Of which routers sent these,
    pub router_messages: u64,
    /// with so many octets.
    pub router_octets: u64,
    /// How often a router computed other routes than before.
    pub route_changes: u64,
    /// Messages that did not arrive.
    pub lost: u64,
    /// Messages that arrived twice.
    pub repeated: u64,
    /// Messages that were changed on the way.
    pub corrupted: u64,
    /// How often an engine noticed something that no conforming one does.
    pub misbehaviour: u64,
    /// Connections that broke, not by a crash.
    pub broken: u64,
    /// QKD links that failed for a while, not as planned.
    pub outages: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Those of them that lost their disk.
    pub disks_lost: u64,
    /// Disks that failed.
    pub disk_failures: u64,
    /// Clocks that were set.
    pub clock_steps: u64,
    /// Lies that a node on the way told about relays, by kind.
    pub lies: BTreeMap<&'static str, u64>,
    /// Keys and blocks that came to nothing after a lie about them.
    pub lies_noticed: u64,
    /// What it told routers falsely, or kept from them.
    pub advertised_falsely: u64,
    /// Where the bits of each link are in the end; empty in a sum of reports.
    pub links: Vec<LinkReport>,
}

impl AddAssign<Self> for Report {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.supplied += other.supplied;
        self.supplied_bits += other.supplied_bits;
        self.restricted += other.restricted;
        self.collected += other.collected;
        self.refused += other.refused;
        self.node_was_down += other.node_was_down;
        self.cut_off += other.cut_off;
        self.lost_with_disk += other.lost_with_disk;
        self.forbidden += other.forbidden;
        self.relayed += other.relayed;
        self.relayed_in_parts += other.relayed_in_parts;
        self.hops += other.hops;
        for (reason, number) in other.not_relayed {
            *self.not_relayed.entry(reason).or_default() += number;
        }
        self.messages += other.messages;
        self.router_messages += other.router_messages;
        self.router_octets += other.router_octets;
        self.route_changes += other.route_changes;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.corrupted += other.corrupted;
        self.misbehaviour += other.misbehaviour;
        self.broken += other.broken;
        self.outages += other.outages;
        self.crashes += other.crashes;
        self.disks_lost += other.disks_lost;
        self.disk_failures += other.disk_failures;
        self.clock_steps += other.clock_steps;
        for (kind, number) in other.lies {
            *self.lies.entry(kind).or_default() += number;
        }
        self.lies_noticed += other.lies_noticed;
        self.advertised_falsely += other.advertised_falsely;
        self.links.clear();
        self.of_pairs.clear();
    }
}

/// How it developed.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// When the samples were taken, in seconds.
    pub seconds: Vec<f64>,
    /// Of each link its name, and how many bits of link key both ends had ready.
    pub stored: Vec<(String, Vec<f64>)>,
    /// Keys of the watched pair that could have been given.
    pub ready: Vec<f64>,
    /// The cost of the route of the watched pair, where there was one.
    pub cost: Vec<f64>,
    /// When keys of the watched pair were relayed, in seconds, and over which nodes.
    pub relays: Vec<(f64, Vec<usize>)>,
    /// When the watched pair's first node chose a way for relays, and which.
    pub routes: Vec<(f64, Vec<usize>)>,
    /// Keys that masters had been given.
    pub supplied: Vec<f64>,
    /// Orders that had been refused.
    pub refused: Vec<f64>,
}

impl Samples {
    /// When another way than before was chosen for relays of the watched pair, in seconds.
    pub fn switches(&self) -> impl Iterator<Item = f64> {
        self.routes.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0)
    }

    pub(super) fn new(links: Vec<String>) -> Self {
        Self { stored: links.into_iter().map(|link| (link, Vec::new())).collect(), ..Self::default() }
    }

    pub(super) fn take(&mut self, now: u64, stored: &[u64], watched: Option<(usize, Option<f64>)>, report: &Report) {
        self.seconds.push(now as f64 / MICROS as f64);
        for ((_, series), &stored) in self.stored.iter_mut().zip(stored) {
            series.push(stored as f64);
        }
        if let Some((ready, cost)) = watched {
            self.ready.push(ready as f64);
            self.cost.push(cost.unwrap_or(0.0));
        }
        self.supplied.push(report.supplied as f64);
        self.refused.push(report.refused as f64);
    }
}
