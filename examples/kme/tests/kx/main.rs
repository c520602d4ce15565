//! KMEs that talk to each other over real TLS.

mod raw;
mod world;

use std::time::Duration;

use kme::kx::{Failure, Kx, KxError, KxEvent, PeerConfig, Times};
use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transport::pki::Leaf;
use transport::tls::{ClientTls, Pem, ServerTls, inter_kme_client, inter_kme_server};
use world::*;

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

/// What the engine has not dealt with is not read without end: HTTP/2 holds back who says more.
#[tokio::test]
async fn a_neighbour_that_says_too_much_has_to_wait() {
    let world = World::new();
    let (mut north, mut south) = world.pair().await;
    south.up("north").await;
    let mut sent = 0;
    // 64 KiB each; the queues of both ends have 16 MiB each.
    'messages: while sent < 2000 {
        for _ in 0..100 {
            if south.kx.send(&km("north"), notification(sent)) {
                sent += 1;
                continue 'messages;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        break;
    }
    assert!(sent < 1000, "{sent} of 64 KiB are taken, and none was dealt with");
    for number in 0..sent {
        assert_eq!(north.message("south").await, number);
    }
    assert!(south.kx.send(&km("north"), notification(sent)), "on it goes");
    assert_eq!(north.message("south").await, sent);
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
    config.client_tls =
        ClientTls::new(inter_kme_client(&credentials(&south_certificate), &world.trust()).expect("a configuration"));
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

/// What is dialled goes by the new settings, too.
#[tokio::test]
async fn new_tls_settings_end_dialled_sessions() {
    let world = World::new();
    let north_door = door().await;
    let address = north_door.local_addr().expect("bound");
    let north_certificate = world.issue(&Leaf::kme("north"));
    let server_tls = ServerTls::new(inter_kme_server(&credentials(&north_certificate), &world.trust()).expect("a configuration"));
    let config = world.config("north", server_tls, north_door, &[("south", nowhere().await)], times());
    let _north = start(config);
    let config = world.config("south", world.server(&Leaf::kme("south")), door().await, &[("north", address)], times());
    let client_tls = config.client_tls.clone();
    let mut south = start(config);
    south.up("north").await;
    // The certificate of `north` is revoked: `south` says no more to it.
    let crl = world.authority.crl([north_certificate.serial()]).expect("a list");
    let trust = world.trust().with_crl(Pem::text("crl", &crl));
    let own = credentials(&world.issue(&Leaf::kme("south")));
    client_tls.replace(inter_kme_client(&own, &trust).expect("a configuration"));
    south.down("north").await;
    let (_, reason) = south.next_not_reached().await;
    assert!(matches!(reason, Failure::Tls(rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked))), "{reason}");
}

/// A certificate counts for as long as it is valid, and no session outlives it.
#[tokio::test]
async fn a_session_ends_with_the_certificate_of_either_end() {
    let world = World::new();
    'ends: for of_south in [true, false] {
        // Longer each time, should the machine be too busy to connect before the certificate expires.
        for seconds in [2, 8, 32] {
            let now = std::time::SystemTime::now();
            let expiring = |id: &str| Leaf::kme(id).valid(now - Duration::from_secs(60), now + Duration::from_secs(seconds));
            let leaf = |id: &str, expires: bool| if expires { expiring(id) } else { Leaf::kme(id) };
            let north_door = door().await;
            let address = north_door.local_addr().expect("bound");
            let server_tls = world.server(&leaf("north", !of_south));
            let _north = start(world.config("north", server_tls, north_door, &[("south", nowhere().await)], times()));
            let mut config =
                world.config("south", world.server(&Leaf::kme("south")), door().await, &[("north", address)], times());
            let own = credentials(&world.issue(&leaf("south", of_south)));
            config.client_tls = ClientTls::new(inter_kme_client(&own, &world.trust()).expect("a configuration"));
            let mut south = start(config);
            let reached = south.wait(|event| match event {
                KxEvent::Up(_) => Some(true),
                KxEvent::NotReached { reason: Failure::Tls(_), .. } => Some(false),
                _ => None,
            });
            if reached.await {
                south.down("north").await;
                south.not_reached("tls").await;
                continue 'ends;
            }
        }
        panic!("no session came about");
    }
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
