//! A little world to test in: an authority, a KME with its server, and clients.

#![allow(dead_code, missing_docs, unreachable_pub)] // Each test file uses a part of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use transport::client::{ClientError, ClientOptions, HttpsClient};
use transport::identity::IdentitySource;
use transport::pki::{Authority, Issued, Leaf};
use transport::server::{Event, Handler, HandshakeFailure, Limits, Peer, Server};
use transport::tls::{self, Credentials, Northbound, Pem, ServerTls, Trust};
use zeroize::Zeroizing;

/// Long enough for anything that is going to happen at all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Limits that no test runs into by waiting, so that nothing succeeds for want of time.
pub fn unhurried() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits { handshake: hour, head: hour, body: hour, idle: hour, age: hour, drain: hour, ..Limits::default() }
}

pub struct World {
    pub authority: Authority,
    pub north: Issued,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new("Test Authority").expect("an authority");
        let north = authority.issue(&Leaf::kme("north")).expect("a certificate");
        Self { authority, north }
    }

    pub fn issue(&self, leaf: &Leaf) -> Issued {
        self.authority.issue(leaf).expect("a certificate")
    }

    pub fn trust(&self) -> Trust {
        Trust::roots(Pem::text("ca", self.authority.certificate_pem()))
    }

    pub fn trust_but(&self, revoked: &[&Issued]) -> Trust {
        let crl = self.authority.crl(revoked.iter().map(|issued| issued.serial())).expect("a list");
        self.trust().with_crl(Pem::text("crl", &crl))
    }

    pub fn server_config(&self, options: &Northbound) -> Arc<ServerConfig> {
        tls::northbound_server(&credentials(&self.north), &self.trust(), options).expect("a configuration")
    }

    pub fn client_config(&self, own: &Issued) -> Arc<ClientConfig> {
        tls::northbound_client(Some(&credentials(own)), &self.trust(), &Northbound::default()).expect("a configuration")
    }

    /// A client of SAE `red`.
    pub fn red(&self) -> HttpsClient {
        HttpsClient::new(self.client_config(&self.issue(&Leaf::sae("red"))), ClientOptions::default())
    }

    /// A configuration made by rustls's own means, for peers that ours would not be.
    pub fn raw_config(
        &self,
        own: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
        groups: Vec<&'static dyn SupportedKxGroup>,
        alpn: &str,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(der(self.authority.certificate_pem())).expect("a root");
        let provider = CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .expect("versions")
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

    /// A bare TLS connection of SAE `red`.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        handshake(self.client_config(&self.issue(&Leaf::sae("red"))), address).await.expect("a connection")
    }
}

pub fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

pub fn credentials(issued: &Issued) -> Credentials {
    Credentials {
        certificate: Pem::text("certificate", issued.certificate_pem()),
        key: Pem::text("key", issued.secret_key_pem()),
    }
}

pub async fn handshake(config: Arc<ClientConfig>, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_on(config, TcpStream::connect(address).await?).await
}

pub async fn handshake_on<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    stream: S,
) -> std::io::Result<TlsStream<S>> {
    TlsConnector::from(config).connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

/// Answers with facts about peer and request.
#[derive(Default)]
pub struct Probe {
    pub requests: AtomicUsize,
    pub derived: AtomicUsize,
    /// A request for `/wait` says that it is here, and waits to be let go.
    pub arrived: Notify,
    pub release: Notify,
}

impl Handler for Probe {
    async fn call(&self, peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let text = match request.uri().path() {
            "/who" => format!("{:?}", peer.identity),
            "/tls" => peer.negotiated.map_or_else(|| "plain".to_owned(), |it| format!("{} {}", it.version, it.group_name())),
            "/certificate" => peer.certificate.as_ref().map(|it| format!("{} {}", it.serial, it.fingerprint)).unwrap_or_default(),
            "/cached" => {
                let derived = peer.cached(|peer| {
                    self.derived.fetch_add(1, Ordering::SeqCst);
                    peer.identity.clone().unwrap_or_default()
                });
                derived.cloned().unwrap_or_default()
            }
            "/wait" => {
                self.arrived.notify_one();
                self.release.notified().await;
                "released".to_owned()
            }
            "/last" => {
                let mut response = Response::new("the last".into());
                response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
                return response;
            }
            "/large" => "x".repeat(100_000),
            "/panic" => panic!("asked for"),
            _ => format!("{} octets", request.body().len()),
        };
        Response::new(text.into())
    }

    fn too_large(&self, peer: &Peer) -> Response<Bytes> {
        let mut response = Response::new(format!("too large, {}", peer.identity.is_ok()).into());
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    }
}

pub struct Running {
    pub address: SocketAddr,
    pub probe: Arc<Probe>,
    pub tls: ServerTls,
    pub events: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<usize>,
}

impl Running {
    pub async fn start(config: Arc<ServerConfig>, limits: Limits) -> Self {
        Self::start_on(config, limits, IdentitySource::sae_uri()).await
    }

    pub async fn start_on(config: Arc<ServerConfig>, limits: Limits, identity: IdentitySource) -> Self {
        let tls = ServerTls::new(config);
        let handle = tls.clone();
        Self::launch(tls, limits, |server, listener, stopped| async move {
            server.serve_tls(listener, handle, identity, stopped).await
        })
        .await
    }

    pub async fn start_plain(config: Arc<ServerConfig>, limits: Limits) -> Self {
        let serve = |server: Server<Probe>, listener, stopped| server.serve_plain(listener, stopped);
        Self::launch(ServerTls::new(config), limits, serve).await
    }

    async fn launch<F>(
        tls: ServerTls,
        limits: Limits,
        serve: impl FnOnce(Server<Probe>, TcpListener, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    ) -> Self
    where
        F: Future<Output = usize> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (probe, events) = (Arc::new(Probe::default()), Arc::new(Mutex::new(Vec::new())));
        let (stop, stopped) = oneshot::channel::<()>();
        let log = events.clone();
        let observer = move |event: &Event<'_>| log.lock().expect("not poisoned").push(summary(event));
        let server = Server::new(probe.clone()).limits(limits).observer(Arc::new(observer));
        let task = tokio::spawn(serve(server, listener, Box::pin(async move { drop(stopped.await) })));
        Self { address, probe, tls, events, stop: Some(stop), task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    pub fn requests(&self) -> usize {
        self.probe.requests.load(Ordering::SeqCst)
    }

    pub fn count(&self, event: &str) -> usize {
        self.events.lock().expect("not poisoned").iter().filter(|seen| *seen == event).count()
    }

    /// Waits until `event` has been seen `times` times.
    pub async fn seen(&self, event: &str, times: usize) {
        let waiting = async {
            while self.count(event) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(seen.is_ok(), "no {event:?} within patience, but {:?}", self.events.lock().expect("not poisoned"));
    }

    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops the server; says how many connections were cut off.
    pub async fn stop(mut self) -> usize {
        self.begin_stop();
        tokio::time::timeout(PATIENCE, self.task).await.expect("in time").expect("no panic")
    }
}

fn summary(event: &Event<'_>) -> String {
    match event {
        Event::Established { .. } => "established".to_owned(),
        Event::Closed { .. } => "closed".to_owned(),
        Event::Refused { limit, .. } => format!("refused {limit:?}"),
        Event::HandshakeFailed { failure, .. } => format!("handshake {}", HandshakeFailure::label(failure)),
        Event::TimedOut { limit, .. } => format!("timeout {limit:?}"),
        Event::BodyTooLarge { .. } => "too large".to_owned(),
        Event::ConnectionFailed { .. } => "failed".to_owned(),
        Event::HandlerPanicked => "panic".to_owned(),
        other => format!("{other:?}"),
    }
}

pub async fn get(client: &HttpsClient, url: &str) -> Result<Response<Zeroizing<Vec<u8>>>, ClientError> {
    client.send(Request::get(url).body(Bytes::new()).expect("a request")).await
}

/// The body of a GET as text.
pub async fn text(client: &HttpsClient, url: &str) -> String {
    let response = get(client, url).await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(response.body().to_vec()).expect("text")
}

/// Everything that comes until the other side closes or resets.
pub async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut octets = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        loop {
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => break,
                Ok(count) => octets.extend_from_slice(&part[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the other side closes in time");
    octets
}

/// One HTTP/1.1 response with Content-Length, head and body, as text.
pub async fn read_response(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut octets = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&octets).to_ascii_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                if body.len() >= length.unwrap_or(0_usize) {
                    break;
                }
            }
            let octet = stream.read_u8().await.expect("a whole response");
            octets.push(octet);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a response in time");
    String::from_utf8(octets).expect("text")
}

pub async fn write(stream: &mut (impl AsyncWriteExt + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
    stream.flush().await.expect("flushed");
}
