//! Who gets in: protocol versions, certificates, key exchanges.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Running, World, credentials, der, get, handshake, read_to_end, text, unhurried};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind};
use transport::client::{ClientError, ClientOptions, HttpsClient, ServerFacts};
use transport::identity::IdentitySource;
use transport::pki::{Authority, Leaf};
use transport::tls::{self, Credentials, KeyExchange, Northbound, Pem, TlsError, Trust};

fn client(config: Arc<rustls::ClientConfig>) -> HttpsClient {
    HttpsClient::new(config, ClientOptions::default())
}

/// 014-5.1-02, 014-5.1-08: both versions are served, and the group and the SAE ID are known to the handler.
#[tokio::test]
async fn versions_and_groups_are_served_and_reported() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    let red = world.issue(&Leaf::sae("red"));
    for (version, group, expected) in [
        (&TLS12, X25519, "TLSv1.2 X25519"),
        (&TLS12, SECP256R1, "TLSv1.2 secp256r1"),
        (&TLS13, X25519, "TLSv1.3 X25519"),
        (&TLS13, SECP256R1, "TLSv1.3 secp256r1"),
        (&TLS13, X25519MLKEM768, "TLSv1.3 X25519MLKEM768"),
    ] {
        let client = client(world.raw_config(Some(&red), &[version], vec![group], "http/1.1"));
        assert_eq!(text(&client, &server.url("/tls")).await, expected);
        assert_eq!(text(&client, &server.url("/who")).await, "Ok(\"red\")");
    }
    let ours = client(world.client_config(&red));
    assert_eq!(text(&ours, &server.url("/tls")).await, "TLSv1.3 X25519MLKEM768", "post-quantum is preferred");
    assert_eq!(server.stop().await, 0);
}

/// 014-5.1-03, 014-5.1-07: a client whose certificate is missing or not valid gets an alert, and no request through.
#[tokio::test]
async fn invalid_client_certificates_are_refused() {
    let world = World::new();
    let revoked = world.issue(&Leaf::sae("red"));
    let now = std::time::SystemTime::now();
    let hour = std::time::Duration::from_secs(3600);
    let config = tls::northbound_server(&credentials(&world.north), &world.trust_but(&[&revoked]), &Northbound::default());
    let server = Running::start(config.expect("a configuration"), unhurried()).await;
    let stranger = Authority::new("Test Authority").expect("an authority");

    for (name, certificate, alerts, label) in [
        ("none", None, [AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure], "no_certificate"),
        (
            "another authority of the same name",
            Some(stranger.issue(&Leaf::sae("red")).expect("a certificate")),
            [AlertDescription::DecryptError, AlertDescription::UnknownCA],
            "certificate_issuer",
        ),
        (
            "expired",
            Some(world.issue(&Leaf::sae("red").expired())),
            [AlertDescription::CertificateExpired; 2],
            "certificate_expired",
        ),
        (
            "not yet valid",
            Some(world.issue(&Leaf::sae("red").valid(now + hour, now + 2 * hour))),
            [AlertDescription::CertificateExpired; 2],
            "certificate_not_valid_yet",
        ),
        ("revoked", Some(revoked), [AlertDescription::CertificateRevoked; 2], "certificate_revoked"),
        (
            "self-signed",
            Some(world.issue(&Leaf::sae("red").self_signed())),
            [AlertDescription::UnknownCA; 2],
            "certificate_issuer",
        ),
        (
            "not for clients",
            Some(world.issue(&Leaf::sae("red").without_client_use())),
            [AlertDescription::UnsupportedCertificate; 2],
            "certificate_purpose",
        ),
    ] {
        for version in [&TLS12, &TLS13] {
            let before = server.count(&format!("handshake {label}"));
            let config = world.raw_config(certificate.as_ref(), &[version], vec![X25519], "http/1.1");
            let error = get(&client(config), &server.url("/who")).await.expect_err(name);
            let ClientError::Tls(rustls::Error::AlertReceived(alert)) = &error else {
                panic!("{name}, {version:?}: {error:?}");
            };
            assert!(alerts.contains(alert), "{name}, {version:?}: {alert:?}");
            server.seen(&format!("handshake {label}"), before + 1).await;
        }
    }
    assert_eq!(server.requests(), 0);
    assert_eq!(server.count("established"), 0);
}

/// What is not known to be good is refused: with lists, the chain below a root has to be covered by them.
#[tokio::test]
async fn revocation_does_not_fail_open() {
    let world = World::new();
    let root = issuer_of(&world.authority);
    let intermediate_key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Test Department");
    parameters.serial_number = Some(rcgen::SerialNumber::from(77));
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let intermediate = parameters.signed_by(&intermediate_key, &root).expect("signed");
    let department = rcgen::Issuer::new(parameters, intermediate_key);
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    let mut leaf = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    leaf.subject_alt_names = vec![rcgen::SanType::URI("urn:qkd:sae:red".try_into().expect("a URI"))];
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&leaf_key, &department).expect("signed");
    let chained = Credentials {
        certificate: Pem::text("chain", &format!("{}{}", leaf.pem(), intermediate.pem())),
        key: Pem::text("key", &leaf_key.serialize_pem()),
    };
    let chained = tls::northbound_client(Some(&chained), &world.trust(), &Northbound::default()).expect("a configuration");
    let department_ca = Pem::text("department", &intermediate.pem());
    let (of_root, of_department) = (list(&root, &[], 2100), list(&department, &[], 2100));
    let of_root_revoking = list(&root, &[77], 2100);
    let with = |lists: &[&str]| Trust { crls: lists.iter().map(|list| Pem::text("crl", list)).collect(), ..world.trust() };
    for (name, trust, refused_as) in [
        ("no lists", world.trust(), None),
        ("nobody knows of the leaf", with(&[&of_root]), Some("certificate_status_unknown")),
        ("the intermediate is revoked", with(&[&of_root_revoking]), Some("certificate_revoked")),
        ("the intermediate is trusted by itself", Trust { roots: vec![department_ca.clone()], ..with(&[&of_department]) }, None),
    ] {
        let config = tls::northbound_server(&credentials(&world.north), &trust, &Northbound::default());
        let server = Running::start(config.expect(name), unhurried()).await;
        let answer = get(&client(chained.clone()), &server.url("/who")).await;
        assert_eq!(answer.is_ok(), refused_as.is_none(), "{name}: {answer:?}");
        if let Some(label) = refused_as {
            server.seen(&format!("handshake {label}"), 1).await;
        }
    }

    // What can be seen before anybody connects is refused then.
    let both = Trust { roots: vec![Pem::text("ca", world.authority.certificate_pem()), department_ca], ..world.trust() };
    let stranger = Authority::new("Test Authority").expect("an authority");
    let of_stranger = stranger.crl([]).expect("a list");
    let pem = |text: &str| Pem::text("crl", text);
    for (trust, reason) in [
        (with(&[&of_root, &of_department]), "none of the authorities signed"),
        (world.trust().with_crl(pem(&of_stranger)), "none of the authorities signed"),
        (both.clone().with_crl(pem(&of_department)), "none of the revocation lists is of"),
    ] {
        let own = credentials(&world.north);
        for refused in [
            tls::northbound_server(&own, &trust, &Northbound::default()).map(drop),
            tls::northbound_client(Some(&own), &trust, &Northbound::default()).map(drop),
        ] {
            let error = refused.expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
    let complete = both.with_crl(pem(&of_department)).with_crl(pem(&of_root));
    tls::northbound_server(&credentials(&world.north), &complete, &Northbound::default()).expect("a configuration");
}

/// The authority in the terms of rcgen.
fn issuer_of(authority: &Authority) -> rcgen::Issuer<'static, rcgen::KeyPair> {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("transport-issuer-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    authority.save(&dir.join("ca.pem"), &dir.join("ca.key")).expect("saved");
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(dir.join("ca.key")).expect("read")).expect("a key");
    std::fs::remove_dir_all(&dir).expect("removed");
    rcgen::Issuer::from_ca_cert_pem(authority.certificate_pem(), key).expect("an issuer")
}

/// A list with these serial numbers, to be renewed in January of `until`.
fn list(issuer: &rcgen::Issuer<'_, rcgen::KeyPair>, serials: &[u64], until: i32) -> String {
    let revoked = |serial: &u64| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from(*serial),
        revocation_time: rcgen::date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(until, 1, 2),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).expect("signed").pem().expect("a list")
}

/// A revocation list that comes in while the server runs ends connections that are open already.
#[tokio::test]
async fn a_new_revocation_list_holds_at_once() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    let (red, blue) = (world.issue(&Leaf::sae("red")), world.issue(&Leaf::sae("blue")));
    let (red_client, blue_client) = (client(world.client_config(&red)), client(world.client_config(&blue)));
    for client in [&red_client, &blue_client] {
        assert_eq!(text(client, &server.url("/")).await, "0 octets");
    }
    // A third one has shaken hands, and not yet asked for anything.
    let mut early = handshake(world.client_config(&red), server.address).await.expect("a connection");
    server.seen("established", 3).await;

    let trust = world.trust_but(&[&red]);
    let config = tls::northbound_server(&credentials(&world.north), &trust, &Northbound::default());
    server.tls.replace(config.expect("a configuration"));

    server.seen("closed", 3).await;
    assert!(read_to_end(&mut early).await.is_empty());
    let error = get(&red_client, &server.url("/")).await.expect_err("revoked");
    assert!(matches!(error, ClientError::Tls(rustls::Error::AlertReceived(AlertDescription::CertificateRevoked))), "{error:?}");
    assert_eq!(text(&blue_client, &server.url("/")).await, "0 octets");
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn a_stale_revocation_list_is_refused_only_when_asked() {
    let world = World::new();
    let crl = list(&issuer_of(&world.authority), &[], 2021);
    for refuse_stale_crls in [false, true] {
        let trust = Trust { refuse_stale_crls, ..world.trust().with_crl(Pem::text("crl", &crl)) };
        let config = tls::northbound_server(&credentials(&world.north), &trust, &Northbound::default());
        let server = Running::start(config.expect("a configuration"), unhurried()).await;
        assert_eq!(get(&world.red(), &server.url("/")).await.is_err(), refuse_stale_crls);
    }
}

/// 014-5.1-09: the handler is told, and answers as the standard has it.
#[tokio::test]
async fn certificates_without_a_name() {
    let world = World::new();
    let unnamed = client(world.client_config(&world.issue(&Leaf::bare("red"))));
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    assert_eq!(text(&unnamed, &server.url("/who")).await, "Err(Missing)");
}

#[tokio::test]
async fn between_kmes_only_post_quantum_tls13_is_spoken() {
    let world = World::new();
    let config = tls::inter_kme_server(&credentials(&world.north), &world.trust()).expect("a configuration");
    let server = Running::start_on(config, unhurried(), IdentitySource::kme_uri()).await;
    let south = world.issue(&Leaf::kme("south"));

    let ours = client(tls::inter_kme_client(&credentials(&south), &world.trust()).expect("a configuration"));
    let response = get(&ours, &server.url("/tls")).await.expect("a response");
    assert_eq!(response.body().as_slice(), b"TLSv1.3 X25519MLKEM768");
    let facts = response.extensions().get::<ServerFacts>().expect("facts");
    assert_eq!(facts.negotiated.group_name(), "X25519MLKEM768");
    assert!(facts.negotiated.http2);
    assert_eq!(facts.certificate, der(world.north.certificate_pem()).as_ref());
    assert_eq!(text(&ours, &server.url("/who")).await, "Ok(\"south\")");

    for (name, config, label) in [
        ("classical", world.raw_config(Some(&south), &[&TLS13], vec![X25519, SECP256R1], "h2"), "incompatible"),
        ("TLS 1.2", world.raw_config(Some(&south), &[&TLS12], vec![X25519], "h2"), "incompatible"),
        ("HTTP/1.1", world.raw_config(Some(&south), &[&TLS13], vec![X25519MLKEM768], "http/1.1"), "incompatible"),
        ("no certificate", world.raw_config(None, &[&TLS13], vec![X25519MLKEM768], "h2"), "no_certificate"),
    ] {
        let before = server.count(&format!("handshake {label}"));
        let error = get(&client(config), &server.url("/")).await.expect_err(name);
        assert!(matches!(error, ClientError::Tls(rustls::Error::AlertReceived(_))), "{name}: {error:?}");
        server.seen(&format!("handshake {label}"), before + 1).await;
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_client_can_insist_on_post_quantum_too() {
    let world = World::new();
    let only = Northbound { key_exchange: KeyExchange::PostQuantumOnly, ..Northbound::default() };
    let red = credentials(&world.issue(&Leaf::sae("red")));
    let strict = client(tls::northbound_client(Some(&red), &world.trust(), &only).expect("a configuration"));

    let mut classical = (*world.server_config(&Northbound::default())).clone();
    let provider = CryptoProvider { kx_groups: vec![X25519], ..aws_lc_rs::default_provider() };
    let verifier = rustls::server::WebPkiClientVerifier::no_client_auth();
    classical = {
        let resolver = classical.cert_resolver.clone();
        let builder =
            rustls::ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13]).expect("a version");
        builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver)
    };
    let server = Running::start(Arc::new(classical), unhurried()).await;
    let error = get(&strict, &server.url("/")).await.expect_err("classical");
    assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
    assert_eq!(server.count("established"), 0);

    let server = Running::start(world.server_config(&only), unhurried()).await;
    assert_eq!(text(&strict, &server.url("/tls")).await, "TLSv1.3 X25519MLKEM768");
    let classical = world.raw_config(Some(&world.issue(&Leaf::sae("red"))), &[&TLS12, &TLS13], vec![X25519], "http/1.1");
    assert!(matches!(get(&client(classical), &server.url("/")).await, Err(ClientError::Tls(_))));
}

#[tokio::test]
async fn a_finished_handshake_is_checked_against_its_provider() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    let red = world.issue(&Leaf::sae("red"));
    let classical = world.raw_config(Some(&red), &[&TLS13], vec![X25519], "http/1.1");
    let stream = handshake(classical.clone(), server.address).await.expect("a connection");
    let strict = CryptoProvider { kx_groups: vec![X25519MLKEM768], ..aws_lc_rs::default_provider() };
    assert!(tls::assert_post_quantum(classical.crypto_provider(), stream.get_ref().1).is_ok());
    let error = tls::assert_post_quantum(&strict, stream.get_ref().1).expect_err("not post-quantum");
    assert!(matches!(error, TlsError::NotPostQuantum { negotiated: Some(rustls::NamedGroup::X25519) }), "{error:?}");
    let quantum_safe = handshake(world.client_config(&red), server.address).await.expect("a connection");
    assert!(tls::assert_post_quantum(&strict, quantum_safe.get_ref().1).is_ok());
}

/// A resumed session would skip the verification of the certificate.
#[tokio::test]
async fn sessions_are_not_resumed() {
    let world = World::new();
    let server = Running::start(world.server_config(&Northbound::default()), unhurried()).await;
    let red = world.issue(&Leaf::sae("red"));
    for version in [&TLS12, &TLS13] {
        let config = world.raw_config(Some(&red), &[version], vec![X25519], "http/1.1");
        for _ in 0..2 {
            let mut stream = handshake(config.clone(), server.address).await.expect("a connection");
            // Tickets, if there were any, would come with the response.
            common::write(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            common::read_response(&mut stream).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
        }
    }
}

/// 014-5.1-04: the client sends nothing to a server whose certificate is not valid for it.
#[tokio::test]
async fn invalid_server_certificates_are_refused() {
    let world = World::new();
    let stranger = Authority::new("Test Authority").expect("an authority");
    let revoked = world.issue(&Leaf::kme("north"));
    let red = credentials(&world.issue(&Leaf::sae("red")));
    let config = tls::northbound_client(Some(&red), &world.trust_but(&[&revoked]), &Northbound::default());
    let client = client(config.expect("a configuration"));
    for (name, certificate) in [
        ("expired", world.issue(&Leaf::kme("north").expired())),
        ("another authority", stranger.issue(&Leaf::kme("north")).expect("a certificate")),
        ("self-signed", world.issue(&Leaf::kme("north").self_signed())),
        ("another host", world.issue(&Leaf::sae("north").without_client_use())),
        ("not for servers", world.issue(&Leaf::sae("north").host("localhost"))),
        ("revoked", revoked),
    ] {
        let config = tls::northbound_server(&credentials(&certificate), &world.trust(), &Northbound::default());
        let server = Running::start(config.expect("a configuration"), unhurried()).await;
        let error = get(&client, &server.url("/")).await.expect_err(name);
        assert!(matches!(error, ClientError::Tls(rustls::Error::InvalidCertificate(_))), "{name}: {error:?}");
        server.seen("handshake refused_by_peer", 1).await;
        assert_eq!(server.requests(), 0, "{name}");
    }
}

#[test]
fn errors_name_the_file_and_hold_no_key() {
    let world = World::new();
    let own = credentials(&world.north);
    let other = world.issue(&Leaf::kme("south"));
    let pem = |text: &str| Pem::text("the-file", text);
    let secret = other.secret_key_pem().lines().nth(1).expect("base64").to_owned();
    let broken_key = other.secret_key_pem().replace(&secret, &format!("{secret}!"));
    let build = |own: &Credentials, trust: &Trust| {
        tls::northbound_server(own, trust, &Northbound::default()).expect_err("cannot be built").to_string()
    };
    let with_certificate = |certificate| build(&Credentials { certificate, ..own.clone() }, &world.trust());
    let with_key = |key| build(&Credentials { key, ..own.clone() }, &world.trust());
    let with_roots = |root| build(&own, &Trust::roots(root));
    let with_crl = |crl| build(&own, &world.trust().with_crl(crl));
    let garbage_crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let garbage_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, reason) in [
        (with_certificate(Pem::file(Path::new("the-file/absent.pem"))), "No such file"),
        (with_certificate(pem(other.secret_key_pem())), "holds no certificate"),
        (with_certificate(pem("-----BEGIN CERTIFICATE-----\n")), "not well-formed"),
        (with_key(pem(other.certificate_pem())), "holds no private key"),
        (with_key(pem(&broken_key)), "not well-formed"),
        (with_key(pem(other.secret_key_pem())), "does not belong to the certificate in certificate"),
        (with_roots(pem("")), "holds no certificate"),
        (with_roots(pem(garbage_certificate)), "cannot be a trust root"),
        (with_crl(pem("")), "holds no certificate revocation list"),
        (with_crl(pem(garbage_crl)), "could not be parsed"),
    ] {
        assert!(text.contains("the-file"), "{text}");
        assert!(text.contains(reason), "{text} lacks {reason:?}");
        assert!(!text.contains(&secret[..12]), "{text}");
    }
    let none = build(&own, &Trust { roots: Vec::new(), ..world.trust() });
    assert!(none.contains("no root trust anchors"), "{none}");
    assert!(!format!("{own:?}").contains("BEGIN"), "{own:?}");
}
