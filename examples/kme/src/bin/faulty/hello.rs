//! As much of a ClientHello as faults look at, and a ServerHello that no library would send.

use std::time::Duration;

use tokio::net::TcpStream;

/// The record type.
pub(crate) const HANDSHAKE: u8 = 22;
/// Who those are taken for that have no certificate, where that is the fault.
pub(crate) const ENROLLED: &str = "red";

/// What a client offers.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    /// The version of the message itself.
    pub(crate) version: u16,
    pub(crate) suites: Vec<u16>,
    /// Of the extension that says which versions are supported.
    pub(crate) versions: Vec<u16>,
    /// Whether an earlier session is to be resumed.
    pub(crate) offers_ticket: bool,
}

/// The first record of a connection, or what has come of it; it stays to be read. Nothing if the connection ends.
pub(crate) async fn first_octets(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 5 + (1 << 14)];
    // A client that says no more is looked at as it is.
    for _ in 0..200 {
        let count = stream.peek(&mut buffer).await.ok().filter(|count| *count > 0)?;
        let whole = match buffer {
            _ if buffer[0] != HANDSHAKE => true,
            _ => count >= 5 && count >= 5 + usize::from(u16::from_be_bytes([buffer[3], buffer[4]])),
        };
        if whole {
            buffer.truncate(count);
            return Some(buffer);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    None
}

impl Hello {
    /// Reads a record with a whole ClientHello.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let mut octets = Octets(record);
        if octets.u8()? != HANDSHAKE {
            return None;
        }
        octets.take(4)?;
        if octets.u8()? != 1 {
            return None;
        }
        octets.take(3)?;
        let mut hello = Self { version: octets.u16()?, ..Self::default() };
        octets.take(32)?;
        let session = octets.u8()?;
        octets.take(session.into())?;
        let length = octets.u16()?;
        hello.suites = octets.take(length.into())?.as_chunks().0.iter().map(|suite| u16::from_be_bytes(*suite)).collect();
        let compressions = octets.u8()?;
        octets.take(compressions.into())?;
        let _ = octets.u16();
        while let (Some(kind), Some(length)) = (octets.u16(), octets.u16()) {
            let content = octets.take(length.into())?;
            match kind {
                // session_ticket; empty where one is merely wished for
                35 => hello.offers_ticket |= !content.is_empty(),
                41 => hello.offers_ticket = true,
                43 => {
                    let versions = content.get(1..).unwrap_or_default().as_chunks().0;
                    hello.versions = versions.iter().map(|version| u16::from_be_bytes(*version)).collect();
                }
                _ => {}
            }
        }
        Some(hello)
    }
}

struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }
}

/// The record of a ServerHello and a ServerHelloDone, without a key exchange: enough to see that the offer is taken.
pub(crate) fn server_hello(version: u16, suite: u16) -> Vec<u8> {
    let mut hello = version.to_be_bytes().to_vec();
    let mut random = [0; 32];
    // Any will do, since no key comes of it.
    let _ = aws_lc_rs::rand::fill(&mut random);
    hello.extend(random);
    hello.push(0);
    hello.extend(suite.to_be_bytes());
    hello.push(0);
    let mut messages = vec![2, 0, 0, hello.len() as u8];
    messages.extend(hello);
    messages.extend([14, 0, 0, 0]);
    let mut record = vec![HANDSHAKE];
    record.extend(version.to_be_bytes());
    record.extend((messages.len() as u16).to_be_bytes());
    record.extend(messages);
    record
}
