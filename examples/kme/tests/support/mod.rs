//! Two KMEs with a QKD link between them, and SAEs: real processes, real TLS, any free ports, a temporary folder.

#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod process;
mod random;
mod sae;
#[cfg(unix)]
mod search;
mod site;

pub(crate) use random::Seeded;
pub(crate) use sae::{Answer, Sae, key_ids, read_to_end};
#[cfg(unix)]
pub(crate) use search::{Found, Needles};
pub(crate) use site::{Kme, Settings, Site};

use std::time::{Duration, Instant};

/// How long anything may take that surely happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
