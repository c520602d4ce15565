//! The implementation conformance statement: what the vendor says the KME can do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Claims. What is absent is not claimed, except where the KME's Status tells.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Claims {
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
