//! The engine: advertisements are made, flooded, kept equal with the neighbours', and routes computed from them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use itu_y3803::{ApplicationId, KmId, LinkId, RandomSource};

use crate::routing::flooding::{Flooded, Message, Peer, missing};
use crate::routing::lsa::{Label, Limits, Lsa, LsaAuth, Malformed, Version, peek};
use crate::routing::lsdb::{Database, Entry, Header, MAX_AGE, fingerprint};
use crate::routing::metric::{LinkStatus, Metric};
use crate::routing::own::Own;
use crate::routing::paths::Search;
use crate::routing::schedule::{Schedule, SpfDelays};
use crate::routing::select::Held;
use crate::routing::spf::ShortestPaths;
use crate::routing::topology::Topology;

/// Settings of [`LinkStates`].
#[derive(Clone, Debug)]
pub struct Config {
    /// This key manager.
    pub id: KmId,
    /// Counts the starts of this key manager, durably. If the count is lost, the network tells it ([`Output::Boot`]), from what
    /// it holds or remembers of this node.
    pub boot: u64,
    /// What is kept and sent at most.
    pub limits: Limits,
    /// When routes are computed after changes.
    pub delays: SpfDelays,
    /// For how long a route without constraints is kept to, at least, unless it breaks. Up to a quarter longer, unless another is 20 % better.
    pub hold: Duration,
    /// How much dearer than the best a path may be, in percent, to be chosen now and then.
    pub spread: u32,
}

impl Config {
    /// The usual settings, for a first start.
    #[must_use]
    pub fn new(id: KmId) -> Self {
        Self { id, boot: 0, limits: Limits::default(), delays: SpfDelays::default(), hold: Duration::from_secs(10), spread: 10 }
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The authenticated connection to a neighbour is there, or there again.
    PeerUp {
        /// Which neighbour.
        peer: KmId,
    },
    /// The connection is gone.
    PeerDown {
        /// Which neighbour.
        peer: KmId,
    },
    /// A neighbour says something.
    Message {
        /// Who, as authenticated by the connection.
        from: KmId,
        /// What.
        octets: Vec<u8>,
    },
    /// A link of this node, new or changed. More links than the limits allow are left out; one with more labels counts as down.
    Link {
        /// The other end.
        neighbour: KmId,
        /// Which of the links to it.
        link: LinkId,
        /// How it is.
        status: LinkStatus,
        /// What policy may ask for: [`LinkConfig::all_labels`](crate::LinkConfig::all_labels), that of how it is authenticated among them.
        labels: Vec<Label>,
    },
    /// A link of this node is no more.
    LinkGone {
        /// The other end.
        neighbour: KmId,
        /// Which of the links to it.
        link: LinkId,
    },
    /// The applications served here, all of them.
    Applications(BTreeSet<ApplicationId>),
    /// This node leaves the network. It is to run until [`LinkStates::is_settled`].
    Withdraw,
    /// It is time for something.
    Timeout,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// To be sent to a neighbour. May be lost, come late or twice.
    Send {
        /// Which neighbour.
        to: KmId,
        /// What.
        octets: Vec<u8>,
    },
    /// Some routes may have changed.
    Routes,
    /// The network remembers more starts of this key manager than it does itself: to be stored as its count.
    Boot(u64),
    /// A neighbour, or whoever speaks through it, breaks the rules. What it said was dropped.
    Misbehaved {
        /// Which neighbour.
        from: KmId,
        /// How.
        what: Misbehaviour,
    },
}

/// How a neighbour broke the rules. A changed octet on the way looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// No message, or one beyond the limits.
    Malformed,
    /// An advertisement that its originator did not make.
    Forged,
    /// More originators than there is room for.
    TooMany,
}

/// Link-state routing of one node. How to drive it is told in the [module](crate::routing).
#[derive(Debug)]
pub struct LinkStates<M, A, R> {
    pub(super) config: Config,
    metric: M,
    auth: A,
    pub(super) random: R,
    own: Own,
    /// Something of this node changed since it was last asked what it has to say.
    stirred: bool,
    pub(super) database: Database,
    peers: BTreeMap<KmId, Peer>,
    pub(super) topology: Topology,
    pub(super) shortest: ShortestPaths,
    schedule: Schedule,
    /// Originators whose links are not in the topology as they are in the database.
    dirty: BTreeSet<KmId>,
    pub(super) held: BTreeMap<KmId, Held>,
    outputs: VecDeque<Output>,
}

impl<M: Metric, A: LsaAuth, R: RandomSource> LinkStates<M, A, R> {
    /// A node that knows nothing yet. `random` spreads timers and routes; no key is made from it.
    pub fn new(config: Config, metric: M, auth: A, random: R, now: Instant) -> Self {
        let mut topology = Topology::default();
        let root = topology.node(&config.id);
        Self {
            own: Own::new(config.id.clone(), config.boot, now),
            stirred: false,
            database: Database::new(config.limits.originators.min(1 << 16)),
            peers: BTreeMap::new(),
            shortest: ShortestPaths::new(&topology.graph, root),
            topology,
            schedule: Schedule::new(config.delays),
            dirty: BTreeSet::new(),
            held: BTreeMap::new(),
            outputs: VecDeque::new(),
            config,
            metric,
            auth,
            random,
        }
    }

    /// Takes in what happened, and does what is due. `now` never goes back.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::PeerUp { peer } => {
                self.peers.insert(peer, Peer::new(now));
                self.stirred = true;
            }
            Input::PeerDown { peer } => {
                self.peers.remove(&peer);
                self.stirred = true;
            }
            Input::Message { from, octets } => self.receive(now, &from, &octets),
            Input::Link { neighbour, link, mut status, mut labels } => {
                labels.sort_unstable();
                labels.dedup();
                let most = self.config.limits.labels.min(u8::MAX.into());
                // Without its last label it would pass for another.
                status.up &= labels.len() <= most;
                labels.truncate(most);
                let place = (neighbour, link);
                let room = self.own.links.len() < self.config.limits.links || self.own.links.contains_key(&place);
                if place.0 != self.config.id && room {
                    self.own.set_link(place, status, labels);
                    self.stirred = true;
                }
            }
            Input::LinkGone { neighbour, link } => {
                self.own.links.remove(&(neighbour, link));
                self.stirred = true;
            }
            Input::Applications(applications) => {
                self.own.applications = applications.into_iter().take(self.config.limits.applications).collect();
                self.stirred = true;
            }
            Input::Withdraw => {
                self.own.forced |= !self.own.withdrawn;
                self.own.withdrawn = true;
                self.stirred = true;
            }
            Input::Timeout => {}
        }
        self.run(now);
    }

    /// What is to be done, in this order; `None` when nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is wanted at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timers = [self.own.wake, self.database.next_expiry(), self.schedule.due()];
        timers.into_iter().flatten().chain(self.peers.values().map(Peer::next_timeout)).min()
    }

    /// The advertisements here that are not withdrawn, by originator. Nodes that can reach each other come to have the same.
    pub fn advertisements(&self) -> impl Iterator<Item = &Lsa> {
        self.database.entries().map(|entry| &*entry.lsa).filter(|lsa| !lsa.withdrawn)
    }

    /// Where an application is served, by what key managers say: a hint where to ask, not a permission.
    pub fn homes(&self, application: &ApplicationId) -> impl Iterator<Item = &KmId> {
        self.database.homes(application)
    }

    /// Whether all neighbours have acknowledged all that is here.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.own.forced && self.peers.values().all(Peer::is_settled)
    }

    fn run(&mut self, now: Instant) {
        while let Some(origin) = self.database.expire(now) {
            for peer in self.peers.values_mut() {
                peer.settle(&origin);
            }
            self.dirty.insert(origin);
            self.schedule.changed(now);
        }
        if self.stirred || self.own.wake.is_some_and(|wake| wake <= now) {
            self.stirred = false;
            self.originate(now);
        }
        if self.schedule.take(now) {
            self.compute();
        }
        for (peer, state) in &mut self.peers {
            state.poll(&self.database, &self.config.limits, now, &mut |message| {
                self.outputs.push_back(Output::Send { to: peer.clone(), octets: message.to_octets() });
            });
        }
    }

    fn originate(&mut self, now: Instant) {
        let mut jitter = [0; 2];
        self.random.fill(&mut jitter);
        let peers = &self.peers;
        let connected = |peer: &KmId| peers.contains_key(peer);
        let Some(lsa) = self.own.next(now, &self.metric, connected, u16::from_be_bytes(jitter)) else { return };
        let octets = lsa.to_octets();
        let tag = self.auth.tag(&octets);
        self.install(Entry::new(lsa, octets, tag, now, Duration::ZERO), None, now);
    }

    /// Takes a new advertisement, and owes it to all neighbours but the one that it came from.
    fn install(&mut self, entry: Entry, from: Option<&KmId>, now: Instant) {
        let origin = entry.lsa.origin.clone();
        let lsa = entry.lsa.clone();
        let old = self.database.install(entry);
        let links = |lsa: &Lsa| -> Vec<_> {
            lsa.links.iter().map(|link| (link.neighbour.clone(), link.link.clone(), link.cost)).collect()
        };
        if old.map(|old| links(&old.lsa)) != Some(links(&lsa)) {
            self.dirty.insert(origin.clone());
            self.schedule.changed(now);
        }
        for (peer, state) in &mut self.peers {
            if Some(peer) == from {
                state.settle(&origin);
            } else {
                state.owe(origin.clone(), now);
            }
        }
    }

    fn receive(&mut self, now: Instant, from: &KmId, octets: &[u8]) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        let message = match Message::from_octets(octets, &self.config.limits) {
            Ok(message) => message,
            Err(Malformed) => return self.misbehaved(from, Misbehaviour::Malformed),
        };
        match message {
            Message::Flood(flooded) => {
                for one in flooded {
                    if let Err(what) = self.flooded(now, from, one) {
                        self.misbehaved(from, what);
                    }
                }
            }
            Message::Ack(headers) => {
                for header in headers {
                    if self.database.get(&header.origin).is_none_or(|entry| entry.header() == header) {
                        peer.settle(&header.origin);
                    }
                }
            }
            Message::Digest(digest) => peer.asked(digest, now),
            Message::Headers(buckets) => {
                peer.answered(buckets.is_empty(), now);
                for origin in missing(&self.database, &buckets) {
                    peer.lacks(origin, now);
                }
            }
        }
    }

    fn misbehaved(&mut self, from: &KmId, what: Misbehaviour) {
        self.outputs.push_back(Output::Misbehaved { from: from.clone(), what });
    }

    fn flooded(&mut self, now: Instant, from: &KmId, flooded: Flooded) -> Result<(), Misbehaviour> {
        let Flooded { age, octets, tag } = flooded;
        let (origin, version) = peek(&octets).map_err(|_| Misbehaviour::Malformed)?;
        let Some(peer) = self.peers.get_mut(from) else { return Ok(()) };
        let header = Header { origin: origin.clone(), version, fingerprint: fingerprint(&octets) };
        match self.database.compare(&origin, version, &octets) {
            Ordering::Equal => {
                if age >= MAX_AGE {
                    // It dropped this one for an age that may be forged.
                    peer.acknowledge(header);
                    peer.lacks(origin, now);
                } else if !peer.settle(&origin) {
                    // Two that send it to each other need no acknowledgement.
                    peer.acknowledge(header);
                }
                return Ok(());
            }
            Ordering::Less if self.database.get(&origin).is_some() => {
                peer.lacks(origin, now);
                return Ok(());
            }
            Ordering::Less => {
                // An originator that forgot what it said before is to outbid it (RFC 2328 13 (8), 13.4).
                peer.outdated(origin);
                peer.acknowledge(header);
                return Ok(());
            }
            Ordering::Greater if age >= MAX_AGE && self.database.get(&origin).is_none() => {
                // It would be dropped at once. Its age may be forged: a neighbour that has it fresh still gets it through.
                peer.acknowledge(header);
                return Ok(());
            }
            Ordering::Greater => {}
        }
        let lsa = Lsa::from_octets(&octets, &self.config.limits).map_err(|_| Misbehaviour::Malformed)?;
        if !self.auth.verify(&origin, &octets, &tag) {
            return Err(Misbehaviour::Forged);
        }
        if origin == self.config.id {
            self.own_seen(version);
            return Ok(());
        }
        if age >= MAX_AGE {
            // Not acknowledged: a neighbour that has it fresh sends it again.
            self.outdate(Entry::new(lsa, octets, tag, now, age), from, now);
            return Ok(());
        }
        let peer = self.peers.get_mut(from).expect("looked up above");
        if self.database.get(&origin).is_none() && self.database.is_full() {
            peer.acknowledge(header);
            return Err(Misbehaviour::TooMany);
        }
        // Not acknowledged, so it comes again.
        if self.database.on_time(&origin, now) {
            peer.acknowledge(header);
            self.install(Entry::new(lsa, octets, tag, now, age), Some(from), now);
        }
        Ok(())
    }

    /// What is here was said by an originator that has forgotten what it said before: others do not take it. It is dropped, and the
    /// originator is told, by way of the neighbours.
    fn outdate(&mut self, last: Entry, from: &KmId, now: Instant) {
        let origin = last.lsa.origin.clone();
        self.database.outdate(last);
        for (peer, state) in &mut self.peers {
            state.settle(&origin);
            if peer != from {
                state.outdated(origin.clone());
            }
        }
        self.dirty.insert(origin);
        self.schedule.changed(now);
    }

    /// An advertisement of this node's own, newer than what it remembers: it is from before a restart. It is outbid.
    fn own_seen(&mut self, version: Version) {
        if version.boot > self.own.version.boot {
            self.outputs.push_back(Output::Boot(version.boot));
        }
        self.own.version = self.own.version.max(version);
        self.own.forced = true;
        self.stirred = true;
    }

    fn compute(&mut self) {
        let mut changes = Vec::new();
        for origin in std::mem::take(&mut self.dirty) {
            self.topology.update(&self.database, &origin, &mut changes);
            if self.database.get(&origin).is_none() && origin != self.config.id {
                self.topology.forget(&origin);
            }
        }
        if changes.is_empty() {
            return;
        }
        self.shortest.repair(&self.topology.graph, &changes);
        self.held.retain(|to, _| self.database.lsa(to).is_some());
        self.outputs.push_back(Output::Routes);
    }

    pub(super) fn search<'a>(&'a self, constraints: crate::routing::Constraints<'a>) -> Option<Search<'a>> {
        let root = self.topology.number(&self.config.id)?;
        Some(Search { topology: &self.topology, database: &self.database, shortest: &self.shortest, root, constraints })
    }
}
