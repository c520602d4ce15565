//! A TCP connection, with or without TLS, on which every wait has an end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{BaseUrl, WireError};

/// A connection to a KME.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
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
        for address in url.addresses().map_err(WireError::Connect)? {
            match TcpStream::connect_timeout(&address, left(deadline).ok_or(WireError::Timeout("connection"))?) {
                Ok(tcp) => {
                    // A case sends in pieces on purpose; what it sends must go out then.
                    let _ = tcp.set_nodelay(true);
                    return Ok(Self { tcp, tls: None });
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

    /// Whether something comes, or the connection ends, before `deadline`. What comes stays readable.
    pub(crate) fn has_input(&mut self, deadline: Instant) -> bool {
        if let Some(tls) = self.tls.as_mut()
            && tls.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
        {
            return true;
        }
        let Some(wait) = left(deadline) else { return false };
        let peeked = self.tcp.set_read_timeout(Some(wait)).and_then(|()| self.tcp.peek(&mut [0]));
        match peeked {
            Ok(0) => true,
            // Session tickets and the like are no answer.
            Ok(_) if self.tls.is_some() => match self.receive(deadline, "answer") {
                Ok(_) => self.has_input(deadline),
                Err(error) => !matches!(error, WireError::Timeout(_)),
            },
            Ok(_) => true,
            Err(error) => !timed_out(&error),
        }
    }

    /// Takes in records from the connection.
    fn receive(&mut self, deadline: Instant, what: &'static str) -> Result<usize, WireError> {
        let mut buffer = [0; 16 * 1024];
        let count = self.read_tcp(&mut buffer, deadline, what)?;
        let Some(tls) = self.tls.as_mut() else { return Ok(count) };
        let mut records = &buffer[..count];
        loop {
            tls.read_tls(&mut records).map_err(|error| closed(&error))?;
            if let Err(error) = tls.process_new_packets() {
                let error = WireError::Tls(error.to_string());
                // Our own alert tells the peer why; whether it arrives changes nothing.
                let _ = self.flush(deadline);
                return Err(error);
            }
            if records.is_empty() {
                break;
            }
        }
        self.flush(deadline)?;
        Ok(count)
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

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn closed(error: &io::Error) -> WireError {
    WireError::Closed(format!("({error})"))
}
