//! The stores of the reference KME: in memory, or on disk.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;

use itu_y3803::KeyId;
use relay_core::{KeyStore, MemoryStore, Pool, StoredKey};
use zeroize::Zeroizing;

mod counters;
mod durable;
mod epoch;
mod seal;

pub use counters::StoreCounters;
pub use durable::{Opened, Options, RedbStore};

/// One of the two stores, as the configuration has it.
#[derive(Debug)]
pub enum AnyStore {
    /// Forgets everything when the process ends.
    Memory(MemoryStore),
    /// Keeps keys on disk.
    Redb(Box<RedbStore>),
}

impl From<MemoryStore> for AnyStore {
    fn from(store: MemoryStore) -> Self {
        Self::Memory(store)
    }
}

impl From<RedbStore> for AnyStore {
    fn from(store: RedbStore) -> Self {
        Self::Redb(Box::new(store))
    }
}

impl KeyStore for AnyStore {
    type Error = StoreError;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.visit(see).map_err(never),
            Self::Redb(store) => store.visit(see),
        }
    }

    fn put(&mut self, key: StoredKey) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.put(key).map_err(never),
            Self::Redb(store) => store.put(key),
        }
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        match self {
            Self::Memory(store) => store.take(pool, id).map_err(never),
            Self::Redb(store) => store.take(pool, id),
        }
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        match self {
            Self::Memory(store) => store.notes().map_err(never),
            Self::Redb(store) => store.notes(),
        }
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.save_notes(notes).map_err(never),
            Self::Redb(store) => store.save_notes(notes),
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.commit().map_err(never),
            Self::Redb(store) => store.commit(),
        }
    }
}

/// Why a store failed. No message holds an octet of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{}: another process has this store open", folder.display())]
    Locked {
        /// The folder of the store.
        folder: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The database failed, or is damaged.
    #[error("the database of the store failed: {0}")]
    Database(#[source] Box<redb::Error>),
    /// The database was written by a later release, or by another program.
    #[error("{}: not a key store of a format that this release knows", folder.display())]
    UnknownFormat {
        /// The folder of the store.
        folder: PathBuf,
    },
    /// The file with the key that the records are sealed under is not there. Without it they are lost.
    #[error("{}: the epoch key of the store is missing; without it nothing in the store can be read", path.display())]
    EpochKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file with the key that the records are sealed under holds something else.
    #[error("{}: this is not the epoch key of the store", path.display())]
    EpochKeyWrong {
        /// Where it is.
        path: PathBuf,
    },
    /// A record was changed, or is no stored key.
    #[error("the store holds a record that cannot be read")]
    Unreadable,
    /// The cryptographic library refused to seal, or has no randomness.
    #[error("the cryptographic library failed")]
    Cryptography,
    /// An earlier commit failed; what is stored is known only after the store is opened again.
    #[error("the store stopped after an earlier failure")]
    Stopped,
}

impl StoreError {
    fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::File { path, source }
    }

    fn database(error: impl Into<redb::Error>) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

fn never<T>(error: Infallible) -> T {
    match error {}
}

#[cfg(test)]
mod tests {
    use relay_core::testing;

    use super::*;

    #[test]
    fn both_stores_pass_the_suite_behind_the_enum() {
        testing::store_suite(|| AnyStore::from(MemoryStore::default()));
        let folder = tempfile::tempdir().expect("a folder");
        let mut number = 0;
        testing::store_suite(|| {
            number += 1;
            RedbStore::open(&folder.path().join(number.to_string())).map(AnyStore::from).expect("opens")
        });
    }
}
