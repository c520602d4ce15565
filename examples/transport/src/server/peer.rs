//! Who is at the other end of a connection.

use std::any::Any;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::CommonState;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::{IdentityError, IdentitySource};
use crate::tls::{Negotiated, validity_left};

/// Who is at the other end of a connection: worked out once, after the handshake, and the same for all its requests.
#[derive(Debug)]
#[non_exhaustive]
pub struct Peer {
    /// The address the connection comes from.
    pub address: SocketAddr,
    /// The identity in the certificate, or why there is none. The certificate is verified either way.
    pub identity: Result<String, IdentityError>,
    /// The certificate, on a TLS connection.
    pub certificate: Option<PeerCertificate>,
    /// What the handshake negotiated, on a TLS connection.
    pub negotiated: Option<Negotiated>,
    /// How long the certificate was still valid when the connection began.
    validity_left: Duration,
    cache: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Peer {
    /// A peer without TLS facts, as on a plain connection; also for tests of handlers.
    #[must_use]
    pub fn new(address: SocketAddr, identity: Result<String, IdentityError>) -> Self {
        Self { address, identity, certificate: None, negotiated: None, validity_left: Duration::MAX, cache: OnceLock::new() }
    }

    /// A value that the handler derives from this peer once for all requests of the connection, such as a typed ID with its
    /// rights. `None` if an earlier call has put a value of another type there.
    pub fn cached<T: Send + Sync + 'static>(&self, derive: impl FnOnce(&Self) -> T) -> Option<&T> {
        self.cache.get_or_init(|| Box::new(derive(self))).downcast_ref()
    }

    /// How long a connection may last that is used for `age` at the most.
    pub(super) fn time_left(&self, age: Duration) -> Duration {
        age.min(self.validity_left)
    }

    pub(super) fn authenticated(address: SocketAddr, connection: &CommonState, source: &IdentitySource) -> Self {
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        let identity = leaf.map_or(Err(IdentityError::NoCertificate), |leaf| source.identify(leaf));
        Self {
            certificate: leaf.map(|leaf| PeerCertificate::of(leaf)),
            negotiated: Some(Negotiated::of(connection)),
            validity_left: validity_left(connection),
            ..Self::new(address, identity)
        }
    }
}

/// What tells one certificate from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The serial number, big-endian, in lower-case hexadecimal.
    pub serial: String,
    /// The SHA-256 of the DER certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

impl PeerCertificate {
    fn of(der: &[u8]) -> Self {
        let serial = X509Certificate::from_der(der).map(|(_, certificate)| hex(certificate.raw_serial()));
        Self { serial: serial.unwrap_or_default(), fingerprint: hex(&Sha256::digest(der)) }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}
