//! A client of the ETSI GS QKD 014 key delivery API: an SAE for people, scripts and demonstrations.
//!
//! - [`SaeClient`] is the client of the `etsi014` crate over HTTPS with mutual authentication, as the `transport` crate has it.
//! - [`cli::run`] is the command line `sae status|enc|dec` as a function, so that another program can re-execute itself as a client.
//! - [`Fingerprint`] lets two ends compare a key without showing it.
//!
//! A key is printed only when asked for with `--show-key`; no error and no `Debug` text holds one.

pub mod cli;
mod client;
mod demo;
mod fingerprint;

pub use client::{CallFailure, SaeClient, Settings};
pub use fingerprint::Fingerprint;
