//! Networks of any size that look like fibre in and between cities.

use super::{Link, Node, Topology, TopologyError};
use crate::random::Random;

/// About so many nodes in one ring of a city.
const RING: usize = 12;
/// Rings in one city.
const RINGS: usize = 8;

/// A network of `nodes` nodes, the same for the same seed: cities whose districts are rings of some dozen nodes that share the
/// city's core, and a mesh between cities, each of which is joined to the three nearest on the map. A ring has a chord now and
/// then. Mean degree is about 2.5, and no single link divides the network, except that a remainder of fewer than three nodes
/// hangs on the last ring.
///
/// # Errors
/// [`TopologyError::Size`] for fewer than 3 nodes or too many.
pub fn metropolitan(nodes: usize, seed: u64) -> Result<Topology, TopologyError> {
    if nodes < 3 {
        return Err(TopologyError::Size);
    }
    let mut builder = Builder { random: Random::new(seed), places: Vec::new(), links: Vec::new() };
    let mut cores = Vec::new();
    while builder.places.len() < nodes {
        cores.push(builder.city(nodes));
    }
    builder.join_cities(&cores);
    let links = builder.links;
    let nodes: Vec<_> = (0..builder.places.len()).map(|node| Node { name: format!("n{node}"), place: None }).collect();
    let about = format!("A metropolitan-like network of {} nodes, made from the seed {seed}.", nodes.len());
    let name = format!("metropolitan-{}-{seed}", nodes.len());
    Topology { name, about, source: "generated".to_owned(), nodes, links }.checked()
}

struct Builder {
    random: Random,
    /// In kilometres on a flat map.
    places: Vec<(f64, f64)>,
    links: Vec<Link>,
}

impl Builder {
    /// A city, as far as there are nodes left for it; returns its two core nodes, which are one in the smallest.
    fn city(&mut self, nodes: usize) -> [usize; 2] {
        let side = (nodes as f64).sqrt() * 30.0;
        let centre = (self.random.part() * side, self.random.part() * side);
        let core = [self.node(centre), if self.places.len() < nodes { self.node(centre) } else { self.places.len() - 1 }];
        if core[0] != core[1] {
            self.link(core[0], core[1]);
        }
        for _ in 0..RINGS {
            let size = (RING / 2 + self.random.below(RING as u64) as usize).min(nodes - self.places.len());
            if size == 0 {
                break;
            }
            self.ring(core, centre, size);
        }
        core
    }

    /// From one node of the core round a district to the other.
    fn ring(&mut self, core: [usize; 2], centre: (f64, f64), size: usize) {
        let first = self.places.len();
        for _ in 0..size {
            let place = (centre.0 + (self.random.part() - 0.5) * 20.0, centre.1 + (self.random.part() - 0.5) * 20.0);
            let node = self.node(place);
            self.link(if node == first { core[0] } else { node - 1 }, node);
        }
        let last = first + size - 1;
        if core[0] != core[1] || size > 1 {
            self.link(last, core[1]);
        }
        if size > 5 {
            let from = first + self.random.below(size as u64 / 2) as usize;
            let to = from + 2 + self.random.below(size as u64 / 2 - 2) as usize;
            self.link(from, to);
        }
    }

    /// Each city to the nearest before it on the map, three if there are so many: so all are joined.
    fn join_cities(&mut self, cores: &[[usize; 2]]) {
        for (city, core) in cores.iter().enumerate() {
            let mut before: Vec<usize> = (0..city).collect();
            before.sort_by(|&a, &b| self.km(core[0], cores[a][0]).total_cmp(&self.km(core[0], cores[b][0])));
            for (nth, &other) in before.iter().take(3).enumerate() {
                self.link(core[nth % 2], cores[other][(nth + 1) % 2]);
            }
            // Two ways to the only neighbour there is.
            if city == 1 {
                self.link(core[1], cores[0][0]);
            }
        }
    }

    fn node(&mut self, place: (f64, f64)) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    fn km(&self, a: usize, b: usize) -> f64 {
        let ((xa, ya), (xb, yb)) = (self.places[a], self.places[b]);
        (xa - xb).hypot(ya - yb).max(0.1)
    }

    fn link(&mut self, a: usize, b: usize) {
        let there = |link: &Link| link.ends == [a, b] || link.ends == [b, a];
        // Only links of the last nodes can be the same again.
        if a != b && !self.links.iter().rev().take(4 * RING).any(there) {
            self.links.push(Link { ends: [a, b], km: Some((self.km(a, b) * 10.0).round().max(1.0) / 10.0) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Cut;

    #[test]
    fn any_size_gives_a_connected_network() {
        for nodes in (3..60).chain([100, 333, 1_000]) {
            let topology = metropolitan(nodes, 1).expect("of a size that can be");
            assert_eq!(topology.nodes.len(), nodes);
            assert!(topology.is_connected(Cut::Nothing), "{nodes}");
        }
        assert!(metropolitan(2, 1).is_err() && metropolitan(70_000, 1).is_err());
    }

    #[test]
    fn a_seed_gives_one_network_and_another_seed_another() {
        assert_eq!(metropolitan(500, 3).expect("made"), metropolitan(500, 3).expect("made"));
        assert_ne!(metropolitan(500, 3).expect("made").links, metropolitan(500, 4).expect("made").links);
    }

    #[test]
    fn it_is_sparse_and_survives_nearly_every_cut() {
        let topology = metropolitan(300, 5).expect("made");
        let degree = 2.0 * topology.links.len() as f64 / 300.0;
        assert!((2.1..3.5).contains(&degree), "{degree}");
        let bridges = (0..topology.links.len()).filter(|&link| !topology.is_connected(Cut::Link(link))).count();
        assert!(bridges <= 2, "{bridges}");
    }
}
