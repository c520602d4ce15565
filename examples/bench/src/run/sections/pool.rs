//! The same load with few and with many keys ready.

use super::{thousands, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::measure::{Load, Variant};
use crate::run::report::{Goal, Report};
use crate::run::site::{Kme, Site, Store};

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (what, store) in [("memory", Store::Memory), ("lease", Store::Lease)] {
        // The same leases and blocks, so that only the number of keys in store differs.
        let (few, many) = (format!("{what}-1000"), format!("{what}-1000000"));
        let settings =
            "local_block_octets = 8192\nlease_octets = 16384\ncollect_time = \"5s\"\nclock_skew = \"1s\"\nblock_life = \"1h\"\n";
        let few_pool = format!("{settings}pool_low = 32000\npool_high = 40000\npool_limit = 262144\n");
        let many_pool = format!("{settings}pool_low = 32000000\npool_high = 33000000\npool_limit = 34000000\n");
        let few_server = site.start_kme(&Kme::alone(&few, store, &few_pool))?;
        let many_server = site.start_kme(&Kme::alone(&many, store, &many_pool))?;
        wait_for_keys(site, &few_server, 1000)?;
        wait_for_keys(site, &many_server, 1_000_000)?;
        let variant = |name: &str, server| {
            let variant = Variant::new(name, "load", server)?;
            Ok::<_, Failure>(variant.with("--work", "enc").with("--connections", 64))
        };
        let rounds = load.rounds(&[variant(&few, &few_server)?, variant(&many, &many_server)?], |_| Ok(()))?;
        let goal = Goal::AtLeast { goal: 0.9, stretch: None };
        report.goal(&format!("Rate with 10⁶ keys ready over 10³, {what}"), goal, &rounds.ratios(&many, &few, Measured::rate));
        for (name, keys) in [(few, "10³"), (many, "10⁶")] {
            rows.push(vec![
                what.to_owned(),
                keys.to_owned(),
                thousands(rounds.median(&name, Measured::rate)),
                format!("{:.0} / {:.0}", rounds.median(&name, |m| m.p50_us), rounds.median(&name, |m| m.p99_us)),
                rounds.refused().to_string(),
            ]);
        }
    }
    let columns = ["store", "keys ready", "requests/s", "p50 / p99 µs", "refused (both)"];
    report.table("Keys in store, 64 connections, one key a request", &columns, &rows);
    Ok(())
}
