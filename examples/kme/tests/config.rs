//! Configuration files: the example parses, and mistakes are reported with their place and what to write instead.

use std::path::Path;
use std::time::Duration;

use kme::config::{Config, ConfigError, Durability, LogFormat, Problem, StoreKind};
use transport::identity::IdentitySource;

const EXAMPLE: &str = include_str!("../kme.toml");

#[test]
fn the_example_parses_to_the_usual_settings() {
    let config = Config::parse(EXAMPLE, Path::new("/etc/kme/kme.toml")).expect("the example");
    assert_eq!(config.kme.id.as_str(), "north");
    assert_eq!(config.kme.data_dir, Path::new("/etc/kme/data"));
    assert_eq!(config.northbound.tls.key, Path::new("/etc/kme/pki/north.key"));
    assert_eq!(config.northbound.keys, etsi014::Limits::default());
    let connections = transport::server::Limits { body_octets: 64 * 1024, ..transport::server::Limits::default() };
    assert_eq!(config.northbound.connections, connections);
    assert_eq!(config.northbound.sae_id, IdentitySource::sae_uri());
    assert_eq!(config.store.kind, StoreKind::Redb { path: "/etc/kme/data/store".into() });
    assert_eq!(config.links[0].peer_as_sae.as_str(), "south");
    assert_eq!(config.audit.expect("it is there").file, Path::new("/etc/kme/data/audit.jsonl"));
}

/// Turning the comments into settings must change nothing: they show the usual values.
#[test]
fn the_comments_of_the_example_tell_the_usual_values() {
    let setting = |line: &&str| line.starts_with("# ") && line.contains(" = ") && !line.starts_with("#   ");
    let commented = EXAMPLE.lines().filter(setting).count();
    assert!(commented > 40, "{commented}");
    let all: String =
        EXAMPLE.lines().map(|line| if setting(&line) { format!("{}\n", &line[2..]) } else { format!("{line}\n") }).collect();
    // Quotas have no usual value: any will do.
    let told = Config::parse(&all, Path::new("kme.toml")).expect("the example with its comments");
    let usual = Config::parse(EXAMPLE, Path::new("kme.toml")).expect("the example");
    let engines = [&told, &usual].map(|config| {
        let mut engine = config.to_engine();
        // Both have the same; a hash map shows it in any order.
        engine.applications.clear();
        format!("{engine:?}")
    });
    assert_eq!(engines[0], engines[1]);
    assert_eq!(format!("{:?}", told.northbound), format!("{:?}", usual.northbound));
    assert_eq!(format!("{:?}", told.kx), format!("{:?}", usual.kx));
    assert_eq!((told.store, told.log), (usual.store, usual.log));
    assert_eq!(told.kme.data_dir, usual.kme.data_dir);
    assert_eq!(told.quota.burst_seconds, usual.quota.burst_seconds);
}

#[test]
fn settings_reach_the_engine() {
    let text = changed("[pool]", "[pool]\nblock_life = \"1h30min\"\npool_high = 20000");
    let engine = Config::parse(&text, Path::new("kme.toml")).expect("valid").to_engine();
    assert_eq!(engine.id.as_str(), "north");
    assert_eq!(engine.block_life, Duration::from_secs(5400));
    assert_eq!(engine.pool_high, 20000);
    assert_eq!((engine.links[0].id.as_str(), engine.links[0].peer.as_str()), ("north-south", "south"));
    let mut directory: Vec<_> = engine.applications.iter().map(|(sae, kme)| (sae.as_str(), kme.as_str())).collect();
    directory.sort();
    assert_eq!(directory, [("blue", "south"), ("red", "north")]);
}

#[test]
fn a_kme_without_neighbours_needs_no_kx() {
    let config = Config::parse(ALONE, Path::new("kme.toml")).expect("valid");
    assert!(config.kx.is_none() && config.peers.is_empty() && config.admin.is_none() && config.audit.is_none());
    assert_eq!(config.store.durability, Durability::Lease);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn choices_are_taken() {
    for (from, to, holds) in [
        ("kind = \"redb\"", "kind = \"memory\"", (|config| config.store.kind == StoreKind::Memory) as fn(&Config) -> bool),
        ("kind = \"redb\"", "durability = \"strict\"", |config| config.store.durability == Durability::Strict),
        ("kind = \"redb\"", "path = \"/k/s\"", |config| config.store.kind == StoreKind::Redb { path: "/k/s".into() }),
        ("# http2", "sae_id = { from = \"cn\" }\n# http2", |config| config.northbound.sae_id == IdentitySource::CommonName),
        ("# http2", "sae_id.from = \"san-dns\"\n# http2", |config| config.northbound.sae_id == IdentitySource::SanDns),
        ("# http2", "self_as_slave = true\n# http2", |config| {
            config.northbound.keys == etsi014::Limits::default().with_self_as_slave(true)
        }),
        ("# http2", "idle_timeout = \"1500ms\"\n# http2", |config| {
            config.northbound.connections.idle == Duration::from_millis(1500)
        }),
        ("[quota]", "[quota]\nkeys_per_second = 0.5\nburst_seconds = 256", |config| config.quota.keys_per_second == Some(0.5)),
        ("\nkme_id = \"link-a\"", "\nany_kme_id = true", |config| config.links[0].module.kme_id.is_none()),
        ("# any_kme_id", "kme_id_from = { from = \"cn\" } #", |config| {
            config.links[0].module.kme_id_from == IdentitySource::CommonName
        }),
        ("[quota]", "[quota]\nrequests_per_second = 10", |config| config.quota.requests_per_second == Some(10.0)),
        ("[log]", "[log]\nformat = \"json\"", |config| config.log.format == LogFormat::Json),
    ] {
        let config = Config::parse(&changed(from, to), Path::new("kme.toml"));
        assert!(config.as_ref().is_ok_and(holds), "{to}: {config:?}");
    }
}

/// Each: a change to the example, and where, what and which fix is reported for it.
const MISTAKES: &[(&str, &str, &str, &str, &str)] = &[
    // Text that is no TOML
    ("[kme]", "[kme", "[kme", "unclosed table", "TOML"),
    ("id = \"red\"", "id = red", "red\nkme", "string values must be quoted", "double quotes"),
    // Unknown names
    ("[northbound]", "[northbond]", "northbond", "the file knows no `northbond`", "did you mean `northbound`?"),
    ("listen = \"127.0.0.1:8443\"", "listn = \"127.0.0.1:8443\"", "listn", "knows no `listn`", "did you mean `listen`?"),
    ("# max_connections =", "max-connections =", "max-connections", "knows no `max-connections`", "`max_connections`?"),
    ("[log]", "[log]\ncolour = true", "colour", "[log] knows no `colour`", "remove it; [log] knows `level`, `format`"),
    ("\naddress =", "\nadress =", "adress", "[[peer]] knows no `adress`", "did you mean `address`?"),
    ("\nkme_id = \"link-a\"", "\nkmeid = \"x\"", "kmeid", "`module` of [[link]] knows no `kmeid`", "did you mean `kme_id`?"),
    // Missing
    ("id = \"north\"", "", "[kme]", "[kme] has no `id`", "add `id = \"north\"`"),
    ("kme = \"south\"", "", "[[sae]]\nid = \"blue\"", "[[sae]] has no `kme`", "add `kme = \"north\"`"),
    ("url = \"https://localhost:9443\"", "", "[link.module]", "has no `url`", "https://localhost:9443"),
    ("\nkme_id = \"link-a\"", "", "[link.module]", "has no `kme_id`", "`any_kme_id = true`"),
    ("\nkme_id = \"link-a\"", "\nany_kme_id = false", "[link.module]", "has no `kme_id`", "add `kme_id = \"link-a\"`"),
    // Wrong values
    ("127.0.0.1:8443", "localhost:8443", "\"localhost:8443\"", "`listen` is no address", "127.0.0.1:8443"),
    ("\"127.0.0.1:8454\"", "\"a south\"", "\"a south\"", "`address` is not host and port", "kme-south.example:8453"),
    ("\"127.0.0.1:8454\"", "\"south:0\"", "\"south:0\"", "`address` is not host and port", "kme-south.example:8453"),
    ("\"127.0.0.1:8543\"", "\"0.0.0.0:8543\"", "\"0.0.0.0:8543\"", "no loopback address", "\"127.0.0.1:8543\""),
    ("\"redb\"", "\"reddb\"", "\"reddb\"", "cannot be \"reddb\"", "did you mean \"redb\"?"),
    ("[log]", "[log]\nlevel = \"loud\"", "\"loud\"", "cannot be \"loud\"", "write one of \"error\", \"warn\""),
    ("[pool]", "[pool]\nidle = 10", "10\n", "`idle` is a whole number without a unit", "\"10s\""),
    ("[pool]", "[pool]\nidle = \"10 parsecs\"", "\"10 parsecs\"", "`idle` is no time", "\"10s\""),
    ("[pool]", "[pool]\nidle = \"0s\"", "\"0s\"", "`idle` is out of range", "\"1ms\""),
    ("[pool]", "[pool]\nidle = \"9999999999999d\"", "\"9999999999999d\"", "`idle` is no time", "\"10s\""),
    ("[pool]", "[pool]\nlink_low = -1", "-1", "`link_low` is out of range", "write a whole number"),
    ("[quota]", "[quota]\nkeys_per_second = -0.5", "-0.5", "`keys_per_second` is not above 0", "as 100 or 0.5"),
    ("# max_key_size = 4096", "max_key_size = 1001", "1001", "no multiple of 8", "as 256"),
    ("# max_key_size = 4096", "max_key_size = 128", "128", "must ascend", "make them ascend"),
    ("# http2 = false", "http2 = \"yes\"", "\"yes\"", "`http2` is a text", "true or false"),
    ("[\"pki/ca.pem\"]              #", "[] #", "[] #", "is an empty list", "one file at least"),
    ("# http2", "sae_id = { from = \"cn\", prefix = \"x\" } #", "\"x\"", "`prefix` goes with", "remove `prefix`"),
    ("https://localhost:9443", "http://localhost:9443", "\"http://", "`url` cannot be used", "https://host:port"),
    ("id = \"red\"", "id = \"a\\u0007\"", "\"a\\u0007\"", "`id` cannot be used", "no control characters"),
    // Settings that do not go together
    ("# any_kme_id = false", "any_kme_id = true #", "true #", "`kme_id` is given", "remove one of"),
    ("[quota]", "[quota]\nkeys_per_second = 10", "10    ", "128 keys can never be had", "burst_seconds = 13"),
    ("[quota]", "[quota]\nkeys_per_second = 10\nburst_seconds = 12.7", "12.7", "128 keys", "max_keys_per_request = 127"),
    ("id = \"blue\"", "id = \"red\"", "\"red\"\nkme = \"south\"", "the SAE `red` is named twice", "the one in line "),
    ("kme = \"south\"", "kme = \"sooth\"", "\"sooth\"", "an unknown KME `sooth`", "did you mean \"south\"?"),
    ("kme = \"south\"", "kme = \"east\"", "\"east\"", "an unknown KME `east`", "add [[peer]] with id = \"east\""),
    ("peer = \"south\"", "peer = \"west\"", "\"west\"", "leads to `west`, which is no peer", "add [[peer]]"),
    ("\"127.0.0.1:8453\"", "\"127.0.0.1:8443\"", "\"127.0.0.1:8443\"\ncert", "both listen at port 8443", "another port"),
    ("\"127.0.0.1:8453\"", "\"0.0.0.0:8443\"", "\"0.0.0.0:8443\"", "both listen at port 8443", "another port"),
    ("kind = \"redb\"", "kind = \"memory\"\npath = \"x\"", "\"x\"", "the store is in memory", "remove `path`"),
    ("[pool]", "[pool]\nlink_low = 99", "99", "link_low is above link_high", "change one of the two"),
    ("# max_key_size = 4096", "max_key_size = 16384", "16384", "does not fit a block of 1024 octets", "max_key_size = 8192"),
    ("# max_keys_per_request = 128", "max_keys_per_request = 1024", "1024", "more than pool_limit", "pool_limit = 524288"),
];

#[test]
fn mistakes_are_reported_with_place_and_fix() {
    let mut failures = Vec::new();
    for (from, to, at, message, fix) in MISTAKES {
        let text = changed(from, to);
        let offset = text.find(at).unwrap_or_else(|| panic!("{at:?} is in the text for {to:?}"));
        let line = text[..offset].matches('\n').count() + 1;
        let column = offset - text[..offset].rfind('\n').map_or(0, |newline| newline + 1) + 1;
        // The parser says where it gave up, which may be later in the line.
        let here = |problem: &Problem| problem.line == line && (problem.column == column || problem.fix.contains("as TOML"));
        let problems = problems(&text);
        let as_expected = |problem: &Problem| here(problem) && problem.message.contains(message) && problem.fix.contains(fix);
        if !problems.iter().any(as_expected) {
            failures.push(format!("{to:?}: expected {line}:{column} {message:?} {fix:?}, found {problems:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn several_mistakes_are_reported_together_in_the_order_of_the_file() {
    let text = changed("listen = \"127.0.0.1:8443\"", "listen = 8443")
        .replace("peer = \"south\"", "pear = \"south\"")
        .replace("[log]", "[log]\nlevel = 3");
    let error = Config::parse(&text, Path::new("dir/north.toml")).expect_err("four mistakes");
    let shown = error.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 8, "{shown}");
    for (index, start) in [(0, "`listen` is a whole number"), (2, "[[link]] has no `peer`"), (4, "[[link]] knows no `pear`")] {
        assert!(lines[index].starts_with("dir/north.toml:") && lines[index].contains(start), "{shown}");
    }
    assert!(lines[6].contains("`level` is a whole number"), "{shown}");
    assert!(lines[1..].iter().step_by(2).all(|line| line.starts_with("  fix: ")), "{shown}");
}

#[test]
fn a_link_to_every_peer_and_a_door_for_them_are_asked_for() {
    let without_link = cut(EXAMPLE, "[[link]]", "# ---- The directory");
    assert!(problems(&without_link)[0].fix.contains("[[link]] with peer = \"south\""));
    let without_kx = cut(EXAMPLE, "[kx]", "[[peer]]");
    assert!(problems(&without_kx)[0].fix.contains("[kx]"));
    let itself = EXAMPLE.replace("\"south\"", "\"north\"");
    assert!(problems(&itself).iter().any(|problem| problem.message.contains("is this KME itself")));
}

#[test]
fn missing_files_are_reported_with_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kme.toml");
    std::fs::write(&path, EXAMPLE).expect("written");
    let Err(ConfigError::Problems { problems, .. }) = Config::load(&path) else { panic!("no file is there") };
    // Certificate, key, authorities and revocation list of two sections, all but the list of the third.
    assert_eq!(problems.len(), 11, "{problems:#?}");
    assert_eq!(problems[0].line, 1 + EXAMPLE.lines().position(|line| line.starts_with("certificate")).expect("a line"));
    assert!(problems[0].message.contains("north.pem"), "{problems:?}");
    assert!(matches!(Config::load(&folder.path().join("absent.toml")), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn no_text_panics() {
    for end in (0..EXAMPLE.len()).step_by(7) {
        if let Some(text) = EXAMPLE.get(..end) {
            let _ = Config::parse(text, Path::new("kme.toml"));
        }
    }
}

const ALONE: &str = r#"
[kme]
id = "north"

[northbound]
listen = "127.0.0.1:0"
certificate = "north.pem"
key = "north.key"
client_ca = "ca.pem"
"#;

fn changed(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from:?} is in the example");
    EXAMPLE.replacen(from, to, 1)
}

fn cut(text: &str, from: &str, to: &str) -> String {
    let (before, rest) = text.split_once(from).expect("it is there");
    let (_, after) = rest.split_once(to).expect("it is there");
    format!("{before}{to}{after}")
}

fn problems(text: &str) -> Vec<Problem> {
    match Config::parse(text, Path::new("kme.toml")) {
        Err(ConfigError::Problems { problems, .. }) => problems,
        Ok(_) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}
