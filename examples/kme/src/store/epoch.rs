//! The files with epoch keys: `epoch-<number>.key`, readable by the owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::StoreError;
use super::seal::{EPOCH_KEY_OCTETS, EpochKey};

/// The file of the key of an epoch.
pub(super) fn path(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{epoch}{SUFFIX}"))
}

/// Writes the key of an epoch so that after a crash the file is there whole, or not at all; one left from a crash is replaced.
pub(super) fn write(folder: &Path, epoch: u32, key: &EpochKey) -> Result<(), StoreError> {
    let path = path(folder, epoch);
    let draft = path.with_extension(DRAFT);
    remove_if_there(&draft).map_err(StoreError::file(&draft))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(StoreError::file(&draft))?;
    file.write_all(key.0.as_ref()).and_then(|()| file.sync_all()).map_err(StoreError::file(&draft))?;
    fs::rename(&draft, &path).map_err(StoreError::file(&path))?;
    sync_folder(folder)
}

/// Reads the key of an epoch.
pub(super) fn read(folder: &Path, epoch: u32) -> Result<EpochKey, StoreError> {
    let path = path(folder, epoch);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::EpochKeyMissing { path }),
        Err(source) => return Err(StoreError::File { path, source }),
    };
    // One octet more than there should be: a longer file is no key.
    let mut octets = Zeroizing::new([0; EPOCH_KEY_OCTETS + 1]);
    let mut length = 0;
    while length < octets.len() {
        match file.read(&mut octets[length..]).map_err(StoreError::file(&path))? {
            0 => break,
            read => length += read,
        }
    }
    if length != EPOCH_KEY_OCTETS {
        return Err(StoreError::EpochKeyWrong { path });
    }
    let mut key = EpochKey(Zeroizing::new([0; EPOCH_KEY_OCTETS]));
    key.0.copy_from_slice(&octets[..EPOCH_KEY_OCTETS]);
    Ok(key)
}

/// Removes every key but that of `current`, and drafts.
pub(super) fn remove_others(folder: &Path, current: u32) -> Result<(), StoreError> {
    let current = path(folder, current);
    let mut removed = false;
    for entry in fs::read_dir(folder).map_err(StoreError::file(folder))? {
        let entry = entry.map_err(StoreError::file(folder))?;
        let name = entry.file_name();
        let is_key =
            name.to_str().is_some_and(|name| name.starts_with(PREFIX) && (name.ends_with(SUFFIX) || name.ends_with(DRAFT)));
        if is_key && entry.path() != current {
            overwrite(&entry.path()).and_then(|()| remove_if_there(&entry.path())).map_err(StoreError::file(entry.path()))?;
            removed = true;
        }
    }
    if removed { sync_folder(folder) } else { Ok(()) }
}

/// Makes new names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::file(folder))
}

const PREFIX: &str = "epoch-";
const SUFFIX: &str = ".key";
const DRAFT: &str = "draft";

/// Helps where the file system writes in place; elsewhere the old octets stay until the medium reuses them.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&[0; EPOCH_KEY_OCTETS])?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
