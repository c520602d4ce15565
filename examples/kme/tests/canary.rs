//! Keys that can be recognised are drawn, delivered and gone: they are in no log, metric, record, answer or file, and not in
//! the memory of the KMEs any more.
//!
//! Keys of applications come from the KME's own generator, so they are recognised by what the SAEs were given; keys of the
//! QKD link bear a pattern.

#![allow(missing_docs)]
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use support::{Found, Kme, Needles, Sae, Settings, Site};

/// In base64 it makes whole letters, the same in every key.
const LINK_PATTERN: &str = "51d1c4a7e5ca9a2713c4a7e9b05de1f00d5eedc0de5a17ed";
/// What remains: answers of the QKD modules, as the base64 of JSON, in buffers of TLS and HTTP that nobody wipes: those of the
/// connection that is kept to the module, and what rustls and hyper have given back to the allocator. Each link key is used
/// once as a pad and is of no use afterwards to anyone who has not also recorded what passed between the KMEs. A KME draws
/// some 100 keys at a time, of two parts each, and so much key in these tests that it would be many more if all remained.
const LINK_KEY_RESIDUE: usize = 20_000;
const DURABILITIES: [&str; 2] = ["lease", "strict"];

#[test]
fn the_search_finds_what_it_looks_for() {
    let key: Vec<u8> = (0..32_u8).map(|number| number.wrapping_mul(37).wrapping_add(101)).collect();
    let mut printed = Needles::default();
    printed.add_printed("a key", &key);
    let mut parts = Needles::default();
    parts.add_parts("a key", &key);
    for (text, name) in [
        (format!("{key:?}"), "a key, decimal list"),
        (format!("{key:#?}"), "a key, lines of decimals"),
        (format!("{key:x?}"), "a key, hexadecimal list"),
        (format!("{:?}", bytes::Bytes::from(key.clone())), "a key, escaped"),
        (format!("x{}", Base64::encode_string(&key)), "a key, base64"),
    ] {
        assert!(printed.find_in(text.as_bytes(), "", 0).iter().any(|found| found.name == name), "{name} in {text}");
    }
    let hay = [&[0; 5][..], &key[8..24], &[0; 5]].concat();
    let found: Vec<_> = parts.find_in(&hay, "here", 100).into_iter().map(|found| found.offset).collect();
    assert_eq!(found, [105, 113]);
    let (octets, found) = parts.find_in_memory("self").expect("one's own memory");
    assert!(octets > 100_000 && found.iter().any(|found| found.name == "a key, octets"), "{octets}");
    drop(key);
}

#[tokio::test]
async fn delivered_keys_are_in_nothing_that_is_written_or_told() {
    for durability in DURABILITIES {
        let site = Site::start(Settings {
            durability,
            link_pattern: Some(LINK_PATTERN),
            rust_log: Some("trace"),
            ..Settings::default()
        });
        let (keys, said) = demo_flow(&site, true).await;
        let mut needles = needles(&keys);
        needles.add_printed("link key", &link_pattern());
        assert_eq!(needles.find_in(said.as_bytes(), "what was said", 0), []);
        for pid in Kme::BOTH.map(|kme| site.pid(kme)) {
            for file in ["cmdline", "environ"] {
                let octets = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                assert_eq!(needles.find_in(&octets, file, 0), []);
            }
        }
        // While the stores are open, and when they have been closed.
        for stopped in [false, true] {
            if stopped {
                Kme::BOTH.iter().for_each(|&kme| site.stop_kme(kme));
            }
            let (files, found) = needles.find_in_files(site.folder());
            assert!(files > 20, "{files}");
            assert_eq!(found, [], "{durability}, stopped: {stopped}");
        }
        for kme in Kme::BOTH {
            let log = fs::read_to_string(site.log_of(kme)).expect("a log");
            assert!(log.contains("TRACE"), "the log tells everything: {} octets", log.len());
            assert!(site.audit(kme).lines().count() > 5);
        }
    }
}

#[tokio::test]
async fn delivered_keys_are_gone_from_memory() {
    for durability in DURABILITIES {
        let site = Site::start(Settings { durability, link_pattern: Some(LINK_PATTERN), ..Settings::default() });
        let (keys, _) = demo_flow(&site, false).await;
        // Other work, and some rest.
        for _ in 0..3 {
            for (master, slave) in [("red", "blue"), ("blue", "red"), ("green", "grey")] {
                site.sae(master).status(slave).await;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        let mut of_applications = Needles::default();
        for (number, key) in keys.iter().enumerate() {
            of_applications.add_parts(&format!("key {number}"), key);
        }
        let mut of_link = Needles::default();
        of_link.add_parts("link key", &link_pattern());
        for kme in Kme::BOTH {
            let pid = site.pid(kme).to_string();
            let (octets, found) = match of_applications.find_in_memory(&pid) {
                Ok(searched) => searched,
                Err(error) => {
                    println!("SKIPPED: the memory of a KME cannot be read here ({error}); run it as root");
                    return;
                }
            };
            assert!(octets > 1_000_000, "{octets}");
            let (_, link_found) = of_link.find_in_memory(&pid).expect("readable a moment ago");
            println!("{durability} {}: {octets} octets, {} keys: {:?}", kme.id(), keys.len(), summary(&found));
            println!("{durability} {}: link keys: {:?}", kme.id(), summary(&link_found));
            assert_eq!(found, [], "{durability} {}", kme.id());
            let raw = link_found.iter().filter(|found| !found.name.ends_with("base64")).count();
            assert_eq!(raw, 0, "{durability} {}: octets of link keys", kme.id());
            assert!(link_found.len() <= LINK_KEY_RESIDUE, "{durability} {}: {}", kme.id(), link_found.len());
        }
    }
}

/// How many of each form in each place.
fn summary(found: &[Found]) -> BTreeMap<(&str, &str), usize> {
    let mut summary = BTreeMap::new();
    for found in found {
        let form = found.name.rsplit(", ").next().unwrap_or_default();
        *summary.entry((found.place.as_str(), form)).or_default() += 1;
    }
    summary
}

fn link_pattern() -> Vec<u8> {
    let pattern: qkd_link::pattern::TestPattern = LINK_PATTERN.parse().expect("hexadecimal");
    pattern.octets().to_vec()
}

fn needles(keys: &[Vec<u8>]) -> Needles {
    let mut needles = Needles::default();
    for (number, key) in keys.iter().enumerate() {
        needles.add_printed(&format!("key {number}"), key);
    }
    needles
}

/// Keys drawn and collected; if `confused`, by SAEs that send them back where they do not belong. Returns them, and all that
/// was said about it but the keys themselves.
async fn demo_flow(site: &Site, confused: bool) -> (Vec<Vec<u8>>, String) {
    let mut keys = Vec::new();
    let mut said = String::new();
    for (master, slaves, request) in [
        ("red", &["blue"][..], json!({ "number": 20 })),
        ("red", &["blue"], json!({ "number": 3, "size": 4096 })),
        ("red", &["blue"], json!({ "number": 5, "size": 128, "extension_optional": [{ "qkms_label": true }] })),
        ("red", &["blue", "green"], json!({ "number": 8, "additional_slave_SAE_IDs": ["green"] })),
        ("blue", &["red"], json!({ "number": 20, "size": 512 })),
        ("green", &["grey"], json!({ "number": 20 })),
    ] {
        let drawn = site.sae(master).draw(slaves[0], request).await;
        let ids: Vec<&str> = drawn.iter().map(|(id, _)| id.as_str()).collect();
        for slave in slaves {
            let slave = site.sae(slave);
            if confused {
                said += &confuse_keys_with_ids(&slave, master, &drawn).await;
            }
            assert!(slave.collect(master, &ids).await.keys() == drawn);
            let again = slave.collect(master, &ids).await;
            assert_eq!(again.status, 400);
            said += &String::from_utf8_lossy(&again.body);
        }
        keys.extend(drawn.iter().map(|(_, key)| Base64::decode_vec(key).expect("base64")));
    }
    said += &by_command_line(site, &mut keys).await;
    for kme in Kme::BOTH {
        for path in ["/metrics", "/healthz", "/openapi.json"] {
            said += &site.ask_admin(kme, "GET", path).1;
        }
    }
    (keys, said)
}

/// Sends keys where IDs belong, and where nothing belongs.
async fn confuse_keys_with_ids(slave: &Sae, master: &str, drawn: &[(String, String)]) -> String {
    let ids: Vec<Value> = drawn.iter().map(|(_, key)| json!({ "key_ID": key })).collect();
    let key = &drawn[0].1;
    let mut said = String::new();
    for (path, body) in [
        ("dec_keys", json!({ "key_IDs": ids })),
        ("dec_keys", json!({ "key_IDs": [], "keys": ids })),
        ("dec_keys", json!({ "key_IDs": key })),
        ("dec_keys", json!([key])),
        ("enc_keys", json!({ "size": key })),
        ("enc_keys", json!({ "additional_slave_SAE_IDs": [key] })),
        ("enc_keys", json!({ "extension_mandatory": [{ "x": key }] })),
    ] {
        let answer = slave.post(&format!("{master}/{path}"), body.to_string()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        said += &String::from_utf8_lossy(&answer.body);
    }
    said
}

/// Red draws by the command line, which shows no keys unless told to, and blue collects them otherwise.
async fn by_command_line(site: &Site, keys: &mut Vec<Vec<u8>>) -> String {
    let sae = |id: &str| json!({ "kme": Kme::of(id).id(), "cert": format!("pki/{id}.pem"), "key": format!("pki/{id}.key") });
    let url = |kme: Kme| json!({ "url": format!("https://127.0.0.1:{}", site.port(kme)) });
    let demo = json!({
        "ca": "pki/ca.pem",
        "kmes": { "north": url(Kme::North), "south": url(Kme::South) },
        "saes": { "red": sae("red"), "blue": sae("blue") },
    });
    fs::write(site.folder().join("demo.json"), demo.to_string()).expect("written");
    let sae = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kme"));
        command.arg("demo-sae").arg("--demo").arg(site.folder()).args(arguments).env("RUST_LOG", "trace");
        let done = command.output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        (String::from_utf8(done.stdout).expect("text"), String::from_utf8(done.stderr).expect("text"))
    };
    let (drawn, told) = sae(&["--as", "red", "--json", "enc", "blue", "--number", "4"]);
    let answer: Value = serde_json::from_str(&drawn).expect("JSON");
    let ids: Vec<&str> = answer["keys"].as_array().expect("keys").iter().filter_map(|key| key["key_ID"].as_str()).collect();
    assert_eq!(ids.len(), 4);
    let collected = site.sae("blue").collect("red", &ids).await.keys();
    keys.extend(collected.iter().map(|(_, key)| Base64::decode_vec(key).expect("base64")));
    let (status, more) = sae(&["--as", "red", "status", "blue"]);
    [drawn, told, status, more].concat()
}
