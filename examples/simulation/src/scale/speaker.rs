//! One router of a large network by itself, and what it would send to a neighbour.

use std::time::{Duration, Instant};

use itu_y3803::{KmId, LinkId};
use relay_core::routing::{Config, FillMetric, Input, LinkStates, LinkStatus, Output};

use crate::auth::SharedSecret;
use crate::random::Random;
use crate::topology::Topology;

/// The engine of one node.
pub(super) type Router = LinkStates<FillMetric, SharedSecret, Random>;

/// The kinds of messages between routers, as their second octet says.
pub(super) const FLOOD: u8 = 1;
/// See [`FLOOD`].
pub(super) const ACKNOWLEDGEMENT: u8 = 2;

pub(super) fn id(topology: &Topology, node: usize) -> KmId {
    KmId::new(&topology.nodes[node].name).expect("the names of nodes were checked")
}

pub(super) fn router(topology: &Topology, node: usize, now: Instant) -> Router {
    let id = id(topology, node);
    let config = Config { boot: 1, ..Config::new(id.clone()) };
    LinkStates::new(config, FillMetric::default(), SharedSecret::new(&id), Random::new(node as u64), now)
}

/// A link with a full pool, or one that is down.
pub(super) fn link_input(topology: &Topology, node: usize, link: usize, up: bool) -> Input {
    let [a, b] = topology.links[link].ends;
    let status =
        LinkStatus { up, stored: 1 << 20, target: 1 << 20, floor: 4_096, rate: 2_000, consumption: 1_000, authentication: true };
    Input::Link {
        neighbour: id(topology, if a == node { b } else { a }),
        link: LinkId::new(&topology.link_name(link)).expect("the names of nodes are short"),
        status,
        labels: Vec::new(),
    }
}

/// A router that talks to itself: it has its links and all its neighbours, and nobody answers.
pub(super) struct Speaker {
    router: Router,
    now: Instant,
    /// To whom its advertisements are looked at.
    listener: KmId,
}

impl Speaker {
    /// It has told all about its links when this returns.
    pub(super) fn new(topology: &Topology, neighbours: &[(usize, usize)], node: usize, now: Instant) -> (Self, Vec<u8>) {
        let mut router = router(topology, node, now);
        for &(_, link) in neighbours {
            router.handle_input(now, link_input(topology, node, link, true));
        }
        for &(peer, _) in neighbours {
            router.handle_input(now, Input::PeerUp { peer: id(topology, peer) });
        }
        let mut speaker = Self { router, now, listener: id(topology, neighbours[0].0) };
        // Several changes in a row are told one a second.
        let first = speaker.listen(Duration::from_secs(30));
        (speaker, first)
    }

    /// One of its links is down: what it says of that.
    pub(super) fn cut(&mut self, topology: &Topology, node: usize, link: usize) -> Vec<u8> {
        self.router.handle_input(self.now, link_input(topology, node, link, false));
        self.listen(Duration::from_secs(10))
    }

    /// The last message with its advertisement within a time.
    fn listen(&mut self, time: Duration) -> Vec<u8> {
        let end = self.now + time;
        let mut last = Vec::new();
        loop {
            while let Some(output) = self.router.poll_output() {
                match output {
                    Output::Send { to, octets } if to == self.listener && octets[1] == FLOOD => last = octets,
                    _ => {}
                }
            }
            match self.router.poll_timeout().filter(|&due| due <= end) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.router.handle_input(self.now, Input::Timeout);
                }
                None => return last,
            }
        }
    }
}
