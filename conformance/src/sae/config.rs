//! `[client]` of the configuration: how the SAE under test is driven.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::{ConfigError, IdField};
use crate::player::Site;

/// A configuration for `run sae`; other sections of the file are for `run kme`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientConfig {
    schema: u32,
    #[serde(default)]
    pub(crate) client: Client,
    #[serde(default)]
    pub(crate) product: BTreeMap<String, String>,
    /// What relative paths are relative to.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// The command is of the command line, not of the file.
    #[serde(skip)]
    typed: bool,
}

/// The section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Client {
    /// A shell command that does what the environment says.
    pub(crate) exec: Option<String>,
    /// A URL that makes the SAE do it.
    pub(crate) trigger: Option<String>,
    /// A person makes the SAE do it.
    pub(crate) manual: bool,
    /// A command, or a trigger, instead of the usual one.
    pub(crate) scenarios: BTreeMap<String, String>,
    pub(crate) master_id: String,
    pub(crate) slave_id: String,
    /// Where the SAE finds the KME ID in a certificate; absent: it knows KMEs by host name only.
    pub(crate) kme_id_field: Option<String>,
    /// Host in the KMEs' URLs, and where they listen.
    pub(crate) host: String,
    /// Names and addresses under which an SAE on another machine reaches them, to be tried by REQ-003.
    pub(crate) hosts: Vec<String>,
    pub(crate) listen_a: SocketAddr,
    pub(crate) listen_b: SocketAddr,
    /// Where plain HTTP is spoken, to see whether anybody comes; absent: any port beside KME A.
    pub(crate) listen_plain: Option<SocketAddr>,
    /// Folder for certificates; absent: a throw-away one.
    pub(crate) pki: Option<PathBuf>,
    /// The SAE's own certificate, key, and who signed it, instead of those that the run makes.
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    /// An SAE has to give up by itself within this time.
    pub(crate) timeout_s: f64,
    /// Without exit codes: the SAE is done when so long nothing was heard of it.
    pub(crate) quiet_s: f64,
    /// How long to wait for a person.
    pub(crate) patience_s: f64,
}

impl Default for Client {
    fn default() -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            exec: None,
            trigger: None,
            manual: false,
            scenarios: BTreeMap::new(),
            master_id: "sae-red".to_owned(),
            slave_id: "sae-blue".to_owned(),
            kme_id_field: None,
            host: "127.0.0.1".to_owned(),
            hosts: Vec::new(),
            listen_a: anywhere,
            listen_b: anywhere,
            listen_plain: None,
            pki: None,
            cert: None,
            key: None,
            ca: None,
            timeout_s: 60.0,
            quiet_s: 3.0,
            patience_s: 300.0,
        }
    }
}

impl ClientConfig {
    /// Reads a configuration file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and what to change.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
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

    /// One for a command, without a file.
    ///
    /// # Errors
    /// [`ConfigError`] if the command is empty.
    pub fn for_command(command: &str) -> Result<Self, ConfigError> {
        let client = Client { exec: Some(command.to_owned()), ..Client::default() };
        let config = Self { schema: 1, client, product: BTreeMap::new(), folder: PathBuf::new(), typed: true };
        config.check().map_err(ConfigError)?;
        Ok(config)
    }

    /// From a file, with that command instead of what the file says of how to drive the SAE.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and what to change.
    pub fn load_for(path: &Path, command: &str) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError(format!("{}: {}", path.display(), error.to_string().trim_end())))?;
        // A command is relative to where it was typed.
        let beside = std::path::absolute(path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        config.folder = beside.parent().map(Path::to_owned).unwrap_or_default();
        config.client.exec = Some(command.to_owned());
        (config.client.trigger, config.client.manual) = (None, false);
        config.check().map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        config.typed = true;
        Ok(config)
    }

    /// The same with another time after which an SAE has to have given up.
    #[must_use]
    pub fn with_timeout(mut self, seconds: f64) -> Self {
        self.client.timeout_s = seconds;
        self
    }

    /// The same at another place: host in URLs, and where the KMEs listen, as far as it is given.
    ///
    /// # Errors
    /// [`ConfigError`] if nobody could come there.
    pub fn at(mut self, host: Option<&str>, listen: [Option<SocketAddr>; 2]) -> Result<Self, ConfigError> {
        let client = &mut self.client;
        client.host = host.map_or(std::mem::take(&mut client.host), str::to_owned);
        (client.listen_a, client.listen_b) = (listen[0].unwrap_or(client.listen_a), listen[1].unwrap_or(client.listen_b));
        self.check().map_err(ConfigError)?;
        Ok(self)
    }

    /// Where commands run: in the folder of the file that names them.
    pub(crate) fn command_folder(&self) -> &Path {
        if self.typed { Path::new("") } else { &self.folder }
    }

    pub(crate) fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != 1 {
            return Err(format!("schema = {}: this program reads schema = 1", self.schema));
        }
        let client = &self.client;
        let ways = [client.exec.is_some(), client.trigger.is_some(), client.manual];
        match ways.iter().filter(|way| **way).count() {
            1 => {}
            0 => {
                return Err(
                    "[client] says nothing of how to drive the SAE: exec, trigger or manual (or --exec COMMAND)".to_owned()
                );
            }
            _ => return Err("[client] has several of exec, trigger and manual: one is needed".to_owned()),
        }
        if client.exec.as_ref().is_some_and(|command| command.trim().is_empty()) {
            return Err("[client] exec: the command is empty".to_owned());
        }
        if let Some(url) = &client.trigger {
            super::trigger::parse(url).map_err(|error| format!("[client] trigger: {error}"))?;
        }
        if let Some(field) = &client.kme_id_field {
            IdField::parse(field).map_err(|error| format!("[client] kme_id_field: {error}"))?;
        }
        if client.master_id.is_empty() || client.slave_id.is_empty() || client.master_id == client.slave_id {
            return Err("[client] master_id and slave_id: two different names are needed".to_owned());
        }
        for host in std::iter::once(&client.host).chain(&client.hosts) {
            if host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) || host.is_empty() {
                return Err(format!("[client] host, hosts: {host:?} is no address that an SAE could go to"));
            }
        }
        if client.cert.is_some() != client.ca.is_some() {
            return Err(
                "[client] cert and ca belong together: the SAE's certificate, and the authority that signed it".to_owned()
            );
        }
        for name in client.scenarios.keys() {
            if !super::task::TASKS.iter().any(|(known, ..)| known == name) {
                let known: Vec<_> = super::task::TASKS.iter().map(|(name, ..)| *name).collect();
                return Err(format!("[client.scenarios] {name}: unknown; there are {}", known.join(", ")));
            }
        }
        Ok(())
    }
}

impl Client {
    /// Where the KMEs are.
    pub(crate) fn site(&self) -> Site {
        let (host, hosts, listen_plain) = (self.host.clone(), self.hosts.clone(), self.listen_plain);
        Site { host, hosts, listen: [self.listen_a, self.listen_b], listen_plain }
    }

    /// Hosts of URLs that the SAE is to work with: those that are told, or all there are for an SAE on this machine.
    pub(crate) fn tried_hosts(&self) -> Vec<String> {
        let is_here = self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match self.hosts.is_empty() {
            true if is_here => ["127.0.0.1", "localhost", "::1"].map(str::to_owned).to_vec(),
            _ => self.hosts.clone(),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        seconds(self.timeout_s)
    }

    pub(crate) fn quiet(&self) -> Duration {
        seconds(self.quiet_s)
    }

    pub(crate) fn patience(&self) -> Duration {
        seconds(self.patience_s)
    }
}

/// Negative, infinite and other odd figures are no time at all.
fn seconds(figure: f64) -> Duration {
    Duration::try_from_secs_f64(figure).unwrap_or_default().min(Duration::from_secs(3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(client: &str) -> String {
        let text = format!("schema = 1\n[client]\n{client}\n");
        ClientConfig::parse(&text, Path::new("")).expect_err("an error").to_string()
    }

    #[test]
    fn one_way_to_drive_is_needed() {
        assert!(error("").contains("exec, trigger or manual"));
        assert!(error("exec = \"x\"\nmanual = true").contains("one is needed"));
        assert!(error("exec = \" \"").contains("empty"));
        assert!(error("trigger = \"ftp://x\"").contains("http://"));
        assert!(error("manual = true\nkme_id_field = \"serial\"").contains("kme_id_field"));
        assert!(error("manual = true\nslave_id = \"sae-red\"").contains("different"));
        assert!(error("manual = true\ncert = \"x.pem\"").contains("belong together"));
        assert!(error("exec = \"x\"\n[client.scenarios]\nget-kee = \"y\"").contains("get-key"));
        assert!(error("exek = \"x\"").contains("exek"));
        assert!(error("manual = true\nhost = \"0.0.0.0\"").contains("no address"));
        assert!(ClientConfig::for_command("true").is_ok());
    }
}
