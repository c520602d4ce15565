//! KMEs that want to harm the harness: it ends in time, within bounds, with a verdict, and shows nothing that misleads.

mod support;

use std::time::{Duration, Instant};

use qkdspec::{Config, Options, Verdict};
use support::Pair;

fn survives(fault: &'static str) {
    let pair = Pair::start(fault);
    let toml = pair.toml.replace("response_s = 5", "response_s = 1");
    let config = Config::parse(&toml, pair.folder.path()).expect("a configuration");
    let mut options = Options::default();
    options.select = ["STA-001", "STA-013", "ENC-001", "DEC-004"].map(str::to_owned).to_vec();
    let mut screen = Vec::new();
    let began = Instant::now();
    let report = qkdspec::run(config, &options, &mut screen).expect("a report");
    // Far more than any sum of the clocks; a hang would last for ever.
    assert!(began.elapsed() < Duration::from_secs(120), "{fault} holds the harness up");
    assert!(report.with(Verdict::Error).is_empty(), "{fault}: {:?}", report.with(Verdict::Error));
    assert!(matches!(report.summary.exit, 1 | 3), "{fault}: exit {}", report.summary.exit);
    assert!(report.with(Verdict::Pass).is_empty(), "{fault}: {:?} pass", report.with(Verdict::Pass));
    let screen = String::from_utf8(screen).expect("UTF-8");
    let text = serde_json::to_string(&report).expect("JSON");
    for shown in [&screen, &text] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{fault} controls the terminal");
        assert!(shown.len() < 200_000, "{fault}: {} octets", shown.len());
    }
}

#[test]
fn a_silent_kme() {
    survives("H01");
}

#[test]
fn an_endless_body() {
    survives("H02");
    survives("H08");
}

#[test]
fn an_endless_head() {
    survives("H03");
    survives("H09");
}

#[test]
fn endless_chunks() {
    survives("H04");
}

#[test]
fn a_kme_that_hangs_up() {
    survives("H05");
}

#[test]
fn text_that_controls_terminals() {
    survives("H06");
}

#[test]
fn json_without_end() {
    survives("H07");
}
