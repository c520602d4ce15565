//! `kme demo`: an emulated QKD link, two KMEs and their applications, each a process of its own.
//!
//! This process starts the others by executing itself again, tells what happens, and ends them when it ends: they hold the
//! other ends of pipes to their standard inputs, and stop when these close, whatever became of this process.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use transport::pki::PkiError;

use crate::config::Durability;

mod client;
mod conformance;
mod files;
mod folder;
mod narrator;
mod network;
mod process;

use client::{RunKey, SaeClient, SuppliedKey};
use folder::Folder;
use narrator::Narrator;
use network::Network;
use process::Servers;

/// What to show.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is written. Must not exist, be empty, or have been made by a former demonstration.
    pub folder: PathBuf,
    /// The port of KME north; south has the next. 0: any free ones.
    pub base_port: u16,
    /// Whether to serve on when all has been shown.
    pub serve_on: bool,
    /// How many bits of key the link makes in a second. Without it, the rate varies as that of a real link: by a synthetic trace.
    pub link_rate_bps: Option<f64>,
    /// When a key that is handed out has left the store.
    pub durability: Durability,
}

/// Shows it, then serves on if that is wanted, until `stop` resolves. All processes have ended when this returns.
///
/// # Errors
/// [`DemoError`] when something cannot start, or is not as it should be.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), DemoError> {
    let narrator = Narrator::new();
    let mut servers = Servers::default();
    let all_shown = Cell::new(false);
    let shown = tokio::select! {
        shown = show(&options, &narrator, &mut servers, &all_shown) => shown,
        () = stop => if all_shown.get() { Ok(()) } else { Err(DemoError::Interrupted) },
    };
    servers.stop().await;
    match &shown {
        Ok(()) => narrator.tell("all processes have ended"),
        Err(_) => narrator.tell("ended early"),
    }
    shown
}

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The folder is somebody else's.
    #[error("{}: was not made by `kme demo`, and is not empty; name another folder with --dir", .0.display())]
    ForeignFolder(PathBuf),
    /// Another demonstration uses the folder.
    #[error("{}: another demonstration is running there; end it, or name another folder with --dir", .0.display())]
    FolderInUse(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The certificates cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Signals cannot be listened to.
    #[error("no signals: {0}")]
    Signals(#[source] io::Error),
    /// The operating system gives no random octets.
    #[error("the operating system gives no random octets")]
    NoRandomness,
    /// There are no free ports.
    #[error("no free ports: {0}")]
    Ports(#[source] io::Error),
    /// A process cannot be started.
    #[error("{name} cannot be started: {source}")]
    Start {
        /// Which.
        name: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// A process was not ready in time.
    #[error("{name} was not ready within {} s; its log ends:\n{log_tail}", limit.as_secs())]
    NotReady {
        /// Which.
        name: &'static str,
        /// The time it had.
        limit: Duration,
        /// The last lines of its log.
        log_tail: String,
    },
    /// A process ended that should not.
    #[error("{name} has ended ({status}); its log ends:\n{log_tail}")]
    Ended {
        /// Which.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log_tail: String,
    },
    /// It was told to stop before all was shown.
    #[error("stopped before all was shown")]
    Interrupted,
    /// A port that was given is taken.
    #[error("port {port} is taken; name another with --base-port, or --base-port 0 for any\n{log_tail}")]
    PortTaken {
        /// Which.
        port: u16,
        /// The last lines of the log of who found out.
        log_tail: String,
    },
    /// An application was not served.
    #[error("{sae} asked its KME for `{request}`: {reason}")]
    Client {
        /// Which application.
        sae: &'static str,
        /// What it asked.
        request: String,
        /// What became of it.
        reason: String,
    },
    /// Two applications that should have the same keys have others.
    #[error("{master} and {slave} have different keys")]
    Different {
        /// Who drew them.
        master: &'static str,
        /// Who fetched them.
        slave: &'static str,
    },
    /// The conformance suite found a fault, or could not look.
    #[error("the conformance suite is not content:\n{0}")]
    NotConforming(String),
    /// A key was supplied twice.
    #[error("{sae} was given a key a second time")]
    SuppliedTwice {
        /// To whom.
        sae: &'static str,
    },
}

async fn show(options: &Options, narrator: &Narrator, servers: &mut Servers, all_shown: &Cell<bool>) -> Result<(), DemoError> {
    narrator.say(TITLE);
    let folder = Folder::prepare(&options.folder)?;
    files::write_pki(&folder)?;
    narrator.tell(
        "certificates made: a throw-away authority, KMEs north and south, SAEs red, blue, green and grey, and some to be refused",
    );

    let run = RunKey::new()?;
    let network = Network::start(options, &folder, narrator, servers).await?;
    conformance::write_configuration(&folder, &network)?;
    files::write_demo_json(&folder, &network)?;
    let shown = async {
        let [red, blue] = ["red", "blue"].map(|sae| SaeClient::new(&folder, &run, sae));
        fill(&red, "blue", narrator).await?;
        share(&red, &blue, narrator).await?;
        let [green, grey] = ["green", "grey"].map(|sae| SaeClient::new(&folder, &run, sae));
        narrator.tell("green and grey are both at south: their key is of the KME's own generator, not from the QKD link");
        share(&green, &grey, narrator).await?;
        check(&folder, narrator).await?;
        if options.serve_on {
            let [spare] = take(draw(&red, "blue", 1, narrator).await?)?;
            narrator.say(&try_it(&folder, &network, &spare));
        }
        Ok(())
    };
    let shown: Result<(), DemoError> = shown.await;
    if shown.is_err() {
        // The better reason, if there is one.
        servers.check()?;
    }
    shown?;
    all_shown.set(true);
    if options.serve_on { Err(servers.ended().await) } else { Ok(()) }
}

/// Waits until key is ready for red and blue, or no more comes.
async fn fill(master: &SaeClient, slave: &'static str, narrator: &Narrator) -> Result<(), DemoError> {
    let begun = Instant::now();
    let mut last = None;
    let mut steady_since = Instant::now();
    while begun.elapsed() < FILL_LIMIT {
        let ready = master.keys_ready(slave).await?;
        if last != Some(ready) {
            narrator.progress(&format!("256-bit keys ready for {} and {slave}", master.id()), ready, FULL);
            (last, steady_since) = (Some(ready), Instant::now());
        }
        let steady = if ready > 0 { FULL_WHEN_STEADY } else { EMPTY_WHEN_STEADY };
        if steady_since.elapsed() > steady || ready >= FULL {
            break;
        }
        sleep(POLL).await;
    }
    narrator.end_progress();
    Ok(())
}

/// The conformance suite has a first look at both KMEs.
async fn check(folder: &Folder, narrator: &Narrator) -> Result<(), DemoError> {
    let summary = conformance::smoke(folder).await?;
    narrator.tell(&format!("the conformance suite has asked both KMEs, by its profile {}:", conformance::SMOKE));
    summary.lines().for_each(|line| narrator.say(&format!("           {line}")));
    Ok(())
}

/// The master draws keys, the slave fetches them by their IDs, both have the same, and a second time is refused.
async fn share(master: &SaeClient, slave: &SaeClient, narrator: &Narrator) -> Result<(), DemoError> {
    let drawn = draw(master, slave.id(), KEYS, narrator).await?;
    let labels: BTreeSet<&str> = drawn.iter().map(|key| key.label.as_str()).collect();
    let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
    narrator.tell(&format!("{} drew {KEYS} keys for {} at KME {}; qkms_label: {labels}", master.id(), slave.id(), master.kme()));
    tell_keys(narrator, &drawn);
    let ids: Vec<&str> = drawn.iter().map(|key| key.id.as_str()).collect();
    let fetched = slave.fetch(master.id(), &ids).await?;
    narrator.tell(&format!("{} fetched them by their IDs at KME {}:", slave.id(), slave.kme()));
    tell_keys(narrator, &fetched);
    if drawn.is_empty() || !drawn.iter().map(SuppliedKey::shared).eq(fetched.iter().map(SuppliedKey::shared)) {
        return Err(DemoError::Different { master: master.id(), slave: slave.id() });
    }
    match slave.fetch(master.id(), &ids).await {
        Ok(_) => return Err(DemoError::SuppliedTwice { sae: slave.id() }),
        Err(failed) if failed.status == Some(KEYS_NOT_FOUND) => {}
        Err(failed) => return Err(failed.into()),
    }
    narrator.tell("the keys are EQUAL; fetching them once more is refused, as it must be");
    Ok(())
}

/// Draws keys, with patience: the first ones may have to be made.
async fn draw(master: &SaeClient, slave: &'static str, number: u32, narrator: &Narrator) -> Result<Vec<SuppliedKey>, DemoError> {
    let begun = Instant::now();
    loop {
        match master.draw(slave, number).await {
            Ok(keys) => return Ok(keys),
            Err(failed) if failed.status == Some(NOT_NOW) && begun.elapsed() < DRAW_LIMIT => {
                narrator.tell(&format!("no key yet for {} and {slave}; asking again", master.id()));
                sleep(2 * POLL).await;
            }
            Err(failed) => return Err(failed.into()),
        }
    }
}

fn take<const N: usize>(keys: Vec<SuppliedKey>) -> Result<[SuppliedKey; N], DemoError> {
    keys.try_into().map_err(|keys: Vec<SuppliedKey>| DemoError::Client {
        sae: "red",
        request: format!("{N} keys"),
        reason: format!("got {}", keys.len()),
    })
}

fn tell_keys(narrator: &Narrator, keys: &[SuppliedKey]) {
    for key in keys {
        narrator.say(&format!("           {}  {} bits, fingerprint {}", key.id, key.bits, key.fingerprint));
    }
}

fn try_it(folder: &Folder, network: &Network, spare: &SuppliedKey) -> String {
    let pki = folder.shown("pki");
    let curl = |sae: &str| format!("curl -sS --cacert {pki}/ca.pem --cert {pki}/{sae}.pem --key {pki}/{sae}.key");
    let (red, blue) = (curl("red"), curl("blue"));
    let (north, south) = (network.north.url(), network.south.url());
    let id = &spare.id;
    let (fail, again) = (r#"{"skr_bps":0}"#, r#"{"skr_bps":null}"#);
    let control = network.link_control();
    let admin = network.north.admin_url();
    let configuration = folder.shown(conformance::CONFIGURATION);
    format!(
        r#"
Both KMEs go on serving; ctrl-c ends everything. To try in another terminal (keys will be printed there):

  # How much key is ready for red and blue?
  {red} {north}/api/v1/keys/blue/status

  # red draws keys at north; blue fetches at south a key that red has just drawn
  {red} '{north}/api/v1/keys/blue/enc_keys?number=2'
  {blue} '{south}/api/v1/keys/red/dec_keys?key_ID={id}'

  # An expired certificate is refused in the handshake
  {expired} {north}/api/v1/keys/blue/status

  # The QKD link fails, and comes back
  curl -s -X PUT -d '{fail}' {control}/link/rate
  curl -s -X PUT -d '{again}' {control}/link/rate

  # The whole conformance suite asks both KMEs
  cargo run --release -p qkdspec -- run kme --config {configuration}

The description of the interface (OpenAPI): {admin}/openapi.json
Metrics: {admin}/metrics          Logs: {log}
"#,
        expired = curl("expired"),
        log = folder.shown("log"),
    )
}

const TITLE: &str = "\
Two KMEs, north and south, with a QKD link between them. The link is emulated: its keys come from the operating system's
random generator, and there is no quantum channel. Everything runs on this machine.
";
const KEYS: u32 = 3;
const FULL: u64 = files::POOL_HIGH_OCTETS / 32;
/// HTTP statuses of ETSI GS QKD 014: no such keys, or not enough of them now.
const KEYS_NOT_FOUND: u64 = 400;
const NOT_NOW: u64 = 503;
const POLL: Duration = Duration::from_millis(200);
const FILL_LIMIT: Duration = Duration::from_secs(20);
const FULL_WHEN_STEADY: Duration = Duration::from_secs(1);
/// Some KMEs fill buffers only for those who have asked once.
const EMPTY_WHEN_STEADY: Duration = Duration::from_secs(3);
const DRAW_LIMIT: Duration = Duration::from_secs(30);
