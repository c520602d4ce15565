//! The durable store, on redb.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use itu_y3803::KeyId;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError, WriteTransaction,
};
use relay_core::{KeyStore, Pool, StoredKey};
use zeroize::Zeroizing;

use super::seal::{EpochKey, Sealer};
use super::{StoreCounters, StoreError, epoch};

/// Keys on disk, in a folder of their own: the database `keys.redb` and the file of the epoch key.
///
/// Changes are held in memory until [`commit`](KeyStore::commit) writes them in one transaction, synced to disk before it
/// returns; what is put and taken again between two commits never reaches the disk. One process at a time has the store open.
///
/// # What is left of a key on disk
///
/// Records are sealed under the epoch key (AES-256-GCM). When a key is taken, its sealed record stays in free pages of the
/// database until they are written over, and longer in what file system and medium keep. While the epoch key exists, whoever
/// has it and the pages can read the key. Opening the store draws a new epoch key, seals what is there again, and deletes
/// the old one: from then on, what is left of keys taken before cannot be read by anyone, as far as the deleted file of 32
/// octets is gone. It is overwritten first, but a medium may keep a copy; where that matters, the folder belongs on an
/// encrypted volume. A store of more than [`Options::erase_limit_octets`] keeps its epoch key; [`opened`](Self::opened)
/// tells.
///
/// A copy of the folder put back later brings back keys that were taken since. It is not to be backed up.
pub struct RedbStore {
    database: Database,
    reader: Option<Records>,
    changes: Changes,
    sealer: Sealer,
    counters: Arc<StoreCounters>,
    opened: Opened,
    stopped: bool,
}

/// How to open a store.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The most octets of sealed records that are sealed anew when the store is opened, before it can be used; 128 MiB.
    pub erase_limit_octets: u64,
    /// The most octets of memory for pages of the database; 64 MiB.
    pub cache_octets: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { erase_limit_octets: 128 << 20, cache_octets: 64 << 20 }
    }
}

/// What was found when a store was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The folder of the store.
    pub folder: PathBuf,
    /// How many keys are in it.
    pub keys: u64,
    /// Whether a new epoch key was drawn, so that what is left of keys taken before cannot be read any more.
    pub erased: bool,
}

impl RedbStore {
    /// Opens the store in `folder`, or makes a new one.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open; others when it cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, Options::default())
    }

    /// Opens the store in `folder`, or makes a new one, with other than the usual options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(folder: &Path, options: Options) -> Result<Self, StoreError> {
        crate::folder::make(folder).map_err(StoreError::file(folder))?;
        // From here on, no other process has the store.
        let database = open_database(folder, options.cache_octets)?;
        epoch::sync_folder(folder)?;
        let former = read_state(&database, folder)?;
        let run = former.map_or(0, |state| state.run).checked_add(1).ok_or(StoreError::Cryptography)?;
        let (keys, octets) = extent(&database)?;
        let old = former.map(|state| open_epoch(&database, folder, state.epoch, run)).transpose()?;
        let (sealer, state) = match (old, former) {
            (Some(sealer), Some(former)) if octets > options.erase_limit_octets => {
                let state = State { run, ..former };
                change(&database, |transaction| write_state(transaction, state))?;
                (sealer, state)
            }
            (old, _) => {
                let key = EpochKey::draw()?;
                let state = State { run, epoch: run };
                // The file is there before the database names it, and the former one goes after: whenever the switch is
                // cut short, the database names a key whose file is there.
                epoch::write(folder, state.epoch, &key)?;
                let mut sealer = Sealer::new(&key, run)?;
                change(&database, |transaction| {
                    write_check(transaction, &mut sealer)?;
                    if let Some(old) = &old {
                        seal_anew(transaction, old, &mut sealer)?;
                    }
                    write_state(transaction, state)
                })?;
                (sealer, state)
            }
        };
        epoch::remove_others(folder, state.epoch)?;
        let opened = Opened { folder: folder.to_owned(), keys, erased: state.epoch == run };
        Ok(Self { database, reader: None, changes: Changes::default(), sealer, counters: Arc::default(), opened, stopped: false })
    }

    /// What was found when the store was opened.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The counters of this store.
    #[must_use]
    pub fn counters(&self) -> Arc<StoreCounters> {
        self.counters.clone()
    }

    fn check_running(&self) -> Result<(), StoreError> {
        if self.stopped { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// The records as of the last commit; `None` before the first one.
    fn records(&mut self) -> Result<Option<&Records>, StoreError> {
        if self.reader.is_none() {
            self.reader = open_if_there(&self.database, RECORDS)?;
        }
        Ok(self.reader.as_ref())
    }

    fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let sealer = &mut self.sealer;
        change(&self.database, |transaction| {
            if let Some(notes) = &changes.notes {
                let sealed = sealer.seal(NOTES.as_bytes(), notes)?;
                let mut about = transaction.open_table(ABOUT).map_err(StoreError::database)?;
                about.insert(NOTES, sealed.as_slice()).map_err(StoreError::database)?;
            }
            let mut records = transaction.open_table(RECORDS).map_err(StoreError::database)?;
            for (place, key) in &changes.keys {
                match key {
                    Some(key) => {
                        let sealed = sealer.seal(place, &key.to_octets())?;
                        records.insert(place, sealed.as_slice()).map_err(StoreError::database)?;
                    }
                    None => drop(records.remove(place).map_err(StoreError::database)?),
                }
            }
            Ok(())
        })
    }
}

impl KeyStore for RedbStore {
    type Error = StoreError;

    fn visit(&mut self, see: &mut dyn FnMut(&StoredKey)) -> Result<(), StoreError> {
        self.check_running()?;
        self.records()?;
        if let Some(records) = &self.reader {
            for record in records.iter().map_err(StoreError::database)? {
                let (place, sealed) = record.map_err(StoreError::database)?;
                if !self.changes.keys.contains_key(place.value()) {
                    see(&open_record(&self.sealer, place.value(), sealed.value())?);
                }
            }
        }
        self.changes.keys.values().flatten().for_each(see);
        Ok(())
    }

    fn put(&mut self, key: StoredKey) -> Result<(), StoreError> {
        self.check_running()?;
        self.changes.keys.insert(place(key.pool(), key.id()), Some(key));
        Ok(())
    }

    fn take(&mut self, pool: Pool, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.check_running()?;
        let place = place(pool, id);
        if let Some(change) = self.changes.keys.get_mut(&place) {
            return Ok(change.take());
        }
        let Some(records) = self.records()? else { return Ok(None) };
        let Some(sealed) = records.get(&place).map_err(StoreError::database)? else { return Ok(None) };
        let key = open_record(&self.sealer, &place, sealed.value())?;
        self.changes.keys.insert(place, None);
        Ok(Some(key))
    }

    fn notes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.check_running()?;
        if let Some(notes) = &self.changes.notes {
            return Ok(Some(notes.clone()));
        }
        let Some(about) = open_if_there(&self.database, ABOUT)? else { return Ok(None) };
        let Some(sealed) = about.get(NOTES).map_err(StoreError::database)? else { return Ok(None) };
        self.sealer.open(NOTES.as_bytes(), sealed.value()).map(Some)
    }

    fn save_notes(&mut self, notes: &[u8]) -> Result<(), StoreError> {
        self.check_running()?;
        self.changes.notes = Some(Zeroizing::new(notes.to_vec()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.check_running()?;
        let changes = std::mem::take(&mut self.changes);
        let number = changes.number();
        if number == 0 {
            return Ok(());
        }
        // A reader would keep the pages of what it sees from being used again.
        self.reader = None;
        let started = Instant::now();
        match self.write(&changes) {
            Ok(()) => self.counters.committed(number, started.elapsed()),
            Err(error) => {
                self.stopped = true;
                self.counters.failed();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("opened", &self.opened).field("changes", &self.changes.number()).finish_non_exhaustive()
    }
}

/// Pool number and identifier of a key; also what its record is bound to.
type Place = [u8; 17];
type Records = ReadOnlyTable<&'static Place, &'static [u8]>;

const RECORDS: TableDefinition<&Place, &[u8]> = TableDefinition::new("records");
const RECORDS_ANEW: TableDefinition<&Place, &[u8]> = TableDefinition::new("records-anew");
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const NOTES: &str = "notes";
const STATE: &str = "state";
/// A sealed nothing, to tell whether an epoch key is the right one.
const CHECK: &str = "check";
const FORMAT: u8 = 1;

/// What was changed since the last commit; `None` is a key taken.
#[derive(Default)]
struct Changes {
    keys: BTreeMap<Place, Option<StoredKey>>,
    notes: Option<Zeroizing<Vec<u8>>>,
}

impl Changes {
    fn number(&self) -> usize {
        self.keys.len() + usize::from(self.notes.is_some())
    }
}

/// How often the store was opened, and in which of these runs the epoch key was drawn.
#[derive(Clone, Copy)]
struct State {
    run: u32,
    epoch: u32,
}

impl State {
    fn to_octets(self) -> [u8; 9] {
        let mut octets = [FORMAT; 9];
        octets[1..5].copy_from_slice(&self.run.to_be_bytes());
        octets[5..].copy_from_slice(&self.epoch.to_be_bytes());
        octets
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (&[FORMAT], numbers) = octets.split_first_chunk()? else { return None };
        let (run, epoch) = numbers.split_first_chunk()?;
        let state = Self { run: u32::from_be_bytes(*run), epoch: u32::from_be_bytes(epoch.try_into().ok()?) };
        Some(state)
    }
}

fn place(pool: Pool, id: KeyId) -> Place {
    let mut place = [pool.number(); 17];
    place[1..].copy_from_slice(&id.octets());
    place
}

fn open_record(sealer: &Sealer, place: &Place, sealed: &[u8]) -> Result<StoredKey, StoreError> {
    let (&number, id) = place.split_first().ok_or(StoreError::Unreadable)?;
    let pool = Pool::ALL.into_iter().find(|pool| pool.number() == number).ok_or(StoreError::Unreadable)?;
    let id = id.try_into().map_err(|_| StoreError::Unreadable)?;
    StoredKey::from_octets(pool, KeyId::from_octets(id), &sealer.open(place, sealed)?).map_err(|_| StoreError::Unreadable)
}

fn open_database(folder: &Path, cache_octets: usize) -> Result<Database, StoreError> {
    let path = folder.join("keys.redb");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(StoreError::file(path))?;
    Database::builder().set_cache_size(cache_octets).create_file(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { folder: folder.to_owned() },
        error => StoreError::database(error),
    })
}

/// `None` for a new store.
fn read_state(database: &Database, folder: &Path) -> Result<Option<State>, StoreError> {
    let Some(about) = open_if_there(database, ABOUT)? else { return Ok(None) };
    let octets = about.get(STATE).map_err(StoreError::database)?;
    let state = octets.and_then(|octets| State::from_octets(octets.value()));
    state.map(Some).ok_or_else(|| StoreError::UnknownFormat { folder: folder.to_owned() })
}

/// The number of keys, and how many octets they take.
fn extent(database: &Database) -> Result<(u64, u64), StoreError> {
    let Some(records) = open_if_there(database, RECORDS)? else { return Ok((0, 0)) };
    let octets = records.stats().map_err(StoreError::database)?.stored_bytes();
    Ok((records.len().map_err(StoreError::database)?, octets))
}

fn open_epoch(database: &Database, folder: &Path, number: u32, run: u32) -> Result<Sealer, StoreError> {
    let sealer = Sealer::new(&epoch::read(folder, number)?, run)?;
    let about = open_if_there(database, ABOUT)?.ok_or(StoreError::Unreadable)?;
    let check = about.get(CHECK).map_err(StoreError::database)?.ok_or(StoreError::Unreadable)?;
    match sealer.open(CHECK.as_bytes(), check.value()) {
        Ok(_) => Ok(sealer),
        Err(_) => Err(StoreError::EpochKeyWrong { path: epoch::path(folder, number) }),
    }
}

fn open_if_there<K: redb::Key + 'static, V: redb::Value + 'static>(
    database: &Database,
    table: TableDefinition<'static, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, StoreError> {
    match database.begin_read().map_err(StoreError::database)?.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(StoreError::database(error)),
    }
}

/// Does all of `what`, durably, or nothing.
fn change(database: &Database, what: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(StoreError::database)?;
    transaction.set_durability(Durability::Immediate).map_err(StoreError::database)?;
    // Should the medium damage the last commit, the database then refuses to open after a crash. By one phase it would silently
    // go back to the commit before: what was taken would be there again. The price is a second sync.
    transaction.set_two_phase_commit(true);
    what(&transaction)?;
    transaction.commit().map_err(StoreError::database)
}

fn write_state(transaction: &WriteTransaction, state: State) -> Result<(), StoreError> {
    let mut about = transaction.open_table(ABOUT).map_err(StoreError::database)?;
    about.insert(STATE, state.to_octets().as_slice()).map_err(StoreError::database)?;
    Ok(())
}

fn write_check(transaction: &WriteTransaction, sealer: &mut Sealer) -> Result<(), StoreError> {
    let check = sealer.seal(CHECK.as_bytes(), &[])?;
    let mut about = transaction.open_table(ABOUT).map_err(StoreError::database)?;
    about.insert(CHECK, check.as_slice()).map_err(StoreError::database)?;
    Ok(())
}

fn seal_anew(transaction: &WriteTransaction, old: &Sealer, new: &mut Sealer) -> Result<(), StoreError> {
    let mut about = transaction.open_table(ABOUT).map_err(StoreError::database)?;
    let notes = about.get(NOTES).map_err(StoreError::database)?.map(|sealed| old.open(NOTES.as_bytes(), sealed.value()));
    if let Some(notes) = notes {
        about.insert(NOTES, new.seal(NOTES.as_bytes(), &notes?)?.as_slice()).map_err(StoreError::database)?;
    }
    {
        let records = transaction.open_table(RECORDS).map_err(StoreError::database)?;
        let mut anew = transaction.open_table(RECORDS_ANEW).map_err(StoreError::database)?;
        for record in records.iter().map_err(StoreError::database)? {
            let (place, sealed) = record.map_err(StoreError::database)?;
            let plain = old.open(place.value(), sealed.value())?;
            anew.insert(place.value(), new.seal(place.value(), &plain)?.as_slice()).map_err(StoreError::database)?;
        }
    }
    transaction.delete_table(RECORDS).map_err(StoreError::database)?;
    transaction.rename_table(RECORDS_ANEW, RECORDS).map_err(StoreError::database)
}
