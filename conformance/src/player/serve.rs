//! One connection: TLS, HTTP, and the faults of both.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};
use time::OffsetDateTime;

use super::hello::{First, first};
use super::journal::Seen;
use super::kme::{self, Asked};
use super::scenario::Fault;
use super::spoil::{Fate, Moment, Shaped, shape};
use super::{Both, Shared, Stage, fingerprint, old_tls, since};
use crate::bounds::{HEAD, REQUEST, TOLD};
use crate::config::Side;
use crate::lab::{cut, lock, printable};
use crate::secret::without_dense_words;

const FLOOD: u64 = 256 * 1024 * 1024;
/// Between looks at whether the stage is over.
const TICK: Duration = Duration::from_millis(200);

/// Serves a connection to its end.
pub(super) fn connection(shared: &Shared, stage: &Stage, side: Side, mut tcp: TcpStream) {
    let number = lock(&stage.journal).open(side);
    let fault = stage.scenario.fault;
    let down = match fault {
        Fault::Unreachable => true,
        Fault::DownAtFirst => lock(&stage.journal).connections.first().is_some_and(|first| first.at.elapsed().as_millis() < 1000),
        Fault::DownAfterFirst => lock(&stage.journal).supplied() > 0,
        _ => false,
    };
    if down {
        // Whoever tries without TLS is seen all the same.
        let _ = tcp.set_read_timeout(Some(TICK));
        let mut octets = [0; 16];
        if tcp.peek(&mut octets).is_ok_and(|count| first(&octets[..count]) == First::PlainHttp) {
            lock(&stage.journal).without_tls("an HTTP request".to_owned());
        }
        lock(&stage.journal).amend(number, |connection| connection.failed = Some("closed by the KME on purpose".to_owned()));
        return;
    }
    let _ = tcp.set_nodelay(true);
    let _ = tcp.set_read_timeout(Some(TICK));
    let _ = tcp.set_write_timeout(Some(Duration::from_secs(10)));
    let began = begin(&tcp, stage);
    lock(&stage.journal).amend(number, |connection| connection.first = began.kept());
    match began {
        First::PlainHttp => return without_tls(stage, tcp),
        First::Partial | First::Garbage => return,
        First::Hello(hello) => {
            if let Some(old) = &stage.old {
                let made_of_it = old_tls::play(&mut tcp, &hello, &old[usize::from(side == Side::B)]);
                lock(&stage.journal).amend(number, |connection| connection.old = Some(made_of_it));
                return;
            }
        }
    }
    let failed = match handshake(stage, side, &mut tcp) {
        Ok(session) => {
            let tls = format!(
                "TLS {} {}",
                session.protocol_version().and_then(|version| version.as_str()).unwrap_or("?").replace("TLSv1_", "1."),
                session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?")
            );
            let client = session.peer_certificates().and_then(|chain| chain.first()).map(|der| {
                crate::forge::names(der, Some(&crate::config::IdField::CommonName))
                    .ok()
                    .and_then(|names| names.into_iter().next())
                    .unwrap_or_else(|| "(without a common name)".to_owned())
            });
            lock(&stage.journal).amend(number, |connection| {
                connection.tls = Some(tls.clone());
                connection.client = client.as_deref().map(|client| cut(client, TOLD));
            });
            let mut early = Vec::new();
            let mut session = session;
            if let Some(mut data) = session.early_data() {
                // What cannot be read is not there.
                let _ = data.read_to_end(&mut early);
            }
            let mut stream = StreamOwned::new(session, tcp);
            serve(shared, stage, side, &tls, client.as_deref(), early, &mut stream)
        }
        Err(why) => Err(why),
    };
    if let Err(why) = failed {
        lock(&stage.journal).amend(number, |connection| connection.failed = Some(cut(&why, TOLD)));
    }
}

/// Serves the port to which nobody should come: requests without TLS.
pub(super) fn plain(shared: &Shared, stage: &Stage, tcp: TcpStream) {
    if !shared.ended.load(Ordering::SeqCst) {
        let _ = tcp.set_read_timeout(Some(TICK));
        without_tls(stage, tcp);
    }
}

fn without_tls(stage: &Stage, mut tcp: TcpStream) {
    let mut buffer = Vec::new();
    let line = match read(&mut tcp, &mut buffer, &stage.over, None) {
        Ok(Some(asked)) => format!("{} {}", asked.method, asked.target),
        _ => String::from_utf8_lossy(&buffer[..buffer.len().min(100)]).into_owned(),
    };
    if !line.is_empty() {
        lock(&stage.journal).without_tls(cut(&printable(&line), 200));
    }
    let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/// Waits for a ClientHello, and leaves it where it is.
fn begin(tcp: &TcpStream, stage: &Stage) -> First {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut octets = vec![0; 64 * 1024];
    let mut before = 0;
    while Instant::now() < deadline && !stage.is_over() {
        match tcp.peek(&mut octets) {
            Ok(0) => break,
            Ok(count) => match first(&octets[..count]) {
                First::Partial if count == before => thread::sleep(Duration::from_millis(5)),
                First::Partial => before = count,
                found => return found,
            },
            Err(error) if is_pause(&error) => {}
            Err(_) => break,
        }
    }
    First::Partial
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn handshake(stage: &Stage, side: Side, tcp: &mut TcpStream) -> Result<ServerConnection, String> {
    let config = stage.tls[usize::from(side == Side::B)].clone();
    let mut session = ServerConnection::new(config).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while session.is_handshaking() {
        match session.complete_io(tcp) {
            Ok(_) => {}
            Err(error) if is_pause(&error) && Instant::now() < deadline && !stage.is_over() => {}
            Err(error) => {
                // The alert, if there is one.
                let _ = session.write_tls(tcp);
                return Err(format!("in the handshake: {error}"));
            }
        }
    }
    Ok(session)
}

fn serve(
    shared: &Shared,
    stage: &Stage,
    side: Side,
    tls: &str,
    client: Option<&str>,
    early: Vec<u8>,
    stream: &mut impl Both,
) -> Result<(), String> {
    let mut buffer = early;
    while let Some(asked) = read(stream, &mut buffer, &stage.over, client)? {
        let (at, when) = (Instant::now(), OffsetDateTime::now_utc());
        let moment = {
            let mut journal = lock(&stage.journal);
            if asked.api().is_some_and(|(method, _)| method == "dec_keys") {
                journal.first_by_id.get_or_insert(at);
            }
            Moment { before: journal.supplied(), waited_ms: since(journal.first_by_id), plain: shared.plain_url.clone() }
        };
        let shaped = {
            let mut keys = lock(&stage.keys);
            let said = kme::answer(side, &asked, &mut keys, stage.scenario.fault);
            shape(stage.scenario.fault, &asked, said, &mut keys, &moment)
        };
        shaped.keys.iter().for_each(|key| shared.learn(&key.octets));
        // Also as it was sent, which may be no base64 any more.
        for text in String::from_utf8_lossy(&shaped.body).split("\"key\":\"").skip(1) {
            shared.vault.learn(text.split('"').next().unwrap_or_default().as_bytes());
        }
        let text = String::from_utf8_lossy(&shaped.body[..shaped.body.len().min(4000)]).into_owned();
        let shown = shared.vault.told(&without_dense_words(&text), 1000);
        let keys = shaped.keys.iter().map(|key| (key.id.clone(), fingerprint(&shared.salt, &key.octets))).collect();
        let seen = Seen {
            at,
            when,
            side,
            tls: Some(tls.to_owned()),
            asked,
            status: shaped.status,
            headers: shaped.headers.clone(),
            shown,
            keys,
            taken: 0,
            over: false,
            cut: None,
        };
        // Entered before it is answered: whoever has an answer finds it in the journal.
        let number = lock(&stage.journal).request(seen);
        let sent = write(stream, &shaped, stage, &|taken| lock(&stage.journal).taken(number, taken));
        lock(&stage.journal).answered(number, sent.taken, sent.cut.clone());
        if sent.cut.is_some() || shaped.last {
            return Ok(());
        }
    }
    Ok(())
}

struct Sent {
    taken: u64,
    cut: Option<String>,
}

/// Sends an answer; `progress` is told how much of a long one was taken.
fn write(stream: &mut impl Both, shaped: &Shaped, stage: &Stage, progress: &dyn Fn(u64)) -> Sent {
    let lost = |why: &str| Sent { taken: 0, cut: Some(why.to_owned()) };
    let mut head = format!("HTTP/1.1 {} X\r\n", shaped.status);
    match (shaped.fate, shaped.chunked) {
        (Fate::Endless, _) => {}
        (_, true) => head.push_str("Transfer-Encoding: chunked\r\n"),
        (_, false) => head.push_str(&format!("Content-Length: {}\r\n", shaped.body.len())),
    }
    if shaped.last || shaped.fate == Fate::Endless {
        head.push_str("Connection: close\r\n");
    }
    for (name, value) in &shaped.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut octets = zeroize::Zeroizing::new(head.into_bytes());
    match shaped.fate {
        Fate::Close => return lost("the connection was closed without an answer"),
        Fate::Silence => {
            wait(stream, stage);
            return lost("no answer was given");
        }
        Fate::Drip => return drip(stream, stage),
        Fate::Endless => {
            octets.extend_from_slice(b"{\"keys\":[");
            return flood(stream, &octets, stage, progress);
        }
        Fate::CutAt(length) => {
            octets.extend_from_slice(&shaped.body[..length.min(shaped.body.len())]);
            let _ = stream.write_all(&octets).and_then(|()| stream.flush());
            return lost(&format!("the connection was closed after {length} of {} octets", shaped.body.len()));
        }
        Fate::Whole if shaped.chunked => {
            for piece in shaped.body.chunks(11) {
                octets.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                octets.extend_from_slice(piece);
                octets.extend_from_slice(b"\r\n");
            }
            octets.extend_from_slice(b"0\r\n\r\n");
        }
        Fate::Whole => octets.extend_from_slice(&shaped.body),
    }
    match stream.write_all(&octets).and_then(|()| stream.flush()) {
        Ok(()) => Sent { taken: shaped.body.len() as u64, cut: None },
        Err(error) => lost(&format!("the answer could not be sent: {error}")),
    }
}

/// Until the SAE hangs up, or the stage is over.
fn wait(stream: &mut impl Both, stage: &Stage) {
    let mut sink = [0; 1024];
    while !stage.is_over() {
        match stream.read(&mut sink) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            Err(_) => return,
        }
    }
}

fn drip(stream: &mut impl Both, stage: &Stage) -> Sent {
    let mut taken = 0;
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n".iter();
    while !stage.is_over() {
        let octet = *head.next().unwrap_or(&b' ');
        if stream.write_all(&[octet]).and_then(|()| stream.flush()).is_err() {
            break;
        }
        taken += 1;
        thread::sleep(TICK);
    }
    Sent { taken, cut: Some(format!("{taken} octets came, one by one")) }
}

fn flood(stream: &mut impl Both, head: &[u8], stage: &Stage, progress: &dyn Fn(u64)) -> Sent {
    let spaces = vec![b' '; 256 * 1024];
    let mut taken = 0;
    if stream.write_all(head).is_ok() {
        while taken < FLOOD && !stage.is_over() && stream.write_all(&spaces).and_then(|()| stream.flush()).is_ok() {
            taken += spaces.len() as u64;
            progress(taken);
        }
    }
    let mib = taken / (1024 * 1024);
    Sent { taken, cut: Some(format!("an endless body, of which {mib} MiB were taken")) }
}

/// The next request; nothing at the end of the connection.
pub(crate) fn read(
    stream: &mut (impl Read + Write),
    buffer: &mut Vec<u8>,
    over: &AtomicBool,
    client: Option<&str>,
) -> Result<Option<Asked>, String> {
    let (mut asked, length) = loop {
        if let Some((asked, head)) = parse(buffer, client)? {
            buffer.drain(..head);
            let chunked = asked.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
            let length = match asked.header("content-length") {
                Some(text) => Some(text.trim().parse::<usize>().map_err(|_| "Content-Length is no number".to_owned())?),
                None => None,
            };
            if asked.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
                let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").and_then(|()| stream.flush());
            }
            break (asked, if chunked { None } else { Some(length.unwrap_or(0)) });
        }
        if buffer.len() > HEAD {
            return Err("a head of a request is too long".to_owned());
        }
        if !more(stream, buffer, over)? {
            return if buffer.is_empty() { Ok(None) } else { Err("the connection ended within a request".to_owned()) };
        }
    };
    match length {
        Some(length) if length > REQUEST => return Err("a request's body is too long".to_owned()),
        Some(length) => {
            while buffer.len() < length {
                if !more(stream, buffer, over)? {
                    return Err("the connection ended within a request".to_owned());
                }
            }
            asked.body = buffer.drain(..length).collect();
        }
        None => asked.body = chunks(stream, buffer, over)?,
    }
    Ok(Some(asked))
}

fn chunks(stream: &mut impl Read, buffer: &mut Vec<u8>, over: &AtomicBool) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match httparse::parse_chunk_size(buffer).map_err(|_| "a chunk is misspelt".to_owned())? {
            httparse::Status::Complete((start, 0)) if buffer.len() >= start + 2 => {
                buffer.drain(..start + 2);
                return Ok(body);
            }
            httparse::Status::Complete((start, size)) if size > 0 => {
                let size = usize::try_from(size).ok().filter(|size| *size <= REQUEST - body.len()).ok_or("a body is too long")?;
                if buffer.len() >= start + size + 2 {
                    body.extend_from_slice(&buffer[start..start + size]);
                    buffer.drain(..start + size + 2);
                    continue;
                }
            }
            _ => {}
        }
        if !more(stream, buffer, over)? {
            return Err("the connection ended within a request".to_owned());
        }
    }
}

fn more(stream: &mut impl Read, buffer: &mut Vec<u8>, over: &AtomicBool) -> Result<bool, String> {
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                return Ok(count > 0);
            }
            Err(error) if is_pause(&error) && !over.load(Ordering::SeqCst) => {}
            // Without close_notify: many clients end so.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// How the reason begins when what was sent cannot be read as a request.
pub(crate) const NO_HTTP: &str = "no HTTP";

fn parse(buffer: &[u8], client: Option<&str>) -> Result<Option<(Asked, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(buffer).map_err(|error| format!("{NO_HTTP}: {error}"))? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let asked = Asked {
                method: parsed.method.unwrap_or_default().to_owned(),
                target: parsed.path.unwrap_or_default().to_owned(),
                headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
                body: Vec::new(),
                caller: client.map(str::to_owned),
            };
            Ok(Some((asked, length)))
        }
    }
}
