//! A TCP connection, with or without TLS, on which every wait has an end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, InvalidMessage};
use zeroize::{Zeroize, Zeroizing};

use super::{ALERT, BaseUrl, WireError};

/// A connection to a KME.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What TLS has decrypted and nobody has read, at most what one read from the connection holds.
    plain: Zeroizing<Vec<u8>>,
    taken: usize,
}

/// What a handshake negotiated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    pub(crate) version: String,
    pub(crate) suite: String,
    pub(crate) group: String,
    pub(crate) alpn: String,
    pub(crate) certificate: Vec<u8>,
    pub(crate) resumed: bool,
}

impl TlsFacts {
    /// SHA-256 of the KME's certificate.
    pub(crate) fn certificate_sha256(&self) -> String {
        crate::hex(digest::digest(&digest::SHA256, &self.certificate).as_ref())
    }
}

impl Stream {
    /// Connects, without TLS.
    pub(crate) fn plain(url: &BaseUrl, deadline: Instant) -> Result<Self, WireError> {
        let mut last = "no address".to_owned();
        let addresses = url.addresses(left(deadline).ok_or(WireError::Timeout("connection"))?);
        for address in addresses.map_err(WireError::Connect)? {
            match TcpStream::connect_timeout(&address, left(deadline).ok_or(WireError::Timeout("connection"))?) {
                Ok(tcp) => {
                    // A case sends in pieces on purpose; what it sends must go out then.
                    let _ = tcp.set_nodelay(true);
                    return Ok(Self { tcp, tls: None, plain: Zeroizing::default(), taken: 0 });
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(WireError::Connect(last))
    }

    /// Connects and makes the TLS handshake.
    pub(crate) fn secure(url: &BaseUrl, config: Arc<ClientConfig>, deadline: Instant) -> Result<Self, WireError> {
        let mut stream = Self::secure_started(url, config, deadline)?;
        stream.handshake(deadline)?;
        Ok(stream)
    }

    /// Connects and prepares a handshake, of which nothing has been sent yet.
    pub(crate) fn secure_started(url: &BaseUrl, config: Arc<ClientConfig>, deadline: Instant) -> Result<Self, WireError> {
        let mut stream = Self::plain(url, deadline)?;
        let name = ServerName::try_from(url.host.clone()).map_err(|error| WireError::Tls(error.to_string()))?;
        let tls = ClientConnection::new(config, name).map_err(|error| WireError::Tls(error.to_string()))?;
        stream.tls = Some(Box::new(tls));
        Ok(stream)
    }

    /// Completes the handshake.
    pub(crate) fn handshake(&mut self, deadline: Instant) -> Result<(), WireError> {
        while self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            self.flush(deadline)?;
            if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) && self.receive(deadline, "handshake")? == 0 {
                return Err(WireError::Closed("in the handshake".to_owned()));
            }
        }
        self.flush(deadline)
    }

    pub(crate) fn tls_facts(&self) -> Option<TlsFacts> {
        let tls = self.tls.as_ref()?;
        let certificate = tls.peer_certificates().and_then(|chain| chain.first());
        Some(TlsFacts {
            version: tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("?").replace("TLSv1_", "1."),
            suite: tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?").to_owned(),
            group: tls.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or("?").to_owned(),
            alpn: tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default(),
            certificate: certificate.map(|der| der.to_vec()).unwrap_or_default(),
            resumed: tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }

    pub(crate) fn tls_mut(&mut self) -> Option<&mut ClientConnection> {
        self.tls.as_deref_mut()
    }

    /// Sends all of `octets`.
    pub(crate) fn write(&mut self, octets: &[u8], deadline: Instant) -> Result<(), WireError> {
        if self.tls.is_none() {
            return self.write_tcp(octets, deadline);
        }
        let mut rest = octets;
        while !rest.is_empty() {
            if let Some(tls) = self.tls.as_mut() {
                let taken = tls.writer().write(rest).map_err(|error| closed(&error))?;
                rest = &rest[taken..];
            }
            self.flush(deadline)?;
        }
        Ok(())
    }

    fn write_tcp(&mut self, mut octets: &[u8], deadline: Instant) -> Result<(), WireError> {
        while !octets.is_empty() {
            let wait = left(deadline).ok_or(WireError::Timeout("room to send"))?;
            self.tcp.set_write_timeout(Some(wait)).map_err(|error| closed(&error))?;
            match self.tcp.write(octets) {
                Ok(taken) => octets = &octets[taken..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if timed_out(&error) => return Err(WireError::Timeout("room to send")),
                Err(error) => return Err(closed(&error)),
            }
        }
        Ok(())
    }

    /// Sends what TLS has ready.
    pub(crate) fn flush(&mut self, deadline: Instant) -> Result<(), WireError> {
        while let Some(tls) = self.tls.as_mut().filter(|tls| tls.wants_write()) {
            let mut records = Vec::new();
            tls.write_tls(&mut records).map_err(|error| closed(&error))?;
            self.write_tcp(&records, deadline)?;
        }
        Ok(())
    }

    /// Reads some octets; 0 at the end of the connection.
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, WireError> {
        loop {
            let waiting = &mut self.plain[self.taken..];
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.len());
                buffer[..count].copy_from_slice(&waiting[..count]);
                waiting[..count].zeroize();
                self.taken += count;
                return Ok(count);
            }
            let Some(tls) = self.tls.as_mut() else { return self.read_tcp(buffer, deadline, "answer") };
            match tls.reader().read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed without a close_notify.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(closed(&error)),
            }
            if self.receive(deadline, "answer")? == 0 && self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                return Err(WireError::Closed("in the handshake".to_owned()));
            }
        }
    }

    /// Tells the peer that nothing more will be sent.
    pub(crate) fn end_of_sending(&mut self) {
        if let Some(tls) = self.tls.as_mut() {
            tls.send_close_notify();
        }
        // Whether the peer hears it is what a case finds out.
        let _ = self.flush(Instant::now() + Duration::from_secs(1));
        let _ = self.tcp.shutdown(std::net::Shutdown::Write);
    }

    /// Ends the connection with a reset, as when the peer's host or the network fails.
    pub(crate) fn reset(self) {
        // If it cannot be set, the connection is closed in the usual way.
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }

    /// Whether something comes, or the connection ends, before `deadline`. What comes stays readable.
    pub(crate) fn has_input(&mut self, deadline: Instant) -> bool {
        loop {
            let closed = |tls: &mut Box<ClientConnection>| tls.process_new_packets().is_ok_and(|state| state.peer_has_closed());
            if self.taken < self.plain.len() || self.tls.as_mut().is_some_and(closed) {
                return true;
            }
            let Some(wait) = left(deadline) else { return false };
            match self.tcp.set_read_timeout(Some(wait)).and_then(|()| self.tcp.peek(&mut [0])) {
                Ok(0) => return true,
                // Session tickets and the like are no answer.
                Ok(_) if self.tls.is_some() => {
                    if let Err(error) = self.receive(deadline, "answer") {
                        return !matches!(error, WireError::Timeout(_));
                    }
                }
                Ok(_) => return true,
                Err(error) => return !timed_out(&error),
            }
        }
    }

    /// Takes in records from the connection, and decrypts them.
    fn receive(&mut self, deadline: Instant, what: &'static str) -> Result<usize, WireError> {
        let mut buffer = [0; 16 * 1024];
        let count = self.read_tcp(&mut buffer, deadline, what)?;
        let mut records = &buffer[..count];
        loop {
            let Some(tls) = self.tls.as_mut() else { return Ok(count) };
            let read = tls.read_tls(&mut records).map_err(|error| closed(&error))?;
            let state = match tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    let error = WireError::Tls(told(&error));
                    // Our own alert tells the peer why; whether it arrives changes nothing.
                    let _ = self.flush(deadline);
                    return Err(error);
                }
            };
            // Left inside, it would keep further records out.
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let end = self.make_room(waiting);
                if let Some(tls) = self.tls.as_mut() {
                    tls.reader().read_exact(&mut self.plain[end..]).map_err(|error| closed(&error))?;
                }
            }
            // After a close_notify nothing is read any more, however much there is.
            if read == 0 || records.is_empty() {
                break;
            }
        }
        self.flush(deadline)?;
        Ok(count)
    }

    /// Makes room for so many octets more, and tells where they start. What moves leaves nothing behind.
    fn make_room(&mut self, count: usize) -> usize {
        let waiting = self.plain.len() - self.taken;
        let mut larger = Zeroizing::new(Vec::with_capacity(waiting + count));
        larger.extend_from_slice(&self.plain[self.taken..]);
        larger.resize(waiting + count, 0);
        (self.plain, self.taken) = (larger, 0);
        waiting
    }

    fn read_tcp(&mut self, buffer: &mut [u8], deadline: Instant, what: &'static str) -> Result<usize, WireError> {
        loop {
            let wait = left(deadline).ok_or(WireError::Timeout(what))?;
            self.tcp.set_read_timeout(Some(wait)).map_err(|error| closed(&error))?;
            match self.tcp.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if timed_out(&error) => return Err(WireError::Timeout(what)),
                Err(error) => return Err(closed(&error)),
            }
        }
    }
}

/// The time until `deadline`, unless it is over.
fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
}

/// Why TLS failed; in our words where the user's own files may be the reason.
fn told(error: &rustls::Error) -> String {
    use rustls::CertificateError as Why;
    let why = match error {
        rustls::Error::InvalidCertificate(why) => why,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return "what answers there does not speak TLS".to_owned();
        }
        rustls::Error::AlertReceived(alert) => return format!("{ALERT}{alert:?}"),
        error => return error.to_string(),
    };
    match why {
        Why::Expired | Why::ExpiredContext { .. } => "the KME's certificate has expired".to_owned(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            "the KME's certificate is not valid yet (is this machine's clock right?)".to_owned()
        }
        Why::UnknownIssuer | Why::BadSignature => "the KME's certificate is not from the authority configured as `ca`".to_owned(),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "the KME's certificate is not for the host in `base_url`".to_owned()
        }
        _ => error.to_string(),
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn closed(error: &io::Error) -> WireError {
    WireError::Closed(format!("({error})"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    use super::*;
    use crate::wire::{TlsSettings, Versions, client_config, provider};

    /// A client's connection to a server that, after the handshake, does what it is told.
    fn with_server(serve: impl FnOnce(&mut TcpStream, ServerConnection) + Send + 'static) -> Stream {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["localhost".to_owned()]).and_then(|params| params.self_signed(&key));
        let certificate = certificate.expect("a certificate").der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der());
                config.with_no_client_auth().with_single_cert(vec![certificate], key.into())
            })
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut tcp, _) = listener.accept().expect("a client");
            let mut tls = ServerConnection::new(Arc::new(config)).expect("a connection");
            while tls.is_handshaking() {
                tls.complete_io(&mut tcp).expect("a handshake");
            }
            serve(&mut tcp, tls);
        });
        let settings = TlsSettings { roots: &roots, credentials: None, versions: Versions::Both, alpn: &[] };
        let config = Arc::new(client_config(settings).expect("a client"));
        let url = BaseUrl::parse(&format!("https://localhost:{port}")).expect("a URL");
        Stream::secure(&url, config, soon()).expect("a handshake")
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Fails, instead of waiting for ever.
    fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        thread::spawn(move || done.send(work()));
        result.recv_timeout(Duration::from_secs(60)).expect("an end")
    }

    #[test]
    fn what_follows_a_close_notify_does_not_hold_up() {
        let mut stream = with_server(|tcp, mut tls| {
            tls.writer().write_all(b"last words").expect("room");
            tls.send_close_notify();
            let mut octets = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut octets).expect("memory");
            }
            octets.extend([0x17; 12 * 1024]);
            tcp.write_all(&octets).expect("a client that reads");
            thread::sleep(Duration::from_secs(5));
        });
        let read = in_time(move || {
            let mut buffer = [0; 64];
            let first = stream.read(&mut buffer, soon()).expect("the last words");
            (buffer[..first].to_vec(), stream.has_input(soon()), stream.read(&mut buffer, soon()))
        });
        assert_eq!(read, (b"last words".to_vec(), true, Ok(0)));
    }

    #[test]
    fn records_of_any_size_are_read() {
        let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let expected = sent.clone();
        let mut stream = with_server(move |tcp, mut tls| {
            let mut rest = sent.as_slice();
            let mut sizes = [16_384, 5, 2, 16_384, 1, 700].iter().cycle();
            while !rest.is_empty() {
                let (record, after) = rest.split_at(rest.len().min(*sizes.next().expect("a cycle")));
                tls.writer().write_all(record).expect("room");
                while tls.wants_write() {
                    tls.write_tls(tcp).expect("a client that reads");
                }
                rest = after;
            }
            tls.send_close_notify();
            tls.write_tls(tcp).expect("a client that reads");
        });
        let read = in_time(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
            loop {
                match stream.read(&mut buffer, soon()) {
                    Ok(0) => return Ok(all),
                    Ok(count) => all.extend_from_slice(&buffer[..count]),
                    Err(error) => return Err((error, all.len())),
                }
            }
        });
        assert!(read.is_ok_and(|read| read == expected));
    }
}
