#![allow(warnings)]
use std::time::Instant;
use itu_y3803::*; use kme::store::*; use relay_core::*;
fn key(n: u64, octets: usize) -> StoredKey {
    StoredKey::Outgoing(KmaKey { id: Incarnation::from_octets([1;8]).key_id(n), peer: KmId::new("south").unwrap(), link: LinkId::new("l").unwrap(),
      material: KeyMaterial::from_octets(vec![7; octets]).unwrap(), created: WallTime::from_millis(1), expires: WallTime::NEVER })
}
#[test]
fn bench() {
    let dir = std::path::Path::new("/work/main/target/tmp-store-bench");
    if std::env::var("REOPEN").is_ok() {
        let t = Instant::now(); let mut store = RedbStore::open(dir).unwrap(); println!("open after crash {} keys: {:?} {:?}", store.opened().keys, t.elapsed(), store.opened().erased);
        std::process::exit(0);
    }
    let _ = std::fs::remove_dir_all(dir);
    let mut store = RedbStore::open(dir).unwrap();
    let mut small = |store: &mut RedbStore, base: u64| {
      let t = Instant::now();
      for n in 0..300 { store.put(key(base + n, 1056)).unwrap(); store.commit().unwrap(); }
      println!("put+commit 1 KiB: {:?} each", t.elapsed() / 300);
      let t = Instant::now();
      for n in 0..300 { store.take(Pool::Outgoing, Incarnation::from_octets([1;8]).key_id(base + n)).unwrap().unwrap(); store.commit().unwrap(); }
      println!("take+commit: {:?} each", t.elapsed() / 300);
    };
    small(&mut store, 0);
    for n in 1000..100_000 { store.put(key(n, 1056)).unwrap(); if n % 1000 == 0 { store.commit().unwrap(); } }
    store.commit().unwrap();
    small(&mut store, 1_000_000);
    drop(store);
    let t = Instant::now(); let mut store = RedbStore::open(dir).unwrap(); println!("open and seal anew {} keys: {:?} {:?}", store.opened().keys, t.elapsed(), store.opened().erased);
    println!("file {} MiB", std::fs::metadata(dir.join("keys.redb")).unwrap().len() >> 20);
    small(&mut store, 1_000_000);
    std::process::exit(0);
}
