//! The store suite, run against the store of this crate, and against stores with one fault each that it must find.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use itu_y3803::KeyId;
use relay_core::{KeyStore, MemoryStore, Pool, StoredKey, testing};
use zeroize::Zeroizing;

#[test]
fn the_memory_store_passes() {
    testing::store_suite(MemoryStore::default);
}

#[test]
fn a_durable_store_passes() {
    run(Fault::None).expect("no fault");
}

#[test]
fn each_fault_is_found() {
    for fault in Fault::ALL {
        assert!(run(fault).is_err(), "{fault:?} was not found");
    }
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    TakeLeavesTheKey,
    TakenKeysComeBack,
    PutKeepsTheFormerKey,
    PoolsAreOne,
    NotesAreNotDurable,
    NotesAreNeverSeenBeforeCommit,
    CommitDoesNothing,
    TakesAreDurableAtOnce,
    VisitShowsTwice,
    VisitSkipsUncommitted,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::TakeLeavesTheKey,
        Self::TakenKeysComeBack,
        Self::PutKeepsTheFormerKey,
        Self::PoolsAreOne,
        Self::NotesAreNotDurable,
        Self::NotesAreNeverSeenBeforeCommit,
        Self::CommitDoesNothing,
        Self::TakesAreDurableAtOnce,
        Self::VisitShowsTwice,
        Self::VisitSkipsUncommitted,
    ];
}

fn run(fault: Fault) -> Result<(), ()> {
    let fresh = || Faulty::open(fault, Disk::default());
    let reopen = |store: Faulty| Faulty::open(fault, store.disk);
    catch_unwind(AssertUnwindSafe(|| testing::durable_store_suite(fresh, reopen))).map_err(drop)
}

type Place = (Option<Pool>, KeyId);

#[derive(Clone, Default)]
struct Contents {
    records: HashMap<Place, (Pool, Vec<u8>)>,
    notes: Option<Vec<u8>>,
}

type Disk = Rc<RefCell<Contents>>;

struct Faulty {
    fault: Fault,
    disk: Disk,
    now: Contents,
}

impl Faulty {
    fn open(fault: Fault, disk: Disk) -> Self {
        let now = disk.borrow().clone();
        Self { fault, disk, now }
    }

    fn place(&self, pool: Pool, id: KeyId) -> Place {
        ((self.fault != Fault::PoolsAreOne).then_some(pool), id)
    }
}

impl KeyStore for Faulty {
    type Error = Infallible;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Infallible> {
        let shown = match self.fault {
            Fault::VisitSkipsUncommitted => self.disk.borrow().clone(),
            _ => self.now.clone(),
        };
        for ((_, id), (pool, octets)) in &shown.records {
            see(&read(*pool, *id, octets));
            if self.fault == Fault::VisitShowsTwice {
                see(&read(*pool, *id, octets));
            }
        }
        Ok(())
    }

    fn put(&mut self, key: StoredKey) -> Result<(), Infallible> {
        let place = self.place(key.pool(), key.id());
        if self.fault != Fault::PutKeepsTheFormerKey || !self.now.records.contains_key(&place) {
            self.now.records.insert(place, (key.pool(), key.to_octets().to_vec()));
        }
        Ok(())
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, Infallible> {
        let place = self.place(pool, id);
        let found = self.now.records.get(&place).filter(|(of, _)| *of == pool).cloned();
        if found.is_some() && self.fault != Fault::TakeLeavesTheKey {
            self.now.records.remove(&place);
            if self.fault == Fault::TakesAreDurableAtOnce {
                self.disk.borrow_mut().records.remove(&place);
            }
        }
        Ok(found.map(|(pool, octets)| read(pool, id, &octets)))
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Infallible> {
        let notes = match self.fault {
            Fault::NotesAreNeverSeenBeforeCommit => self.disk.borrow().notes.clone(),
            _ => self.now.notes.clone(),
        };
        Ok(notes.map(Zeroizing::new))
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Infallible> {
        self.now.notes = Some(notes.to_vec());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Infallible> {
        let mut disk = self.disk.borrow_mut();
        let former = std::mem::replace(&mut *disk, self.now.clone());
        match self.fault {
            Fault::CommitDoesNothing => *disk = former,
            Fault::NotesAreNotDurable => disk.notes = former.notes,
            Fault::TakenKeysComeBack => former.records.into_iter().for_each(|(place, record)| {
                disk.records.entry(place).or_insert(record);
            }),
            _ => {}
        }
        Ok(())
    }
}

fn read(pool: Pool, id: KeyId, octets: &[u8]) -> StoredKey {
    StoredKey::from_octets(pool, id, octets).expect("written by itself")
}
