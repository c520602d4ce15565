//! One node among neighbours that the tests play: a test for each rule.

mod flooding;
mod origination;
mod routes;

use std::time::{Duration, Instant};

use itu_y3803::{KmId, LinkId};

use super::flooding::{Flooded, Message};
use super::lsa::peek;
use super::lsdb::{Header, fingerprint};
use super::*;

pub(super) struct TestAuth(KmId);

fn mac(origin: &KmId, octets: &[u8]) -> Vec<u8> {
    fingerprint(&[origin.as_str().as_bytes(), octets].concat()).to_be_bytes().to_vec()
}

impl LsaAuth for TestAuth {
    fn tag(&mut self, lsa: &[u8]) -> Vec<u8> {
        mac(&self.0, lsa)
    }

    fn verify(&mut self, origin: &KmId, lsa: &[u8], tag: &[u8]) -> bool {
        tag == mac(origin, lsa)
    }
}

fn km(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

fn link(id: &str) -> LinkId {
    LinkId::new(id).expect("valid")
}

fn advert(neighbour: &str, name: &str, cost: u16) -> LinkAdvert {
    LinkAdvert {
        neighbour: km(neighbour),
        link: link(name),
        cost: Cost::new(cost),
        key_class: if cost > 0 { FULL_CLASS } else { 0 },
        rate_class: 10,
        labels: Vec::new(),
    }
}

/// With links named `1` to these neighbours.
fn lsa(origin: &str, sequence: u32, links: &[(&str, u16)]) -> Lsa {
    let mut links: Vec<_> = links.iter().map(|&(neighbour, cost)| advert(neighbour, "1", cost)).collect();
    links.sort_by(|a, b| (&a.neighbour, &a.link).cmp(&(&b.neighbour, &b.link)));
    Lsa { origin: km(origin), version: Version { boot: 0, sequence }, withdrawn: false, links, applications: Vec::new() }
}

fn flooded(lsa: &Lsa, age: u64) -> Flooded {
    let octets = lsa.to_octets();
    let tag = mac(&lsa.origin, &octets);
    Flooded { age: Duration::from_secs(age), octets, tag }
}

fn header(lsa: &Lsa) -> Header {
    Header { origin: lsa.origin.clone(), version: lsa.version, fingerprint: fingerprint(&lsa.to_octets()) }
}

/// Stored, in percent.
fn status(percent: u64) -> LinkStatus {
    LinkStatus {
        up: true,
        stored: percent * 1_000,
        target: 100_000,
        floor: 0,
        rate: 1_000,
        consumption: 1_000,
        authentication: true,
    }
}

type Random = fn(&mut [u8]);
type Node = LinkStates<FillMetric, TestAuth, Random>;

/// The node `here`, its clock, and what it said.
struct Bench {
    now: Instant,
    node: Node,
    said: Vec<(String, Message)>,
    others: Vec<Output>,
}

impl Bench {
    fn new(peers: &[&str]) -> Self {
        Self::with(Config::new(km("here")), peers)
    }

    fn with(config: Config, peers: &[&str]) -> Self {
        let now = Instant::now();
        let auth = TestAuth(config.id.clone());
        let node = LinkStates::new(config, FillMetric::default(), auth, (|out| out.fill(0)) as Random, now);
        let mut bench = Self { now, node, said: Vec::new(), others: Vec::new() };
        for peer in peers {
            bench.input(Input::PeerUp { peer: km(peer) });
        }
        bench.input(Input::Timeout);
        // its own first advertisement is known to all
        for peer in peers {
            bench.acknowledge_own(peer);
        }
        bench.said.clear();
        bench
    }

    fn input(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, octets } => {
                    let message = Message::from_octets(&octets, &Limits::default()).expect("own messages are read");
                    self.said.push((to.as_str().to_owned(), message));
                }
                other => self.others.push(other),
            }
        }
    }

    fn hear(&mut self, from: &str, message: &Message) {
        self.input(Input::Message { from: km(from), octets: message.to_octets() });
    }

    fn flood(&mut self, from: &str, lsa: &Lsa) {
        self.hear(from, &Message::Flood(vec![flooded(lsa, 0)]));
    }

    fn link(&mut self, neighbour: &str, name: &str, status: LinkStatus) {
        self.input(Input::Link { neighbour: km(neighbour), link: link(name), status, labels: Vec::new() });
    }

    fn own(&self) -> Lsa {
        self.find("here").expect("made at the start")
    }

    fn acknowledge_own(&mut self, peer: &str) {
        let own = header(&self.own());
        self.hear(peer, &Message::Ack(vec![own]));
    }

    fn find(&self, origin: &str) -> Option<Lsa> {
        self.node.advertisements().find(|lsa| lsa.origin.as_str() == origin).cloned()
    }

    fn sequence(&self, origin: &str) -> Option<u32> {
        self.find(origin).map(|lsa| lsa.version.sequence)
    }

    /// Runs for so long, on all its timers.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.node.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            let before = self.node.poll_timeout();
            self.input(Input::Timeout);
            assert_ne!(self.node.poll_timeout().filter(|&next| next <= self.now), before, "a timer that does nothing");
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    fn ms(&mut self, milliseconds: u64) {
        self.wait(Duration::from_millis(milliseconds));
    }

    fn seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// The advertisements sent to a neighbour since asked last, as origin and sequence.
    fn sent(&mut self, to: &str) -> Vec<(String, u32)> {
        let mut sent = Vec::new();
        self.said.retain(|(peer, message)| {
            let Message::Flood(flooded) = message else { return true };
            if peer == to {
                sent.extend(flooded.iter().map(|one| {
                    let lsa = Lsa::from_octets(&one.octets, &Limits::default()).expect("own");
                    (lsa.origin.as_str().to_owned(), lsa.version.sequence)
                }));
            }
            peer != to
        });
        sent
    }

    fn acks(&mut self, to: &str) -> usize {
        let acks = |message: &Message| if let Message::Ack(headers) = message { headers.len() } else { 0 };
        let number = self.said.iter().filter(|(peer, _)| peer == to).map(|(_, message)| acks(message)).sum();
        self.said.retain(|(peer, message)| peer != to || acks(message) == 0);
        number
    }
}

fn sent(list: &[(&str, u32)]) -> Vec<(String, u32)> {
    list.iter().map(|&(origin, sequence)| (origin.to_owned(), sequence)).collect()
}
