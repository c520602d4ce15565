//! Routes from a table, for networks so small that a person keeps it.

use std::collections::BTreeMap;
use std::time::Instant;

use itu_y3803::KmId;

use crate::routing::paths::{Constraints, Path};
use crate::routing::{NoRoute, Route, Router};

/// For each destination its paths, the preferred one first. It gives one path at a time, to who demands nothing of links; hops that are to be
/// avoided are not.
#[derive(Clone, Debug, Default)]
pub struct StaticTable {
    paths: BTreeMap<KmId, Vec<Path>>,
}

impl StaticTable {
    /// Adds a path to where it ends, after those that are there. An empty one leads nowhere and is left out.
    pub fn add(&mut self, path: Path) {
        if let Some(last) = path.hops.last() {
            self.paths.entry(last.to.clone()).or_default().push(path);
        }
    }
}

impl Router for StaticTable {
    /// The first path that keeps to the constraints. Nothing is known of its links, so constraints on them are not met.
    fn route(&mut self, _: Instant, to: &KmId, constraints: &Constraints<'_>) -> Route {
        let Some(paths) = self.paths.get(to) else { return Route::Unreachable(NoRoute::Unknown) };
        match paths.iter().find(|path| constraints.link.is_none() && constraints.admit(path)) {
            Some(path) => Route::Path(path.clone()),
            None => Route::Unreachable(NoRoute::Constraints),
        }
    }
}
