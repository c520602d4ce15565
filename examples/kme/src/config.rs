//! The settings of a KME: one TOML file, read whole and checked as a whole.
//!
//! [`Config::load`] finds as many mistakes as it can at once; each [`Problem`] says where it is and what to write instead.
//! The commented example `kme.toml` in this package's folder names every setting.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use etsi014::{Decoding, KmeId, Limits as KeyLimits, SaeId};
use itu_y3803::{ApplicationId, KmId, LinkId};
use transport::identity::IdentitySource;
use transport::server::Limits as ConnectionLimits;
use transport::tls::{Credentials, KeyExchange, Pem, Trust};

mod checks;
mod engine;
mod error;
mod files;
mod reader;
mod sections;
mod value;

pub use error::{ConfigError, Problem};

/// Everything a KME needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Section `[kme]`: this KME.
    pub kme: Kme,
    /// Section `[northbound]`: the SAEs' door.
    pub northbound: Northbound,
    /// Section `[kx]`: the peer KMEs' door. There whenever there are peers.
    pub kx: Option<Kx>,
    /// Sections `[[peer]]`: the neighbours.
    pub peers: Vec<Peer>,
    /// Sections `[[link]]`: the QKD links to the neighbours.
    pub links: Vec<Link>,
    /// Sections `[[sae]]`: which KME serves which SAE, of the whole network.
    pub saes: Vec<Sae>,
    /// Section `[store]`: where keys are kept.
    pub store: Store,
    /// Section `[quota]`: how much one SAE may ask for.
    pub quota: Quota,
    /// Section `[admin]`: metrics, health and API description in plain HTTP, if wanted.
    pub admin: Option<Admin>,
    /// Section `[audit]`: the audit file, if wanted.
    pub audit: Option<Audit>,
    /// Section `[log]`: the log on standard error.
    pub log: Log,
    /// Section `[pool]`, with node, links and applications of the other sections.
    engine: relay_core::Config,
}

/// This KME.
#[derive(Clone, Debug)]
pub struct Kme {
    /// Its KME ID.
    pub id: KmeId,
    /// The same name in the words of the engine.
    pub km: KmId,
    /// The same name as it stands in for an SAE ID when a QKD module is asked.
    pub as_sae: SaeId,
    /// The folder of everything that is kept; it need not exist yet.
    pub data_dir: PathBuf,
}

/// The server for SAEs.
#[derive(Clone, Debug)]
pub struct Northbound {
    /// Where it listens. Port 0: any.
    pub listen: SocketAddr,
    /// Its certificate, and the authorities that sign the SAEs'.
    pub tls: TlsFiles,
    /// Where an SAE's certificate carries its SAE ID.
    pub sae_id: IdentitySource,
    /// Which key exchanges are allowed.
    pub key_exchange: KeyExchange,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
    /// How strictly requests are read.
    pub decoding: Decoding,
    /// Key sizes and numbers, and whether an SAE may name itself as slave.
    pub keys: KeyLimits,
    /// Connections, times and octets.
    pub connections: ConnectionLimits,
}

/// The server for, and the client of, peer KMEs.
#[derive(Clone, Debug)]
pub struct Kx {
    /// Where it listens. Port 0: any.
    pub listen: SocketAddr,
    /// Its certificate, and the authorities that sign the peers'.
    pub tls: TlsFiles,
    /// Where a KME's certificate carries its KME ID.
    pub kme_id: IdentitySource,
}

/// A certificate with its key, and whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// The authorities, PEM.
    pub ca: Vec<PathBuf>,
    /// Certificate revocation lists, PEM.
    pub crl: Vec<PathBuf>,
    /// Whether a revocation list past its `nextUpdate` makes its issuer's certificates unacceptable.
    pub refuse_stale_crl: bool,
}

impl TlsFiles {
    /// What is presented.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { certificate: Pem::file(&self.certificate), key: Pem::file(&self.key) }
    }

    /// What is believed.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust {
            roots: self.ca.iter().map(Pem::file).collect(),
            crls: self.crl.iter().map(Pem::file).collect(),
            refuse_stale_crls: self.refuse_stale_crl,
        }
    }
}

/// A neighbouring KME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its KME ID.
    pub id: KmId,
    /// Where it listens for peers, `host:port`.
    pub address: String,
}

/// A QKD link to a neighbour.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name, the same at both ends.
    pub id: LinkId,
    /// The neighbour at the other end.
    pub peer: KmId,
    /// The neighbour as the QKD module knows it: the other SAE.
    pub peer_as_sae: SaeId,
    /// This end's QKD module.
    pub module: Module,
}

/// A QKD module that speaks ETSI GS QKD 014; this KME is its SAE.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its base URL, `https://host:port`.
    pub url: String,
    /// What this KME presents, and the authorities that sign the module's certificate.
    pub tls: TlsFiles,
    /// The KME ID that the module's certificate must carry (014-5.1-05); `None` only if it says outright that any will do.
    pub kme_id: Option<KmeId>,
    /// Where the module's certificate carries its KME ID.
    pub kme_id_from: IdentitySource,
}

/// An SAE of the network.
#[derive(Clone, Debug)]
pub struct Sae {
    /// Its SAE ID.
    pub id: SaeId,
    /// The same name in the words of the engine.
    pub application: ApplicationId,
    /// The KME that serves it.
    pub kme: KmId,
    /// The same, as Status names it.
    pub kme_id: KmeId,
}

/// Where keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// In which kind of store.
    pub kind: StoreKind,
    /// When a key that is handed out has left the store.
    pub durability: Durability,
}

/// A kind of store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A redb database.
    Redb {
        /// The folder of the database and its key; it need not exist yet.
        path: PathBuf,
    },
    /// Nothing outlives the process.
    Memory,
}

/// When a key that is handed out has left the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// With the block it was cut from: blocks are leased to memory, and what a crash finds in there is burnt.
    #[default]
    Lease,
    /// Each by itself: one commit for every answer.
    Strict,
}

/// How much one SAE may ask for. `None`: as much as it likes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// Requests in a second.
    pub requests_per_second: Option<f64>,
    /// Keys in a second.
    pub keys_per_second: Option<f64>,
    /// How many seconds' worth may be used at once after a quiet time.
    pub burst_seconds: f64,
}

/// The server for whoever runs this KME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address. Port 0: any.
    pub listen: SocketAddr,
}

/// The record of who was given which key IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file that is appended to.
    pub file: PathBuf,
}

/// The log on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// How it looks.
    pub format: LogFormat,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Does not work.
    Error,
    /// Works, but somebody should look.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name, as the file and `tracing` write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines, an object for each line.
    Json,
}

impl Config {
    /// Reads a file, and makes sure that the files it names can be read. Relative paths count from the folder of the file.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems that were found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, files::check_readable)
    }

    /// As [`load`](Self::load), and makes sure that certificates and keys belong together, are valid today, and that this
    /// KME's own carry its KME ID.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems that were found.
    pub fn load_and_check(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, files::check_contents)
    }

    /// Reads settings from text, without looking at the files they name. `path` is how errors call the text; relative paths
    /// count from its folder.
    ///
    /// # Errors
    /// [`ConfigError`], with all problems that were found.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Self::read(text, path, |_, _| ())
    }

    /// The settings of the engine.
    #[must_use]
    pub fn to_engine(&self) -> relay_core::Config {
        self.engine.clone()
    }

    fn load_with(path: &Path, look_at_files: fn(&Self, &mut reader::Document<'_>)) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path).and_then(|file| file.take(MAX_OCTETS + 1).read_to_string(&mut text)).map_err(unreadable)?;
        if text.len() as u64 > MAX_OCTETS {
            return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB")));
        }
        Self::read(&text, path, look_at_files)
    }

    fn read(text: &str, path: &Path, look_at_files: fn(&Self, &mut reader::Document<'_>)) -> Result<Self, ConfigError> {
        let mut document = reader::Document::new(text);
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = sections::read(&mut document, folder);
        if let Some(config) = &config {
            checks::check(config, &mut document);
            look_at_files(config, &mut document);
        }
        match (config, document.into_problems()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(ConfigError::Problems { path: path.to_owned(), problems }),
        }
    }
}

/// A directory of many thousand SAEs fits.
const MAX_OCTETS: u64 = 1 << 20;
