//! Reading certificates, keys and revocation lists from PEM, with errors that name the file.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{NamedGroup, RootCertStore};
use zeroize::Zeroizing;

/// Where a PEM text comes from.
#[derive(Clone)]
pub enum Pem {
    /// A file, read when the configuration is built.
    File(PathBuf),
    /// A text in memory.
    Text {
        /// How errors call it.
        name: String,
        /// The PEM text; wiped when dropped, for it may be a private key.
        text: Zeroizing<String>,
    },
}

impl Pem {
    /// A PEM file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// A PEM text in memory that errors shall call `name`.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        Self::Text { name: name.to_owned(), text: Zeroizing::new(text.to_owned()) }
    }

    /// How errors call it: the path or the given name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| self.bad("not well-formed PEM"))?;
        if certificates.is_empty() {
            return Err(self.bad("holds no certificate"));
        }
        Ok(certificates)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        use rustls::pki_types::pem::Error;
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|error| match error {
            Error::NoItemsFound => self.bad("holds no private key"),
            // The parser's own text may quote the line, which may be key material.
            _ => self.bad("not well-formed PEM"),
        })
    }

    pub(super) fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let text = self.read()?;
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad("not well-formed PEM"))?;
        if lists.is_empty() {
            return Err(self.bad("holds no certificate revocation list"));
        }
        Ok(lists)
    }

    pub(super) fn add_roots(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|_| self.bad("holds a certificate that cannot be a trust root"))?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        match self {
            Self::File(path) => read_file(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source }),
            Self::Text { text, .. } => Ok(Zeroizing::new(text.as_bytes().to_vec())),
        }
    }

    fn bad(&self, reason: &'static str) -> TlsError {
        TlsError::BadPem { name: self.name(), reason }
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({})", self.name())
    }
}

/// Why a TLS configuration cannot be built, or a finished handshake is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A PEM text does not hold what it should.
    #[error("{name}: {reason}")]
    BadPem {
        /// The file, or the name given to the text.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The private key is not the one of the certificate.
    #[error("the private key in {key} does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// Certificate and key can be read, but not used.
    #[error("{certificate}, {key}: {reason}")]
    UnusableCredentials {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
        /// What rustls says.
        reason: rustls::Error,
    },
    /// The trust roots or revocation lists are not usable.
    #[error("{names}: {reason}")]
    UnusableTrust {
        /// The files, or names, of roots and revocation lists.
        names: String,
        /// What rustls says.
        reason: String,
    },
    /// A revocation list is not of one of the authorities, and would have no effect.
    #[error("{name}: holds a revocation list that none of the authorities signed")]
    ForeignList {
        /// The file, or the name given to the text.
        name: String,
    },
    /// There are revocation lists, but none of this authority: all its certificates would be refused.
    #[error("{name}: holds an authority that none of the revocation lists is of")]
    NoList {
        /// The file, or the name given to the text.
        name: String,
    },
    /// rustls refuses the protocol settings.
    #[error("TLS settings: {0}")]
    Settings(rustls::Error),
    /// A post-quantum key exchange was required, and another was negotiated.
    #[error("key exchange {negotiated:?} is not X25519MLKEM768")]
    NotPostQuantum {
        /// The group that was negotiated, if any.
        negotiated: Option<NamedGroup>,
    },
}

/// Reads into one buffer of the file's size, so that growing leaves no unwiped copy of a key.
fn read_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    use io::Read;
    const MAX_OCTETS: u64 = 16 * 1024 * 1024;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_OCTETS {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 16 MiB"));
    }
    // Within the limit just checked, this fits a usize.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    file.read_to_end(&mut text)?;
    Ok(text)
}
