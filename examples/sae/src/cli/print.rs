//! Results as text for people and as JSON for scripts.

use std::io::{self, Write};

use base64ct::{Base64, Encoding};
use etsi014::{Key, KeyContainer, Object, Status};
use serde::Serialize;
use transport::client::ServerFacts;
use zeroize::Zeroizing;

use crate::Fingerprint;

/// How much of a key is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Its fingerprint.
    FingerprintOnly,
    /// Its fingerprint, and the key itself.
    Key,
}

/// The Status of the standard, on one line.
pub(super) fn status_json(out: &mut impl Write, status: &Status) -> io::Result<()> {
    writeln!(out, "{}", json_text(status))
}

pub(super) fn status(out: &mut impl Write, status: &Status) -> io::Result<()> {
    writeln!(out, "master SAE         {} at KME {}", status.master, status.source_kme)?;
    writeln!(out, "slave SAE          {} at KME {}", status.slave, status.target_kme)?;
    writeln!(out, "stored keys        {} of {}", status.stored_key_count, status.max_key_count)?;
    writeln!(out, "key size           {} bits, from {} to {}", status.key_size, status.min_key_size, status.max_key_size)?;
    writeln!(out, "keys per request   {}", status.max_key_per_request)?;
    writeln!(out, "additional slaves  {}", status.max_sae_id_count)?;
    extension(out, "", "status_extension", status.extension.as_ref())
}

/// One line: `{"keys":[{"key_ID":…,"size":…,"fingerprint":…}]}`, with the extensions under their names in the standard. `key` is there
/// only if shown.
pub(super) fn keys_json(out: &mut impl Write, container: &KeyContainer, show: Show) -> io::Result<()> {
    out.write_all(b"{\"keys\":[")?;
    for (index, key) in container.keys.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (size, fingerprint) = (key.material.size().bits(), Fingerprint::of(&key.material));
        write!(out, r#"{comma}{{"key_ID":"{}","size":{size},"fingerprint":"{fingerprint}""#, key.id)?;
        if show == Show::Key {
            write!(out, r#","key":"{}""#, *base64(key))?;
        }
        member(out, "key_ID_extension", key.id_extension.as_ref())?;
        member(out, "key_extension", key.key_extension.as_ref())?;
        out.write_all(b"}")?;
    }
    out.write_all(b"]")?;
    member(out, "key_container_extension", container.extension.as_ref())?;
    out.write_all(b"}\n")
}

/// A line for each key.
pub(super) fn keys(out: &mut impl Write, container: &KeyContainer, show: Show) -> io::Result<()> {
    let key_title = if show == Show::Key { "  key" } else { "" };
    writeln!(out, "{:36}  {:>6}  fingerprint{key_title}", "key ID", "bits")?;
    for key in &container.keys {
        let fingerprint = Fingerprint::of(&key.material);
        write!(out, "{}  {:>6}  {fingerprint}", key.id, key.material.size().bits())?;
        if show == Show::Key {
            write!(out, "     {}", *base64(key))?;
        }
        writeln!(out)?;
        extension(out, "  ", "key_ID_extension", key.id_extension.as_ref())?;
        extension(out, "  ", "key_extension", key.key_extension.as_ref())?;
    }
    extension(out, "", "key_container_extension", container.extension.as_ref())
}

/// What was connected to, on one line.
pub(super) fn server(facts: &ServerFacts) -> String {
    let negotiated = &facts.negotiated;
    format!("connected to {}, {}, {}, {}", facts.address, negotiated.version, negotiated.group_name(), negotiated.cipher_suite)
}

/// JSON on one line, with control characters escaped beyond those that JSON demands: text of a peer may end up on a terminal.
pub(super) fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if !text.contains(char::is_control) {
        return text;
    }
    let escape = |c: char| if c.is_control() { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Text fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The key as text, in a buffer of exact size that is wiped.
fn base64(key: &Key) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(key.material.expose_secret()))
}

fn member(out: &mut impl Write, name: &str, object: Option<&Object>) -> io::Result<()> {
    object.map_or(Ok(()), |object| write!(out, r#","{name}":{}"#, json_text(object)))
}

fn extension(out: &mut impl Write, indent: &str, name: &str, object: Option<&Object>) -> io::Result<()> {
    object.map_or(Ok(()), |object| writeln!(out, "{indent}{name} {}", json_text(object)))
}
