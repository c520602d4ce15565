//! A small HTTP/1.1 server of our own, for faults that the libraries of the reference cannot have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use kme::serve::Door;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::exchange::{Asked, Operation, Said};
use crate::front::Kme;
use crate::hello::{self, Hello};

/// In what it differs from a server that is right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odd {
    /// Waits for the whole body as long as it takes, even when no more can come.
    pub(crate) waits_for_bodies: bool,
    /// Handshakes one after the other.
    pub(crate) one_handshake: bool,
    /// Reads one request head at a time.
    pub(crate) one_head: bool,
    /// Takes so many connections at the same time, each as long as it lasts.
    pub(crate) places: Option<usize>,
    /// Answers go out in the order in which they are ready.
    pub(crate) unordered: bool,
    /// Content-Length is one too small where nothing is found.
    pub(crate) short_length: bool,
    /// Content-Length is ignored where Transfer-Encoding is given, too.
    pub(crate) prefers_chunks: bool,
    /// Answers are chunked.
    pub(crate) chunked: bool,
    /// Plain HTTP is served as well, in the name of an enrolled SAE.
    pub(crate) plain: bool,
    /// What becomes of a connection, by its ClientHello.
    pub(crate) greeting: Option<fn(&Hello) -> Greeting>,
    /// Who offers a ticket is taken for whoever came before.
    pub(crate) identity_by_ticket: bool,
    /// Who hangs up without a request harms it, the eighth time.
    pub(crate) dies_unasked: bool,
    /// A key whose answer was not read goes back to the pool.
    pub(crate) puts_back: bool,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Greeting {
    /// TLS as ever.
    Usual,
    /// Nothing is said.
    Close,
    /// A ServerHello of that version and cipher suite.
    ServerHello(u16, u16),
}

struct Server {
    odd: Odd,
    door: Door,
    kme: Arc<Kme>,
    handshakes: Arc<Mutex<()>>,
    heads: Mutex<()>,
    places: Arc<Semaphore>,
}

/// Serves until the KME stops.
pub(crate) async fn serve(door: Door, kme: Arc<Kme>, odd: Odd) -> usize {
    let stopped = door.until_stopped();
    let places = Arc::new(Semaphore::new(odd.places.unwrap_or(MAX_PLACES)));
    let server = Arc::new(Server { odd, door, kme, handshakes: Arc::default(), heads: Mutex::new(()), places });
    let accepting = async {
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = server.places.clone().acquire_owned().await else { return };
            if let Ok((stream, address)) = server.door.listener.accept().await {
                let turn = match server.odd.one_handshake {
                    true => Some(server.handshakes.clone().lock_owned().await),
                    false => None,
                };
                let server = server.clone();
                connections.spawn(async move {
                    server.connection(stream, address, turn).await;
                    drop(place);
                });
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = stopped => {}
        () = accepting => {}
    }
    0
}

impl Server {
    async fn connection(&self, mut stream: TcpStream, address: SocketAddr, turn: Option<OwnedMutexGuard<()>>) {
        let _ = stream.set_nodelay(true);
        let mut offers_ticket = false;
        if self.odd.plain || self.odd.greeting.is_some() || self.odd.identity_by_ticket {
            let Ok(Some(first)) = timeout(PATIENCE, hello::first_octets(&stream)).await else { return };
            if self.odd.plain && first.first() != Some(&hello::HANDSHAKE) {
                self.http(stream, Some(hello::ENROLLED.to_owned()), address, BytesMut::new()).await;
                return;
            }
            let Some(hello) = Hello::read(&first) else { return };
            offers_ticket = hello.offers_ticket;
            match self.odd.greeting.map(|greet| greet(&hello)) {
                Some(Greeting::Close) => return,
                Some(Greeting::ServerHello(version, suite)) => {
                    let _ = stream.write_all(&hello::server_hello(version, suite)).await;
                    let _ = timeout(PATIENCE, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
                    return;
                }
                _ => {}
            }
        }
        let shaken = timeout(PATIENCE, TlsAcceptor::from(self.door.tls.current()).accept(stream)).await;
        drop(turn);
        let Ok(Ok(mut stream)) = shaken else { return };
        let (_, tls) = stream.get_mut();
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        let mut caller = leaf.and_then(|leaf| self.door.identity.identify(leaf).ok());
        if self.odd.identity_by_ticket {
            let mut notes = self.kme.notes();
            if offers_ticket {
                caller = notes.texts.get("ticket").cloned();
            }
            notes.texts.insert("ticket".to_owned(), caller.clone().unwrap_or_default());
        }
        let mut early = Vec::new();
        if let Some(mut data) = tls.early_data() {
            let _ = std::io::Read::read_to_end(&mut data, &mut early);
        }
        self.http(stream, caller, address, BytesMut::from(&early[..])).await;
    }

    async fn http<S>(&self, mut stream: S, caller: Option<String>, address: SocketAddr, mut buffer: BytesMut)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut last: Option<(Asked, Said)> = None;
        loop {
            let read = self.request(&mut stream, &mut buffer, caller.as_ref(), address).await;
            if self.odd.dies_unasked && last.is_none() && matches!(read, Ok(None) | Err(Unread::Reset)) {
                self.hung_up().await;
            }
            let asked = match read {
                Ok(Some(asked)) => asked,
                Ok(None) => return,
                Err(Unread::Reset) => {
                    if let Some((asked, said)) = last.filter(|_| self.odd.puts_back) {
                        self.put_back(&asked, said);
                    }
                    return;
                }
                Err(Unread::Refused(status)) => {
                    let said = Said::error(status, "the request cannot be read");
                    let _ = self.send(&mut stream, said, true).await;
                    // Closing with unread octets would reset the connection before the answer is read.
                    let _ = timeout(Duration::from_millis(500), tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
                    return;
                }
            };
            if self.odd.unordered {
                let mut asked = vec![asked];
                // What comes in one go comes at nearly the same time.
                while let Ok(Ok(Some(next))) =
                    timeout(Duration::from_millis(20), self.request(&mut stream, &mut buffer, caller.as_ref(), address)).await
                {
                    asked.push(next);
                }
                if self.answer_all(&mut stream, asked).await.is_err() {
                    return;
                }
                continue;
            }
            let wants_end = asked.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
            let returned = if self.odd.puts_back { self.take_back(&asked) } else { None };
            let said = match returned {
                Some(said) => said,
                None => self.kme.answer(asked.clone()).await,
            };
            let ends = wants_end || said.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
            let sent = self.send(&mut stream, said.clone(), ends).await;
            if sent.is_err() && self.odd.puts_back {
                self.put_back(&asked, said);
                return;
            }
            if sent.is_err() || ends {
                let _ = stream.shutdown().await;
                return;
            }
            last = Some((asked, said));
        }
    }

    async fn hung_up(&self) {
        if self.kme.count("unasked") >= 8 {
            self.kme.die().await;
        }
    }

    /// The next request; nothing at the end of the connection.
    async fn request<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        buffer: &mut BytesMut,
        caller: Option<&String>,
        address: SocketAddr,
    ) -> Result<Option<Asked>, Unread> {
        if buffer.is_empty() && !more(stream, buffer, self.door.limits.idle).await? {
            return Ok(None);
        }
        let (mut asked, framing) = {
            let _turn = if self.odd.one_head { Some(self.heads.lock().await) } else { None };
            loop {
                match head(buffer, caller, address)? {
                    Some(head) => break head,
                    None if buffer.len() > self.door.limits.head_octets => return Err(Unread::Refused(431)),
                    None => {
                        if !more(stream, buffer, self.door.limits.head).await? {
                            return Ok(None);
                        }
                    }
                }
            }
        };
        let body = async {
            match framing {
                Framing::Length(length) if length > self.door.limits.body_octets && !self.odd.waits_for_bodies => {
                    Err(Unread::Refused(413))
                }
                Framing::Length(length) => {
                    while buffer.len() < length {
                        self.more_body(stream, buffer).await?;
                    }
                    Ok(buffer.split_to(length).freeze())
                }
                Framing::Both if !self.odd.prefers_chunks => Err(Unread::Refused(400)),
                Framing::Chunked | Framing::Both => self.chunks(stream, buffer).await,
            }
        };
        let patience = if self.odd.waits_for_bodies { Duration::from_secs(86_400) } else { self.door.limits.body };
        asked.body = timeout(patience, body).await.map_err(|_| Unread::Refused(408))??;
        Ok(Some(asked))
    }

    async fn more_body<S: AsyncRead + Unpin>(&self, stream: &mut S, buffer: &mut BytesMut) -> Result<(), Unread> {
        if more(stream, buffer, Duration::from_secs(86_400)).await? {
            return Ok(());
        }
        if self.odd.waits_for_bodies {
            std::future::pending::<()>().await;
        }
        Err(Unread::Refused(400))
    }

    async fn chunks<S: AsyncRead + Unpin>(&self, stream: &mut S, buffer: &mut BytesMut) -> Result<bytes::Bytes, Unread> {
        let mut body = BytesMut::new();
        loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete((start, size))) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    if size > self.door.limits.body_octets || body.len() + size > self.door.limits.body_octets {
                        return Err(Unread::Refused(413));
                    }
                    while buffer.len() < start + size + 2 {
                        self.more_body(stream, buffer).await?;
                    }
                    buffer.advance(start);
                    body.extend_from_slice(&buffer.split_to(size));
                    buffer.advance(2);
                    if size == 0 {
                        return Ok(body.freeze());
                    }
                }
                Ok(httparse::Status::Partial) => self.more_body(stream, buffer).await?,
                Err(_) => return Err(Unread::Refused(400)),
            }
        }
    }

    /// All at once, and each when it is ready; keys take their time.
    async fn answer_all<S: AsyncWrite + Unpin>(&self, stream: &mut S, asked: Vec<Asked>) -> std::io::Result<()> {
        let mut answers = JoinSet::new();
        for asked in asked {
            let kme = self.kme.clone();
            answers.spawn(async move {
                if asked.operation() == Operation::GetKey {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                kme.answer(asked).await
            });
        }
        while let Some(said) = answers.join_next().await {
            let said = said.map_err(std::io::Error::other)?;
            let ends = said.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
            self.send(stream, said, ends).await?;
        }
        Ok(())
    }

    async fn send<S: AsyncWrite + Unpin>(&self, stream: &mut S, said: Said, ends: bool) -> std::io::Result<()> {
        let mut octets = format!("HTTP/1.1 {} -\r\n", said.status).into_bytes();
        for (name, value) in &said.headers {
            if ![header::CONTENT_LENGTH, header::CONNECTION].contains(name) {
                octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
            }
        }
        if ends {
            octets.extend(b"connection: close\r\n");
        }
        if self.odd.chunked {
            octets.extend(b"transfer-encoding: chunked\r\n\r\n");
            for piece in said.body.chunks(97) {
                octets.extend(format!("{:x};odd=yes\r\n", piece.len()).bytes());
                octets.extend([piece, b"\r\n"].concat());
            }
            octets.extend(b"0\r\n\r\n");
        } else {
            let short = usize::from(self.odd.short_length && said.status == 404);
            octets.extend(format!("content-length: {}\r\n\r\n", said.body.len().saturating_sub(short)).bytes());
            octets.extend(&said.body);
        }
        stream.write_all(&octets).await?;
        stream.flush().await
    }

    fn put_back(&self, asked: &Asked, said: Said) {
        if asked.operation() == Operation::GetKey && said.status == 200 {
            self.kme.notes().answers.insert(call(asked), (std::time::Instant::now(), said));
        }
    }

    fn take_back(&self, asked: &Asked) -> Option<Said> {
        self.kme.notes().answers.remove(&call(asked)).map(|(_, said)| said)
    }
}

fn call(asked: &Asked) -> String {
    format!("{:?} {} {} {:?}", asked.caller, asked.method, asked.target, asked.body)
}

/// Why there is no request.
enum Unread {
    Refused(u16),
    /// The peer has cut the connection.
    Reset,
}

enum Framing {
    Length(usize),
    Chunked,
    Both,
}

/// Reads on; false at the end, or when nothing comes for so long.
async fn more<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut, patience: Duration) -> Result<bool, Unread> {
    match timeout(patience, stream.read_buf(buffer)).await {
        Ok(Ok(count)) => Ok(count > 0),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(Unread::Reset),
        _ => Ok(false),
    }
}

/// The head at the beginning of the buffer, if it is whole.
fn head(buffer: &mut BytesMut, caller: Option<&String>, address: SocketAddr) -> Result<Option<(Asked, Framing)>, Unread> {
    let refused = |_| Unread::Refused(400);
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(octets) = parsed.parse(buffer).map_err(refused)? else { return Ok(None) };
    let mut headers = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Unread::Refused(400))?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Unread::Refused(400))?);
    }
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes()).map_err(|_| Unread::Refused(400))?;
    let target = parsed.path.unwrap_or_default().to_owned();
    let mut lengths = Vec::new();
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let length: usize = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(Unread::Refused(400))?;
        lengths.push(length);
    }
    let framing = match (lengths.as_slice(), headers.contains_key(header::TRANSFER_ENCODING)) {
        ([], false) => Framing::Length(0),
        ([length], false) => Framing::Length(*length),
        ([], true) => Framing::Chunked,
        ([_], true) => Framing::Both,
        _ => return Err(Unread::Refused(400)),
    };
    buffer.advance(octets);
    let asked = Asked { caller: caller.cloned(), address, method, target, headers, body: bytes::Bytes::new() };
    Ok(Some((asked, framing)))
}

const PATIENCE: Duration = Duration::from_secs(10);
const MAX_PLACES: usize = 1024;
