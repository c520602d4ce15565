//! What is measured.

mod handshakes;
mod many;
mod pairs;
mod pool;
mod rates;
mod silent;

use std::thread;
use std::time::{Duration, Instant};

use super::Section;
use super::measure::{Load, Rounds};
use super::process::Server;
use super::report::Report;
use super::site::Site;
use crate::client::{TargetArguments, get};
use crate::failure::Failure;

type Measure = fn(&Site, &Load, &mut Report) -> Result<(), Failure>;

pub(super) const ALL: [(Section, Measure); 6] = [
    (Section::Rates, rates::section),
    (Section::Many, many::section),
    (Section::Pool, pool::section),
    (Section::Silent, silent::section),
    (Section::Handshakes, handshakes::section),
    (Section::Pairs, pairs::section),
];

/// Settings of a KME with busy SAEs: 2 MiB held ready for a pair, leases of 256 KiB; blocks do not outlive the run by long.
const BUSY: &str = "local_block_octets = 65536\nlease_octets = 262144\npool_low = 1048576\npool_high = 2097152\n\
     pool_limit = 4194304\ncollect_time = \"5s\"\nclock_skew = \"1s\"\nblock_life = \"30s\"\n";

/// Waits until so many keys are ready for red and blue.
fn wait_for_keys(site: &Site, kme: &Server, keys: u64) -> Result<(), Failure> {
    let patience = Instant::now() + Duration::from_secs(120);
    let target = TargetArguments { address: kme.address("northbound")?, pki: site.pki(), sae: "red".to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = target.dialler()?.dial().await?;
        loop {
            let answer = connection.exchange(&get("/api/v1/keys/blue/status")).await?;
            let status: serde_json::Value = serde_json::from_slice(answer.body)?;
            let stored = status.get("stored_key_count").and_then(serde_json::Value::as_u64).unwrap_or(0);
            if stored >= keys {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err(Failure::other(format!("a KME has {stored} keys ready, not {keys}: {status}")));
            }
            thread::sleep(Duration::from_millis(50));
        }
    })
}

const MICROSECONDS: &str = "µs";

fn thousands(rate: f64) -> String {
    if rate < 100_000.0 { format!("{:.1} k", rate / 1000.0) } else { format!("{:.0} k", rate / 1000.0) }
}

/// CPU of the server's threads for each request, as one cell.
fn by_thread(rounds: &Rounds, variant: &str) -> String {
    let Some(names) = rounds.of(variant).first().map(|measured| measured.server_cpu_ns.keys().cloned().collect::<Vec<_>>())
    else {
        return String::new();
    };
    let of_thread = |name: &String| {
        let us = rounds.median(variant, |measured| {
            measured.server_cpu_ns.get(name).copied().unwrap_or(0) as f64 / 1000.0 / measured.requests as f64
        });
        (us >= 0.05).then(|| format!("{name} {us:.1}"))
    };
    names.iter().filter_map(of_thread).collect::<Vec<_>>().join(", ")
}
