//! How fast QKD links make key: one playback for each link of a network.
//!
//! A link plays a constant rate, or a **synthetic** trace (`qkd_link::synthetic`: not measured, and its header says so). A
//! failure is an override of that: [`Outage`] sets the rate of a link to zero for a while.

use std::time::Duration;

use qkd_link::rate::{Playback, RateSource, Skr, Speed};
use qkd_link::synthetic::{Class, ParameterError, Parameters};

use crate::random::Random;
use crate::topology::Topology;

/// The rate of a link is zero from one time to another, then what it would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Which link of the network.
    pub link: usize,
    /// Since when.
    pub from: Duration,
    /// Until when; `None` is for good.
    pub until: Option<Duration>,
}

/// The same constant rate on every link.
#[must_use]
pub fn constant(topology: &Topology, rate: Skr) -> Vec<Playback> {
    topology.links.iter().map(|_| Playback::new(RateSource::Constant(rate), Speed::REAL_TIME)).collect()
}

/// A synthetic trace for every link, each of a seed of its own. Long links are brought into the reach of the class by `scale`,
/// with which all lengths are multiplied; a link of unknown length counts as 50 km before that.
///
/// # Errors
/// [`ParameterError`] when a link is too long for the class even so.
pub fn synthetic(topology: &Topology, class: Class, scale: f64, hours: f64, seed: u64) -> Result<Vec<Playback>, ParameterError> {
    let mut seeds = Random::new(seed);
    let trace = |km: f64, seed| Parameters::new(class, km * scale, hours, seed).generate();
    let links = topology.links.iter().map(|link| trace(link.km.unwrap_or(50.0), seeds.number()));
    links.map(|trace| Ok(Playback::new(RateSource::Trace(trace?), Speed::REAL_TIME))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_rate_is_constant() {
        let ring = Topology::named("poliqi-ring-5").expect("comes with the program");
        let rates = constant(&ring, Skr::new(320.0).expect("a rate"));
        assert_eq!(rates.len(), 5);
        for rate in rates {
            assert!((rate.bits_between(Duration::from_secs(7), Duration::from_secs(17)) - 3_200.0).abs() < 1e-9);
        }
    }

    #[test]
    fn synthetic_rates_differ_from_link_to_link_and_follow_from_the_seed() {
        let germany = Topology::named("nobel-germany").expect("comes with the program");
        let day = Duration::from_secs(24 * 3_600);
        let bits = |seed| -> Vec<f64> {
            let rates = synthetic(&germany, Class::Slow, 0.2, 24.0, seed).expect("in reach");
            assert!(rates.iter().all(Playback::is_synthetic));
            rates.iter().map(|rate| rate.bits_between(Duration::ZERO, day)).collect()
        };
        assert_eq!(bits(1), bits(1));
        assert_ne!(bits(1), bits(2));
        let (shortest, longest) = (28.8, 293.8);
        let of = |km: f64| germany.links.iter().position(|link| link.km == Some(km)).expect("there");
        assert!(bits(1)[of(shortest)] > 5.0 * bits(1)[of(longest)]);
        assert!(synthetic(&germany, Class::Slow, 1.0, 1.0, 1).is_err(), "too long");
    }
}
