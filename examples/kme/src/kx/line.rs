//! A dialled connection that remembers why TLS ended it: HTTP/2 tells but the consequence.
//!
//! In TLS 1.3 a server refuses a client's certificate after the client is through with its handshake.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Failure;

/// The first TLS failure of a connection, once there is one.
#[derive(Clone, Default)]
pub(super) struct LastWord(Arc<OnceLock<rustls::Error>>);

impl LastWord {
    /// What the failure of a session is due to: TLS if it said something, else what gRPC says.
    pub(super) fn or(&self, code: tonic::Code) -> Failure {
        self.0.get().cloned().map_or(Failure::Session(code), Failure::Tls)
    }

    fn listen<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            // The first one counts.
            let _ = self.0.set(failure.clone());
        }
        polled
    }
}

/// The connection.
pub(super) struct Line {
    stream: TlsStream<TcpStream>,
    last_word: LastWord,
}

impl Line {
    pub(super) fn new(stream: TlsStream<TcpStream>, last_word: LastWord) -> Self {
        Self { stream, last_word }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.last_word.listen(polled)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.last_word.listen(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.last_word.listen(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
