//! The conformance suite: its configuration for this demonstration, and a first short run of it.

use std::process::Stdio;

use super::DemoError;
use super::files::{DIRECTORY, FURTHER, REFUSED};
use super::folder::Folder;
use super::network::{KmeProcess, Network};
use super::process::this_program;

/// The configuration of the conformance suite.
pub(super) const CONFIGURATION: &str = "qkdspec.toml";

/// Writes the configuration. What it claims is true of these KMEs.
pub(super) fn write_configuration(folder: &Folder, network: &Network) -> Result<(), DemoError> {
    let side = |kme: &str| if kme == network.north.id() { "a" } else { "b" };
    let sae = |stem: &str, id: &str, kme: &str| {
        let kme = side(kme);
        format!("{stem} = {{ id = \"{id}\", kme = \"{kme}\", cert = \"pki/{stem}.pem\", key = \"pki/{stem}.key\" }}\n")
    };
    let mut saes: String = DIRECTORY.iter().map(|(id, kme)| sae(id, id, kme)).collect();
    saes.extend(FURTHER.map(|(stem, id, kme)| sae(stem, id, kme)));
    let intruders: String = REFUSED.iter().map(|stem| format!("{stem} = \"pki/{stem}.pem\"\n")).collect();
    let kme = |kme: &KmeProcess| {
        let (url, id) = (kme.url(), kme.id());
        format!("base_url = \"{url}\"\nkme_id = \"{id}\"\nkme_id_field = \"san-dns\"\nca = \"pki/ca.pem\"\n")
    };
    let rate = |rate: &str| format!(r#"curl -fsS -X PUT -d '{{"skr_bps":{rate}}}' {}/link/rate"#, network.link_control());
    let (down, up) = (rate("0"), rate("null"));
    let pki = folder.shown("pki");
    // Most of it in large pieces, the rest until a request of sixteen keys is refused.
    let drain = format!(
        r#"{down} && for size in 'number=64&size=4096' number=16; do while curl -fsS -o /dev/null --cacert {pki}/ca.pem --cert {pki}/red.pem --key {pki}/red.key "{}/api/v1/keys/blue/enc_keys?$size"; do :; done; done"#,
        network.north.url()
    );
    let [down, up, drain] = [down, up, drain].map(|command| toml::Value::String(command).to_string());
    let text = format!(
        r#"# Written by `kme demo`, for the conformance suite: qkdspec run kme --config {CONFIGURATION}

schema = 1
edition = {{ etsi014 = "1.1.1" }}
# Permits --mode destructive, which cuts the QKD link and empties the pools by the commands in [hooks].
allow_destructive = true

# red draws keys here …
[kme.a]
{north}
# … and blue fetches them there.
[kme.b]
{south}
[sae]
{saes}
# Certificates that are refused.
[intruder]
{intruders}
[roles]
master = "red"
slave = "blue"
additional = ["green"]
stranger = "grey"

[limits]
budget_keys = 1000
max_batch = 16
settle_ms = 2000

# The demonstration ends when one of its KMEs does, so there is none to start a KME again; nor can its clock be set.
[hooks]
link_down = {down}
link_up = {up}
drain_a = {drain}
refill_a = {up}

[ics]
multicast = {{ claimed = true, max = {slaves} }}
"size.any-bit" = false
"ext.mandatory" = []
"tls.revocation" = true
"kme.local-pair" = true
"sae.any-id" = true
"key.lifetime" = true

[product]
vendor = "qkms"
name = "reference KME"
version = "{version}"
"#,
        north = kme(&network.north),
        south = kme(&network.south),
        slaves = etsi014::Limits::default().max_additional_slaves(),
        version = env!("CARGO_PKG_VERSION"),
    );
    folder.write(CONFIGURATION, &text)
}

/// Runs the cases that tell whether it works at all, in a process of its own, and gives the summary.
pub(super) async fn smoke(folder: &Folder) -> Result<String, DemoError> {
    let start_error = |source| DemoError::Start { name: "the conformance suite", source };
    let mut command = this_program().map_err(start_error)?;
    for (name, _) in std::env::vars_os() {
        // What somebody has set for other runs.
        if name.to_string_lossy().starts_with("QKDSPEC_") {
            command.env_remove(name);
        }
    }
    command.args(["demo-qkdspec", "run", "kme", SMOKE, "--quiet", "--config"]).arg(folder.join(CONFIGURATION));
    let done = command.stdin(Stdio::null()).output().await.map_err(start_error)?;
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
    let (told, complained) = (said(&done.stdout), said(&done.stderr));
    if done.status.success() { Ok(told) } else { Err(DemoError::NotConforming(format!("{told}\n{complained}"))) }
}

/// The profile.
pub(super) const SMOKE: &str = "@014-smoke";
