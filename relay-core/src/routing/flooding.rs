//! What neighbours say to each other to keep their databases equal, and what one has yet to hear from this node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use itu_y3803::KmId;

use crate::encoding::{Reader, Writer};
use crate::routing::lsa::{Limits, MAX_TAG_OCTETS, Malformed, Version, count};
use crate::routing::lsdb::{BUCKETS, Database, Entry, Header, MAX_AGE};

const MESSAGE_VERSION: u8 = 1;
/// First wait for an acknowledgement; doubled up to [`RETRANSMIT_MAX`].
pub(super) const RETRANSMIT: Duration = Duration::from_secs(1);
/// A neighbour that does not answer is not asked more often than that.
pub(super) const RETRANSMIT_MAX: Duration = Duration::from_secs(4);
/// How often databases are compared that seemed to be equal: repairs what nothing else has noticed.
pub(super) const COMPARE: Duration = Duration::from_secs(30);
/// Digests of one neighbour are not answered more often than that.
const ANSWER: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Advertisements, to be acknowledged.
    Flood(Vec<Flooded>),
    /// Have them, or newer ones.
    Ack(Vec<Header>),
    /// The exclusive or of the fingerprints in each bucket; answered by `Headers`.
    Digest(Box<[u64; BUCKETS]>),
    /// All that is in the buckets that differ from a digest; none if none does. Whoever gets it sends what is missing there.
    Headers(Vec<(u8, Vec<Header>)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flooded {
    pub(super) age: Duration,
    pub(super) octets: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

impl Flooded {
    fn of(entry: &Entry, now: Instant) -> Self {
        Self { age: entry.age(now), octets: entry.octets.to_vec(), tag: entry.tag.to_vec() }
    }
}

impl Message {
    pub(super) fn to_octets(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(256);
        out.octet(MESSAGE_VERSION);
        match self {
            Self::Flood(flooded) => {
                out.octet(1);
                out.number(flooded.len() as u64);
                for one in flooded {
                    // One second for the way: an advertisement that went in a circle would end.
                    let age = (one.age.as_secs() + 1).min(MAX_AGE.as_secs());
                    out.0.extend_from_slice(&(age as u16).to_be_bytes());
                    out.octets(&one.octets);
                    out.octets(&one.tag);
                }
            }
            Self::Ack(headers) => {
                out.octet(2);
                write_headers(&mut out, headers);
            }
            Self::Digest(digest) => {
                out.octet(3);
                digest.iter().for_each(|&bucket| out.number(bucket));
            }
            Self::Headers(buckets) => {
                out.octet(4);
                out.number(buckets.len() as u64);
                for (bucket, headers) in buckets {
                    out.octet(*bucket);
                    write_headers(&mut out, headers);
                }
            }
        }
        std::mem::take(&mut *out.0)
    }

    pub(super) fn from_octets(octets: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        if octets.len() > limits.message_octets {
            return Err(Malformed);
        }
        let mut octets = Reader(octets);
        let [MESSAGE_VERSION, kind] = octets.array()? else { return Err(Malformed) };
        let message = match kind {
            1 => {
                let mut flooded = Vec::new();
                for _ in 0..count(&mut octets, limits.originators)? {
                    let age = Duration::from_secs(u16::from_be_bytes(octets.array()?).into()).min(MAX_AGE);
                    let lsa = octets.octets()?.to_vec();
                    let tag = octets.octets()?.to_vec();
                    if tag.len() > MAX_TAG_OCTETS {
                        return Err(Malformed);
                    }
                    flooded.push(Flooded { age, octets: lsa, tag });
                }
                Self::Flood(flooded)
            }
            2 => Self::Ack(read_headers(&mut octets, limits)?),
            3 => {
                let mut digest = Box::new([0; BUCKETS]);
                for bucket in digest.iter_mut() {
                    *bucket = octets.number()?;
                }
                Self::Digest(digest)
            }
            4 => {
                let mut buckets = Vec::new();
                for _ in 0..count(&mut octets, BUCKETS)? {
                    buckets.push((octets.octet()?, read_headers(&mut octets, limits)?));
                }
                Self::Headers(buckets)
            }
            _ => return Err(Malformed),
        };
        octets.end()?;
        Ok(message)
    }
}

fn write_headers(out: &mut Writer, headers: &[Header]) {
    out.number(headers.len() as u64);
    for header in headers {
        out.text(header.origin.as_str());
        out.number(header.version.boot);
        out.number(u64::from(header.version.sequence));
        out.number(header.fingerprint);
    }
}

fn read_headers(octets: &mut Reader<'_>, limits: &Limits) -> Result<Vec<Header>, Malformed> {
    let mut headers = Vec::new();
    for _ in 0..count(octets, limits.originators)? {
        let origin = KmId::new(octets.text()?).map_err(|_| Malformed)?;
        let boot = octets.number()?;
        let sequence = u32::try_from(octets.number()?).map_err(|_| Malformed)?;
        headers.push(Header { origin, version: Version { boot, sequence }, fingerprint: octets.number()? });
    }
    Ok(headers)
}

fn header_octets(header: &Header) -> usize {
    header.origin.as_str().len() + 28
}

/// A neighbour to which there is a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Originators whose advertisement, as it is in the database now, the neighbour has not acknowledged.
    pending: BTreeMap<KmId, Pending>,
    /// No later than the first of them is due.
    next: Option<Instant>,
    /// Originators of which the neighbour has something older than what was dropped here for its age.
    outdated: BTreeSet<KmId>,
    /// When it was told of which: a short message brings a long answer, so not for each.
    told: BTreeMap<KmId, Instant>,
    acks: Vec<Header>,
    compare: Instant,
    compare_wait: Duration,
    answer: Option<Instant>,
    answer_to: Option<Box<[u64; BUCKETS]>>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    due: Instant,
    wait: Duration,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pending: BTreeMap::new(),
            next: None,
            outdated: BTreeSet::new(),
            told: BTreeMap::new(),
            acks: Vec::new(),
            compare: now,
            compare_wait: RETRANSMIT,
            answer: None,
            answer_to: None,
        }
    }

    /// The neighbour is to have the advertisement of this originator, which is new here.
    pub(super) fn owe(&mut self, origin: KmId, now: Instant) {
        self.pending.insert(origin, Pending { due: now, wait: RETRANSMIT });
        self.next = Some(now);
    }

    /// The neighbour lacks it; if it was sent just now, that is no news.
    pub(super) fn lacks(&mut self, origin: KmId, now: Instant) {
        if !self.pending.contains_key(&origin) {
            self.owe(origin, now);
        }
    }

    /// The neighbour has it, or it is no more; whether this was awaited.
    pub(super) fn settle(&mut self, origin: &KmId) -> bool {
        self.pending.remove(origin).is_some()
    }

    /// The neighbour is to be told once what was dropped here for its age.
    pub(super) fn outdated(&mut self, origin: KmId) {
        self.outdated.insert(origin);
    }

    pub(super) fn acknowledge(&mut self, header: Header) {
        self.acks.push(header);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// The neighbour compared its database with that of this node.
    pub(super) fn asked(&mut self, digest: Box<[u64; BUCKETS]>, now: Instant) {
        self.answer_to = Some(digest);
        self.answer = Some(self.answer.unwrap_or(now).max(now));
    }

    /// The neighbour's answer to a digest: whether it had found nothing.
    pub(super) fn answered(&mut self, equal: bool, now: Instant) {
        self.compare_wait = RETRANSMIT;
        self.compare = now + if equal { COMPARE } else { RETRANSMIT_MAX };
    }

    pub(super) fn next_timeout(&self) -> Instant {
        let answer = self.answer.filter(|_| self.answer_to.is_some());
        self.next.into_iter().chain(answer).fold(self.compare, Instant::min)
    }

    /// What to say to the neighbour now.
    pub(super) fn poll(&mut self, database: &Database, limits: &Limits, now: Instant, say: &mut impl FnMut(Message)) {
        for acks in pack(std::mem::take(&mut self.acks), limits, header_octets) {
            say(Message::Ack(acks));
        }
        self.told.retain(|_, at| now < *at + RETRANSMIT);
        let mut outdated = std::mem::take(&mut self.outdated);
        outdated.retain(|origin| !self.told.contains_key(origin));
        self.told.extend(outdated.iter().map(|origin| (origin.clone(), now)));
        let mut flooded: Vec<_> = outdated.iter().filter_map(|origin| Some(Flooded::of(database.floor(origin)?, now))).collect();
        if self.next.is_some_and(|next| next <= now) {
            flooded.extend(self.due(database, now));
        }
        for flood in pack(flooded, limits, |one| one.octets.len() + one.tag.len() + 10) {
            say(Message::Flood(flood));
        }
        if self.compare <= now {
            self.compare = now + self.compare_wait;
            self.compare_wait = (self.compare_wait * 2).min(RETRANSMIT_MAX);
            say(Message::Digest(Box::new(*database.digest())));
        }
        if self.answer.is_some_and(|answer| answer <= now)
            && let Some(digest) = self.answer_to.take()
        {
            self.answer = Some(now + ANSWER);
            let differing = database.in_buckets(|bucket| database.digest()[bucket] != digest[bucket]);
            let differing: Vec<_> = differing.into_iter().map(|(bucket, headers)| (bucket as u8, headers)).collect();
            if differing.is_empty() {
                say(Message::Headers(Vec::new()));
            }
            for buckets in pack(differing, limits, |(_, headers)| 9 + headers.iter().map(header_octets).sum::<usize>()) {
                say(Message::Headers(buckets));
            }
        }
    }

    fn due(&mut self, database: &Database, now: Instant) -> Vec<Flooded> {
        let mut due = Vec::new();
        self.pending.retain(|origin, pending| {
            let Some(entry) = database.get(origin) else { return false };
            if pending.due <= now {
                *pending = Pending { due: now + pending.wait, wait: (pending.wait * 2).min(RETRANSMIT_MAX) };
                due.push(Flooded::of(entry, now));
            }
            true
        });
        self.next = self.pending.values().map(|pending| pending.due).min();
        due
    }
}

/// Splits into messages that keep to the limits.
fn pack<T>(items: Vec<T>, limits: &Limits, octets: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut messages: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = octets(&item);
        match messages.last_mut() {
            Some(message) if size <= room && message.len() < limits.originators => message.push(item),
            _ => {
                // version, kind, count
                room = limits.message_octets.saturating_sub(10);
                messages.push(vec![item]);
            }
        }
        room = room.saturating_sub(size);
    }
    messages
}

/// The originators that `theirs` lacks or has older, of the buckets it is of.
pub(super) fn missing(database: &Database, theirs: &[(u8, Vec<Header>)]) -> Vec<KmId> {
    let buckets: BTreeSet<usize> = theirs.iter().map(|(bucket, _)| usize::from(*bucket)).collect();
    let known: BTreeMap<&KmId, &Header> =
        theirs.iter().flat_map(|(_, headers)| headers).map(|header| (&header.origin, header)).collect();
    let ours = database.in_buckets(|bucket| buckets.contains(&bucket)).into_values().flatten();
    ours.filter(|ours| match known.get(&ours.origin) {
        None => true,
        Some(theirs) => {
            theirs.version < ours.version || (theirs.version == ours.version && theirs.fingerprint != ours.fingerprint)
        }
    })
    .map(|header| header.origin)
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages() -> Vec<Message> {
        let header = |origin: &str| Header {
            origin: KmId::new(origin).expect("valid"),
            version: Version { boot: 1, sequence: 2 },
            fingerprint: 3,
        };
        let flooded = |age| Flooded { age: Duration::from_secs(age), octets: vec![1; 40], tag: vec![2; 16] };
        vec![
            Message::Flood(vec![flooded(0), flooded(1_800)]),
            Message::Ack(vec![header("north"), header("south")]),
            Message::Digest(Box::new([7; BUCKETS])),
            Message::Headers(vec![(0, vec![]), (255, vec![header("east")])]),
        ]
    }

    #[test]
    fn what_is_written_is_read_again_a_second_older() {
        let limits = Limits::default();
        for mut message in messages() {
            let octets = message.to_octets();
            for length in 0..octets.len() {
                assert_eq!(Message::from_octets(&octets[..length], &limits), Err(Malformed), "{length}");
            }
            assert_eq!(Message::from_octets(&[&octets[..], &[0]].concat(), &limits), Err(Malformed));
            if let Message::Flood(flooded) = &mut message {
                flooded.iter_mut().for_each(|one| one.age += Duration::from_secs(1));
            }
            assert_eq!(Message::from_octets(&octets, &limits), Ok(message));
        }
    }

    #[test]
    fn messages_keep_to_the_limit() {
        let limits = Limits { message_octets: 1_000, ..Limits::default() };
        for flood in pack(vec![Flooded { age: Duration::ZERO, octets: vec![0; 300], tag: vec![0; 20] }; 10], &limits, |one| {
            one.octets.len() + one.tag.len() + 10
        }) {
            let octets = Message::Flood(flood).to_octets();
            assert!(octets.len() <= 1_000 && Message::from_octets(&octets, &limits).is_ok(), "{}", octets.len());
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets: Vec<u8>, at in 0_usize..3_000, octet: u8) {
            let limits = Limits::default();
            let _ = Message::from_octets(&octets, &limits);
            for message in messages() {
                let mut changed = message.to_octets();
                let at = at % changed.len();
                changed[at] = octet;
                let _ = Message::from_octets(&changed, &limits);
            }
        }
    }
}
