//! The demonstration's folder: made anew, unless it belongs to somebody else.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::DemoError;

/// The folder, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    /// Absolute, for processes and for commands to paste elsewhere.
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder, or removes from it what a former demonstration left. Other files in it stay.
    pub(super) fn prepare(path: &Path) -> Result<Self, DemoError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DemoError::File { path, source }
        };
        fs::create_dir_all(path).map_err(failed(path))?;
        let path = fs::canonicalize(path).map_err(failed(path))?;
        let marker = path.join(MARKER);
        if !marker.is_file() && fs::read_dir(&path).map_err(failed(&path))?.next().is_some() {
            return Err(DemoError::ForeignFolder(path));
        }
        let lock = File::options().create(true).truncate(false).write(true).open(&marker).map_err(failed(&marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DemoError::FolderInUse(path)),
            Err(TryLockError::Error(error)) => return Err(failed(&marker)(error)),
        }
        for file in FILES {
            let file = path.join(file);
            absent_is_fine(fs::remove_file(&file)).map_err(failed(&file))?;
        }
        for folder in FOLDERS {
            let folder = path.join(folder);
            // Does not follow links: a link is an error.
            absent_is_fine(fs::remove_dir_all(&folder)).map_err(failed(&folder))?;
            fs::create_dir(&folder).map_err(failed(&folder))?;
        }
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path as a shell takes it.
    pub(super) fn shown(&self, name: &str) -> String {
        let path = self.join(name).display().to_string();
        let plain = |character: char| character.is_alphanumeric() || "/._-+:@,".contains(character);
        if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
    }

    /// Writes a file whole: a reader sees all of it, or nothing.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), DemoError> {
        let path = self.join(name);
        let temporary = self.join(&format!(".{name}.tmp"));
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| DemoError::File { path, source })
    }
}

const MARKER: &str = ".made-by-kme-demo";
const FILES: &[&str] = &["demo.json", "north.toml", "south.toml", "link.toml", "link.csv", "qkdspec.toml"];
const FOLDERS: &[&str] = &["pki", "log", "data"];

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
