//! KMEs that talk to each other over real TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use itu_y3803::message::{Body, KmMessage, SupplyNotification, SupplyResponse};
use itu_y3803::{ApplicationId, Incarnation, KeyId, KmId, LinkId, Parties, SecrecyLabel, WallTime};
use kme::kx::{Failure, Kx, KxConfig, KxError, KxEvent, PeerConfig, Times};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsConnector;
use transport::identity::IdentitySource;
use transport::pki::{Authority, Issued, Leaf};
use transport::tls::{Credentials, Pem, ServerTls, Trust, inter_kme_client, inter_kme_server};

/// Long enough for anything that is going to happen at all.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn messages_pass_both_ways_in_order() {
    let world = World::new();
    let (mut north, mut south) = world.pair().await;
    north.up("south").await;
    south.up("north").await;
    for number in 0..1000 {
        assert!(north.kx.send(&km("south"), response(number)));
        assert!(south.kx.send(&km("north"), response(number + 5000)));
    }
    for number in 0..1000 {
        assert_eq!(south.message("north").await, number);
        assert_eq!(north.message("south").await, number + 5000);
    }
    let counters = north.kx.peers().next().expect("one neighbour").1;
    assert!(counters.is_up());
    assert_eq!((counters.messages_out(), counters.messages_in(), counters.sessions()), (1000, 1000, 1));
    assert_eq!((counters.dropped(), counters.unreadable()), (0, 0));
    assert_eq!(counters.group(), Some("X25519MLKEM768"));
    let octets = counters.octets_out();
    assert!((20_000..100_000).contains(&octets), "{octets} octets");
    assert_eq!(south.kx.peers().next().expect("one neighbour").1.octets_in(), octets);
}

#[tokio::test]
async fn large_messages_pass() {
    let world = World::new();
    let (mut north, mut south) = world.pair().await;
    north.up("south").await;
    for number in 0..100 {
        assert!(north.kx.send(&km("south"), notification(number)));
    }
    for number in 0..100 {
        assert_eq!(south.message("north").await, number);
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_and_made_again() {
    let world = World::new();
    let south_door = door().await;
    let proxy = Proxy::before(south_door.local_addr().ok()).await;
    let mut north = world.kme("north", door().await, &[("south", proxy.address)]);
    let mut south = world.kme("south", south_door, &[("north", north.address)]);
    for number in 0..3 {
        north.up("south").await;
        assert!(north.kx.send(&km("south"), response(number)));
        assert_eq!(south.message("north").await, number);
        proxy.cut();
        north.down("south").await;
        assert!(!north.kx.send(&km("south"), response(99)), "sent to a neighbour that is down");
    }
    north.up("south").await;
    assert!(north.kx.send(&km("south"), response(100)));
    assert_eq!(south.message("north").await, 100);
    let counters = north.kx.peers().next().expect("one neighbour").1;
    assert_eq!((counters.sessions(), counters.dropped()), (4, 3));
}

#[tokio::test]
async fn a_neighbour_that_falls_silent_is_down() {
    let world = World::new();
    let south_door = door().await;
    let proxy = Proxy::before(south_door.local_addr().ok()).await;
    let mut north = world.kme("north", door().await, &[("south", proxy.address)]);
    let _south = world.kme("south", south_door, &[("north", north.address)]);
    north.up("south").await;
    proxy.freeze();
    north.down("south").await;
}

#[tokio::test]
async fn a_neighbour_that_starts_late_or_again_is_found() {
    let world = World::new();
    let proxy = Proxy::before(None).await;
    let mut north = world.kme("north", door().await, &[("south", proxy.address)]);
    for _ in 0..2 {
        north.not_reached("connection").await;
        let south = world.kme("south", door().await, &[("north", north.address)]);
        proxy.lead_to(Some(south.address));
        north.up("south").await;
        proxy.lead_to(None);
        south.stop().await;
        north.down("south").await;
    }
}

#[tokio::test]
async fn a_shutdown_ends_everything() {
    let world = World::new();
    let (mut north, mut south) = world.pair().await;
    north.up("south").await;
    south.up("north").await;
    let address = north.address;
    north.stop().await;
    south.down("north").await;
    TcpStream::connect(address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn nothing_is_sent_to_strangers() {
    let world = World::new();
    let north = world.kme("north", door().await, &[]);
    assert!(!north.kx.send(&km("south"), response(1)));
}

#[tokio::test]
async fn a_neighbour_that_does_not_listen_costs_bounded_memory() {
    let world = World::new();
    let south_door = door().await;
    let proxy = Proxy::before(south_door.local_addr().ok()).await;
    let mut north = world.kme_with("north", door().await, &[("south", proxy.address)], Times::default());
    let _south = world.kme("south", south_door, &[("north", north.address)]);
    north.up("south").await;
    proxy.freeze();
    // 64 KiB each: the queue has room for 256, and what is on its way adds some.
    let taken = (0..10_000).filter(|&number| north.kx.send(&km("south"), notification(number))).count();
    assert!((200..1000).contains(&taken), "{taken}");
    let dropped = north.kx.peers().next().expect("one neighbour").1.dropped();
    assert_eq!(dropped, 10_000 - taken as u64);
}

#[tokio::test]
async fn who_dials_must_be_a_configured_kme() {
    let world = World::new();
    let stranger = World::new();
    let mut north = world.kme("north", door().await, &[("south", nowhere().await)]);
    let pq = || vec![kx_group::X25519MLKEM768];
    let classical = || vec![kx_group::X25519, kx_group::SECP256R1];
    let good = || Some(world.issue(&Leaf::kme("south")));
    for (name, own, version, groups, alpn, reason) in [
        ("another authority", Some(stranger.issue(&Leaf::kme("south"))), &TLS13, pq(), "h2", "tls"),
        ("no certificate", None, &TLS13, pq(), "h2", "tls"),
        ("expired", Some(world.issue(&Leaf::kme("south").expired())), &TLS13, pq(), "h2", "tls"),
        ("an SAE", Some(world.issue(&Leaf::sae("red"))), &TLS13, pq(), "h2", "no_kme_id"),
        ("an SAE named like a KME", Some(world.issue(&Leaf::sae("south"))), &TLS13, pq(), "h2", "no_kme_id"),
        ("two KMEs in one", Some(world.issue(&Leaf::kme("south").uri("urn:qkd:kme:west"))), &TLS13, pq(), "h2", "no_kme_id"),
        ("an unknown KME", Some(world.issue(&Leaf::kme("west"))), &TLS13, pq(), "h2", "not_a_neighbour"),
        ("itself", Some(world.issue(&Leaf::kme("north"))), &TLS13, pq(), "h2", "not_a_neighbour"),
        ("classical only", good(), &TLS13, classical(), "h2", "tls"),
        ("TLS 1.2", good(), &TLS12, classical(), "h2", "tls"),
        ("HTTP/1.1", good(), &TLS13, pq(), "http/1.1", "tls"),
    ] {
        let config = world.raw_client(own.as_ref(), version, groups, alpn);
        assert!(is_closed(config, north.address).await, "{name} was let in");
        assert_eq!(north.refused().await, reason, "{name}");
    }
    let plain = async {
        let mut stream = TcpStream::connect(north.address).await.expect("connects");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("writes");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    tokio::time::timeout(PATIENCE, plain).await.expect("is closed");
    assert_eq!(north.refused().await, "tls");
    assert_eq!(north.kx.refused(), 12);
}

#[tokio::test]
async fn who_answers_must_be_the_kme_that_was_dialled() {
    let world = World::new();
    let others = World::new();
    let local = [127, 0, 0, 1].into();
    for (name, host, there, reason) in [
        ("another neighbour", "127.0.0.1", world.server(&Leaf::kme("west")), "another_kme"),
        ("two KMEs in one", "127.0.0.1", world.server(&Leaf::kme("south").uri("urn:qkd:kme:west")), "no_kme_id"),
        ("an SAE", "127.0.0.1", world.server(&Leaf::sae("south").address(local)), "tls"),
        ("another authority", "127.0.0.1", others.server(&Leaf::kme("south")), "tls"),
        ("another host", "127.0.0.2", world.server(&Leaf::kme("south")), "tls"),
    ] {
        let there_door = TcpListener::bind((host, 0)).await.expect("a free port");
        let address = there_door.local_addr().expect("bound");
        let there = start(world.config("west", there, there_door, &[("north", nowhere().await)], times()));
        let mut north = world.kme("north", door().await, &[("south", address), ("west", nowhere().await)]);
        loop {
            let (peer, found) = north.next_not_reached().await;
            if peer == km("south") {
                assert_eq!(found.label(), reason, "{name}: {found}");
                break;
            }
        }
        drop(there);
    }
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let world = World::new();
    let north_door = door().await;
    let address = north_door.local_addr().expect("bound");
    let (mut silent, mut hasty) = (Vec::new(), times());
    hasty.handshake = PATIENCE;
    let mut north = world.kme_with("north", north_door, &[("south", nowhere().await)], hasty);
    for _ in 0..400 {
        silent.push(TcpStream::connect(address).await.expect("connects"));
    }
    let mut south = world.kme("south", door().await, &[("north", address)]);
    south.up("north").await;
    assert_eq!(north.refused().await, "too_many");
}

#[tokio::test]
async fn a_slow_handshake_is_given_up() {
    let world = World::new();
    let mut north = world.kme("north", door().await, &[]);
    let _silent = TcpStream::connect(north.address).await.expect("connects");
    assert_eq!(north.refused().await, "timeout");
}

#[tokio::test]
async fn frames_that_cannot_be_read_end_the_session() {
    let world = World::new();
    let mut north = world.kme("north", door().await, &[("south", nowhere().await)]);
    for frame in [b"\0no frame".to_vec(), [10, 0].repeat(5000), vec![0; 5 << 20]] {
        let south = world.issue(&Leaf::kme("south"));
        let config = world.raw_client(Some(&south), &TLS13, vec![kx_group::X25519MLKEM768], "h2");
        let status = raw::say(config, north.address, frame).await.expect_err("the session ends");
        assert_ne!(status.code(), tonic::Code::Ok);
        assert_eq!(north.refused().await, "unreadable");
    }
    assert_eq!(north.kx.peers().next().expect("one neighbour").1.unreadable(), 3);
}

#[tokio::test]
async fn new_tls_settings_close_old_sessions() {
    let world = World::new();
    let north_door = door().await;
    let address = north_door.local_addr().expect("bound");
    let south_certificate = world.issue(&Leaf::kme("south"));
    let server_tls = world.server(&Leaf::kme("north"));
    let config = world.config("north", server_tls.clone(), north_door, &[("south", nowhere().await)], times());
    let mut north = start(config);
    let mut config = world.config("south", world.server(&Leaf::kme("south")), door().await, &[("north", address)], times());
    config.client_tls = inter_kme_client(&credentials(&south_certificate), &world.trust()).expect("a configuration");
    let mut south = start(config);
    south.up("north").await;
    // The certificate of `south` is revoked, and `south` is told why it is not let in.
    let crl = world.authority.crl([south_certificate.serial()]).expect("a list");
    let trust = world.trust().with_crl(Pem::text("crl", &crl));
    let own = credentials(&world.issue(&Leaf::kme("north")));
    server_tls.replace(inter_kme_server(&own, &trust).expect("a configuration"));
    south.down("north").await;
    assert_eq!(north.refused().await, "tls");
    let (_, reason) = south.next_not_reached().await;
    assert!(matches!(reason, Failure::Tls(rustls::Error::AlertReceived(AlertDescription::CertificateRevoked))), "{reason}");
}

#[tokio::test]
async fn neighbours_must_make_sense() {
    let world = World::new();
    let server = world.server(&Leaf::kme("north"));
    let peer = |id: &str, address: &str| PeerConfig { id: km(id), address: address.to_owned() };
    for (peers, wanted) in [
        (vec![peer("north", "localhost:1")], KxError::OwnId),
        (vec![peer("south", "localhost:1"), peer("south", "localhost:2")], KxError::Twice { peer: km("south") }),
        (vec![peer("south", "https://localhost:1")], KxError::Address { peer: km("south") }),
    ] {
        let mut config = world.config("north", server.clone(), door().await, &[], times());
        config.peers = peers;
        assert_eq!(Kx::start(config, |_| {}, std::future::pending()).expect_err("makes no sense"), wanted);
    }
}

type Groups = Vec<&'static dyn SupportedKxGroup>;

/// An authority and what it signs.
struct World {
    authority: Authority,
}

impl World {
    fn new() -> Self {
        Self { authority: Authority::new("Test Authority").expect("an authority") }
    }

    fn issue(&self, leaf: &Leaf) -> Issued {
        self.authority.issue(leaf).expect("a certificate")
    }

    fn trust(&self) -> Trust {
        Trust::roots(Pem::text("ca", self.authority.certificate_pem()))
    }

    fn server(&self, leaf: &Leaf) -> ServerTls {
        ServerTls::new(inter_kme_server(&credentials(&self.issue(leaf)), &self.trust()).expect("a configuration"))
    }

    fn config(
        &self,
        id: &str,
        server_tls: ServerTls,
        listen: TcpListener,
        peers: &[(&str, SocketAddr)],
        times: Times,
    ) -> KxConfig {
        let own = credentials(&self.issue(&Leaf::kme(id)));
        KxConfig {
            id: km(id),
            listen,
            server_tls,
            client_tls: inter_kme_client(&own, &self.trust()).expect("a configuration"),
            identity: IdentitySource::kme_uri(),
            peers: peers.iter().map(|(id, address)| PeerConfig { id: km(id), address: address.to_string() }).collect(),
            times,
        }
    }

    fn kme_with(&self, id: &str, listen: TcpListener, peers: &[(&str, SocketAddr)], times: Times) -> Kme {
        start(self.config(id, self.server(&Leaf::kme(id)), listen, peers, times))
    }

    fn kme(&self, id: &str, listen: TcpListener, peers: &[(&str, SocketAddr)]) -> Kme {
        self.kme_with(id, listen, peers, times())
    }

    /// `north` and `south`, neighbours.
    async fn pair(&self) -> (Kme, Kme) {
        let (north_door, south_door) = (door().await, door().await);
        let south = south_door.local_addr().expect("bound");
        let north = self.kme("north", north_door, &[("south", south)]);
        let south = self.kme("south", south_door, &[("north", north.address)]);
        (north, south)
    }

    /// A client that does what ours would not.
    fn raw_client(
        &self,
        own: Option<&Issued>,
        version: &'static SupportedProtocolVersion,
        groups: Groups,
        alpn: &str,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(der(self.authority.certificate_pem())).expect("a root");
        let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots);
        let mut config = match own {
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.secret_key_pem().as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![der(own.certificate_pem())], key).expect("credentials")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Arc::new(config)
    }
}

/// A KME's connections to neighbours, and what they told.
struct Kme {
    kx: Kx,
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<KxEvent>,
    stop: oneshot::Sender<()>,
}

fn start(config: KxConfig) -> Kme {
    let address = config.listen.local_addr().expect("bound");
    let (tell, events) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let tell = move |event| drop(tell.send(event));
    let kx = Kx::start(config, tell, async move { drop(stopped.await) }).expect("starts");
    Kme { kx, address, events, stop }
}

impl Kme {
    /// Waits for the first event of which `wanted` makes something; others are passed over.
    async fn wait<T>(&mut self, wanted: impl Fn(KxEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("is running")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
    }

    async fn up(&mut self, peer: &str) {
        let peer = km(peer);
        self.wait(|event| matches!(event, KxEvent::Up(id) if id == peer).then_some(())).await;
    }

    async fn down(&mut self, peer: &str) {
        let peer = km(peer);
        self.wait(|event| matches!(event, KxEvent::Down(id) if id == peer).then_some(())).await;
    }

    /// The number of the next message, which is from `peer`.
    async fn message(&mut self, peer: &str) -> u64 {
        let (from, message) = self
            .wait(|event| match event {
                KxEvent::Message(from, message) => Some((from, message)),
                _ => None,
            })
            .await;
        assert_eq!(from, km(peer));
        number(&message)
    }

    /// Why the next connection was refused.
    async fn refused(&mut self) -> &'static str {
        self.wait(|event| match event {
            KxEvent::Refused { reason, .. } => Some(reason.label()),
            _ => None,
        })
        .await
    }

    async fn next_not_reached(&mut self) -> (KmId, Failure) {
        self.wait(|event| match event {
            KxEvent::NotReached { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await
    }

    async fn not_reached(&mut self, reason: &str) {
        assert_eq!(self.next_not_reached().await.1.label(), reason);
    }

    async fn stop(self) {
        self.stop.send(()).expect("is running");
        tokio::time::timeout(PATIENCE, self.kx.stopped()).await.expect("stops");
    }
}

/// Passes octets on until told otherwise.
struct Proxy {
    address: SocketAddr,
    there: watch::Sender<Option<SocketAddr>>,
    cut: watch::Sender<()>,
    freeze: watch::Sender<bool>,
}

impl Proxy {
    async fn before(there: Option<SocketAddr>) -> Self {
        let listener = door().await;
        let address = listener.local_addr().expect("bound");
        let (there, cut, freeze) = (watch::Sender::new(there), watch::Sender::new(()), watch::Sender::new(false));
        let (to, cuts, freezes) = (there.subscribe(), cut.subscribe(), freeze.subscribe());
        tokio::spawn(async move {
            loop {
                let (mut here, _) = listener.accept().await.expect("accepts");
                let (mut cuts, mut freezes) = (cuts.clone(), freezes.clone());
                cuts.mark_unchanged();
                // Without a way on, the connection is closed.
                let Some(there) = *to.borrow() else { continue };
                tokio::spawn(async move {
                    let Ok(mut there) = TcpStream::connect(there).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => return,
                        _ = cuts.changed() => return,
                        _ = freezes.wait_for(|frozen| *frozen) => {}
                    }
                    // Holds both connections, and passes nothing.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, there, cut, freeze }
    }

    fn lead_to(&self, there: Option<SocketAddr>) {
        self.there.send_replace(there);
    }

    fn cut(&self) {
        self.cut.send_replace(());
    }

    fn freeze(&self) {
        self.freeze.send_replace(true);
    }
}

/// Whether the other end closes a connection, in its handshake or after it.
async fn is_closed(config: Arc<ClientConfig>, address: SocketAddr) -> bool {
    let closed = async {
        let stream = TcpStream::connect(address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        if let Ok(mut stream) = TlsConnector::from(config).connect(name, stream).await {
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.is_ok()
}

/// A gRPC client that says anything.
mod raw {
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    use hyper_util::rt::TokioIo;
    use prost::bytes::{Buf, BufMut};
    use tokio_rustls::client::TlsStream;
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::codegen::http::uri::PathAndQuery;
    use tonic::transport::{Endpoint, Uri};
    use tonic::{Request, Status};

    use super::*;

    pub(crate) async fn say(config: Arc<ClientConfig>, address: SocketAddr, frame: Vec<u8>) -> Result<(), Status> {
        let stream = TcpStream::connect(address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(config).connect(name, stream).await.expect("a handshake");
        let connector = Connector(Some(TokioIo::new(stream)));
        let channel = Endpoint::from_static("https://localhost").connect_with_connector(connector).await.expect("connects");
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.expect("is ready");
        let frames = tokio_stream::StreamExt::chain(tokio_stream::once(frame), tokio_stream::pending());
        let path = PathAndQuery::from_static("/qkms.kx.v1.KeyManagement/Session");
        let mut responses = client.streaming(Request::new(frames), path, Raw).await?.into_inner();
        let end = tokio::time::timeout(PATIENCE, responses.message()).await.expect("ends");
        end.map(drop)
    }

    struct Connector(Option<TokioIo<TlsStream<TcpStream>>>);

    impl tower_service::Service<Uri> for Connector {
        type Response = TokioIo<TlsStream<TcpStream>>;
        type Error = std::io::Error;
        type Future = Ready<std::io::Result<Self::Response>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            ready(Ok(self.0.take().expect("connects once")))
        }
    }

    #[derive(Clone, Copy)]
    struct Raw;

    impl Codec for Raw {
        type Encode = Vec<u8>;
        type Decode = ();
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
            out.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = ();
        type Error = Status;

        fn decode(&mut self, octets: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
            octets.advance(octets.remaining());
            Ok(Some(()))
        }
    }
}

fn times() -> Times {
    let mut times = Times::default();
    times.handshake = Duration::from_secs(2);
    times.keep_alive = Duration::from_secs(1);
    times.keep_alive_answer = Duration::from_secs(1);
    times.redial = Duration::from_millis(20);
    times.redial_at_most = Duration::from_millis(200);
    times
}

async fn door() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// An address where nobody ever answers.
async fn nowhere() -> SocketAddr {
    let door = door().await;
    let address = door.local_addr().expect("bound");
    // Stays bound, lest another test gets the same one.
    std::mem::forget(door);
    address
}

fn km(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

fn credentials(issued: &Issued) -> Credentials {
    Credentials {
        certificate: Pem::text("certificate", issued.certificate_pem()),
        key: Pem::text("key", issued.secret_key_pem()),
    }
}

fn key_id(number: u64) -> KeyId {
    Incarnation::from_octets([8; 8]).key_id(number)
}

fn response(number: u64) -> KmMessage {
    let body = Body::SupplyResponse(SupplyResponse { block: key_id(number), accepted: true });
    KmMessage { sender: Incarnation::from_octets([9; 8]), body }
}

/// One of 64 KiB.
fn notification(number: u64) -> KmMessage {
    let application = |id| ApplicationId::new(id).expect("valid");
    let body = Body::SupplyNotification(SupplyNotification {
        block: key_id(number),
        parties: Parties::new(application("red"), vec![application("blue")]).expect("distinct"),
        label: SecrecyLabel::ItsRelay,
        created: WallTime::from_millis(1),
        expires: WallTime::from_millis(2),
        link: LinkId::new("north-south").expect("valid"),
        pad: key_id(3),
        sealed: vec![5; 64 << 10],
        tag: [6; 16],
    });
    KmMessage { sender: Incarnation::from_octets([9; 8]), body }
}

fn number(message: &KmMessage) -> u64 {
    let block = match &message.body {
        Body::SupplyResponse(response) => response.block,
        Body::SupplyNotification(notification) => notification.block,
        _ => panic!("another kind of message"),
    };
    Incarnation::split(block).1
}
