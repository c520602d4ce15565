//! The key store: what a key manager must not forget, and must not remember twice.

use std::collections::HashMap;
use std::convert::Infallible;

use itu_y3803::{KeyId, KmaKey, WallTime};
use zeroize::Zeroizing;

use crate::block::{CollectBlock, SupplyBlock};

/// Where keys of one node are kept until they are used.
///
/// Once [`take`](Self::take) has returned a key, no call returns it again unless it is [`put`](Self::put) back, **even after a
/// restart** (Y3803-9.2-04). Changes become durable together, at [`commit`](Self::commit): after a crash either all changes
/// since the former commit are there, or none. Within one run, each call sees the changes before it.
///
/// One owner holds the store (`&mut self`); a key manager never calls it from two places. An implementation runs
/// [`testing::store_suite`](crate::testing::store_suite) against itself.
pub trait KeyStore {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Shows every key in the store, in any order: called once, at the start.
    ///
    /// # Errors
    /// When the store cannot be read, or holds something that is no key.
    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Self::Error>;

    /// Puts a key into the store, in place of one with the same pool and identifier.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn put(&mut self, key: StoredKey) -> Result<(), Self::Error>;

    /// Takes a key out of the store; `None` when it is not there. The store keeps no copy.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, Self::Error>;

    /// The notes that were last saved, or `None` in a new store.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Self::Error>;

    /// Saves the key manager's notes about itself, in place of the former ones: some hundred octets, with a secret in them.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Self::Error>;

    /// Makes all changes since the last commit durable.
    ///
    /// # Errors
    /// When that is not certain. The key manager then stops: what happened is found out by opening the store again.
    fn commit(&mut self) -> Result<(), Self::Error>;
}

/// The parts of a store (Y3803-9.2-01); a key's identifier is unique within its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pool {
    /// Link key that this node may use, and its neighbour may not.
    Outgoing,
    /// Link key that the neighbour may use, and this node only when told by it.
    Incoming,
    /// Blocks from which this node supplies masters.
    Supply,
    /// Blocks from which slaves collect at this node.
    Collect,
}

impl Pool {
    /// Every pool.
    pub const ALL: [Self; 4] = [Self::Outgoing, Self::Incoming, Self::Supply, Self::Collect];

    /// A number for the pool that never changes, for stores.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Outgoing => 0,
            Self::Incoming => 1,
            Self::Supply => 2,
            Self::Collect => 3,
        }
    }
}

/// A key in a store.
#[derive(Debug)]
pub enum StoredKey {
    /// In [`Pool::Outgoing`].
    Outgoing(KmaKey),
    /// In [`Pool::Incoming`].
    Incoming(KmaKey),
    /// In [`Pool::Supply`].
    Supply(SupplyBlock),
    /// In [`Pool::Collect`].
    Collect(CollectBlock),
}

impl StoredKey {
    /// Where it is kept.
    #[must_use]
    pub fn pool(&self) -> Pool {
        match self {
            Self::Outgoing(_) => Pool::Outgoing,
            Self::Incoming(_) => Pool::Incoming,
            Self::Supply(_) => Pool::Supply,
            Self::Collect(_) => Pool::Collect,
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> KeyId {
        match self {
            Self::Outgoing(key) | Self::Incoming(key) => key.id,
            Self::Supply(block) => block.info.id,
            Self::Collect(block) => block.info.id,
        }
    }

    /// When it is deleted if unused.
    #[must_use]
    pub fn expires(&self) -> WallTime {
        match self {
            Self::Outgoing(key) | Self::Incoming(key) => key.expires,
            Self::Supply(block) => block.info.expires,
            Self::Collect(block) => block.info.expires,
        }
    }
}

/// A store that lives and dies with the process.
///
/// Everything in it is lost at a restart, also keys that slaves have yet to collect.
#[derive(Debug, Default)]
pub struct MemoryStore {
    keys: HashMap<(Pool, KeyId), StoredKey>,
    notes: Option<Zeroizing<Vec<u8>>>,
}

impl KeyStore for MemoryStore {
    type Error = Infallible;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), Infallible> {
        self.keys.values().for_each(see);
        Ok(())
    }

    fn put(&mut self, key: StoredKey) -> Result<(), Infallible> {
        self.keys.insert((key.pool(), key.id()), key);
        Ok(())
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, Infallible> {
        Ok(self.keys.remove(&(pool, id)))
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, Infallible> {
        Ok(self.notes.clone())
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), Infallible> {
        self.notes = Some(Zeroizing::new(notes.to_vec()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
