//! Conformance suite for the key delivery API of ETSI GS QKD 014 V1.1.1.
//!
//! Judges one or two key management entities (KMEs) from outside: a verdict per case, with the exchanges that led to it. It
//! shares no code with any KME, reads JSON and HTTP by itself, and shows no key, only fingerprints that are worth nothing
//! after the run.
//!
//! ```no_run
//! use std::path::Path;
//! use qkdspec::{Config, Options, Verdict};
//!
//! let config = Config::load(Path::new("qkdspec.toml"))?;
//! let report = qkdspec::run(config, &Options::default(), &mut std::io::stdout())?;
//! assert_eq!(report.with(Verdict::Fail), Vec::<&str>::new());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod case;
mod cases;
mod catalogue;
pub mod cli;
mod config;
mod ctx;
mod diff;
mod expected;
mod forge;
mod hooks;
mod json;
mod lab;
mod passive;
mod pki;
mod plan;
mod player;
mod proxy;
mod report;
mod rng;
mod run;
mod sae;
mod secret;
mod select;
mod selftest;
mod sign;
mod status;
mod wire;

pub use config::{Config, ConfigError, Side};
pub use lab::Mode;
pub use report::{
    CaseResult, Check, Exchange, Ics, KeyCost, KmeFacts, LedgerFacts, LeftBehind, Message, PlanFacts, Report, RequirementFacts,
    Summary, Target, Tool, Verdict,
};
pub use run::{Options, RunError, run};
pub use sae::{ClientConfig, Role, run_sae};

/// Lower-case hexadecimal digits.
fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// SHA-256 in hexadecimal digits.
fn sha256(octets: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref())
}
