//! What a server grants its peers.

use std::time::Duration;

/// What a server grants its peers. All counts are per server, all octets are counted without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time whose handshake is done. One beyond that is closed at once. Default 1024.
    pub connections: usize,
    /// The same from one address (an IPv6 /64 counts as one). Default 512: room for many peers behind one address translator,
    /// and no address takes all places.
    pub connections_per_address: usize,
    /// Handshakes at the same time. For one beyond that, the oldest goes of the address that has the most of them: so those who
    /// say nothing keep out nobody but each other. Default 1024.
    pub handshakes: usize,
    /// Time for the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// Time for a request head: after the handshake for the first one, after its first octet for the others. Default 10 s.
    pub head: Duration,
    /// Time for a request body, after the head. Default 10 s.
    pub body: Duration,
    /// Time between requests on a kept-alive connection. It includes the sending of the response, so a peer that does not
    /// take its response is cut off as well. Default 60 s.
    pub idle: Duration,
    /// How long a connection is used, however busy; it ends after the request under way. Never longer than the peer's certificate
    /// is valid: that, and whether it has been revoked, is looked at when a connection begins. Default 1 h.
    pub age: Duration,
    /// Time granted to requests in flight when the server stops. Default 10 s.
    pub drain: Duration,
    /// Octets of a request head. More is answered with 431. Default 16384.
    pub head_octets: usize,
    /// Header fields of a request. More is answered with 431. Default 100; other values cost an allocation per request.
    pub header_fields: usize,
    /// Octets of a request body. More is answered with [`Handler::too_large`](super::Handler::too_large). Default 1 MiB.
    pub body_octets: usize,
    /// Requests at the same time on one HTTP/2 connection. Default 128.
    pub http2_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 512,
            handshakes: 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            age: Duration::from_secs(3600),
            drain: Duration::from_secs(10),
            head_octets: 16 * 1024,
            header_fields: HYPER_HEADER_FIELDS,
            body_octets: 1024 * 1024,
            http2_streams: 128,
        }
    }
}

/// How many header fields hyper parses without being told.
pub(super) const HYPER_HEADER_FIELDS: usize = 100;
