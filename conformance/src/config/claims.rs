//! The implementation conformance statement: what the vendor says the KME can do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Claims. What is absent is not claimed, except where the KME's Status tells.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claims {
    /// Drafted from what the KMEs show: not what the vendor says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) derived: bool,
    pub(crate) multicast: Option<Multicast>,
    /// Sizes that are not multiples of 8 are delivered; absent: either outcome is accepted.
    #[serde(rename = "size.any-bit")]
    pub(crate) any_bit: Option<bool>,
    #[serde(rename = "ext.mandatory")]
    pub(crate) mandatory: Vec<Extension>,
    #[serde(rename = "tls.revocation")]
    pub(crate) revocation: bool,
    #[serde(rename = "kme.local-pair")]
    pub(crate) local_pair: bool,
    #[serde(rename = "sae.any-id")]
    pub(crate) any_id: bool,
    #[serde(rename = "key.lifetime")]
    pub(crate) lifetime: bool,
    #[serde(rename = "relay.path", skip_serializing_if = "Option::is_none")]
    relay_path: Option<Value>,
    #[serde(rename = "relay.otp-only", skip_serializing_if = "Option::is_none")]
    relay_otp_only: Option<Value>,
    #[serde(rename = "etsi004.binding", skip_serializing_if = "Option::is_none")]
    etsi004: Option<Value>,
    #[serde(rename = "etsi015.transport", skip_serializing_if = "Option::is_none")]
    etsi015: Option<Value>,
}

impl Claims {
    /// Claims that cannot all be true.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.multicast {
            Some(claim) if claim.claimed && claim.max == Some(0) => {
                found.push("multicast is claimed, but for max = 0 additional slaves".to_owned());
            }
            Some(claim) if !claim.claimed && claim.max.is_some_and(|max| max > 0) => {
                found.push("multicast is not claimed, but max is more than 0".to_owned());
            }
            _ => {}
        }
        for (index, extension) in self.mandatory.iter().enumerate() {
            let name = &extension.name;
            if name.is_empty() {
                found.push("ext.mandatory: a name is empty".to_owned());
            }
            if self.mandatory[..index].iter().any(|other| other.name == *name) {
                found.push(format!("ext.mandatory: {name:?} is there twice"));
            }
            if extension.impossible.as_ref() == Some(&extension.ok) {
                found.push(format!("ext.mandatory: {name:?} has the same value as possible and as impossible"));
            }
        }
        found
    }
}

/// Claims in a file of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    schema: u32,
    #[serde(default)]
    pub(crate) product: BTreeMap<String, String>,
    pub(crate) ics: Claims,
}

impl Statement {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}\n  to make one: qkdspec ics new", path.display()))?;
        let read: Self =
            toml::from_str(&text).map_err(|error| format!("{}: {}", path.display(), error.to_string().trim_end()))?;
        match read.schema {
            1 => Ok(read),
            other => Err(format!("{}: schema = {other}: this program reads schema = 1", path.display())),
        }
    }
}

/// Keys for several slaves (annex B).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Multicast {
    pub(crate) claimed: bool,
    /// Additional slaves, at most.
    pub(crate) max: Option<u64>,
}

/// A mandatory extension that the KME supports.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extension {
    pub(crate) name: String,
    /// A value that can be met.
    pub(crate) ok: Value,
    /// A value that cannot.
    pub(crate) impossible: Option<Value>,
}
