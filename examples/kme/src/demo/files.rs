//! What the demonstration writes: certificates, configuration, and `demo.json` for whoever wants to use it.

use std::time::{Duration, SystemTime};

use qkd_link::synthetic::{Class, Parameters};
use serde_json::{Map, Value, json};
use transport::pki::{Leaf, Profile};

use super::folder::Folder;
use super::network::{KmeProcess, Network, Ports};
use super::{DemoError, Options, conformance};
use crate::config::Durability;

/// The SAEs and their KMEs.
pub(super) const DIRECTORY: [(&str, &str); 4] = [("red", "north"), ("blue", "south"), ("green", "south"), ("grey", "south")];

/// How much key the KMEs hold ready for a pair of SAEs: the engine's usual value, named to tell how full it is.
pub(super) const POOL_HIGH_OCTETS: u64 = 16 << 10;

/// Further SAEs, with names of files, IDs and KMEs, that the conformance suite wants: one whose ID a path has to encode, and
/// enough for a key with more slaves than the KMEs allow.
pub(super) const FURTHER: [(&str, &str, &str); 3] =
    [("odd", "grün: 1/2, 50 %", "south"), ("white", "white", "south"), ("black", "black", "south")];

/// Certificates that are refused: of an SAE that no KME knows, and with one fault each in the name of red.
pub(super) const REFUSED: [&str; 7] =
    ["unenrolled", "expired", "not_yet_valid", "revoked", "no_client_auth", "self_signed", "lookalike"];

/// Writes the certificates, good ones and those that are refused.
pub(super) fn write_pki(folder: &Folder) -> Result<(), DemoError> {
    let mut profiles = Profile::demonstration();
    profiles.extend(["link-a", "link-b"].map(|id| Profile::new(id, Leaf::kme(id))));
    profiles.extend(FURTHER.map(|(stem, id, _)| Profile::new(stem, Leaf::sae(id))));
    profiles.extend(REFUSED.map(refused));
    transport::pki::write_pki(&folder.join("pki"), "QKD demonstration authority", &profiles)?;
    Ok(())
}

fn refused(stem: &str) -> Profile {
    let red = Leaf::sae("red");
    let soon = SystemTime::now() + 300 * DAY;
    match stem {
        "unenrolled" => Profile::new(stem, Leaf::sae("unenrolled")),
        "expired" => Profile::new(stem, red.expired()),
        "not_yet_valid" => Profile::new(stem, red.valid(soon, soon + DAY)),
        "revoked" => Profile::new(stem, red).revoked(),
        "no_client_auth" => Profile::new(stem, red.without_client_use()),
        "self_signed" => Profile::new(stem, red.self_signed()),
        // Of another authority, which bears the same name.
        _ => Profile::new(stem, red).signed_by_stranger(),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes the configuration of both KMEs and of the link.
pub(super) fn write_configuration(folder: &Folder, options: &Options, ports: &Ports) -> Result<(), DemoError> {
    folder.write("north.toml", &kme("north", "south", options, ports))?;
    folder.write("south.toml", &kme("south", "north", options, ports))?;
    if options.link_rate_bps.is_none() {
        // The parameters are in order, or the link says what is wrong with the empty file.
        let trace = trace().generate().map(|trace| trace.to_string());
        folder.write(TRACE, &trace.unwrap_or_default())?;
    }
    folder.write("link.toml", &link(options, ports))
}

/// The link's rate in words.
pub(super) fn rate(options: &Options) -> String {
    match options.link_rate_bps {
        Some(rate) => format!("{} Mbit/s of key", rate / 1e6),
        None => format!("some {:.1} Mbit/s of key, by the synthetic trace {TRACE}", trace().mean_bps() / 1e6),
    }
}

/// An hour of a link over 5 km, in steps of a second; the link repeats it. It begins with some minutes without an incident.
fn trace() -> Parameters {
    Parameters { step_s: 1, ..Parameters::new(Class::Fast, 5.0, 1.0, TRACE_SEED) }
}

const TRACE: &str = "link.csv";
const TRACE_SEED: u64 = 14;

/// Writes `demo.json`. Paths count from the folder.
pub(super) fn write_demo_json(folder: &Folder, network: &Network) -> Result<(), DemoError> {
    let saes: Map<String, Value> = DIRECTORY.iter().map(|(sae, kme)| ((*sae).to_owned(), certificate(sae, Some(kme)))).collect();
    let demo = json!({
        "pid": std::process::id(),
        "ca": "pki/ca.pem",
        "crl": "pki/crl.pem",
        "kmes": { "north": described(&network.north), "south": described(&network.south) },
        "link": {
            "id": LINK,
            "emulated": true,
            "control": network.link_control(),
            "config": "link.toml",
            "log": "log/link.log",
            "pid": network.link_pid(),
        },
        "saes": saes,
        "refused": REFUSED.iter().map(|stem| ((*stem).to_owned(), certificate(stem, None))).collect::<Map<_, _>>(),
        "conformance": conformance::CONFIGURATION,
    });
    folder.write("demo.json", &format!("{demo:#}\n"))
}

fn described(kme: &KmeProcess) -> Value {
    let id = kme.id();
    json!({
        "url": kme.url(),
        "admin": kme.admin_url(),
        "openapi": format!("{}/openapi.json", kme.admin_url()),
        "kx": kme.kx(),
        "config": format!("{id}.toml"),
        "log": format!("log/{id}.log"),
        "data": format!("data/{id}"),
        "pid": kme.pid(),
    })
}

fn certificate(stem: &str, kme: Option<&str>) -> Value {
    let mut files = json!({ "cert": format!("pki/{stem}.pem"), "key": format!("pki/{stem}.key") });
    if let Some(kme) = kme {
        files["kme"] = kme.into();
    }
    files
}

const LINK: &str = "north-south";

/// What the link holds at each end: some seconds' worth, so that a link that is cut is soon empty.
const LINK_KEYS: u32 = 10_000;

fn kme(id: &str, peer: &str, options: &Options, ports: &Ports) -> String {
    let (own, other) = if id == "north" { (&ports.north, &ports.south) } else { (&ports.south, &ports.north) };
    let (device, device_port) = if id == "north" { ("link-a", ports.link_a) } else { ("link-b", ports.link_b) };
    let durability = match options.durability {
        Durability::Lease => "lease",
        Durability::Strict => "strict",
    };
    let saes = DIRECTORY.into_iter().chain(FURTHER.map(|(_, id, kme)| (id, kme)));
    let directory: String = saes.map(|(sae, kme)| format!("\n[[sae]]\nid = \"{sae}\"\nkme = \"{kme}\"\n")).collect();
    format!(
        r#"# Written by `kme demo`, for KME {id}.

[kme]
id = "{id}"
data_dir = "data/{id}"

[northbound]
listen = "127.0.0.1:{northbound}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
client_ca = "pki/ca.pem"
crl = "pki/crl.pem"

[kx]
listen = "127.0.0.1:{kx}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
ca = "pki/ca.pem"
crl = "pki/crl.pem"

[[peer]]
id = "{peer}"
address = "127.0.0.1:{peer_kx}"

[[link]]
id = "{LINK}"
peer = "{peer}"

[link.module]
url = "https://127.0.0.1:{device_port}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
ca = "pki/ca.pem"
kme_id = "{device}"
{directory}
[store]
kind = "redb"
durability = "{durability}"

[pool]
pool_high = {POOL_HIGH_OCTETS}

[admin]
listen = "127.0.0.1:{admin}"

[audit]
file = "audit.jsonl"
"#,
        northbound = own.northbound,
        kx = own.kx,
        admin = own.admin,
        peer_kx = other.kx,
    )
}

fn link(options: &Options, ports: &Ports) -> String {
    let end = |end: &str, port: u16, device: &str, kme: &str| {
        format!(
            r#"
[{end}]
listen = "127.0.0.1:{port}"
device_id = "{device}"
kme_id = "{kme}"
certificate = "pki/{device}.pem"
key = "pki/{device}.key"
ca = "pki/ca.pem"
"#
        )
    };
    let rate = options.link_rate_bps.map_or_else(|| format!("trace = \"{TRACE}\""), |rate| format!("constant_bps = {rate:?}"));
    format!(
        "# Written by `kme demo`, for the emulated QKD link.\n\n{rate}\nmax_key_count = {LINK_KEYS}\ncontrol = \"127.0.0.1:{}\"\n{}{}",
        ports.link_control,
        end("a", ports.link_a, "link-a", "north"),
        end("b", ports.link_b, "link-b", "south"),
    )
}
