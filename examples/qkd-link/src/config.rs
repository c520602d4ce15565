//! The settings of a link, and their file in TOML.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etsi014::KmeId;
use itu_y3803::KeySize;
use serde::Deserialize;
use transport::identity::IdentitySource;

use crate::pattern::TestPattern;
use crate::rate::{RateSource, Skr, Speed};
use crate::stream::StreamConfig;
use crate::trace::{MAX_FILE_OCTETS, Trace, TraceError};

/// Everything a link needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// End A.
    pub a: EndConfig,
    /// End B.
    pub b: EndConfig,
    /// Where the control listens in plain HTTP; it asks for no credentials, so only loopback addresses are taken. Port 0: any.
    pub control: SocketAddr,
    /// Where the key rate comes from.
    pub rate: RateSource,
    /// How much faster than real time the link runs.
    pub speed: Speed,
    /// The keys and how they are kept.
    pub stream: StreamConfig,
    /// How many keys one request may ask for.
    pub max_key_per_request: NonZeroU32,
    /// Where the KMEs' certificates carry their KME IDs.
    pub identity: IdentitySource,
}

/// One end of the link: the QKD device that stands in the node of one KME, and serves that KME only.
#[derive(Clone, Debug)]
pub struct EndConfig {
    /// Where the device listens. Port 0: any.
    pub listen: SocketAddr,
    /// The KME ID that the device gives itself in Status.
    pub device_id: KmeId,
    /// The KME at this end: the only one that is served here, by the KME ID in its certificate.
    pub kme_id: KmeId,
    /// The device's certificate chain, PEM.
    pub certificate: PathBuf,
    /// The device's private key, PEM.
    pub key: PathBuf,
    /// The authorities that sign the KME's certificate, PEM.
    pub ca: PathBuf,
}

impl Config {
    /// The size of a key unless told otherwise: 256 bits.
    pub const DEFAULT_KEY_SIZE: KeySize = KeySize::BITS_256;
    /// How many undrawn keys a link holds unless told otherwise.
    pub const DEFAULT_MAX_KEY_COUNT: u32 = 100_000;
    /// How many keys a request may ask for unless told otherwise.
    pub const DEFAULT_MAX_KEY_PER_REQUEST: NonZeroU32 = NonZeroU32::new(128).expect("128 is not zero");
    /// How long a drawn key is kept for the other end unless told otherwise.
    pub const DEFAULT_COLLECT_WITHIN: Duration = Duration::from_secs(300);
    /// The longest lag of end B.
    pub const MAX_LAG_OF_B: Duration = Duration::from_secs(2);

    /// Reads a file in TOML, and the trace that it names. Relative paths count from the folder of the file.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file or the setting.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path, MAX_CONFIG_OCTETS)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("")), path)
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// [`ConfigError`], naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |setting, reason: &str| Err(ConfigError::Setting { setting, reason: reason.to_owned() });
        let key_bits = self.stream.key_size.bits();
        if !key_bits.is_multiple_of(8) || key_bits > MAX_KEY_BITS {
            return wrong("key_size", "is a multiple of 8, at most 65536 bits");
        }
        if !(1..=MAX_KEY_COUNT).contains(&self.stream.max_key_count) {
            return wrong("max_key_count", "lies between 1 and 10000000");
        }
        if self.max_key_per_request.get() > MAX_KEY_PER_REQUEST {
            return wrong("max_key_per_request", "is at most 10000");
        }
        if self.stream.lag_of_b > Self::MAX_LAG_OF_B {
            return wrong("lag_of_b_s", "lies between 0 and 2 seconds");
        }
        if self.stream.collect_within <= self.stream.lag_of_b {
            return wrong("collect_within_s", "is longer than the lag of end B");
        }
        if self.stream.test_pattern.as_ref().is_some_and(|pattern| !pattern.fits(self.stream.key_size)) {
            return wrong("test_pattern", "and a counter of 8 octets fit into a key");
        }
        if !self.control.ip().is_loopback() {
            return wrong("control", "is a loopback address");
        }
        if self.a.kme_id == self.b.kme_id {
            return wrong("kme_id", "differs between the ends");
        }
        if self.a.device_id == self.b.device_id {
            return wrong("device_id", "differs between the ends");
        }
        Ok(())
    }

    fn parse(text: &str, folder: &Path, path: &Path) -> Result<Self, ConfigError> {
        let raw: RawConfig =
            toml::from_str(text).map_err(|error| ConfigError::Toml { path: path.to_owned(), reason: error.to_string() })?;
        let wrong = |setting, reason: &str| ConfigError::Setting { setting, reason: reason.to_owned() };
        let rate = match (raw.trace, raw.constant_bps) {
            (Some(trace), None) => RateSource::Trace(load_trace(&folder.join(trace))?),
            (None, Some(rate)) => RateSource::Constant(rate),
            _ => return Err(wrong("trace", "or else constant_bps is given, not both")),
        };
        let seconds = |setting, value: Option<f64>, default| match value {
            None => Ok(default),
            Some(value) => Duration::try_from_secs_f64(value).map_err(|_| wrong(setting, "is a number of seconds")),
        };
        let stream = StreamConfig {
            key_size: match raw.key_size {
                None => Self::DEFAULT_KEY_SIZE,
                Some(bits) => KeySize::from_bits(bits).ok_or_else(|| wrong("key_size", "is not 0"))?,
            },
            max_key_count: raw.max_key_count.unwrap_or(Self::DEFAULT_MAX_KEY_COUNT),
            lag_of_b: seconds("lag_of_b_s", raw.lag_of_b_s, Duration::ZERO)?,
            collect_within: seconds("collect_within_s", raw.collect_within_s, Self::DEFAULT_COLLECT_WITHIN)?,
            test_pattern: raw.test_pattern,
        };
        let config = Self {
            a: raw.a.resolve(folder, "a.kme_id")?,
            b: raw.b.resolve(folder, "b.kme_id")?,
            control: raw.control,
            rate,
            speed: raw.speed.unwrap_or(Speed::REAL_TIME),
            stream,
            max_key_per_request: raw.max_key_per_request.unwrap_or(Self::DEFAULT_MAX_KEY_PER_REQUEST),
            identity: raw.identity.unwrap_or_else(IdentitySource::kme_uri),
        };
        config.check()?;
        Ok(config)
    }
}

/// Reads a trace file.
///
/// # Errors
/// [`ConfigError`], naming the file and the line.
pub fn load_trace(path: &Path) -> Result<Trace, ConfigError> {
    let text = read_bounded(path, MAX_FILE_OCTETS)?;
    Trace::parse(&text).map_err(|error| ConfigError::Trace { path: path.to_owned(), error })
}

/// Why a link's settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read, is no UTF-8 text, or is too large.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// The file is no TOML of the known settings.
    #[error("{}: {reason}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// The trace is not in order.
    #[error("{}: {error}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// The line and what is wrong there.
        #[source]
        error: TraceError,
    },
    /// A setting has a value that cannot be.
    #[error("the setting {setting} {reason}")]
    Setting {
        /// The name of the setting.
        setting: &'static str,
        /// What it must be.
        reason: String,
    },
}

const MAX_CONFIG_OCTETS: u64 = 1 << 20;
const MAX_KEY_BITS: u32 = 65_536;
const MAX_KEY_COUNT: u32 = 10_000_000;
const MAX_KEY_PER_REQUEST: u32 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default = "any_loopback_port")]
    control: SocketAddr,
    trace: Option<PathBuf>,
    constant_bps: Option<Skr>,
    speed: Option<Speed>,
    key_size: Option<u32>,
    max_key_count: Option<u32>,
    max_key_per_request: Option<NonZeroU32>,
    identity: Option<IdentitySource>,
    lag_of_b_s: Option<f64>,
    collect_within_s: Option<f64>,
    #[serde(default, deserialize_with = "test_pattern")]
    test_pattern: Option<TestPattern>,
    a: RawEnd,
    b: RawEnd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEnd {
    listen: SocketAddr,
    device_id: String,
    kme_id: String,
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl RawEnd {
    fn resolve(self, folder: &Path, setting: &'static str) -> Result<EndConfig, ConfigError> {
        let id = |text: &str| {
            KmeId::new(text).map_err(|error| ConfigError::Setting { setting, reason: format!("or device_id: {error}") })
        };
        Ok(EndConfig {
            listen: self.listen,
            device_id: id(&self.device_id)?,
            kme_id: id(&self.kme_id)?,
            certificate: folder.join(self.certificate),
            key: folder.join(self.key),
            ca: folder.join(self.ca),
        })
    }
}

fn any_loopback_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn test_pattern<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TestPattern>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn read_bounded(path: &Path, max_octets: u64) -> Result<String, ConfigError> {
    let file_error = |error| ConfigError::File { path: path.to_owned(), error };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(max_octets + 1).read_to_string(&mut text)).map_err(file_error)?;
    if text.len() as u64 > max_octets {
        return Err(file_error(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large")));
    }
    Ok(text)
}
