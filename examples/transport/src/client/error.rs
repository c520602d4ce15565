//! Why a request got no response.

use std::error::Error;
use std::io;
use std::sync::Arc;

use http::Extensions;
use hyper_util::client::legacy;

use super::line::LastWord;
use crate::identity::IdentityError;
use crate::tls::TlsError;

/// Why a request got no response. No variant holds octets of request or response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL is not an absolute `https` URL.
    #[error("not an absolute https URL")]
    NotHttps,
    /// No TCP connection to the server.
    #[error("cannot connect: {0}")]
    Connect(Arc<io::Error>),
    /// Connecting, TLS handshake included, took longer than [`ClientOptions::connect`](super::ClientOptions::connect).
    #[error("connecting timed out")]
    ConnectTimedOut,
    /// TLS failed: one side does not accept the other, or the stream is corrupt.
    ///
    /// In TLS 1.3 a server looks at the client certificate after the client's part of the handshake is done, so its refusal
    /// may arrive when the request has been sent.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The handshake succeeded with a key exchange that is not allowed.
    #[error("{0}")]
    KeyExchange(Arc<TlsError>),
    /// The server's certificate is valid, but not that of the expected KME (014-5.1-06). No request was sent.
    #[error("connected to {}, expected {expected:?}", found_text(found))]
    WrongIdentity {
        /// The identity the server should have.
        expected: String,
        /// The one it has.
        found: Result<String, IdentityError>,
    },
    /// The request took longer than [`ClientOptions::request`](super::ClientOptions::request). The server may have
    /// processed it.
    #[error("request timed out")]
    RequestTimedOut,
    /// The response body is larger than [`ClientOptions::body_octets`](super::ClientOptions::body_octets).
    #[error("response body of more than {limit} octets")]
    TooLarge {
        /// The limit, in octets.
        limit: usize,
    },
    /// The connection broke before the response was complete. The server may have processed the request.
    #[error("connection lost: {0}")]
    Disconnected(String),
    /// What came back is not HTTP.
    #[error("protocol: {0}")]
    Protocol(String),
}

impl ClientError {
    /// Finds the cause that says most in an error of hyper or hyper-util.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut connection = Extensions::new();
        if let Some(connected) = error.downcast_ref::<legacy::Error>().and_then(legacy::Error::connect_info) {
            connected.get_extras(&mut connection);
        }
        let mut found = None;
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<Self>() {
                return error.clone();
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                found = Some(match tls_failure(error) {
                    Some(failure) => Self::Tls(failure.clone()),
                    None => Self::Disconnected(error.to_string()),
                });
            } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
                let text = error.to_string();
                let broken = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
                found = Some(if broken { Self::Disconnected(text) } else { Self::Protocol(text) });
            }
            cause = error.source();
        }
        found.unwrap_or_else(|| Self::Protocol(error.to_string())).explained_by(&connection)
    }

    /// Puts the TLS failure of the connection, if there was one, in the place of its mere consequence.
    pub(super) fn explained_by(self, connection: &Extensions) -> Self {
        match (&self, connection.get::<LastWord>().and_then(LastWord::get)) {
            (Self::Disconnected(_) | Self::Protocol(_), Some(failure)) => Self::Tls(failure),
            _ => self,
        }
    }
}

/// The rustls error in an error of tokio-rustls.
pub(super) fn tls_failure(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn found_text(found: &Result<String, IdentityError>) -> String {
    match found {
        Ok(name) => format!("{name:?}"),
        Err(error) => format!("a server without identity ({error})"),
    }
}
