//! A store whose disk survives a crash, and holds then what was committed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
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
pub(crate) struct Disk(Rc<RefCell<Contents>>);

impl Disk {
    pub(crate) fn open(&self) -> DiskStore {
        DiskStore { disk: self.clone(), undo: Vec::new() }
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
    fn write(&mut self, at: (Pool, KeyId), octets: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut contents = self.disk.0.borrow_mut();
        let former = match octets {
            Some(octets) => contents.records.insert(at, octets),
            None => contents.records.remove(&at),
        };
        self.undo.push(Undo::Record(at, former.clone()));
        former
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        let mut contents = self.disk.0.borrow_mut();
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
    type Error = Infallible;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Infallible> {
        for ((pool, id), octets) in &self.disk.0.borrow().records {
            see(&read(*pool, *id, octets));
        }
        Ok(())
    }

    fn put(&mut self, key: StoredKey) -> Result<(), Infallible> {
        self.write((key.pool(), key.id()), Some(key.to_octets().to_vec()));
        Ok(())
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, Infallible> {
        Ok(self.write((pool, id), None).map(|octets| read(pool, id, &octets)))
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Infallible> {
        Ok(self.disk.0.borrow().notes.clone().map(Zeroizing::new))
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Infallible> {
        let former = self.disk.0.borrow_mut().notes.replace(notes.to_vec());
        self.undo.push(Undo::Notes(former));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Infallible> {
        self.undo.clear();
        Ok(())
    }
}

fn read(pool: Pool, id: KeyId, octets: &[u8]) -> StoredKey {
    StoredKey::from_octets(pool, id, octets).expect("written by itself")
}
