//! TLS settings of a client under test conditions.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore};

/// A client certificate with its chain and private key.
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// From PEM files. Without a key file, the key is looked for in the certificate's file and beside it (`.key`).
    pub(crate) fn load(certificate: &Path, key: Option<&Path>) -> Result<Self, String> {
        let chain = load_certificates(certificate)?;
        let beside: PathBuf = certificate.with_extension("key");
        let path = key.unwrap_or(if beside.exists() { &beside } else { certificate });
        let key = PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: no private key: {error}", path.display()))?;
        let credentials = Self { chain, key };
        let (chain, key) = credentials.copy();
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(_) => format!("{}: not the key of the certificate {}", path.display(), certificate.display()),
            error => format!("{} with {}: {error}", certificate.display(), path.display()),
        })?;
        Ok(credentials)
    }

    fn copy(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }
}

/// All certificates of a PEM file.
pub(crate) fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() { Err(format!("{}: no certificate in it", path.display())) } else { Ok(found) }
}

/// Which versions are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    Both,
    Only12,
    Only13,
}

/// How to make a handshake.
#[derive(Clone, Copy)]
pub(crate) struct TlsSettings<'a> {
    pub(crate) roots: &'a RootCertStore,
    pub(crate) credentials: Option<&'a Credentials>,
    pub(crate) versions: Versions,
    pub(crate) alpn: &'a [&'a str],
}

/// A client with these settings that never resumes a session.
pub(crate) fn client_config(settings: TlsSettings<'_>) -> Result<ClientConfig, String> {
    let versions: &[_] = match settings.versions {
        Versions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
        Versions::Only12 => &[&rustls::version::TLS12],
        Versions::Only13 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(settings.roots.clone());
    let mut config = match settings.credentials {
        Some(credentials) => {
            let (chain, key) = credentials.copy();
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// The one cryptographic library.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A ClientHello of TLS 1.2 or older, in a record of its own.
pub(crate) fn client_hello(version: u16, suites: &[u16], host: &str, random: &[u8; 32]) -> Vec<u8> {
    let sized = |octets: &[u8]| [&u16::try_from(octets.len()).unwrap_or_default().to_be_bytes()[..], octets].concat();
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let extension = |kind: u16, octets: &[u8]| [&kind.to_be_bytes()[..], &sized(octets)].concat();
    let mut extensions = Vec::new();
    if host.parse::<std::net::IpAddr>().is_err() {
        extensions.extend(extension(0, &sized(&[&[0][..], &sized(host.as_bytes())].concat())));
    }
    extensions.extend(extension(10, &sized(&words(&[0x001d, 0x0017, 0x0018]))));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &sized(&words(&[0x0403, 0x0503, 0x0401, 0x0501, 0x0804, 0x0203, 0x0201]))));
    let hello = [&version.to_be_bytes()[..], random, &[0], &sized(&words(suites)), &[1, 0], &sized(&extensions)].concat();
    let length = u32::try_from(hello.len()).unwrap_or_default().to_be_bytes();
    let message = [&[1][..], &length[1..], &hello].concat();
    [&[22, 3, 1][..], &sized(&message)].concat()
}
