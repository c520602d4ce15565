//! The tests that every [`KeyStore`] must pass, for whoever writes one.
//!
//! ```
//! use relay_core::{MemoryStore, testing};
//!
//! testing::store_suite(MemoryStore::default);
//! ```
//!
//! A store that outlives its process runs [`durable_store_suite`], which needs to know how to open the same data again.
//! What no test within one process can show is left to the store's own tests: that a commit survives the loss of power,
//! and that no key is readable in its files.

use std::collections::HashMap;
use std::sync::Arc;

use itu_y3803::{
    ApplicationId, Incarnation, KeyId, KeyMaterial, KeySize, KmId, KmaKey, LinkId, Parties, RandomSource, SecrecyLabel, WallTime,
};
use zeroize::Zeroizing;

use crate::block::{BlockInfo, CollectBlock, SupplyBlock};
use crate::store::{KeyStore, Pool, StoredKey};

/// Runs every test that does not need the store opened again. `fresh` makes an empty store each time it is called.
///
/// # Panics
/// When the store does not do what [`KeyStore`] asks; the message says what.
pub fn store_suite<S: KeyStore>(mut fresh: impl FnMut() -> S) {
    let fresh = &mut fresh;
    a_new_store_is_empty(fresh());
    a_key_is_taken_once(fresh());
    a_key_is_replaced(fresh());
    pools_are_separate(fresh());
    notes_are_replaced(fresh());
    many_keys(fresh());
    for seed in 1..=RANDOM_RUNS {
        random_operations(seed, fresh(), &mut |store| store, false);
    }
}

/// Runs [`store_suite`] and the tests of durability. `reopen` ends a store as a crash would, without a commit, and opens
/// the same data again.
///
/// # Panics
/// When the store does not do what [`KeyStore`] asks; the message says what.
pub fn durable_store_suite<S: KeyStore>(mut fresh: impl FnMut() -> S, mut reopen: impl FnMut(S) -> S) {
    let (fresh, reopen) = (&mut fresh, &mut reopen);
    store_suite(&mut *fresh);
    what_is_committed_stays(fresh(), reopen);
    a_taken_key_stays_away(fresh(), reopen);
    a_crash_undoes_all_or_nothing(fresh(), reopen);
    for seed in 1..=RANDOM_RUNS {
        random_operations(seed, fresh(), reopen, true);
    }
}

const RANDOM_RUNS: u64 = 6;
const RANDOM_STEPS: usize = 300;

fn a_new_store_is_empty<S: KeyStore>(mut store: S) {
    assert!(contents(&mut store) == Contents::default(), "a new store is not empty");
    for pool in Pool::ALL {
        assert!(take(&mut store, pool, id(1)).is_none(), "a key was taken from an empty pool");
    }
    commit(&mut store);
}

fn a_key_is_taken_once<S: KeyStore>(mut store: S) {
    for commits in [false, true] {
        for pool in Pool::ALL {
            let key = sample(pool, id(1), 1);
            let octets = key.to_octets();
            put(&mut store, key);
            if commits {
                commit(&mut store);
            }
            let taken = take(&mut store, pool, id(1)).expect("a key that was put is there");
            assert!((taken.pool(), taken.id()) == (pool, id(1)), "another key was taken");
            assert!(taken.to_octets() == octets, "the key taken is not as it was put");
            assert!(take(&mut store, pool, id(1)).is_none(), "a key was taken twice before a commit");
            if commits {
                commit(&mut store);
            }
            assert!(take(&mut store, pool, id(1)).is_none(), "a key was taken twice");
        }
    }
    assert!(contents(&mut store) == Contents::default(), "a key that was taken is shown");
    put(&mut store, sample(Pool::Supply, id(1), 2));
    assert!(take(&mut store, Pool::Supply, id(1)).is_some(), "a key that was put back is not there");
}

fn a_key_is_replaced<S: KeyStore>(mut store: S) {
    for pool in Pool::ALL {
        for version in 1..=3 {
            put(&mut store, sample(pool, id(7), version));
            if version == 2 {
                commit(&mut store);
            }
        }
        let taken = take(&mut store, pool, id(7)).expect("a key that was put is there");
        assert!(taken.to_octets() == sample(pool, id(7), 3).to_octets(), "the key is not the last one that was put");
        assert!(take(&mut store, pool, id(7)).is_none(), "a former version of a key was taken");
    }
}

fn pools_are_separate<S: KeyStore>(mut store: S) {
    for pool in Pool::ALL {
        put(&mut store, sample(pool, id(1), u64::from(pool.number())));
    }
    assert!(take(&mut store, Pool::Incoming, id(1)).is_some(), "a key that was put is not there");
    let left = contents(&mut store);
    for pool in [Pool::Outgoing, Pool::Supply, Pool::Collect] {
        let wanted = sample(pool, id(1), u64::from(pool.number())).to_octets();
        assert!(left.keys.get(&(pool, id(1))) == Some(&wanted), "taking a key changed another pool");
    }
    assert!(left.keys.len() == 3, "taking a key left it in its pool");
}

fn notes_are_replaced<S: KeyStore>(mut store: S) {
    for notes in [&b"first"[..], &[0; 100_000], b""] {
        save_notes(&mut store, notes);
        assert!(contents(&mut store).notes.is_some_and(|found| *found == notes), "notes are not as saved, before the commit");
        commit(&mut store);
        assert!(contents(&mut store).notes.is_some_and(|found| *found == notes), "notes are not as saved");
    }
}

fn many_keys<S: KeyStore>(mut store: S) {
    const KEYS: u64 = 4000;
    for number in 0..KEYS {
        put(&mut store, sample(Pool::ALL[number as usize % 4], id(number), number));
        if number % 1000 == 999 {
            commit(&mut store);
        }
    }
    assert!(contents(&mut store).keys.len() == KEYS as usize, "keys are missing");
    for number in (0..KEYS).step_by(2) {
        let pool = Pool::ALL[number as usize % 4];
        let taken = take(&mut store, pool, id(number)).expect("a key that was put is there");
        assert!(taken.to_octets() == sample(pool, id(number), number).to_octets(), "the key taken is not as it was put");
    }
    commit(&mut store);
    let left = contents(&mut store);
    assert!(left.keys.len() == KEYS as usize / 2, "the number of keys left is wrong");
    assert!(left.keys.keys().all(|(_, id)| Incarnation::split(*id).1 % 2 == 1), "a key that was taken is shown");
}

fn what_is_committed_stays<S: KeyStore>(mut store: S, reopen: &mut impl FnMut(S) -> S) {
    store = reopen(store);
    assert!(contents(&mut store) == Contents::default(), "a new store is not empty after it was opened again");
    for pool in Pool::ALL {
        for number in 0..20 {
            put(&mut store, sample(pool, id(number), number));
        }
    }
    save_notes(&mut store, b"notes");
    commit(&mut store);
    let wanted = contents(&mut store);
    for _ in 0..3 {
        store = reopen(store);
        assert!(contents(&mut store) == wanted, "what was committed is not there after the store was opened again");
    }
}

fn a_taken_key_stays_away<S: KeyStore>(mut store: S, reopen: &mut impl FnMut(S) -> S) {
    for pool in Pool::ALL {
        put(&mut store, sample(pool, id(1), 1));
    }
    commit(&mut store);
    store = reopen(store);
    for pool in Pool::ALL {
        assert!(take(&mut store, pool, id(1)).is_some(), "a key that was committed is not there");
        commit(&mut store);
        store = reopen(store);
        assert!(take(&mut store, pool, id(1)).is_none(), "a key came back after it was taken");
    }
}

fn a_crash_undoes_all_or_nothing<S: KeyStore>(mut store: S, reopen: &mut impl FnMut(S) -> S) {
    for number in 0..10 {
        put(&mut store, sample(Pool::Outgoing, id(number), number));
    }
    save_notes(&mut store, b"before");
    commit(&mut store);
    let before = contents(&mut store);
    for number in 0..5 {
        assert!(take(&mut store, Pool::Outgoing, id(number)).is_some(), "a key that was committed is not there");
        put(&mut store, sample(Pool::Supply, id(number), number));
    }
    put(&mut store, sample(Pool::Outgoing, id(9), 99));
    save_notes(&mut store, b"after");
    let after = contents(&mut store);
    store = reopen(store);
    let found = contents(&mut store);
    assert!(found == before || found == after, "a crash undid a part of what was not committed");
}

/// Compares the store with a map, step by step; with `crashes`, the store is opened again now and then.
fn random_operations<S: KeyStore>(seed: u64, mut store: S, reopen: &mut dyn FnMut(S) -> S, crashes: bool) {
    let mut random = Prng(seed);
    let (mut now, mut committed) = (Contents::default(), Contents::default());
    for step in 0..RANDOM_STEPS {
        // Few identifiers, so that most are met again.
        let (pool, id) = (Pool::ALL[random.below(4)], id(random.below(12) as u64));
        match random.below(32) {
            0..12 => {
                let key = sample(pool, id, random.next());
                now.keys.insert((pool, id), key.to_octets());
                put(&mut store, key);
            }
            12..24 => {
                let taken = take(&mut store, pool, id).map(|key| key.to_octets());
                assert!(taken == now.keys.remove(&(pool, id)), "seed {seed}, step {step}: take");
            }
            24 => {
                let notes = random.next().to_be_bytes();
                now.notes = Some(Zeroizing::new(notes.to_vec()));
                save_notes(&mut store, &notes);
            }
            25..29 => {
                commit(&mut store);
                committed = now.clone();
            }
            29 if crashes => {
                store = reopen(store);
                let found = contents(&mut store);
                assert!(found == committed || found == now, "seed {seed}, step {step}: after a crash");
                (now, committed) = (found.clone(), found);
            }
            _ => assert!(contents(&mut store) == now, "seed {seed}, step {step}: visit"),
        }
    }
}

/// All that a store shows.
#[derive(Clone, Default, PartialEq)]
struct Contents {
    keys: HashMap<(Pool, KeyId), Zeroizing<Vec<u8>>>,
    notes: Option<Zeroizing<Vec<u8>>>,
}

fn contents<S: KeyStore>(store: &mut S) -> Contents {
    let mut found = Contents::default();
    store
        .visit(&mut |key| {
            let former = found.keys.insert((key.pool(), key.id()), key.to_octets());
            assert!(former.is_none(), "a key was shown twice");
        })
        .expect("the store can be read");
    found.notes = store.notes().expect("the notes can be read");
    found
}

fn put<S: KeyStore>(store: &mut S, key: StoredKey) {
    store.put(key).expect("the store can be written");
}

fn take<S: KeyStore>(store: &mut S, pool: Pool, id: KeyId) -> Option<StoredKey> {
    store.take(pool, id).expect("the store can be read and written")
}

fn save_notes<S: KeyStore>(store: &mut S, notes: &[u8]) {
    store.save_notes(notes).expect("the store can be written");
}

fn commit<S: KeyStore>(store: &mut S) {
    store.commit().expect("the store can be written");
}

fn id(number: u64) -> KeyId {
    Incarnation::from_octets(*b"a suite.").key_id(number)
}

/// A key whose octets, size and labels follow from `version`.
fn sample(pool: Pool, id: KeyId, version: u64) -> StoredKey {
    let mut random = Prng(version.wrapping_mul(4).wrapping_add(u64::from(pool.number())));
    let octets = [1, 16, 31, 32, 33, 1024][random.below(6)];
    let size = KeySize::from_octets(octets).expect("not zero");
    let material = KeyMaterial::generate(size, &mut random);
    let (created, expires) = (WallTime::from_millis(random.next()), WallTime::from_millis(random.next()));
    let kma_key = |material| KmaKey {
        paths: itu_y3803::Paths::default(),
        id,
        peer: KmId::new("south").expect("valid"),
        link: LinkId::new("north-south").expect("valid"),
        material,
        created,
        expires,
    };
    let info = |slaves: &[&str]| BlockInfo {
        paths: itu_y3803::Paths::default(),
        id,
        parties: Arc::new(Parties::new(application("red"), slaves.iter().copied().map(application).collect()).expect("distinct")),
        label: SecrecyLabel::ALL[(version % 4) as usize],
        created,
        expires,
    };
    match pool {
        Pool::Outgoing => StoredKey::Outgoing(kma_key(material)),
        Pool::Incoming => StoredKey::Incoming(kma_key(material)),
        Pool::Supply => {
            let mut block = SupplyBlock::new(info(&["blue"]), vec![KmId::new("south").expect("valid")], material);
            block.next = random.below(octets + 1);
            StoredKey::Supply(block)
        }
        Pool::Collect => {
            let mut block = CollectBlock::new(info(&["blue", "green"]), [7; 16], material);
            block.collected.0.iter_mut().flatten().for_each(|octet| *octet = random.next() as u8);
            StoredKey::Collect(block)
        }
    }
}

fn application(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

/// SplitMix64: the same numbers on every run.
struct Prng(u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl RandomSource for Prng {
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            *octet = self.next() as u8;
        }
    }
}
