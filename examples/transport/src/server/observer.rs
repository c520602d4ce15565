//! What happens at a server besides requests, for logs and metrics.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsFailure};

use super::Peer;
use crate::tls::TlsError;

/// Is told what happens at a server besides requests. Called on the connection's task: must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Something that happened at a server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection is ready for requests: its handshake is done.
    Established {
        /// Who is there.
        peer: &'a Peer,
        /// How long the handshake took.
        handshake: Duration,
    },
    /// A connection that was [`Established`](Self::Established) has ended.
    Closed {
        /// Who was there.
        peer: &'a Peer,
    },
    /// A connection was closed at once, for there were too many.
    Refused {
        /// Where it came from.
        address: SocketAddr,
        /// Which limit it would have passed.
        limit: ConnectionLimit,
    },
    /// A TLS handshake failed.
    HandshakeFailed {
        /// Where the connection came from.
        address: SocketAddr,
        /// Why.
        failure: &'a HandshakeFailure,
    },
    /// A peer was too slow or there too long, and its connection is closed; after [`TimeLimit::Body`] it gets a response first.
    TimedOut {
        /// Who is there.
        peer: &'a Peer,
        /// Which limit has passed.
        limit: TimeLimit,
    },
    /// A request body was too large.
    BodyTooLarge {
        /// Who sent it.
        peer: &'a Peer,
    },
    /// A connection failed: reset, cut short, or not HTTP.
    ConnectionFailed {
        /// Who was there.
        peer: &'a Peer,
        /// What the HTTP library says; it quotes no input.
        reason: &'a (dyn Error + Send + Sync + 'static),
    },
    /// The handler panicked, and its connection is closed.
    HandlerPanicked,
    /// The operating system gives no more connections, for instance for want of file descriptors.
    AcceptFailed {
        /// What it says.
        reason: &'a io::Error,
    },
}

/// Which count of connections was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionLimit {
    /// [`Limits::connections`](super::Limits::connections).
    Total,
    /// [`Limits::connections_per_address`](super::Limits::connections_per_address).
    PerAddress,
}

/// Which time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeLimit {
    /// [`Limits::head`](super::Limits::head).
    Head,
    /// [`Limits::body`](super::Limits::body).
    Body,
    /// [`Limits::idle`](super::Limits::idle): the ordinary end of a kept-alive connection.
    Idle,
    /// [`Limits::age`](super::Limits::age), or the end of the certificate's validity.
    Age,
}

/// Why a TLS handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It took longer than [`Limits::handshake`](super::Limits::handshake).
    #[error("handshake timed out")]
    TimedOut,
    /// There were more than [`Limits::handshakes`](super::Limits::handshakes), and this one had to make room.
    #[error("too many handshakes at once")]
    TooMany,
    /// The connection broke, or the peer closed it.
    #[error("connection lost in the handshake: {0}")]
    Disconnected(io::Error),
    /// TLS says no, on either side.
    #[error("{0}")]
    Tls(TlsFailure),
    /// The handshake succeeded with a key exchange that is not allowed.
    #[error("{0}")]
    NotAllowed(TlsError),
}

impl HandshakeFailure {
    /// The kind of failure in a word or two, from a small fixed set: a metric label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::TooMany => "too_many",
            Self::Disconnected(_) => "disconnected",
            Self::NotAllowed(_) => "key_exchange",
            Self::Tls(failure) => match failure {
                TlsFailure::NoCertificatesPresented => "no_certificate",
                TlsFailure::InvalidCertificate(reason) => certificate_label(reason),
                TlsFailure::PeerIncompatible(_) => "incompatible",
                TlsFailure::PeerMisbehaved(_) | TlsFailure::InvalidMessage(_) => "protocol",
                TlsFailure::InappropriateMessage { .. } | TlsFailure::InappropriateHandshakeMessage { .. } => "protocol",
                TlsFailure::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => {
                    "incompatible"
                }
                TlsFailure::AlertReceived(_) => "refused_by_peer",
                TlsFailure::NoApplicationProtocol => "incompatible",
                _ => "other",
            },
        }
    }

    pub(super) fn from_io(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFailure>()) {
            Some(failure) => Self::Tls(failure.clone()),
            None => Self::Disconnected(error),
        }
    }
}

fn certificate_label(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate_not_valid_yet",
        CertificateError::Revoked => "certificate_revoked",
        CertificateError::UnknownRevocationStatus => "certificate_status_unknown",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "certificate_issuer",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "certificate_purpose",
        CertificateError::ApplicationVerificationFailure | CertificateError::Other(_) => "certificate_identity",
        _ => "certificate_other",
    }
}

/// Tells nobody.
pub(super) struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Event<'_>) {}
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
