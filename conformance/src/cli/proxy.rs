//! `proxy`.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::options::{self, Output};
use crate::proxy::{Settings, run};
use crate::run::{Options, RunError};

/// Where it stands.
#[derive(Args, Debug)]
pub(super) struct Proxy {
    /// Base URL of the KME
    #[arg(long)]
    upstream: String,
    /// Who signed the KME's certificate (PEM)
    #[arg(long)]
    ca: PathBuf,
    /// Where the SAE comes to, instead of the KME
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Certificate that the SAE sees (PEM)
    #[arg(long)]
    cert: PathBuf,
    /// Its key, if that is not in the same file or beside it (.key)
    #[arg(long)]
    key: Option<PathBuf>,
    /// Who signed the SAE's certificate (PEM)
    #[arg(long)]
    client_ca: PathBuf,
    /// The SAE's certificate, to show to the KME (PEM)
    #[arg(long)]
    sae_cert: PathBuf,
    /// Its key, if that is not in the same file or beside it (.key)
    #[arg(long)]
    sae_key: Option<PathBuf>,
    /// The SAE's ID, to see whether it names its peer in the path
    #[arg(long)]
    sae_id: Option<String>,
    /// End after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// End after so many requests
    #[arg(long)]
    requests: Option<u64>,
    /// Known deviations
    #[arg(long, env = "QKDSPEC_EXPECTED")]
    expected: Option<PathBuf>,
    /// Permit plain HTTP; the report is not valid for claims
    #[arg(long, env = "QKDSPEC_INSECURE_LAB", value_parser = BoolishValueParser::new())]
    insecure_lab: bool,
    #[command(flatten)]
    output: Output,
}

impl Proxy {
    pub(super) fn perform(self, again: &str, out: &mut (impl Write + IsTerminal)) -> Result<u8, RunError> {
        let options =
            Options { insecure_lab: self.insecure_lab, again: again.to_owned(), ..self.output.options(self.expected, out) };
        options::watch_interrupts(&options.interrupted);
        let settings = Settings {
            upstream: self.upstream,
            ca: self.ca,
            listen: self.listen,
            cert: self.cert,
            key: self.key,
            client_ca: self.client_ca,
            sae_cert: self.sae_cert,
            sae_key: self.sae_key,
            sae_id: self.sae_id,
            seconds: self.seconds,
            requests: self.requests,
        };
        self.output.written(|| run(&settings, &options, out))
    }
}
