//! The graph that the advertisements make: a link counts when both its ends say that it can be used, at the worse cost.

use std::collections::BTreeMap;

use itu_y3803::{KmId, LinkId};

use crate::routing::lsa::{LinkAdvert, Lsa};
use crate::routing::lsdb::Database;
use crate::routing::spf::{Change, Edge, Graph};

/// Nodes have numbers as long as they are known; the links of a node are in the order of neighbour and name, whatever the order
/// in which they became known, so that equal databases give equal routes.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) graph: Graph,
    /// The names of the links, each where its edge is.
    names: Vec<Vec<LinkId>>,
    nodes: Vec<KmId>,
    numbers: BTreeMap<KmId, u32>,
    free: Vec<u32>,
}

impl Topology {
    pub(super) fn node(&mut self, id: &KmId) -> u32 {
        if let Some(&number) = self.numbers.get(id) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.graph.edges.push(Vec::new());
            self.names.push(Vec::new());
            self.nodes.push(id.clone());
            self.nodes.len() as u32 - 1
        });
        self.nodes[number as usize] = id.clone();
        self.numbers.insert(id.clone(), number);
        number
    }

    pub(super) fn number(&self, id: &KmId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(super) fn id(&self, node: u32) -> &KmId {
        &self.nodes[node as usize]
    }

    pub(super) fn edges(&self, node: u32) -> impl Iterator<Item = (Edge, &LinkId)> {
        self.graph.edges[node as usize].iter().copied().zip(&self.names[node as usize])
    }

    /// The cost of a link, if it counts.
    pub(super) fn cost(&self, a: &KmId, b: &KmId, link: &LinkId) -> Option<u32> {
        let (a, b) = (self.number(a)?, self.number(b)?);
        let at = self.place(a, b, link).ok()?;
        Some(self.graph.edges[a as usize][at].cost)
    }

    /// Takes over what an originator says now. What has changed is added to `changes`.
    pub(super) fn update(&mut self, database: &Database, origin: &KmId, changes: &mut Vec<Change>) {
        let here = database.lsa(origin);
        let number = self.node(origin);
        let gone: Vec<_> = self
            .edges(number)
            .map(|(edge, link)| (edge, link.clone()))
            .filter(|(edge, link)| {
                let neighbour = self.id(edge.to);
                both_ends(here, database.lsa(neighbour), origin, neighbour, link).is_none()
            })
            .collect();
        for (edge, link) in gone {
            self.set(number, edge.to, &link, None, changes);
        }
        for advert in here.into_iter().flat_map(|lsa| &lsa.links) {
            let there = database.lsa(&advert.neighbour);
            if let Some(cost) = both_ends(here, there, origin, &advert.neighbour, &advert.link) {
                let neighbour = self.node(&advert.neighbour);
                self.set(number, neighbour, &advert.link, Some(cost), changes);
            }
        }
    }

    /// Forgets an originator that has no advertisement and hence no links any more.
    pub(super) fn forget(&mut self, origin: &KmId) {
        if let Some(number) = self.number(origin).filter(|&number| self.graph.edges[number as usize].is_empty()) {
            self.numbers.remove(origin);
            self.free.push(number);
        }
    }

    fn set(&mut self, a: u32, b: u32, link: &LinkId, cost: Option<u32>, changes: &mut Vec<Change>) {
        let mut old = None;
        for (from, to) in [(a, b), (b, a)] {
            let at = self.place(from, to, link);
            let (edges, names) = (&mut self.graph.edges[from as usize], &mut self.names[from as usize]);
            match (at, cost) {
                (Ok(at), Some(cost)) => old = Some(std::mem::replace(&mut edges[at].cost, cost)),
                (Ok(at), None) => {
                    old = Some(edges.remove(at).cost);
                    names.remove(at);
                }
                (Err(at), Some(cost)) => {
                    edges.insert(at, Edge { to, cost });
                    names.insert(at, link.clone());
                }
                (Err(_), None) => {}
            }
        }
        if old != cost {
            changes.push(Change { a, b, old });
        }
    }

    /// Where the link is among those of `from`, or belongs.
    fn place(&self, from: u32, to: u32, link: &LinkId) -> Result<usize, usize> {
        let wanted = (self.id(to), link);
        let at = |at: usize| (self.id(self.graph.edges[from as usize][at].to), &self.names[from as usize][at]);
        let (mut low, mut high) = (0, self.names[from as usize].len());
        while low < high {
            let middle = low.midpoint(high);
            if at(middle) < wanted { low = middle + 1 } else { high = middle }
        }
        if low < self.names[from as usize].len() && at(low) == wanted { Ok(low) } else { Err(low) }
    }
}

/// The cost of a link that both ends say can be used: the worse of the two.
fn both_ends(here: Option<&Lsa>, there: Option<&Lsa>, a: &KmId, b: &KmId, link: &LinkId) -> Option<u32> {
    let cost = |lsa: Option<&Lsa>, neighbour| lsa?.link(neighbour, link)?.cost;
    Some(u32::from(cost(here, b)?.max(cost(there, a)?).get()))
}

/// Both ends of all links between two nodes, as they are advertised.
pub(super) fn adverts_between<'a>(database: &'a Database, a: &'a KmId, b: &'a KmId) -> impl Iterator<Item = &'a LinkAdvert> {
    let of = |node: &KmId, other: &'a KmId| {
        database.lsa(node).into_iter().flat_map(|lsa| &lsa.links).filter(move |link| link.neighbour == *other)
    };
    of(a, b).chain(of(b, a))
}

/// The two ends of a link, as they are advertised.
pub(super) fn adverts<'a>(database: &'a Database, a: &KmId, b: &KmId, link: &LinkId) -> Option<[&'a LinkAdvert; 2]> {
    Some([database.lsa(a)?.link(b, link)?, database.lsa(b)?.link(a, link)?])
}
