//! What the demonstration of the reference KME leaves for its clients: `demo.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

const FILE_NAME: &str = "demo.json";

/// The members of `demo.json` that a client needs; others are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Demo {
    ca: PathBuf,
    kmes: BTreeMap<String, Kme>,
    saes: BTreeMap<String, Sae>,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Kme {
    url: String,
}

#[derive(Debug, Deserialize)]
struct Sae {
    kme: String,
    cert: PathBuf,
    key: PathBuf,
}

/// What one SAE needs to talk to its KME. Relative paths of the file are resolved against its folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) kme: String,
    pub(crate) kme_id: String,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Demo {
    /// Reads the file, or the one in the folder, at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, DemoError> {
        let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
        let text = fs::read(&path).map_err(|source| DemoError::Unreadable { path: path.clone(), source })?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        match serde_json::from_slice::<Self>(&text) {
            Ok(demo) => Ok(Self { folder, ..demo }),
            Err(source) => Err(DemoError::Malformed { path, source }),
        }
    }

    /// What SAE `id` needs.
    pub(crate) fn access(&self, id: &str) -> Result<Access, DemoError> {
        let Some(sae) = self.saes.get(id) else {
            let known: Vec<&str> = self.saes.keys().map(String::as_str).collect();
            return Err(DemoError::UnknownSae { id: id.to_owned(), known: known.join(", ") });
        };
        let kme = self.kmes.get(&sae.kme).ok_or_else(|| DemoError::UnknownKme { id: id.to_owned(), kme: sae.kme.clone() })?;
        Ok(Access {
            kme: kme.url.clone(),
            kme_id: sae.kme.clone(),
            ca: self.folder.join(&self.ca),
            cert: self.folder.join(&sae.cert),
            key: self.folder.join(&sae.key),
        })
    }
}

/// Why a demonstration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("{}: {source}; start the demonstration first, or name its folder", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("the demonstration has no SAE {id:?}; it has {known}")]
    UnknownSae { id: String, known: String },
    #[error("the demonstration has SAE {id:?} at KME {kme:?}, which it does not describe")]
    UnknownKme { id: String, kme: String },
}
