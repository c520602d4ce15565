//! KME to KME (reference point Kx): gRPC over TLS 1.3 with X25519MLKEM768 and certificates on both sides (Y3803-6.1-02).
//!
//! Each KME dials each of its neighbours, and says what it has to say, answers included, in the session it dialled; a session
//! that was accepted only brings what the neighbour says. Nothing is promised about delivery: what cannot be sent now is
//! dropped, as the key manager says again what was not answered.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use itu_y3803::{KmId, KmMessage};
use tokio::net::TcpListener;
use tokio::sync::watch;
use transport::identity::IdentitySource;
use transport::tls::{ClientTls, ServerTls};

mod client;
pub(crate) mod codec;
mod failure;
mod peer;
mod server;
pub mod wire;

pub use failure::Failure;
pub use peer::{PeerCounters, Room};

use client::{Address, Dialler};
use peer::Peer;

/// What the connections to neighbours need.
#[derive(Debug)]
pub struct KxConfig {
    /// This KME.
    pub id: KmId,
    /// Where neighbours dial; already bound.
    pub listen: TcpListener,
    /// Made by [`transport::tls::inter_kme_server`]. After it is replaced, every neighbour has to dial again.
    pub server_tls: ServerTls,
    /// Made by [`transport::tls::inter_kme_client`]. After it is replaced, every neighbour is dialled again.
    pub client_tls: ClientTls,
    /// Where the certificate of a neighbour carries its KME ID.
    pub identity: IdentitySource,
    /// The neighbours. Nobody else is listened to.
    pub peers: Vec<PeerConfig>,
    /// The time limits.
    pub times: Times,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its KME ID, which its certificate must carry.
    pub id: KmId,
    /// Where it is dialled: `host:port`. Its certificate must be good for the host, too.
    pub address: String,
}

/// Time limits of the connections to neighbours.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Times {
    /// For a neighbour's TLS handshake; 5 s.
    pub handshake: Duration,
    /// For dialling a neighbour, until the session is open; 5 s.
    pub connect: Duration,
    /// A neighbour is asked for a sign of life this often; 5 s.
    pub keep_alive: Duration,
    /// For the sign of life; 5 s.
    pub keep_alive_answer: Duration,
    /// From the end of a session to the first attempt at another one; each further attempt waits twice as long, up to
    /// `redial_at_most`. The times are shortened at random by up to a half. 100 ms.
    pub redial: Duration,
    /// See `redial`; 5 s.
    pub redial_at_most: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            keep_alive: Duration::from_secs(5),
            keep_alive_answer: Duration::from_secs(5),
            redial: Duration::from_millis(100),
            redial_at_most: Duration::from_secs(5),
        }
    }
}

/// What happens on the connections to neighbours.
#[derive(Debug)]
#[non_exhaustive]
pub enum KxEvent {
    /// The neighbour can be spoken to.
    Up(KmId),
    /// The neighbour cannot be spoken to any more.
    Down(KmId),
    /// The neighbour says something. It can say but so much more until the room is dropped, so it goes where the message goes.
    Message(KmId, KmMessage, Room),
    /// Somebody who connected was turned away, or cut off for what they sent.
    Refused {
        /// Who, if they proved to be a neighbour.
        peer: Option<KmId>,
        /// Where from.
        address: SocketAddr,
        /// Why.
        reason: Failure,
    },
    /// A neighbour could not be reached; another attempt follows.
    NotReached {
        /// Which one.
        peer: KmId,
        /// Why.
        reason: Failure,
    },
}

/// The connections to all neighbours; clones share them.
#[derive(Clone)]
pub struct Kx(Arc<Shared>);

impl Kx {
    /// Starts to listen and to dial, within a tokio runtime, until `shutdown` is over.
    ///
    /// `events` is called from the tasks of the connections, in order for each neighbour, and must not block.
    ///
    /// # Errors
    /// [`KxError`] when the list of neighbours makes no sense.
    pub fn start(
        config: KxConfig,
        events: impl Fn(KxEvent) + Send + Sync + 'static,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, KxError> {
        let KxConfig { id, listen, server_tls, client_tls, identity, peers: configured, times } = config;
        let (mut peers, mut dialled) = (BTreeMap::new(), Vec::new());
        for PeerConfig { id: peer_id, address } in configured {
            if peer_id == id {
                return Err(KxError::OwnId);
            }
            let address = Address::parse(&address).ok_or(KxError::Address { peer: peer_id.clone() })?;
            let (peer, queue) = Peer::new(peer_id.clone());
            let peer = Arc::new(peer);
            dialled.push((peer.clone(), address, queue));
            if peers.insert(peer_id.clone(), peer).is_some() {
                return Err(KxError::Twice { peer: peer_id });
            }
        }
        let shared = Arc::new(Shared {
            peers,
            events: Box::new(events),
            identity,
            times,
            refused: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
            running: watch::Sender::new(()),
        });
        for (peer, address, queue) in dialled {
            let dialler = Dialler { shared: shared.clone(), peer, address, tls: client_tls.clone() };
            shared.spawn(dialler.run(queue));
        }
        shared.spawn(server::listen(shared.clone(), listen, server_tls));
        let stopping = shared.clone();
        tokio::spawn(async move {
            shutdown.await;
            stopping.stopping.send_replace(true);
        });
        Ok(Self(shared))
    }

    /// Gives a message to the queue for a neighbour, and says whether it was taken. It is not when the neighbour is unknown or
    /// not [`Up`](KxEvent::Up), or too much is queued. Never blocks.
    pub fn send(&self, to: &KmId, message: KmMessage) -> bool {
        self.0.peers.get(to).is_some_and(|peer| peer.send(message))
    }

    /// The neighbours and what was counted for each.
    pub fn peers(&self) -> impl Iterator<Item = (&KmId, &PeerCounters)> {
        self.0.peers.iter().map(|(id, peer)| (id, peer.counters()))
    }

    /// How many connections were turned away or cut off.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Waits until, after the shutdown, every connection is closed.
    pub async fn stopped(&self) {
        // Wait for the shutdown first: before it, a task may be about to be started.
        self.0.until_stopping().await;
        self.0.running.closed().await;
    }
}

impl fmt::Debug for Kx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kx").field("peers", &self.0.peers).finish_non_exhaustive()
    }
}

/// Why the connections to neighbours cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KxError {
    /// A neighbour has this KME's own ID.
    #[error("a neighbour has the KME ID of this KME")]
    OwnId,
    /// Two neighbours have the same ID.
    #[error("there are two neighbours with the KME ID {peer}")]
    Twice {
        /// Which ID.
        peer: KmId,
    },
    /// An address is not of the form `host:port`.
    #[error("the address of the neighbour {peer} is not of the form host:port")]
    Address {
        /// Whose.
        peer: KmId,
    },
}

/// What all tasks share.
struct Shared {
    peers: BTreeMap<KmId, Arc<Peer>>,
    events: Box<dyn Fn(KxEvent) + Send + Sync>,
    identity: IdentitySource,
    times: Times,
    refused: AtomicU64,
    stopping: watch::Sender<bool>,
    /// Each running task holds a receiver.
    running: watch::Sender<()>,
}

impl Shared {
    fn tell(&self, event: KxEvent) {
        if matches!(event, KxEvent::Refused { .. }) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        (self.events)(event);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.running.subscribe();
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }

    async fn until_stopping(&self) {
        // It fails only when the sender is gone, and that is here.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}
