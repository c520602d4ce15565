//! Connecting: TCP, TLS, and a look at who is there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::tls_failure;
use super::{ClientError, ClientOptions, Line, ServerFacts};
use crate::identity::IdentityError;
use crate::tls::{Negotiated, assert_post_quantum};

/// Makes connections for hyper-util's client.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Arc<ClientConfig>,
    options: Arc<ClientOptions>,
}

impl Connector {
    pub(super) fn new(tls: Arc<ClientConfig>, options: Arc<ClientOptions>) -> Self {
        Self { tls, options }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Line<ServerFacts>>, ClientError> {
        let host = uri.host().ok_or(ClientError::NotHttps)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ClientError::NotHttps)?;
        let port = uri.port_u16().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await.map_err(not_connected)?;
        let address = stream.peer_addr().map_err(not_connected)?;
        stream.set_nodelay(true).map_err(not_connected)?;
        let stream =
            TlsConnector::from(self.tls.clone()).connect(name, stream).await.map_err(|error| match tls_failure(&error) {
                Some(failure) => ClientError::Tls(failure.clone()),
                None => not_connected(error),
            })?;
        let connection = stream.get_ref().1;
        assert_post_quantum(self.tls.crypto_provider(), connection).map_err(|error| ClientError::KeyExchange(Arc::new(error)))?;
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        if let Some((source, expected)) = &self.options.expected_identity {
            let found = leaf.map_or(Err(IdentityError::NoCertificate), |leaf| source.identify(leaf));
            if found.as_ref() != Ok(expected) {
                return Err(ClientError::WrongIdentity { expected: expected.clone(), found });
            }
        }
        let certificate = leaf.map(|leaf| Bytes::copy_from_slice(leaf)).unwrap_or_default();
        let facts = ServerFacts { address, certificate, negotiated: Negotiated::of(connection) };
        Ok(TokioIo::new(Line::new(stream, facts)))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Line<ServerFacts>>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let time = self.options.connect;
        let connected = self.clone().connect(uri);
        Box::pin(async move { tokio::time::timeout(time, connected).await.unwrap_or(Err(ClientError::ConnectTimedOut)) })
    }
}

impl Connection for Line<ServerFacts> {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.about().clone()).extra(self.last_word().clone());
        if self.about().negotiated.http2 { connected.negotiated_h2() } else { connected }
    }
}

fn not_connected(error: io::Error) -> ClientError {
    ClientError::Connect(Arc::new(error))
}
