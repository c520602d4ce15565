//! The program itself: its settings, its ready line, how it ends, and what it prints.

#![cfg(feature = "server")]
#![allow(missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::{Folder, keys};
use qkd_link::config::Config;
use qkd_link::trace::Trace;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_qkd-link"))
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().expect("the program runs")
}

/// A link process; killed if a test fails before its end.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> (Self, serde_json::Value) {
        let mut child = program()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let process = Self(child);
        (process, serde_json::from_str(&line).expect("the ready line is JSON"))
    }

    /// Waits for its end; gives the exit code and what it wrote to standard error.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        self.0.stderr.as_mut().expect("piped").read_to_string(&mut errors).expect("text");
        (self.0.wait().expect("its end").code(), errors)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

fn port(ready: &serde_json::Value, name: &str) -> u16 {
    assert_eq!(ready["event"], "ready");
    u16::try_from(ready[name].as_u64().expect("a port")).expect("a port")
}

#[test]
fn it_serves_until_standard_input_closes() {
    let folder = Folder::new();
    let settings = folder.settings("constant_bps = 1e6\nlag_of_b_s = 0.1");
    let arguments = ["serve", "--config", settings.to_str().expect("UTF-8"), "--exit-with-parent"];
    let (mut process, ready) = Process::start(&arguments);
    let (port_a, port_b, control) = (port(&ready, "port_a"), port(&ready, "port_b"), port(&ready, "port_control"));
    let control = format!("http://127.0.0.1:{control}");

    let stored = || {
        let report = qkd_link::control::report(&control).expect("a report");
        serde_json::from_str::<serde_json::Value>(&report).expect("JSON")["stored"]["b"].as_u64().expect("a number")
    };
    while stored() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let drawn = keys(&folder.client(Some("south"), "link-b"), port_b, "north/enc_keys").await;
        let path = format!("south/dec_keys?key_ID={}", drawn[0].0);
        assert_eq!(keys(&folder.client(Some("north"), "link-a"), port_a, &path).await, drawn);
    });

    let set = output(&["rate", "--control", &control, "0"]);
    assert!(set.status.success());
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&set.stdout).expect("JSON")["state"], "DEAD");
    assert_eq!(output(&["rate", "--control", &control, "-1"]).status.code(), Some(2));

    drop(process.0.stdin.take());
    assert_eq!(process.ended(), (Some(0), String::new()));
    assert_eq!(output(&["rate", "--control", "http://127.0.0.1:1/x", "0"]).status.code(), Some(1));
}

#[cfg(unix)]
#[test]
fn it_ends_cleanly_at_sigterm() {
    let folder = Folder::new();
    let settings = folder.settings("constant_bps = 1e6");
    let (process, _) = Process::start(&["serve", "--config", settings.to_str().expect("UTF-8")]);
    let killed = Command::new("kill").arg(process.0.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(process.ended(), (Some(0), String::new()));
}

#[test]
fn test_patterns_are_announced_as_not_secret_and_printed_nowhere() {
    let folder = Folder::new();
    let settings = folder.settings("constant_bps = 1e6");
    let pattern = "5ec2e75ec2e7";
    let arguments = ["serve", "--config", settings.to_str().expect("UTF-8"), "--exit-with-parent", "--test-pattern", pattern];
    let (mut process, ready) = Process::start(&arguments);
    let client = folder.client(Some("north"), "link-a");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let port = port(&ready, "port_a");
    runtime.block_on(async {
        while common::status(&client, port, "south/enc_keys").await != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let key = keys(&client, port, "south/enc_keys").await.remove(0).1;
        assert!(key.starts_with(&[0x5e, 0xc2, 0xe7, 0x5e, 0xc2, 0xe7, 0x5e, 0xc2, 0xe7]));
    });
    drop(process.0.stdin.take());
    let mut out = String::new();
    process.0.stdout.as_mut().expect("piped").read_to_string(&mut out).expect("text");
    let (code, errors) = process.ended();
    assert_eq!(code, Some(0));
    assert!(errors.contains("NOT SECRET"), "{errors}");
    for text in [out, errors, ready.to_string()] {
        assert!(!text.to_lowercase().contains(&pattern[..6]), "{text}");
    }
}

#[test]
fn traces_come_from_the_command_line_and_play_in_a_link() {
    let folder = Folder::new();
    let arguments = ["trace", "--class", "slow", "--km", "40", "--hours", "2", "--seed", "1", "--step", "60"];
    let made = output(&arguments);
    assert!(made.status.success());
    assert_eq!(made.stdout, output(&arguments).stdout, "the same seed, the same octets");
    let text = String::from_utf8(made.stdout).expect("text");
    assert!(text.starts_with("# synthetic\n"));
    assert_eq!(Trace::parse(&text).expect("a trace").samples().len(), 120);

    fs::write(folder.path().join("slow.csv"), &text).expect("a file");
    let settings = folder.settings("trace = \"slow.csv\"\nspeed = 1000");
    let (mut process, ready) = Process::start(&["serve", "--config", settings.to_str().expect("UTF-8"), "--exit-with-parent"]);
    let control = format!("127.0.0.1:{}", port(&ready, "port_control"));
    let report: serde_json::Value = serde_json::from_str(&qkd_link::control::report(&control).expect("a report")).expect("JSON");
    assert_eq!((report["synthetic"].as_bool(), report["speed"].as_f64()), (Some(true), Some(1000.0)));
    drop(process.0.stdin.take());
    assert_eq!(process.ended().0, Some(0));

    let harsh = output(&["trace", "--class", "slow", "--km", "40", "--seed", "1", "--harsh"]);
    let harsh = Trace::parse(&String::from_utf8(harsh.stdout).expect("text")).expect("a trace");
    assert!(harsh.comments().iter().any(|comment| comment.contains("dead_probability=1 ")));
    let too_long = output(&["trace", "--class", "slow", "--km", "90", "--seed", "1"]);
    assert_eq!((too_long.status.code(), too_long.stdout.len()), (Some(1), 0));
}

#[test]
fn wrong_settings_are_told_with_file_and_name() {
    let folder = Folder::new();
    fs::write(folder.path().join("bad.csv"), "t_s,skr_bps,qber,state\n0,1,,GOOD\n0,1,,GOOD\n").expect("a file");
    for (settings, wanted) in [
        ("", "trace"),
        ("constant_bps = 1.0\ntrace = \"bad.csv\"", "constant_bps"),
        ("constant_bps = -1.0", "10^12"),
        ("trace = \"absent.csv\"", "absent.csv"),
        ("trace = \"bad.csv\"", "bad.csv: line 3"),
        ("constant_bps = 1.0\nspeed = 1001", "1 to 1000"),
        ("constant_bps = 1.0\nkey_size = 257", "key_size"),
        ("constant_bps = 1.0\nkey_size = 0", "key_size"),
        ("constant_bps = 1.0\nmax_key_count = 0", "max_key_count"),
        ("constant_bps = 1.0\nlag_of_b_s = 2.5", "lag_of_b_s"),
        ("constant_bps = 1.0\nlag_of_b_s = -1", "lag_of_b_s"),
        ("constant_bps = 1.0\ncollect_within_s = 0", "collect_within_s"),
        ("constant_bps = 1.0\ncontrol = \"0.0.0.0:0\"", "loopback"),
        ("constant_bps = 1.0\ntest_pattern = \"xyz\"", "hexadecimal"),
        ("constant_bps = 1.0\nkey_size = 128\ntest_pattern = \"000102030405060708\"", "test_pattern"),
        ("constant_bps = 1.0\nkey_sise = 256", "key_sise"),
    ] {
        let path = folder.settings(settings);
        let refused = output(&["serve", "--config", path.to_str().expect("UTF-8")]);
        let errors = String::from_utf8(refused.stderr).expect("text");
        assert_eq!(refused.status.code(), Some(1), "{settings:?}: {errors}");
        assert!(errors.contains(wanted), "{settings:?}: {errors}");
    }
    fs::remove_file(folder.path().join("link-b.key")).expect("removed");
    let path = folder.settings("constant_bps = 1.0");
    let refused = output(&["serve", "--config", path.to_str().expect("UTF-8")]);
    let errors = String::from_utf8(refused.stderr).expect("text");
    assert!(errors.contains("link-b.key"), "{errors}");
}

#[test]
fn the_example_settings_are_in_order() {
    let config = Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("link.toml")).expect("settings");
    assert_eq!((config.a.kme_id.as_str(), config.b.kme_id.as_str()), ("north", "south"));
    // What is commented out are the defaults.
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/link.toml")).expect("a file");
    let uncommented = ["speed", "key_size", "max_key", "lag", "collect", "identity"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("\n# {name}"), &format!("\n{name}")));
    let folder = Folder::new();
    let path = folder.path().join("uncommented.toml");
    fs::write(&path, uncommented).expect("a file");
    let explicit = Config::load(&path).expect("settings");
    assert_eq!((explicit.speed, explicit.max_key_per_request), (config.speed, config.max_key_per_request));
    assert_eq!(explicit.identity, config.identity);
    assert_eq!(format!("{:?}", explicit.stream), format!("{:?}", config.stream));
}

#[test]
fn help_has_examples() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["trace", "--help"], &["rate", "--help"]] {
        let help = output(arguments);
        let text = String::from_utf8(help.stdout).expect("text");
        assert!(help.status.success());
        assert!(text.contains("xample") || text.contains("listen = "), "{text}");
    }
    assert_eq!(output(&["serve"]).status.code(), Some(2));
}
