//! A connection that remembers why TLS ended it: HTTP often tells but the consequence.
//!
//! In TLS 1.3 a server refuses a client's certificate after the client is through with its handshake.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::error::tls_failure;

/// The first TLS failure of a connection, once there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastWord(Arc<OnceLock<rustls::Error>>);

impl LastWord {
    /// The failure, if TLS said something.
    #[must_use]
    pub fn get(&self) -> Option<rustls::Error> {
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

/// A TLS connection that was dialled, and what its owner wants to know about it.
#[derive(Debug)]
pub struct Line<T> {
    stream: TlsStream<TcpStream>,
    about: T,
    last_word: LastWord,
}

impl<T> Line<T> {
    /// A connection after its handshake.
    pub fn new(stream: TlsStream<TcpStream>, about: T) -> Self {
        Self { stream, about, last_word: LastWord::default() }
    }

    /// What was said about it.
    pub fn about(&self) -> &T {
        &self.about
    }

    /// Why TLS ends it, once it does.
    pub fn last_word(&self) -> &LastWord {
        &self.last_word
    }
}

impl<T: Unpin> AsyncRead for Line<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.last_word.listen(polled)
    }
}

impl<T: Unpin> AsyncWrite for Line<T> {
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
