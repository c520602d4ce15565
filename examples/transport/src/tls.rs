//! rustls configurations for the two kinds of channel, and what a finished handshake negotiated.
//!
//! *Northbound* (SAE to KME, GS QKD 014 clause 5.1): TLS 1.3 or 1.2 (014-5.1-02), certificates on both sides (014-5.1-03),
//! X25519MLKEM768 preferred over X25519 and P-256. *Inter-KME*: TLS 1.3, X25519MLKEM768 and nothing else, HTTP/2.
//!
//! Sessions are never resumed, on either side: a resumed session skips certificate verification, so a certificate that has
//! expired or been revoked in the meantime would still be let in (014-5.1-04, 014-5.1-07). Connections are kept alive
//! instead.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, CommonState, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

mod pem;
mod revocation;

pub use pem::{Pem, TlsError};

/// A certificate chain, leaf first, and its private key.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The chain.
    pub certificate: Pem,
    /// The private key of the leaf: PKCS #8, SEC 1 or PKCS #1.
    pub key: Pem,
}

/// Whom to believe.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The certificates of the authorities.
    pub roots: Vec<Pem>,
    /// Revocation lists. Without any, revocation is not looked at. With some, each certificate of a chain below its root must
    /// have its issuer's list here: unless that is known, a certificate is refused. Each root must have a list, and each list a
    /// root that signed it.
    pub crls: Vec<Pem>,
    /// Whether a revocation list past its `nextUpdate` makes certificates of its issuer unacceptable.
    pub refuse_stale_crls: bool,
}

impl Trust {
    /// One file of authorities, no revocation list.
    #[must_use]
    pub fn roots(pem: Pem) -> Self {
        Self { roots: vec![pem], crls: Vec::new(), refuse_stale_crls: false }
    }

    /// Adds a revocation list.
    #[must_use]
    pub fn with_crl(mut self, pem: Pem) -> Self {
        self.crls.push(pem);
        self
    }

    fn store(&self) -> Result<Arc<RootCertStore>, TlsError> {
        let mut store = RootCertStore::empty();
        self.roots.iter().try_for_each(|pem| pem.add_roots(&mut store))?;
        Ok(Arc::new(store))
    }

    fn unusable(&self, reason: &dyn fmt::Display) -> TlsError {
        let names: Vec<_> = self.roots.iter().chain(&self.crls).map(Pem::name).collect();
        TlsError::UnusableTrust { names: names.join(", "), reason: reason.to_string() }
    }
}

/// The choices of a northbound channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Northbound {
    /// Which key exchanges are allowed.
    pub key_exchange: KeyExchange,
    /// Offers HTTP/2 beside HTTP/1.1. Off by default.
    pub http2: bool,
}

/// Which key exchanges a northbound channel allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768, then X25519, then P-256; TLS 1.3 or 1.2.
    #[default]
    PostQuantumPreferred,
    /// X25519MLKEM768 only, hence TLS 1.3 only.
    PostQuantumOnly,
}

/// The configuration of a server for SAEs.
///
/// # Errors
/// [`TlsError`], naming the file at fault.
pub fn northbound_server(own: &Credentials, trust: &Trust, options: &Northbound) -> Result<Arc<ServerConfig>, TlsError> {
    server(own, trust, &ChannelProfile::northbound(options))
}

/// The configuration of a server for peer KMEs.
///
/// # Errors
/// [`TlsError`], naming the file at fault.
pub fn inter_kme_server(own: &Credentials, trust: &Trust) -> Result<Arc<ServerConfig>, TlsError> {
    server(own, trust, &ChannelProfile::inter_kme())
}

/// The configuration of an SAE, or of a KME towards a QKD device. Without `own`, no client certificate is presented.
///
/// The server's certificate must be valid and carry the host name or address of the URL (014-5.1-04).
///
/// # Errors
/// [`TlsError`], naming the file at fault.
pub fn northbound_client(own: Option<&Credentials>, trust: &Trust, options: &Northbound) -> Result<Arc<ClientConfig>, TlsError> {
    client(own, trust, &ChannelProfile::northbound(options))
}

/// The configuration of a KME that connects to a peer KME.
///
/// # Errors
/// [`TlsError`], naming the file at fault.
pub fn inter_kme_client(own: &Credentials, trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    client(Some(own), trust, &ChannelProfile::inter_kme())
}

/// A configuration that can be replaced while it is in use; clones share it.
#[derive(Debug)]
pub struct Replaceable<C> {
    current: Arc<watch::Sender<Arc<C>>>,
}

/// What a server runs with.
pub type ServerTls = Replaceable<ServerConfig>;

/// What connections are dialled with.
pub type ClientTls = Replaceable<ClientConfig>;

impl<C> Replaceable<C> {
    /// Starts with `config`.
    #[must_use]
    pub fn new(config: Arc<C>) -> Self {
        Self { current: Arc::new(watch::Sender::new(config)) }
    }

    /// The configuration for new connections.
    #[must_use]
    pub fn current(&self) -> Arc<C> {
        self.current.borrow().clone()
    }

    /// Replaces the configuration, for instance after a new revocation list.
    ///
    /// Connections made under the old one finish the request they are at and are closed, so that a certificate revoked now
    /// does not stay in by keeping its connection alive.
    pub fn replace(&self, config: Arc<C>) {
        self.current.send_replace(config);
    }

    /// Tells of each replacement from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Arc<C>> {
        self.current.subscribe()
    }
}

impl<C> Clone for Replaceable<C> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

/// What a handshake negotiated, in names fit for logs and metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// `TLSv1.2`, `TLSv1.3`, or `unknown`.
    pub version: &'static str,
    /// The key exchange group.
    pub group: Option<NamedGroup>,
    /// The cipher suite by its IANA name, or `unknown`.
    pub cipher_suite: &'static str,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
}

impl Negotiated {
    /// Reads a connection after its handshake.
    #[must_use]
    pub fn of(connection: &CommonState) -> Self {
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => UNKNOWN,
            },
            group: negotiated_group(connection),
            cipher_suite: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or(UNKNOWN),
            http2: connection.alpn_protocol() == Some(HTTP2),
        }
    }

    /// The name of the key exchange group, or `unknown`.
    #[must_use]
    pub fn group_name(&self) -> &'static str {
        self.group.as_ref().and_then(NamedGroup::as_str).unwrap_or(UNKNOWN)
    }
}

/// The key exchange group of a connection after its handshake.
#[must_use]
pub fn negotiated_group(connection: &CommonState) -> Option<NamedGroup> {
    connection.negotiated_key_exchange_group().map(SupportedKxGroup::name)
}

/// How long the peer's certificate is still valid, by this machine's clock; no time without one that can be read. To be looked
/// at after the handshake, by whoever keeps connections for long: nothing else ends them with the certificate (014-5.1-07).
#[must_use]
pub fn validity_left(connection: &CommonState) -> Duration {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let parsed = leaf.and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let left = parsed.and_then(|(_, certificate)| certificate.validity().time_to_expiration());
    left.and_then(|left| left.try_into().ok()).unwrap_or_default()
}

/// Makes sure that a finished handshake used X25519MLKEM768 where `provider`, the connection's own, allows nothing else.
///
/// The configuration sees to that already; this catches a mistake in it. [`server`](crate::server) and
/// [`client`](crate::client) call it; whoever does a handshake by other means should, too.
///
/// # Errors
/// [`TlsError::NotPostQuantum`].
pub fn assert_post_quantum(provider: &CryptoProvider, connection: &CommonState) -> Result<(), TlsError> {
    let negotiated = negotiated_group(connection);
    let required = provider.kx_groups.iter().all(|group| group.name() == NamedGroup::X25519MLKEM768);
    if required && negotiated != Some(NamedGroup::X25519MLKEM768) {
        return Err(TlsError::NotPostQuantum { negotiated });
    }
    Ok(())
}

static TLS12_OR_13: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&TLS13];
const UNKNOWN: &str = "unknown";
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

struct ChannelProfile {
    groups: Vec<&'static dyn SupportedKxGroup>,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: Vec<Vec<u8>>,
}

impl ChannelProfile {
    fn northbound(options: &Northbound) -> Self {
        let (groups, versions) = match options.key_exchange {
            KeyExchange::PostQuantumPreferred => {
                (vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1], TLS12_OR_13)
            }
            KeyExchange::PostQuantumOnly => (vec![kx_group::X25519MLKEM768], TLS13_ONLY),
        };
        let alpn = if options.http2 { vec![HTTP2.to_vec(), HTTP1.to_vec()] } else { vec![HTTP1.to_vec()] };
        Self { groups, versions, alpn }
    }

    fn inter_kme() -> Self {
        let groups = vec![kx_group::X25519MLKEM768];
        Self { groups, versions: TLS13_ONLY, alpn: vec![HTTP2.to_vec()] }
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider { kx_groups: self.groups.clone(), ..aws_lc_rs::default_provider() })
    }
}

fn server(own: &Credentials, trust: &Trust, profile: &ChannelProfile) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = profile.provider();
    let mut verifier = WebPkiClientVerifier::builder_with_provider(trust.store()?, provider.clone())
        .with_crls(revocation::lists(trust, &provider)?);
    if trust.refuse_stale_crls {
        verifier = verifier.enforce_revocation_expiration();
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(profile.versions)
        .map_err(TlsError::Settings)?
        .with_client_cert_verifier(verifier.build().map_err(|reason| trust.unusable(&reason))?)
        .with_single_cert(own.certificate.certificates()?, own.key.private_key()?)
        .map_err(|reason| own.refused(reason))?;
    config.alpn_protocols.clone_from(&profile.alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client(own: Option<&Credentials>, trust: &Trust, profile: &ChannelProfile) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = profile.provider();
    let mut verifier = WebPkiServerVerifier::builder_with_provider(trust.store()?, provider.clone())
        .with_crls(revocation::lists(trust, &provider)?);
    if trust.refuse_stale_crls {
        verifier = verifier.enforce_revocation_expiration();
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(profile.versions)
        .map_err(TlsError::Settings)?
        .with_webpki_verifier(verifier.build().map_err(|reason| trust.unusable(&reason))?);
    let mut config = match own {
        Some(own) => builder
            .with_client_auth_cert(own.certificate.certificates()?, own.key.private_key()?)
            .map_err(|reason| own.refused(reason))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&profile.alpn);
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl Credentials {
    fn refused(&self, reason: rustls::Error) -> TlsError {
        let (certificate, key) = (self.certificate.name(), self.key.name());
        match reason {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch { certificate, key },
            reason => TlsError::UnusableCredentials { certificate, key, reason },
        }
    }
}
