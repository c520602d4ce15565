//! Connecting: TCP, TLS, and a look at who is there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::tls_failure;
use super::{ClientError, ClientOptions, ServerFacts};
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

    async fn connect(self, uri: Uri) -> Result<TokioIo<SecureStream>, ClientError> {
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
        Ok(TokioIo::new(SecureStream { stream, facts, last_word: LastWord::default() }))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<SecureStream>;
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

/// The TLS failure that ended a connection, kept because hyper often reports but its consequence.
#[derive(Clone, Default)]
pub(super) struct LastWord(Arc<OnceLock<rustls::Error>>);

impl LastWord {
    pub(super) fn get(&self) -> Option<rustls::Error> {
        self.0.get().cloned()
    }

    fn listen<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(failure) = tls_failure(error)
        {
            // The first one counts.
            let _ = self.0.set(failure.clone());
        }
        polled
    }
}

/// A TLS stream that knows what it is connected to.
pub(super) struct SecureStream {
    stream: TlsStream<TcpStream>,
    facts: ServerFacts,
    last_word: LastWord,
}

impl Connection for SecureStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.facts.clone()).extra(self.last_word.clone());
        if self.facts.negotiated.http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.last_word.listen(polled)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.last_word.listen(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.last_word.listen(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.last_word.listen(polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.last_word.listen(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn not_connected(error: io::Error) -> ClientError {
    ClientError::Connect(Arc::new(error))
}
