//! Between the nodes: connections, and the messages on them.

use std::collections::{BTreeMap, BTreeSet};

use itu_y3803::KmMessage;
use itu_y3803::message::{Body, RelayStep};
use relay_core::{Input, routing};

use super::{MICROS, Step, World};

/// What one node sends to another.
pub(super) enum Envelope {
    KeyManager(Box<KmMessage>),
    Router(Vec<u8>),
}

impl World {
    /// Sends on its way what may arrive, late or twice, or not.
    pub(super) fn send(&mut self, from: usize, to: usize, envelope: Envelope) {
        self.report.messages += 1;
        self.count_advertisements(&envelope);
        let Some(delay) = self.delay(from, to) else {
            self.report.lost += 1;
            return;
        };
        let connection = self.connections.get(&pair(from, to)).copied();
        let noisy = self.settings.faults.messages && self.is_busy();
        if !noisy {
            return self.after(delay, Step::Deliver { from, to, connection, envelope });
        }
        if self.random.one_in(20) {
            self.report.lost += 1;
            return;
        }
        let twice = self.random.one_in(10).then(|| again(&envelope)).flatten();
        self.report.repeated += u64::from(twice.is_some());
        for envelope in [Some(envelope), twice].into_iter().flatten() {
            let envelope = if self.random.one_in(50) { self.corrupt(envelope) } else { envelope };
            let late = if self.random.one_in(8) { self.random.below(3 * MICROS / 2) } else { self.random.below(2_000) };
            self.after(delay + late, Step::Deliver { from, to, connection, envelope });
        }
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, connection: Option<u64>, envelope: Envelope) {
        // What a connection had in it when it broke does not come out of the next one.
        if self.connections.get(&pair(from, to)).copied() != connection || self.nodes[to].engines.is_none() {
            self.report.lost += 1;
            return;
        }
        let sender = self.nodes[from].id.clone();
        match envelope {
            Envelope::Router(octets) => self.feed_router(to, routing::Input::Message { from: sender, octets }),
            Envelope::KeyManager(message) => {
                let greets = matches!(message.body, Body::Hello(_)) && self.nodes[from].incarnation == Some(message.sender);
                let life = self.nodes[to].life;
                self.feed_key_manager(to, Input::Message { from: sender, message: *message });
                // It has not crashed over it, so now it knows who came with another disk.
                if greets && self.nodes[to].life == life {
                    self.learnt_of_lost_disk(to, from);
                }
            }
        }
    }

    /// How long a message takes: along connections, by the fewest of them. `None` when none lead there.
    pub(super) fn delay(&self, from: usize, to: usize) -> Option<u64> {
        let direct = self.neighbours[from].iter().find(|&&(peer, _)| peer == to && self.is_connected(from, to));
        if let Some(&(_, link)) = direct {
            return Some(self.links[link].delay);
        }
        let mut delays = BTreeMap::from([(from, 0)]);
        let mut nearest = vec![from];
        while !nearest.is_empty() && !delays.contains_key(&to) {
            let mut next = Vec::new();
            for node in nearest {
                for &(peer, link) in self.neighbours[node].iter().filter(|&&(peer, _)| self.is_connected(node, peer)) {
                    if !delays.contains_key(&peer) {
                        delays.insert(peer, delays[&node] + self.links[link].delay);
                        next.push(peer);
                    }
                }
            }
            nearest = next;
        }
        delays.get(&to).copied()
    }

    pub(super) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connections.contains_key(&pair(a, b))
    }

    /// The two ends of a link can talk, if both run.
    pub(super) fn connect(&mut self, link: usize) {
        let [a, b] = self.links[link].ends;
        let both_run = self.nodes[a].engines.is_some() && self.nodes[b].engines.is_some();
        if !both_run || self.is_connected(a, b) {
            return;
        }
        let number = self.number();
        self.connections.insert(pair(a, b), number);
        for (here, there) in [(a, b), (b, a)] {
            if self.connections.get(&pair(a, b)) != Some(&number) {
                // The first to hear of it has crashed over it.
                return;
            }
            let peer = self.nodes[there].id.clone();
            self.feed_router(here, routing::Input::PeerUp { peer: peer.clone() });
            self.feed_key_manager(here, Input::PeerUp { peer });
        }
    }

    pub(super) fn disconnect(&mut self, link: usize) {
        let [a, b] = self.links[link].ends;
        if self.connections.remove(&pair(a, b)).is_none() {
            return;
        }
        for (here, there) in [(a, b), (b, a)] {
            let peer = self.nodes[there].id.clone();
            self.feed_router(here, routing::Input::PeerDown { peer: peer.clone() });
            self.feed_key_manager(here, Input::PeerDown { peer });
        }
    }

    /// One bit is not what it was. Connections notice that; here it is passed on, to see that the engines do, too.
    fn corrupt(&mut self, envelope: Envelope) -> Envelope {
        let bit = 1 << self.random.below(8);
        match envelope {
            Envelope::Router(mut octets) if !octets.is_empty() => {
                let at = self.random.below(octets.len() as u64) as usize;
                octets[at] ^= bit;
                self.report.corrupted += 1;
                Envelope::Router(octets)
            }
            Envelope::KeyManager(mut message) => {
                if let Body::SupplyNotification(told) = &mut message.body
                    && !told.sealed.is_empty()
                {
                    let at = self.random.below(told.sealed.len() as u64) as usize;
                    told.sealed[at] ^= bit;
                    self.report.corrupted += 1;
                }
                if let Body::Relay(relay) = &mut message.body {
                    self.report.corrupted += 1;
                    let at = self.random.below(1 << 32) as usize;
                    match (&mut relay.step, &mut relay.proof) {
                        (RelayStep::Key { sealed, .. }, _) if at.is_multiple_of(2) => {
                            let at = at % sealed.len().max(1);
                            sealed.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= bit);
                        }
                        (RelayStep::Key { tag, .. } | RelayStep::Complete { tag }, _) => tag[at % 16] ^= bit,
                        (RelayStep::Reserve(reservation), _) if at.is_multiple_of(2) => reservation.octets ^= u32::from(bit),
                        (_, Some(proof)) => proof.tag[at % 16] ^= bit,
                        _ => {}
                    }
                }
                Envelope::KeyManager(message)
            }
            whole => whole,
        }
    }

    fn count_advertisements(&mut self, envelope: &Envelope) {
        if let Envelope::Router(octets) = envelope {
            self.report.router_messages += 1;
            self.report.router_octets += octets.len() as u64;
        }
    }

    /// The link that a message is about.
    pub(super) fn link_of(&self, body: &Body) -> Option<usize> {
        let link = match body {
            Body::Offer(offer) => &offer.link,
            Body::SupplyNotification(told) => &told.link,
            _ => return None,
        };
        self.link_numbers.get(link).copied()
    }
}

/// Key managers that share key without a link between them have a connection, too, over whatever network.
impl World {
    /// Those that a node shares key with.
    pub(super) fn sharers_of(&self, node: usize) -> BTreeSet<usize> {
        let pairs = self.settings.load.pairs.iter();
        pairs.filter_map(|&(a, b)| (a == node).then_some(b).or((b == node).then_some(a))).collect()
    }

    /// Those of them that are no neighbours.
    fn distant_of(&self, node: usize) -> BTreeSet<usize> {
        let neighbours: BTreeSet<_> = self.neighbours[node].iter().map(|&(peer, _)| peer).collect();
        &self.sharers_of(node) - &neighbours
    }

    pub(super) fn meet_distant(&mut self, node: usize) {
        for other in self.distant_of(node) {
            let soon = self.random.below(50_000);
            self.after(soon, Step::Meet { a: node, b: other });
        }
    }

    pub(super) fn meet(&mut self, a: usize, b: usize) {
        let both_run = self.nodes[a].engines.is_some() && self.nodes[b].engines.is_some();
        if !both_run || self.is_connected(a, b) {
            return;
        }
        let number = self.number();
        self.connections.insert(pair(a, b), number);
        for (here, there) in [(a, b), (b, a)] {
            if self.connections.get(&pair(a, b)) == Some(&number) {
                let peer = self.nodes[there].id.clone();
                self.feed_key_manager(here, Input::PeerUp { peer });
            }
        }
    }

    pub(super) fn part_from_distant(&mut self, node: usize) {
        for other in self.distant_of(node) {
            if self.connections.remove(&pair(node, other)).is_some() {
                let peer = self.nodes[node].id.clone();
                self.feed_key_manager(other, Input::PeerDown { peer });
            }
        }
    }
}

pub(super) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// The same once more; `None` of what cannot be repeated here.
fn again(envelope: &Envelope) -> Option<Envelope> {
    let message = match envelope {
        Envelope::Router(octets) => return Some(Envelope::Router(octets.clone())),
        Envelope::KeyManager(message) => message,
    };
    let body = match &message.body {
        Body::Hello(hello) => Body::Hello(hello.clone()),
        Body::Offer(offer) => Body::Offer(offer.clone()),
        Body::OfferAnswer(answer) => Body::OfferAnswer(answer.clone()),
        Body::SupplyNotification(told) => Body::SupplyNotification(told.clone()),
        Body::SupplyResponse(response) => Body::SupplyResponse(response.clone()),
        Body::Relay(relay) => Body::Relay(relay.clone()),
        _ => return None,
    };
    Some(Envelope::KeyManager(Box::new(KmMessage { sender: message.sender, body })))
}
