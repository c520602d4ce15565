//! An authority, KMEs, and a proxy between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use itu_y3803::message::{Body, KmMessage, SupplyNotification, SupplyResponse};
use itu_y3803::{ApplicationId, Incarnation, KeyId, KmId, LinkId, Parties, SecrecyLabel, WallTime};
use kme::kx::{Failure, Kx, KxConfig, KxEvent, PeerConfig, Times};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsConnector;
use transport::identity::IdentitySource;
use transport::pki::{Authority, Issued, Leaf};
use transport::tls::{ClientTls, Credentials, Pem, ServerTls, Trust, inter_kme_client, inter_kme_server};

/// Long enough for anything that is going to happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Groups = Vec<&'static dyn SupportedKxGroup>;

/// An authority and what it signs.
pub(crate) struct World {
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::new("Test Authority").expect("an authority") }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Issued {
        self.authority.issue(leaf).expect("a certificate")
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::roots(Pem::text("ca", self.authority.certificate_pem()))
    }

    pub(crate) fn server(&self, leaf: &Leaf) -> ServerTls {
        ServerTls::new(inter_kme_server(&credentials(&self.issue(leaf)), &self.trust()).expect("a configuration"))
    }

    pub(crate) fn config(
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
            client_tls: ClientTls::new(inter_kme_client(&own, &self.trust()).expect("a configuration")),
            identity: IdentitySource::kme_uri(),
            peers: peers.iter().map(|(id, address)| PeerConfig { id: km(id), address: address.to_string() }).collect(),
            times,
        }
    }

    pub(crate) fn kme_with(&self, id: &str, listen: TcpListener, peers: &[(&str, SocketAddr)], times: Times) -> Kme {
        start(self.config(id, self.server(&Leaf::kme(id)), listen, peers, times))
    }

    pub(crate) fn kme(&self, id: &str, listen: TcpListener, peers: &[(&str, SocketAddr)]) -> Kme {
        self.kme_with(id, listen, peers, times())
    }

    /// `north` and `south`, neighbours.
    pub(crate) async fn pair(&self) -> (Kme, Kme) {
        let (north_door, south_door) = (door().await, door().await);
        let south = south_door.local_addr().expect("bound");
        let north = self.kme("north", north_door, &[("south", south)]);
        let south = self.kme("south", south_door, &[("north", north.address)]);
        (north, south)
    }

    /// A client that does what ours would not.
    pub(crate) fn raw_client(
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
pub(crate) struct Kme {
    pub(crate) kx: Kx,
    pub(crate) address: SocketAddr,
    events: mpsc::UnboundedReceiver<KxEvent>,
    stop: oneshot::Sender<()>,
}

pub(crate) fn start(config: KxConfig) -> Kme {
    let address = config.listen.local_addr().expect("bound");
    let (tell, events) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let tell = move |event| drop(tell.send(event));
    let kx = Kx::start(config, tell, async move { drop(stopped.await) }).expect("starts");
    Kme { kx, address, events, stop }
}

impl Kme {
    /// Waits for the first event of which `wanted` makes something; others are passed over.
    pub(crate) async fn wait<T>(&mut self, wanted: impl Fn(KxEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("is running")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
    }

    pub(crate) async fn up(&mut self, peer: &str) {
        let peer = km(peer);
        self.wait(|event| matches!(event, KxEvent::Up(id) if id == peer).then_some(())).await;
    }

    pub(crate) async fn down(&mut self, peer: &str) {
        let peer = km(peer);
        self.wait(|event| matches!(event, KxEvent::Down(id) if id == peer).then_some(())).await;
    }

    /// The number of the next message, which is from `peer`.
    pub(crate) async fn message(&mut self, peer: &str) -> u64 {
        let (from, message) = self
            .wait(|event| match event {
                KxEvent::Message(from, message, _) => Some((from, message)),
                _ => None,
            })
            .await;
        assert_eq!(from, km(peer));
        number(&message)
    }

    /// Why the next connection was refused.
    pub(crate) async fn refused(&mut self) -> &'static str {
        self.wait(|event| match event {
            KxEvent::Refused { reason, .. } => Some(reason.label()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn next_not_reached(&mut self) -> (KmId, Failure) {
        self.wait(|event| match event {
            KxEvent::NotReached { peer, reason } => Some((peer, reason)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn not_reached(&mut self, reason: &str) {
        assert_eq!(self.next_not_reached().await.1.label(), reason);
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("is running");
        tokio::time::timeout(PATIENCE, self.kx.stopped()).await.expect("stops");
    }
}

/// Passes octets on until told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    there: watch::Sender<Option<SocketAddr>>,
    cut: watch::Sender<()>,
    freeze: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn before(there: Option<SocketAddr>) -> Self {
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

    pub(crate) fn lead_to(&self, there: Option<SocketAddr>) {
        self.there.send_replace(there);
    }

    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    pub(crate) fn freeze(&self) {
        self.freeze.send_replace(true);
    }
}

/// Whether the other end closes a connection, in its handshake or after it.
pub(crate) async fn is_closed(config: Arc<ClientConfig>, address: SocketAddr) -> bool {
    let closed = async {
        let stream = TcpStream::connect(address).await.expect("connects");
        let name = ServerName::try_from("localhost").expect("a name");
        if let Ok(mut stream) = TlsConnector::from(config).connect(name, stream).await {
            drop(stream.read_to_end(&mut Vec::new()).await);
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.is_ok()
}

pub(crate) fn times() -> Times {
    let mut times = Times::default();
    times.handshake = Duration::from_secs(2);
    times.keep_alive = Duration::from_secs(1);
    times.keep_alive_answer = Duration::from_secs(1);
    times.redial = Duration::from_millis(20);
    times.redial_at_most = Duration::from_millis(200);
    times
}

pub(crate) async fn door() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// An address where nobody ever answers.
pub(crate) async fn nowhere() -> SocketAddr {
    let door = door().await;
    let address = door.local_addr().expect("bound");
    // Stays bound, lest another test gets the same one.
    std::mem::forget(door);
    address
}

pub(crate) fn km(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

pub(crate) fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

pub(crate) fn credentials(issued: &Issued) -> Credentials {
    Credentials {
        certificate: Pem::text("certificate", issued.certificate_pem()),
        key: Pem::text("key", issued.secret_key_pem()),
    }
}

pub(crate) fn key_id(number: u64) -> KeyId {
    Incarnation::from_octets([8; 8]).key_id(number)
}

pub(crate) fn response(number: u64) -> KmMessage {
    let body = Body::SupplyResponse(SupplyResponse { block: key_id(number), accepted: true });
    KmMessage { sender: Incarnation::from_octets([9; 8]), body }
}

/// One of 64 KiB.
pub(crate) fn notification(number: u64) -> KmMessage {
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

pub(crate) fn number(message: &KmMessage) -> u64 {
    let block = match &message.body {
        Body::SupplyResponse(response) => response.block,
        Body::SupplyNotification(notification) => notification.block,
        _ => panic!("another kind of message"),
    };
    Incarnation::split(block).1
}
