//! `qkdspec selftest` with a stand-in for the program of faulty KMEs: what it says of good and bad cases, and that it ends
//! what it started.

#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::Pair;
use tempfile::TempDir;

/// A script that lists and serves; the KMEs that it is "ready" with are in this process.
struct StandIn {
    folder: TempDir,
    _pairs: Vec<Pair>,
}

/// Serves until its standard input closes.
const SERVE: &str = "echo \"ready $here/$fault.toml\"; exec cat >/dev/null";

impl StandIn {
    /// `faults`: id and kind as listed, and the fault that is really there.
    fn new(faults: &[(&str, &str, &'static str)], serve: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut pairs = Vec::new();
        let mut list = Vec::new();
        for (id, kind, real) in faults {
            let pair = Pair::start(real);
            let pki = format!("{}/pki/", pair.folder.path().display());
            let toml = pair.toml.replace("pki/", &pki).replace("# allow_destructive", "allow_destructive");
            fs::write(folder.path().join(format!("{id}.toml")), toml).expect("written");
            pairs.push(pair);
            if *id != "none" {
                list.push(format!("{{\"id\":\"{id}\",\"kind\":\"{kind}\",\"what\":\"what {id} does\"}}"));
            }
        }
        fs::write(folder.path().join("list.json"), format!("[{}]", list.join(","))).expect("written");
        let script = format!(
            "#!/bin/sh\nhere=$(dirname \"$0\")\n[ \"$1\" = list ] && exec cat \"$here/list.json\"\nfault=none\n\
             [ \"$2\" = --fault ] && fault=$3\necho $$ >>\"$here/pids\"\necho $fault >>\"$here/faults\"\n{serve}\n"
        );
        let path = folder.path().join("faulty");
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        Self { folder, _pairs: pairs }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("faulty")
    }

    fn selftest(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = selftest(&self.path());
        said(&command.args(["--patience", "1", "--attempts", "1"]).args(arguments).output().expect("the program runs"))
    }

    /// All processes that it started are gone.
    fn assert_gone(&self) {
        let pids = fs::read_to_string(self.folder.path().join("pids")).expect("it was started");
        for pid in pids.lines() {
            let alive = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().expect("kill runs");
            assert!(!alive.success(), "process {pid} is still there");
        }
    }
}

fn selftest(faulty: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qkdspec"));
    command.arg("selftest").arg("--faulty").arg(faulty);
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn line<'a>(text: &'a str, id: &str) -> &'a str {
    text.lines().find(|line| line.split_whitespace().any(|word| word == id)).unwrap_or_else(|| panic!("{id} is not in\n{text}"))
}

#[test]
fn good_harnesses_kill_mutants_and_spare_variants() {
    let faulty = StandIn::new(
        &[("none", "", ""), ("M074", "mutant", "M074"), ("B17", "variant", "B17"), ("H06", "hostile", "H06")],
        SERVE,
    );
    let (code, text) = faulty.selftest(&["--only", "M074,none,B17,H06"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(line(&text, "M074").starts_with("killed") && line(&text, "M074").contains("[ENC-035]"), "{text}");
    for id in ["none", "B17", "H06"] {
        assert!(line(&text, id).starts_with("ok"), "{text}");
    }
    assert!(!text.contains('\u{1b}'), "plain lines in a pipe");
    faulty.assert_gone();
}

#[test]
fn what_is_missed_or_wrongly_said_is_told() {
    // Under these names are KMEs with another fault, or none.
    let faulty = StandIn::new(&[("M102", "mutant", ""), ("M100", "mutant", "M098"), ("B02", "variant", "M056")], SERVE);
    let matrix = faulty.folder.path().join("m.md");
    let (code, text) = faulty.selftest(&["--only", "M102,M100,B02,M001", "--check", &matrix.to_string_lossy()]);
    assert_eq!(code, Some(2), "{text}");
    fs::write(&matrix, "").expect("written");
    let (code, text) = faulty.selftest(&["--only", "M102,M100,B02,M001", "--check", &matrix.to_string_lossy()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "M102").starts_with("SURVIVED") && text.contains("missed by DEC-006 pass"), "{text}");
    assert!(line(&text, "M100").starts_with("OTHERS TOO") && text.contains("also ERR-003 fail"), "{text}");
    assert!(line(&text, "B02").starts_with("WRONG") && text.contains("ENC-018 fail"), "{text}");
    assert!(line(&text, "M001").starts_with("NOT PLANTED"), "{text}");
    assert!(text.contains("m.md is not as this run"), "{text}");
    faulty.assert_gone();
}

#[test]
fn a_program_that_never_gets_ready_or_ends_early_proves_nothing() {
    for (serve, why) in [
        ("exec sleep 1000", "not ready after 1 s"),
        ("echo unwell >&2; exit 3", "it ended; unwell"),
        ("echo 'listening'; exec sleep 1000", "it said \"listening\""),
    ] {
        let faulty = StandIn::new(&[("M102", "mutant", "M102")], serve);
        let (code, text) = faulty.selftest(&["--only", "M102"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(line(&text, "M102").starts_with("BROKEN") && text.contains(why), "{text}");
        faulty.assert_gone();
    }
}

#[test]
fn a_program_that_does_not_stop_is_ended() {
    let faulty = StandIn::new(&[("M102", "mutant", "H05")], "echo \"ready $here/$fault.toml\"; exec sleep 1000");
    let (code, text) = faulty.selftest(&["--only", "M102"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "M102").starts_with("BROKEN") && text.contains("did not stop"), "{text}");
    faulty.assert_gone();
}

#[test]
fn bad_lists_and_programs_are_usage_errors() {
    let faulty = StandIn::new(&[("M102", "mutant", "")], SERVE);
    for list in ["", "[]", "[{\"id\":\"../x\",\"kind\":\"mutant\",\"what\":\"x\"}]", "[{\"id\":\"M102\"}]"] {
        fs::write(faulty.folder.path().join("list.json"), list).expect("written");
        let (code, text) = faulty.selftest(&[]);
        assert_eq!(code, Some(2), "{list}: {text}");
        assert!(text.contains("list --json"), "{text}");
    }
    let (code, text) = said(&selftest(Path::new("/no/such/program")).output().expect("the program runs"));
    assert_eq!(code, Some(2), "{text}");
    let without = Command::new(env!("CARGO_BIN_EXE_qkdspec")).args(["selftest", "--mutants"]).output().expect("the program runs");
    let (code, text) = said(&without);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("cargo build --release -p kme"), "{text}");
}

#[test]
fn an_interruption_ends_everything() {
    let faulty = StandIn::new(&[("M102", "mutant", "")], "exec sleep 1000");
    let mut command = selftest(&faulty.path());
    let running = command.args(["--mutants", "--patience", "600"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let running = running.expect("the program runs");
    let until = Instant::now() + Duration::from_secs(60);
    while !faulty.folder.path().join("pids").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let sent = Command::new("kill").args(["-INT", &running.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let (code, text) = said(&running.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(130), "{text}");
    faulty.assert_gone();
}

#[test]
fn only_a_planted_fault_is_tried_again() {
    let faulty = StandIn::new(&[("M102", "mutant", ""), ("B02", "variant", "M056"), ("H05", "hostile", "")], "exit 3");
    let mut command = selftest(&faulty.path());
    let (code, text) =
        said(&command.args(["--patience", "1", "--attempts", "3", "--only", "M102,B02,H05"]).output().expect("the program runs"));
    assert_eq!(code, Some(1), "{text}");
    let started = fs::read_to_string(faulty.folder.path().join("faults")).expect("it was started");
    let tries = |id: &str| started.lines().filter(|line| *line == id).count();
    assert_eq!((tries("M102"), tries("B02"), tries("H05")), (3, 1, 1), "{text}");
    assert!(text.contains("mutants that needed more than one try: 0 of 1"), "{text}");
}
