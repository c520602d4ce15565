//! Routing in large networks: shortest paths, the memory of a database, and what a change costs.

mod database;
mod flooding;
mod speaker;
mod spf;

pub use database::{DatabaseCosts, measure as measure_database};
pub use flooding::{Databases, Flood, Network};
pub use spf::{SpfTimes, measure as measure_spf};
