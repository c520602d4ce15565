//! Many keys in one request.

use super::{BUSY, by_thread, thousands, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::measure::{Load, Variant};
use crate::run::report::{Goal, Report};
use crate::run::site::{Kme, Site, Store};
use crate::run::statistics::median;

const KEYS: usize = 100;

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let mut servers = Vec::new();
    for (name, store) in [("memory-many", Store::Memory), ("lease-many", Store::Lease)] {
        servers.push((name, site.start_kme(&Kme::alone(name, store, BUSY))?));
    }
    let mut variants = Vec::new();
    for (name, server) in &servers {
        wait_for_keys(site, server, 500)?;
        for number in [1, KEYS] {
            let variant = Variant::new(named(name, number), "load", server)?;
            variants.push(variant.with("--work", "enc").with("--connections", 16).with("--number", number));
        }
    }
    let rounds = load.rounds(&variants, |_| Ok(()))?;

    let mut rows = Vec::new();
    for (name, _) in &servers {
        let (one, many) = (named(name, 1), named(name, KEYS));
        let ratios: Vec<f64> = rounds.ratios(&many, &one, Measured::rate).iter().map(|ratio| ratio * KEYS as f64).collect();
        let goal = Goal::AtLeast { goal: 30.0, stretch: Some(50.0) };
        let what = name.trim_end_matches("-many");
        report.goal(&format!("Keys/s, {KEYS} in a request over 1, {what}, 16 connections"), goal, &ratios);
        for (variant, number) in [(one, 1), (many, KEYS)] {
            rows.push(vec![
                format!("{what}, {number}"),
                thousands(rounds.median(&variant, Measured::rate)),
                thousands(rounds.median(&variant, Measured::rate) * number as f64),
                format!("{:.1}", median(ratios.clone())),
                format!("{:.0} / {:.0}", rounds.median(&variant, |m| m.p50_us), rounds.median(&variant, |m| m.p99_us)),
                by_thread(&rounds, &variant),
            ]);
        }
    }
    let columns =
        ["store, keys a request", "requests/s", "keys/s", "keys/s over single", "p50 / p99 µs", "server CPU µs by thread"];
    for row in rows.iter_mut().step_by(2) {
        row[3] = "1".to_owned();
    }
    report.table("Many keys in one request, 16 connections", &columns, &rows);
    report.note(&format!("Requests refused: {}.", rounds.refused()));
    Ok(())
}

fn named(name: &str, number: usize) -> String {
    format!("{name}, {number}")
}
