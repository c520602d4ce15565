//! The durable store: the suite, what is on disk, changes of the epoch key, and kills at any moment.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use itu_y3803::{Incarnation, KeyId, KeyMaterial, KmId, KmaKey, LinkId, WallTime};
use kme::store::{Options, RedbStore, StoreError};
use relay_core::{KeyStore, Pool, StoredKey, testing};

#[test]
fn the_suite_passes() {
    let base = tempfile::tempdir().expect("a folder");
    let mut number = 0;
    let fresh = || {
        number += 1;
        open(&base.path().join(number.to_string()))
    };
    testing::durable_store_suite(fresh, |store| {
        let folder = store.opened().folder.clone();
        drop(store);
        open(&folder)
    });
}

#[test]
fn what_is_not_committed_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    store.put(key(Pool::Outgoing, 1, 1)).expect("puts");
    store.commit().expect("commits");
    store.put(key(Pool::Outgoing, 2, 1)).expect("puts");
    assert!(store.take(Pool::Outgoing, id(1)).expect("takes").is_some());
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(store.opened().keys, 1);
    assert!(store.take(Pool::Outgoing, id(2)).expect("takes").is_none());
    assert!(store.take(Pool::Outgoing, id(1)).expect("takes").is_some());
}

#[test]
fn no_key_is_in_the_files_in_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    for number in 0..200 {
        store.put(key(Pool::Incoming, number, 1)).expect("puts");
    }
    store.save_notes(&PATTERN.repeat(20)).expect("saves");
    store.commit().expect("commits");
    for number in 0..100 {
        assert!(store.take(Pool::Incoming, id(number)).expect("takes").is_some());
    }
    store.commit().expect("commits");
    assert!(!contains(folder.path(), PATTERN), "while open");
    // That the search finds what is there: identifiers are not secret.
    assert!(contains(folder.path(), &id(150).octets()), "the search finds nothing");
    drop(store);
    assert!(!contains(folder.path(), PATTERN), "after it was closed");
    drop(open(folder.path()));
    assert!(!contains(folder.path(), PATTERN), "after it was opened again");
}

#[test]
fn only_the_owner_can_read_the_files() {
    let base = tempfile::tempdir().expect("a folder");
    let folder = base.path().join("store");
    let store = open(&folder);
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files = files(&folder);
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    drop(store);
}

#[test]
fn opening_changes_the_epoch_key_and_leaves_no_former_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut former: Vec<Vec<u8>> = Vec::new();
    for number in 0..3 {
        let mut store = open(folder.path());
        assert!(store.opened().erased);
        assert_eq!(store.opened().keys, number);
        store.put(key(Pool::Outgoing, number, 1)).expect("puts");
        store.save_notes(&number.to_be_bytes()).expect("saves");
        store.commit().expect("commits");
        drop(store);
        let (_, epoch_key) = epoch_key(folder.path());
        for key in &former {
            assert!(!contains(folder.path(), key), "a former epoch key is still there");
        }
        assert!(contains(folder.path(), &epoch_key));
        former.push(epoch_key);
    }
    let mut store = open(folder.path());
    assert_eq!(contents(&mut store).len(), 3);
    assert_eq!(store.notes().expect("reads").expect("are there")[..], 2_u64.to_be_bytes());
}

#[test]
fn a_large_store_keeps_its_epoch_key_and_works_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    store.put(key(Pool::Outgoing, 1, 1)).expect("puts");
    store.commit().expect("commits");
    drop(store);
    let before = epoch_key(folder.path());
    let mut options = Options::default();
    options.erase_limit_octets = 100;
    for number in 2..5 {
        let mut store = RedbStore::open_with(folder.path(), options).expect("opens");
        assert!(!store.opened().erased);
        store.put(key(Pool::Outgoing, number, 1)).expect("puts");
        store.commit().expect("commits");
    }
    assert_eq!(epoch_key(folder.path()), before);
    let mut store = open(folder.path());
    assert!(store.opened().erased);
    assert_eq!(contents(&mut store).len(), 4);
    assert_ne!(epoch_key(folder.path()), before);
}

#[test]
fn a_change_of_the_epoch_key_that_was_cut_short_does_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    store.put(key(Pool::Outgoing, 1, 1)).expect("puts");
    store.commit().expect("commits");
    drop(store);
    // Before the database was changed: a draft and the file of the next epoch. After it: the file of a former one.
    for left in ["epoch-2.draft", "epoch-2.key", "epoch-0.key"] {
        fs::write(folder.path().join(left), [7; 32]).expect("writes");
    }
    let mut store = open(folder.path());
    assert_eq!(contents(&mut store).len(), 1);
    assert_eq!(epoch_key(folder.path()).0, folder.path().join("epoch-2.key"));
    assert!(!contains(folder.path(), &[7; 32]));
}

#[test]
fn a_missing_or_wrong_epoch_key_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    let (path, octets) = epoch_key(folder.path());
    for wrong in [&[7; 32][..], &octets[..31], &[&octets[..], &[0]].concat()] {
        fs::write(&path, wrong).expect("writes");
        let error = RedbStore::open(folder.path()).expect_err("not the key");
        assert!(matches!(&error, StoreError::EpochKeyWrong { path: told } if *told == path), "{error}");
    }
    fs::remove_file(&path).expect("removes");
    let error = RedbStore::open(folder.path()).expect_err("no key");
    assert!(matches!(&error, StoreError::EpochKeyMissing { path: told } if *told == path), "{error}");
    fs::write(&path, octets).expect("writes");
    drop(open(folder.path()));
}

#[test]
fn a_second_opening_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    let error = RedbStore::open(folder.path()).expect_err("is open");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    store.put(key(Pool::Outgoing, 1, 1)).expect("puts");
    store.commit().expect("the first one is not disturbed");
}

#[test]
fn something_else_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("keys.redb"), b"this is no database").expect("writes");
    assert!(matches!(RedbStore::open(folder.path()), Err(StoreError::Database(_))));
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("writes");
    assert!(matches!(RedbStore::open(&file), Err(StoreError::File { path, .. }) if path == file));
}

#[test]
fn commits_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    let counters = store.counters();
    store.commit().expect("nothing to do");
    assert_eq!(counters.commits(), 0);
    store.put(key(Pool::Outgoing, 1, 1)).expect("puts");
    store.put(key(Pool::Outgoing, 2, 1)).expect("puts");
    store.commit().expect("commits");
    assert_eq!((counters.commits(), counters.changes(), counters.failures()), (1, 2, 0));
    assert!(counters.last_commit() > Duration::ZERO);
    assert_eq!(counters.total_commit(), counters.last_commit());
}

/// The test runs itself as a child, which puts and takes until it is killed. It tells each change before the commit, and the
/// commit after it; then the store holds what was committed, or that and all of the changes told since.
#[test]
fn nothing_is_lost_and_nothing_comes_back_when_killed() {
    const KILLS: u64 = 40;
    if let Ok(folder) = std::env::var(CHILD) {
        put_and_take_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Prng(1);
    let mut commits = 0;
    let mut before = HashMap::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["nothing_is_lost_and_nothing_comes_back_when_killed", "--exact", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let told = BufReader::new(child.stdout.take().expect("is piped"));
        let mut lines = told.lines().map_while(Result::ok);
        // Every other time it is killed while it opens the store, or before; else some time after its first commits.
        let mut heard = Vec::new();
        if kill % 2 == 0 {
            lines.find(|line| line.contains(OPENED)).expect("the child opens the store");
            for _ in 0..=random.next() % 4 {
                while heard.last().is_none_or(|line| line != COMMITTED) {
                    heard.push(lines.next().expect("the child goes on"));
                }
                heard.push(String::new());
            }
        }
        let reader = std::thread::spawn(move || {
            heard.extend(lines);
            heard
        });
        std::thread::sleep(Duration::from_micros(random.next() % 50_000));
        child.kill().expect("kills");
        child.wait().expect("ends");
        let mut committed = before;
        let mut now = committed.clone();
        for line in reader.join().expect("reads") {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["@put", number, version] => {
                    now.insert(number.parse().expect("a number"), version.parse().expect("a number"));
                }
                ["@take", number] => {
                    now.remove(&number.parse::<u64>().expect("a number")).expect("the child takes what is there");
                }
                [COMMITTED] => {
                    commits += 1;
                    committed.clone_from(&now);
                }
                // The last line may be cut off.
                _ => {}
            }
        }
        let mut store = open(folder.path());
        let found = contents(&mut store);
        assert!(found == committed || found == now, "{found:?} is neither {committed:?} nor {now:?}");
        before = found;
    }
    assert!(commits >= KILLS / 2, "commits were not heard of: {commits}");
}

const CHILD: &str = "KME_STORE_TEST_FOLDER";
const OPENED: &str = "@opened";
const COMMITTED: &str = "@committed";

fn put_and_take_for_ever(folder: &Path) -> ! {
    let mut store = open(folder);
    let mut now = contents(&mut store);
    let mut random = Prng(u64::from(std::process::id()));
    let mut out = std::io::stdout();
    writeln!(out, "\n{OPENED}").expect("the parent reads");
    loop {
        let mut told = String::new();
        for _ in 0..=random.next() % 8 {
            let number = random.next() % 40;
            if now.remove(&number).is_some() {
                assert!(store.take(Pool::Outgoing, id(number)).expect("takes").is_some());
                told += &format!("@take {number}\n");
            } else {
                let version = random.next();
                now.insert(number, version);
                store.put(key(Pool::Outgoing, number, version)).expect("puts");
                told += &format!("@put {number} {version}\n");
            }
        }
        out.write_all(told.as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
        store.commit().expect("commits");
        writeln!(out, "{COMMITTED}").and_then(|()| out.flush()).expect("the parent reads");
    }
}

const PATTERN: &[u8; 16] = b"a secret pattern";

fn open(folder: &Path) -> RedbStore {
    RedbStore::open(folder).expect("the store opens")
}

fn id(number: u64) -> KeyId {
    Incarnation::from_octets(*b"in clear").key_id(number)
}

/// A key that is recognised in files, with a version in it.
fn key(pool: Pool, number: u64, version: u64) -> StoredKey {
    let mut octets = PATTERN.repeat(4);
    octets.extend(version.to_be_bytes());
    let key = KmaKey {
        paths: itu_y3803::Paths::default(),
        id: id(number),
        peer: KmId::new("south").expect("valid"),
        link: LinkId::new("north-south").expect("valid"),
        material: KeyMaterial::from_octets(octets).expect("whole octets"),
        created: WallTime::from_millis(1),
        expires: WallTime::NEVER,
    };
    match pool {
        Pool::Incoming => StoredKey::Incoming(key),
        _ => StoredKey::Outgoing(key),
    }
}

/// The version of each key that is there, by its number.
fn contents(store: &mut RedbStore) -> HashMap<u64, u64> {
    let mut found = HashMap::new();
    store
        .visit(&mut |key| {
            let (StoredKey::Outgoing(key) | StoredKey::Incoming(key)) = key else { panic!("a key of another pool") };
            let version = key.material.expose_secret().last_chunk().expect("has a version");
            let former = found.insert(Incarnation::split(key.id).1, u64::from_be_bytes(*version));
            assert!(former.is_none(), "a key was shown twice");
        })
        .expect("reads");
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// The only file with an epoch key.
fn epoch_key(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut keys = files(folder);
    keys.retain(|path| !path.ends_with("keys.redb"));
    assert_eq!(keys.len(), 1, "{keys:?}");
    let path = keys.remove(0);
    let octets = fs::read(&path).expect("reads");
    (path, octets)
}

fn contains(folder: &Path, pattern: &[u8]) -> bool {
    let found = |file: PathBuf| fs::read(file).expect("reads").windows(pattern.len()).any(|window| window == pattern);
    files(folder).into_iter().any(found)
}

/// SplitMix64.
struct Prng(u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
