//! What a run leaves behind: a report that its schema describes, in every form, and no key in any.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use support::Pair;

fn qkdspec(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qkdspec")).args(arguments).output().expect("the program runs")
}

#[test]
fn a_run_writes_every_form_of_its_report() {
    // A fault, so that failures are in it; and one that puts what looks like a key where no key should be.
    let pair = Pair::start("M127");
    let folder = pair.folder.path();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    fs::write(path("test.toml"), &pair.toml).expect("written");
    let output = qkdspec(&[
        "run",
        "kme",
        "@014-smoke",
        "ERR",
        "--strict",
        "--config",
        &path("test.toml"),
        "--report",
        &path("r.json"),
        "--html",
        &path("r.html"),
    ]);
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{screen}{}", String::from_utf8_lossy(&output.stderr));
    assert!(screen.contains("FAIL   ERR-010") && screen.contains("NOT CONFORMING"), "{screen}");
    assert!(!screen.contains('\u{1b}'), "no colours in a pipe");
    assert!(screen.contains("\nFailures, once more\n"), "{screen}");
    assert!(qkdspec(&["report", &path("r.json"), "--to", "junit,sarif,md,text,html"]).status.success());
    for name in ["r.json", "r.html", "r.junit.xml", "r.sarif", "r.md", "r.txt"] {
        let text = fs::read_to_string(path(name)).expect(name);
        assert!(text.contains("014-ERR-010") || text.contains("ERR-010"), "{name}");
        assert!(!text.contains("q83vEjRWeJCrze8S"), "{name} shows what looks like a key");
    }
    let html = fs::read_to_string(path("r.html")).expect("HTML");
    assert!(!html.contains("<script") && !html.contains("http://") && !html.contains("src="), "one file without scripts");

    let same = qkdspec(&["diff", &path("r.json"), &path("r.json")]);
    assert_eq!(same.status.code(), Some(0));
    let draft = qkdspec(&["expect", &path("r.json"), "--until", "2999-12-31"]);
    fs::write(path("expected.toml"), &draft.stdout).expect("written");
    let again = qkdspec(&[
        "run",
        "kme",
        "@014-smoke",
        "ERR",
        "--strict",
        "--config",
        &path("test.toml"),
        "--expected",
        &path("expected.toml"),
    ]);
    let screen = String::from_utf8_lossy(&again.stdout).into_owned();
    assert_eq!(again.status.code(), Some(0), "{screen}");
    assert!(screen.contains("xfail"), "{screen}");
    // That a failure was expected is for whoever runs this, and not for whoever reads it.
    assert!(screen.contains("NOT CONFORMING") && screen.contains(", 2 expected deviations"), "{screen}");
}

#[test]
fn a_failure_that_is_expected_makes_nothing_conform() {
    let pair = Pair::start("M100");
    let expected = pair.folder.path().join("expected.toml");
    let entry =
        |case: &str| format!("[[expect]]\ncase = \"{case}\"\nverdict = \"fail\"\nreason = \"known\"\nuntil = 2999-12-31\n");
    let run = |entries: &str, cases: &[&str]| {
        fs::write(&expected, entries).expect("written");
        let config = qkdspec::Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
        let mut options = qkdspec::Options::default();
        options.select = cases.iter().map(|&case| case.to_owned()).collect();
        options.expected = Some(expected.clone());
        let summary = qkdspec::run(config, &options, &mut std::io::sink()).expect("a report").summary;
        (summary.outcome, summary.exit, summary.failed_requirements)
    };
    let (outcome, exit, failed) = run(&entry("014-DEC-004"), &["DEC-004", "STA-001"]);
    assert_eq!((outcome.as_str(), exit, failed.is_empty()), ("not-conforming", 0, false));
    // Something to be done about the list, and nothing against the KMEs.
    let (outcome, exit, failed) = run(&entry("014-STA-001"), &["STA-001"]);
    assert_eq!((outcome.as_str(), exit, failed.is_empty()), ("conforming", 1, true));
}

#[test]
fn what_no_longer_fails_is_named_and_is_no_failure() {
    let pair = Pair::start("");
    let expected = pair.folder.path().join("expected.toml");
    let entry = "[[expect]]\ncase = \"014-STA-001\"\nverdict = \"fail\"\nreason = \"known\"\nuntil = 2999-12-31\n";
    fs::write(&expected, entry).expect("written");
    let config = qkdspec::Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
    let mut options = qkdspec::Options::default();
    options.select = vec!["@014-smoke".to_owned()];
    options.expected = Some(expected);
    let mut screen = Vec::new();
    let report = qkdspec::run(config, &options, &mut screen).expect("a report");
    let screen = String::from_utf8(screen).expect("UTF-8");
    assert!(report.cases.len() > 10 && !screen.contains("once more"), "{screen}");
    assert!(screen.contains("what was expected to fail did not (STA-001)"), "{screen}");
}

#[test]
fn fail_fast_goes_on_past_what_is_expected_and_says_where_it_ended() {
    let pair = Pair::start("M100");
    let expected = pair.folder.path().join("expected.toml");
    let entry = "[[expect]]\ncase = \"014-DEC-004\"\nverdict = \"fail\"\nreason = \"known\"\nuntil = 2999-12-31\n";
    fs::write(&expected, entry).expect("written");
    let run = |listed: bool| {
        let config = qkdspec::Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
        let mut options = qkdspec::Options::default();
        options.select = ["DEC-004", "DEC-016"].map(str::to_owned).to_vec();
        options.fail_fast = true;
        options.expected = listed.then(|| expected.clone());
        let mut screen = Vec::new();
        let report = qkdspec::run(config, &options, &mut screen).expect("a report");
        (report, String::from_utf8(screen).expect("UTF-8"))
    };
    let (report, screen) = run(true);
    let last = report.case("014-DEC-016").expect("selected").verdict;
    assert_eq!((last, report.summary.exit, report.validity.as_str()), (qkdspec::Verdict::Pass, 0, "self-test"), "{screen}");
    let (report, screen) = run(false);
    assert!(!screen.contains("once more"), "two cases above, and no more: {screen}");
    let last = report.case("014-DEC-016").expect("selected").verdict;
    assert_eq!((last, report.summary.exit, report.validity.as_str()), (qkdspec::Verdict::Skip, 1, "partial"), "{screen}");
    assert!(screen.contains("(ended early: partial)"), "{screen}");
}

#[test]
fn a_finding_shows_what_was_sent_in_every_form() {
    // number=abc, and the like, are answered as if nothing had been said.
    let pair = Pair::start("M119");
    let path = |name: &str| pair.folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("test.toml"), &pair.toml).expect("written");
    let run = ["run", "kme", "ENC-012", "--strict", "--config", &path("test.toml"), "--report", &path("r.json")];
    let screen = String::from_utf8_lossy(&qkdspec(&run).stdout).into_owned();
    assert!(qkdspec(&["report", &path("r.json"), "--to", "junit,sarif,md,html"]).status.success());
    for (name, text) in
        ["r.junit.xml", "r.sarif", "r.md", "r.html"].map(|name| (name, fs::read_to_string(path(name)).expect(name)))
    {
        for sent in ["number=abc", "number=1.5"] {
            assert!(text.contains(sent) && screen.contains(sent), "{name}: {sent}: {screen}");
        }
    }
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(path("r.json")).expect("a report")).expect("JSON");
    let checks = report["cases"][0]["checks"].as_array().expect("checks");
    assert!(checks.iter().all(|check| check["exchange"].is_u64()), "{checks:?}");
    let html = fs::read_to_string(path("r.html")).expect("a page");
    assert!(html.contains("exchange unmet"), "the exchange is marked");
    let explained = |id: &str| String::from_utf8_lossy(&qkdspec(&["explain", id]).stdout).into_owned();
    assert!(explained("014-6.4-06").contains("014-DEC-006") && explained("A-10").contains("A-10"));
}

#[test]
fn what_fails_without_a_requirement_is_told_so() {
    let pair = Pair::start("M128");
    let path = |name: &str| pair.folder.path().join(name).to_string_lossy().into_owned();
    fs::write(path("test.toml"), &pair.toml).expect("written");
    let run = [
        "run",
        "kme",
        "ERR-010",
        "DEC-004",
        "--strict",
        "--config",
        &path("test.toml"),
        "--report",
        &path("r.json"),
        "--html",
        &path("r.html"),
    ];
    let screen = String::from_utf8_lossy(&qkdspec(&run).stdout).into_owned();
    let html = fs::read_to_string(path("r.html")).expect("a page");
    for text in [&screen, &html] {
        assert!(text.contains("1 case failed at level H, which is set to fail a run (ERR-010)"), "{text}");
    }
    assert!(screen.contains("NOT CONFORMING") && html.contains("Not conforming"), "{screen}");

    // A deviation that only warns in another run is still there.
    let draft = qkdspec(&["expect", &path("r.json"), "--until", "2999-12-31"]);
    fs::write(path("expected.toml"), &draft.stdout).expect("written");
    let run = ["run", "kme", "ERR-010", "ENC-010", "--config", &path("test.toml"), "--expected", &path("expected.toml")];
    let again = qkdspec(&run);
    let screen = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.code() == Some(0) && !screen.contains("xpass"), "{screen}");
    assert!(screen.contains("CONFORMING to 014@1.1.1 as far as tested here, with 1 warning;"), "{screen}");
    // One that is gone is told where it was.
    let good = Pair::start("");
    fs::write(path("good.toml"), good.toml.replace("pki/", &good.folder.path().join("pki/").to_string_lossy())).expect("written");
    let run =
        ["run", "kme", "ERR-010", "ENC-010", "--config", &path("good.toml"), "--expected", &path("expected.toml"), "--strict"];
    let gone = qkdspec(&run);
    let screen = String::from_utf8_lossy(&gone.stdout).into_owned();
    assert!(
        gone.status.code() == Some(1) && screen.contains("xpass  ERR-010") && screen.contains("expected until 2999-12-31"),
        "{screen}"
    );
}

#[test]
fn the_same_seed_gives_the_same_verdicts() {
    let verdicts = || {
        let pair = Pair::start("");
        let config = qkdspec::Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
        let mut options = qkdspec::Options::default();
        (options.seed, options.shuffle) = (Some(0x7f3a91), true);
        options.select = vec!["STA".to_owned(), "DEC".to_owned(), "#passive".to_owned()];
        let report = qkdspec::run(config, &options, &mut std::io::sink()).expect("a report");
        let cases: Vec<_> = report.cases.iter().map(|case| (case.id.clone(), case.verdict)).collect();
        (report.plan.sha256, cases)
    };
    assert_eq!(verdicts(), verdicts());
}

#[test]
fn no_form_of_a_report_holds_a_key() {
    let pair = Pair::start("");
    let config = qkdspec::Config::parse(&pair.toml, pair.folder.path()).expect("a configuration");
    let mut options = qkdspec::Options::default();
    options.select = vec!["ENC-001".to_owned(), "DEC-003".to_owned(), "ENC-006".to_owned()];
    options.hide_key_ids = true;
    let mut screen = Vec::new();
    let report = qkdspec::run(config, &options, &mut screen).expect("a report");
    let text = serde_json::to_string(&report).expect("JSON");
    assert!(text.contains("octets, fp "), "keys were delivered");
    let fingerprints: BTreeSet<_> =
        text.match_indices("octets, fp ").map(|(at, found)| &text[at + found.len()..at + found.len() + 8]).collect();
    assert_eq!(fingerprints.len(), 5, "as many fingerprints as keys, the same at both ends");
    let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let ids: Vec<_> = text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').filter(|word| is_id(word)).collect();
    assert!(ids.is_empty() && text.contains("<ID "), "key IDs are hidden: {ids:?}");
}

#[test]
fn what_cannot_be_run_says_so_by_its_exit_code() {
    let pair = Pair::start("");
    let file = pair.folder.path().join("test.toml");
    let config = file.to_string_lossy().into_owned();
    fs::write(&file, &pair.toml).expect("written");
    let code = |arguments: &[&str]| qkdspec(arguments).status.code();
    assert_eq!(code(&["run", "kme", "XYZ-999", "--config", &config]), Some(2), "an empty selection");
    assert_eq!(code(&["run", "kme", "--config", "/nowhere/qkdspec.toml"]), Some(2), "no configuration");
    fs::write(&file, pair.toml.replace("allow_destructive", "# allow_destructive")).expect("written");
    assert_eq!(code(&["run", "kme", "--mode", "destructive", "--config", &config]), Some(2), "not permitted");
    fs::write(&file, &pair.toml).expect("written");
    assert_eq!(code(&["run", "kme", "--colour"]), Some(2), "an unknown flag");
    assert_eq!(code(&["run", "kme", "ENC-001", "--budget-keys", "0", "--config", &config]), Some(3), "nothing judged");
    assert_eq!(code(&["run", "kme", "STA-001", "--mode", "safe", "--config", &config]), Some(0));
    assert_eq!(code(&["explain", "DEC-006"]), Some(0));
    assert_eq!(code(&["preflight", "--config", &config]), Some(0));
    // Nobody listens there any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut lines: Vec<String> = pair.toml.lines().map(str::to_owned).collect();
    for line in lines.iter_mut().filter(|line| line.starts_with("base_url")) {
        *line = format!("base_url = \"https://127.0.0.1:{port}\"");
    }
    fs::write(&file, lines.join("\n")).expect("written");
    assert_eq!(code(&["run", "kme", "STA-001", "--config", &config]), Some(3), "unreachable");
}
