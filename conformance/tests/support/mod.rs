//! Two small KMEs in this process that conform, but for the one fault they are told to have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

mod api;
mod odd;

/// A running pair and its configuration.
pub(crate) struct Pair {
    /// Of the harness, ready to be parsed.
    pub(crate) toml: String,
    /// Where its paths start.
    pub(crate) folder: TempDir,
}

/// What both KMEs know.
pub(crate) struct State {
    pub(crate) fault: &'static str,
    pub(crate) keys: BTreeMap<String, Stored>,
    pub(crate) count: u64,
    pub(crate) status_reads: u64,
    pub(crate) asked: u64,
    pub(crate) last: Option<(String, Vec<u8>)>,
    /// The caller on the connection made last.
    pub(crate) latest: String,
    /// A key to be handed out again.
    pub(crate) put_back: Option<(String, Vec<u8>)>,
    /// What the hooks have done, as files.
    pub(crate) folder: PathBuf,
    pub(crate) began: Instant,
    /// Who drew a key last, and when.
    pub(crate) last_by: Option<(String, Instant)>,
    /// Requests under way at A and B.
    pub(crate) busy: [u32; 2],
    /// It answers nobody any more; it is gone.
    pub(crate) hung: bool,
    pub(crate) dead: bool,
    /// KME A is about to restart; how often it has.
    pub(crate) restarts: bool,
    pub(crate) restarted: u32,
    /// Bodies that a connection was lost by.
    pub(crate) lost: BTreeSet<Vec<u8>>,
}

impl State {
    /// Whether a hook that makes this file was run.
    pub(crate) fn happened(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }
}

/// A key that was supplied.
pub(crate) struct Stored {
    pub(crate) octets: Vec<u8>,
    pub(crate) master: String,
    pub(crate) slaves: Vec<String>,
    pub(crate) taken: BTreeSet<String>,
    pub(crate) since: Instant,
    pub(crate) batch: u64,
}

/// A request as read.
pub(crate) struct Asked {
    pub(crate) kme: &'static str,
    pub(crate) caller: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer, still without framing.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Pair {
    /// Starts two KMEs with that fault; `""` for none.
    pub(crate) fn start(fault: &'static str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let a = TcpListener::bind("127.0.0.1:0").expect("a port");
        let b = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = |listener: &TcpListener| format!("https://{}", listener.local_addr().expect("an address"));
        let file = folder.path().join("qkdspec.toml");
        let arguments: Vec<std::ffi::OsString> =
            ["qkdspec", "init", "--pki", "--kme", &url(&a), "--kme-b", &url(&b), "--out"].iter().map(Into::into).collect();
        qkdspec::cli::main(arguments.into_iter().chain([file.clone().into()]));
        let toml = std::fs::read_to_string(&file).expect("init has written");
        let here = folder.path().display();
        let hooks = format!(
            "[hooks]\nlink_down = \"true\"\nlink_up = \"true\"\ndrain_a = \"touch {here}/drained\"\nrefill_a = \"rm {here}/drained\"\n\
             restart_a = \"touch {here}/restarted\"\nclock_forward = \"touch {here}/later\"\n"
        );
        // Half of it is to be longer than a handshake takes on a loaded machine.
        let settle = if fault == "B29" { "settle_ms = 1000" } else { "settle_ms = 300" };
        let toml = toml
            .replace("# allow_destructive", "allow_destructive")
            .replace("[hooks]\n", &hooks)
            .replace("settle_ms = 2000", settle)
            .replace("response_s = 10", "response_s = 5")
            .replace("# return_s = 30", "return_s = 5")
            .replace("body_timeout_s = 30", "body_timeout_s = 4")
            .replace("\"kme.local-pair\" = false", "\"kme.local-pair\" = true");
        let state = State {
            fault,
            keys: BTreeMap::new(),
            count: 0,
            status_reads: 0,
            asked: 0,
            last: None,
            latest: String::new(),
            put_back: None,
            folder: folder.path().to_owned(),
            began: Instant::now(),
            last_by: None,
            busy: [0; 2],
            hung: false,
            dead: false,
            restarts: false,
            restarted: 0,
            lost: BTreeSet::new(),
        };
        let state = Arc::new(Mutex::new(state));
        for (name, listener) in [("kme-a", a), ("kme-b", b)] {
            let tls = Arc::new(tls(&folder.path().join("pki"), name, fault));
            let state = state.clone();
            thread::spawn(move || accept(name, listener, &tls, &state));
        }
        Self { toml, folder }
    }
}

fn accept(name: &'static str, mut listener: TcpListener, tls: &Arc<ServerConfig>, state: &Arc<Mutex<State>>) {
    let fault = lock(state).fault;
    for count in 1.. {
        if fault == "H21" && name == "kme-b" && count == 12 {
            let address = listener.local_addr().expect("an address");
            drop(listener);
            thread::sleep(Duration::from_millis(1200));
            listener = TcpListener::bind(address).expect("the same port");
        }
        let Ok((tcp, _)) = listener.accept() else { continue };
        if name == "kme-a" && std::mem::take(&mut lock(state).restarts) {
            let address = listener.local_addr().expect("an address");
            drop((tcp, listener));
            thread::sleep(Duration::from_millis(600));
            listener = TcpListener::bind(address).expect("the same port");
            continue;
        }
        if lock(state).dead {
            return;
        }
        let (tls, state) = (tls.clone(), state.clone());
        thread::spawn(move || connection(name, tcp, &tls, &state));
    }
}

fn tls(pki: &Path, name: &str, fault: &str) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.pem")).expect("the authority")).expect("a root");
    let versions = match fault {
        "B04" => vec![&rustls::version::TLS13],
        "B05" => vec![&rustls::version::TLS12],
        _ => rustls::ALL_VERSIONS.to_vec(),
    };
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = if fault == "M004" { verifier.allow_unauthenticated() } else { verifier };
    let name = if fault == "H24" { "expired" } else { name };
    let chain = vec![CertificateDer::from_pem_file(pki.join(format!("{name}.pem"))).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(pki.join(format!("{name}.key"))).expect("a key");
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate and its key")
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connection(kme: &'static str, tcp: TcpStream, tls: &Arc<ServerConfig>, state: &Mutex<State>) {
    let fault = lock(state).fault;
    let _ = tcp.set_nodelay(true);
    if fault == "M001"
        && tcp.peek(&mut [0; 1]).is_ok_and(|_| {
            let mut first = [0];
            tcp.peek(&mut first).is_ok() && first[0] == b'G'
        })
    {
        serve(kme, "red".to_owned(), tcp, state);
        return;
    }
    let patience = if fault == "M137" { 60_000 } else { 1500 };
    let _ = tcp.set_read_timeout(Some(Duration::from_millis(patience)));
    let Ok(mut session) = ServerConnection::new(tls.clone()) else { return };
    let mut tcp = tcp;
    // A ClientHello of TLS 1.1 is the end of it.
    let mut hello = [0; 11];
    if fault == "H35" && kme == "kme-a" && tcp.peek(&mut hello).is_ok() && hello[9..] == [3, 2] {
        lock(state).dead = true;
        return;
    }
    while session.is_handshaking() {
        if session.complete_io(&mut tcp).is_err() {
            // The alert, if there is one.
            let _ = session.write_tls(&mut tcp);
            if fault == "H36" && kme == "kme-a" {
                lock(state).dead = true;
                // What is unread would turn the end into a reset.
                let _ = tcp.read(&mut [0; 4096]);
            }
            return;
        }
    }
    let caller = session.peer_certificates().and_then(|chain| {
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).ok()?;
        parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned)
    });
    let caller = caller.unwrap_or("red".to_owned());
    lock(state).latest.clone_from(&caller);
    serve(kme, caller, StreamOwned::new(session, tcp), state);
}

fn serve<S: Read + Write>(kme: &'static str, caller: String, mut stream: S, state: &Mutex<State>) {
    let mut buffer = Vec::new();
    let mut any = false;
    while let Some(asked) = read(kme, &caller, &mut stream, &mut buffer, state) {
        let fault = lock(state).fault;
        if fault.starts_with("H0") {
            hostile(fault, &mut stream);
            return;
        }
        any = true;
        let draws = asked.as_ref().is_ok_and(|asked| asked.target.ends_with("enc_keys"));
        if fault == "B54" && draws && lock(state).asked == 0 {
            lock(state).asked = 1;
            return;
        }
        // Loses each such request once; always.
        if let Ok(asked) = asked.as_ref()
            && asked.body.starts_with(b"{\"size\":")
            && (fault == "M173" || fault == "B61" && lock(state).lost.insert(asked.body.clone()))
        {
            return;
        }
        let of_nobody = asked.as_ref().is_ok_and(|asked| asked.target.ends_with("/status") && !asked.target.contains("nobody"));
        let (said, last) = match asked {
            Ok(asked) => {
                if matches!(fault, "H30" | "H31") {
                    hang(fault, kme, draws, state);
                }
                let said = api::answer(&asked, state);
                if fault == "H17" && asked.target.contains("/enc_keys") && lock(state).asked.is_multiple_of(3) {
                    return;
                }
                match fault {
                    "H22" => thread::sleep(Duration::from_millis(150)),
                    "H23" if lock(state).status_reads > 3 => thread::sleep(Duration::from_secs(60)),
                    _ => {}
                }
                (said, matches!(fault, "B24" | "B56"))
            }
            Err(status) => (api::error(status, "not readable"), true),
        };
        let fault = lock(state).fault;
        let length = said.body.len().saturating_sub(usize::from(fault == "M133"));
        let reason = if fault == "H20" { "because ".repeat(3000) } else { "X".to_owned() };
        let chunked = fault == "B14";
        let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
        let mut octets = format!("HTTP/1.1 {} {reason}\r\n{framing}\r\n", said.status).into_bytes();
        for (name, value) in &said.headers {
            octets.extend(format!("{name}: {value}\r\n").bytes());
        }
        if last {
            octets.extend(b"Connection: close\r\n");
        }
        octets.extend(b"\r\n");
        if chunked {
            for piece in said.body.chunks(7) {
                octets.extend(format!("{:x};x=y\r\n", piece.len()).bytes());
                octets.extend(piece);
                octets.extend(b"\r\n");
            }
            octets.extend(b"0\r\n\r\n");
        } else {
            octets.extend(&said.body);
        }
        if fault == "B53" && said.status == 200 && said.body.starts_with(b"{\"keys\"") {
            let _ = stream.write_all(&octets[..octets.len() - 20]).and_then(|()| stream.flush());
            thread::sleep(Duration::from_secs(8));
            return;
        }
        // It is gone after its answer; it restarts, once; each time. Decided before the answer goes out: whoever
        // has read it finds that so.
        if of_nobody && said.status == 400 && kme == "kme-a" {
            let mut state = lock(state);
            state.dead |= fault == "H32";
            state.restarts |= fault == "H33" && state.restarted == 0 || fault == "H34";
            state.restarted += u32::from(state.restarts);
        }
        let sent = stream.write_all(&octets).and_then(|()| stream.flush());
        if fault == "B56" {
            thread::sleep(Duration::from_secs(8));
        }
        if sent.is_err() || last {
            return;
        }
    }
    if !any && kme == "kme-a" && lock(state).fault == "M171" {
        lock(state).dead = true;
    }
}

/// KMEs that stop answering: H30 after two Get key requests, H31 when both are asked at once.
fn hang(fault: &str, kme: &str, draws: bool, state: &Mutex<State>) {
    let side = usize::from(kme == "kme-b");
    if draws && fault == "H31" {
        lock(state).busy[side] += 1;
        thread::sleep(Duration::from_millis(30));
        let mut state = lock(state);
        state.hung |= state.busy[1 - side] > 0;
        state.busy[side] -= 1;
    }
    if draws && fault == "H30" {
        let mut state = lock(state);
        state.busy[0] += 1;
        state.hung |= state.busy[0] > 2;
    }
    if lock(state).hung {
        thread::sleep(Duration::from_secs(60));
    }
}

/// The next request; an HTTP status if it is wrong; nothing at the end.
fn read<S: Read>(
    kme: &'static str,
    caller: &str,
    stream: &mut S,
    buffer: &mut Vec<u8>,
    state: &Mutex<State>,
) -> Option<Result<Asked, u16>> {
    let began = Instant::now();
    let fault = lock(state).fault;
    let mut more = |buffer: &mut Vec<u8>| {
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 && (fault == "M137" || began.elapsed() < Duration::from_secs(3)) => {
                buffer.extend(&chunk[..count]);
                true
            }
            Ok(0) if fault == "M137" => {
                thread::sleep(Duration::from_secs(6));
                false
            }
            Err(error) if fault == "M150" && error.kind() == std::io::ErrorKind::ConnectionReset => {
                let mut state = lock(state);
                state.put_back = state.last.clone();
                false
            }
            _ => false,
        }
    };
    let (mut asked, length) = loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(head)) => {
                let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                let asked = Asked {
                    kme,
                    caller: caller.to_owned(),
                    method: parsed.method.unwrap_or_default().to_owned(),
                    target: parsed.path.unwrap_or_default().to_owned(),
                    headers: parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value))).collect(),
                    body: Vec::new(),
                };
                buffer.drain(..head);
                let lengths: BTreeSet<_> = asked.headers.iter().filter(|(name, _)| name == "content-length").collect();
                let chunked = asked.headers.iter().any(|(name, _)| name == "transfer-encoding");
                if lengths.len() > 1 || chunked {
                    return Some(Err(400));
                }
                let length = lengths.first().and_then(|(_, value)| value.parse::<usize>().ok()).unwrap_or(0);
                break (asked, length);
            }
            Ok(httparse::Status::Partial) if buffer.len() < 32 * 1024 => {
                if !more(buffer) {
                    return None;
                }
            }
            _ => return Some(Err(400)),
        }
    };
    if length > 1024 * 1024 && fault != "M139" {
        return Some(Err(413));
    }
    while buffer.len() < length {
        if !more(buffer) {
            return None;
        }
    }
    asked.body = buffer.drain(..length).collect();
    if fault == "M160" && length > 100_000 {
        thread::sleep(Duration::from_secs(8));
        return None;
    }
    Some(Ok(asked))
}

/// Answers of those who want to harm the harness.
fn hostile<S: Write>(fault: &str, stream: &mut S) {
    let mut say = |octets: &[u8]| stream.write_all(octets).and_then(|()| stream.flush()).is_ok();
    let flood = [b'x'; 16 * 1024];
    match fault {
        "H01" => thread::sleep(Duration::from_secs(3)),
        "H02" => {
            say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            while say(&flood) {}
        }
        "H03" => {
            say(b"HTTP/1.1 200 OK\r\nX: ");
            while say(&flood) {}
        }
        "H04" => {
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while say(b"4000\r\n") && say(&flood) && say(b"\r\n") {}
        }
        "H05" => {}
        "H06" => {
            let body = "{\"message\":\"\\u001b[2J<script>alert(1)</script>\u{202e}\"}";
            let head = format!("HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n", body.len());
            say(head.as_bytes());
            say(body.as_bytes());
        }
        "H07" => {
            let body = "[".repeat(1_000_000);
            say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
        "H08" => {
            say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"key_size\":99999999999999999999999999,");
            while say(&flood) {}
        }
        // Drips, so that no single wait is long.
        _ => {
            while say(b"H") && {
                thread::sleep(Duration::from_millis(200));
                true
            } {}
        }
    }
}
