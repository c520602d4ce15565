//! A connection to a KME as one SAE.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustls::ClientConfig;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::books::Drawn;
use super::{Answer, Api, Key, Kme, Lab, Request, evidence};
use crate::ctx::Stop;
use crate::secret::is_uuid;
use crate::wire::{OURS, Stream, TlsFacts, WireError, read_response};

/// See the module. Requests may be sent before earlier ones are answered.
pub(crate) struct Session<'a> {
    lab: &'a Lab,
    who: String,
    kme: &'a Kme,
    stream: Result<Stream, WireError>,
    tls: Option<TlsFacts>,
    buffer: Vec<u8>,
    waiting: VecDeque<Sent>,
}

struct Sent {
    request: Request,
    at: OffsetDateTime,
    started: Instant,
    failed: Option<WireError>,
}

impl<'a> Session<'a> {
    pub(super) fn open(lab: &'a Lab, who: &str, kme: &'a Kme, tls: Option<Arc<ClientConfig>>) -> Self {
        let deadline = Instant::now() + lab.config.limits.connect();
        let stream = match tls {
            Some(config) => Stream::secure(&kme.url, config, deadline),
            None => Stream::plain(&kme.url, deadline),
        };
        if matches!(stream, Err(WireError::Connect(_))) {
            lab.refused.fetch_add(1, Ordering::SeqCst);
        }
        Self::on(lab, who, kme, stream)
    }

    /// On a connection that a case made itself.
    pub(crate) fn on(lab: &'a Lab, who: &str, kme: &'a Kme, stream: Result<Stream, WireError>) -> Self {
        let tls = stream.as_ref().ok().and_then(Stream::tls_facts);
        Self { lab, who: who.to_owned(), kme, stream, tls, buffer: Vec::new(), waiting: VecDeque::new() }
    }

    pub(crate) fn error(&self) -> Option<&WireError> {
        self.stream.as_ref().err()
    }

    pub(crate) fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut().ok()
    }

    /// Resets the connection; what was asked and not answered is entered as lost.
    pub(crate) fn reset(mut self) -> Result<(), Stop> {
        let lost = WireError::Closed(OURS.to_owned());
        if let Ok(stream) = std::mem::replace(&mut self.stream, Err(lost)) {
            stream.reset();
        }
        while !self.waiting.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Answer, Stop> {
        self.send(request)?;
        self.receive()
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: Request) -> Result<(), Stop> {
        self.lab.admit(&request)?;
        let octets = request.octets(&self.kme.url.prefix, &self.kme.url.authority());
        let mut sent = Sent { request, at: OffsetDateTime::now_utc(), started: Instant::now(), failed: None };
        let deadline = Instant::now() + self.lab.config.limits.response();
        sent.failed = match &mut self.stream {
            // A KME may answer and close before it has read everything: the answer is still to be read.
            Ok(stream) => stream.write(&octets, deadline).err(),
            Err(error) => Some(error.clone()),
        };
        self.waiting.push_back(sent);
        Ok(())
    }

    /// A request whose octets a case has sent itself.
    pub(crate) fn sent_already(&mut self, request: Request) -> Result<(), Stop> {
        self.lab.admit(&request)?;
        self.waiting.push_back(Sent { request, at: OffsetDateTime::now_utc(), started: Instant::now(), failed: None });
        Ok(())
    }

    /// Reads the answer to the oldest request.
    pub(crate) fn receive(&mut self) -> Result<Answer, Stop> {
        let deadline = Instant::now() + self.lab.config.limits.response();
        self.receive_by(deadline)
    }

    /// The same with a deadline of one's own.
    pub(crate) fn receive_by(&mut self, deadline: Instant) -> Result<Answer, Stop> {
        let sent = self.waiting.pop_front().ok_or_else(|| Stop::Error("nothing was asked".to_owned()))?;
        let outcome = match &mut self.stream {
            Err(error) => Err(error.clone()),
            Ok(stream) => {
                let read = read_response(stream, &mut self.buffer, sent.request.method == "HEAD", deadline);
                match (read, sent.failed) {
                    (Ok(response), _) => Ok(response),
                    // Why nothing could be sent tells more than that nothing was answered.
                    (Err(WireError::Closed(_)), Some(failed)) => Err(failed),
                    (Err(error), _) => Err(error),
                }
            }
        };
        // What follows may be the next answer.
        let pipelined = !self.waiting.is_empty();
        let outcome = outcome.map(|mut response| {
            if pipelined {
                response.framing.retain(|fault| !fault.ends_with("follow the body"));
            }
            response
        });
        let mut answer = Answer::read(sent.request.api, outcome, &self.lab.vault);
        answer.n = self.lab.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
        answer.at = sent.at;
        answer.took = sent.started.elapsed();
        answer.tls.clone_from(&self.tls);
        answer.shown = evidence::shown(&answer, &self.lab.vault);
        answer.stimulus = self.lab.stimulus(&self.who, &sent.request);
        self.lab.account(&self.who, self.kme, &sent.request, &answer);
        Ok(answer)
    }
}

impl Lab {
    /// What a request is known by when it is sent again: all of it but the IDs of keys, which are others each time.
    fn stimulus(&self, who: &str, request: &Request) -> u64 {
        let ledger = self.ledger();
        let mut hasher = DefaultHasher::new();
        (who, request.api as u8, &request.method, &request.headers, request.body.is_some()).hash(&mut hasher);
        let octets = [request.target.as_bytes(), request.body.as_deref().or(request.raw.as_deref()).unwrap_or_default()];
        for octets in octets {
            for word in octets.split_inclusive(|octet| !octet.is_ascii_alphanumeric() && *octet != b'-') {
                let (id, end) = word.split_at(word.len() - usize::from(word.last().is_some_and(|c| !c.is_ascii_alphanumeric())));
                let is_key = std::str::from_utf8(id).is_ok_and(|id| is_uuid(id) || ledger.find(id).is_some());
                (if is_key { b"" } else { id }, end).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Enters an exchange into all books.
    fn account(&self, who: &str, kme: &Kme, request: &Request, answer: &Answer) {
        let case = self.current.load(Ordering::SeqCst);
        if request.worst_keys > 0 {
            let reserved = (request.worst_keys, self.worst_bits(request));
            let bits = answer.keys.iter().map(Key::bits).fold(0, u64::saturating_add);
            // No answer, or keys that cannot be read: as many may have been delivered as could be.
            let delivered = match &answer.outcome {
                Ok(_) if answer.keys.len() as u64 == answer.material => (answer.material, bits),
                Ok(_) => (answer.material, reserved.1),
                Err(_) => reserved,
            };
            self.budget().settle(reserved, delivered);
        }
        if answer.is_lost() {
            super::lock(&self.lost).insert(answer.stimulus);
        }
        if let Err(error) = &answer.outcome {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            if error.is_silence() {
                self.met_silence();
            }
        }
        let sae_id = self.sae(who).map_or(who, |sae| sae.id.as_str());
        {
            let mut ledger = self.ledger();
            let mut passive = self.passive();
            passive.observe(who, kme, request, answer, &ledger, &self.vault);
            if !matches!(request.api, Api::GetKey | Api::Status) {
                ledger.asked_for(request);
            }
            for key in &answer.keys {
                if request.api == Api::GetKeyWithIds || ledger.find(&key.id).is_some_and(|drawn| drawn.master != sae_id) {
                    ledger.retrieve(&key.id, sae_id);
                } else {
                    ledger.draw(Drawn {
                        id: key.id.clone(),
                        bits: key.bits(),
                        fingerprint: key.fingerprint,
                        at: kme.side,
                        master: sae_id.to_owned(),
                        slaves: request.peers.clone(),
                        case,
                        plain: request.api == Api::GetKey && !request.fault,
                        time: answer.at.format(&Rfc3339).unwrap_or_default(),
                        retrieved: std::collections::BTreeSet::new(),
                    });
                }
            }
        }
        super::lock(&self.evidence).push(evidence::exchange(who, kme, request, answer, &self.vault));
    }
}
