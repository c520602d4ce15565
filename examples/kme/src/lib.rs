//! The reference key management entity (KME): ETSI GS QKD 014 towards applications, gRPC towards neighbours.

pub mod admin;
pub mod audit;
pub mod cli;
pub mod config;
pub mod demo;
mod folder;
pub mod kx;
pub mod logging;
pub mod metrics;
pub mod module;
pub mod node;
pub mod prepare;
pub mod quota;
pub mod random;
pub mod serve;
pub mod service;
pub mod store;

/// The time on the wall.
#[must_use]
pub fn wall_now() -> itu_y3803::WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    itu_y3803::WallTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
