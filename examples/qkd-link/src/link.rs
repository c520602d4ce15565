//! A running link: the key stream with a clock and a random generator, shared by both ends and the control.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use itu_y3803::{KeyId, QkdKey};
use serde::Serialize;

use crate::random::{NoRandomness, OsRandom};
use crate::rate::{Playback, Skr};
use crate::stream::{CollectError, Counters, DrawError, End, KeyStream, StreamConfig};

/// A link in operation. Its time begins when it is made.
#[derive(Debug)]
pub struct Link {
    begun: Instant,
    inner: Mutex<Inner>,
}

impl Link {
    /// Starts an empty link.
    ///
    /// # Errors
    /// [`NoRandomness`] when the operating system gives no random octets.
    pub fn start(config: StreamConfig, playback: Playback) -> Result<Self, NoRandomness> {
        let inner = Inner { stream: KeyStream::new(config, playback), random: OsRandom::new()? };
        Ok(Self { begun: Instant::now(), inner: Mutex::new(inner) })
    }

    /// See [`KeyStream::advance`]; to be called now and then.
    pub fn tick(&self) {
        drop(self.locked());
    }

    /// See [`KeyStream::draw`].
    ///
    /// # Errors
    /// [`DrawError`]; then no key was drawn.
    pub fn draw(&self, end: End, number: u32) -> Result<Vec<QkdKey>, DrawError> {
        let Inner { stream, random } = &mut *self.locked();
        stream.draw(end, number, stream.now(), random)
    }

    /// See [`KeyStream::collect`].
    ///
    /// # Errors
    /// [`CollectError`]; then no key was collected.
    pub fn collect(&self, end: End, ids: &[KeyId]) -> Result<Vec<QkdKey>, CollectError> {
        let Inner { stream, random } = &mut *self.locked();
        stream.collect(end, ids, stream.now(), random)
    }

    /// How many keys an end could draw now.
    #[must_use]
    pub fn stored(&self, end: End) -> u32 {
        self.locked().stream.stored(end)
    }

    /// Sets a rate instead of the played one, or goes back to that with `None`.
    pub fn set_rate(&self, rate: Option<Skr>) {
        let Inner { stream, random } = &mut *self.locked();
        stream.set_rate(rate, stream.now(), random);
    }

    /// What the link is doing now.
    #[must_use]
    pub fn report(&self) -> LinkReport {
        let inner = self.locked();
        let stream = &inner.stream;
        let condition = stream.condition();
        let playback = stream.playback();
        let speed = playback.speed().factor();
        LinkReport {
            skr_bps: condition.skr,
            delivered_bps: condition.skr.bps() * speed,
            state: condition.state.as_str(),
            qber: condition.qber,
            overridden: playback.overridden().is_some(),
            synthetic: playback.is_synthetic(),
            test_pattern: stream.config().test_pattern.is_some(),
            speed,
            elapsed_s: stream.now().as_secs_f64(),
            key_size: stream.config().key_size.bits(),
            max_key_count: stream.config().max_key_count,
            stored: PerEnd { a: stream.stored(End::A), b: stream.stored(End::B) },
            awaiting: PerEnd { a: stream.awaiting(End::A), b: stream.awaiting(End::B) },
            keys: stream.counters(),
        }
    }

    /// The stream, brought to the present.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        // A panic in here means that randomness has failed: then no further key may leave.
        let mut inner = self.inner.lock().expect("no call panics while it holds the stream");
        let Inner { stream, random } = &mut *inner;
        stream.advance(self.begun.elapsed(), random);
        inner
    }
}

/// What a link is doing, as the control tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkReport {
    /// The rate in bits per second, before the speed is applied.
    pub skr_bps: Skr,
    /// The rate in bits per second of real time: `skr_bps` times the speed.
    pub delivered_bps: f64,
    /// `GOOD`, `DEGRADED` or `DEAD`.
    pub state: &'static str,
    /// The quantum bit error rate as a fraction of 1, where the trace tells it.
    pub qber: Option<f64>,
    /// Whether the rate was set by hand.
    pub overridden: bool,
    /// Whether the rate comes from a trace that calls itself synthetic.
    pub synthetic: bool,
    /// Whether the keys are a recognisable pattern, hence not secret.
    pub test_pattern: bool,
    /// How much faster than real time the link runs.
    pub speed: f64,
    /// Real time since the link began, in seconds.
    pub elapsed_s: f64,
    /// The size of a key in bits.
    pub key_size: u32,
    /// The most undrawn keys the link holds.
    pub max_key_count: u32,
    /// How many keys each end could draw.
    pub stored: PerEnd<u32>,
    /// How many drawn keys wait to be collected at each end.
    pub awaiting: PerEnd<usize>,
    /// Keys since the link began.
    pub keys: Counters,
}

/// One value for each end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PerEnd<T> {
    /// At end A.
    pub a: T,
    /// At end B.
    pub b: T,
}

#[derive(Debug)]
struct Inner {
    stream: KeyStream,
    random: OsRandom,
}
