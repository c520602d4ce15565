//! `run sae`, and the pair of KMEs for interactive use.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::options::{self, ConfigFile, Order, Output, Selection};
use crate::bounds::{SHOWN, TOLD};
use crate::config::{IdField, Side};
use crate::player::{self, Pki, Player, SCENARIOS, Site, kme_id};
use crate::report::broken;
use crate::run::RunError;
use crate::sae::{ClientConfig, Role, TASKS, run_sae_guarded};
use crate::secret::Vault;

/// Which end the SAE under test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleFlag {
    /// It draws keys
    Master,
    /// It fetches keys by their IDs
    Slave,
    Both,
}

/// An SAE under test.
#[derive(Args, Debug)]
pub(super) struct SaeRun {
    #[command(flatten)]
    selection: Selection,
    /// What the SAE is
    #[arg(long, value_enum)]
    role: RoleFlag,
    /// Shell command that does what its environment says, instead of what [client] of the configuration says
    #[arg(long, env = "QKDSPEC_EXEC")]
    exec: Option<String>,
    /// An SAE has to give up by itself within so many seconds, instead of [client] timeout_s
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// Host in the KMEs' URLs, instead of [client] host; an SAE on another machine needs one that leads here
    #[arg(long, env = "QKDSPEC_HOST")]
    host: Option<String>,
    /// Where KME A listens, instead of [client] listen_a
    #[arg(long, env = "QKDSPEC_LISTEN_A", value_name = "ADDRESS:PORT")]
    listen_a: Option<SocketAddr>,
    /// Where KME B listens, instead of [client] listen_b
    #[arg(long, env = "QKDSPEC_LISTEN_B", value_name = "ADDRESS:PORT")]
    listen_b: Option<SocketAddr>,
    #[command(flatten)]
    file: ConfigFile,
    /// Known deviations
    #[arg(long, env = "QKDSPEC_EXPECTED")]
    expected: Option<PathBuf>,
    #[command(flatten)]
    order: Order,
    #[command(flatten)]
    output: Box<Output>,
}

impl SaeRun {
    /// Runs, writes the report, and gives the exit code.
    pub(super) fn perform(self, again: &str, out: &mut (impl Write + IsTerminal)) -> Result<u8, RunError> {
        let path = &self.file.config;
        let config = match &self.exec {
            Some(command) if !path.exists() => ClientConfig::for_command(command)?,
            Some(command) => ClientConfig::load_for(path, command)?,
            None => ClientConfig::load(path)?,
        };
        let mut config = config.at(self.host.as_deref(), [self.listen_a, self.listen_b])?;
        if let Some(seconds) = self.timeout {
            config = config.with_timeout(seconds);
        }
        let roles: &[Role] = match self.role {
            RoleFlag::Master => &[Role::Master],
            RoleFlag::Slave => &[Role::Slave],
            RoleFlag::Both => &[Role::Master, Role::Slave],
        };
        let mut options = self.order.applied(self.output.options(self.expected, out), self.selection)?;
        again.clone_into(&mut options.again);
        options::watch_interrupts(&options.interrupted);
        self.output.written(|| run_sae_guarded(config, roles, &options, out))
    }
}

/// What the environment asks of a command, for `--help`.
pub(super) fn contract() -> String {
    let mut text = "The command is run once per scenario, with its task in the environment:\n\n".to_owned();
    for (name, what) in [
        ("QKDSPEC_SCENARIO", "what to do; see below. Anything else: exit 89"),
        ("QKDSPEC_ROLE", "master or slave"),
        ("QKDSPEC_KME", "base URL of the KME to use; QKDSPEC_KME_ID: its KME ID"),
        ("QKDSPEC_SAE, _PEER", "the SAE's own ID, and that of the other SAE"),
        ("QKDSPEC_CERT, _KEY, _CA", "PEM files: certificate, key, authority of the KMEs"),
        ("QKDSPEC_NUMBER, _SIZE", "keys, and bits per key, where that matters"),
        ("QKDSPEC_KEY_IDS", "for a slave: what the master told it"),
        ("QKDSPEC_FP_SALT", "key of the fingerprints"),
    ] {
        text.push_str(&format!("  {name:<25}{}\n", broken(what, Some(79), 27, 27)));
    }
    text.push_str(
        "\nFor every key it prints `key_ID fingerprint`, never the key: HMAC-SHA-256 of\n\
         the key's octets under the text of QKDSPEC_FP_SALT, in hexadecimal digits, 16\n\
         at least. Exit 0: done; 1: failed, and said so on standard error; 89: not\n\
         supported. A scenario of a random name comes first and must give 89.\n\nScenarios:\n",
    );
    for (name, who, what) in TASKS {
        text.push_str(&format!("  {name:<18}{who:<8}{}\n", broken(what, Some(79), 28, 28)));
    }
    text + "\nExamples:\n  qkdspec run sae --role master --exec 'python3 shim.py'\n  qkdspec run sae --role both --config client.toml --report r.json\n  qkdspec run sae --role slave TLS KEY-001 --exec ./shim --timeout 20"
}

/// What to mock.
#[derive(Args, Debug)]
pub(super) struct Mock {
    /// kme-pair
    #[arg(value_parser = ["kme-pair"])]
    what: String,
    /// What is wrong, or odd, with it; `list` lists
    #[arg(long, default_value = "good")]
    scenario: String,
    /// Folder for certificates (made there, or kept if they are there); absent: one of its own, under the system's for temporary files
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where KME A listens
    #[arg(long, default_value = "127.0.0.1:0")]
    listen_a: SocketAddr,
    /// Where KME B listens
    #[arg(long, default_value = "127.0.0.1:0")]
    listen_b: SocketAddr,
    /// Host in the URLs and the certificates
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// SAE ID of the master
    #[arg(long, default_value = "sae-red")]
    master: String,
    /// SAE ID of the slave
    #[arg(long, default_value = "sae-blue")]
    slave: String,
    /// Where KME IDs are in certificates: cn, san-dns or san-uri:PREFIX
    #[arg(long, default_value = "cn")]
    kme_id_field: String,
    /// Authority of SAEs that bring a certificate of their own (PEM)
    #[arg(long)]
    client_ca: Option<PathBuf>,
    /// End after so many seconds; absent: with Ctrl-C
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl Mock {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<(), RunError> {
        if self.scenario == "list" {
            for scenario in SCENARIOS {
                writeln!(out, "{:<24}{:<12}{}", scenario.id, scenario.place.name(), scenario.what)?;
            }
            return Ok(());
        }
        let scenario = player::scenario(&self.scenario)
            .ok_or_else(|| RunError::Usage(format!("no scenario `{}`; `--scenario list` lists them", self.scenario)))?;
        let field = IdField::parse(&self.kme_id_field).map_err(RunError::Usage)?;
        let folder = match &self.dir {
            Some(folder) => folder.clone(),
            None => std::env::temp_dir().join(format!("qkdspec-mock-{}", std::process::id())),
        };
        let saes = [self.master.as_str(), &self.slave];
        let listen = [self.listen_a, self.listen_b];
        let site = Site { host: self.host.clone(), hosts: Vec::new(), listen, listen_plain: None };
        let pki = Arc::new(Pki::new(&folder, &site, Some(field), &saes, self.client_ca.as_deref()).map_err(RunError::Usage)?);
        let vault = Arc::new(Vault::new().map_err(RunError::Usage)?);
        let player = Player::start(pki.clone(), vault.clone(), "mock", &site).map_err(RunError::Usage)?;
        let stage = player.play(scenario).map_err(RunError::Usage)?;
        writeln!(out, "{}: {}", scenario.id, scenario.what)?;
        for (side, sae, peer, call) in [
            (Side::A, &self.master, &self.slave, "enc_keys?number=1"),
            (Side::B, &self.slave, &self.master, "dec_keys?key_ID=KEY_ID"),
        ] {
            let url = player.url(side, None);
            let (cert, key) = pki.of_sae(sae);
            writeln!(out, "\nKME {} {url}  KME ID {}", side.letter(), kme_id(side))?;
            writeln!(
                out,
                "  curl --cacert {} --cert {} --key {} '{url}/api/v1/keys/{}/{call}'",
                pki.ca().display(),
                cert.display(),
                key.display(),
                crate::wire::percent_encoded(peer)
            )?;
        }
        writeln!(out, "\nrequests, as they come; keys are not shown:")?;
        out.flush()?;
        self.watch(&stage, &vault, out)
    }

    /// Tells what comes, until the time is over or Ctrl-C.
    fn watch(&self, stage: &player::Stage, vault: &Vault, out: &mut dyn Write) -> Result<(), RunError> {
        let began = std::time::Instant::now();
        let interrupted = Arc::new(AtomicBool::new(false));
        options::watch_interrupts(&interrupted);
        let (mut requests, mut connections, mut told_of_more) = (0, 0, false);
        while !interrupted.load(Ordering::SeqCst) && self.seconds.is_none_or(|seconds| began.elapsed().as_secs() < seconds) {
            thread::sleep(Duration::from_millis(100));
            let journal = stage.journal();
            for connection in journal.connections.iter().skip(connections) {
                if connection.failed.is_none() && connection.tls.is_none() && connection.at.elapsed().as_secs() < 1 {
                    break;
                }
                connections += 1;
                let what = connection.failed.as_deref().or(connection.tls.as_deref()).unwrap_or("no handshake");
                writeln!(out, "{} connection: {}", connection.side.letter(), vault.told(what, TOLD))?;
            }
            for seen in journal.requests.iter().skip(requests) {
                requests += 1;
                let line = vault.told(&format!("{} {}", seen.asked.method, seen.asked.target), SHOWN);
                writeln!(out, "{} {line} -> {} {}", seen.side.letter(), seen.status, seen.cut.as_deref().unwrap_or(&seen.shown))?;
            }
            if journal.dropped().is_some() && !told_of_more {
                told_of_more = true;
                writeln!(out, "what comes from now on is answered, and not shown")?;
            }
            out.flush()?;
        }
        Ok(())
    }
}
