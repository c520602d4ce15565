//! What all scenarios have in common: a network of equal links under equal demand of all pairs, with key in portions that waste
//! little.
//!
//! Rates are in bit/s of secret key; [`LINK_RATE`] is that of every link, and demand is given in parts of what the network could
//! give at the most ([`optimum`](crate::optimum)).

use std::time::Duration;

use itu_y3803::KeySize;
use qkd_link::rate::Skr;

use crate::rates;
use crate::topology::{Cut, Topology};
use crate::world::{Load, Settings, World};

/// What every link makes, in bit/s.
pub const LINK_RATE: f64 = 100_000.0;
/// The size of keys that applications ask for, in bits: eight fill a block of relayed key.
pub const KEY_BITS: u32 = 4_032;
/// When applications begin to ask: pools of a network like Nobel-Germany are full by then.
pub const FILLED: Duration = Duration::from_secs(240);

/// The pairs that are left after a cut, in both directions, which ask for this rate each (in bit/s, both directions together).
#[must_use]
pub fn demand(topology: &Topology, cut: Cut, rate: f64) -> Load {
    let mut load = Load::between_all(topology, rate / 2.0 / f64::from(KEY_BITS));
    let left: Vec<usize> = topology.nodes_after(cut).collect();
    load.pairs.retain(|(a, b)| left.contains(a) && left.contains(b));
    load.size = KeySize::from_bits(KEY_BITS).expect("not zero");
    load
}

/// Settings for such a network: 129 QKD keys to a link key, so that tags are some hundredths of what is used.
#[must_use]
pub fn settings(seed: u64, load: Load, until: Duration) -> Settings {
    let mut settings = Settings::new(seed, load);
    let config = &mut settings.key_manager;
    (config.qkd_keys_per_link_key, config.draw_limit) = (129, 258);
    (config.link_low, config.link_high, config.link_floor) = (10, 12, 1);
    (config.pool_low, config.pool_high, config.pool_limit) = (4_032, 8_064, 64 << 10);
    (config.relay_low, config.relay_high, config.relays_at_once) = (2, 3, 2);
    settings.load_starts = FILLED;
    settings.load_ends = until;
    settings
}

/// The world of these settings, on links of [`LINK_RATE`].
///
/// # Panics
/// Never: the rate is one.
#[must_use]
pub fn world(topology: &Topology, settings: Settings) -> World {
    World::new(topology, rates::constant(topology, Skr::new(LINK_RATE).expect("a rate")), settings)
}
