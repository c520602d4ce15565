//! The configuration file: where the KMEs are, who the SAEs are, what is claimed, what may be spent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::BaseUrl;

mod claims;

pub(crate) use claims::{Claims, Statement};

/// What is wrong with the configuration, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// A configuration, read and checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    schema: u32,
    #[serde(default)]
    pub(crate) edition: BTreeMap<String, String>,
    pub(crate) kme: BTreeMap<Side, KmeConfig>,
    pub(crate) sae: BTreeMap<String, SaeConfig>,
    #[serde(default)]
    pub(crate) intruder: BTreeMap<String, CertificateConfig>,
    pub(crate) roles: Roles,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) hooks: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) ics: Claims,
    #[serde(default)]
    pub(crate) product: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) allow_destructive: bool,
    /// What relative paths are relative to.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// One of the two KMEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where the master is.
    A,
    /// Where the slaves are.
    B,
}

impl Side {
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KmeConfig {
    pub(crate) base_url: String,
    pub(crate) kme_id: Option<String>,
    pub(crate) ca: PathBuf,
    pub(crate) kme_id_field: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaeConfig {
    pub(crate) id: String,
    pub(crate) kme: Side,
    pub(crate) cert: PathBuf,
    pub(crate) key: Option<PathBuf>,
}

/// A certificate that ought to be refused: the path of a PEM file whose key is in it or beside it, or both paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum CertificateConfig {
    Path(PathBuf),
    Paths { cert: PathBuf, key: PathBuf },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    pub(crate) master: String,
    pub(crate) slave: Option<String>,
    #[serde(default)]
    pub(crate) additional: Vec<String>,
    pub(crate) stranger: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) budget_keys: u64,
    pub(crate) budget_bits: u64,
    pub(crate) max_batch: u64,
    pub(crate) connect_s: f64,
    pub(crate) response_s: f64,
    pub(crate) settle_ms: u64,
    pub(crate) body_timeout_s: f64,
    pub(crate) rate_per_s: f64,
    pub(crate) return_s: f64,
    pub(crate) hook_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget_keys: 500,
            budget_bits: u64::MAX,
            max_batch: 16,
            connect_s: 5.0,
            response_s: 10.0,
            settle_ms: 2000,
            body_timeout_s: 30.0,
            rate_per_s: 0.0,
            return_s: 30.0,
            hook_s: 60.0,
        }
    }
}

impl Limits {
    pub(crate) fn connect(&self) -> Duration {
        seconds(self.connect_s)
    }

    pub(crate) fn response(&self) -> Duration {
        seconds(self.response_s)
    }

    pub(crate) fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    /// So long a KME that does not answer is waited for, which may be restarting.
    pub(crate) fn comes_back(&self) -> Duration {
        seconds(self.return_s)
    }

    /// So long a command of `[hooks]` may take.
    pub(crate) fn hook(&self) -> Duration {
        seconds(self.hook_s)
    }

    pub(crate) fn body_timeout(&self) -> Duration {
        seconds(self.body_timeout_s)
    }
}

/// Negative, infinite and other odd figures are no time at all.
fn seconds(figure: f64) -> Duration {
    Duration::try_from_secs_f64(figure).unwrap_or_default().min(Duration::from_secs(3600))
}

impl Config {
    /// Reads a configuration file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and what to change.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{}: {error}\n  to make one: qkdspec init", path.display())))?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::parse(&text, &folder).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Reads a configuration from text. Paths in it are relative to `folder`.
    ///
    /// # Errors
    /// [`ConfigError`] with line and what to change.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| ConfigError(error.to_string().trim_end().to_owned()))?;
        folder.clone_into(&mut config.folder);
        config.check().map_err(ConfigError)?;
        Ok(config)
    }

    /// Takes the claims of a file of their own instead of `[ics]` and `[product]`.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and what to change.
    pub fn claim(&mut self, path: &Path) -> Result<(), ConfigError> {
        let statement = Statement::load(path).map_err(ConfigError)?;
        (self.ics, self.product) = (statement.ics, statement.product);
        self.check().map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    pub(crate) fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != 1 {
            return Err(format!("schema = {}: this program reads schema = 1", self.schema));
        }
        // A report names the edition that it judges by.
        let (known, of) = EDITION;
        if let Some((standard, edition)) = self.edition.iter().find(|&(name, edition)| name != known || edition != of) {
            return Err(format!("edition: {standard} = {edition:?}: this program tests {known} = {of:?} only"));
        }
        for (side, kme) in &self.kme {
            let name = side.letter().to_lowercase();
            BaseUrl::of_kme(&kme.base_url).map_err(|error| format!("[kme.{name}] base_url: {error}"))?;
            if let Some(field) = &kme.kme_id_field {
                IdField::parse(field).map_err(|error| format!("[kme.{name}] kme_id_field: {error}"))?;
            }
        }
        if !self.kme.contains_key(&Side::A) {
            return Err("[kme.a] is missing: the KME at which the master draws keys".to_owned());
        }
        for (name, sae) in &self.sae {
            if sae.id.is_empty() {
                return Err(format!("[sae] {name}: the id is empty"));
            }
            if !self.kme.contains_key(&sae.kme) {
                let letter = sae.kme.letter().to_lowercase();
                return Err(format!(
                    "[sae] {name}: kme = \"{letter}\", but there is no [kme.{letter}]; with one KME only, write kme = \"a\" for every SAE"
                ));
            }
        }
        let named = [Some(&self.roles.master), self.roles.slave.as_ref(), self.roles.stranger.as_ref()];
        let mut met: Vec<&String> = Vec::new();
        for name in named.into_iter().flatten().chain(&self.roles.additional) {
            if !self.sae.contains_key(name) {
                return Err(format!("[roles] names `{name}`, which is not in [sae]"));
            }
            if met.contains(&name) {
                return Err(format!("[roles] gives `{name}` two roles: each needs an SAE of its own"));
            }
            met.push(name);
        }
        let contradictions = self.ics.contradictions();
        if !contradictions.is_empty() {
            return Err(format!("[ics] contradicts itself\n  {}", contradictions.join("\n  ")));
        }
        if self.limits.max_batch == 0 {
            return Err("[limits] max_batch = 0: at least 1 is needed".to_owned());
        }
        if let Some(name) = self.intruder.keys().find(|name| !INTRUDERS.contains(&name.as_str())) {
            return Err(format!("[intruder] {name}: unknown; there are {}", INTRUDERS.join(", ")));
        }
        for (hook, command) in &self.hooks {
            let known = HOOKS.map(|(name, _)| name);
            if !known.contains(&hook.as_str()) {
                return Err(format!("[hooks] {hook}: unknown; there are {}", known.join(", ")));
            }
            if command.trim().is_empty() {
                return Err(format!("[hooks] {hook}: the command is empty"));
            }
        }
        Ok(())
    }
}

/// The standard that KMEs are tested by.
const EDITION: (&str, &str) = ("etsi014", "1.1.1");

/// Certificates that ought to be refused. For the last two, one is made during the run unless given.
pub(crate) const INTRUDERS: [&str; 7] =
    ["unenrolled", "expired", "not_yet_valid", "revoked", "no_client_auth", "self_signed", "lookalike"];

/// What a laboratory can do to its KMEs from outside.
pub(crate) const HOOKS: [(&str, &str); 7] = [
    ("drain_a", "leave KME A with no key for master and slave, and keep it so"),
    ("refill_a", "undo drain_a"),
    ("restart_a", "start KME A anew; it may still be starting when the command ends"),
    ("restart_b", "the same for KME B"),
    ("link_down", "no new key between the KMEs"),
    ("link_up", "undo link_down"),
    ("clock_forward", "put the clocks of both KMEs forward, past the life of a key"),
];

/// Which certificate field carries the KME ID (014-5.1-05 leaves it open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdField {
    SanDns,
    CommonName,
    SanUri(String),
}

impl IdField {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "san-dns" => Ok(Self::SanDns),
            "cn" => Ok(Self::CommonName),
            _ => text
                .strip_prefix("san-uri:")
                .map(|prefix| Self::SanUri(prefix.to_owned()))
                .ok_or_else(|| format!("`{text}`: write \"san-dns\", \"cn\" or \"san-uri:PREFIX\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
schema = 1
[kme.a]
base_url = "https://a.example"
ca = "ca.pem"
[sae]
red = { id = "red", kme = "a", cert = "red.pem" }
[roles]
master = "red"
"#;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("")).expect_err("an error").to_string()
    }

    #[test]
    fn the_least_is_enough() {
        let config = Config::parse(GOOD, Path::new("/lab")).expect("a configuration");
        assert_eq!(config.path(Path::new("ca.pem")), Path::new("/lab/ca.pem"));
        assert_eq!(config.limits.budget_keys, 500);
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        assert!(error(&GOOD.replace("ca =", "cacert =")).contains("line 5"));
        assert!(error(&GOOD.replace("master = \"red\"", "master = \"blue\"")).contains("not in [sae]"));
        assert!(error(&GOOD.replace("kme = \"a\"", "kme = \"b\"")).contains("no [kme.b]; with one KME only, write kme = \"a\""));
        assert!(error(&GOOD.replace("schema = 1", "schema = 2")).contains("schema = 1"));
        for edition in ["etsi014 = \"9.9.9\"", "etsi004 = \"1.1.1\""] {
            let text = GOOD.replace("schema = 1", &format!("schema = 1\nedition = {{ {edition} }}"));
            assert!(error(&text).contains(&format!("{edition}: this program tests etsi014 = \"1.1.1\" only")));
        }
        assert!(error(&GOOD.replace("https://a.example", "a.example")).contains("https://"));
        assert!(error(&GOOD.replace("a.example", "a.example/api/v1")).contains("[kme.a] base_url: "));
        assert!(error(&format!("{GOOD}slave = \"red\"\n")).contains("two roles"));
        let none = "[ics]\nmulticast = { claimed = true, max = 0 }\n";
        assert!(error(&format!("{GOOD}{none}")).contains("contradicts itself"));
        assert!(error(&format!("{GOOD}[intruder]\nexpird = \"x.pem\"\n")).contains("there are unenrolled, expired"));
        assert!(error(&format!("{GOOD}[hooks]\ndrain = \"x\"\n")).contains("drain_a"));
    }

    #[test]
    fn id_fields_are_read() {
        assert_eq!(IdField::parse("san-uri:urn:x:"), Ok(IdField::SanUri("urn:x:".to_owned())));
        assert!(IdField::parse("serial").is_err());
    }
}
