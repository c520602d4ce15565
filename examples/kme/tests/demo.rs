//! `kme demo`, as a user starts it: it succeeds, leaves what it promises, and ends its processes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn kme(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kme"));
    command.args(arguments);
    command
}

fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = kme(&["demo", "--base-port", "0", "--dir"]);
    command.arg(folder).args(arguments);
    command
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn the_demonstration_succeeds_and_leaves_what_it_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    for durability in ["lease", "strict"] {
        let Output { status, stdout, stderr } =
            demo(folder.path(), &["--exit", "--durability", durability]).output().expect("it runs");
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        assert!(status.success(), "{stdout}\n{stderr}\n{}", logs(folder.path()));
        assert_eq!(stdout.matches("the keys are EQUAL").count(), 2, "{stdout}");
        assert!(stdout.contains("for blue at KME north; qkms_label: its-relay\n"), "{stdout}");
        assert!(stdout.contains("for grey at KME south; qkms_label: local\n"), "{stdout}");
        assert!(fs::read_to_string(folder.path().join("link.csv")).expect("the trace").starts_with("# synthetic"));
        assert_eq!(stderr, "");
        same_fingerprints_at_both_ends(&stdout);
        for said in [&stdout, &logs(folder.path())] {
            assert_eq!(looks_like_keys(said), Vec::<&str>::new());
        }

        let demo = demo_json(folder.path());
        for sae in ["red", "blue", "green", "grey"] {
            assert_eq!(demo["saes"][sae]["kme"], if sae == "red" { "north" } else { "south" });
            files_exist(folder.path(), &demo["saes"][sae]);
        }
        for fault in ["unenrolled", "expired", "not_yet_valid", "revoked", "no_client_auth", "self_signed", "lookalike"] {
            files_exist(folder.path(), &demo["refused"][fault]);
        }
        assert!(stdout.contains("12 cases: 12 pass") && stdout.contains("CONFORMING to 014@1.1.1"), "{stdout}");
        assert!(folder.path().join(demo["conformance"].as_str().expect("a path")).is_file());
        assert!(folder.path().join(demo["ca"].as_str().expect("a path")).is_file());
        for kme in ["north", "south"] {
            let url = demo["kmes"][kme]["url"].as_str().expect("a URL");
            let port: u16 = url.strip_prefix("https://127.0.0.1:").and_then(|port| port.parse().ok()).expect("a port");
            assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "{kme} has ended");
            let config = folder.path().join(demo["kmes"][kme]["config"].as_str().expect("a path"));
            assert!(fs::read_to_string(&config).expect("readable").contains(durability));
            let checked = kme_check(&config);
            assert!(checked.status.success(), "{}", text(&checked.stderr));
        }
    }
}

#[test]
fn processes_end_with_the_demonstration_however_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut killed = started(folder.path(), &[]);
    let ports = northbound_ports(folder.path());

    let second = demo(folder.path(), &["--exit"]).output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another demonstration is running there"), "{}", text(&second.stderr));

    killed.kill().expect("it was running");
    killed.wait().expect("it has ended");
    wait_until("the KMEs have ended", || ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()));

    // The folder is used again, and this one ends because its standard input closes.
    let mut told = started(folder.path(), &["--exit-with-parent"]);
    let ports = northbound_ports(folder.path());
    drop(told.stdin.take());
    assert!(told.wait().expect("it ends").success());
    assert!(ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()));
}

/// Transport, identity, Status and claims: what depends on the certificates and the configuration that it leaves.
#[test]
fn the_conformance_suite_has_all_it_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut serving = started(folder.path(), &["--exit-with-parent"]);
    let report = folder.path().join("report.json");
    let mut command = kme(&["demo-qkdspec", "run", "kme", "TLS", "AUT", "STA", "EXT", "MC", "#hook", "--config"]);
    let done = command.arg(folder.path().join("qkdspec.toml")).arg("--report").arg(&report).output().expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    let report: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    let cases = report["cases"].as_array().expect("cases");
    let short = |case: &Value| case["id"].as_str().expect("an id").trim_start_matches("014-").to_owned();
    let with = |verdict: &str| cases.iter().filter(|case| case["verdict"] == verdict).map(short).collect::<Vec<_>>();
    assert_eq!(with("na"), ["EXT-007", "EXT-008", "MC-001"], "not so by the claims");
    assert_eq!(with("skip"), ["ENC-028", "ENC-029", "DEC-023", "CON-005"], "destructive");
    assert_eq!(with("pass").len() + 7, cases.len());
    for hook in ["link_down", "link_up", "drain_a", "refill_a"] {
        assert!(fs::read_to_string(folder.path().join("qkdspec.toml")).expect("readable").contains(hook), "{hook}");
    }
    drop(serving.stdin.take());
    assert!(serving.wait().expect("it ends").success());
}

#[test]
fn what_others_have_made_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.txt"), "years of work").expect("written");
    let refused = demo(folder.path(), &["--exit"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--dir"), "{}", text(&refused.stderr));
    let left: Vec<_> = fs::read_dir(folder.path()).expect("readable").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_taken_port_is_named() {
    // The one of south: north's is free, or else the system had no two free ports in a row.
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let base = taken.local_addr().expect("an address").port() - 1;
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = kme(&["demo", "--exit", "--base-port", &base.to_string(), "--dir"]);
    let refused = command.arg(folder.path()).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let stderr = text(&refused.stderr);
    assert!(stderr.contains(&format!("port {}", base + 1)) && stderr.contains("--base-port 0"), "{stderr}");
    #[cfg(target_os = "linux")]
    assert_eq!(processes_about(folder.path()), 0, "the others have ended before it");
}

#[cfg(target_os = "linux")]
#[test]
fn processes_end_with_an_interrupted_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = demo(folder.path(), &["--exit-with-parent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_until("a KME is starting", || processes_about(folder.path()) > 1);
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert_eq!(processes_about(folder.path()), 0, "the others have ended before it");
}

#[cfg(target_os = "linux")]
/// How many processes have this folder in their command line.
fn processes_about(folder: &Path) -> usize {
    let folder = folder.to_str().expect("text").as_bytes();
    let entries = fs::read_dir("/proc").expect("Linux").flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(folder.len()).any(|part| part == folder)).count()
}

/// A demonstration that serves on, when it has come that far.
fn started(folder: &Path, arguments: &[&str]) -> Child {
    let mut child = demo(folder, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut said = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    while stdout.read_line(&mut said).expect("readable") > 0 && !said.contains("/openapi.json") {}
    assert!(said.contains("curl -sS --cacert"), "{said}\n{}", logs(folder));
    // Kept from filling, and from closing before the child ends.
    std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    child
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not in time: {what}");
}

fn demo_json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("demo.json")).expect("demo.json")).expect("JSON")
}

fn northbound_ports(folder: &Path) -> [u16; 2] {
    let demo = demo_json(folder);
    ["north", "south"].map(|kme| {
        let url = demo["kmes"][kme]["url"].as_str().expect("a URL");
        url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    })
}

fn files_exist(folder: &Path, certificate: &Value) {
    for file in ["cert", "key"] {
        assert!(folder.join(certificate[file].as_str().expect("a path")).is_file(), "{certificate}");
    }
}

fn kme_check(config: &Path) -> Output {
    kme(&["check-config"]).arg(config).output().expect("it runs")
}

fn logs(folder: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder.join("log").join(name)).unwrap_or_default();
    ["link.log", "north.log", "south.log"].map(|name| format!("{name}:\n{}", read(name))).concat()
}

fn same_fingerprints_at_both_ends(said: &str) {
    let fingerprints: Vec<&str> = said.lines().filter_map(|line| line.split_once("fingerprint ")).map(|(_, it)| it).collect();
    assert_eq!(fingerprints.len(), 12, "{said}");
    assert_eq!(fingerprints[..3], fingerprints[3..6]);
    assert_eq!(fingerprints[6..9], fingerprints[9..]);
    assert_eq!(fingerprints.iter().collect::<BTreeSet<_>>().len(), 6, "{said}");
}

/// Words that may be 32 octets or more in base64 or hexadecimal.
fn looks_like_keys(said: &str) -> Vec<&str> {
    let of_base64 = |character: char| character.is_ascii_alphanumeric() || "+/=".contains(character);
    let path = |word: &str| word.contains('/') && word.contains("tmp");
    said.split(|character| !of_base64(character)).filter(|word| word.len() >= 43 && !path(word)).collect()
}
