//! What the laboratory is made with: certificates, settings of the KMEs and the link, and the configuration for qkdspec.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, SystemTime};

use itu_y3803::KeySize;
use kme::config::Config;
use qkd_link::config::EndConfig;
use qkd_link::rate::{RateSource, Skr, Speed};
use qkd_link::stream::StreamConfig;
use transport::identity::IdentitySource;
use transport::pki::{Leaf, Profile};

use crate::cli::Failure;
use crate::front::{SAES, Side};

/// Keys in one request, at most.
pub(crate) const MAX_KEYS: u64 = 16;
/// Longer than a key lives where its life is short.
pub(super) const LIFETIME: Duration = Duration::from_millis(3500);

/// What a fault may set differently; values are TOML.
pub(crate) struct Settings {
    /// `[northbound]` of both KMEs.
    pub(crate) northbound: BTreeMap<&'static str, String>,
    /// `[pool]` of both KMEs.
    pub(crate) pool: BTreeMap<&'static str, String>,
    /// The certificate of KME north towards SAEs.
    pub(crate) certificate: &'static str,
    /// `[ics]`: what is claimed of the KMEs.
    pub(crate) claims: BTreeMap<&'static str, String>,
    /// `[limits]` of qkdspec.
    pub(crate) limits: BTreeMap<&'static str, String>,
    /// Keys of the default size that are there for a pair before the laboratory is ready.
    pub(crate) full: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let map = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self {
            northbound: map(&[
                ("max_keys_per_request", &MAX_KEYS.to_string()),
                ("max_additional_slaves", "2"),
                ("request_timeout", "\"2s\""),
                ("drain_timeout", "\"200ms\""),
                ("crl", "\"pki/crl.pem\""),
            ]),
            // Filled once for a whole run: what is counted before and after a request is not disturbed by refilling.
            pool: map(&[("pool_low", "4096"), ("pool_high", "24576"), ("patience", "\"500ms\"")]),
            certificate: "north",
            claims: map(&[
                ("multicast", "{ claimed = true, max = 2 }"),
                ("size.any-bit", "false"),
                ("tls.revocation", "true"),
                ("kme.local-pair", "true"),
                ("sae.any-id", "true"),
            ]),
            limits: map(&[
                ("budget_keys", "2000"),
                ("max_batch", "16"),
                ("settle_ms", "600"),
                ("connect_s", "2"),
                ("response_s", "4"),
                ("body_timeout_s", "4"),
            ]),
            full: 600,
        }
    }
}

impl Settings {
    pub(crate) fn northbound(&mut self, name: &'static str, value: impl ToString) {
        self.northbound.insert(name, value.to_string());
    }

    pub(crate) fn claim(&mut self, name: &'static str, value: impl ToString) {
        self.claims.insert(name, value.to_string());
    }

    /// KMEs whose keys expire after some two seconds.
    pub(crate) fn with_short_life(&mut self) {
        for (name, value) in [("block_life", "3s"), ("collect_time", "1s"), ("clock_skew", "100ms")] {
            self.pool.insert(name, quoted(value));
        }
        // What lives so shortly is not kept in store.
        self.pool.insert("pool_high", "4096".to_owned());
        self.full = 64;
        self.claim("key.lifetime", true);
    }

    /// KMEs that have no multicast, and say so.
    pub(crate) fn without_multicast(&mut self) {
        self.northbound("max_additional_slaves", 0);
        self.claim("multicast", "{ claimed = false }");
    }
}

/// Certificates of a former process are replaced.
pub(super) fn write_pki(dir: &Path) -> Result<(), Failure> {
    for former in ["pki", "data"] {
        match fs::remove_dir_all(dir.join(former)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let tomorrow = SystemTime::now() + Duration::from_secs(24 * 3600);
    let mut profiles: Vec<_> =
        ["north", "south", "west", "link-a", "link-b"].iter().map(|id| Profile::new(id, Leaf::kme(id))).collect();
    profiles.extend(SAES.iter().map(|(name, id, _)| Profile::new(name, Leaf::sae(id))));
    // They name an enrolled SAE: nothing but what is wrong with them is a reason to refuse them.
    profiles.extend([
        Profile::new("unenrolled", Leaf::sae("unenrolled")),
        Profile::new("expired", Leaf::sae("red").expired()),
        Profile::new("not_yet_valid", Leaf::sae("red").valid(tomorrow, tomorrow + Duration::from_secs(24 * 3600))),
        Profile::new("revoked", Leaf::sae("red")).revoked(),
        Profile::new("no_client_auth", Leaf::sae("red").without_client_use()),
    ]);
    transport::pki::write_pki(&dir.join("pki"), "QKD laboratory authority", &profiles)?;
    Ok(())
}

/// The settings of a KME. `ports` are northbound and Kx of north, then of south; `devices` those of the link's ends.
pub(super) fn kme(dir: &Path, settings: &Settings, side: Side, ports: &[u16; 4], devices: [u16; 2]) -> Result<Config, Failure> {
    let (id, peer) = (side.id(), side.other().id());
    let [[northbound, kx], [_, peer_kx]] = match (side, ports) {
        (Side::North, &[a, b, c, d]) => [[a, b], [c, d]],
        (Side::South, &[a, b, c, d]) => [[c, d], [a, b]],
    };
    let certificate = if side == Side::North { settings.certificate } else { id };
    let device = if side == Side::North { "link-a" } else { "link-b" };
    let mut text = format!(
        r#"
[kme]
id = "{id}"
data_dir = "data/{id}"

[northbound]
listen = "127.0.0.1:{northbound}"
certificate = "pki/{certificate}.pem"
key = "pki/{certificate}.key"
client_ca = "pki/ca.pem"
{northbound_more}

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
id = "north-south"
peer = "{peer}"

[link.module]
url = "https://127.0.0.1:{device_port}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
ca = "pki/ca.pem"
kme_id = "{device}"

[store]
kind = "redb"

[pool]
{pool}
"#,
        northbound_more = lines(&settings.northbound),
        device_port = devices[side as usize],
        pool = lines(&settings.pool),
    );
    for (_, sae, at) in SAES {
        write!(text, "\n[[sae]]\nid = {}\nkme = \"{}\"\n", quoted(sae), at.id())?;
    }
    Ok(Config::parse(&text, &dir.join(format!("{id}.toml")))?)
}

/// The settings of the link.
pub(super) fn link(dir: &Path) -> Result<qkd_link::Config, Failure> {
    let end = |device: &str, kme: &str| -> Result<EndConfig, Failure> {
        Ok(EndConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            device_id: device.parse()?,
            kme_id: kme.parse()?,
            certificate: dir.join(format!("pki/{device}.pem")),
            key: dir.join(format!("pki/{device}.key")),
            ca: dir.join("pki/ca.pem"),
        })
    };
    Ok(qkd_link::Config {
        a: end("link-a", "north")?,
        b: end("link-b", "south")?,
        control: ([127, 0, 0, 1], 0).into(),
        rate: RateSource::Constant(Skr::new(1e9)?),
        speed: Speed::REAL_TIME,
        stream: StreamConfig {
            key_size: KeySize::BITS_256,
            max_key_count: 2000,
            lag_of_b: Duration::ZERO,
            collect_within: Duration::from_secs(300),
            test_pattern: None,
        },
        max_key_per_request: NonZeroU32::new(256).ok_or("not zero")?,
        identity: IdentitySource::kme_uri(),
    })
}

/// The configuration for qkdspec.
pub(super) fn qkdspec(dir: &Path, settings: &Settings, ports: [u16; 2]) -> Result<String, Failure> {
    let mut text =
        "# Written by `faulty serve`.\nschema = 1\nedition = { etsi014 = \"1.1.1\" }\nallow_destructive = true\n".to_owned();
    for (letter, side) in [("a", Side::North), ("b", Side::South)] {
        let (port, id) = (ports[side as usize], side.id());
        write!(
            text,
            "\n[kme.{letter}]\nbase_url = \"https://127.0.0.1:{port}\"\nca = \"pki/ca.pem\"\nkme_id = \"{id}\"\n\
             kme_id_field = \"san-uri:urn:qkd:kme:\"\n"
        )?;
    }
    text.push_str("\n[sae]\n");
    for (name, id, side) in SAES {
        let kme = if side == Side::North { "a" } else { "b" };
        let id = quoted(id);
        writeln!(text, "{name} = {{ id = {id}, kme = \"{kme}\", cert = \"pki/{name}.pem\", key = \"pki/{name}.key\" }}")?;
    }
    text.push_str("\n[intruder]\n");
    for name in ["unenrolled", "expired", "not_yet_valid", "revoked", "no_client_auth"] {
        writeln!(text, "{name} = \"pki/{name}.pem\"")?;
    }
    text.push_str("\n[roles]\nmaster = \"red\"\nslave = \"blue\"\nadditional = [\"green\"]\nstranger = \"grey\"\n");
    write!(text, "\n[limits]\n{}\n[hooks]\n", lines(&settings.limits))?;
    let program = std::env::current_exe()?;
    let quote = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"));
    let mut hooks = vec!["drain_a", "refill_a", "restart_a", "link_down", "link_up"];
    if settings.claims.contains_key("key.lifetime") {
        hooks.push("clock_forward");
    }
    for hook in hooks {
        let command = format!("{} hook --dir {} {hook}", quote(&program), quote(dir));
        writeln!(text, "{hook} = {}", quoted(&command))?;
    }
    let claims: BTreeMap<_, _> = settings.claims.iter().map(|(name, value)| (quoted(name), value.clone())).collect();
    write!(text, "\n[ics]\n{}\n[product]\nvendor = \"qkms\"\nname = \"reference KME\"\n", lines(&claims))?;
    Ok(text)
}

fn lines<T: std::fmt::Display>(map: &BTreeMap<T, String>) -> String {
    map.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
