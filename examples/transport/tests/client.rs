//! What a client sends, to whom, and what it takes back.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Running, World, credentials, get, text, unhurried};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use transport::client::{ClientError, ClientOptions, HttpsClient};
use transport::identity::{IdentityError, IdentitySource};
use transport::pki::{Issued, Leaf};
use transport::server::Limits;
use transport::tls::{self, Northbound};

fn client(world: &World, options: ClientOptions) -> HttpsClient {
    HttpsClient::new(world.client_config(&world.issue(&Leaf::sae("red"))), options)
}

/// 014-5.1-05, 014-5.1-06: no request to a server that is not the KME it should be.
#[tokio::test]
async fn the_kme_id_is_confirmed_before_anything_is_sent() {
    let world = World::new();
    let expecting =
        |id: &str, source| ClientOptions { expected_identity: Some((source, id.to_owned())), ..ClientOptions::default() };
    let start = async |own: &Issued| {
        let config = tls::northbound_server(&credentials(own), &world.trust(), &Northbound::default());
        Running::start(config.expect("a configuration"), unhurried()).await
    };

    let north = start(&world.north).await;
    let right = client(&world, expecting("north", IdentitySource::kme_uri()));
    assert_eq!(text(&right, &north.url("/")).await, "0 octets");
    let common_name = client(&world, expecting("north", IdentitySource::CommonName));
    assert_eq!(text(&common_name, &north.url("/")).await, "0 octets");

    let south = start(&world.issue(&Leaf::kme("south"))).await;
    let error = get(&right, &south.url("/")).await.expect_err("another KME");
    let ClientError::WrongIdentity { expected, found } = &error else { panic!("{error:?}") };
    assert_eq!((expected.as_str(), found), ("north", &Ok("south".to_owned())));
    assert_eq!(error.to_string(), "connected to \"south\", expected \"north\"");

    let nobody = start(&world.issue(&Leaf::bare("north").without_client_use().host("localhost"))).await;
    let error = get(&right, &nobody.url("/")).await.expect_err("no KME ID");
    assert!(matches!(error, ClientError::WrongIdentity { found: Err(IdentityError::Missing), .. }), "{error:?}");

    assert_eq!(north.requests(), 2);
    for refused in [south, nobody] {
        refused.seen("closed", 1).await;
        assert_eq!(refused.requests(), 0);
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_used_again() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    let client = world.red();
    for _ in 0..5 {
        assert_eq!(text(&client, &server.url("/")).await, "0 octets");
    }
    assert_eq!(server.count("established"), 1);
}

#[tokio::test]
async fn a_connection_closed_by_the_server_is_replaced() {
    let world = World::new();
    let limits = Limits { idle: Duration::from_millis(50), ..unhurried() };
    let server = Running::start(world.server_config(&Northbound::default()), limits).await;
    let client = world.red();
    for round in 1..=3 {
        assert_eq!(text(&client, &server.url("/")).await, "0 octets");
        server.seen("closed", round).await;
    }
    assert_eq!(server.count("established"), 3);
}

#[tokio::test]
async fn response_bodies_are_limited() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    for (body_octets, taken) in [(100_000, true), (99_999, false)] {
        let client = client(&world, ClientOptions { body_octets, ..ClientOptions::default() });
        match get(&client, &server.url("/large")).await {
            Ok(response) => assert!(taken && response.body().len() == 100_000),
            Err(error) => {
                assert!(!taken && matches!(error, ClientError::TooLarge { limit: 99_999 }), "{error:?}");
            }
        }
    }
}

/// A server that answers each request with the same octets, and closes. Counts requests.
async fn canned(world: &World, answer: Option<&'static str>) -> (SocketAddr, Arc<AtomicUsize>) {
    let acceptor = TlsAcceptor::from(world.server_config(&Northbound::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(octet) = stream.read_u8().await else { break };
                head.push(octet);
            }
            if head.starts_with(b"GET") || head.starts_with(b"POST") {
                counter.fetch_add(1, Ordering::SeqCst);
            }
            match answer {
                Some(answer) => {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
                None => std::future::pending().await,
            }
        }
    });
    (address, requests)
}

fn url(address: SocketAddr) -> String {
    format!("https://{address}/")
}

#[tokio::test]
async fn odd_answers_are_told_apart() {
    let world = World::new();
    let client = client(&world, ClientOptions { body_octets: 10, ..ClientOptions::default() });
    type Check = fn(&ClientError) -> bool;
    let too_large: Check = |error| matches!(error, ClientError::TooLarge { limit: 10 });
    let disconnected: Check = |error| matches!(error, ClientError::Disconnected(_));
    let protocol: Check = |error| matches!(error, ClientError::Protocol(_));
    for (answer, check) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551000\r\n\r\n", too_large),
        ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n01234567890", too_large),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n678901\r\n0\r\n\r\n", too_large),
        ("HTTP/1.1 200 OK\r\n\r\n01234567890", too_large),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234", disconnected),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012", disconnected),
        ("", disconnected),
        ("HTTP/1.1 200", disconnected),
        ("nonsense\r\n\r\n", protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n", protocol),
    ] {
        let (address, requests) = canned(&world, Some(answer)).await;
        let request = Request::post(url(address)).body(Bytes::new()).expect("a request");
        let error = client.send(request).await.expect_err(answer);
        assert!(check(&error), "{answer:?}: {error:?}");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{answer:?}: sent once, and not again");
    }
}

#[tokio::test]
async fn chunked_answers_are_joined_and_redirects_not_followed() {
    let world = World::new();
    let client = world.red();
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n";
    let (address, _) = canned(&world, Some(chunks)).await;
    assert_eq!(text(&client, &url(address)).await, "0123456789");
    let redirect = "HTTP/1.1 302 Found\r\nlocation: https://localhost/\r\ncontent-length: 0\r\n\r\n";
    let (address, requests) = canned(&world, Some(redirect)).await;
    assert_eq!(get(&client, &url(address)).await.expect("a response").status(), StatusCode::FOUND);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn silence_runs_into_time_limits() {
    let world = World::new();
    let short = Duration::from_millis(100);
    let (address, _) = canned(&world, None).await;
    let patient_connecting = client(&world, ClientOptions { request: short, ..ClientOptions::default() });
    let error = get(&patient_connecting, &url(address)).await.expect_err("no answer");
    assert!(matches!(error, ClientError::RequestTimedOut), "{error:?}");

    let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = mute.local_addr().expect("an address");
    let hasty = client(&world, ClientOptions { connect: short, ..ClientOptions::default() });
    let error = get(&hasty, &url(address)).await.expect_err("no handshake");
    assert!(matches!(error, ClientError::ConnectTimedOut), "{error:?}");
}

#[tokio::test]
async fn only_https_urls_and_only_tls() {
    let world = World::new();
    let client = world.red();
    for url in ["http://localhost/", "/api/v1/keys", "localhost:443", "ftp://localhost/"] {
        assert!(matches!(get(&client, url).await, Err(ClientError::NotHttps)), "{url}");
    }

    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let error = get(&client, &url(address)).await.expect_err("nobody there");
    assert!(matches!(error, ClientError::Connect(_)), "{error:?}");

    let plain = Running::start_plain(world.server_config(&Northbound::default()), unhurried()).await;
    let error = get(&client, &url(plain.address)).await.expect_err("no TLS there");
    assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
    assert_eq!(plain.requests(), 0);
}

#[tokio::test]
async fn addresses_are_checked_against_the_certificate_too() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    assert_eq!(text(&world.red(), &url(server.address)).await, "0 octets");
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().expect("an address");
    let config = world.server_config(&Northbound::default());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = TlsAcceptor::from(config).accept(stream).await.expect("a handshake");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    });
    assert_eq!(text(&world.red(), &url(address)).await, "ok");
}
