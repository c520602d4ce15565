//! What a node keeps through a crash: a store that holds then what was committed. It can be made to fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use itu_y3803::{KeyId, KmaKey, LinkId};
use relay_core::{KeyStore, Pool, StoredKey};
use zeroize::Zeroizing;

/// Outlives the process of its node.
#[derive(Clone, Default)]
pub(super) struct Disk(Rc<RefCell<Contents>>);

#[derive(Default)]
struct Contents {
    records: BTreeMap<(Pool, KeyId), Vec<u8>>,
    notes: Option<Vec<u8>>,
    /// How often the node has started, as its router counts.
    boot: u64,
    failure: Option<Failure>,
    /// Link keys that were ever in it, of a node that lets nothing go.
    kept: Option<BTreeMap<KeyId, Vec<u8>>>,
}

/// Where a disk fails, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// At the next write or removal of a key.
    Write,
    /// At the next commit, of which nothing becomes durable.
    BeforeCommit,
    /// At the next commit, all of which is durable nevertheless.
    AfterCommit,
}

/// The error of a disk that fails.
#[derive(Debug, thiserror::Error)]
#[error("the disk failed")]
pub(super) struct Failed;

impl Disk {
    pub(super) fn open(&self) -> DiskStore {
        self.0.borrow_mut().failure = None;
        DiskStore { disk: self.clone(), undo: Vec::new() }
    }

    pub(super) fn fail(&self, failure: Failure) {
        self.0.borrow_mut().failure = Some(failure);
    }

    pub(super) fn boot(&self) -> u64 {
        self.0.borrow().boot
    }

    pub(super) fn set_boot(&self, boot: u64) {
        self.0.borrow_mut().boot = boot;
    }

    /// The link keys that the node may use, with their bits.
    pub(super) fn link_keys(&self, is_qkd: impl Fn(&LinkId) -> bool) -> BTreeMap<KeyId, u64> {
        let contents = self.0.borrow();
        let outgoing = contents.records.iter().filter(|((pool, _), _)| *pool == Pool::Outgoing);
        outgoing
            .filter_map(|(&(pool, id), octets)| match read(pool, id, octets) {
                StoredKey::Outgoing(key) if is_qkd(&key.link) => Some((id, u64::from(key.material.size().bits()))),
                _ => None,
            })
            .collect()
    }

    /// From now on no link key that the node may use is forgotten, used or not.
    pub(super) fn keep_copies(&self) {
        self.0.borrow_mut().kept.get_or_insert_default();
    }

    /// A link key that the node may use or has used.
    pub(super) fn copy_of(&self, id: KeyId) -> Option<KmaKey> {
        let contents = self.0.borrow();
        outgoing(id, contents.kept.as_ref()?.get(&id)?)
    }

    /// The youngest key of a link that is unused.
    pub(super) fn youngest_of(&self, link: &LinkId) -> Option<KeyId> {
        let contents = self.0.borrow();
        let keys = contents.records.iter().rev().filter(|((pool, _), _)| *pool == Pool::Outgoing);
        keys.map(|(&(_, id), octets)| (id, octets))
            .find(|(id, octets)| outgoing(*id, octets).is_some_and(|key| key.link == *link))
            .map(|(id, _)| id)
    }

    fn fails(&self, failure: Failure) -> bool {
        let mut contents = self.0.borrow_mut();
        let fails = contents.failure == Some(failure);
        if fails {
            contents.failure = None;
        }
        fails
    }
}

/// Writes to the disk at once, and takes back what was not committed when it is dropped.
pub(super) struct DiskStore {
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
        let mut contents = self.disk.0.borrow_mut();
        if let (Some(kept), Some(octets), (Pool::Outgoing, id)) = (&mut contents.kept, &octets, at) {
            kept.insert(id, octets.clone());
        }
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
    type Error = Failed;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Failed> {
        for ((pool, id), octets) in &self.disk.0.borrow().records {
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
        Ok(self.disk.0.borrow().notes.clone().map(Zeroizing::new))
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Failed> {
        let former = self.disk.0.borrow_mut().notes.replace(notes.to_vec());
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

fn outgoing(id: KeyId, octets: &[u8]) -> Option<KmaKey> {
    match read(Pool::Outgoing, id, octets) {
        StoredKey::Outgoing(key) => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_store_that_survives_a_crash() {
        let reopen = |store: DiskStore| {
            let disk = store.disk.clone();
            drop(store);
            disk.open()
        };
        relay_core::testing::durable_store_suite(|| Disk::default().open(), reopen);
    }

    #[test]
    fn it_fails_once_where_it_was_told_to() {
        let disk = Disk::default();
        for (failure, kept) in [(Failure::BeforeCommit, None), (Failure::AfterCommit, Some(7))] {
            let mut store = disk.open();
            disk.fail(failure);
            store.save_notes(&[7]).expect("no write of a key");
            assert!(store.commit().is_err());
            drop(store);
            let notes = disk.open().notes().expect("read");
            assert_eq!(notes.map(|notes| notes[0]), kept);
        }
    }
}
