//! A QKD link: one stream of keys that both its ends draw from, at the rate that is played, and the ledger of them.

use std::time::Duration;

use itu_y3803::{KeyId, KeySize, LinkId, QkdKey};
use qkd_link::rate::{Playback, Skr};
use qkd_link::stream::{End, KeyStream, StreamConfig};

use super::ledger::{Bits, Ledger};
use crate::random::Random;
use crate::topology;

/// The size of the keys that modules deliver.
pub(super) const QKD_KEY: KeySize = KeySize::BITS_256;
/// How much of a second's use goes into the mean.
const SMOOTHING: f64 = 0.1;
/// What a module holds undrawn.
const MODULE_KEYS: u32 = 4_096;

pub(super) struct Link {
    pub(super) ends: [usize; 2],
    pub(super) id: LinkId,
    /// How long a message takes, in microseconds.
    pub(super) delay: u64,
    stream: KeyStream,
    random: Random,
    pub(super) ledger: Ledger,
    /// Bits that had been used a second ago, and the smoothed rate of use.
    used: u64,
    consumption: f64,
}

impl Link {
    pub(super) fn new(link: &topology::Link, name: &str, playback: Playback, random: Random) -> Self {
        let config = StreamConfig {
            key_size: QKD_KEY,
            max_key_count: MODULE_KEYS,
            lag_of_b: Duration::ZERO,
            collect_within: Duration::from_secs(3_600),
            test_pattern: None,
        };
        Self {
            ends: link.ends,
            id: LinkId::new(name).expect("names of nodes are short"),
            // Light in fibre takes 5 us for a kilometre; a millisecond for the machines.
            delay: 1_000 + (5.0 * link.km.unwrap_or(50.0)) as u64,
            stream: KeyStream::new(config, playback),
            random,
            ledger: Ledger::default(),
            used: 0,
            consumption: 0.0,
        }
    }

    /// As many keys as there are, up to `most`, for this node to use as it decides; in whole groups of `per_link_key`, since what is
    /// less would wait in the memory of one node, and is there for either end as long as it stays here.
    pub(super) fn draw(&mut self, node: usize, most: u32, per_link_key: u32, now: Duration) -> Vec<QkdKey> {
        self.stream.advance(now, &mut self.random);
        let end = self.end(node);
        let number = most.min(self.stream.stored(end)) / per_link_key * per_link_key;
        let keys = self.stream.draw(end, number, now, &mut self.random).unwrap_or_default();
        self.ledger.drawn(node, keys.iter().map(|key| key.id));
        keys
    }

    /// The keys that the other end drew; none when some of them are not there.
    pub(super) fn fetch(&mut self, node: usize, keys: &[KeyId], now: Duration) -> Vec<QkdKey> {
        let end = self.end(node);
        self.stream.collect(end, keys, now, &mut self.random).unwrap_or_default()
    }

    /// Another rate from now on, or the one that is played.
    pub(super) fn set_rate(&mut self, rate: Option<Skr>, now: Duration) {
        self.stream.set_rate(rate, now, &mut self.random);
    }

    /// What the modules tell of their rate, in bit/s.
    pub(super) fn rate(&mut self, now: Duration) -> u64 {
        self.stream.advance(now, &mut self.random);
        self.stream.condition().skr.bps() as u64
    }

    /// Called once a second: what was used since goes into the smoothed rate of use.
    pub(super) fn observe_use(&mut self) {
        let bits = self.ledger.bits(QKD_KEY.bits().into());
        // A pad that was set aside and came back was not used after all.
        let used = bits.total() - bits.waiting - bits.stored;
        self.consumption += SMOOTHING * (used as f64 - self.used as f64 - self.consumption);
        self.used = used;
    }

    /// The smoothed rate of use, in bit/s.
    pub(super) fn consumption(&self) -> u64 {
        self.consumption as u64
    }

    pub(super) fn report(&mut self, now: Duration) -> LinkReport {
        self.stream.advance(now, &mut self.random);
        let bits = u64::from(QKD_KEY.bits());
        let counters = self.stream.counters();
        LinkReport {
            made: counters.made * bits,
            undrawn: u64::from(self.stream.stored(End::A)) * bits,
            drawn: counters.drawn * bits,
            bits: self.ledger.bits(bits),
        }
    }

    fn end(&self, node: usize) -> End {
        if self.ends[0] == node { End::A } else { End::B }
    }
}

/// Where the bits of a link are.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkReport {
    /// Made by the modules, as they count.
    pub made: u64,
    /// Still in the modules.
    pub undrawn: u64,
    /// Drawn by either end, as the modules count.
    pub drawn: u64,
    /// What became of these, by the ledger.
    pub bits: Bits,
}
