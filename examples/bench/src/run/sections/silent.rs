//! Connections that never get to their handshake.

use super::{BUSY, wait_for_keys};
use crate::failure::Failure;
use crate::load::Measured;
use crate::run::measure::{Load, Variant};
use crate::run::report::{Goal, Report};
use crate::run::site::{Kme, Site, Store};

const SILENT: usize = 200;

pub(super) fn section(site: &Site, load: &Load, report: &mut Report) -> Result<(), Failure> {
    let kme = site.start_kme(&Kme::alone("silent", Store::Memory, BUSY))?;
    wait_for_keys(site, &kme, 500)?;
    let variant = |name: &str| {
        let variant = Variant::new(name, "load", &kme)?;
        Ok::<_, Failure>(variant.with("--work", "enc").with("--connections", 64))
    };
    let rounds = load.rounds(&[variant("alone")?, variant("beside silent ones")?.with("--silent", SILENT)], |_| Ok(()))?;
    let ratios = rounds.ratios("beside silent ones", "alone", Measured::rate);
    let goal = Goal::AtLeast { goal: 0.95, stretch: None };
    report.goal(&format!("Rate with {SILENT} silent connections open, 64 connections"), goal, &ratios);
    Ok(())
}
