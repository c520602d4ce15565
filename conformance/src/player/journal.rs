//! What an SAE did on the wire.

use std::time::Instant;

use time::OffsetDateTime;

use super::hello::First;
use super::kme::Asked;
use super::old_tls::OldTls;
use crate::config::Side;

/// Requests and connections kept of one stage; more are counted.
const KEPT: usize = 2000;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) connections: Vec<Connection>,
    pub(crate) requests: Vec<Seen>,
    /// Beyond what is kept.
    pub(crate) further: u64,
    /// Request lines that came without TLS.
    pub(crate) plain: Vec<String>,
    /// When keys were first asked for by ID.
    pub(crate) first_by_id: Option<Instant>,
}

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) at: Instant,
    pub(crate) when: OffsetDateTime,
    pub(crate) side: Side,
    pub(crate) first: First,
    /// Version and suite, once the handshake was made.
    pub(crate) tls: Option<String>,
    /// Common name of the client's certificate.
    pub(crate) client: Option<String>,
    /// Why it ended, if that was no orderly end.
    pub(crate) failed: Option<String>,
    pub(crate) old: Option<OldTls>,
}

/// One request and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) when: OffsetDateTime,
    pub(crate) side: Side,
    pub(crate) tls: Option<String>,
    pub(crate) asked: Asked,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The answer's body, without keys.
    pub(crate) shown: String,
    /// ID and fingerprint of each key in the answer, as it was in it.
    pub(crate) keys: Vec<(String, String)>,
    /// Octets of the body that the SAE took.
    pub(crate) taken: u64,
    /// What happened to the answer, if it was not sent whole.
    pub(crate) cut: Option<String>,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { connections: Vec::new(), requests: Vec::new(), further: 0, plain: Vec::new(), first_by_id: None }
    }

    /// A new connection; gives its number.
    pub(super) fn open(&mut self, side: Side) -> Option<usize> {
        if self.connections.len() >= KEPT {
            self.further += 1;
            return None;
        }
        self.connections.push(Connection {
            at: Instant::now(),
            when: OffsetDateTime::now_utc(),
            side,
            first: First::Partial,
            tls: None,
            client: None,
            failed: None,
            old: None,
        });
        Some(self.connections.len() - 1)
    }

    pub(super) fn amend(&mut self, connection: Option<usize>, amend: impl FnOnce(&mut Connection)) {
        if let Some(connection) = connection.and_then(|index| self.connections.get_mut(index)) {
            amend(connection);
        }
    }

    pub(super) fn request(&mut self, seen: Seen) -> Option<usize> {
        if self.requests.len() >= KEPT {
            self.further += 1;
            return None;
        }
        self.requests.push(seen);
        Some(self.requests.len() - 1)
    }

    /// Answers with keys, from the moment at which they are decided: an SAE that has one finds it counted.
    pub(crate) fn supplied(&self) -> u64 {
        self.requests.iter().filter(|seen| !seen.keys.is_empty()).count() as u64
    }

    /// When something last happened.
    pub(crate) fn last(&self) -> Option<Instant> {
        let connected = self.connections.iter().map(|connection| connection.at).max();
        connected.max(self.requests.iter().map(|seen| seen.at).max())
    }
}
