//! The standards crates and this one hold no socket, runtime, TLS, clock or random generator, and stand on each other as
//! ARCHITECTURE.md draws it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const PURE: [&str; 3] = ["qkms-itu-y3803", "qkms-etsi014", "qkms-relay-core"];
const FORBIDDEN: [&str; 17] = [
    "tokio",
    "hyper",
    "hyper-util",
    "rustls",
    "tokio-rustls",
    "tonic",
    "axum",
    "reqwest",
    "ring",
    "aws-lc-rs",
    "rand",
    "getrandom",
    "mio",
    "socket2",
    "redb",
    "chrono",
    "time",
];

#[test]
fn pure_crates_stay_pure() {
    let graph = Graph::read();
    for package in PURE {
        let below = graph.below(package);
        let found: Vec<_> = FORBIDDEN.iter().filter(|name| below.contains(**name)).collect();
        assert!(found.is_empty(), "{package} depends on {found:?}");
    }
}

#[test]
fn crates_stand_on_each_other_as_drawn() {
    let graph = Graph::read();
    let ours = |package: &str| -> BTreeSet<String> {
        graph.below(package).into_iter().filter(|name| name.starts_with("qkms-") || is_example(name)).collect()
    };
    let expected = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(ours("qkms-itu-y3803"), expected(&[]));
    assert_eq!(ours("qkms-etsi014"), expected(&["qkms-itu-y3803"]));
    assert_eq!(ours("qkms-relay-core"), expected(&["qkms-itu-y3803"]));
    assert_eq!(ours("transport"), expected(&[]));
    assert_eq!(ours("sae"), expected(&["qkms-itu-y3803", "qkms-etsi014", "transport"]));
    assert_eq!(ours("qkd-link"), expected(&["qkms-itu-y3803", "qkms-etsi014", "transport"]));
}

fn is_example(name: &str) -> bool {
    ["transport", "sae", "qkd-link", "kme", "bench", "fuzz"].contains(&name)
}

fn host() -> String {
    let output = Command::new(env!("CARGO")).args(["version", "--verbose"]).output().expect("cargo runs");
    let said = String::from_utf8(output.stdout).expect("text");
    said.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host").to_owned()
}

/// Normal dependencies with default features, as whoever uses a crate gets them.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn read() -> Self {
        // What is for other platforms only may never have been downloaded.
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &host(), "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let names: BTreeMap<_, _> =
            array(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
        let mut graph = BTreeMap::new();
        for node in array(&metadata["resolve"]["nodes"]) {
            let normal = |dep: &&Value| array(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let below = array(&node["deps"]).iter().filter(normal).map(|dep| names[dep["pkg"].as_str().expect("text")].clone());
            graph.entry(names[node["id"].as_str().expect("text")].clone()).or_insert_with(BTreeSet::new).extend(below);
        }
        Self(graph)
    }

    fn below(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![package.to_owned()];
        while let Some(name) = next.pop() {
            for below in self.0.get(&name).into_iter().flatten() {
                if found.insert(below.clone()) {
                    next.push(below.clone());
                }
            }
        }
        assert!(self.0.contains_key(package), "{package} is in the workspace");
        found
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
