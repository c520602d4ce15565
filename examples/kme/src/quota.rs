//! What one SAE may ask for in a time: no SAE starves the others (Y3803-11.1-03).

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::config::Quota;

/// The account of one SAE.
#[derive(Debug)]
pub struct Account {
    requests: Option<Mutex<Bucket>>,
    keys: Option<Mutex<Bucket>>,
}

impl Account {
    /// A full account.
    #[must_use]
    pub fn new(quota: &Quota, now: Instant) -> Self {
        let bucket = |rate: Option<f64>| rate.map(|rate| Mutex::new(Bucket::new(rate, quota.burst_seconds, now)));
        Self { requests: bucket(quota.requests_per_second), keys: bucket(quota.keys_per_second) }
    }

    /// Whether a request may be made now.
    pub fn request(&self, now: Instant) -> bool {
        take(self.requests.as_ref(), 1, now)
    }

    /// Whether so many keys may be asked for now. They count also when there are too few: link key is spent on trying.
    pub fn keys(&self, number: u32, now: Instant) -> bool {
        take(self.keys.as_ref(), number, now)
    }
}

fn take(bucket: Option<&Mutex<Bucket>>, number: u32, now: Instant) -> bool {
    bucket.is_none_or(|bucket| bucket.lock().unwrap_or_else(PoisonError::into_inner).take(number, now))
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: f64, burst_seconds: f64, now: Instant) -> Self {
        let capacity = capacity(rate, burst_seconds);
        Self { rate, capacity, level: capacity, at: now }
    }

    fn take(&mut self, number: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.rate).min(self.capacity);
        self.at = now;
        let enough = self.level >= f64::from(number);
        if enough {
            self.level -= f64::from(number);
        }
        enough
    }
}

/// The most that can be had at once.
pub(crate) fn capacity(rate: f64, burst_seconds: f64) -> f64 {
    // Less than one would never let anything through.
    (rate * burst_seconds).max(1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let start = Instant::now();
        let quota = Quota { requests_per_second: Some(10.0), keys_per_second: Some(2.0), burst_seconds: 2.0 };
        let account = Account::new(&quota, start);
        assert_eq!((0..30).filter(|_| account.request(start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..30).filter(|_| account.request(later)).count(), 5);
        assert!(account.keys(4, start) && !account.keys(1, start));
        assert!(!account.keys(5, start + Duration::from_secs(3600)), "more than a burst never passes");
    }

    #[test]
    fn without_quota_everything_passes() {
        let start = Instant::now();
        let account = Account::new(&Quota { requests_per_second: None, keys_per_second: None, burst_seconds: 1.0 }, start);
        assert!((0..1000).all(|_| account.request(start) && account.keys(u32::MAX, start)));
    }
}
