//! The sections of the file, one function for each.

use std::path::Path;

use etsi014::{Decoding, KmeId, Limits as KeyLimits, SaeId};
use itu_y3803::{ApplicationId, KeySize, KmId, message::MAX_SLAVES};
use relay_core::key_id::MAX_KEY_OCTETS;
use transport::identity::{IdentitySource, KME_URI_PREFIX, SAE_URI_PREFIX};
use transport::server::Limits as ConnectionLimits;
use transport::tls::KeyExchange;

use super::reader::{Document, Section, Wrong};
use super::{
    Admin, Audit, Config, Durability, Kme, Kx, Link, Log, LogFormat, LogLevel, Module, Northbound, Peer, Quota, Sae, Store,
    StoreKind, TlsFiles, engine, value,
};

/// Reads all sections. `None` when something necessary is missing or wrong, which the document then has noted.
pub(super) fn read<'a>(document: &mut Document<'a>, folder: &Path) -> Option<Config> {
    let mut root = document.root()?;
    let kme = root.required_section(document, "kme", "add the section [kme] with `id = \"north\"`");
    let kme = kme.and_then(|section| read_kme(document, section, folder));
    let northbound = root.required_section(document, "northbound", "add the section [northbound], see kme.toml for its settings");
    let northbound = northbound.and_then(|section| read_northbound(document, section, folder));
    let kx = root.section(document, "kx").map(|section| read_kx(document, section, folder));
    let peers = each(document, &mut root, "peer", read_peer);
    let links = each(document, &mut root, "link", |document, section| read_link(document, section, folder));
    let saes = each(document, &mut root, "sae", read_sae);
    let data_dir = kme.as_ref().map_or(folder, |kme| kme.data_dir.as_path());
    let store = root.section(document, "store");
    let store = read_store(document, store, data_dir);
    let quota = root.section(document, "quota");
    let quota = read_quota(document, quota);
    let admin = root.section(document, "admin").map(|section| read_admin(document, section));
    let audit = root.section(document, "audit").map(|section| read_audit(document, section, data_dir));
    let log = root.section(document, "log");
    let log = read_log(document, log);
    let pool = root.section(document, "pool");
    let mut engine = engine::read(document, pool, kme.as_ref());
    root.finish(document);

    let (kme, northbound, peers, links, saes) = (kme?, northbound?, peers?, links?, saes?);
    if let Some(engine) = &mut engine {
        engine.links = links.iter().map(|link| relay_core::LinkConfig::new(link.id.clone(), link.peer.clone())).collect();
        engine.applications = saes.iter().map(|sae| (sae.application.clone(), sae.kme.clone())).collect();
    }
    Some(Config {
        kme,
        northbound,
        kx: present(kx)?,
        peers,
        links,
        saes,
        store: store?,
        quota: quota?,
        admin: present(admin)?,
        audit: present(audit)?,
        log: log?,
        engine: engine?,
    })
}

fn read_kme<'a>(document: &mut Document<'a>, mut section: Section<'a>, folder: &Path) -> Option<Kme> {
    let id = section.required(document, "id", "\"north\"", in_three_words);
    let data_dir = section.optional(document, "data_dir", value::path(folder));
    section.finish(document);
    let (id, km, as_sae) = id?;
    Some(Kme { id, km, as_sae, data_dir: data_dir.unwrap_or_else(|| folder.join("data")) })
}

fn read_northbound<'a>(document: &mut Document<'a>, mut section: Section<'a>, folder: &Path) -> Option<Northbound> {
    let listen = section.required(document, "listen", "\"127.0.0.1:8443\"", value::address);
    let tls = read_tls(document, &mut section, folder, "client_ca");
    let sae_id = read_identity(document, &mut section, "sae_id", SAE_URI_PREFIX);
    let exchanges =
        [("post-quantum-preferred", KeyExchange::PostQuantumPreferred), ("post-quantum-only", KeyExchange::PostQuantumOnly)];
    let key_exchange = section.optional(document, "key_exchange", value::choice(&exchanges)).unwrap_or_default();
    let http2 = section.optional(document, "http2", value::boolean).unwrap_or_default();
    let decodings = [("lenient", Decoding::Lenient), ("strict", Decoding::Strict)];
    let decoding = section.optional(document, "decoding", value::choice(&decodings)).unwrap_or_default();
    let connections = read_connections(document, &mut section);
    let keys = read_key_limits(document, &mut section);
    section.finish(document);
    Some(Northbound { listen: listen?, tls: tls?, sae_id: sae_id?, key_exchange, http2, decoding, keys: keys?, connections })
}

fn read_connections<'a>(document: &mut Document<'a>, section: &mut Section<'a>) -> ConnectionLimits {
    // A hundred key IDs have 8 KiB; JSON in memory takes many times the room it has on the wire.
    let mut limits = ConnectionLimits { body_octets: 64 * 1024, ..ConnectionLimits::default() };
    for (key, limit) in [
        ("max_connections", &mut limits.connections),
        ("max_connections_per_address", &mut limits.connections_per_address),
        ("max_handshakes", &mut limits.handshakes),
    ] {
        *limit = section.optional(document, key, value::usize_in(1, 1 << 20)).unwrap_or(*limit);
    }
    for (key, limit) in [
        ("max_connection_age", &mut limits.age),
        ("handshake_timeout", &mut limits.handshake),
        ("idle_timeout", &mut limits.idle),
    ] {
        *limit = section.optional(document, key, value::duration).unwrap_or(*limit);
    }
    if let Some(time) = section.optional(document, "request_timeout", value::duration) {
        (limits.head, limits.body) = (time, time);
    }
    if let Some(time) = section.optional(document, "drain_timeout", value::duration) {
        limits.drain = time;
    }
    if let Some(octets) = section.optional(document, "max_body_octets", value::usize_in(1024, 64 << 20)) {
        limits.body_octets = octets;
    }
    limits
}

fn read_key_limits<'a>(document: &mut Document<'a>, section: &mut Section<'a>) -> Option<KeyLimits> {
    let usual = KeyLimits::default();
    let mut size = |key, usual: KeySize| {
        let bits = |toml: &toml::de::DeValue<'_>| {
            let bits = value::u32_in(8, MAX_KEY_BITS)(toml)?;
            let whole = KeySize::from_bits(bits).filter(|_| bits.is_multiple_of(8));
            whole.ok_or_else(|| Wrong::new("is no multiple of 8", "write a number of bits that is, as 256"))
        };
        section.optional(document, key, bits).unwrap_or(usual)
    };
    let min = size("min_key_size", usual.min_size());
    let default = size("default_key_size", usual.default_size());
    let max = size("max_key_size", usual.max_size());
    let numbers = value::u32_in(1, MAX_KEYS);
    let max_keys = section.optional(document, "max_keys_per_request", numbers).and_then(std::num::NonZeroU32::new);
    let most_slaves = u32::try_from(MAX_SLAVES - 1).unwrap_or_default();
    let max_slaves = section.optional(document, "max_additional_slaves", value::u32_in(0, most_slaves));
    let self_as_slave = section.optional(document, "self_as_slave", value::boolean).unwrap_or_default();

    let limits = KeyLimits::default()
        .with_max_keys(max_keys.unwrap_or(usual.max_keys()))
        .with_max_additional_slaves(max_slaves.unwrap_or(usual.max_additional_slaves()))
        .with_self_as_slave(self_as_slave);
    let limits = limits.with_sizes(min, default, max, true);
    if limits.is_err() {
        let named =
            ["default_key_size", "min_key_size", "max_key_size"].into_iter().find(|key| document.has(&section.full_name(key)));
        let message = format!(
            "key sizes must ascend, but min_key_size is {}, default_key_size is {}, max_key_size is {}",
            min.bits(),
            default.bits(),
            max.bits()
        );
        let name = section.full_name(named.unwrap_or("min_key_size"));
        document.note(&name, Wrong::new(message, "make them ascend; all three are in bits"));
    }
    limits.ok()
}

fn read_kx<'a>(document: &mut Document<'a>, mut section: Section<'a>, folder: &Path) -> Option<Kx> {
    let listen = section.required(document, "listen", "\"127.0.0.1:8453\"", value::address);
    let tls = read_tls(document, &mut section, folder, "ca");
    let kme_id = read_identity(document, &mut section, "kme_id", KME_URI_PREFIX);
    section.finish(document);
    Some(Kx { listen: listen?, tls: tls?, kme_id: kme_id? })
}

fn read_peer<'a>(document: &mut Document<'a>, mut section: Section<'a>) -> Option<Peer> {
    let id = section.required(document, "id", "\"south\"", value::parsed);
    let address = section.required(document, "address", "\"127.0.0.1:8454\"", value::host_and_port);
    section.finish(document);
    Some(Peer { id: id?, address: address? })
}

fn read_link<'a>(document: &mut Document<'a>, mut section: Section<'a>, folder: &Path) -> Option<Link> {
    let id = section.required(document, "id", "\"north-south\"", value::parsed);
    let peer = section.required(document, "peer", "\"south\"", in_three_words);
    let module =
        section.required_section(document, "module", "add the section [link.module] below it, with the `url` of the QKD module");
    let module = module.and_then(|section| read_module(document, section, folder));
    section.finish(document);
    let (_, peer, peer_as_sae) = peer?;
    Some(Link { id: id?, peer, peer_as_sae, module: module? })
}

fn read_module<'a>(document: &mut Document<'a>, mut section: Section<'a>, folder: &Path) -> Option<Module> {
    let url = section.required(document, "url", "\"https://localhost:9443\"", |toml| {
        let url = value::text(toml)?;
        match etsi014::BaseUrl::parse(&url) {
            Ok(_) => Ok(url),
            Err(error) => Err(Wrong::new(format!("cannot be used: {error}"), "write it as \"https://host:port\"")),
        }
    });
    let tls = read_tls(document, &mut section, folder, "ca");
    let any = section.optional(document, "any_kme_id", value::boolean).unwrap_or_default();
    let kme_id = if any {
        section.optional(document, "kme_id", value::parsed)
    } else {
        let example = "\"link-a\"`, the KME ID in the module's certificate, or leave it unchecked with `any_kme_id = true";
        section.required(document, "kme_id", example, value::parsed)
    };
    if any && kme_id.is_some() {
        let wrong = Wrong::new("`kme_id` is given, but any will do", "remove one of `kme_id` and `any_kme_id`");
        document.note(&section.full_name("any_kme_id"), wrong);
    }
    let kme_id_from = read_identity(document, &mut section, "kme_id_from", KME_URI_PREFIX);
    section.finish(document);
    Some(Module { url: url?, tls: tls?, kme_id, kme_id_from: kme_id_from? })
}

fn read_sae<'a>(document: &mut Document<'a>, mut section: Section<'a>) -> Option<Sae> {
    let id = section
        .required(document, "id", "\"red\"", |toml| Ok((value::parsed::<SaeId>(toml)?, value::parsed::<ApplicationId>(toml)?)));
    let kme = section.required(document, "kme", "\"north\"", in_three_words);
    section.finish(document);
    let ((id, application), (kme_id, kme, _)) = (id?, kme?);
    Some(Sae { id, application, kme, kme_id })
}

fn read_store<'a>(document: &mut Document<'a>, section: Option<Section<'a>>, data_dir: &Path) -> Option<Store> {
    let redb = |path| StoreKind::Redb { path };
    let default_path = data_dir.join("store");
    let Some(mut section) = section else {
        return Some(Store { kind: redb(default_path), durability: Durability::default() });
    };
    let memory = section.optional(document, "kind", value::choice(&[("redb", false), ("memory", true)])).unwrap_or(false);
    let path = section.optional(document, "path", value::path(data_dir));
    let durabilities = [("lease", Durability::Lease), ("strict", Durability::Strict)];
    let durability = section.optional(document, "durability", value::choice(&durabilities)).unwrap_or_default();
    if memory && path.is_some() {
        let wrong = Wrong::new("`path` is given, but the store is in memory", "remove `path`, or write kind = \"redb\"");
        document.note("store.path", wrong);
    }
    section.finish(document);
    let kind = if memory { StoreKind::Memory } else { redb(path.unwrap_or(default_path)) };
    Some(Store { kind, durability })
}

fn read_quota<'a>(document: &mut Document<'a>, section: Option<Section<'a>>) -> Option<Quota> {
    let Some(mut section) = section else {
        return Some(Quota { requests_per_second: None, keys_per_second: None, burst_seconds: BURST_SECONDS });
    };
    let requests_per_second = section.optional(document, "requests_per_second", value::positive);
    let keys_per_second = section.optional(document, "keys_per_second", value::positive);
    let burst_seconds = section.optional(document, "burst_seconds", value::positive).unwrap_or(BURST_SECONDS);
    section.finish(document);
    Some(Quota { requests_per_second, keys_per_second, burst_seconds })
}

fn read_admin<'a>(document: &mut Document<'a>, mut section: Section<'a>) -> Option<Admin> {
    let listen = section.required(document, "listen", "\"127.0.0.1:8543\"", |toml| {
        let address = value::address(toml)?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        let port = address.port();
        let fix = format!("write \"127.0.0.1:{port}\"; this port asks for no credentials");
        Err(Wrong::new("is no loopback address", fix))
    });
    section.finish(document);
    Some(Admin { listen: listen? })
}

fn read_audit<'a>(document: &mut Document<'a>, mut section: Section<'a>, data_dir: &Path) -> Option<Audit> {
    let file = section.required(document, "file", "\"audit.jsonl\"", value::path(data_dir));
    section.finish(document);
    Some(Audit { file: file? })
}

fn read_log<'a>(document: &mut Document<'a>, section: Option<Section<'a>>) -> Option<Log> {
    let Some(mut section) = section else { return Some(Log::default()) };
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let levels = levels.map(|level| (level.as_str(), level));
    let level = section.optional(document, "level", value::choice(&levels)).unwrap_or_default();
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = section.optional(document, "format", value::choice(&formats)).unwrap_or_default();
    section.finish(document);
    Some(Log { level, format })
}

/// The settings of TLS that several sections have. `authorities` is what this section calls those of the peers.
fn read_tls<'a>(
    document: &mut Document<'a>,
    section: &mut Section<'a>,
    folder: &Path,
    authorities: &'static str,
) -> Option<TlsFiles> {
    let certificate = section.required(document, "certificate", "\"pki/north.pem\"", value::path(folder));
    let key = section.required(document, "key", "\"pki/north.key\"", value::path(folder));
    let ca = section.required(document, authorities, "\"pki/ca.pem\"", value::paths(folder));
    let crl = section.optional(document, "crl", value::paths(folder)).unwrap_or_default();
    let refuse_stale_crl = section.optional(document, "refuse_stale_crl", value::boolean).unwrap_or_default();
    Some(TlsFiles { certificate: certificate?, key: key?, ca: ca?, crl, refuse_stale_crl })
}

/// Where a certificate carries an ID: `{ from = "san-uri", prefix = … }`, `{ from = "san-dns" }` or `{ from = "cn" }`.
fn read_identity<'a>(
    document: &mut Document<'a>,
    section: &mut Section<'a>,
    key: &'static str,
    usual_prefix: &str,
) -> Option<IdentitySource> {
    if !section.contains(key) {
        section.knows(key);
        return Some(IdentitySource::SanUri { prefix: usual_prefix.to_owned() });
    }
    #[derive(Clone, Copy, PartialEq)]
    enum From {
        SanUri,
        SanDns,
        CommonName,
    }
    let mut source = section.section(document, key)?;
    let froms = [("san-uri", From::SanUri), ("san-dns", From::SanDns), ("cn", From::CommonName)];
    let from = source.required(document, "from", "\"san-uri\"", value::choice(&froms));
    let prefix = source.optional(document, "prefix", value::text);
    if prefix.is_some() && from.is_some_and(|from| from != From::SanUri) {
        let wrong = Wrong::new("`prefix` goes with from = \"san-uri\" only", "remove `prefix`");
        document.note(&source.full_name("prefix"), wrong);
    }
    source.finish(document);
    Some(match from? {
        From::SanUri => IdentitySource::SanUri { prefix: prefix.unwrap_or_else(|| usual_prefix.to_owned()) },
        From::SanDns => IdentitySource::SanDns,
        From::CommonName => IdentitySource::CommonName,
    })
}

/// One name, in the words of ETSI, of ITU-T, and of ETSI where a KME stands for an SAE.
fn in_three_words(toml: &toml::de::DeValue<'_>) -> Result<(KmeId, KmId, SaeId), Wrong> {
    Ok((value::parsed(toml)?, value::parsed(toml)?, value::parsed(toml)?))
}

/// All sections of a name; `None` when one of them is wrong.
fn each<'a, T>(
    document: &mut Document<'a>,
    root: &mut Section<'a>,
    key: &'static str,
    mut read: impl FnMut(&mut Document<'a>, Section<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    // All are read before the first wrong one ends it, so that every mistake is noted.
    let read: Vec<Option<T>> = root.sections(document, key).into_iter().map(|section| read(document, section)).collect();
    read.into_iter().collect()
}

/// `Some(None)` for a section that is absent, `None` for one that is wrong.
fn present<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

const MAX_KEY_BITS: u32 = 8 * MAX_KEY_OCTETS as u32;
const MAX_KEYS: u32 = 65_536;
const BURST_SECONDS: f64 = 2.0;
