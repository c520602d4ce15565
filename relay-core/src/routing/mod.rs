//! Routes through a meshed network without a central controller: link-state routing after RFC 2328 (OSPF), with costs that
//! follow the fill of key pools.
//!
//! Each key manager advertises its links to all others ([`Lsa`]). From the same advertisements all compute shortest paths.
//! [`LinkStates`] is the engine of one node: like the rest of this crate without socket, clock and random generator, and
//! without key; whoever runs it authenticates neighbours (connections) and originators ([`LsaAuth`]).
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use itu_y3803::{KmId, LinkId};
//! use relay_core::policy::Ways;
//! use relay_core::routing::{
//!     Config, Constraints, FillMetric, Input, LinkStates, LinkStatus, LsaAuth, NoRoute, Output, Route, Router,
//! };
//!
//! // North and south have a link each to the middle.
//! let [north, middle, south] = ["north", "middle", "south"].map(|id| KmId::new(id).unwrap());
//! let links = [(&north, &middle), (&middle, &north), (&middle, &south), (&south, &middle)];
//! let full = LinkStatus {
//!     up: true, stored: 1 << 20, target: 1 << 20, floor: 4_096, rate: 1_000, consumption: 0, authentication: true,
//! };
//!
//! // A real one signs, or makes a message authentication code for the nodes of the network.
//! struct Auth;
//! impl LsaAuth for Auth {
//!     fn tag(&mut self, _: &[u8]) -> Vec<u8> { vec![7] }
//!     fn verify(&mut self, _: &KmId, _: &[u8], tag: &[u8]) -> bool { tag == [7] }
//! }
//!
//! let mut now = Instant::now();
//! let random = |out: &mut [u8]| out.fill(0); // spreads timers and load
//! let mut nodes = [&north, &middle, &south]
//!     .map(|id| (id.clone(), LinkStates::new(Config::new(id.clone()), FillMetric::default(), Auth, random, now)));
//! for (here, there) in links {
//!     let (_, node) = nodes.iter_mut().find(|(id, _)| id == here).unwrap();
//!     node.handle_input(now, Input::PeerUp { peer: there.clone() });
//!     let link = LinkId::new("fibre 1").unwrap();
//!     node.handle_input(now, Input::Link { neighbour: there.clone(), link, status: full, labels: vec![] });
//! }
//!
//! // Messages pass until, after a second, there are routes.
//! let end = now + Duration::from_secs(1);
//! while now < end {
//!     for at in 0..nodes.len() {
//!         while let Some(output) = nodes[at].1.poll_output() {
//!             if let Output::Send { to, octets } = output {
//!                 let from = nodes[at].0.clone();
//!                 let (_, node) = nodes.iter_mut().find(|(id, _)| *id == to).unwrap();
//!                 node.handle_input(now, Input::Message { from, octets });
//!             }
//!         }
//!     }
//!     now += Duration::from_millis(10);
//!     nodes.iter_mut().for_each(|(_, node)| node.handle_input(now, Input::Timeout));
//! }
//!
//! let Route::Path(path) = nodes[0].1.route(now, &south, &Constraints::default()) else { panic!("reachable") };
//! assert_eq!(path.hops.iter().map(|hop| hop.to.as_str()).collect::<Vec<_>>(), ["middle", "south"]);
//! assert_eq!(path.cost, 32); // two full links
//!
//! // Who does not trust the middle gets no key at all, and is told so.
//! let elsewhere = |node: &KmId| *node != middle;
//! let constraints = Constraints { node: Some(&elsewhere), ..Constraints::default() };
//! assert_eq!(nodes[0].1.route(now, &south, &constraints), Route::Unreachable(NoRoute::Constraints));
//!
//! // A key manager that asks for ways ([`RouteWanted`](crate::Output::RouteWanted)) is answered like this.
//! let paths = nodes[0].1.paths(now, &south, &Ways::ANY, &[]);
//! assert_eq!(paths, [vec![north, middle, south]]);
//! ```
//!
//! # Rules
//!
//! Of RFC 2328, and where this departs from it:
//!
//! | rule | here |
//! |---|---|
//! | which is newer | boot counter, then sequence; of equal ones by octets. Never by age, which nobody authenticates |
//! | end of the sequence | carries over to the boot counter, nothing is flushed |
//! | `MaxAge` 3600 s, refresh 1800 s | the same, refresh up to a quarter earlier; each node drops on its own what is too old |
//! | withdraw | an authenticated advertisement of its own, which stays until too old: a part of the network that was cut off hears of it, too |
//! | own advertisement seen, newer than known | the next version is made at once |
//! | older than what is known comes | what is known is sent back; also what was dropped for its age, as such, so that its originator outbids it |
//! | `MinLSInterval` 5 s | the same, up to a quarter longer; a link that becomes unusable, or usable again, is told at once, three a burst |
//! | `MinLSArrival` 1 s | on average, four at once: what came too early is not acknowledged, so it comes again |
//! | reliable flooding | acknowledged; repeated after 1, 2, 4, 4 … s; only what is new is passed on |
//! | database exchange | on connecting and every 30 s by digests of 256 parts, then what differs in them |
//! | links count | when both ends advertise them as usable, at the worse cost |
//! | SPF | 50 ms, 200 ms, then 5 s after changes (RFC 8405); repaired instead of computed afresh |
//!
//! Replay: what is older than what is known is dropped, and so is what is older than what was known of an originator that is
//! gone, as far as it is remembered. A node that starts without memory may take an old advertisement until it hears the newer one.

mod flooding;
mod link_states;
mod lsa;
mod lsdb;
mod metric;
mod own;
mod paths;
mod schedule;
mod select;
mod spf;
mod suppression;
mod table;
#[cfg(test)]
mod tests;
mod topology;

use std::time::Instant;

use itu_y3803::KmId;

pub use link_states::{Config, Input, LinkStates, Misbehaviour, Output};
pub use lsa::{Label, Limits, LinkAdvert, Lsa, LsaAuth, MAX_LABEL_OCTETS, MAX_TAG_OCTETS, Malformed, Version};
pub use lsdb::MAX_AGE;
pub use metric::{Cost, Fill, FillMetric, HopCount, LinkStatus, Metric};
pub use own::REFRESH;
pub use paths::{Constraints, Hop, MayPass, Path};
pub use schedule::SpfDelays;
pub use spf::{Change, Graph, ShortestPaths};
pub use suppression::FULL_CLASS;
pub use table::StaticTable;

/// Says over which nodes key is to be relayed: [`LinkStates`], a [`StaticTable`], or a controller elsewhere.
pub trait Router {
    /// A path from this node to `to`.
    fn route(&mut self, now: Instant, to: &KmId, constraints: &Constraints<'_>) -> Route;
}

/// A router's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// This way.
    Path(Path),
    /// A controller elsewhere is asked; ask again.
    Pending,
    /// No way.
    Unreachable(NoRoute),
}

/// Why there is no way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoute {
    /// No such key manager is known.
    #[error("the key manager is not known in the network")]
    Unknown,
    /// It is known, but cut off: no usable links lead there.
    #[error("no usable links lead to the key manager")]
    NoPath,
    /// There are ways, but none within the constraints.
    #[error("no way to the key manager keeps to the constraints")]
    Constraints,
}
