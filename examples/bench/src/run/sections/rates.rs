//! Get key of one key, by store and durability, against hello.

use super::{BUSY, MICROSECONDS, by_thread, thousands, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::disk;
use crate::run::measure::{Load, Variant};
use crate::run::report::{Goal, Report};
use crate::run::site::{Kme, Site, Store};
use crate::run::statistics::median;

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let hello = site.start_hello()?;
    let mut servers = vec![("hello", hello)];
    for (name, store) in [("memory", Store::Memory), ("lease", Store::Lease), ("strict", Store::Strict)] {
        let pool = if store == Store::Strict { STRICT } else { BUSY };
        servers.push((name, site.start_kme(&Kme::alone(name, store, pool))?));
    }
    let mut variants = Vec::new();
    for connections in CONNECTIONS {
        for (name, server) in &servers {
            let work = if *name == "hello" { "hello" } else { "enc" };
            if *name != "hello" {
                wait_for_keys(site, server, 500)?;
            }
            let variant = Variant::new(named(name, connections), "load", server)?;
            variants.push(variant.with("--work", work).with("--connections", connections));
        }
    }
    let mut syncs = Vec::new();
    let rounds = load.rounds(&variants, |measured| {
        // At once after what it is compared with: a disk that others use too changes from minute to minute.
        if measured == named("strict", 1) {
            syncs.push(disk::sync_us(site.folder())?);
        }
        Ok(())
    })?;

    report.fact(format!("Disk: 32 octets appended and fdatasync, p50 {:.0} µs (median over the rounds)", median(syncs.clone())));
    let over_hello =
        |name: &str, connections| rounds.ratios(&named(name, connections), &named("hello", connections), Measured::rate);
    let memory = Goal::AtLeast { goal: 0.75, stretch: Some(0.9) };
    report.goal("Get key, memory store, over hello, 16 connections", memory, &over_hello("memory", 16));
    report.goal("Get key, memory store, over hello, 64 connections", memory, &over_hello("memory", 64));
    let lease = Goal::AtLeast { goal: 0.65, stretch: Some(0.9) };
    report.goal("Get key, redb by leases, over hello, 64 connections", lease, &over_hello("lease", 64));
    let strict = Goal::AtLeast { goal: 0.2, stretch: None };
    report.goal("Get key, redb strict, over hello, 64 connections", strict, &over_hello("strict", 64));
    let (strict_alone, hello_alone) = (rounds.of("strict, 1"), rounds.of("hello, 1"));
    let latency: Vec<f64> = strict_alone
        .iter()
        .zip(hello_alone)
        .zip(&syncs)
        .map(|((strict, hello), sync)| strict.p50_us / (hello.p50_us + sync))
        .collect();
    report.goal("One strict request: p50 over (hello p50 + fdatasync p50)", Goal::AtMost { goal: 2.5 }, &latency);

    let columns = ["server, connections", "requests/s", "x hello", "p50 / p99 µs", "server CPU µs a request", "by thread"];
    let row = |name: &str, connections| {
        let variant = named(name, connections);
        vec![
            variant.clone(),
            thousands(rounds.median(&variant, Measured::rate)),
            format!("{:.2}", median(over_hello(name, connections))),
            format!("{:.0} / {:.0}", rounds.median(&variant, |m| m.p50_us), rounds.median(&variant, |m| m.p99_us)),
            format!("{:.2}", rounds.median(&variant, Measured::server_us)),
            by_thread(&rounds, &variant),
        ]
    };
    let rows: Vec<_> =
        CONNECTIONS.iter().flat_map(|&connections| servers.iter().map(move |(name, _)| (name, connections))).collect();
    let rows: Vec<_> = rows.into_iter().map(|(name, connections)| row(name, connections)).collect();
    report.table("Get key, one key of 256 bits", &columns, &rows);
    report.note(&format!("CPU by thread is in {MICROSECONDS} a request; requests refused in all: {}.", rounds.refused()));
    Ok(())
}

/// Smaller blocks: each answer waits for its block to be written again.
const STRICT: &str = "local_block_octets = 1024\npool_low = 524288\npool_high = 1048576\npool_limit = 4194304\n\
     collect_time = \"5s\"\nclock_skew = \"1s\"\nblock_life = \"30s\"\n";

fn named(name: &str, connections: usize) -> String {
    format!("{name}, {connections}")
}
