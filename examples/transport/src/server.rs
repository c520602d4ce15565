//! An HTTPS server: one task per connection, limits on all a peer can use up, and an end that lets requests finish.
//!
//! A connection is accepted and given a task of its own, which does the handshake; only then it is counted against
//! [`Limits::connections`]. Handshakes have a limit of their own, and the oldest makes room: so peers that say nothing keep out
//! nobody else. Who the peer is gets worked out once per connection ([`Peer`]), not per request. HTTP/1.1 is spoken unless ALPN
//! chose HTTP/2.
//!
//! A peer that speaks plain HTTP to the TLS port gets a TLS alert, and the connection is closed.
//!
//! ```no_run
//! # use std::sync::Arc;
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use transport::identity::IdentitySource;
//! use transport::server::{Handler, Peer, Server};
//! use transport::tls::{self, Credentials, Pem, ServerTls, Trust};
//!
//! struct Greeter;
//!
//! impl Handler for Greeter {
//!     async fn call(&self, peer: &Peer, _request: Request<Bytes>) -> Response<Bytes> {
//!         let mut response = Response::new(Bytes::new());
//!         match &peer.identity {
//!             Ok(name) => *response.body_mut() = format!("hello, {name}").into(),
//!             Err(_) => *response.status_mut() = StatusCode::UNAUTHORIZED,
//!         }
//!         response
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let own = Credentials { certificate: Pem::file("north.pem"), key: Pem::file("north.key") };
//! let trust = Trust::roots(Pem::file("ca.pem"));
//! let tls = ServerTls::new(tls::northbound_server(&own, &trust, &tls::Northbound::default())?);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8443").await?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let server = Server::new(Arc::new(Greeter));
//! server.serve_tls(listener, tls, IdentitySource::sae_uri(), async { drop(stopped.await) }).await;
//! # drop(stop);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::identity::IdentitySource;
use crate::tls::ServerTls;

mod activity;
mod clock;
mod connection;
mod handshakes;
mod limits;
mod observer;
mod peer;
mod request;
mod slots;

pub use limits::Limits;
pub use observer::{ConnectionLimit, Event, HandshakeFailure, Observer, TimeLimit};
pub use peer::{Peer, PeerCertificate};

use connection::Arrival;
use handshakes::{Handshake, Handshakes};
use observer::Silent;
use slots::Slots;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request, whose body is complete and within [`Limits::body_octets`].
    ///
    /// The future is dropped, at whichever `await` it is, when the connection breaks or the server's time to drain is over.
    /// Work that must not stop halfway belongs in a task of its own.
    ///
    /// The request body is not wiped. A response body is dropped once it is sent: one made by [`Bytes::from_owner`] can wipe
    /// itself. A response with `Connection: close` is the last one on its connection, also in HTTP/2.
    fn call(&self, peer: &Peer, request: Request<Bytes>) -> impl Future<Output = Response<Bytes>> + Send;

    /// The answer to a body of more than [`Limits::body_octets`]. By default 413 without a body.
    fn too_large(&self, _peer: &Peer) -> Response<Bytes> {
        request::status_only(StatusCode::PAYLOAD_TOO_LARGE)
    }

    /// The answer to a body that takes longer than [`Limits::body`]. By default 408 without a body.
    fn too_slow(&self, _peer: &Peer) -> Response<Bytes> {
        request::status_only(StatusCode::REQUEST_TIMEOUT)
    }
}

/// A server for one [`Handler`].
pub struct Server<H> {
    handler: Arc<H>,
    limits: Arc<Limits>,
    observer: Arc<dyn Observer>,
}

impl<H: Handler> Server<H> {
    /// A server with the default [`Limits`] and no [`Observer`].
    #[must_use]
    pub fn new(handler: Arc<H>) -> Self {
        Self { handler, limits: Arc::default(), observer: Arc::new(Silent) }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// Sets who is told of events.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Serves HTTPS until `shutdown` completes, then lets requests in flight finish for up to [`Limits::drain`].
    ///
    /// `identity` tells where client certificates carry the ID that becomes [`Peer::identity`]. Dropping the returned future
    /// ends all connections at once.
    ///
    /// Returns how many connections had to be cut off.
    pub async fn serve_tls(
        self,
        listener: TcpListener,
        tls: ServerTls,
        identity: IdentitySource,
        shutdown: impl Future<Output = ()> + Send,
    ) -> usize {
        let changes = tls.changes();
        let protection = Arc::new((tls, identity));
        self.accept_all(listener, shutdown, Some(changes), |arrival| {
            let protection = protection.clone();
            async move { arrival.serve_tls(&protection.0, &protection.1).await }
        })
        .await
    }

    /// Serves plain HTTP/1.1, otherwise like [`serve_tls`](Self::serve_tls): for health and metrics on a loopback port. No
    /// peer has an identity here.
    pub async fn serve_plain(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> usize {
        self.accept_all(listener, shutdown, None, Arrival::serve_plain).await
    }

    async fn accept_all<F: Future<Output = ()> + Send + 'static>(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        mut changes: Option<watch::Receiver<Arc<ServerConfig>>>,
        serve: impl Fn(Arrival<H>) -> F,
    ) -> usize {
        let signal = watch::Sender::new(Signal::Run);
        let (slots, handshakes) = (Slots::default(), Handshakes::default());
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = changed(changes.as_mut()) => {
                    signal.send_replace(Signal::Run);
                }
                Some(ended) = connections.join_next() => self.note_panic(&ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => match slots.look(address.ip(), &self.limits) {
                        Ok(()) => {
                            let handshake = handshakes.begin(address, self.limits.handshakes);
                            let arrival = self.arrival(stream, address, signal.subscribe(), slots.clone(), handshake);
                            connections.spawn(serve(arrival));
                        }
                        Err(limit) => self.observer.observe(&Event::Refused { address, limit }),
                    },
                    Err(reason) => self.accept_failed(&reason, &handshakes).await,
                },
            }
        }
        drop(listener);
        signal.send_replace(Signal::Stop);
        let drained = tokio::time::timeout(self.limits.drain, async {
            while let Some(ended) = connections.join_next().await {
                self.note_panic(&ended);
            }
        });
        if drained.await.is_ok() {
            return 0;
        }
        let cut_off = connections.len();
        connections.shutdown().await;
        cut_off
    }

    fn arrival(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        signal: watch::Receiver<Signal>,
        slots: Slots,
        handshake: Handshake,
    ) -> Arrival<H> {
        // Requests and answers are small and wait for each other; should this fail, they are merely late.
        let _ = stream.set_nodelay(true);
        let (handler, limits, observer) = (self.handler.clone(), self.limits.clone(), self.observer.clone());
        Arrival { stream, address, handler, limits, observer, signal, slots, handshake }
    }

    fn note_panic(&self, ended: &Result<(), JoinError>) {
        if ended.as_ref().is_err_and(JoinError::is_panic) {
            self.observer.observe(&Event::HandlerPanicked);
        }
    }

    async fn accept_failed(&self, reason: &io::Error, handshakes: &Handshakes) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // Some errors are those of a connection that is gone already. The others, like having no file descriptor left, would
        // come again at once.
        if !matches!(reason.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            self.observer.observe(&Event::AcceptFailed { reason });
            handshakes.make_room();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn changed(changes: Option<&mut watch::Receiver<Arc<ServerConfig>>>) {
    // No receiver, or nobody who could change it any more.
    let Some(Ok(())) = (match changes {
        Some(changes) => Some(changes.changed().await),
        None => None,
    }) else {
        return pending().await;
    };
}

/// What connections are told; each sending counts, even of the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    /// Go on; when sent: finish, for the TLS configuration you were made under is gone.
    Run,
    /// Finish, and do not wait for handshakes.
    Stop,
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}
