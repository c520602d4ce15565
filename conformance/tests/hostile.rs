//! KMEs that want to harm the harness: it ends in time, within bounds, with a verdict, and shows nothing that misleads.

mod support;

use std::time::{Duration, Instant};

use qkdspec::{Config, Options, Report, Verdict};
use support::Pair;

/// A run with its screen.
fn run(fault: &'static str, select: &[&str], change: impl FnOnce(&mut Options)) -> (Report, String) {
    run_on(&Pair::start(fault), select, change)
}

fn run_on(pair: &Pair, select: &[&str], change: impl FnOnce(&mut Options)) -> (Report, String) {
    let config = Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
    let mut options = Options::default();
    options.select = select.iter().map(|&case| case.to_owned()).collect();
    change(&mut options);
    let mut screen = Vec::new();
    let report = qkdspec::run(config, &options, &mut screen).expect("a report");
    (report, String::from_utf8(screen).expect("UTF-8"))
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("JSON")
}

fn verdict(report: &Report, case: &str) -> Verdict {
    report.case(&format!("014-{case}")).expect(case).verdict
}

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

#[test]
fn names_in_the_details_of_errors_are_no_keys() {
    let cases = ["ENC-018", "EXT-001", "EXT-006", "DEC-004", "DEC-005", "ERR-004", "ERR-010"];
    let (report, screen) = run("H10", &cases, |_| {});
    assert_eq!(report.with(Verdict::Pass).len(), cases.len(), "{screen}");
    assert!(json(&report).contains("additional") || json(&report).contains("keyContainer"), "details are shown");
}

#[test]
fn a_key_that_is_a_word_forbids_no_verdict() {
    let (report, screen) = run("H11", &["ENC-001", "ENC-023", "EXT-001"], |_| {});
    assert_eq!((verdict(&report, "ENC-023"), report.summary.exit), (Verdict::Fail, 1), "{screen}");
    assert!(screen.contains("FAIL   ENC-023") && screen.contains("NOT CONFORMING"), "{screen}");
    assert_eq!(report.ledger.delivered, 1);
}

#[test]
fn an_id_that_is_the_key_is_not_shown() {
    let (report, screen) = run("H12", &["ENC-001", "DEC-001", "DEC-004"], |_| {});
    assert_eq!(report.summary.exit, 1, "{screen}");
    let id = |text: &str| {
        let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| is_id(word)).count()
    };
    let cases: Vec<_> = report.cases.iter().filter(|case| case.id != "014-DEC-004").collect();
    let text = serde_json::to_string(&(cases, &report.ledger)).expect("JSON");
    assert_eq!((id(&text), id(&screen)), (0, 0), "{text}");
}

#[test]
fn very_many_keys_are_not_fetched_one_by_one() {
    let (report, _) = run("H13", &["ENC-001", "ENC-038"], |_| {});
    assert_eq!(verdict(&report, "ENC-038"), Verdict::Fail);
    let exchanges: usize = report.cases.iter().map(|case| case.evidence.len()).sum();
    assert!(exchanges < 30, "{exchanges} exchanges");
    assert_eq!(report.ledger.delivered, 3000);
    assert!(report.ledger.left.len() > 2900, "what was not fetched is listed");
}

#[test]
fn key_ids_do_not_control_terminals_or_readers() {
    let (report, screen) = run("H14", &["ENC-025", "ENC-026", "DEC-001", "CON-001", "CON-002"], |_| {});
    assert!(screen.contains("PASS") && screen.contains("\\u{1b}"), "the ID is shown: {screen}");
    assert_eq!(report.summary.exit, 1);
    for shown in [&screen, &json(&report)] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{200b}', '\u{7}']), "{shown}");
        assert!(shown.len() < 500_000, "{} octets", shown.len());
        // Our own request, which has it as an escape, may show that.
        let said = shown.lines().filter(|line| !line.trim_start().starts_with("sent "));
        assert!(!said.collect::<String>().replace("\\\\", "").contains("\\u001b"));
    }
}

#[test]
fn absurd_figures_in_status_are_no_panic() {
    let (report, screen) = run("H15", &["STA", "ENC", "EXT", "ROB-011", "ROB-012"], |_| {});
    assert!(report.with(Verdict::Error).is_empty(), "{screen}");
    assert!(screen.contains("worst cost"), "{screen}");
}

#[test]
fn one_answer_does_not_use_up_the_budget() {
    let cases = ["ENC-031", "ENC-032", "ENC-038", "EXT-003", "DEC-001"];
    let (report, screen) = run("H16", &cases, |_| {});
    assert_eq!((verdict(&report, "ENC-038"), report.summary.exit), (Verdict::Fail, 1), "{screen}");
    assert_eq!((verdict(&report, "EXT-003"), verdict(&report, "DEC-001")), (Verdict::Pass, Verdict::Pass), "{screen}");
}

#[test]
fn a_budget_that_is_used_up_is_no_success() {
    let (report, screen) = run("", &["ENC-001", "ENC-002", "DEC-003"], |options| options.budget_keys = Some(3));
    assert_eq!((verdict(&report, "ENC-001"), verdict(&report, "DEC-003")), (Verdict::Pass, Verdict::Inconc), "{screen}");
    assert_eq!((report.summary.exit, report.ledger.over_budget), (3, 1), "{screen}");
    assert!(screen.contains("the key budget was used up") && screen.contains("--budget-keys"), "{screen}");
}

#[test]
fn bits_are_counted_as_delivered() {
    let mut pair = Pair::start("");
    pair.toml = pair.toml.replace("[limits]", "[limits]\nbudget_bits = 600");
    let (report, screen) = run_on(&pair, &["ENC-001", "ENC-002", "ENC-031"], |_| {});
    assert_eq!((verdict(&report, "ENC-002"), verdict(&report, "ENC-031")), (Verdict::Pass, Verdict::Inconc), "{screen}");
    assert!(screen.contains("of 88 bits"), "{screen}");
}

/// Keys at worst, from the second line of the header.
fn promised(screen: &str) -> u64 {
    let figure = screen.split_once("worst cost ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("no worst cost: {screen}"))
}

#[test]
fn no_run_costs_more_than_it_said() {
    // Without a fault, and with connections that are lost when keys are on their way, so that cases are run again.
    for fault in ["", "H17"] {
        for select in [&[][..], &["WIR-001"], &["ENC", "DEC"]] {
            let (report, screen) = run(fault, select, |options| options.budget_keys = Some(5000));
            assert!(report.ledger.delivered <= promised(&screen), "{fault} {select:?}: {screen}");
            let dear: Vec<_> = report.cases.iter().filter(|case| case.keys.delivered > case.keys.reserved).collect();
            assert!(dear.is_empty(), "{fault}: {dear:?}");
            assert!(report.with(Verdict::Error).is_empty(), "{fault}: {screen}");
        }
    }
    assert_eq!(promised(&run("", &["WIR-001"], |_| {}).1), 2);
}

#[test]
fn keys_under_other_names_are_not_shown() {
    let (report, screen) = run("H18", &["ENC-001", "ENC-031", "DEC-001"], |_| {});
    let text = json(&report);
    assert!(text.contains("octets, fp "), "keys were delivered");
    for key in ["yAFNAwn6Bj0", "200,1,77", "c8:01:4d", "c8014d0309fa063d"] {
        assert!(!text.contains(key) && !screen.contains(key), "{key} is shown: {text}");
    }
}

#[test]
fn key_ids_are_hidden_whatever_they_are() {
    let (report, _) = run("H19", &["ENC-001", "ENC-002", "ENC-005"], |options| options.hide_key_ids = true);
    let text = json(&report);
    assert!(!report.ledger.left.is_empty() && text.contains("<ID "), "{text}");
    for key in &report.ledger.left {
        assert!(key.key_id.starts_with("<ID "), "{}", key.key_id);
    }
    assert!(!text.contains("key_ID\\\":\\\"evidence") && !text.contains("key_ID\\\":\\\"a b"), "{text}");
}

#[test]
fn long_heads_make_no_long_reports() {
    let (report, _) = run("H20", &["STA", "ENC-001"], |_| {});
    let text = json(&report);
    let exchanges = text.matches("\"actor\"").count();
    assert!(exchanges > 10 && text.len() < exchanges * 20_000, "{} octets for {exchanges} exchanges", text.len());
}

#[test]
fn a_kme_that_restarts_is_waited_for() {
    let (report, screen) = run("H21", &["DEC"], |_| {});
    assert!(report.with(Verdict::Fail).is_empty() && report.with(Verdict::Error).is_empty(), "{screen}");
    assert!(report.with(Verdict::Inconc).len() <= 1, "{screen}");
    assert!(report.with(Verdict::Pass).len() > 15, "{screen}");
}

/// Of KMEs that hang, with short waits.
fn hanging(fault: &'static str, select: &[&str]) -> (Report, String) {
    let mut pair = Pair::start(fault);
    pair.toml = pair.toml.replace("response_s = 5", "response_s = 0.5").replace("return_s = 5", "return_s = 0.3");
    run_on(&pair, select, |_| {})
}

#[test]
fn a_kme_that_answers_no_more_is_one_finding_and_ends_the_run() {
    let (report, screen) = hanging("H30", &["STA-001", "ENC-001", "ENC-002", "CON-004", "DEC", "ENC-019"]);
    assert!(screen.contains("a KME is gone") && screen.contains("worked: last 014-"), "{screen}");
    assert_eq!((report.summary.exit, report.validity.as_str()), (3, "partial"), "{screen}");
    assert_eq!(report.with(Verdict::Inconc).len(), 1, "{screen}");
    assert!(report.with(Verdict::Skip).len() > 10 && report.with(Verdict::Fail).is_empty(), "{screen}");
}

#[test]
fn kmes_that_lock_each_other_out_fail() {
    let (report, screen) = hanging("H31", &["STA-001", "CON-002", "CON-004"]);
    assert_eq!(verdict(&report, "CON-002"), Verdict::Fail, "{screen}");
    assert_eq!(
        (report.summary.exit, report.summary.failed_requirements.as_slice()),
        (1, &["014-4-05".to_owned()][..]),
        "{screen}"
    );
    assert_eq!(verdict(&report, "CON-004"), Verdict::Skip, "{screen}");
}

#[test]
fn a_service_that_does_not_survive_hygiene_fails_as_shall() {
    let (report, screen) = hanging("M171", &["ROB-015", "ROB-013"]);
    assert_eq!((verdict(&report, "ROB-015"), report.summary.exit), (Verdict::Fail, 1), "{screen}");
    assert!(report.observations.contains_key("a KME is gone"), "{screen}");
}

#[test]
fn a_service_that_dies_of_a_raw_stimulus_fails() {
    let (report, screen) = hanging("H35", &["TLS-003", "ROB-013"]);
    assert_eq!((verdict(&report, "TLS-003"), report.summary.exit), (Verdict::Fail, 1), "{screen}");
    assert!(report.observations.contains_key("a KME is gone"), "{screen}");
}

#[test]
fn a_kme_that_is_gone_after_its_alert_may_have_been_restarted() {
    let (report, screen) = hanging("H36", &["TLS-005", "ROB-013"]);
    assert_eq!((verdict(&report, "TLS-005"), report.summary.exit), (Verdict::Inconc, 3), "{screen}");
    assert!(report.with(Verdict::Fail).is_empty() && screen.contains("a KME is gone"), "{screen}");
}

/// Of KMEs that restart when they have answered a stimulus that is wrong on purpose.
fn restarting(fault: &'static str, return_s: &str) -> (Report, String) {
    let mut pair = Pair::start(fault);
    pair.toml = pair.toml.replace("return_s = 5", return_s);
    run_on(&pair, &["STA-001", "STA-013", "STA-014"], |options| options.fail_on = "S,R,D,H".to_owned())
}

#[test]
fn a_kme_that_is_gone_after_its_answer_may_have_been_restarted() {
    let (report, screen) = restarting("H32", "return_s = 0.5");
    assert_eq!(verdict(&report, "STA-013"), Verdict::Inconc, "{screen}");
    assert_eq!((report.summary.exit, report.validity.as_str()), (3, "partial"), "{screen}");
    assert!(report.with(Verdict::Fail).is_empty() && screen.contains("a KME is gone"), "{screen}");
}

#[test]
fn a_restart_after_a_stimulus_is_held_against_nobody() {
    let (report, screen) = restarting("H33", "return_s = 5");
    assert_eq!((verdict(&report, "STA-013"), report.summary.exit), (Verdict::Pass, 0), "{screen}");
}

#[test]
fn a_stimulus_that_brings_the_service_down_twice_does_it() {
    let (report, screen) = restarting("H34", "return_s = 5");
    assert_eq!((verdict(&report, "STA-013"), report.summary.exit), (Verdict::Fail, 1), "{screen}");
    assert!(screen.contains("the service was away for some time, twice"), "{screen}");
}
