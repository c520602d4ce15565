//! Networks: nodes, and the QKD links between them.
//!
//! The files in `topologies/` are facts about public networks in a format of our own, each with its source:
//!
//! ```json
//! {
//!   "name": "two", "about": "Two nodes.", "source": "made up",
//!   "nodes": [{"name": "north", "lat": 53.5, "lon": 10.0}, {"name": "south"}],
//!   "links": [{"between": ["north", "south"], "km": 80.0}]
//! }
//! ```
//!
//! A place is optional, and so is a length: without one it is the great circle between the places, if these are known. Real
//! fibre is longer than that by a factor of 1.2 to 1.5.

mod metropolitan;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

pub use metropolitan::metropolitan;

const EARTH_RADIUS_KM: f64 = 6_371.0;
/// The most nodes: the router has no room for more.
pub const MAX_NODES: usize = 65_536;

/// The networks that come with the program.
const FILES: [&str; 7] = [
    include_str!("../topologies/nobel-germany.json"),
    include_str!("../topologies/germany50.json"),
    include_str!("../topologies/nobel-eu.json"),
    include_str!("../topologies/polska.json"),
    include_str!("../topologies/dt-14.json"),
    include_str!("../topologies/nsfnet-13.json"),
    include_str!("../topologies/poliqi-ring-5.json"),
];

/// A network that was checked: node names differ, links join two different nodes of it, no two links join the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// How it is called.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Where it is from.
    pub source: String,
    /// The nodes; links name them by their place in here.
    pub nodes: Vec<Node>,
    /// The links.
    pub links: Vec<Link>,
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Latitude and longitude in degrees, where known.
    pub place: Option<(f64, f64)>,
}

/// A QKD link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The two nodes that it joins.
    pub ends: [usize; 2],
    /// Its length, where known.
    pub km: Option<f64>,
}

/// What a network is without some part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// Nothing is cut.
    Nothing,
    /// A link is gone.
    Link(usize),
    /// A node is gone with its links; the others want key as before.
    Node(usize),
}

/// Why a network was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// It is not written as it should be.
    #[error("not a network: {0}")]
    Json(#[from] serde_json::Error),
    /// Fewer than two nodes, or too many.
    #[error("a network has 2 to {MAX_NODES} nodes")]
    Size,
    /// Two nodes have one name.
    #[error("there are two nodes {0}")]
    SameName(String),
    /// A name is none that key managers can have.
    #[error("{0:?} cannot be the name of a node")]
    Name(String),
    /// Latitude without longitude, or out of range.
    #[error("the place of {0} is not on Earth")]
    Place(String),
    /// A link names a node that is not there.
    #[error("a link leads to {0}, which is not a node")]
    UnknownNode(String),
    /// A link from a node to itself.
    #[error("a link leads from {0} to itself")]
    Loop(String),
    /// Two links between the same nodes.
    #[error("there are two links between {0} and {1}")]
    SameLink(String, String),
    /// A length that is none.
    #[error("the length of a link is not a number of kilometres above 0")]
    Length,
    /// No network of this name comes with the program.
    #[error("no network is called {0}; there are {1}")]
    Unknown(String, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    about: String,
    source: String,
    nodes: Vec<FileNode>,
    links: Vec<FileLink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    name: String,
    lat: Option<f64>,
    lon: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLink {
    between: [String; 2],
    km: Option<f64>,
}

impl Topology {
    /// Reads a network.
    ///
    /// # Errors
    /// [`TopologyError`] says what is wrong with it.
    pub fn parse(json: &str) -> Result<Self, TopologyError> {
        let File { name, about, source, nodes, links } = serde_json::from_str(json)?;
        let nodes = nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let numbers: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (&*node.name, at)).collect();
        let mut read = Vec::with_capacity(links.len());
        for FileLink { between: [a, b], km } in links {
            let number = |name: &str| numbers.get(name).copied().ok_or_else(|| TopologyError::UnknownNode(name.to_owned()));
            let ends = [number(&a)?, number(&b)?];
            read.push(Link { ends, km: km.or_else(|| great_circle(nodes[ends[0]].place?, nodes[ends[1]].place?)) });
        }
        Self { name, about, source, nodes, links: read }.checked()
    }

    /// A network that comes with the program.
    ///
    /// # Errors
    /// [`TopologyError::Unknown`] when there is none of this name.
    pub fn named(name: &str) -> Result<Self, TopologyError> {
        let all = Self::all()?;
        let names: Vec<_> = all.iter().map(|topology| topology.name.clone()).collect();
        let found = all.into_iter().find(|topology| topology.name == name);
        found.ok_or_else(|| TopologyError::Unknown(name.to_owned(), names.join(", ")))
    }

    /// All networks that come with the program.
    ///
    /// # Errors
    /// [`TopologyError`] when one of the files is wrong.
    pub fn all() -> Result<Vec<Self>, TopologyError> {
        FILES.iter().map(|json| Self::parse(json)).collect()
    }

    pub(crate) fn checked(self) -> Result<Self, TopologyError> {
        if !(2..=MAX_NODES).contains(&self.nodes.len()) {
            return Err(TopologyError::Size);
        }
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if itu_y3803::KmId::new(&node.name).is_err() {
                return Err(TopologyError::Name(node.name.clone()));
            }
            if !names.insert(&node.name) {
                return Err(TopologyError::SameName(node.name.clone()));
            }
        }
        let mut joined = BTreeSet::new();
        for &Link { ends: [a, b], km } in &self.links {
            let name = |node: usize| self.nodes[node].name.clone();
            if a == b {
                return Err(TopologyError::Loop(name(a)));
            }
            if !joined.insert([a.min(b), a.max(b)]) {
                return Err(TopologyError::SameLink(name(a), name(b)));
            }
            if km.is_some_and(|km| !(km > 0.0 && km.is_finite())) {
                return Err(TopologyError::Length);
            }
        }
        Ok(self)
    }

    /// The name of a link: its two ends.
    #[must_use]
    pub fn link_name(&self, link: usize) -> String {
        let [a, b] = self.links[link].ends;
        format!("{}-{}", self.nodes[a].name, self.nodes[b].name)
    }

    /// What a cut is called.
    #[must_use]
    pub fn cut_name(&self, cut: Cut) -> String {
        match cut {
            Cut::Nothing => "-".to_owned(),
            Cut::Link(link) => self.link_name(link),
            Cut::Node(node) => self.nodes[node].name.clone(),
        }
    }

    /// Every cut of one link, then every cut of one node.
    pub fn single_cuts(&self) -> impl Iterator<Item = Cut> {
        (0..self.links.len()).map(Cut::Link).chain((0..self.nodes.len()).map(Cut::Node))
    }

    /// The nodes that are left, by their numbers.
    pub fn nodes_after(&self, cut: Cut) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(move |&node| cut != Cut::Node(node))
    }

    /// The links that are left, by their numbers.
    pub fn links_after(&self, cut: Cut) -> impl Iterator<Item = usize> {
        (0..self.links.len()).filter(move |&link| match cut {
            Cut::Nothing => true,
            Cut::Link(gone) => link != gone,
            Cut::Node(gone) => !self.links[link].ends.contains(&gone),
        })
    }

    /// For each node its neighbours and the links to them.
    #[must_use]
    pub fn neighbours(&self, cut: Cut) -> Vec<Vec<(usize, usize)>> {
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for link in self.links_after(cut) {
            let [a, b] = self.links[link].ends;
            neighbours[a].push((b, link));
            neighbours[b].push((a, link));
        }
        neighbours
    }

    /// The number of hops from a node to each, `None` where no way leads.
    #[must_use]
    pub fn hops(&self, from: usize, cut: Cut) -> Vec<Option<u32>> {
        let neighbours = self.neighbours(cut);
        let mut hops = vec![None; self.nodes.len()];
        hops[from] = Some(0);
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((node, so_far)) = queue.pop_front() {
            for &(next, _) in &neighbours[node] {
                if hops[next].is_none() {
                    hops[next] = Some(so_far + 1);
                    queue.push_back((next, so_far + 1));
                }
            }
        }
        hops
    }

    /// Whether every node that is left reaches every other.
    #[must_use]
    pub fn is_connected(&self, cut: Cut) -> bool {
        let mut left = self.nodes_after(cut);
        let Some(first) = left.next() else { return true };
        let hops = self.hops(first, cut);
        left.all(|node| hops[node].is_some())
    }
}

fn node(FileNode { name, lat, lon }: FileNode) -> Result<Node, TopologyError> {
    let place = match (lat, lon) {
        (None, None) => None,
        (Some(lat), Some(lon)) if lat.abs() <= 90.0 && lon.abs() <= 180.0 => Some((lat, lon)),
        _ => return Err(TopologyError::Place(name)),
    };
    Ok(Node { name, place })
}

/// By the haversine formula; none between two nodes at one place, where the length is not known.
fn great_circle(a: (f64, f64), b: (f64, f64)) -> Option<f64> {
    let [lat_a, lon_a, lat_b, lon_b] = [a.0, a.1, b.0, b.1].map(f64::to_radians);
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
    let haversine = half(lat_a, lat_b) + lat_a.cos() * lat_b.cos() * half(lon_a, lon_b);
    let km = 2.0 * EARTH_RADIUS_KM * haversine.sqrt().asin();
    (km > 0.0).then(|| (km * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(nodes: &str, links: &str) -> String {
        format!(r#"{{"name": "n", "about": "a", "source": "s", "nodes": [{nodes}], "links": [{links}]}}"#)
    }

    #[test]
    fn the_files_have_the_published_numbers() {
        // nodes, links, km of the shortest and the longest link, diameter
        for (name, nodes, links, km, diameter) in [
            ("nobel-germany", 17, 26, Some((28.8, 293.8)), 6),
            ("germany50", 50, 88, Some((25.9, 252.2)), 9),
            ("nobel-eu", 28, 41, Some((141.5, 1_049.4)), 8),
            ("polska", 12, 18, Some((78.7, 354.5)), 4),
            ("dt-14", 14, 23, Some((37.0, 353.0)), 5),
            ("nsfnet-13", 13, 15, Some((278.5, 3_293.0)), 5),
            ("poliqi-ring-5", 5, 5, None, 2),
        ] {
            let topology = Topology::named(name).expect("comes with the program");
            assert_eq!((topology.nodes.len(), topology.links.len()), (nodes, links), "{name}");
            let lengths: Option<Vec<f64>> = topology.links.iter().map(|link| link.km).collect();
            let ends = lengths
                .map(|lengths| (lengths.iter().copied().fold(f64::MAX, f64::min), lengths.iter().copied().fold(0.0, f64::max)));
            assert_eq!(ends, km, "{name}");
            let most = (0..nodes).flat_map(|node| topology.hops(node, Cut::Nothing)).flatten().max();
            assert_eq!(most, Some(diameter), "{name}");
            assert!(topology.is_connected(Cut::Nothing));
        }
        assert!(matches!(Topology::named("nowhere"), Err(TopologyError::Unknown(..))));
    }

    #[test]
    fn only_nsfnet_falls_apart_when_one_link_fails() {
        for topology in Topology::all().expect("right") {
            let bridges = (0..topology.links.len()).filter(|&link| !topology.is_connected(Cut::Link(link))).count();
            let cut_nodes = (0..topology.nodes.len()).filter(|&node| !topology.is_connected(Cut::Node(node))).count();
            assert_eq!((bridges, cut_nodes), if topology.name == "nsfnet-13" { (3, 3) } else { (0, 0) }, "{}", topology.name);
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let two = r#"{"name": "a"}, {"name": "b"}"#;
        assert!(Topology::parse(&json(two, r#"{"between": ["a", "b"], "km": 2}"#)).is_ok());
        let refused = |nodes: &str, links: &str| Topology::parse(&json(nodes, links)).expect_err("to be refused").to_string();
        for (nodes, links, why) in [
            (r#"{"name": "a"}"#, "", "a network has 2 to 65536 nodes"),
            (r#"{"name": "a"}, {"name": "a"}"#, "", "there are two nodes a"),
            (r#"{"name": "a"}, {"name": ""}"#, "", "\"\" cannot be the name of a node"),
            (r#"{"name": "a", "lat": 91, "lon": 0}, {"name": "b"}"#, "", "the place of a is not on Earth"),
            (r#"{"name": "a", "lat": 1}, {"name": "b"}"#, "", "the place of a is not on Earth"),
            (two, r#"{"between": ["a", "c"]}"#, "a link leads to c, which is not a node"),
            (two, r#"{"between": ["a", "a"]}"#, "a link leads from a to itself"),
            (two, r#"{"between": ["a", "b"]}, {"between": ["b", "a"]}"#, "there are two links between b and a"),
            (two, r#"{"between": ["a", "b"], "km": 0}"#, "the length of a link is not a number of kilometres above 0"),
        ] {
            assert_eq!(refused(nodes, links), why);
        }
        assert!(refused(two, r#"{"between": ["a", "b"], "colour": "red"}"#).starts_with("not a network: unknown field"));
    }
}
