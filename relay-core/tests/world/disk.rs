//! A store whose disk survives a crash, and holds then what was committed. It can be made to fail.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use itu_y3803::KeyId;
use relay_core::{KeyStore, Pool, StoredKey};
use zeroize::Zeroizing;

#[derive(Default)]
struct Contents {
    records: BTreeMap<(Pool, KeyId), Vec<u8>>,
    notes: Option<Vec<u8>>,
}

/// What outlives a crash.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    contents: Rc<RefCell<Contents>>,
    failure: Rc<Cell<Option<Failure>>>,
}

/// Where a disk fails, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// At the next write or removal of a key.
    Write,
    /// At the next commit, of which nothing becomes durable.
    BeforeCommit,
    /// At the next commit, all of which is durable nevertheless.
    AfterCommit,
}

#[derive(Debug, thiserror::Error)]
#[error("the disk failed")]
pub(crate) struct Failed;

impl Disk {
    pub(crate) fn open(&self) -> DiskStore {
        self.failure.set(None);
        DiskStore { disk: self.clone(), undo: Vec::new() }
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.failure.set(Some(failure));
    }

    fn fails(&self, failure: Failure) -> bool {
        let fails = self.failure.get() == Some(failure);
        if fails {
            self.failure.set(None);
        }
        fails
    }
}

/// Writes to the disk at once, and takes back what was not committed when it is dropped.
pub(crate) struct DiskStore {
    disk: Disk,
    undo: Vec<Undo>,
}

enum Undo {
    Record((Pool, KeyId), Option<Vec<u8>>),
    Notes(Option<Vec<u8>>),
}

impl DiskStore {
    fn write(&mut self, at: (Pool, KeyId), octets: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Failed> {
        if self.disk.fails(Failure::Write) {
            return Err(Failed);
        }
        let mut contents = self.disk.contents.borrow_mut();
        let former = match octets {
            Some(octets) => contents.records.insert(at, octets),
            None => contents.records.remove(&at),
        };
        self.undo.push(Undo::Record(at, former.clone()));
        Ok(former)
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        let mut contents = self.disk.contents.borrow_mut();
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::Record(at, Some(octets)) => drop(contents.records.insert(at, octets)),
                Undo::Record(at, None) => drop(contents.records.remove(&at)),
                Undo::Notes(notes) => contents.notes = notes,
            }
        }
    }
}

impl KeyStore for DiskStore {
    type Error = Failed;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Failed> {
        for ((pool, id), octets) in &self.disk.contents.borrow().records {
            see(&read(*pool, *id, octets));
        }
        Ok(())
    }

    fn put(&mut self, key: StoredKey) -> Result<(), Failed> {
        self.write((key.pool(), key.id()), Some(key.to_octets().to_vec())).map(drop)
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, Failed> {
        Ok(self.write((pool, id), None)?.map(|octets| read(pool, id, &octets)))
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Failed> {
        Ok(self.disk.contents.borrow().notes.clone().map(Zeroizing::new))
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Failed> {
        let former = self.disk.contents.borrow_mut().notes.replace(notes.to_vec());
        self.undo.push(Undo::Notes(former));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failed> {
        if self.disk.fails(Failure::BeforeCommit) {
            return Err(Failed);
        }
        self.undo.clear();
        if self.disk.fails(Failure::AfterCommit) { Err(Failed) } else { Ok(()) }
    }
}

fn read(pool: Pool, id: KeyId, octets: &[u8]) -> StoredKey {
    StoredKey::from_octets(pool, id, octets).expect("written by itself")
}
