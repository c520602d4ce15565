//! Which of the good paths is taken, and for how long.

use std::time::Instant;

use itu_y3803::{KmId, RandomSource};

use crate::policy::Ways;
use crate::routing::link_states::LinkStates;
use crate::routing::lsa::LsaAuth;
use crate::routing::metric::Metric;
use crate::routing::paths::{Constraints, Path};
use crate::routing::topology::{adverts, adverts_between};
use crate::routing::{NoRoute, Route, Router};

/// Good paths to choose from, at most.
const CHOICE: usize = 8;

/// A path that was chosen.
#[derive(Debug)]
pub(super) struct Held {
    path: Path,
    /// Until then no other is chosen, unless it is much better …
    until: Instant,
    /// … and until then not even such a one: the path itself was new then.
    firm_until: Instant,
}

impl<M: Metric, A: LsaAuth, R: RandomSource> Router for LinkStates<M, A, R> {
    /// The path chosen before, while it is held; else one of those nearly as good as the best, at random, the fuller the more
    /// likely, so that nodes do not all move to the same.
    fn route(&mut self, now: Instant, to: &KmId, constraints: &Constraints<'_>) -> Route {
        if *to == self.config.id {
            return Route::Path(Path { hops: Vec::new(), cost: 0 });
        }
        if self.database.lsa(to).is_none() {
            return Route::Unreachable(NoRoute::Unknown);
        }
        let Some(target) = self.topology.number(to) else { return Route::Unreachable(NoRoute::NoPath) };
        let Some(best) = self.shortest.distance(target) else { return Route::Unreachable(NoRoute::NoPath) };
        if let Some(path) = self.still_held(now, to, best, constraints) {
            return Route::Path(path);
        }
        let paths = self.good_paths(to, CHOICE, constraints);
        if paths.is_empty() {
            return Route::Unreachable(NoRoute::Constraints);
        }
        let weights: Vec<u64> = paths.iter().map(|path| 1 + u64::from(self.bottleneck(path))).collect();
        let mut drawn = self.draw() % weights.iter().sum::<u64>();
        let chosen = weights.iter().position(|&weight| {
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        let path = paths.into_iter().nth(chosen.unwrap_or(0)).expect("as many weights as paths");
        // A path that was taken to pass by a hop is kept as well, or each such hop would cost a change there and one back.
        if (Constraints { hop: None, ..*constraints }).is_none() {
            let jitter = self.config.hold / 4 * (self.draw() % 1_024) as u32 / 1_024;
            let same = self.held.get(to).filter(|held| held.path.hops == path.hops);
            let firm_until = same.map_or(now + self.config.hold, |held| held.firm_until);
            let held = Held { path: path.clone(), until: now + self.config.hold + jitter, firm_until };
            self.held.insert(to.clone(), held);
        }
        Route::Path(path)
    }
}

impl<M: Metric, A: LsaAuth, R: RandomSource> LinkStates<M, A, R> {
    /// The best paths to `to`, best first, of those that are dearer than the best by no more than [`Config::spread`] percent.
    ///
    /// [`Config::spread`]: crate::routing::Config::spread
    #[must_use]
    pub fn good_paths(&self, to: &KmId, most: usize, constraints: &Constraints<'_>) -> Vec<Path> {
        let Some((search, target)) = self.search(*constraints).zip(self.target(to)) else { return Vec::new() };
        search.near_best(target, self.config.spread, most)
    }

    /// Up to `most` paths to `to` that have no node in common but their ends, together as cheap as can be. They are looked for whatever their
    /// hops, and too long ones left out: there may be short ones that are not found.
    #[must_use]
    pub fn disjoint_paths(&self, to: &KmId, most: usize, constraints: &Constraints<'_>) -> Vec<Path> {
        let Some((search, target)) = self.search(*constraints).zip(self.target(to)) else { return Vec::new() };
        let mut paths = search.disjoint(target, most);
        // A flow knows no number of hops.
        paths.retain(|path| constraints.admit(path));
        paths
    }

    /// The answer to [`Output::RouteWanted`](crate::Output::RouteWanted): as many paths as there are, up to so many as are wanted, in
    /// such ways, and if possible without hops that are to be avoided. All nodes of each, this one first.
    pub fn paths(&mut self, now: Instant, to: &KmId, ways: &Ways, avoid: &[(KmId, KmId)]) -> Vec<Vec<KmId>> {
        let number = usize::from(ways.sharing.of());
        let other = |a: &KmId, b: &KmId| !avoid.iter().any(|(from, to)| from == a && to == b);
        let mut paths = Vec::new();
        ways.with_constraints(|demanded| {
            let avoiding = if avoid.is_empty() { *demanded } else { Constraints { hop: Some(&other), ..*demanded } };
            for constraints in [&avoiding, demanded] {
                if number > 1 {
                    paths = self.disjoint_paths(to, number, constraints);
                } else if let Route::Path(path) = self.route(now, to, constraints) {
                    paths = vec![path];
                }
                if paths.len() == number {
                    break;
                }
            }
        });
        let own = &self.config.id;
        let nodes = |path: Path| std::iter::once(own.clone()).chain(path.hops.into_iter().map(|hop| hop.to)).collect();
        paths.into_iter().map(nodes).collect()
    }

    fn target(&self, to: &KmId) -> Option<u32> {
        self.topology.number(to).filter(|_| *to != self.config.id)
    }

    fn still_held(&self, now: Instant, to: &KmId, best: u32, constraints: &Constraints<'_>) -> Option<Path> {
        let Held { path, firm_until, .. } = self.held.get(to).filter(|held| now < held.until)?;
        let mut at = &self.config.id;
        let mut cost: u32 = 0;
        for hop in &path.hops {
            cost = cost.saturating_add(self.topology.cost(at, &hop.to, &hop.link)?);
            if constraints.hop.is_some_and(|may| !may(at, &hop.to) || !may(&hop.to, at)) {
                return None;
            }
            if constraints.link.is_some_and(|may| !adverts_between(&self.database, at, &hop.to).all(may)) {
                return None;
            }
            at = &hop.to;
        }
        let much_better = now >= *firm_until && u64::from(best) * 120 <= u64::from(cost) * 100;
        let held = constraints.admit(path) && !much_better;
        held.then(|| Path { hops: path.hops.clone(), cost })
    }

    /// The least class of fill on the way.
    fn bottleneck(&self, path: &Path) -> u8 {
        let mut at = &self.config.id;
        let classes = path.hops.iter().map(|hop| {
            let ends = adverts(&self.database, at, &hop.to, &hop.link);
            at = &hop.to;
            ends.map_or(0, |ends| ends[0].key_class.min(ends[1].key_class))
        });
        classes.min().unwrap_or(0)
    }

    fn draw(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.random.fill(&mut octets);
        u64::from_be_bytes(octets)
    }
}
