//! An application of the demonstration: for each request a process with the command line of `sae`.

use std::ffi::OsString;
use std::process::Stdio;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use serde_json::Value;

use super::DemoError;
use super::files::DIRECTORY;
use super::folder::Folder;
use super::process::this_program;
use crate::service::LABEL_EXTENSION;

/// One of the SAEs.
#[derive(Debug)]
pub(super) struct SaeClient {
    id: &'static str,
    folder: OsString,
    run: RunKey,
}

/// Makes fingerprints that mean something within this run only: what stays in a terminal or a log is then no function of
/// the key alone.
#[derive(Clone, Debug)]
pub(super) struct RunKey(hmac::Key);

impl RunKey {
    pub(super) fn new() -> Result<Self, DemoError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| DemoError::NoRandomness)
    }

    fn fingerprint(&self, of_client: &str) -> String {
        let tag = hmac::sign(&self.0, of_client.as_bytes());
        tag.as_ref().iter().take(4).map(|octet| format!("{octet:02x}")).collect()
    }
}

/// A key as an application shows it.
#[derive(Debug)]
pub(super) struct SuppliedKey {
    pub(super) id: String,
    pub(super) bits: u64,
    pub(super) fingerprint: String,
    /// What its secrecy rests on. The master asks for it, by an extension of this KME's own.
    pub(super) label: String,
}

impl SuppliedKey {
    /// What both ends must see alike.
    pub(super) fn shared(&self) -> (&str, u64, &str) {
        (&self.id, self.bits, &self.fingerprint)
    }
}

/// A request that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// The status, if it was the KME that refused.
    pub(super) status: Option<u64>,
    error: DemoError,
}

impl From<Failed> for DemoError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl SaeClient {
    pub(super) fn new(folder: &Folder, run: &RunKey, id: &'static str) -> Self {
        Self { id, folder: folder.path().into(), run: run.clone() }
    }

    pub(super) fn id(&self) -> &'static str {
        self.id
    }

    pub(super) fn kme(&self) -> &'static str {
        DIRECTORY.iter().find(|(sae, _)| *sae == self.id).map_or("", |(_, kme)| kme)
    }

    /// How many keys of the usual size, 256 bits, could be drawn for this slave now.
    pub(super) async fn keys_ready(&self, slave: &str) -> Result<u64, Failed> {
        let arguments = ["status", slave];
        let answer = self.ask(&arguments).await?;
        answer["stored_key_count"].as_u64().ok_or_else(|| self.odd(&arguments))
    }

    pub(super) async fn draw(&self, slave: &str, number: u32) -> Result<Vec<SuppliedKey>, Failed> {
        let labelled = format!("{{\"{LABEL_EXTENSION}\":true}}");
        self.keys(&["enc", slave, "--number", &number.to_string(), "--optional", &labelled]).await
    }

    pub(super) async fn fetch(&self, master: &str, ids: &[&str]) -> Result<Vec<SuppliedKey>, Failed> {
        let mut arguments = vec!["dec", master];
        arguments.extend(ids);
        self.keys(&arguments).await
    }

    async fn keys(&self, arguments: &[&str]) -> Result<Vec<SuppliedKey>, Failed> {
        let answer = self.ask(arguments).await?;
        let key = |key: &Value| {
            Some(SuppliedKey {
                id: key["key_ID"].as_str()?.to_owned(),
                bits: key["size"].as_u64()?,
                fingerprint: self.run.fingerprint(key["fingerprint"].as_str()?),
                label: key["key_extension"][LABEL_EXTENSION].as_str().unwrap_or("not told").to_owned(),
            })
        };
        let keys: Option<Vec<SuppliedKey>> = answer["keys"].as_array().and_then(|keys| keys.iter().map(key).collect());
        keys.ok_or_else(|| self.odd(arguments))
    }

    /// Runs one request. Keys stay in its process: it is not asked to show them.
    async fn ask(&self, arguments: &[&str]) -> Result<Value, Failed> {
        let start_error = |source| Failed { status: None, error: DemoError::Start { name: "a client", source } };
        let mut command = this_program().map_err(start_error)?;
        command.arg("demo-sae").arg("--demo").arg(&self.folder).args(["--as", self.id, "--json"]).args(arguments);
        let done = command.stdin(Stdio::null()).output().await.map_err(start_error)?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            let told: Value = serde_json::from_str(&said).unwrap_or_default();
            let reason = told["error"]["message"].as_str().unwrap_or(said.trim()).to_owned();
            return Err(Failed { status: told["error"]["status"].as_u64(), error: self.failed(arguments, reason) });
        }
        serde_json::from_slice(&done.stdout).map_err(|_| self.odd(arguments))
    }

    fn odd(&self, arguments: &[&str]) -> Failed {
        Failed { status: None, error: self.failed(arguments, "an answer that makes no sense here".to_owned()) }
    }

    fn failed(&self, arguments: &[&str], reason: String) -> DemoError {
        DemoError::Client { sae: self.id, request: arguments.join(" "), reason }
    }
}
