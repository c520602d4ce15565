//! The sessions that neighbours dial.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use itu_y3803::KmId;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use transport::tls::ServerTls;

use super::codec::Frame;
use super::codec::generated::key_management_server::{KeyManagement, KeyManagementServer};
use super::failure::{Shaken, check_handshake};
use super::peer::Peer;
use super::{Failure, KxEvent, Shared, wire};

/// The most connections in their handshake at once. One more, and the oldest goes: so silent ones keep nobody out.
const HANDSHAKES: usize = 256;
/// The pause after the operating system refused a connection, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the TLS settings are looked at.
const TLS_CHECK: Duration = Duration::from_secs(1);
const WINDOW_OCTETS: u32 = 1 << 20;
const HEADER_OCTETS: u32 = 16 << 10;

/// Serves neighbours until the shutdown.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener, tls: ServerTls) {
    let (established, connections) = mpsc::channel(16);
    let times = &shared.times;
    let serve = Server::builder()
        .http2_keepalive_interval(Some(times.keep_alive))
        .http2_keepalive_timeout(Some(times.keep_alive_answer))
        .initial_stream_window_size(WINDOW_OCTETS)
        .initial_connection_window_size(WINDOW_OCTETS)
        .max_concurrent_streams(1)
        .http2_max_header_list_size(HEADER_OCTETS)
        .serve_with_incoming(service(shared.clone()), ReceiverStream::new(connections));
    let door = Door { shared: shared.clone(), current: Arc::default(), established };
    tokio::select! {
        () = shared.until_stopping() => {}
        () = door.accept(&listener, &tls) => {}
        _ = serve => {}
    }
    // Closes every connection.
    door.current.close_all();
}

/// Lets connections in.
struct Door {
    shared: Arc<Shared>,
    current: Arc<Current>,
    established: mpsc::Sender<Result<Neighbour, Infallible>>,
}

impl Door {
    async fn accept(&self, listener: &TcpListener, tls: &ServerTls) {
        let mut handshakes = Handshakes::default();
        let mut settings = tls.current();
        let mut check = interval(TLS_CHECK);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = check.tick() => {
                    // A certificate revoked by the new settings must not stay in by its old connection.
                    if !Arc::ptr_eq(&settings, &tls.current()) {
                        settings = tls.current();
                        self.current.close_all();
                    }
                    continue;
                }
            };
            let Ok((stream, address)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if let Some(oldest) = handshakes.make_room() {
                self.shared.tell(KxEvent::Refused { peer: None, address: oldest, reason: Failure::TooMany });
            }
            let (shared, current, established) = (self.shared.clone(), self.current.clone(), self.established.clone());
            let tls = tls.clone();
            let task = tokio::spawn(async move {
                let (limit, settings) = (shared.times.handshake, tls.current());
                let shaken = timeout(limit, shake_hands(&shared, stream, settings.clone())).await;
                match shaken.unwrap_or(Err(Failure::TimedOut)) {
                    Ok((stream, peer, validity_left)) => {
                        let closed = current.replace(&peer.id);
                        // Replaced meanwhile: then other sessions may have been closed before this one was there.
                        if !Arc::ptr_eq(&settings, &tls.current()) {
                            return;
                        }
                        let expired = Box::pin(sleep(validity_left));
                        let caller = Caller { peer, address };
                        // It fails after the shutdown only.
                        let _ = established.send(Ok(Neighbour { stream, closed, expired, caller })).await;
                    }
                    Err(reason) => shared.tell(KxEvent::Refused { peer: None, address, reason }),
                }
            });
            handshakes.0.push_back((task.abort_handle(), address));
        }
    }
}

async fn shake_hands(
    shared: &Shared,
    stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> Result<(TlsStream<TcpStream>, Arc<Peer>, Duration), Failure> {
    stream.set_nodelay(true).map_err(Failure::Connection)?;
    let stream = TlsAcceptor::from(tls.clone()).accept(stream).await.map_err(Failure::handshake)?;
    let Shaken { found, validity_left, .. } = check_handshake(tls.crypto_provider(), stream.get_ref().1, &shared.identity)?;
    let peer = KmId::new(&found).ok().and_then(|id| shared.peers.get(&id).cloned());
    let peer = peer.ok_or(Failure::NotANeighbour { found })?;
    Ok((stream, peer, validity_left))
}

/// The handshakes under way, the oldest first.
#[derive(Default)]
struct Handshakes(VecDeque<(AbortHandle, SocketAddr)>);

impl Handshakes {
    /// Ends the oldest one if there are too many, and says whose it was.
    fn make_room(&mut self) -> Option<SocketAddr> {
        if self.0.len() < HANDSHAKES {
            return None;
        }
        self.0.retain(|(task, _)| !task.is_finished());
        if self.0.len() < HANDSHAKES {
            return None;
        }
        let (task, address) = self.0.pop_front()?;
        task.abort();
        Some(address)
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.0.iter().for_each(|(task, _)| task.abort());
    }
}

/// The current connection of each neighbour. A newer one takes the place of an older one, of which this end may not know yet
/// that it is dead.
#[derive(Default)]
struct Current(Mutex<HashMap<KmId, oneshot::Sender<Infallible>>>);

impl Current {
    /// What is returned is over when the connection is to be closed.
    fn replace(&self, peer: &KmId) -> oneshot::Receiver<Infallible> {
        let (close, closed) = oneshot::channel();
        self.lock().insert(peer.clone(), close);
        closed
    }

    fn close_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<KmId, oneshot::Sender<Infallible>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A neighbour's connection.
struct Neighbour {
    stream: TlsStream<TcpStream>,
    closed: oneshot::Receiver<Infallible>,
    /// When the neighbour's certificate is valid no more.
    expired: Pin<Box<Sleep>>,
    caller: Caller,
}

/// Whose connection it is.
#[derive(Clone)]
struct Caller {
    peer: Arc<Peer>,
    address: SocketAddr,
}

impl Connected for Neighbour {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Neighbour {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let closed = self.closed.is_terminated() || Pin::new(&mut self.closed).poll(cx).is_ready();
        if !closed && self.expired.as_mut().poll(cx).is_pending() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncWrite for Neighbour {
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

/// The gRPC service.
struct Service(Arc<Shared>);

fn service(shared: Arc<Shared>) -> KeyManagementServer<Service> {
    KeyManagementServer::new(Service(shared)).max_decoding_message_size(wire::MAX_FRAME_OCTETS)
}

#[tonic::async_trait]
impl KeyManagement for Service {
    type SessionStream = ReceiverStream<Result<Frame, Status>>;

    async fn session(&self, request: Request<Streaming<Frame>>) -> Result<Response<Self::SessionStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::unauthenticated("no KME ID"))?;
        let (responses, stream) = mpsc::channel(1);
        let shared = self.0.clone();
        self.0.spawn(async move {
            let end = tokio::select! {
                () = shared.until_stopping() => Ok(()),
                end = hear(&shared, &caller, request.into_inner()) => end,
            };
            if let Err(reason) = end {
                // The end of the responses ends the session at the other side.
                let _ = responses.send(Err(Status::invalid_argument(reason.to_string()))).await;
                let Caller { peer, address } = caller;
                let reason = Failure::Unreadable(reason);
                shared.tell(KxEvent::Refused { peer: Some(peer.id.clone()), address, reason });
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Passes on what the neighbour says until the session ends.
async fn hear(shared: &Shared, caller: &Caller, mut frames: Streaming<Frame>) -> Result<(), wire::WireError> {
    let peer = &caller.peer;
    loop {
        let frame = match frames.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            // A frame longer than the limit, in tonic's words.
            Err(status) if status.code() == tonic::Code::OutOfRange => {
                peer.unreadable();
                return Err(wire::WireError::TooLong);
            }
            Err(_) => return Ok(()),
        };
        let messages = wire::decode(&frame).inspect_err(|_| peer.unreadable())?;
        peer.received(messages.len(), frame.len());
        let Some(room) = peer.room(messages.len(), frame.len()).await else { return Ok(()) };
        for message in messages {
            shared.tell(KxEvent::Message(peer.id.clone(), message, room.clone()));
        }
    }
}
