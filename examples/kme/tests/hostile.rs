//! Who must not be served is not, what must not be read is not, and none of it costs a key or anyone else's time.

#![allow(missing_docs)]

mod support;

use std::time::Duration;

use http::Method;
use rustls::{AlertDescription, Error as TlsError};
use serde_json::json;
use support::{Kme, Settings, Site, key_ids, read_to_end};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::client::ClientError;

const ENC: &str = "blue/enc_keys";
const DEC: &str = "red/dec_keys";
const NOT_FOUND: &str = "one or more keys specified are not found on KME";
const ROOMY: &str = "max_body_octets = 1048576";
const IMPATIENT: &str = "handshake_timeout = \"2s\"\nrequest_timeout = \"2s\"\nidle_timeout = \"3s\"\nmax_body_octets = 1048576";

#[tokio::test]
async fn certificates_that_are_not_valid_are_refused_in_the_handshake() {
    let site = Site::shared();
    for kme in Kme::BOTH {
        for (stem, alert) in [
            (None, AlertDescription::CertificateRequired),
            (Some("red-expired"), AlertDescription::CertificateExpired),
            (Some("red-not-yet-valid"), AlertDescription::CertificateExpired),
            (Some("red-revoked"), AlertDescription::CertificateRevoked),
            (Some("red-stranger"), AlertDescription::DecryptError),
            (Some("red-self-signed"), AlertDescription::UnknownCA),
            (Some("red-server-only"), AlertDescription::UnsupportedCertificate),
        ] {
            for path in ["blue/status", ENC, "blue/dec_keys?key_ID=0957365e-4b8d-8f95-8a8f-de3d60199dbb"] {
                match site.client(stem, kme).try_get(path).await {
                    Err(ClientError::Tls(TlsError::AlertReceived(received))) => assert_eq!(received, alert, "{stem:?}"),
                    other => panic!("{stem:?} {path}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn valid_certificates_of_nobody_known_are_refused_with_a_reason() {
    let site = Site::shared();
    // Signed, but without an SAE ID; of an SAE that is not enrolled; of a KME; of an SAE of the other KME.
    for (stem, kme) in [
        ("red-unnamed", Kme::North),
        ("unenrolled", Kme::North),
        ("south", Kme::North),
        ("link-a", Kme::North),
        ("red", Kme::South),
        ("blue", Kme::North),
    ] {
        let client = site.client(Some(stem), kme);
        for path in ["blue/status", ENC, "green/enc_keys?number=0", "red/dec_keys?key_ID=0957365e-4b8d-8f95-8a8f-de3d60199dbb"] {
            let answer = client.get(path).await;
            assert_eq!((answer.status, answer.message().as_str()), (401, "the SAE is not authenticated"), "{stem} {path}");
        }
        // Nor is it told what there is.
        for (method, path) in [(Method::PUT, "/api/v1/keys/blue/enc_keys"), (Method::GET, "/"), (Method::GET, "/metrics")] {
            assert_eq!(client.send(method, path, None, "").await.expect("an answer").status, 401, "{stem} {path}");
        }
        // Nor does it keep a place by asking again and again.
        let twice = client.exchange("GET /api/v1/keys/blue/status HTTP/1.1\r\nhost: north\r\n\r\n".repeat(2)).await;
        assert_eq!(twice.matches("HTTP/1.1 401").count(), 1, "{stem}: {twice}");
    }
}

#[tokio::test]
async fn what_is_no_tls_gets_no_answer_and_the_port_lives() {
    let site = Site::shared();
    for octets in [&b"GET / HTTP/1.1\r\nhost: north\r\n\r\n"[..], &[0; 4096], &[0xff; 4096], b"\x16\x03\x01\xff\xff"] {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port(Kme::North))).await.expect("a connection");
        stream.write_all(octets).await.expect("sent");
        stream.shutdown().await.expect("sent");
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        assert!(!String::from_utf8_lossy(&read).contains("HTTP"), "{octets:?}");
    }
    site.sae("red").status("blue").await;
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_spend_nothing() {
    // A site of its own: here the number of stored keys is a matter of these requests only.
    let site = Site::start(Settings { northbound: ROOMY, ..Settings::default() });
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    let held = red.draw("blue", json!({})).await;
    let (id, _) = &held[0];
    let stored = red.stored_when_steady("blue").await;

    let bad_format = "bad request format: ";
    let deep = |inner: &str, depth: usize| format!("{}{}{}", "[".repeat(depth), inner, "]".repeat(depth));
    let too_deep = format!(r#"{{"number":1,"extension_optional":{}}}"#, deep("", 30_000));
    let five = r#"{"additional_slave_SAE_IDs":["green","grey","black","white","blue"]}"#;
    let latin: &[u8] = b"{\"number\":1,\"extension_optional\":[{\"x\":\"\xe9\"}]}";
    let marked: &[u8] = b"\xef\xbb\xbf{\"number\":1}";
    let utf_16: Vec<u8> = r#"{"number":1}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, message) in [
        (&b"{"[..], bad_format),
        (b"[]", bad_format),
        (b"null", bad_format),
        (b"{} {}", bad_format),
        (b"number=1", bad_format),
        (b"{'number':1}", bad_format),
        (br#"{"number":1,}"#, bad_format),
        (br#"{"number":0}"#, bad_format),
        (br#"{"number":-1}"#, bad_format),
        (br#"{"number":1.5}"#, bad_format),
        (br#"{"number":1e400}"#, bad_format),
        (br#"{"number":99999999999999999999999999}"#, bad_format),
        (br#"{"number":"1"}"#, bad_format),
        (br#"{"number":[1]}"#, bad_format),
        (br#"{"number":1,"number":1}"#, bad_format),
        (br#"{"size":256,"number":1,"size":512}"#, bad_format),
        (br#"{"number":1,"n\u0075mber":2}"#, bad_format),
        (br#"{"extension_optional":[{"a":1,"a":2}]}"#, bad_format),
        (br#"{"extension_mandatory":{"a":1}}"#, bad_format),
        (br#"{"additional_slave_SAE_IDs":"green"}"#, bad_format),
        (br#"{"additional_slave_SAE_IDs":[7]}"#, bad_format),
        (br#"{"additional_slave_SAE_IDs":[""]}"#, bad_format),
        (too_deep.as_bytes(), bad_format),
        (latin, bad_format),
        (marked, bad_format),
        (&utf_16, bad_format),
        (br#"{"number":129}"#, "number is larger than max_key_per_request"),
        (br#"{"number":4294967295}"#, "number is larger than max_key_per_request"),
        (br#"{"size":56}"#, "size is not between min_key_size and max_key_size"),
        (br#"{"size":4104}"#, "size is not between min_key_size and max_key_size"),
        (br#"{"size":4294967288}"#, "size is not between min_key_size and max_key_size"),
        (br#"{"size":65}"#, "size shall be a multiple of 8"),
        (br#"{"size":257}"#, "size shall be a multiple of 8"),
        (br#"{"additional_slave_SAE_IDs":["nobody"]}"#, "unknown SAE ID"),
        (br#"{"additional_slave_SAE_IDs":["blue"]}"#, "additional_slave_SAE_IDs repeats the slave of the path"),
        (br#"{"additional_slave_SAE_IDs":["green","green"]}"#, "additional_slave_SAE_IDs names an SAE twice"),
        (br#"{"additional_slave_SAE_IDs":["red"]}"#, "the calling SAE cannot be a slave of its own keys"),
        (five.as_bytes(), "more additional_slave_SAE_IDs than max_SAE_ID_count"),
        (br#"{"extension_mandatory":[{"hx_path":1}]}"#, "not all extension_mandatory parameters are supported"),
    ] {
        let answer = red.post(ENC, body.to_vec()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(100)]);
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert!(answer.message().starts_with(message), "{shown}: {answer:?}");
    }

    let missing = "5bd4a2a2-0c3e-8e1a-9d3f-3f4a5b6c7d8e";
    let twice = format!(r#"{{"key_IDs":[{{"key_ID":"{id}","key_ID":"{missing}"}}]}}"#);
    let arrays = format!(r#"{{"key_IDs":[{{"key_ID":"{id}"}}],"key_IDs":[]}}"#);
    let deep_extension = format!(r#"{{"key_IDs":[{{"key_ID":"{id}","key_ID_extension":{}}}]}}"#, deep("", 30_000));
    let many = key_ids(&vec![missing; 129]);
    let very_many = key_ids(&vec![id.as_str(); 1_000]);
    for (body, message) in [
        ("", bad_format),
        ("{}", bad_format),
        (r#"{"key_IDs":null}"#, bad_format),
        (r#"{"key_IDs":{"key_ID":"x"}}"#, bad_format),
        (r#"{"key_IDs":["0957365e-4b8d-8f95-8a8f-de3d60199dbb"]}"#, bad_format),
        (r#"{"key_IDs":[{"key_id":"0957365e-4b8d-8f95-8a8f-de3d60199dbb"}]}"#, bad_format),
        (r#"{"key_IDs":[]}"#, "key_IDs is empty"),
        (&twice, bad_format),
        (&arrays, bad_format),
        (&deep_extension, bad_format),
        (&many, "more key_IDs than max_key_per_request"),
        (&very_many, "more key_IDs than max_key_per_request"),
        (&key_ids(&[id, &id.to_uppercase()]), "key_IDs names a key twice"),
        (&key_ids(&[id, "../../etc/passwd"]), NOT_FOUND),
        (&key_ids(&[id, missing]), NOT_FOUND),
    ] {
        let answer = blue.post(DEC, body.to_owned()).await;
        let shown: String = body.chars().take(100).collect();
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert!(answer.message().starts_with(message), "{shown}: {answer:?}");
    }

    for (query, message) in [
        ("number=0", "number shall be a positive integer"),
        ("number=", "number shall be a positive integer"),
        ("number=%2b1", "number shall be a positive integer"),
        ("number=1e2", "number shall be a positive integer"),
        ("number=99999999999999999999", "number shall be a positive integer"),
        ("number=1&number=1", "number may occur only once in the query"),
        ("size=8&n%75mber=1&number=2", "number may occur only once in the query"),
        ("size=257", "size shall be a multiple of 8"),
        ("number=%ff", "the query is not percent-encoded UTF-8"),
        ("additional_slave_SAE_IDs=green", "additional_slave_SAE_IDs shall be sent by POST"),
    ] {
        let answer = red.get(&format!("{ENC}?{query}")).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, message), "{query}");
    }
    for (query, message) in [
        (String::new(), "key_ID is missing in the query"),
        (format!("key_ID={id}&key_ID={id}"), "key_ID may occur only once in the query"),
        (format!("key_ID={id}x"), NOT_FOUND),
        (format!("key_ID={id}%00"), NOT_FOUND),
    ] {
        let answer = blue.get(&format!("{DEC}?{query}")).await;
        assert_eq!((answer.status, answer.message().as_str()), (400, message), "{query}");
    }

    for (method, path, media_type, body, status) in [
        (Method::GET, "/api/v1/keys/blue/enc_keys", None, "{}", 400),
        (Method::GET, "/api/v1/keys/%ff/enc_keys", None, "", 400),
        (Method::GET, "/api/v1/keys/%00/enc_keys", None, "", 400),
        (Method::GET, "/api/v1/keys//enc_keys", None, "", 404),
        (Method::GET, "/api/v1/keys/BLUE/enc_keys", None, "", 400),
        (Method::GET, "/api/v1/keys/blue%20/enc_keys", None, "", 400),
        (Method::GET, "/api/v1/keys/blue/ENC_KEYS", None, "", 404),
        (Method::GET, "/api/v1/keys/blue/enc_keys/", None, "", 404),
        (Method::GET, "/api/v1/keys/red/../blue/enc_keys", None, "", 404),
        (Method::GET, "/api/v2/keys/blue/enc_keys", None, "", 404),
        (Method::GET, "//api/v1/keys/blue/enc_keys", None, "", 404),
        (Method::PUT, "/api/v1/keys/blue/enc_keys", None, "", 405),
        (Method::DELETE, "/api/v1/keys/blue/enc_keys", None, "", 405),
        (Method::POST, "/api/v1/keys/blue/status", Some("application/json"), "{}", 405),
        (Method::POST, "/api/v1/keys/blue/enc_keys", Some("text/plain"), "{}", 415),
        (Method::POST, "/api/v1/keys/blue/enc_keys", Some("application/x-www-form-urlencoded"), "number=1", 415),
    ] {
        let answer = red.send(method.clone(), path, media_type, body).await.expect("an answer");
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(!answer.message().is_empty());
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }

    assert_eq!(red.stored("blue").await, stored, "nothing was spent");
    assert!(blue.collect("red", &[id]).await.keys() == held, "and what was drawn is there");
}

#[tokio::test]
async fn too_much_is_not_read() {
    let site = Site::start(Settings { northbound: IMPATIENT, ..Settings::default() });
    let red = site.sae("red");
    let head = |more: &str| format!("POST /api/v1/keys/blue/enc_keys HTTP/1.1\r\nhost: north\r\n{more}\r\n");
    // Announced, but not sent: answered at once.
    for announced in [8_u64 << 20, 1 << 40, u64::MAX / 2] {
        let answer = red.exchange(head(&format!("content-length: {announced}\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{announced}: {answer}");
        assert!(answer.contains("the request body is too large"), "{announced}: {answer}");
    }
    // Not announced, and without end.
    let mut stream = red.connect().await;
    stream.write_all(head("transfer-encoding: chunked\r\n").as_bytes()).await.expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while stream.write_all(&chunk).await.is_ok() {
        sent += 0x10000;
        assert!(sent < 64 << 20, "it goes on reading");
    }
    // A length that is none, or two: not what any KME would agree with a proxy about.
    for more in
        ["content-length: -1\r\n", "content-length: 1\r\ncontent-length: 2\r\n", "content-length: 1\r\ntransfer-encoding: x\r\n"]
    {
        let answer = red.exchange(head(more)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{more}: {answer}");
    }
    let long_path = format!("GET /api/v1/keys/{}/status HTTP/1.1\r\nhost: north\r\n\r\n", "a".repeat(100_000));
    let many_fields = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(5000));
    let long_field = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    for request in [long_path, many_fields, long_field] {
        let answer = red.exchange(&request).await;
        // The close may overtake the answer, for not all of the request has been read.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // What nobody asked for is skipped, however deep.
    let unknown = format!(r#"{{"number":1,"unknown":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    red.draw("blue", json!({})).await;
    assert_eq!(red.post(ENC, unknown).await.keys().len(), 1);
    assert!(site.is_running(Kme::North));
    red.draw("blue", json!({})).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_also_when_it_is_sent() {
    let site = Site::start(Settings { northbound: ROOMY, ..Settings::default() });
    for octets in [(1 << 20) + 1, 3 << 19, 2 << 20] {
        let answer = site.sae("red").post(ENC, vec![b' '; octets]).await;
        assert_eq!((answer.status, answer.message().as_str()), (413, "the request body is too large"), "{octets}");
    }
}

#[tokio::test]
async fn the_slow_are_cut_off() {
    let site = Site::start(Settings { northbound: IMPATIENT, ..Settings::default() });
    let red = site.sae("red");
    // No handshake, an unfinished one, silence after it.
    for octets in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(("127.0.0.1", site.port(Kme::North))).await.expect("a connection");
        stream.write_all(octets).await.expect("sent");
        let mut read = Vec::new();
        let closed = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut read)).await;
        assert!(closed.is_ok(), "{octets:?}");
    }
    let body = "POST /api/v1/keys/blue/enc_keys HTTP/1.1\r\nhost: north\r\ncontent-length: 12\r\n\r\n{\"nu";
    let kept_alive = "GET /api/v1/keys/blue/status HTTP/1.1\r\nhost: north\r\n\r\n";
    for (octets, status) in [("", ""), ("GET /api/v1", ""), (body, "HTTP/1.1 408"), (kept_alive, "HTTP/1.1 200")] {
        let answer = red.exchange(octets).await;
        assert!(answer.starts_with(status), "{octets}: {answer}");
        assert_eq!(answer.contains("the request took too long to arrive"), status.ends_with("408"), "{octets}: {answer}");
        assert!(!status.is_empty() || answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{octets}: {answer}");
    }
    // Always something, never enough: of a head, and of a body.
    let head = format!("GET /api/v1/keys/blue/status HTTP/1.1\r\n{}", "x: y\r\n".repeat(1000));
    let body =
        "POST /api/v1/keys/blue/enc_keys HTTP/1.1\r\nhost: north\r\ncontent-length: 2000\r\n\r\n".to_owned() + &" ".repeat(1999);
    for (all, at_once) in [(&head, 0), (&body, body.len() - 1999)] {
        let mut stream = red.connect().await;
        stream.write_all(&all.as_bytes()[..at_once]).await.expect("sent");
        for octet in all.as_bytes()[at_once..].chunks(1) {
            if stream.write_all(octet).await.is_err() || stream.flush().await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let answer = read_to_end(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    red.draw("blue", json!({})).await;
}

#[tokio::test]
async fn the_silent_do_not_hold_up_others() {
    // Fewer places than there are silent ones.
    let northbound = "max_handshakes = 100\nmax_connections = 100";
    let site = Site::start(Settings { northbound, ..Settings::default() });
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    let mut silent = Vec::new();
    let mut shaken = Vec::new();
    for kme in Kme::BOTH {
        for number in 0..200 {
            let mut stream = TcpStream::connect(("127.0.0.1", site.port(kme))).await.expect("a connection");
            // Some stop in the middle of a record.
            let octets = if number % 2 == 0 { &b""[..] } else { b"\x16\x03\x01\x02" };
            stream.write_all(octets).await.expect("sent");
            silent.push(stream);
        }
        silent.push(TcpStream::connect(("127.0.0.1", site.kx_port(kme))).await.expect("a connection"));
    }
    for _ in 0..40 {
        let mut stream = red.connect().await;
        stream.write_all(b"POST /api/v1/keys/blue/enc_keys HTTP/1.1\r\ncontent-length: 100\r\n").await.expect("sent");
        shaken.push(stream);
    }
    for _ in 0..5 {
        let (red, blue) = (red.reconnected(), blue.reconnected());
        let drawn = red.draw("blue", json!({})).await;
        assert!(blue.collect("red", &[&drawn[0].0]).await.keys() == drawn);
    }
    // As many as have places were there all the time.
    let mut octet = [0];
    let mut is_open =
        |stream: &&mut TcpStream| stream.try_read(&mut octet).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    let open = silent.iter_mut().filter(&mut is_open).count();
    assert!((150..=202).contains(&open), "{open}");
    drop(shaken);
}

#[tokio::test]
async fn requests_in_one_segment_are_answered_one_by_one() {
    let site = Site::shared();
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    let (id, key) = red.draw("blue", json!({})).await.remove(0);
    let fetch = format!("GET /api/v1/keys/red/dec_keys?key_ID={id} HTTP/1.1\r\nhost: south\r\n\r\n");
    let last = fetch.replace("host: south", "host: south\r\nconnection: close");
    let answers = blue.exchange(format!("{fetch}{fetch}{last}")).await;
    let statuses: Vec<_> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "400", "400"]);
    assert_eq!(answers.matches(&key).count(), 1);
}

#[cfg(unix)]
#[test]
fn what_is_kept_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::shared();
    for kme in Kme::BOTH {
        let data = site.folder().join("data").join(kme.id());
        for folder in [data.join("store"), data] {
            let mode = std::fs::metadata(&folder).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
    }
}
