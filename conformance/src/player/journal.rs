//! What an SAE did on the wire, as far as there is room: how much is kept does not depend on the SAE.

use std::time::Instant;

use time::OffsetDateTime;

use super::hello::First;
use super::kme::Asked;
use super::old_tls::OldTls;
use crate::bounds::{JOURNAL, JOURNAL_OCTETS};
use crate::config::Side;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub(crate) connections: Vec<Connection>,
    pub(crate) requests: Vec<Seen>,
    /// Requests and connections beyond what is kept.
    further_requests: u64,
    further_connections: u64,
    /// Request lines that came without TLS.
    pub(crate) plain: Vec<String>,
    /// When keys were first asked for by ID.
    pub(crate) first_by_id: Option<Instant>,
    /// Since and until when the SAE was heard of, and the same for requests only, kept or not.
    heard: Option<(Instant, Instant)>,
    requested: Option<(Instant, Instant)>,
    supplied: u64,
    answering: u64,
    octets: usize,
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
    /// Octets of the body that the SAE took, so far.
    pub(crate) taken: u64,
    /// The answer is at its end: sent whole, or cut.
    pub(crate) over: bool,
    /// What happened to the answer, if it was not sent whole.
    pub(crate) cut: Option<String>,
}

impl Seen {
    /// About so many octets are kept of it.
    fn octets(&self) -> usize {
        let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
        let asked = self.asked.method.len() + self.asked.target.len() + pairs(&self.asked.headers) + self.asked.body.len();
        asked + pairs(&self.headers) + self.shown.len() + pairs(&self.keys) + size_of::<Self>()
    }
}

impl Journal {
    /// A new connection; gives its number, if it is kept.
    pub(super) fn open(&mut self, side: Side) -> Option<usize> {
        let at = Instant::now();
        self.hear(at);
        if self.connections.len() >= JOURNAL {
            self.further_connections += 1;
            return None;
        }
        self.connections.push(Connection {
            at,
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

    /// A connection for which there was no room.
    pub(super) fn turned_away(&mut self) {
        self.hear(Instant::now());
        self.further_connections += 1;
    }

    pub(super) fn amend(&mut self, connection: Option<usize>, amend: impl FnOnce(&mut Connection)) {
        if let Some(connection) = connection.and_then(|index| self.connections.get_mut(index)) {
            amend(connection);
        }
    }

    /// A new request, which is being answered; gives its number, if it is kept.
    pub(super) fn request(&mut self, seen: Seen) -> Option<usize> {
        self.hear(seen.at);
        self.requested = Some((self.requested.map_or(seen.at, |(first, _)| first), seen.at));
        self.supplied += u64::from(!seen.keys.is_empty());
        self.answering += 1;
        let octets = seen.octets();
        if self.requests.len() >= JOURNAL || self.octets.saturating_add(octets) > JOURNAL_OCTETS {
            self.further_requests += 1;
            return None;
        }
        self.octets += octets;
        self.requests.push(seen);
        Some(self.requests.len() - 1)
    }

    /// So much of an answer was taken so far.
    pub(super) fn taken(&mut self, request: Option<usize>, taken: u64) {
        if let Some(seen) = request.and_then(|index| self.requests.get_mut(index)) {
            seen.taken = taken;
        }
    }

    /// An answer is at its end.
    pub(super) fn answered(&mut self, request: Option<usize>, taken: u64, cut: Option<String>) {
        self.hear(Instant::now());
        self.answering = self.answering.saturating_sub(1);
        if let Some(seen) = request.and_then(|index| self.requests.get_mut(index)) {
            (seen.taken, seen.cut, seen.over) = (taken, cut, true);
        }
    }

    /// A request without TLS.
    pub(super) fn without_tls(&mut self, line: String) {
        self.hear(Instant::now());
        if self.plain.len() < JOURNAL {
            self.plain.push(line);
        }
    }

    fn hear(&mut self, now: Instant) {
        self.heard = Some((self.heard.map_or(now, |(first, _)| first), now));
    }

    /// Answers with keys, from the moment at which they are decided: an SAE that has one finds it counted.
    pub(crate) fn supplied(&self) -> u64 {
        self.supplied
    }

    /// Since and until when something happened.
    pub(crate) fn heard(&self) -> Option<(Instant, Instant)> {
        self.heard
    }

    /// When the first request came, and the last one.
    pub(crate) fn requested(&self) -> Option<(Instant, Instant)> {
        self.requested
    }

    /// All requests, also those that are not kept.
    pub(crate) fn tries(&self) -> u64 {
        self.requests.len() as u64 + self.further_requests
    }

    /// Whether an answer is still on its way.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering > 0
    }

    /// What happened and is not in here.
    pub(crate) fn dropped(&self) -> Option<String> {
        (self.further_requests + self.further_connections > 0).then(|| {
            format!(
                "{} requests and {} connections more than are kept ({JOURNAL} of each, {} MiB) were counted, and not looked at",
                self.further_requests,
                self.further_connections,
                JOURNAL_OCTETS / (1024 * 1024)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(body: usize) -> Seen {
        Seen {
            at: Instant::now(),
            when: OffsetDateTime::now_utc(),
            side: Side::A,
            tls: None,
            asked: Asked { method: String::new(), target: String::new(), headers: Vec::new(), body: vec![0; body], caller: None },
            status: 200,
            headers: Vec::new(),
            shown: String::new(),
            keys: vec![("id".to_owned(), "fingerprint".to_owned())],
            taken: 0,
            over: false,
            cut: None,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let mut journal = Journal::default();
        for _ in 0..100 {
            let number = journal.request(seen(1024 * 1024));
            journal.answered(number, 0, None);
        }
        assert!(journal.requests.len() < 5 && !journal.requests.is_empty());
        assert_eq!((journal.tries(), journal.supplied(), journal.is_answering()), (100, 100, false));
        let mut journal = Journal::default();
        assert!(journal.dropped().is_none());
        for _ in 0..2 * JOURNAL {
            journal.request(seen(0));
            journal.open(Side::B);
            journal.without_tls("GET /".to_owned());
        }
        assert!(journal.requests.len() <= JOURNAL && journal.connections.len() == JOURNAL && journal.plain.len() == JOURNAL);
        assert!(journal.dropped().is_some_and(|what| what.contains(&format!("{JOURNAL} connections more"))));
        let (first, last) = journal.requested().expect("requests");
        assert!(first < last && journal.is_answering());
    }
}
