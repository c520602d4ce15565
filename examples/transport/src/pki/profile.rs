//! Sets of certificates written to a folder: good ones, and ones a KME must refuse.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Authority, Leaf, PkiError, write_public};

/// One certificate of a set, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Profile {
    stem: String,
    leaf: Leaf,
    stranger: bool,
    revoked: bool,
}

impl Profile {
    /// A certificate to be written as `<stem>.pem` and `<stem>.key`.
    #[must_use]
    pub fn new(stem: &str, leaf: Leaf) -> Self {
        Self { stem: stem.to_owned(), leaf, stranger: false, revoked: false }
    }

    /// Has it signed by another authority that bears the same name.
    #[must_use]
    pub fn signed_by_stranger(mut self) -> Self {
        self.stranger = true;
        self
    }

    /// Puts its serial number on the revocation list.
    #[must_use]
    pub fn revoked(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// The certificates of the demonstration: KMEs `north` and `south`, SAEs `red`, `blue`, `green` and `grey`.
    #[must_use]
    pub fn demonstration() -> Vec<Self> {
        let kmes = ["north", "south"].map(|id| Self::new(id, Leaf::kme(id)));
        let saes = ["red", "blue", "green", "grey"].map(|id| Self::new(id, Leaf::sae(id)));
        kmes.into_iter().chain(saes).collect()
    }

    /// Certificates in the name of SAE `id` that a KME must refuse (014-5.1-07), each stem `<id>-<fault>`: `expired`,
    /// `not-yet-valid`, `revoked`, `stranger` (an unregistered authority of the same name), `self-signed`, `server-only` (no
    /// client use), and `unnamed` (no SAE ID, only a common name).
    #[must_use]
    pub fn refused(id: &str) -> Vec<Self> {
        let stem = |fault: &str| format!("{id}-{fault}");
        let tomorrow = std::time::SystemTime::now() + super::DAY;
        vec![
            Self::new(&stem("expired"), Leaf::sae(id).expired()),
            Self::new(&stem("not-yet-valid"), Leaf::sae(id).valid(tomorrow, tomorrow + super::DAY)),
            Self::new(&stem("revoked"), Leaf::sae(id)).revoked(),
            Self::new(&stem("stranger"), Leaf::sae(id)).signed_by_stranger(),
            Self::new(&stem("self-signed"), Leaf::sae(id).self_signed()),
            Self::new(&stem("server-only"), Leaf::sae(id).without_client_use()),
            Self::new(&stem("unnamed"), Leaf::bare(id)),
        ]
    }
}

/// Makes a new authority and the certificates of `profiles`, and writes them to `dir` (created if absent).
///
/// Files: `ca.pem`, `ca.key`, `crl.pem`, and `<stem>.pem` with `<stem>.key` for each profile. Key files have mode 0600.
///
/// # Errors
/// [`PkiError::Exists`] when `dir` holds a file of an authority, even if its key is kept elsewhere, [`PkiError::BadStem`] when a stem is no plain file name or is used twice,
/// otherwise as [`Authority::issue`] and [`Authority::save`].
pub fn write_pki(dir: &Path, common_name: &str, profiles: &[Profile]) -> Result<Authority, PkiError> {
    check_stems(profiles)?;
    fs::create_dir_all(dir).map_err(|source| PkiError::File { path: dir.into(), source })?;
    let [certificate, authority_key, list] = ["ca.pem", "ca.key", "crl.pem"].map(|file| dir.join(file));
    if [&certificate, &authority_key, &list].into_iter().any(|file| file.exists()) {
        return Err(PkiError::Exists(dir.into()));
    }
    let authority = Authority::new(common_name)?;
    let stranger = Authority::new(common_name)?;
    let mut revoked = Vec::new();
    for profile in profiles {
        let signer = if profile.stranger { &stranger } else { &authority };
        let issued = signer.issue(&profile.leaf)?;
        issued.save(dir, &profile.stem)?;
        if profile.revoked {
            revoked.push(issued.serial().to_vec());
        }
    }
    write_public(&list, &authority.crl(revoked.iter().map(Vec::as_slice))?)?;
    authority.save(&certificate, &authority_key)?;
    Ok(authority)
}

fn check_stems(profiles: &[Profile]) -> Result<(), PkiError> {
    let mut taken = BTreeSet::from(["ca", "crl"]);
    for Profile { stem, .. } in profiles {
        let plain = stem.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
        if stem.is_empty() || stem.starts_with('.') || !plain || !taken.insert(stem) {
            return Err(PkiError::BadStem(stem.clone()));
        }
    }
    Ok(())
}
