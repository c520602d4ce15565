//! A small SAE that is driven as `qkdspec run sae` drives one, and right unless it is told a fault: C01…

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::{Value, json};

/// Of one request, all together.
const PATIENCE: Duration = Duration::from_secs(2);
const MAX_BODY: usize = 1024 * 1024;

fn fault(id: &str) -> bool {
    env::var("SAE_FAULT").is_ok_and(|faults| faults == id)
}

fn told(name: &str) -> String {
    env::var(format!("QKDSPEC_{name}")).unwrap_or_default()
}

enum Failure {
    Status(u16, String),
    /// No connection, or none to the end.
    Lost(String),
    Wrong(String),
}

type Key = (String, Vec<u8>);

/// Does what the environment says; gives the exit code.
pub(crate) fn main() -> i32 {
    let (own, peer) = (told("SAE"), told("PEER"));
    let here = Kme::new("KME", "KME_ID", "CERT", "KEY");
    let done = match told("SCENARIO").as_str() {
        "get-key" => get_key(&here, &peer, &mut Memory::default()),
        "get-key-with-ids" => by_ids(&here, &peer, &told("KEY_IDS").split(' ').map(str::to_owned).collect::<Vec<_>>()),
        "status" => here.ask("GET", &peer, "status", None).map(|_| ()),
        "get-key-optional" => optional(&here, &peer),
        "two-sessions" => {
            let mut memory = Memory::default();
            get_key(&here, &peer, &mut memory).and_then(|()| get_key(&here, &peer, &mut memory))
        }
        "keep-trying" => {
            let tries = if fault("C49") { 1 } else { 10 };
            let mut last = Ok(());
            for _ in 0..tries {
                last = get_key(&here, &peer, &mut Memory::default());
                if last.is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(400));
            }
            last
        }
        "ids-twice" => {
            let id = told("KEY_IDS");
            by_ids(&here, &peer, std::slice::from_ref(&id)).and_then(|()| {
                if fault("C56") {
                    by_ids(&here, &peer, std::slice::from_ref(&id))
                } else {
                    Err(Failure::Wrong(format!("{id} was used already")))
                }
            })
        }
        "session" => session(&here, &own, &peer),
        _ => return 89,
    };
    match done {
        Ok(()) => 0,
        Err(Failure::Status(401, _)) if fault("C28") => 101,
        Err(why) => {
            if !fault("C45") {
                match why {
                    Failure::Status(status, message) => eprintln!("failed: {status} {message}"),
                    Failure::Lost(why) | Failure::Wrong(why) => eprintln!("failed: {why}"),
                }
            }
            1
        }
    }
}

#[derive(Default)]
struct Memory {
    used: Vec<Key>,
}

fn show((id, octets): &Key) {
    let octets: Vec<u8> = if fault("C50") { octets.iter().rev().copied().collect() } else { octets.clone() };
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, told("FP_SALT").as_bytes()), &octets);
    let digits: String = tag.as_ref()[..8].iter().map(|octet| format!("{octet:02x}")).collect();
    println!("{id} {digits}");
}

fn get_key(kme: &Kme, peer: &str, memory: &mut Memory) -> Result<(), Failure> {
    if let (true, Some(key)) = (fault("C52"), memory.used.first()) {
        show(key);
        return Ok(());
    }
    let number: Option<u64> = told("NUMBER").parse().ok();
    let size: Option<u64> = told("SIZE").parse().ok();
    if (number.is_some() || size.is_some()) && !fault("C10") {
        let status = kme.ask("GET", peer, "status", None)?;
        let beyond = number.is_some_and(|number| status["max_key_per_request"].as_u64().is_some_and(|most| number > most))
            || size.is_some_and(|size| status["max_key_size"].as_u64().is_some_and(|most| size > most));
        if beyond && !fault("C20") {
            return Err(Failure::Wrong("more than the KME supplies".to_owned()));
        }
    }
    let drawn = draw(kme, peer, number, size);
    if let (true, Some(key), Err(Failure::Lost(_))) = (fault("C47"), memory.used.last(), &drawn) {
        show(key);
        return Ok(());
    }
    if fault("C48") && matches!(drawn, Err(Failure::Lost(_))) {
        show(&("00000000-0000-4000-8000-000000000000".to_owned(), vec![0; 32]));
        return Ok(());
    }
    let drawn = drawn?;
    if let (true, Some((_, octets))) = (fault("C57"), drawn.first()) {
        // A key where addresses are kept.
        let _ = kme.ask("GET", peer, &format!("status?key={}", Base64::encode_string(octets)), None);
    }
    for key in drawn {
        if memory.used.iter().any(|(id, _)| *id == key.0) && !fault("C53") {
            return Err(Failure::Wrong(format!("{} was used already", key.0)));
        }
        show(&key);
        memory.used.push(key);
    }
    Ok(())
}

fn draw(kme: &Kme, peer: &str, number: Option<u64>, size: Option<u64>) -> Result<Vec<Key>, Failure> {
    let mut request = json!({});
    if let Some(number) = number {
        request["number"] = if fault("C17") { json!(number.to_string()) } else { json!(number) };
    }
    if let Some(size) = size {
        request["size"] = json!(size);
    }
    if fault("C18") {
        request["priority"] = json!("high");
    }
    let plain = request.as_object().is_some_and(serde_json::Map::is_empty);
    let body = request.to_string();
    let answer = match (plain, fault("C11")) {
        (true, false) => kme.ask("GET", peer, "enc_keys", None),
        (true, true) => kme.ask("GET", peer, "enc_keys", Some(&body)),
        _ => kme.ask("POST", peer, "enc_keys", Some(&body)),
    }?;
    let keys = keys(&answer, size.unwrap_or(256))?;
    let wanted = usize::try_from(number.unwrap_or(1)).expect("small");
    if keys.len() != wanted && !(fault("C33") || fault("C36") || fault("C37") || fault("C38")) {
        return Err(Failure::Wrong(format!("{} keys instead of {wanted}", keys.len())));
    }
    Ok(keys)
}

fn optional(kme: &Kme, peer: &str) -> Result<(), Failure> {
    let name = if fault("C21") { "trace" } else { "hx_trace" };
    let body = json!({ "extension_optional": [{ name: true }] }).to_string();
    let mut tries = 0;
    let answer = loop {
        let answer = match fault("C15") {
            true => kme.ask("GET", peer, "enc_keys?extension_optional=hx_trace", None),
            false => kme.ask("POST", peer, "enc_keys", Some(&body)),
        };
        tries += 1;
        match answer {
            Err(Failure::Status(400, _)) if fault("C29") && tries < 40 => {}
            Err(Failure::Status(400, _)) => break kme.ask("POST", peer, "enc_keys", Some("{}"))?,
            answer => break answer?,
        }
    };
    keys(&answer, 256)?.iter().for_each(show);
    Ok(())
}

fn by_ids(kme: &Kme, peer: &str, ids: &[String]) -> Result<(), Failure> {
    let mut ids = ids.to_vec();
    if fault("C22") {
        ids.truncate(2);
    }
    fetch(kme, peer, &ids)?.iter().for_each(show);
    Ok(())
}

fn fetch(kme: &Kme, peer: &str, ids: &[String]) -> Result<Vec<Key>, Failure> {
    let body = json!({ "key_IDs": ids.iter().map(|id| json!({ "key_ID": id })).collect::<Vec<_>>() }).to_string();
    let mut tries = 0;
    let answer = loop {
        let answer = match ids {
            [id] => kme.ask("GET", peer, &format!("dec_keys?key_ID={id}"), None),
            ids if fault("C16") => kme.ask("GET", peer, &format!("dec_keys?key_ID={}", ids.join("&key_ID=")), None),
            _ => kme.ask("POST", peer, "dec_keys", Some(&body)),
        };
        tries += 1;
        match answer {
            // It may be on its way.
            Err(Failure::Status(400, _)) if tries < 8 => thread::sleep(Duration::from_millis(200)),
            Err(Failure::Status(400, _)) if fault("C30") && tries < 300 => {}
            answer => break answer?,
        }
    };
    let mut found = keys(&answer, 256)?;
    if fault("C23") || fault("C54") {
        let mut ids = ids.to_vec();
        if fault("C54") {
            ids.sort();
        }
        found.iter_mut().zip(ids).for_each(|(key, id)| key.0 = id);
    }
    let all = ids.iter().all(|id| found.iter().any(|(other, _)| other.eq_ignore_ascii_case(id)));
    let lenient = ["C33", "C34", "C36", "C37", "C38", "C35", "C54"].iter().any(|id| fault(id));
    if (found.len() != ids.len() || !all) && !lenient {
        return Err(Failure::Wrong("not the keys that were asked for".to_owned()));
    }
    Ok(found)
}

fn session(here: &Kme, own: &str, peer: &str) -> Result<(), Failure> {
    let there = Kme::new("PEER_KME", "PEER_KME_ID", "PEER_CERT", "PEER_KEY");
    let drawn = draw(here, peer, None, None)?;
    let fetched = fetch(&there, own, &[drawn[0].0.clone()])?;
    if drawn[0].1 != fetched[0].1 && !fault("C51") {
        return Err(Failure::Wrong("the ends have different keys".to_owned()));
    }
    show(&drawn[0]);
    Ok(())
}

fn keys(answer: &Value, bits: u64) -> Result<Vec<Key>, Failure> {
    let wrong = |why: &str| Failure::Wrong(why.to_owned());
    if fault("C24") && answer.as_object().is_some_and(|members| members.len() > 1) {
        return Err(wrong("an unknown member"));
    }
    let listed = match answer["keys"].as_array() {
        Some(listed) => listed.clone(),
        None if fault("C37") => Vec::new(),
        None => return Err(wrong("no keys in the answer")),
    };
    let mut keys: Vec<Key> = Vec::new();
    for key in &listed {
        let id = key["key_ID"].as_str().ok_or_else(|| wrong("no key_ID"))?.to_owned();
        let is_uuid = id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        if !is_uuid || fault("C25") && id.bytes().any(|octet| octet.is_ascii_uppercase()) {
            return Err(wrong("no UUID"));
        }
        let text = key["key"].as_str().ok_or_else(|| wrong("no key"))?;
        let octets = match Base64::decode_vec(text) {
            Ok(octets) => octets,
            Err(_) if fault("C32") => text.bytes().filter(u8::is_ascii_alphanumeric).collect(),
            Err(_) if fault("C55") => return Err(Failure::Wrong(format!("no base64: {text}"))),
            Err(_) => return Err(wrong("no base64")),
        };
        if octets.len() as u64 * 8 != bits && !fault("C31") && !fault("C32") {
            let said = if fault("C55") { format!("a key of another size: {text}") } else { "a key of another size".to_owned() };
            return Err(Failure::Wrong(said));
        }
        if octets.iter().all(|octet| *octet == 0) && !fault("C42") {
            return Err(wrong("a key of zeros"));
        }
        if keys.iter().any(|(other, same)| *other == id || *same == octets) && !fault("C35") {
            return Err(wrong("the same twice"));
        }
        keys.push((id, octets));
    }
    if keys.is_empty() && !(fault("C36") || fault("C37")) {
        return Err(wrong("no keys"));
    }
    Ok(keys)
}

struct Kme {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Kme {
    fn new(url: &str, id: &str, cert: &str, key: &str) -> Self {
        let url = told(url);
        let (host, port) = url.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')).expect("host and port");
        let path = |name: &str| PathBuf::from(told(name));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(path("CA")).expect("an authority")).expect("a root");
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("a verifier");
        let verifier = Arc::new(Verifier { inner, kme_id: told(id) });
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut tls = if fault("C06") {
            builder.with_no_client_auth()
        } else {
            let chain = vec![CertificateDer::from_pem_file(path(cert)).expect("a certificate")];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(path(key)).expect("a key")).expect("they fit")
        };
        tls.enable_early_data = fault("C09");
        Self { host: host.trim_matches(['[', ']']).to_owned(), port: port.parse().expect("a port"), tls: Arc::new(tls) }
    }

    fn ask(&self, method: &str, peer: &str, api: &str, body: Option<&str>) -> Result<Value, Failure> {
        let own = told("SAE");
        let peer = if fault("C14") { &own } else { peer };
        let encoded: String = peer
            .bytes()
            .map(|octet| {
                if octet.is_ascii_alphanumeric() || octet == b'-' {
                    char::from(octet).to_string()
                } else {
                    format!("%{octet:02X}")
                }
            })
            .collect();
        let named = match () {
            () if fault("C12") => peer.replace(' ', "+"),
            () if fault("C12b") => peer.to_owned(),
            () => encoded,
        };
        let slash = if fault("C10") { "/" } else { "" };
        let target = format!("/api/v1/keys/{named}/{api}{slash}");
        let mut tries = 0;
        loop {
            let answer = self.once(method, &target, body);
            tries += 1;
            match answer {
                Err(Failure::Status(401, _)) if fault("C43") && tries < 200 => {}
                // Slowly, and without end.
                Err(Failure::Status(401 | 503, _)) if fault("C58") => thread::sleep(Duration::from_millis(900)),
                Err(Failure::Lost(_) | Failure::Status(503, _)) if fault("C44") && tries < 60 => {}
                Err(Failure::Lost(_) | Failure::Status(503, _)) if tries < 3 && !fault("C46") => {
                    thread::sleep(Duration::from_millis(100));
                }
                answer => return answer,
            }
        }
    }

    fn once(&self, method: &str, target: &str, body: Option<&str>) -> Result<Value, Failure> {
        let deadline = (!fault("C46")).then(|| Instant::now() + PATIENCE);
        let name = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let host = if fault("C13") { name } else { format!("{name}:{}", self.port) };
        let kind = if fault("C19") { "text/plain" } else { "application/json" };
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        if let Some(body) = body {
            request.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            request.push_str("\r\n");
        }
        let (response, whole) = match self.exchange(request.as_bytes(), deadline) {
            Err(Failure::Lost(why)) if fault("C08") => {
                let mut tcp = self.connect()?;
                // In plain, then.
                let _ = tcp.write_all(request.as_bytes());
                return Err(Failure::Lost(why));
            }
            Err(Failure::Lost(why)) if fault("C05") => {
                self.old_handshake();
                return Err(Failure::Lost(why));
            }
            response => response?,
        };
        self.read(&response, whole)
    }

    fn connect(&self) -> Result<TcpStream, Failure> {
        let lost = |error: std::io::Error| Failure::Lost(error.to_string());
        let mut last = Failure::Lost("no address".to_owned());
        for address in (self.host.as_str(), self.port).to_socket_addrs().map_err(lost)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = lost(error),
            }
        }
        Err(last)
    }

    /// Sends, and reads to the end of the response; whether that was its announced end.
    fn exchange(&self, request: &[u8], deadline: Option<Instant>) -> Result<(Vec<u8>, bool), Failure> {
        let lost = |error: std::io::Error| Failure::Lost(error.to_string());
        let mut tcp = self.connect()?;
        tcp.set_read_timeout(deadline.map(|_| Duration::from_millis(100))).map_err(lost)?;
        let name = ServerName::try_from(self.host.clone()).expect("a name");
        let mut tls = ClientConnection::new(self.tls.clone(), name).expect("a connection");
        let mut sent = false;
        if let Some(mut early) = tls.early_data() {
            sent = early.write(request).is_ok_and(|count| count == request.len());
        }
        let is_late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
        let is_pause = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) && !is_late()
        };
        while tls.is_handshaking() {
            match tls.complete_io(&mut tcp) {
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => {
                    let _ = tls.write_tls(&mut tcp);
                    return Err(lost(error));
                }
            }
        }
        if !(sent && tls.is_early_data_accepted()) {
            tls.writer().write_all(request).map_err(lost)?;
        }
        let mut stream = rustls::StreamOwned::new(tls, tcp);
        stream.flush().map_err(lost)?;
        let mut response = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(length) = announced(&response)
                && response.len() >= length
            {
                return Ok((response, true));
            }
            if response.len() > MAX_BODY && !fault("C40") && !fault("C59") {
                return Err(Failure::Wrong("an answer without end".to_owned()));
            }
            if is_late() && !fault("C40") && !fault("C59") {
                return Err(Failure::Lost("no answer in time".to_owned()));
            }
            if fault("C59") {
                thread::sleep(Duration::from_millis(100));
                chunk.truncate(1024);
            }
            match stream.read(&mut chunk) {
                Ok(0) => return Ok((response, false)),
                Ok(count) => response.extend_from_slice(&chunk[..count]),
                Err(error) if is_pause(&error) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok((response, false)),
                Err(error) => return Err(lost(error)),
            }
        }
    }

    fn read(&self, response: &[u8], whole: bool) -> Result<Value, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = parsed.parse(response) else {
            return Err(Failure::Lost("no answer".to_owned()));
        };
        let status = parsed.code.unwrap_or_default();
        let header = |name: &str| {
            let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        let chunked = header("transfer-encoding").is_some() && !fault("C26");
        let body = if chunked { unchunked(&response[head..]) } else { response[head..].to_vec() };
        if let (307, true, Some(target)) = (status, fault("C07"), header("location")) {
            let (host, path) = target.trim_start_matches("http://").split_once('/').expect("a path");
            let mut tcp = TcpStream::connect(host).map_err(|error| Failure::Lost(error.to_string()))?;
            let _ = write!(tcp, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let _ = tcp.read(&mut [0; 100]);
        }
        let value = serde_json::from_slice::<Value>(&body);
        if status != 200 {
            let message = value.ok().and_then(|value| value["message"].as_str().map(str::to_owned));
            return Err(Failure::Status(status, message.unwrap_or_default()));
        }
        if !whole && fault("C38") {
            return Ok(salvaged(&String::from_utf8_lossy(&body)));
        }
        if !whole && !fault("C39") {
            return Err(Failure::Lost("the answer was cut".to_owned()));
        }
        if fault("C41") && body.windows(1000).any(|window| window.iter().all(|octet| *octet == b'[')) {
            std::process::abort();
        }
        if fault("C27") {
            let text = String::from_utf8_lossy(&body);
            return if text.contains("\"keys\":[") || text.contains("KME_ID") { value.map_err(wrong) } else { Ok(json!({})) };
        }
        if fault("C37") {
            return Ok(value.unwrap_or_default());
        }
        value.map_err(wrong)
    }

    /// Tries what the other side may want.
    fn old_handshake(&self) {
        let Ok(mut tcp) = self.connect() else { return };
        let random = [7; 32];
        let extensions: &[u8] = &[0xff, 1, 0, 1, 0];
        let hello = [&[3, 3][..], &random, &[0, 0, 2, 0, 0x2f, 1, 0, 0, 5], extensions].concat();
        let length = u8::try_from(hello.len()).expect("short");
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let _ = tcp.write_all(&record);
        if tcp.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {
            let _ = tcp.write_all(&[&[22, 3, 2, 0, 70, 16, 0, 0, 66, 0, 64][..], &[9; 64]].concat());
        }
    }
}

fn wrong(error: serde_json::Error) -> Failure {
    Failure::Wrong(format!("no JSON: {error}"))
}

/// Octets of the whole response, once its head tells.
fn announced(response: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(response) else { return None };
    let header =
        |name: &str| parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value);
    if header("transfer-encoding").is_some() {
        return response.ends_with(b"0\r\n\r\n").then_some(response.len());
    }
    let length: usize = String::from_utf8_lossy(header("content-length")?).parse().ok()?;
    Some(head + length)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(rest) {
        let size = usize::try_from(size).expect("small");
        if size == 0 || rest.len() < start + size + 2 {
            break;
        }
        body.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
    }
    body
}

/// Whatever key objects are complete.
fn salvaged(text: &str) -> Value {
    let mut found: Vec<BTreeMap<&str, String>> = Vec::new();
    for object in text.split('{').skip(1) {
        let value = |name: &str| {
            let rest = object.split_once(&format!("\"{name}\":\""))?.1;
            rest.split_once('"').map_or_else(|| Some(rest.to_owned()), |(value, _)| Some(value.to_owned()))
        };
        if let (Some(id), Some(key)) = (value("key_ID"), value("key")) {
            found.push(BTreeMap::from([("key_ID", id), ("key", key)]));
        }
    }
    json!({ "keys": found })
}

/// The usual checks, and that of the KME ID.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    kme_id: String,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(why)) => {
                let ignored = match why {
                    CertificateError::UnknownIssuer | CertificateError::BadSignature => fault("C01"),
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => fault("C02"),
                    CertificateError::Expired | CertificateError::ExpiredContext { .. } => fault("C03"),
                    _ => false,
                };
                if !ignored {
                    return Err(rustls::Error::InvalidCertificate(why));
                }
            }
            result => {
                result?;
            }
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).expect("a certificate");
        let named = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()) == Some(&self.kme_id);
        if named || fault("C02") || fault("C04") {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
