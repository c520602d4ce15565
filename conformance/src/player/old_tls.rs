//! A server that chooses TLS 1.1, convincingly enough to see whether a client goes along.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::hello::Hello;

/// What the client made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OldTls {
    /// It offers this version at most.
    OffersAtMost(u16),
    /// It offers no cipher suite that TLS 1.1 has, so it cannot go along.
    NoSuite,
    Refused(String),
    /// It went on with the handshake.
    WentOn,
    /// It neither refused nor went on.
    Waits,
}

/// RSA key exchange needs no signature of TLS 1.1, so the whole flight can be sent.
const RSA: [u16; 3] = [0x002f, 0x0035, 0x000a];
const OTHERS: [u16; 8] = [0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0xc008, 0xc012];

/// Plays it to the first reaction of the client. `certificate`: DER with an RSA key.
pub(super) fn play(tcp: &mut TcpStream, hello: &Hello, certificate: &[u8]) -> OldTls {
    // What was looked at has to be read.
    let mut sink = [0; 64 * 1024];
    let _ = tcp.read(&mut sink);
    if hello.versions.is_empty() && hello.legacy_version <= 0x0302 {
        let _ = tcp.write_all(&[21, 3, 1, 0, 2, 2, 70]);
        return OldTls::OffersAtMost(hello.legacy_version);
    }
    let offered = |suites: &[u16]| suites.iter().copied().find(|suite| hello.suites.contains(suite));
    let (suite, whole) = match (offered(&RSA), offered(&OTHERS)) {
        (Some(suite), _) => (suite, true),
        (None, Some(suite)) => (suite, false),
        (None, None) => {
            let _ = tcp.write_all(&[21, 3, 1, 0, 2, 2, 70]);
            return OldTls::NoSuite;
        }
    };
    let mut random = [0; 32];
    if aws_lc_rs::rand::fill(&mut random).is_err() || tcp.write_all(&flight(suite, &random, hello, certificate, whole)).is_err() {
        return OldTls::Refused("the connection was closed".to_owned());
    }
    let _ = tcp.set_read_timeout(Some(Duration::from_secs(3)));
    let mut record = [0; 7];
    let mut read = 0;
    while read < record.len() {
        match tcp.read(&mut record[read..]) {
            Ok(0) => return OldTls::Refused("the connection was closed".to_owned()),
            Ok(count) => read += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return OldTls::Waits,
            Err(_) => return OldTls::Refused("the connection was reset".to_owned()),
        }
    }
    match record[0] {
        21 => OldTls::Refused(format!("alert {}", record[6])),
        _ => OldTls::WentOn,
    }
}

fn flight(suite: u16, random: &[u8; 32], hello: &Hello, certificate: &[u8], whole: bool) -> Vec<u8> {
    let extensions: &[u8] = if hello.renegotiation { &[0, 5, 0xff, 1, 0, 1, 0] } else { &[] };
    let body = [&[3, 2], &random[..], &[0], &suite.to_be_bytes(), &[0], extensions].concat();
    let mut octets = record(&message(2, &body));
    if whole {
        let one = [&long(certificate.len())[..], certificate].concat();
        octets.extend(record(&message(11, &[&long(one.len())[..], &one].concat())));
        octets.extend(record(&message(14, &[])));
    }
    octets
}

fn long(length: usize) -> [u8; 3] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c]
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &long(body.len()), body].concat()
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[22, 3, 2][..], &length, message].concat()
}
