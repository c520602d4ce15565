//! What goes wrong between two KMEs.

use std::io;
use std::time::Duration;

use itu_y3803::KmId;
use rustls::CommonState;
use transport::identity::{IdentityError, IdentitySource};
use transport::tls::{TlsError, assert_post_quantum, negotiated_group, validity_left};

use super::wire::WireError;

/// Why a connection between KMEs was not made, or was cut off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// TCP failed, or the connection broke in the handshake.
    #[error("no connection: {0}")]
    Connection(io::Error),
    /// It took too long.
    #[error("no connection: time out")]
    TimedOut,
    /// TLS says no, on either side.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The key exchange was not the post-quantum one.
    #[error("{0}")]
    KeyExchange(TlsError),
    /// HTTP/2 was not agreed upon.
    #[error("HTTP/2 was not negotiated")]
    NotHttp2,
    /// The certificate names no KME.
    #[error("no KME ID: {0}")]
    Identity(IdentityError),
    /// The certificate names a KME that is no neighbour.
    #[error("the KME {found:?} is not configured as a neighbour")]
    NotANeighbour {
        /// Whom it names.
        found: String,
    },
    /// The certificate names another KME than the one that was dialled.
    #[error("dialled the KME {dialled}, found {found:?}")]
    AnotherKme {
        /// Who was dialled.
        dialled: KmId,
        /// Who answered.
        found: String,
    },
    /// gRPC failed; what the other end says about it is left out.
    #[error("no session: {0:?}")]
    Session(tonic::Code),
    /// What was received cannot be read.
    #[error("{0}")]
    Unreadable(WireError),
    /// More connections came in than can be served; this was the oldest one not yet through its handshake.
    #[error("too many connections at once")]
    TooMany,
}

impl Failure {
    /// The kind of failure in a word or two, from a small fixed set: a metric label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::TimedOut => "timeout",
            Self::Tls(_) => "tls",
            Self::KeyExchange(_) => "key_exchange",
            Self::NotHttp2 => "not_http2",
            Self::Identity(_) => "no_kme_id",
            Self::NotANeighbour { .. } => "not_a_neighbour",
            Self::AnotherKme { .. } => "another_kme",
            Self::Session(_) => "session",
            Self::Unreadable(_) => "unreadable",
            Self::TooMany => "too_many",
        }
    }

    pub(super) fn handshake(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(failure) => Self::Tls(failure.clone()),
            None => Self::Connection(error),
        }
    }
}

/// The other end, after a handshake that is as it must be.
pub(super) struct Shaken {
    /// Its KME ID.
    pub(super) found: String,
    /// The name of the key exchange group.
    pub(super) group: &'static str,
    /// How long its certificate is still valid, and hence the connection good.
    pub(super) validity_left: Duration,
}

/// Looks at a connection after its handshake.
pub(super) fn check_handshake(
    provider: &rustls::crypto::CryptoProvider,
    connection: &CommonState,
    identity: &IdentitySource,
) -> Result<Shaken, Failure> {
    assert_post_quantum(provider, connection).map_err(Failure::KeyExchange)?;
    if connection.alpn_protocol() != Some(b"h2") {
        return Err(Failure::NotHttp2);
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or(Failure::Identity(IdentityError::NoCertificate))?;
    let found = identity.identify(certificate).map_err(Failure::Identity)?;
    let group = negotiated_group(connection).and_then(|group| group.as_str()).unwrap_or("unknown");
    Ok(Shaken { found, group, validity_left: validity_left(connection) })
}
