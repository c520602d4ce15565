//! One connection, with one request at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::head::{self, Head};

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Dialler {
    address: SocketAddr,
    tls: TlsConnector,
}

/// A connection with one outstanding request at the most.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// An answer, in the buffer of its connection.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Dialler {
    pub(crate) fn new(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self { address, tls: TlsConnector::from(tls) }
    }

    pub(crate) async fn dial(&self) -> io::Result<Connection> {
        let stream = self.dial_tcp().await?;
        let stream = self.tls.connect(ServerName::IpAddress(self.address.ip().into()), stream).await?;
        Ok(Connection { stream, received: vec![0; RECEIVE_OCTETS] })
    }

    /// A connection that never gets to its handshake.
    pub(crate) async fn dial_tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Connection {
    /// Sends a request and waits for all of its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        let mut head = None;
        let head: Head = loop {
            let room = self.received.get_mut(filled..).filter(|room| !room.is_empty()).ok_or_else(|| wrong("too long"))?;
            let octets = self.stream.read(room).await?;
            if octets == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += octets;
            if head.is_none() {
                let received = self.received.get(..filled).unwrap_or_default();
                head = head::parse(received).map_err(|_| wrong("not an answer of these servers"))?;
            }
            match head {
                Some(head) if filled >= head.octets + head.body_octets => break head,
                _ => {}
            }
        };
        let body = self.received.get(head.octets..head.octets + head.body_octets).unwrap_or_default();
        Ok(Answer { status: head.status, body })
    }

    /// Ends the connection with a reset, so that it leaves no port behind in TIME_WAIT.
    pub(crate) fn reset(self) -> io::Result<()> {
        self.stream.get_ref().0.set_zero_linger()
    }
}

/// Enough for a thousand keys of 256 bits.
const RECEIVE_OCTETS: usize = 256 << 10;

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
