//! The link-state database: the newest advertisement of each originator, until it is too old.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use itu_y3803::{ApplicationId, KmId};

use crate::routing::lsa::{Lsa, Version};

/// An advertisement that was not refreshed for so long is dropped.
pub const MAX_AGE: Duration = Duration::from_secs(3_600);
/// New advertisements of one originator that are taken at once, before they are held to [`ARRIVAL`]: a link that fails just
/// after another change must not wait a second at each hop anew.
pub(super) const BURST: u32 = 4;
/// Least mean time between advertisements of one originator that are taken.
pub(super) const ARRIVAL: Duration = Duration::from_secs(1);

/// One advertisement, as it was authenticated.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) lsa: Arc<Lsa>,
    pub(super) octets: Arc<[u8]>,
    pub(super) tag: Arc<[u8]>,
    pub(super) fingerprint: u64,
    /// When it is too old. Ages are not authenticated; all they can do is to end it early, and then a neighbour has it still.
    pub(super) expires: Instant,
}

impl Entry {
    pub(super) fn new(lsa: Lsa, octets: Vec<u8>, tag: Vec<u8>, now: Instant, age: Duration) -> Self {
        let fingerprint = fingerprint(&octets);
        let expires = now + MAX_AGE.saturating_sub(age);
        Self { lsa: Arc::new(lsa), octets: octets.into(), tag: tag.into(), fingerprint, expires }
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        MAX_AGE.saturating_sub(self.expires.saturating_duration_since(now))
    }

    pub(super) fn header(&self) -> Header {
        Header { origin: self.lsa.origin.clone(), version: self.lsa.version, fingerprint: self.fingerprint }
    }
}

/// Names one advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) origin: KmId,
    pub(super) version: Version,
    pub(super) fingerprint: u64,
}

/// Buckets of the digest by which two databases are compared.
pub(super) const BUCKETS: usize = 256;

#[derive(Debug)]
pub(super) struct Database {
    entries: BTreeMap<KmId, Entry>,
    expiries: BTreeSet<(Instant, KmId)>,
    /// The newest seen of originators that are gone: against replay, and to be told to an originator that forgot it.
    floors: BTreeMap<KmId, Entry>,
    /// When the next advertisement of an originator would be on time, if they came evenly.
    arrivals: BTreeMap<KmId, Instant>,
    buckets: Box<[u64; BUCKETS]>,
    homes: BTreeMap<ApplicationId, BTreeSet<KmId>>,
    capacity: usize,
}

impl Database {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            expiries: BTreeSet::new(),
            floors: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            buckets: Box::new([0; BUCKETS]),
            homes: BTreeMap::new(),
            capacity,
        }
    }

    pub(super) fn get(&self, origin: &KmId) -> Option<&Entry> {
        self.entries.get(origin)
    }

    /// What the originator says now; nothing when it has withdrawn.
    pub(super) fn lsa(&self, origin: &KmId) -> Option<&Lsa> {
        self.get(origin).map(|entry| &*entry.lsa).filter(|lsa| !lsa.withdrawn)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// Whether this advertisement is newer than what is here: by version; of two with one version, which an originator makes
    /// that has lost its memory, by octets, so that all choose the same. Never by age, which can be forged.
    pub(super) fn compare(&self, origin: &KmId, version: Version, octets: &[u8]) -> Ordering {
        match self.get(origin) {
            Some(entry) => version.cmp(&entry.lsa.version).then_with(|| octets.cmp(&entry.octets)),
            None => match self.floors.get(origin) {
                Some(floor) if version < floor.lsa.version => Ordering::Less,
                _ => Ordering::Greater,
            },
        }
    }

    /// Whether one more advertisement of this originator may be taken now.
    pub(super) fn on_time(&mut self, origin: &KmId, now: Instant) -> bool {
        let next = self.arrivals.get(origin).copied().unwrap_or(now).max(now);
        if next > now + ARRIVAL * (BURST - 1) {
            return false;
        }
        self.arrivals.insert(origin.clone(), next + ARRIVAL);
        true
    }

    /// Puts an advertisement in the place of the former one, which is returned.
    pub(super) fn install(&mut self, entry: Entry) -> Option<Entry> {
        let origin = entry.lsa.origin.clone();
        let old = self.remove(&origin);
        self.floors.remove(&origin);
        self.buckets[bucket(&origin)] ^= entry.fingerprint;
        self.expiries.insert((entry.expires, origin.clone()));
        for application in &entry.lsa.applications {
            self.homes.entry(application.clone()).or_default().insert(origin.clone());
        }
        self.entries.insert(origin, entry);
        old
    }

    fn remove(&mut self, origin: &KmId) -> Option<Entry> {
        let entry = self.entries.remove(origin)?;
        self.buckets[bucket(origin)] ^= entry.fingerprint;
        self.expiries.remove(&(entry.expires, origin.clone()));
        for application in &entry.lsa.applications {
            if let Some(homes) = self.homes.get_mut(application) {
                homes.remove(origin);
                if homes.is_empty() {
                    self.homes.remove(application);
                }
            }
        }
        Some(entry)
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// Drops one advertisement that is too old. An older one than that is not taken again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<KmId> {
        let (_, origin) = self.expiries.first().filter(|(expires, _)| *expires <= now)?.clone();
        let entry = self.remove(&origin)?;
        self.arrivals.remove(&origin);
        self.set_floor(entry);
        Some(origin)
    }

    /// What was too old when it came, and newer than what is here: nothing older is taken any more.
    pub(super) fn outdate(&mut self, entry: Entry) {
        self.remove(&entry.lsa.origin);
        self.set_floor(entry);
    }

    fn set_floor(&mut self, entry: Entry) {
        if self.floors.len() >= self.capacity && !self.floors.contains_key(&entry.lsa.origin) {
            let oldest = self.floors.iter().min_by_key(|(_, floor)| floor.expires).map(|(origin, _)| origin.clone());
            oldest.and_then(|origin| self.floors.remove(&origin));
        }
        self.floors.insert(entry.lsa.origin.clone(), entry);
    }

    /// The last that was seen of an originator that is gone.
    pub(super) fn floor(&self, origin: &KmId) -> Option<&Entry> {
        self.floors.get(origin)
    }

    pub(super) fn digest(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    /// Advertisements in a bucket, by originator.
    pub(super) fn in_buckets(&self, wanted: impl Fn(usize) -> bool) -> BTreeMap<usize, Vec<Header>> {
        let mut buckets: BTreeMap<_, Vec<_>> = (0..BUCKETS).filter(|&bucket| wanted(bucket)).map(|b| (b, Vec::new())).collect();
        for (origin, entry) in &self.entries {
            if let Some(headers) = buckets.get_mut(&bucket(origin)) {
                headers.push(entry.header());
            }
        }
        buckets
    }

    pub(super) fn homes(&self, application: &ApplicationId) -> impl Iterator<Item = &KmId> {
        self.homes.get(application).into_iter().flatten()
    }
}

pub(super) fn bucket(origin: &KmId) -> usize {
    fingerprint(origin.as_str().as_bytes()) as usize % BUCKETS
}

/// Tells advertisements apart, and databases by the exclusive or of it. Not cryptographic: advertisements are authenticated,
/// and an originator that makes its own collide only keeps its own from being repaired.
pub(super) fn fingerprint(octets: &[u8]) -> u64 {
    let mut hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &octet| (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
