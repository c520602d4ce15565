//! The key stream of a link: keys that both ends share, each handed out once at either end.
//!
//! The stream has no clock and no generator of its own: every call takes the time since the link began, and those that may
//! make keys take a [`RandomSource`]. Times that go backwards count as standing still.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use itu_y3803::{KeyId, KeySize, QkdKey, RandomSource};
use serde::Serialize;

use crate::pattern::TestPattern;
use crate::rate::{Condition, Playback, Skr};

/// One of the two ends of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The end that sees new keys at once.
    A,
    /// The end that sees new keys after the lag.
    B,
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What a stream is made with.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// The size of every key.
    pub key_size: KeySize,
    /// How many undrawn keys the stream holds at most, and how many drawn ones it keeps for either end to collect.
    pub max_key_count: u32,
    /// How much later end B sees a new key than end A.
    pub lag_of_b: Duration,
    /// How long a drawn key is kept for the other end.
    pub collect_within: Duration,
    /// Makes recognisable keys instead of random ones. **For leak tests only.** Ignored when it does not fit the key size.
    pub test_pattern: Option<TestPattern>,
}

/// The stream. A key is made at the playback's rate, waits undrawn, is drawn by one end as its master (or never), is kept for
/// the other end, and is collected there by its identifier, or expires.
///
/// When [`max_key_count`](StreamConfig::max_key_count) keys wait undrawn, generation stops; its bits are lost.
#[derive(Debug)]
pub struct KeyStream {
    config: StreamConfig,
    playback: Playback,
    now: Duration,
    /// Bits that do not make up a key yet.
    pending_bits: f64,
    /// In the order in which they were made.
    undrawn: VecDeque<Made>,
    for_a: Awaiting,
    for_b: Awaiting,
    counters: Counters,
}

impl KeyStream {
    /// An empty stream at time 0.
    #[must_use]
    pub fn new(config: StreamConfig, playback: Playback) -> Self {
        Self {
            config,
            playback,
            now: Duration::ZERO,
            pending_bits: 0.0,
            undrawn: VecDeque::new(),
            for_a: Awaiting::default(),
            for_b: Awaiting::default(),
            counters: Counters::default(),
        }
    }

    /// What the stream was made with.
    #[must_use]
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Brings the stream to `now`: makes the keys that are due, and forgets those that were not collected in time.
    ///
    /// The other calls do this, too. Keys due at the same call are taken to have come evenly since the call before, so call
    /// this more often than the lag of end B is long.
    pub fn advance(&mut self, now: Duration, random: &mut dyn RandomSource) {
        if now > self.now {
            self.make_keys(now, random);
            self.now = now;
        }
        self.counters.expired += self.for_a.expire(self.now) + self.for_b.expire(self.now);
    }

    /// Draws `number` keys at `end` as their master: they leave the undrawn keys, and are kept for the other end to collect.
    ///
    /// # Errors
    /// [`DrawError`]; then no key was drawn.
    pub fn draw(
        &mut self,
        end: End,
        number: u32,
        now: Duration,
        random: &mut dyn RandomSource,
    ) -> Result<Vec<QkdKey>, DrawError> {
        self.advance(now, random);
        let stored = self.stored(end);
        if number > stored {
            return Err(DrawError::NotEnough { asked: number, stored });
        }
        let expires = self.now.saturating_add(self.config.collect_within);
        let max = self.config.max_key_count as usize;
        let awaiting = if end == End::A { &mut self.for_b } else { &mut self.for_a };
        if awaiting.keys.len() + number as usize > max {
            return Err(DrawError::PeerStoreFull);
        }
        let drawn = self.undrawn.drain(..number as usize).map(|made| {
            let key = QkdKey { id: made.key.id, material: made.key.material.duplicate() };
            awaiting.keep(made, expires);
            key
        });
        let drawn = drawn.collect();
        self.counters.drawn += u64::from(number);
        Ok(drawn)
    }

    /// Collects at `end` keys that the other end has drawn, in the order of `ids`; afterwards they are gone.
    ///
    /// # Errors
    /// [`CollectError`]; then no key was collected.
    pub fn collect(
        &mut self,
        end: End,
        ids: &[KeyId],
        now: Duration,
        random: &mut dyn RandomSource,
    ) -> Result<Vec<QkdKey>, CollectError> {
        self.advance(now, random);
        let lag = self.lag(end);
        let now = self.now;
        let (awaiting, drawn_here) = match end {
            End::A => (&mut self.for_a, &self.for_b),
            End::B => (&mut self.for_b, &self.for_a),
        };
        if ids.iter().any(|id| drawn_here.keys.contains_key(id)) {
            return Err(CollectError::DrawnHere);
        }
        let arrived = |id: &KeyId| awaiting.keys.get(id).is_some_and(|made| made.at.saturating_add(lag) <= now);
        let mut seen = HashSet::new();
        if !ids.iter().all(|id| seen.insert(*id) && arrived(id)) {
            return Err(CollectError::NotFound);
        }
        let collected: Vec<QkdKey> = ids.iter().filter_map(|id| awaiting.keys.remove(id)).map(|made| made.key).collect();
        self.counters.collected += collected.len() as u64;
        Ok(collected)
    }

    /// Sets a rate that holds from `now` on instead of the played one (0: the link fails), or goes back to that with `None`.
    pub fn set_rate(&mut self, rate: Option<Skr>, now: Duration, random: &mut dyn RandomSource) {
        self.advance(now, random);
        self.playback.set_override(rate);
    }

    /// How many keys an end could draw, as of the latest call.
    #[must_use]
    pub fn stored(&self, end: End) -> u32 {
        let lag = self.lag(end);
        let stored = self.undrawn.partition_point(|made| made.at.saturating_add(lag) <= self.now);
        u32::try_from(stored).unwrap_or(u32::MAX)
    }

    /// How many drawn keys wait to be collected at an end, as of the latest call.
    #[must_use]
    pub fn awaiting(&self, end: End) -> usize {
        match end {
            End::A => self.for_a.keys.len(),
            End::B => self.for_b.keys.len(),
        }
    }

    /// Keys made, drawn, collected and expired since the link began.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The condition of the link, as of the latest call.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.playback.condition(self.now)
    }

    /// What plays the rate.
    #[must_use]
    pub fn playback(&self) -> &Playback {
        &self.playback
    }

    /// The time of the latest call.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    fn lag(&self, end: End) -> Duration {
        match end {
            End::A => Duration::ZERO,
            End::B => self.config.lag_of_b,
        }
    }

    fn make_keys(&mut self, now: Duration, random: &mut dyn RandomSource) {
        let fresh_bits = self.playback.bits_between(self.now, now);
        let key_bits = f64::from(self.config.key_size.bits());
        let room = (self.config.max_key_count as usize).saturating_sub(self.undrawn.len());
        // The cast saturates; `room` bounds the number in any case.
        let due = ((self.pending_bits + fresh_bits) / key_bits) as usize;
        let number = due.min(room);
        for index in 1..=number {
            // When this key was complete, had the bits come evenly.
            let part = (index as f64 * key_bits - self.pending_bits) / fresh_bits;
            let at = self.now + (now - self.now).mul_f64(part.clamp(0.0, 1.0));
            let key = self.make_key(random);
            self.undrawn.push_back(Made { key, at: at.min(now) });
        }
        let full = number == room;
        self.pending_bits = if full { 0.0 } else { self.pending_bits + fresh_bits - number as f64 * key_bits };
    }

    fn make_key(&mut self, random: &mut dyn RandomSource) -> QkdKey {
        let number = self.counters.made;
        self.counters.made += 1;
        let size = self.config.key_size;
        let mut id = [0; 16];
        random.fill(&mut id);
        // The form of a random UUID, version 4.
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let pattern = self.config.test_pattern.as_ref().and_then(|pattern| pattern.key(number, size));
        let material = pattern.unwrap_or_else(|| itu_y3803::KeyMaterial::generate(size, random));
        QkdKey { id: KeyId::from_octets(id), material }
    }
}

/// How many keys went which way since the link began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Keys made.
    pub made: u64,
    /// Keys drawn, at either end.
    pub drawn: u64,
    /// Keys collected, at either end.
    pub collected: u64,
    /// Keys that were drawn and not collected in time.
    pub expired: u64,
}

/// Why no key could be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// There are too few undrawn keys.
    #[error("{asked} keys asked, {stored} stored")]
    NotEnough {
        /// How many keys were asked.
        asked: u32,
        /// How many this end could draw.
        stored: u32,
    },
    /// The other end has not collected as many keys as can be kept for it.
    #[error("too many drawn keys wait for the other end")]
    PeerStoreFull,
}

/// Why no key could be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A key was never drawn at the other end, was collected already, has expired, is named twice, or has not arrived at end B
    /// yet.
    #[error("one or more of the keys are not here to be collected")]
    NotFound,
    /// A key was drawn at this very end, and waits for the other one.
    #[error("one or more of the keys were drawn at this end")]
    DrawnHere,
}

#[derive(Debug)]
struct Made {
    key: QkdKey,
    at: Duration,
}

/// Drawn keys that one end has yet to collect.
#[derive(Debug, Default)]
struct Awaiting {
    keys: HashMap<KeyId, Made>,
    /// When each expires, in order; keys collected meanwhile may still be listed.
    expiries: VecDeque<(Duration, KeyId)>,
}

impl Awaiting {
    fn keep(&mut self, made: Made, expires: Duration) {
        if self.expiries.len() > 2 * self.keys.len() + 1024 {
            self.expiries.retain(|(_, id)| self.keys.contains_key(id));
        }
        self.expiries.push_back((expires, made.key.id));
        self.keys.insert(made.key.id, made);
    }

    /// Forgets what expires until `now`, and tells how many keys that were.
    fn expire(&mut self, now: Duration) -> u64 {
        let mut expired = 0;
        while self.expiries.front().is_some_and(|(expires, _)| *expires <= now) {
            let id = self.expiries.pop_front().map(|(_, id)| id);
            expired += u64::from(id.is_some_and(|id| self.keys.remove(&id).is_some()));
        }
        expired
    }
}
