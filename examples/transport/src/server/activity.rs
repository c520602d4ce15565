//! What a connection is busy with, and for how long it may be.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is busy with, as seen from its stream and from its requests.
///
/// Relaxed atomics do: on HTTP/1.1 all of it happens in one task, on HTTP/2 a late sight only shifts a time limit.
#[derive(Debug)]
pub(super) struct Activity {
    reading_head: AtomicBool,
    requests: AtomicUsize,
    turns: AtomicU32,
    last: AtomicBool,
}

/// What is to be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request.
    Idle,
    /// Some octets of a request head are here.
    Head,
    /// Requests are being read or answered: timed elsewhere, or not at all.
    Busy,
}

impl Activity {
    /// A fresh connection; `expects_request` when a request head is due now.
    pub(super) fn new(expects_request: bool) -> Self {
        Self {
            reading_head: AtomicBool::new(expects_request),
            requests: AtomicUsize::new(0),
            turns: AtomicU32::new(0),
            last: AtomicBool::new(false),
        }
    }

    /// The phase, and a number that changes whenever a request ends.
    pub(super) fn phase(&self) -> (Phase, u32) {
        let phase = if self.requests.load(Relaxed) > 0 {
            Phase::Busy
        } else if self.reading_head.load(Relaxed) {
            Phase::Head
        } else {
            Phase::Idle
        };
        (phase, self.turns.load(Relaxed))
    }

    /// A request head is complete.
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.reading_head.store(false, Relaxed);
    }

    /// A request is answered, or given up.
    pub(super) fn end(&self) {
        self.turns.fetch_add(1, Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    /// The response that comes now is to be the last one.
    pub(super) fn make_last(&self) {
        self.last.store(true, Relaxed);
    }

    /// Whether no request is to be taken any more.
    pub(super) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }

    /// Octets of a request head came, unless a request is under way.
    pub(super) fn octets_came(&self) {
        if self.requests.load(Relaxed) == 0 {
            self.reading_head.store(true, Relaxed);
        }
    }
}

/// A stream that notes when octets come.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Option<Arc<Activity>>,
}

impl<S> Watched<S> {
    pub(super) fn http1(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity: Some(activity) }
    }

    /// On HTTP/2, octets may be anything: only whole requests count.
    pub(super) fn http2(stream: S) -> Self {
        Self { stream, activity: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(activity) = &self.activity
            && buf.filled().len() > before
        {
            activity.octets_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
