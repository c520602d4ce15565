//! Rounds of measurements by load clients, which are processes of their own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Stdio;

use super::process::{CLIENT_CORE, Server, pinned};
use super::site::Site;
use super::statistics::median;
use crate::failure::Failure;
use crate::load::Measured;

/// Starts load clients.
#[derive(Debug)]
pub(super) struct Load {
    common: Vec<OsString>,
    rounds: usize,
}

/// One thing to measure in each round.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) name: String,
    arguments: Vec<String>,
}

/// What the rounds gave, by the names of the variants.
#[derive(Debug, Default)]
pub(super) struct Rounds(BTreeMap<String, Vec<Measured>>);

impl Variant {
    /// A variant of `bench load` or `bench handshakes` against a server.
    pub(super) fn new(name: impl Into<String>, command: &str, server: &Server) -> Result<Self, Failure> {
        let address = server.address("northbound")?;
        let arguments = vec![command.to_owned()];
        Ok(Self { name: name.into(), arguments }.with("--address", address).with("--watch", server.id()))
    }

    pub(super) fn with(mut self, option: &str, value: impl ToString) -> Self {
        self.arguments.extend([option.to_owned(), value.to_string()]);
        self
    }

    pub(super) fn flag(mut self, option: &str) -> Self {
        self.arguments.push(option.to_owned());
        self
    }

    /// The slave's requests go to this server.
    pub(super) fn slave_at(self, server: &Server) -> Result<Self, Failure> {
        let address: SocketAddr = server.address("northbound")?;
        Ok(self.with("--slave-address", address).with("--watch", server.id()))
    }
}

impl Load {
    pub(super) fn new(site: &Site, rounds: usize, warmup_ms: u64, measure_ms: u64) -> Self {
        let number = |value: u64| OsString::from(value.to_string());
        let common = vec![
            "--pki".into(),
            site.pki().into(),
            "--warmup-ms".into(),
            number(warmup_ms),
            "--measure-ms".into(),
            number(measure_ms),
        ];
        Self { common, rounds }
    }

    /// Every variant in turn, again and again; `after` is called with the name of each as soon as it is measured.
    pub(super) fn rounds(
        &self,
        variants: &[Variant],
        mut after: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<Rounds, Failure> {
        let mut rounds = Rounds::default();
        for round in 1..=self.rounds {
            for variant in variants {
                let measured = self.once(variant)?;
                let (rate, refused) = (measured.rate(), measured.refused);
                eprintln!("  {round}/{} {:<28} {rate:>9.0}/s  refused {refused}", self.rounds, variant.name);
                rounds.0.entry(variant.name.clone()).or_default().push(measured);
                after(&variant.name)?;
            }
        }
        Ok(rounds)
    }

    fn once(&self, variant: &Variant) -> Result<Measured, Failure> {
        let mut command = pinned(CLIENT_CORE, &std::env::current_exe()?);
        let output = command.args(&variant.arguments).args(&self.common).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(Failure::other(format!("the load client failed at {}", variant.name)));
        }
        let measured: Measured = serde_json::from_slice(&output.stdout)?;
        if measured.requests == 0 {
            return Err(Failure::other(format!("no request succeeded at {}; {} were refused", variant.name, measured.refused)));
        }
        Ok(measured)
    }
}

impl Rounds {
    /// All measurements of a variant, in the order of the rounds.
    pub(super) fn of(&self, name: &str) -> &[Measured] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The median over the rounds.
    pub(super) fn median(&self, name: &str, figure: impl Fn(&Measured) -> f64) -> f64 {
        median(self.of(name).iter().map(figure))
    }

    /// One variant over another, within each round.
    pub(super) fn ratios(&self, name: &str, over: &str, figure: impl Fn(&Measured) -> f64) -> Vec<f64> {
        self.of(name).iter().zip(self.of(over)).map(|(above, below)| figure(above) / figure(below)).collect()
    }

    pub(super) fn refused(&self) -> u64 {
        self.0.values().flatten().map(|measured| measured.refused).sum()
    }
}
