//! Throw-away certificates (ECDSA P-256) for tests and demonstrations: a certificate authority, its leaves, its revocations.
//!
//! A leaf carries its ID three times, so that every [`IdentitySource`](crate::identity::IdentitySource) can find it: as URI
//! (`urn:qkd:sae:<id>` or `urn:qkd:kme:<id>`) and, where the ID is a DNS label, as DNS name in the subject alternative name,
//! and as common name. Private keys lie unencrypted in their files (mode 0600): do not use them for anything real.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::identity::{KME_URI_PREFIX, SAE_URI_PREFIX};

mod profile;

pub use profile::{Profile, write_pki};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority: signs leaves and revocation lists.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl Authority {
    /// A new authority with a self-signed certificate, valid from yesterday for ten years.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the key or certificate cannot be made.
    pub fn new(common_name: &str) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        params.not_before = OffsetDateTime::from(now - DAY);
        params.not_after = OffsetDateTime::from(now + 3650 * DAY);
        params.distinguished_name = named(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// An authority from its certificate and private key, both PEM.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when either cannot be read.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_pem(certificate, KeyPair::from_pem(key)?)?;
        Ok(Self { issuer, certificate_pem: certificate.to_owned() })
    }

    /// An authority from PEM files.
    ///
    /// # Errors
    /// [`PkiError::File`] when a file cannot be read, [`PkiError::Certificate`] when its contents cannot.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, PkiError> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|source| PkiError::File { path: path.into(), source });
        let key = Zeroizing::new(read(key)?);
        Self::from_pem(&read(certificate)?, &key)
    }

    /// Writes certificate and private key (mode 0600) as PEM files.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), PkiError> {
        write_public(certificate, &self.certificate_pem)?;
        write_private(key, &Zeroizing::new(self.issuer.key().serialize_pem()))
    }

    /// The authority's certificate, PEM: the trust root for those who verify its leaves.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Makes a key pair and a certificate for it as `leaf` describes.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the leaf holds text no certificate can carry.
    pub fn issue(&self, leaf: &Leaf) -> Result<Issued, PkiError> {
        let key = KeyPair::generate()?;
        let params = leaf.params()?;
        let certificate = if leaf.self_signed { params.self_signed(&key)? } else { params.signed_by(&key, &self.issuer)? };
        let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|_| PkiError::Unreadable)?;
        Ok(Issued {
            serial: parsed.raw_serial().to_vec(),
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// A certificate revocation list, PEM, valid from yesterday for a year.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when it cannot be made.
    pub fn crl<'a>(&self, revoked: impl IntoIterator<Item = &'a [u8]>) -> Result<String, PkiError> {
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let revoked_certs = revoked.into_iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: OffsetDateTime::from(now - DAY),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::from(now - DAY),
            next_update: OffsetDateTime::from(now + 365 * DAY),
            crl_number: SerialNumber::from(seconds),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What a leaf certificate shall say.
#[derive(Clone, Debug)]
pub struct Leaf {
    common_name: String,
    uris: Vec<String>,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    not_before: SystemTime,
    not_after: SystemTime,
    serial: Option<Vec<u8>>,
    self_signed: bool,
}

impl Leaf {
    /// A leaf without any name in the subject alternative name, for client use, valid from yesterday for a year.
    #[must_use]
    pub fn bare(common_name: &str) -> Self {
        let now = SystemTime::now();
        Self {
            common_name: common_name.to_owned(),
            uris: Vec::new(),
            hosts: Vec::new(),
            addresses: Vec::new(),
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
            not_before: now - DAY,
            not_after: now + 365 * DAY,
            serial: None,
            self_signed: false,
        }
    }

    /// The leaf of SAE `id`: client use only.
    #[must_use]
    pub fn sae(id: &str) -> Self {
        Self::bare(id).uri(&[SAE_URI_PREFIX, &percent_encoded(id)].concat()).id_host(id)
    }

    /// The leaf of KME `id`: server use, and client use towards peer KMEs and QKD devices. Reachable as `localhost`, by the
    /// loopback addresses, and as `id` where that is a DNS label.
    #[must_use]
    pub fn kme(id: &str) -> Self {
        let mut leaf = Self::bare(id).uri(&[KME_URI_PREFIX, &percent_encoded(id)].concat()).id_host(id).host("localhost");
        leaf.usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        leaf.address(Ipv4Addr::LOCALHOST.into()).address(Ipv6Addr::LOCALHOST.into())
    }

    /// Adds a URI to the subject alternative name.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// Adds a DNS name to the subject alternative name.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    /// Adds an IP address to the subject alternative name.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sets the period of validity.
    #[must_use]
    pub fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    /// Makes the certificate expired since yesterday.
    #[must_use]
    pub fn expired(self) -> Self {
        let now = SystemTime::now();
        self.valid(now - 2 * DAY, now - DAY)
    }

    /// Takes client use away; server use is put in its place if nothing else is left.
    #[must_use]
    pub fn without_client_use(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Has the certificate signed by its own key rather than by the authority.
    #[must_use]
    pub fn self_signed(mut self) -> Self {
        self.self_signed = true;
        self
    }

    /// Sets the serial number (big-endian, at most 20 octets, the first below 0x80); otherwise it comes from the public key.
    #[must_use]
    pub fn serial(mut self, serial: &[u8]) -> Self {
        self.serial = Some(serial.to_vec());
        self
    }

    fn id_host(self, id: &str) -> Self {
        if is_dns_label(id) { self.host(id) } else { self }
    }

    fn params(&self) -> Result<CertificateParams, PkiError> {
        let mut params = CertificateParams::default();
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for host in &self.hosts {
            params.subject_alt_names.push(SanType::DnsName(host.as_str().try_into()?));
        }
        params.subject_alt_names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name = named(&self.common_name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usages.clone();
        params.not_before = OffsetDateTime::from(self.not_before);
        params.not_after = OffsetDateTime::from(self.not_after);
        params.serial_number = self.serial.as_deref().map(SerialNumber::from_slice);
        params.use_authority_key_identifier_extension = !self.self_signed;
        Ok(params)
    }
}

/// A certificate with its private key.
pub struct Issued {
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    serial: Vec<u8>,
}

impl Issued {
    /// The certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key (PKCS #8), PEM. Wiped when this value is dropped.
    #[must_use]
    pub fn secret_key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The serial number, big-endian, as it stands in the certificate.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Writes `<stem>.pem` and `<stem>.key` (mode 0600) into `dir`.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, dir: &Path, stem: &str) -> Result<(), PkiError> {
        write_public(&dir.join(format!("{stem}.pem")), &self.certificate_pem)?;
        write_private(&dir.join(format!("{stem}.key")), &self.key_pem)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Why certificates could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A key, certificate or revocation list cannot be made or read.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A certificate just made cannot be read back.
    #[error("the new certificate cannot be read back")]
    Unreadable,
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The folder already holds an authority, which is not overwritten.
    #[error("{}: there is an authority already", .0.display())]
    Exists(PathBuf),
    /// Two profiles, or a profile and the authority, would be written to the same file.
    #[error("{0:?} cannot be a file name here, or is used twice")]
    BadStem(String),
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn percent_encoded(id: &str) -> String {
    let mut encoded = String::with_capacity(id.len());
    for octet in id.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
    }
    encoded
}

fn is_dns_label(id: &str) -> bool {
    (1..=63).contains(&id.len())
        && id.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !id.starts_with('-')
        && !id.ends_with('-')
}

fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    fs::write(path, text).map_err(|source| PkiError::File { path: path.into(), source })
}

/// Writes beside the target and renames, so that the key never lies in a file with the mode of an older one.
fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let temporary = path.with_extension("key.tmp");
    let write = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        options.open(&temporary)?.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| PkiError::File { path: path.into(), source })
}
