//! The session that this KME dials.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Endpoint, Uri};
use transport::client::Line;
use transport::tls::ClientTls;

use super::codec::Frame;
use super::codec::generated::key_management_client::KeyManagementClient;
use super::failure::{Shaken, check_handshake};
use super::peer::{Peer, Queue};
use super::{Failure, KxEvent, Shared, wire};

/// A session that lasted this long was a good one: the next attempt follows soon.
const GOOD_SESSION: Duration = Duration::from_secs(1);
/// Frames between the queue and HTTP/2.
const FRAMES_AHEAD: usize = 2;
/// The neighbour has nothing to say in the responses.
const MAX_RESPONSE_OCTETS: usize = 1024;

/// Keeps a session with one neighbour.
pub(super) struct Dialler {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<Peer>,
    pub(super) address: Address,
    pub(super) tls: ClientTls,
}

impl Dialler {
    pub(super) async fn run(self, queue: Queue) {
        tokio::select! {
            () = self.shared.until_stopping() => {}
            () = self.dial_for_ever(queue) => {}
        }
        if self.peer.counters().is_up() {
            self.end();
        }
    }

    async fn dial_for_ever(&self, mut queue: Queue) {
        let times = &self.shared.times;
        let mut wait = times.redial;
        loop {
            match timeout(times.connect, self.open()).await.unwrap_or(Err(Failure::TimedOut)) {
                Ok(session) => {
                    let since = Instant::now();
                    queue.clear(&self.peer);
                    self.peer.up(session.group);
                    self.shared.tell(KxEvent::Up(self.peer.id.clone()));
                    self.speak(session, &mut queue).await;
                    self.end();
                    if since.elapsed() >= GOOD_SESSION {
                        wait = times.redial;
                    }
                }
                Err(reason) => self.shared.tell(KxEvent::NotReached { peer: self.peer.id.clone(), reason }),
            }
            sleep(shortened(wait)).await;
            wait = (wait * 2).min(times.redial_at_most);
        }
    }

    fn end(&self) {
        self.peer.down();
        self.shared.tell(KxEvent::Down(self.peer.id.clone()));
    }

    async fn open(&self) -> Result<Session, Failure> {
        let mut renewed = self.tls.changes();
        let settings = renewed.borrow_and_update().clone();
        let (stream, shaken) = self.connect(settings).await?;
        let line = Line::new(stream, ());
        let last_word = line.last_word().clone();
        // What the failure is due to: TLS if it said something, else what gRPC says.
        let failure = |code| last_word.get().map_or(Failure::Session(code), Failure::Tls);
        let times = &self.shared.times;
        let channel = Endpoint::from(self.address.uri.clone())
            .http2_keep_alive_interval(times.keep_alive)
            .keep_alive_timeout(times.keep_alive_answer)
            .keep_alive_while_idle(true)
            .connect_with_connector(OnceConnector(Some(line)))
            .await
            .map_err(|_| failure(tonic::Code::Unavailable))?;
        let (frames, outgoing) = mpsc::channel(FRAMES_AHEAD);
        let responses = KeyManagementClient::new(channel)
            .max_decoding_message_size(MAX_RESPONSE_OCTETS)
            .session(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| failure(status.code()))?
            .into_inner();
        Ok(Session { frames, responses, group: shaken.group, validity_left: shaken.validity_left, renewed })
    }

    async fn connect(&self, tls: Arc<ClientConfig>) -> Result<(TlsStream<TcpStream>, Shaken), Failure> {
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port)).await.map_err(Failure::Connection)?;
        stream.set_nodelay(true).map_err(Failure::Connection)?;
        let connector = TlsConnector::from(tls.clone());
        let stream = connector.connect(self.address.name.clone(), stream).await.map_err(Failure::handshake)?;
        let shaken = check_handshake(tls.crypto_provider(), stream.get_ref().1, &self.shared.identity)?;
        if shaken.found != self.peer.id.as_str() {
            return Err(Failure::AnotherKme { dialled: self.peer.id.clone(), found: shaken.found });
        }
        Ok((stream, shaken))
    }

    /// Sends what is queued until the session ends.
    async fn speak(&self, mut session: Session, queue: &mut Queue) {
        let mut messages = Vec::new();
        let mut ready = VecDeque::new();
        let mut expired = pin!(sleep(session.validity_left));
        loop {
            tokio::select! {
                () = &mut expired => return,
                // Whoever was let in by the former settings need not be by the new ones, at either end.
                Ok(()) = session.renewed.changed() => return,
                // Nothing is awaited in the responses but their end.
                response = session.responses.message() => match response {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                },
                permit = session.frames.reserve(), if !ready.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some(frame) = ready.pop_front() {
                        permit.send(frame);
                    }
                }
                () = queue.take(&self.peer, &mut messages, wire::FRAME_MESSAGES), if ready.is_empty() => {
                    ready.extend(wire::encode(&messages));
                    self.peer.sent(messages.len(), ready.iter().map(|frame: &Frame| frame.len()).sum());
                    messages.clear();
                }
            }
        }
    }
}

/// Where a neighbour is dialled.
#[derive(Clone, Debug)]
pub(super) struct Address {
    uri: Uri,
    name: ServerName<'static>,
    host: String,
    port: u16,
}

impl Address {
    /// Reads `host:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = format!("https://{text}").parse().ok()?;
        let authority = uri.authority()?;
        if authority.as_str() != text || text.contains('@') {
            return None;
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let name = ServerName::try_from(host.clone()).ok()?;
        let port = authority.port_u16()?;
        Some(Self { uri, name, host, port })
    }
}

struct Session {
    frames: mpsc::Sender<Frame>,
    responses: Streaming<Frame>,
    group: &'static str,
    validity_left: Duration,
    renewed: watch::Receiver<Arc<ClientConfig>>,
}

/// Gives tonic the connection that was made already, and no second one.
struct OnceConnector(Option<Line<()>>);

impl tower_service::Service<Uri> for OnceConnector {
    type Response = TokioIo<Line<()>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// Shortens a time at random by up to a half, lest all neighbours dial a KME that comes back at the same moment.
fn shortened(time: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness the time is not shortened.
    let _ = aws_lc_rs::rand::fill(&mut random);
    time - time / 2 * u32::from(u16::from_be_bytes(random)) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, host, port) in
            [("127.0.0.1:1", "127.0.0.1", 1), ("[::1]:65535", "::1", 65535), ("kme.example:8443", "kme.example", 8443)]
        {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, port));
        }
        for text in ["", "host", "host:", ":1", "host:65536", "a@host:1", "host:1/path", "https://host:1", "::1:1", "a b:1"] {
            assert!(Address::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn times_are_shortened_by_at_most_a_half() {
        let time = Duration::from_millis(100);
        for _ in 0..1000 {
            assert!((time / 2..=time).contains(&shortened(time)));
        }
    }
}
