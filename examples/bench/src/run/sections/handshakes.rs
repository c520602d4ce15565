//! New connections, post-quantum and classical.

use super::{BUSY, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::measure::{Load, Variant};
use crate::run::report::{Goal, Report};
use crate::run::site::{Kme, Site, Store};

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let kme = site.start_kme(&Kme::alone("handshakes", Store::Memory, BUSY))?;
    wait_for_keys(site, &kme, 500)?;
    let mut variants = Vec::new();
    for connections in [1, 8] {
        for group in [CLASSICAL, POST_QUANTUM] {
            let variant = Variant::new(named(group, connections), "handshakes", &kme)?;
            let variant = variant.with("--path", "/api/v1/keys/blue/status").with("--connections", connections);
            variants.push(if group == CLASSICAL { variant.flag("--classical") } else { variant });
        }
    }
    let rounds = load.rounds(&variants, |_| Ok(()))?;
    let mut rows = Vec::new();
    for connections in [1, 8] {
        let (classical, post_quantum) = (named(CLASSICAL, connections), named(POST_QUANTUM, connections));
        if connections > 1 {
            let goal = Goal::AtLeast { goal: 0.8, stretch: Some(0.9) };
            let ratios = rounds.ratios(&post_quantum, &classical, Measured::rate);
            report.goal(&format!("New mutual post-quantum connections/s over classical, {connections} at a time"), goal, &ratios);
        }
        for variant in [classical, post_quantum] {
            rows.push(vec![
                variant.clone(),
                format!("{:.0}", rounds.median(&variant, Measured::rate)),
                format!("{:.0} / {:.0}", rounds.median(&variant, |m| m.p50_us), rounds.median(&variant, |m| m.p99_us)),
                format!("{:.0}", rounds.median(&variant, Measured::server_us)),
            ]);
        }
    }
    let columns = ["key exchange, connections at a time", "connections/s", "p50 / p99 µs", "server CPU µs a connection"];
    report.table("New connections: mutual handshake, Get status, reset", &columns, &rows);
    Ok(())
}

const CLASSICAL: &str = "X25519";
const POST_QUANTUM: &str = "X25519MLKEM768";

fn named(group: &str, connections: usize) -> String {
    format!("{group}, {connections}")
}
