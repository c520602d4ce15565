//! Which parties get key ahead of their first request.

use itu_y3803::Parties;

use crate::config::Config;

/// Beyond so many pairs of SAEs, key is held only for those that ask.
const MAX_PAIRS: usize = 64;

/// Every SAE of this KME as master, with every other SAE as its one slave; none if those are too many.
#[must_use]
pub fn pairs(config: &Config) -> Vec<Parties> {
    let masters: Vec<_> = config.saes.iter().filter(|sae| sae.kme == config.kme.km).collect();
    if masters.len() * config.saes.len() > MAX_PAIRS {
        return Vec::new();
    }
    let pair = |master: &crate::config::Sae, slave: &crate::config::Sae| {
        (master.id != slave.id).then(|| Parties::new(master.application.clone(), vec![slave.application.clone()])).flatten()
    };
    masters.iter().flat_map(|master| config.saes.iter().filter_map(|slave| pair(master, slave))).collect()
}
