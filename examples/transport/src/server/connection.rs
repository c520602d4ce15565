//! One connection, from its handshake to its end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Phase, Watched};
use super::clock::Clock;
use super::handshakes::Handshake;
use super::limits::HYPER_HEADER_FIELDS;
use super::request::{Session, Turn, respond};
use super::slots::{Slot, Slots};
use super::{Event, Handler, HandshakeFailure, Limits, Observer, Peer, Signal, TimeLimit};
use crate::identity::{IdentityError, IdentitySource};
use crate::tls::{ServerTls, assert_post_quantum};

/// A connection that has just come in.
pub(super) struct Arrival<H> {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) handler: Arc<H>,
    pub(super) limits: Arc<Limits>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) signal: watch::Receiver<Signal>,
    pub(super) slots: Slots,
    pub(super) handshake: Handshake,
}

impl<H: Handler> Arrival<H> {
    pub(super) async fn serve_plain(self) {
        drop(self.handshake);
        let Some(_slot) = slot(&self.slots, self.address, &self.limits, &*self.observer) else { return };
        let peer = Peer::new(self.address, Err(IdentityError::NoCertificate));
        let established = Established::new(peer, Duration::ZERO, self.handler, self.limits, self.observer, true);
        established.serve_http1(self.stream, self.signal).await;
    }

    pub(super) async fn serve_tls(mut self, tls: &ServerTls, identity: &IdentitySource) {
        let start = Instant::now();
        let shaken = {
            // On a receiver of its own: settings that change during the handshake concern the connection made by it.
            let mut signal = self.signal.clone();
            let stopping = signal.wait_for(|signal| *signal == Signal::Stop);
            tokio::select! {
                shaken = timeout(self.limits.handshake, shake_hands(self.stream, tls)) => {
                    shaken.unwrap_or(Err((HandshakeFailure::TimedOut, None)))
                }
                () = self.handshake.evicted() => Err((HandshakeFailure::TooMany, None)),
                _ = stopping => return,
            }
        };
        let stream = match shaken {
            Ok(stream) => stream,
            Err((failure, stream)) => {
                self.observer.observe(&Event::HandshakeFailed { address: self.address, failure: &failure });
                if let Some(stream) = stream {
                    linger(stream).await;
                }
                return;
            }
        };
        let slot = slot(&self.slots, self.address, &self.limits, &*self.observer);
        drop(self.handshake);
        let Some(_slot) = slot else { return };
        let peer = Peer::authenticated(self.address, stream.get_ref().1, identity);
        let http2 = peer.negotiated.is_some_and(|negotiated| negotiated.http2);
        let established = Established::new(peer, start.elapsed(), self.handler, self.limits, self.observer, !http2);
        if http2 {
            established.serve_http2(stream, self.signal).await;
        } else {
            established.serve_http1(stream, self.signal).await;
        }
    }
}

/// The place of a connection that is through with its handshake. It is given back after all else of the connection.
fn slot(slots: &Slots, address: SocketAddr, limits: &Limits, observer: &dyn Observer) -> Option<Slot> {
    slots.take(address.ip(), limits).inspect_err(|&limit| observer.observe(&Event::Refused { address, limit })).ok()
}

type Failed = (HandshakeFailure, Option<TcpStream>);

async fn shake_hands(stream: TcpStream, tls: &ServerTls) -> Result<TlsStream<TcpStream>, Failed> {
    let config = tls.current();
    let accept = TlsAcceptor::from(config.clone()).accept(stream).into_fallible();
    let stream = accept.await.map_err(|(error, stream)| (HandshakeFailure::from_io(error), Some(stream)))?;
    assert_post_quantum(config.crypto_provider(), stream.get_ref().1)
        .map_err(|error| (HandshakeFailure::NotAllowed(error), None))?;
    Ok(stream)
}

/// Reads a little more from a peer whose handshake was refused. Closing with unread octets would reset the connection, and
/// the peer would learn nothing of the alert that tells it why.
async fn linger(mut stream: TcpStream) {
    const OCTETS: u64 = 64 * 1024;
    const TIME: Duration = Duration::from_secs(1);
    let _ = timeout(TIME, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(OCTETS), &mut tokio::io::sink()).await
    })
    .await;
}

/// A connection ready for requests.
struct Established<H>(Arc<Session<H>>);

impl<H: Handler> Established<H> {
    fn new(
        peer: Peer,
        handshake: Duration,
        handler: Arc<H>,
        limits: Arc<Limits>,
        observer: Arc<dyn Observer>,
        expects_request: bool,
    ) -> Self {
        observer.observe(&Event::Established { peer: &peer, handshake });
        let activity = Arc::new(Activity::new(expects_request));
        Self(Arc::new(Session { handler, peer, limits, observer, activity }))
    }

    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + 'static>(&self, stream: S, signal: watch::Receiver<Signal>) {
        let session = &self.0;
        let service = service_fn(|request| respond(Turn::begin(session.clone()), request));
        let mut http = http1::Builder::new();
        http.max_header_size(session.limits.head_octets).max_buf_size(session.limits.head_octets.max(HTTP1_BUFFER_OCTETS));
        if session.limits.header_fields != HYPER_HEADER_FIELDS {
            http.max_headers(session.limits.header_fields);
        }
        let stream = TokioIo::new(Watched::http1(stream, session.activity.clone()));
        self.drive(http.serve_connection(stream, service), signal).await;
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin + 'static>(&self, stream: S, signal: watch::Receiver<Signal>) {
        let session = self.0.clone();
        let service = service_fn(move |request| respond(Turn::begin(session.clone()), request));
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.max_header_list_size(u32::try_from(self.0.limits.head_octets).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.0.limits.http2_streams);
        let stream = TokioIo::new(Watched::http2(stream));
        self.drive(http.serve_connection(stream, service), signal).await;
    }

    /// Runs the connection to its end, within its time limits, and lets it finish early when told to.
    async fn drive<C, E>(&self, connection: C, signal: watch::Receiver<Signal>)
    where
        C: GracefulConnection<Error = E> + Future<Output = Result<(), E>>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut connection = pin!(connection);
        let mut clock = pin!(Clock::new(&self.0.activity, &self.0.limits, self.0.peer.time_left(self.0.limits.age)));
        let mut listening = signal.clone();
        let mut finish = pin!(listening.changed());
        let mut listener: Option<Waker> = None;
        let mut finishing = false;
        let ended = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Ok(ended));
                }
                // Nearly always, nothing has changed, and the future knows already whom to wake. The signal never goes away
                // before the connection does, so an error means to finish as well.
                if !finishing && self.0.activity.is_last() {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                let known = listener.as_ref().is_some_and(|listener| listener.will_wake(cx.waker()));
                let polled = !finishing && (!known || signal.has_changed().unwrap_or(true));
                if polled && finish.as_mut().poll(cx).is_ready() {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                    if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                        return Poll::Ready(Ok(ended));
                    }
                    // hyper would wait for the rest of a request head.
                    if self.0.activity.phase().0 == Phase::Head {
                        return Poll::Ready(Ok(Ok(())));
                    }
                    continue;
                }
                if !known {
                    listener = Some(cx.waker().clone());
                }
                match clock.as_mut().poll_limit(cx) {
                    Poll::Ready(limit @ (TimeLimit::Idle | TimeLimit::Age)) if !finishing => {
                        finishing = true;
                        self.0.observer.observe(&Event::TimedOut { peer: &self.0.peer, limit });
                        connection.as_mut().graceful_shutdown();
                    }
                    // It is finishing already, within the other limits.
                    Poll::Ready(TimeLimit::Age) => {}
                    Poll::Ready(limit) => return Poll::Ready(Err(limit)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.0.observer.observe(&Event::ConnectionFailed { peer: &self.0.peer, reason: &reason }),
            Err(limit) => self.0.observer.observe(&Event::TimedOut { peer: &self.0.peer, limit }),
        }
    }
}

impl<H> Drop for Established<H> {
    fn drop(&mut self) {
        self.0.observer.observe(&Event::Closed { peer: &self.0.peer });
    }
}

/// The least that hyper grants an HTTP/1.1 connection as buffer, with room for a few heads.
const HTTP1_BUFFER_OCTETS: usize = 64 * 1024;
