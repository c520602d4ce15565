//! HTTP/1.1 over TLS or plain TCP, octet by octet: what goes out is what a case wrote, what comes in is kept as it came.

mod response;
mod stream;
mod tls;
mod url;

pub(crate) use response::{MAX_BODY, Response, read_response};
pub(crate) use stream::{Stream, TlsFacts};
pub(crate) use tls::{Credentials, TlsSettings, Versions, client_config, client_hello, load_certificates, provider};
pub(crate) use url::{BaseUrl, percent_encoded};

/// How an alert of the peer is told.
const ALERT: &str = "received fatal alert: ";

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// No TCP connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// TLS failed: the peer sent an alert, or its certificate is not the one expected.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection was closed or reset before the response was complete.
    #[error("closed {0}")]
    Closed(String),
    #[error("no {0} in time")]
    Timeout(&'static str),
    /// What came is not HTTP.
    #[error("not readable as HTTP: {0}")]
    Malformed(String),
    /// It may be right, but is more than this program reads.
    #[error("too much: {0}")]
    TooMuch(String),
}

/// How it is told that this program ended a connection.
pub(crate) const OURS: &str = "by this program";

impl WireError {
    /// Whether the peer has said nothing: an alert is an answer, and what this program ended is not the peer's doing.
    pub(crate) fn is_silence(&self) -> bool {
        self.alert().is_none() && !matches!(self, Self::Closed(how) if how == OURS)
    }

    /// The alert by which the peer ended it.
    pub(crate) fn alert(&self) -> Option<&str> {
        match self {
            Self::Tls(why) => why.strip_prefix(ALERT),
            _ => None,
        }
    }
}
