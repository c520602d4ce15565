//! Get key as master at one KME, then get key with key IDs as slave: at the same KME, and at another one over a QKD link.

use super::{BUSY, by_thread, thousands, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::measure::{Load, Rounds, Variant};
use crate::run::process::Server;
use crate::run::report::{Goal, Report};
use crate::run::scrape::Meters;
use crate::run::site::{Kme, Neighbour, Site, Store, free_addresses};

const CONNECTIONS: [usize; 3] = [1, 16, 64];

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let hello = site.start_hello()?;
    let one = site.start_kme(&Kme::alone("pairs", Store::Memory, BUSY))?;
    wait_for_keys(site, &one, 500)?;
    let memory = Two::start(site, Store::Memory, ["north-memory", "south-memory"])?;
    let lease = Two::start(site, Store::Lease, ["north-lease", "south-lease"])?;

    let mut variants = Vec::new();
    for connections in CONNECTIONS {
        let with = |variant: Variant, work: &str| variant.with("--work", work).with("--connections", connections);
        variants.push(with(Variant::new(named("hello", connections), "load", &hello)?, "hello"));
        variants.push(with(Variant::new(named(ONE, connections), "load", &one)?, "pairs"));
        for (name, two) in [(MEMORY, &memory), (LEASE, &lease)] {
            let variant = Variant::new(named(name, connections), "load", &two.north)?.slave_at(&two.south)?;
            variants.push(with(variant, "pairs"));
        }
    }
    let before = lease.meters()?;
    let rounds = load.rounds(&variants, |_| Ok(()))?;
    wait_for_keys(site, &lease.north, FULL)?;
    let after = lease.meters()?;

    let ratios = rounds.ratios(&named(ONE, 16), &named("hello", 16), Measured::rate);
    let goal = Goal::AtLeast { goal: 0.75, stretch: Some(0.8) };
    report.goal("Get key and collect it, one KME, memory: requests/s over hello, 16 connections", goal, &ratios);
    rates(&rounds, report);
    cost(&before, &after, report);
    Ok(())
}

fn rates(rounds: &Rounds, report: &mut Report) {
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        for name in ["hello", ONE, MEMORY, LEASE] {
            let variant = named(name, connections);
            let slave = match name {
                "hello" => "-".to_owned(),
                _ => {
                    let us = |figure: fn(&Measured) -> f64| rounds.median(&variant, figure);
                    format!("{:.0} / {:.0}", us(|m| m.slave_p50_us), us(|m| m.slave_p99_us))
                }
            };
            let over_hello = rounds.ratios(&variant, &named("hello", connections), Measured::rate);
            rows.push(vec![
                variant.clone(),
                thousands(rounds.median(&variant, Measured::rate)),
                format!("{:.2}", super::super::statistics::median(over_hello)),
                format!("{:.0} / {:.0}", rounds.median(&variant, |m| m.p50_us), rounds.median(&variant, |m| m.p99_us)),
                slave,
                by_thread(rounds, &variant),
            ]);
        }
    }
    let columns = [
        "servers, pairs of connections",
        "requests/s",
        "x hello",
        "master p50 / p99 µs",
        "slave p50 / p99 µs",
        "CPU µs by thread",
    ];
    report.table("Get key, then get key with key IDs", &columns, &rows);
    report.note(&format!("Two KMEs share the servers' core. Requests refused in all: {}.", rounds.refused()));
}

/// What one key that was delivered at both ends took, at both KMEs together.
fn cost(before: &[Meters; 2], after: &[Meters; 2], report: &mut Report) {
    let grown = |kme: usize, name: &str, label: &str| after[kme].sum(name, label) - before[kme].sum(name, label);
    let both = |name: &str, label: &str| grown(0, name, label) + grown(1, name, label);
    let keys = grown(1, "kme_keys_delivered_total", "operation=\"dec_keys\"");
    let mut rows = Vec::new();
    for (what, name, label) in [
        ("KM messages", "kme_kx", "messages_out"),
        ("octets of them", "kme_kx", "octets_out"),
        ("commits of the stores", "kme_store_commits", ""),
        ("calls to QKD modules", "kme_module_calls_total", ""),
        ("blocks bound", "kme_engine_events_total", "block_bound"),
        ("blocks or link keys expired", "kme_engine_events_total", "expired"),
        ("inputs to the engines", "kme_engine_inputs_total", ""),
    ] {
        rows.push(vec![what.to_owned(), format!("{:.4}", both(name, label) / keys)]);
    }
    report.table(
        "What one key costs that both ends were given, redb by leases, both KMEs together",
        &["what", "for each key"],
        &rows,
    );
    report.note(&format!("Over {keys:.0} keys of 32 octets."));
}

const ONE: &str = "one KME, memory";
const MEMORY: &str = "two KMEs, memory";
const LEASE: &str = "two KMEs, lease";

fn named(name: &str, connections: usize) -> String {
    format!("{name}, {connections}")
}

/// Two KMEs over an emulated link.
struct Two {
    north: Server,
    south: Server,
    _link: Server,
}

impl Two {
    fn start(site: &Site, store: Store, folders: [&str; 2]) -> Result<Self, Failure> {
        let [north_kx, south_kx, a, b] = free_addresses()?;
        let link = site.start_link(a, b)?;
        let start = |id, folder, own_kx, kx, module, other| {
            let neighbour = Some(Neighbour { id: other, own_kx, kx, module });
            site.start_kme(&Kme { id, folder, store, pool: LINKED, neighbour })
        };
        let north = start("north", folders[0], north_kx, south_kx, a, "south")?;
        let south = start("south", folders[1], south_kx, north_kx, b, "north")?;
        wait_for_keys(site, &north, FULL)?;
        Ok(Self { north, south, _link: link })
    }

    fn meters(&self) -> Result<[Meters; 2], Failure> {
        Ok([Meters::read(self.north.address("admin")?)?, Meters::read(self.south.address("admin")?)?])
    }
}

/// Enough ready to bridge what a module takes to answer: link keys of 1 KiB, a MiB for the pair. What is used is made up for at
/// once, so that the pools are as full after the rounds as before.
const LINKED: &str = "draw_limit = 990\nlink_low = 500\nlink_high = 512\nmax_incoming = 1024\npool_low = 1040000\n\
     pool_high = 1048576\npool_limit = 4194304\nlease_octets = 65536\ncollect_time = \"5s\"\nclock_skew = \"1s\"\nblock_life = \"1h\"\n";
/// Nearly `pool_high`, in keys of 32 octets.
const FULL: u64 = 32_000;
