//! An HTTPS client that keeps connections alive and shows what it is connected to.
//!
//! Before the first request on a connection, the server's certificate is verified against trust roots and host name, and, if
//! [`ClientOptions::expected_identity`] is set, its KME ID is compared (014-5.1-04 to 014-5.1-06). Redirects are not
//! followed: they would lead to a server nobody asked for.
//!
//! ```no_run
//! use bytes::Bytes;
//! use transport::client::{ClientOptions, HttpsClient, ServerFacts};
//! use transport::identity::IdentitySource;
//! use transport::tls::{self, Credentials, Pem, Trust};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let own = Credentials { certificate: Pem::file("red.pem"), key: Pem::file("red.key") };
//! let trust = Trust::roots(Pem::file("ca.pem"));
//! let tls = tls::northbound_client(Some(&own), &trust, &tls::Northbound::default())?;
//! let expected_identity = Some((IdentitySource::kme_uri(), "north".to_owned()));
//! let client = HttpsClient::new(tls, ClientOptions { expected_identity, ..ClientOptions::default() });
//! let request = http::Request::get("https://localhost:8443/api/v1/keys/blue/status").body(Bytes::new())?;
//! let response = client.send(request).await?;
//! if let Some(facts) = response.extensions().get::<ServerFacts>() {
//!     println!("{} over {}", response.status(), facts.negotiated.group_name());
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use zeroize::Zeroizing;

use crate::identity::IdentitySource;
use crate::tls::Negotiated;

mod connector;
mod error;
mod line;
mod wiped;

pub use error::ClientError;
pub use line::{LastWord, Line};

use connector::Connector;
use wiped::WipedBuffer;

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Time to connect, TLS handshake included. Default 10 s.
    pub connect: Duration,
    /// Time for a whole request, from connecting to the last octet of the response. Default 30 s.
    pub request: Duration,
    /// Octets of a response body. More is an error. Default 16 MiB.
    pub body_octets: usize,
    /// Unused connections kept for each server. Default 8.
    pub idle_connections: usize,
    /// How long an unused connection is kept. Default 30 s: less than a [`Server`](crate::server::Server) grants, so that a
    /// request seldom meets a connection about to be closed.
    pub idle: Duration,
    /// Where the server's certificate carries its ID, and which it has to be (014-5.1-05). Default: any server with a valid
    /// certificate for the host name.
    pub expected_identity: Option<(IdentitySource, String)>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            body_octets: 16 * 1024 * 1024,
            idle_connections: 8,
            idle: Duration::from_secs(30),
            expected_identity: None,
        }
    }
}

/// An HTTPS client. Clones share its connections.
#[derive(Clone)]
pub struct HttpsClient {
    http: Client<Connector, Full<Bytes>>,
    options: Arc<ClientOptions>,
}

impl HttpsClient {
    /// A client with TLS settings made by [`tls::northbound_client`](crate::tls::northbound_client) or
    /// [`tls::inter_kme_client`](crate::tls::inter_kme_client).
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, options: ClientOptions) -> Self {
        let options = Arc::new(options);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.idle)
            .pool_max_idle_per_host(options.idle_connections)
            .http1_max_buf_size(RESPONSE_BUFFER_OCTETS)
            .build(Connector::new(tls, options.clone()));
        Self { http, options }
    }

    /// Sends a request to an absolute `https` URL and awaits the whole response.
    ///
    /// A request is sent at most once, but for one case: a kept-alive connection turned out closed before any of the request
    /// was written. The response carries [`ServerFacts`] in its extensions, and its body is wiped when dropped.
    ///
    /// # Errors
    /// [`ClientError`]. A response with an error status is no error here.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Zeroizing<Vec<u8>>>, ClientError> {
        if request.uri().scheme() != Some(&Scheme::HTTPS) || request.uri().host().is_none() {
            return Err(ClientError::NotHttps);
        }
        tokio::time::timeout(self.options.request, self.exchange(request)).await.unwrap_or(Err(ClientError::RequestTimedOut))
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Zeroizing<Vec<u8>>>, ClientError> {
        let response = self.http.request(request.map(Full::new)).await.map_err(|error| ClientError::of(&error))?;
        let (parts, body) = response.into_parts();
        let body = collect(body, self.options.body_octets).await.map_err(|error| error.explained_by(&parts.extensions))?;
        Ok(Response::from_parts(parts, body))
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What a response came from: an extension of every response of [`HttpsClient::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFacts {
    /// The address connected to.
    pub address: SocketAddr,
    /// The server's certificate, DER.
    pub certificate: Bytes,
    /// What the handshake negotiated.
    pub negotiated: Negotiated,
}

/// How much of a response head hyper may hold.
const RESPONSE_BUFFER_OCTETS: usize = 64 * 1024;

async fn collect(mut body: Incoming, max: usize) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let too_large = ClientError::TooLarge { limit: max };
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    let mut collected = WipedBuffer::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| ClientError::of(&error))?.into_data() else { continue };
        if data.len() > max - collected.len() {
            return Err(too_large);
        }
        collected.push(data);
    }
    Ok(collected.into_inner())
}
