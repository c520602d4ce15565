//! What a peer can and cannot use up, and how a server ends.

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{Running, World, get, handshake, handshake_on, read_response, read_to_end, text, unhurried, write};
use http::{Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use transport::client::{ClientOptions, HttpsClient};
use transport::pki::Leaf;
use transport::server::Limits;
use transport::tls::Northbound;

const SHORT: Duration = Duration::from_millis(100);
const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn start(world: &World, limits: Limits) -> Running {
    Running::start(world.server_config(&Northbound::default()), limits).await
}

/// More of them than there are places of either kind, and ever new ones.
async fn silent_connections_block_nobody() {
    let world = World::new();
    let limits = Limits { handshakes: 50, connections: 20, connections_per_address: 10, ..unhurried() };
    let server = start(&world, limits).await;
    let mut silent = Vec::new();
    for served in 1..=4 {
        for _ in 0..50 {
            silent.push(TcpStream::connect(server.address).await.expect("a connection"));
        }
        assert_eq!(text(&world.red(), &server.url("/")).await, "0 octets");
        server.seen("established", served).await;
    }
    // One for each beyond 50, the four that were served among them.
    server.seen("handshake too_many", 151).await;
    assert!(read_to_end(&mut silent[0]).await.is_empty());
    assert_eq!(server.count("refused Total") + server.count("refused PerAddress"), 0);
    drop(silent);
    server.seen("handshake disconnected", 49).await;
    assert_eq!(server.stop().await, 0);
}

#[tokio::test]
async fn silent_connections_block_nobody_on_one_thread() {
    silent_connections_block_nobody().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_block_nobody_on_many_threads() {
    silent_connections_block_nobody().await;
}

#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let world = World::new();
    let server = start(&world, Limits { handshake: SHORT, ..unhurried() }).await;
    let mut silent = TcpStream::connect(server.address).await.expect("a connection");
    assert!(read_to_end(&mut silent).await.is_empty());
    let mut slow = TcpStream::connect(server.address).await.expect("a connection");
    slow.write_all(&[0x16, 3, 1, 2, 0]).await.expect("written");
    assert!(read_to_end(&mut slow).await.is_empty());
    server.seen("handshake timeout", 2).await;
}

#[tokio::test]
async fn a_slow_head_is_cut() {
    let world = World::new();
    let server = start(&world, Limits { head: SHORT, ..unhurried() }).await;

    let mut silent = world.connect(server.address).await;
    assert!(read_to_end(&mut silent).await.is_empty());
    server.seen("timeout Head", 1).await;

    let mut partial = world.connect(server.address).await;
    write(&mut partial, "GET / HTTP/1.1\r\nhost:").await;
    assert!(read_to_end(&mut partial).await.is_empty());
    server.seen("timeout Head", 2).await;

    let mut dripping = world.connect(server.address).await;
    let drip = async {
        while dripping.write_all(b"G").await.is_ok() && dripping.flush().await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    tokio::time::timeout(common::PATIENCE, drip).await.expect("cut, in spite of ever new octets");
    server.seen("timeout Head", 3).await;

    let mut second = world.connect(server.address).await;
    write(&mut second, GET).await;
    read_response(&mut second).await;
    write(&mut second, "GET /").await;
    assert!(read_to_end(&mut second).await.is_empty());
    server.seen("timeout Head", 4).await;
    assert_eq!(server.requests(), 1);
    server.seen("closed", 4).await;
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_time_and_closed_then() {
    let world = World::new();
    let server = start(&world, Limits { head: SHORT, ..unhurried() }).await;
    let mut patient = world.connect(server.address).await;
    for _ in 0..2 {
        write(&mut patient, GET).await;
        read_response(&mut patient).await;
        tokio::time::sleep(3 * SHORT).await;
    }
    assert_eq!(server.count("closed"), 0, "the time for a head does not run between requests");

    let server = start(&world, Limits { idle: SHORT, ..unhurried() }).await;
    let mut idle = world.connect(server.address).await;
    write(&mut idle, GET).await;
    read_response(&mut idle).await;
    assert!(read_to_end(&mut idle).await.is_empty());
    server.seen("timeout Idle", 1).await;
    server.seen("closed", 1).await;
}

#[tokio::test]
async fn a_connection_ends_with_its_age_after_the_request_under_way() {
    let world = World::new();
    for http2 in [false, true] {
        let config = world.server_config(&Northbound { http2, ..Northbound::default() });
        let server = Running::start(config, Limits { age: SHORT, ..unhurried() }).await;
        let (client, url) = (both_protocols(&world), server.url("/wait"));
        let (response, ()) = tokio::join!(text(&client, &url), async {
            server.probe.arrived.notified().await;
            server.seen("timeout Age", 1).await;
            server.probe.release.notify_one();
        });
        assert_eq!(response, "released");
        server.seen("closed", 1).await;
        // One that asks for nothing, at whatever time it begins.
        let mut idle = world.connect(server.address).await;
        assert!(read_to_end(&mut idle).await.is_empty());
        server.seen("timeout Age", 2).await;
    }
}

/// 014-5.1-07: an SAE that keeps its connection alive does not stay in with it.
#[tokio::test]
async fn a_connection_ends_with_the_certificate() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let now = std::time::SystemTime::now();
    let mut ended = false;
    // Longer each time, should the machine be too busy for a handshake before the certificate expires.
    for seconds in [2, 8, 32, 128] {
        let end = std::time::SystemTime::now() + Duration::from_secs(seconds);
        let red = world.issue(&Leaf::sae("red").valid(now - Duration::from_secs(3600), end));
        let Ok(mut stream) = handshake(world.client_config(&red), server.address).await else { continue };
        if stream.write_all(GET.as_bytes()).await.is_err() || !read_to_end(&mut stream).await.ends_with(b"0 octets") {
            continue;
        }
        ended = true;
        break;
    }
    assert!(ended, "no request came through");
    server.seen("timeout Age", 1).await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_response_can_be_the_last_of_its_connection() {
    let world = World::new();
    for http2 in [false, true] {
        let config = world.server_config(&Northbound { http2, ..Northbound::default() });
        let server = Running::start(config, unhurried()).await;
        let client = both_protocols(&world);
        for times in 1..3 {
            assert_eq!(text(&client, &server.url("/last")).await, "the last");
            server.seen("closed", times).await;
        }
    }
}

#[tokio::test]
async fn a_response_that_nobody_takes_does_not_hold_its_connection() {
    let world = World::new();
    let server = start(&world, Limits { idle: SHORT, ..unhurried() }).await;
    let mut taker = world.connect(server.address).await;
    for _ in 0..200 {
        // 100 kB each: more than all buffers between the two hold.
        if taker.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_err() {
            break;
        }
    }
    server.seen("closed", 1).await;
    assert!(server.requests() < 200);
}

#[tokio::test]
async fn time_spent_in_the_handler_is_not_the_peers() {
    let world = World::new();
    let limits = Limits { head: SHORT, body: SHORT, idle: SHORT, ..unhurried() };
    for http2 in [false, true] {
        let config = world.server_config(&Northbound { http2, ..Northbound::default() });
        let server = Running::start(config, limits.clone()).await;
        let client = both_protocols(&world);
        let url = server.url("/wait");
        let (response, ()) = tokio::join!(text(&client, &url), async {
            server.probe.arrived.notified().await;
            tokio::time::sleep(4 * SHORT).await;
            server.probe.release.notify_one();
        });
        assert_eq!(response, "released");
    }
}

#[tokio::test]
async fn a_slow_body_is_answered_with_408() {
    let world = World::new();
    let server = start(&world, Limits { body: SHORT, ..unhurried() }).await;
    let mut stream = world.connect(server.address).await;
    write(&mut stream, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc").await;
    let response = read_to_end(&mut stream).await;
    assert!(response.starts_with(b"HTTP/1.1 408 "), "{response:?}");
    server.seen("timeout Body", 1).await;
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn bodies_up_to_the_limit_are_taken() {
    let world = World::new();
    let server = start(&world, Limits { body_octets: 50_000, ..unhurried() }).await;
    let client = world.red();
    for (octets, status, answer) in [
        (0, StatusCode::OK, "0 octets"),
        (1, StatusCode::OK, "1 octets"),
        (50_000, StatusCode::OK, "50000 octets"),
        (50_001, StatusCode::PAYLOAD_TOO_LARGE, "too large, true"),
        (1_000_000, StatusCode::PAYLOAD_TOO_LARGE, "too large, true"),
    ] {
        let request = Request::post(server.url("/")).body(Bytes::from(vec![b'x'; octets])).expect("a request");
        let response = client.send(request).await.expect("a response");
        assert_eq!(response.status(), status, "{octets}");
        assert_eq!(response.body().as_slice(), answer.as_bytes(), "{octets}");
    }
    assert_eq!(server.requests(), 3);
    assert_eq!(server.count("too large"), 2);
    assert_eq!(server.count("established"), 1, "what was sent in excess was read, so the connection is still good");
}

#[tokio::test]
async fn too_large_bodies_of_other_kinds() {
    let world = World::new();
    let server = start(&world, Limits { body_octets: 10, ..unhurried() }).await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\n";
    for (name, rest) in [
        ("announced only", "content-length: 1000000000000\r\n\r\n"),
        ("after asking", "content-length: 11\r\nexpect: 100-continue\r\n\r\n"),
        ("in one chunk", "transfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"),
        ("in chunks", "transfer-encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n"),
    ] {
        let mut stream = world.connect(server.address).await;
        write(&mut stream, &format!("{head}{rest}")).await;
        let response = read_response(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{name}: {response}");
        assert!(response.ends_with("too large, true"), "{name}: {response}");
    }
    // As large, and slow as well.
    let slow = start(&world, Limits { body_octets: 10, body: SHORT, ..unhurried() }).await;
    for rest in ["content-length: 11\r\n\r\n0", "transfer-encoding: chunked\r\n\r\nb\r\n01234567890\r\n"] {
        let mut stream = world.connect(slow.address).await;
        write(&mut stream, &format!("{head}{rest}")).await;
        let response = read_response(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 413 "), "{rest}: {response}");
    }
    assert_eq!(slow.count("too large"), 2);
    let mut stream = world.connect(server.address).await;
    write(&mut stream, &format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).await;
    assert!(read_response(&mut stream).await.ends_with("10 octets"));
    assert_eq!(server.requests(), 1);
    assert_eq!(server.count("too large"), 4);
}

#[tokio::test]
async fn too_large_heads_are_answered_with_431() {
    let world = World::new();
    let limits = Limits { head_octets: 1000, header_fields: 5, ..unhurried() };
    let server = start(&world, limits).await;
    let field = |octets: usize| format!("x: {}\r\n", "a".repeat(octets));
    for (fields, status) in [
        (field(900), "200"),
        (field(1000), "431"),
        (field(200_000), "431"),
        (field(1).repeat(4), "200"),
        (field(1).repeat(5), "431"),
    ] {
        let mut stream = world.connect(server.address).await;
        let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
        // The server may close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.flush().await;
        let response = read_response(&mut stream).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{} octets: {response}", request.len());
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let mut stream = world.connect(server.address).await;
    let post = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc";
    write(&mut stream, &format!("{GET}{post}{GET}")).await;
    for expected in ["0 octets", "3 octets", "0 octets"] {
        assert!(read_response(&mut stream).await.ends_with(expected));
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let world = World::new();
    for (limits, event) in [
        (Limits { connections: 2, ..unhurried() }, "refused Total"),
        (Limits { connections_per_address: 2, ..unhurried() }, "refused PerAddress"),
    ] {
        let server = start(&world, limits).await;
        let mut early = TcpStream::connect(server.address).await.expect("a connection");
        let (other, mut good) = (world.connect(server.address).await, world.connect(server.address).await);
        server.seen("established", 2).await;
        let mut refused = TcpStream::connect(server.address).await.expect("a connection");
        assert!(read_to_end(&mut refused).await.is_empty());
        server.seen(event, 1).await;
        // Nor does it help to have begun before the others.
        let shaking = handshake_on(world.client_config(&world.issue(&Leaf::sae("red"))), &mut early);
        drop(shaking.await.map(|mut stream| async move { read_to_end(&mut stream).await }));
        server.seen(event, 2).await;
        write(&mut good, GET).await;
        assert!(read_response(&mut good).await.ends_with("0 octets"));
        assert_eq!(server.count("established"), 2);
        drop(other);
        server.seen("closed", 1).await;
        // The place is given back just after the event.
        let again = async {
            loop {
                let red = world.client_config(&world.issue(&Leaf::sae("red")));
                if handshake(red, server.address).await.is_ok() {
                    break;
                }
            }
        };
        tokio::time::timeout(common::PATIENCE, again).await.expect("a free place");
    }
}

#[tokio::test]
async fn plain_http_to_the_tls_port_gets_an_alert() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let mut plain = TcpStream::connect(server.address).await.expect("a connection");
    write(&mut plain, GET).await;
    let answer = read_to_end(&mut plain).await;
    assert_eq!(answer.first(), Some(&21), "a TLS alert record: {answer:?}");
    server.seen("handshake protocol", 1).await;
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_400() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let mut stream = world.connect(server.address).await;
    write(&mut stream, "\u{1}\u{2}\u{3} nonsense\r\n\r\n").await;
    let response = read_to_end(&mut stream).await;
    assert!(response.starts_with(b"HTTP/1.1 400 "), "{response:?}");
    server.seen("failed", 1).await;
}

#[tokio::test]
async fn stopping_lets_requests_finish() {
    let world = World::new();
    for http2 in [false, true] {
        let config = world.server_config(&Northbound { http2, ..Northbound::default() });
        let mut server = Running::start(config, unhurried()).await;
        let silent = TcpStream::connect(server.address).await.expect("a connection");
        let mut fresh = world.connect(server.address).await;
        let mut partial = world.connect(server.address).await;
        write(&mut partial, "GET / HTTP/1.1\r\nhost:").await;
        let mut idle = world.connect(server.address).await;
        write(&mut idle, GET).await;
        read_response(&mut idle).await;

        let client = both_protocols(&world);
        let url = server.url("/wait");
        let waiting = tokio::spawn(async move { text(&client, &url).await });
        server.probe.arrived.notified().await;
        server.begin_stop();
        assert!(read_to_end(&mut idle).await.is_empty(), "an idle connection is closed");
        assert!(read_to_end(&mut fresh).await.is_empty(), "and one that has not asked yet");
        assert!(read_to_end(&mut partial).await.is_empty(), "nor said all it wants");
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody new is let in");
        server.probe.release.notify_one();
        assert_eq!(waiting.await.expect("no panic"), "released");
        assert_eq!(server.stop().await, 0);
        drop(silent);
    }
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let world = World::new();
    let server = start(&world, Limits { drain: SHORT, ..unhurried() }).await;
    let (client, url) = (world.red(), server.url("/wait"));
    let waiting = tokio::spawn(async move { get(&client, &url).await });
    server.probe.arrived.notified().await;
    assert_eq!(server.stop().await, 1);
    assert!(waiting.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let mut other = world.connect(server.address).await;
    assert!(get(&world.red(), &server.url("/panic")).await.is_err());
    server.seen("panic", 1).await;
    server.seen("closed", 1).await;
    write(&mut other, GET).await;
    assert!(read_response(&mut other).await.ends_with("0 octets"));
}

#[tokio::test]
async fn facts_about_the_peer_are_derived_once_per_connection() {
    let world = World::new();
    let server = start(&world, unhurried()).await;
    let red = world.issue(&Leaf::sae("red").serial(&[0x12, 0x34]));
    let client = HttpsClient::new(world.client_config(&red), ClientOptions::default());
    for _ in 0..3 {
        assert_eq!(text(&client, &server.url("/cached")).await, "red");
    }
    assert_eq!(server.probe.derived.load(Ordering::SeqCst), 1);
    let certificate = text(&client, &server.url("/certificate")).await;
    let (serial, fingerprint) = certificate.split_once(' ').expect("two parts");
    assert_eq!(serial, "1234");
    let der = common::der(red.certificate_pem());
    let digest = rustls_digest(&der);
    assert_eq!(fingerprint, digest);
    assert_eq!(server.count("established"), 1);
}

#[tokio::test]
async fn http2_is_spoken_where_allowed() {
    let world = World::new();
    let limits = Limits { body_octets: 1000, body: SHORT, ..unhurried() };
    let server = Running::start(world.server_config(&Northbound { http2: true, ..Northbound::default() }), limits).await;
    let client = both_protocols(&world);
    for _ in 0..3 {
        let response = get(&client, &server.url("/who")).await.expect("a response");
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.body().as_slice(), b"Ok(\"red\")");
    }
    let request = Request::post(server.url("/")).body(Bytes::from(vec![0; 1001])).expect("a request");
    assert_eq!(client.send(request).await.expect("a response").status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.count("established"), 1);

    // One who can do both gets HTTP/1.1 from a server that allows nothing else.
    let server = start(&world, unhurried()).await;
    let response = get(&client, &server.url("/")).await.expect("a response");
    assert_eq!(response.version(), http::Version::HTTP_11);
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let world = World::new();
    let config = world.server_config(&Northbound { http2: true, ..Northbound::default() });
    let server = Running::start(config, Limits { idle: SHORT, ..unhurried() }).await;
    let client = both_protocols(&world);
    assert_eq!(text(&client, &server.url("/")).await, "0 octets");
    server.seen("timeout Idle", 1).await;
    server.seen("closed", 1).await;
}

#[tokio::test]
async fn plain_http_is_served_with_the_same_limits() {
    let world = World::new();
    let limits = Limits { body_octets: 10, idle: SHORT, ..unhurried() };
    let server = Running::start_plain(world.server_config(&Northbound::default()), limits).await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    for (path, expected) in [("/who", "Err(NoCertificate)"), ("/tls", "plain")] {
        write(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        assert!(read_response(&mut stream).await.ends_with(expected));
    }
    write(&mut stream, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 11\r\n\r\n01234567890").await;
    assert!(read_response(&mut stream).await.starts_with("HTTP/1.1 413 "));
    assert!(read_to_end(&mut stream).await.is_empty());
    server.seen("timeout Idle", 1).await;
    assert_eq!(server.stop().await, 0);
}

fn both_protocols(world: &World) -> HttpsClient {
    let red = common::credentials(&world.issue(&Leaf::sae("red")));
    let options = Northbound { http2: true, ..Northbound::default() };
    let config = transport::tls::northbound_client(Some(&red), &world.trust(), &options).expect("a configuration");
    // It is the server that ends connections here.
    HttpsClient::new(config, ClientOptions { idle: Duration::from_secs(3600), ..ClientOptions::default() })
}

fn rustls_digest(der: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(der).iter().map(|octet| format!("{octet:02x}")).collect()
}
