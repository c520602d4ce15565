//! Who there is, and with which settings.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use itu_y3803::{ApplicationId, KmId, LinkId};
use relay_core::{Config, LinkConfig};

use super::random::Random;

pub(super) const NODES: [&str; 3] = ["north", "south", "west"];
/// The last one is missing in some worlds: then north is the middle of a star.
const LINKS: [(&str, usize, usize); 4] = [("first", 0, 1), ("second", 0, 1), ("third", 0, 2), ("fourth", 1, 2)];
pub(super) const APPLICATIONS: [(&str, usize); 6] =
    [("red", 0), ("ruby", 0), ("blue", 1), ("green", 1), ("grey", 2), ("gold", 2)];

/// Which node serves which application.
pub(super) type Directory = BTreeMap<ApplicationId, usize>;

/// What is the same for all nodes of one world.
#[derive(Clone, Copy)]
pub(super) struct Network {
    /// South and west are neighbours.
    pub(super) triangle: bool,
    /// Keys live for seconds, so that they expire while the world lasts.
    pub(super) short: bool,
    /// Limits are low enough to be met.
    pub(super) tight: bool,
    pub(super) clock_skew: Duration,
    pub(super) collect_time: Duration,
    pub(super) give_up: Duration,
}

impl Network {
    pub(super) fn new(triangle: bool, short: bool, tight: bool) -> Self {
        let millis = Duration::from_millis;
        let (clock_skew, collect_time, give_up) = match short {
            true => (millis(300), millis(4_000), millis(600)),
            false => (millis(60_000), millis(3_600_000), millis(10_000)),
        };
        Self { triangle, short, tight, clock_skew, collect_time, give_up }
    }

    fn links(&self) -> &'static [(&'static str, usize, usize)] {
        if self.triangle { &LINKS } else { &LINKS[..3] }
    }

    pub(super) fn neighbours(&self, node: usize) -> Vec<usize> {
        (0..NODES.len()).filter(|&other| self.are_neighbours(node, other)).collect()
    }

    pub(super) fn are_neighbours(&self, node: usize, other: usize) -> bool {
        self.links().iter().any(|(_, a, b)| (*a, *b) == (node, other) || (*b, *a) == (node, other))
    }

    /// The settings of one node; `varied` ones differ from start to start.
    pub(super) fn config(&self, node: usize, directory: &Directory, varied: Option<&mut Random>) -> Config {
        let mut config = Config::new(km(node));
        let ends = |(id, a, b): &(&str, usize, usize)| {
            let peer = if *a == node {
                *b
            } else if *b == node {
                *a
            } else {
                return None;
            };
            Some(LinkConfig::new(LinkId::new(id).expect("valid"), km(peer)))
        };
        config.links = self.links().iter().filter_map(ends).collect();
        config.applications = directory.iter().map(|(id, node)| (id.clone(), km(*node))).collect();
        config.qkd_keys_per_link_key = 5;
        config.draw_limit = 17;
        (config.link_low, config.link_high) = (3, 6);
        (config.pool_low, config.pool_high, config.lease_octets) = (128, 256, 192);
        config.local_block_octets = 200;
        config.idle = Duration::from_secs(1);
        config.repeat = Duration::from_millis(250);
        config.join_within = Duration::from_secs(2);
        (config.clock_skew, config.collect_time, config.give_up) = (self.clock_skew, self.collect_time, self.give_up);
        if self.short {
            (config.block_life, config.link_key_life) = (Duration::from_secs(8), Duration::from_secs(6));
        }
        let Some(random) = varied else { return config };
        config.qkd_keys_per_link_key = 3 + random.below(4) as u32;
        config.pool_low = random.pick(&[32, 128, 256]);
        config.pool_high = config.pool_low + random.pick(&[0, 64, 256]);
        config.lease_octets = random.pick(&[1, 100, 192, 1_000]);
        config.local_block_octets = random.pick(&[48, 200, 333]);
        config.link_low = random.pick(&[1, 3]);
        if self.short {
            config.block_life = Duration::from_millis(random.pick(&[4_500, 6_000, 12_000]));
            config.link_key_life = Duration::from_millis(random.pick(&[2_000, 6_000]));
        }
        if self.tight {
            config.pool_limit = config.pool_high;
            config.max_pools = random.pick(&[2, 4]);
            config.max_pools_per_master = random.pick(&[1, 2, 3]);
            config.max_collectable = random.pick(&[400, 1_000, 3_000]);
            config.max_incoming = config.link_high;
        }
        config
    }
}

pub(super) fn first_directory() -> Directory {
    APPLICATIONS.iter().map(|(id, node)| (app(id), *node)).collect()
}

pub(super) fn km(node: usize) -> KmId {
    KmId::new(NODES[node]).expect("valid")
}

pub(super) fn node_index(km: &KmId) -> usize {
    NODES.iter().position(|id| *id == km.as_str()).expect("listed")
}

pub(super) fn app(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

pub(super) fn one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("at least one")
}
