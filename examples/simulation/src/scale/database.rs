//! One node that knows a whole large network: its memory, and how fast it learns.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use relay_core::routing::{Constraints, Input, Output, Route, Router as _};

use super::speaker::{Speaker, id, link_input, router};
use crate::topology::{Cut, Topology};

/// About so many links are cut, one after the other, as one of their ends tells.
const CUTS: usize = 50;
/// But no more than one for so many nodes.
const NODES_PER_CUT: usize = 20;

/// What one engine took in that was told of every node of the network by the engine of that node.
#[derive(Clone, Copy, Debug)]
pub struct DatabaseCosts {
    /// Octets of memory that it has more than before, by the counting allocator.
    pub memory: usize,
    /// Octets of one advertisement with its tag on the way, in the mean.
    pub advertisement: usize,
    /// Real time to take in all of them, each by itself, and to have the first routes.
    pub learn: Duration,
    /// Real time from one more advertisement, of which one link is down, to the new routes, in the mean.
    pub change: Duration,
    /// To how many nodes it has a route before anything is cut.
    pub reachable: usize,
}

/// Measures the node 0 of the network.
pub fn measure(topology: &Topology, memory: fn() -> usize, progress: &dyn Fn(&str)) -> DatabaseCosts {
    let neighbours = topology.neighbours(Cut::Nothing);
    let nodes = topology.nodes.len();
    let start = Instant::now();
    progress(&format!("{nodes} nodes: each of them makes its advertisement"));
    let mut messages = Vec::with_capacity(nodes);
    let mut changes = Vec::new();
    let mut cut = BTreeSet::new();
    let every = (nodes / CUTS).max(NODES_PER_CUT);
    for (node, around) in neighbours.iter().enumerate().skip(1) {
        let (mut speaker, message) = Speaker::new(topology, around, node, start);
        messages.push(message);
        let (peer, link) = around[0];
        // A link that one end has cut already is no change for the other.
        if node % every == 0 && peer != 0 && cut.insert(link) {
            changes.push(speaker.cut(topology, node, link));
        }
    }
    let advertisement = messages.iter().map(Vec::len).sum::<usize>() / messages.len();

    progress(&format!("{nodes} nodes: one of them learns of all"));
    let before = memory();
    let mut now = start + Duration::from_secs(60);
    let mut engine = router(topology, 0, now);
    let (teacher, _) = neighbours[0][0];
    let teacher = id(topology, teacher);
    for &(_, link) in &neighbours[0] {
        engine.handle_input(now, link_input(topology, 0, link, true));
    }
    engine.handle_input(now, Input::PeerUp { peer: teacher.clone() });
    let began = Instant::now();
    for octets in messages {
        engine.handle_input(now, Input::Message { from: teacher.clone(), octets });
        while engine.poll_output().is_some() {}
    }
    // Its other neighbours know all of this already and owe it nothing.
    for &(peer, _) in neighbours[0].iter().skip(1) {
        engine.handle_input(now, Input::PeerUp { peer: id(topology, peer) });
    }
    // Its own links are told one after the other, and routes are computed some time after the last of them.
    for _ in 0..30 {
        now += Duration::from_secs(1);
        engine.handle_input(now, Input::Timeout);
    }
    let learn = began.elapsed();
    while engine.poll_output().is_some() {}
    let memory = memory().saturating_sub(before);

    let mut route = |node| engine.route(now, &id(topology, node), &Constraints::default());
    let reachable = (1..nodes).filter(|&node| matches!(route(node), Route::Path(_))).count();

    let mut change = Duration::ZERO;
    let count = changes.len().max(1) as u32;
    for octets in changes {
        // Long enough that routes are computed soon after the change, and so short that nothing expires meanwhile.
        now += Duration::from_secs(12);
        engine.handle_input(now, Input::Timeout);
        while engine.poll_output().is_some() {}
        let began = Instant::now();
        engine.handle_input(now, Input::Message { from: teacher.clone(), octets });
        now += Duration::from_millis(60);
        engine.handle_input(now, Input::Timeout);
        change += began.elapsed();
        let mut told = false;
        while let Some(output) = engine.poll_output() {
            told |= output == Output::Routes;
        }
        assert!(told, "one advertisement more, and no other routes");
    }
    DatabaseCosts { memory, advertisement, learn, change: change / count, reachable }
}
