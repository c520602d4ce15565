//! `run sae` against an SAE that is right, and against the same with exactly one fault: this program itself, started anew for
//! every scenario.

#[path = "sae/client.rs"]
mod client;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use qkdspec::{ClientConfig, Options, Report, Role, Verdict};
use support::Pair;

/// The SAE, when qkdspec starts this program; otherwise nothing.
#[test]
fn the_sae() {
    if std::env::var_os("QKDSPEC_SCENARIO").is_some() {
        std::process::exit(client::main());
    }
}

fn run(fault: &str, roles: &[Role], select: &[&str]) -> Report {
    let program = std::env::current_exe().expect("this program");
    let command = format!("SAE_FAULT={fault} exec '{}' --exact the_sae --nocapture", program.display());
    run_with(&format!("exec = {command:?}\nkme_id_field = \"cn\"\ntimeout_s = 10\n"), roles, select)
}

fn run_with(client: &str, roles: &[Role], select: &[&str]) -> Report {
    let config = ClientConfig::parse(&format!("schema = 1\n[client]\n{client}"), Path::new("")).expect("a configuration");
    let mut options = Options::default();
    options.select = select.iter().map(|&case| case.to_owned()).collect();
    options.fail_on = "S,R,D,H".to_owned();
    qkdspec::run_sae(config, roles, &options, &mut std::io::sink()).expect("a report")
}

const BOTH: &[Role] = &[Role::Master, Role::Slave];

/// A fault, and the case that has to notice it.
const MUTANTS: &[(&str, &str)] = &[
    ("C01", "TLS-001"),
    ("C02", "TLS-002"),
    ("C03", "TLS-003"),
    ("C04", "TLS-004"),
    ("C05", "TLS-005"),
    ("C06", "TLS-006"),
    ("C07", "TLS-007"),
    ("C08", "TLS-007"),
    ("C09", "TLS-008"),
    ("C10", "REQ-001"),
    ("C11", "REQ-001"),
    ("C12", "REQ-002"),
    ("C12b", "REQ-002"),
    ("C13", "REQ-003"),
    ("C14", "REQ-004"),
    ("C15", "REQ-005"),
    ("C16", "REQ-006"),
    ("C17", "REQ-007"),
    ("C18", "REQ-007"),
    ("C19", "REQ-008"),
    ("C20", "REQ-009"),
    ("C21", "REQ-010"),
    ("C22", "REQ-011"),
    ("C23", "RSP-001"),
    ("C24", "RSP-002"),
    ("C25", "RSP-003"),
    ("C26", "RSP-004"),
    ("C27", "RSP-004"),
    ("C28", "RSP-005"),
    ("C29", "RSP-006"),
    ("C30", "RSP-007"),
    ("C31", "BAD-001"),
    ("C32", "BAD-002"),
    ("C33", "BAD-003"),
    ("C34", "BAD-004"),
    ("C35", "BAD-005"),
    ("C36", "BAD-006"),
    ("C37", "BAD-007"),
    ("C38", "BAD-008"),
    ("C39", "BAD-008"),
    ("C40", "BAD-009"),
    ("C41", "BAD-010"),
    ("C42", "BAD-011"),
    ("C43", "ERR-001"),
    ("C44", "ERR-002"),
    ("C45", "ERR-003"),
    ("C46", "ERR-004"),
    ("C38", "ERR-005"),
    ("C47", "ERR-006"),
    ("C48", "ERR-006"),
    ("C49", "ERR-007"),
    ("C50", "KEY-001"),
    ("C51", "KEY-002"),
    ("C52", "KEY-003"),
    ("C53", "KEY-003"),
    ("C54", "KEY-004"),
    ("C55", "KEY-005"),
    ("C56", "KEY-006"),
    ("C57", "KEY-005"),
];

#[test]
fn every_fault_is_noticed_by_the_case_for_it() {
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((fault, case)) = MUTANTS.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let report = run(fault, BOTH, &[case]);
                    let result = report.case(&format!("SAE14-{case}")).expect("the case was run");
                    if result.verdict != Verdict::Fail {
                        let told = format!("{fault} is not noticed by {case}: {} {}", result.verdict.name(), result.reason);
                        survivors.lock().expect("no panic").push(format!("{told} {:?}", result.parameters));
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().expect("no panic");
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

#[test]
fn nothing_is_said_against_an_sae_without_a_fault() {
    for roles in [BOTH, &[Role::Master], &[Role::Slave]] {
        let report = run("", roles, &[]);
        let bad = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip));
        let bad: Vec<_> =
            bad.map(|case| format!("{} {}: {} {:?}", case.id, case.verdict.name(), case.reason, case.checks)).collect();
        assert!(bad.is_empty(), "{}", bad.join("\n"));
        assert_eq!(report.summary.exit, 0);
        let skipped = report.with(Verdict::Skip);
        assert!(roles.len() < 2 || skipped.is_empty(), "{skipped:?}");
        assert!(report.with(Verdict::Pass).len() > 30);
    }
}

#[test]
fn who_does_what_nobody_could_know_is_judged_by_the_wire_only() {
    for command in ["true", "exit 1"] {
        let report = run_with(&format!("exec = {command:?}\n"), BOTH, &["TLS", "BAD-006", "KEY-001"]);
        assert!(report.observations["judged by the wire only"].contains("random name"), "{:?}", report.observations);
        assert_eq!((report.case("SAE14-BAD-006").expect("run").verdict, report.summary.exit), (Verdict::Skip, 3));
        assert!(report.with(Verdict::Pass).is_empty(), "an SAE that does nothing passes {:?}", report.with(Verdict::Pass));
    }
}

/// A product with a URL that makes it act: it starts this program.
fn trigger(fault: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let names = ["scenario", "role", "kme", "kme_id", "sae", "peer", "cert", "key", "ca", "key_ids", "fp_salt", "number", "size"];
    let query: Vec<_> = names.iter().map(|name| format!("{name}={{{name}}}")).collect();
    let url = format!("http://{}/act?{}", listener.local_addr().expect("an address"), query.join("&"));
    thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&tcp).read_line(&mut line).expect("a request");
            let query = line.split(['?', ' ']).nth(2).unwrap_or_default().to_owned();
            let mut sae = Command::new(std::env::current_exe().expect("this program"));
            sae.args(["--exact", "the_sae", "--nocapture"]).env("SAE_FAULT", fault).stdout(Stdio::null()).stderr(Stdio::null());
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let value: Vec<_> = value.split('%').collect();
                let decoded = value[1..].iter().fold(value[0].to_owned(), |text, part| {
                    let octet = u8::from_str_radix(&part[..2], 16).expect("two digits");
                    text + &char::from(octet).to_string() + &part[2..]
                });
                sae.env(format!("QKDSPEC_{}", name.to_uppercase()), decoded);
            }
            let started = sae.spawn().is_ok();
            let status = if started { 202 } else { 500 };
            let _ = write!(tcp, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

#[test]
fn an_sae_behind_a_trigger_is_judged_by_the_wire() {
    let judged = |fault, case: &str| {
        let client = format!("trigger = {:?}\nquiet_s = 3\ntimeout_s = 6\n", trigger(fault));
        let report = run_with(&client, &[Role::Master], &[case]);
        let result = report.case(&format!("SAE14-{case}")).expect("run");
        (result.verdict, format!("{} {:?}", result.reason, result.checks))
    };
    for (fault, case, verdict, why) in [
        ("", "TLS-001", Verdict::Pass, ""),
        ("C01", "TLS-001", Verdict::Fail, ""),
        ("", "ERR-001", Verdict::Pass, "1 requests within 0.0 s, then none for"),
        ("C43", "ERR-001", Verdict::Fail, "requests within"),
        ("C58", "ERR-001", Verdict::Fail, "requests within"),
        ("", "ERR-002", Verdict::Pass, "then none for"),
        ("C44", "ERR-002", Verdict::Fail, "requests within"),
        ("C58", "ERR-002", Verdict::Inconc, "whether it goes on is not seen"),
        ("", "BAD-009", Verdict::Pass, "no more taken after"),
        ("C40", "BAD-009", Verdict::Inconc, "how much memory that needed"),
        ("C59", "BAD-009", Verdict::Inconc, "still reading"),
        ("", "BAD-001", Verdict::Skip, "cannot be seen on the wire"),
    ] {
        let (is, text) = judged(fault, case);
        assert!(is == verdict && text.contains(why), "{fault} {case}: {} {text}", is.name());
    }
}

/// An SAE that comes by another address of this machine than that of the KMEs' usual one, as one on another machine would.
#[test]
#[cfg(target_os = "linux")]
fn an_sae_elsewhere_comes_to_the_host_that_it_is_told() {
    let elsewhere = |fault: &str, cases: &[&str], listen: &str, hosts: &str| {
        let program = std::env::current_exe().expect("this program");
        let command = format!("SAE_FAULT={fault} exec '{}' --exact the_sae --nocapture", program.display());
        let client = format!(
            "exec = {command:?}\ntimeout_s = 10\nhost = \"127.0.0.2\"\nlisten_a = \"{listen}:0\"\nlisten_b = \"{listen}:0\"\n{hosts}"
        );
        run_with(&client, &[Role::Master], cases)
    };
    let good = elsewhere("", &["TLS-007", "REQ-003"], "0.0.0.0", "hosts = [\"localhost\", \"127.0.0.2\"]");
    assert_eq!((good.with(Verdict::Pass).len(), good.summary.exit), (2, 0), "{:?}", good.cases);
    assert!(good.case("SAE14-REQ-003").expect("run").reason.contains("no IPv6 address"), "{:?}", good.cases);
    // One of what has to work was not tried.
    let half = elsewhere("", &["REQ-003"], "127.0.0.2", "hosts = [\"127.0.0.2\"]");
    let result = half.case("SAE14-REQ-003").expect("run");
    assert!(result.verdict == Verdict::Inconc && result.reason.contains("no host name"), "{result:?}");
    let bad = elsewhere("C07", &["TLS-007"], "127.0.0.2", "");
    assert_eq!(bad.case("SAE14-TLS-007").expect("run").verdict, Verdict::Fail);
}

fn qkdspec(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qkdspec")).args(arguments).output().expect("the program runs")
}

#[test]
fn the_program_says_what_is_wrong_with_how_it_is_called() {
    let code = |arguments: &[&str]| qkdspec(arguments).status.code();
    assert_eq!(code(&["run", "sae", "--role", "master", "--config", "/nowhere"]), Some(2), "no configuration");
    assert_eq!(code(&["run", "sae", "--exec", "true"]), Some(2), "no role");
    assert_eq!(code(&["run", "sae", "--role", "master", "--exec", "true", "DEC-001"]), Some(2), "no case for SAEs");
    assert_eq!(code(&["mock", "kme-pair", "--scenario", "no-such"]), Some(2));
    for flag in ["--mode=safe", "--budget-keys=1", "--wait-ready=1s", "--retries-inconclusive=2", "--ics=x", "--list-hooks"] {
        assert_eq!(code(&["run", "sae", "--role", "master", "--exec", "true", "TLS-001", flag]), Some(2), "{flag}");
        let proxy = qkdspec(&["proxy", "--upstream", "https://127.0.0.1:1", flag]);
        let text = String::from_utf8_lossy(&proxy.stderr).into_owned();
        assert!(proxy.status.code() == Some(2) && text.contains("unexpected argument"), "{flag}: {text}");
    }
    assert_eq!(code(&["run", "sae", "--role", "master", "--exec", "true", "TLS-001", "--host", "0.0.0.0"]), Some(2));
    assert_eq!(code(&["explain", "SAE14-BAD-004"]), Some(0));
    let listed = qkdspec(&["mock", "kme-pair", "--scenario", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("short-key") && listed.status.success());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let mocked = qkdspec(&["mock", "kme-pair", "--scenario", "expired", "--dir", &path, "--seconds", "0"]);
    let text = String::from_utf8_lossy(&mocked.stdout).into_owned();
    assert!(text.contains("KME B https://127.0.0.1:") && text.contains("curl --cacert"), "{text}");
    assert!(folder.path().join("ca.pem").exists() && folder.path().join("sae-red.key").exists());
    // Half of an authority is somebody's, and stays.
    for (gone, left) in [("ca.key", "ca.pem"), ("ca.pem", "ca.key")] {
        let other = tempfile::tempdir().expect("a folder");
        std::fs::copy(folder.path().join(left), other.path().join(left)).expect("copied");
        let before = std::fs::read(other.path().join(left)).expect(left);
        let mocked = qkdspec(&["mock", "kme-pair", "--dir", &other.path().to_string_lossy(), "--seconds", "0"]);
        let said = String::from_utf8_lossy(&mocked.stderr).into_owned();
        assert!(mocked.status.code() == Some(2) && said.contains(gone) && said.contains("not written over"), "{said}");
        assert_eq!(std::fs::read(other.path().join(left)).expect(left), before);
    }
}

#[test]
fn a_configuration_in_the_folder_needs_no_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = "schema = 1\n[client]\nmanual = true\npki = \"certificates\"\n";
    std::fs::write(folder.path().join("qkdspec.toml"), client).expect("written");
    let exec = ["--exec", "exit 89", "--report", "r.json"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_qkdspec"));
    command.args(["run", "sae", "--role", "slave", "TLS-001", "REQ-001"]).args(exec).current_dir(folder.path());
    let run = command.output().expect("the program runs");
    assert_eq!(run.status.code(), Some(3), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(folder.path().join("certificates/ca.pem").exists(), "paths start in the folder of the file");
    let report: Report =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("r.json")).expect("a report")).expect("JSON");
    assert_eq!(report.cases[0].replay, "qkdspec run sae --role slave SAE14-TLS-001 --exec 'exit 89'");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let (code, errors) = {
        let run = qkdspec(&["run", "sae", "--role", "master", "--config", "/nowhere", "--exec", "./no-such-shim"]);
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    assert!(code == Some(2) && errors.contains("cannot be run (exit 127)") && errors.contains("no-such-shim"), "{errors}");
}

#[test]
fn a_command_that_lacks_something_does_not_get_a_key_shown() {
    let says = "echo q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA= [200, 1, 77, 3, 9, 250, 6, 61]; no-such-jq";
    let run = qkdspec(&["run", "sae", "--role", "master", "--config", "/nowhere", "--exec", says]);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.code() == Some(2) && errors.contains("no-such-jq"), "{errors}");
    assert!(!errors.contains("q83v") && !errors.contains("77"), "{errors}");
}

/// The shim of the document, as it stands there; it needs curl, jq and openssl.
#[test]
fn the_documented_shim_works() {
    let is_there = |program: &str| Command::new(program).arg("--help").output().is_ok();
    if let Some(missing) = ["curl", "jq", "openssl"].into_iter().find(|program| !is_there(program)) {
        assert!(std::env::var_os("CI").is_none(), "there is no {missing}");
        eprintln!("not tried: there is no {missing}");
        return;
    }
    let document = include_str!("../docs/sae-under-test.md");
    let shim = document.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of shell");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shim");
    std::fs::write(&path, shim).expect("written");
    let client = format!("exec = \"sh {}\"\ntimeout_s = 10\n", path.display());
    let report =
        run_with(&client, BOTH, &["TLS-001", "TLS-003", "REQ", "RSP", "BAD-006", "ERR-003", "KEY-001", "KEY-004", "KEY-005"]);
    assert!(!report.observations.contains_key("judged by the wire only"), "{:?}", report.observations);
    let bad = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Skip | Verdict::Na));
    let bad: Vec<_> = bad.map(|case| format!("{}: {} {:?}", case.id, case.reason, case.checks)).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    for case in ["SAE14-REQ-006", "SAE14-REQ-011", "SAE14-BAD-006", "SAE14-KEY-001", "SAE14-KEY-004"] {
        assert_eq!(report.case(case).map(|case| case.verdict), Some(Verdict::Pass), "{case}");
    }
}

#[test]
fn a_report_of_an_sae_has_every_form_and_no_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let program = std::env::current_exe().expect("this program");
    let command = format!("SAE_FAULT=C31 exec '{}' --exact the_sae --nocapture", program.display());
    let run = qkdspec(&[
        "run",
        "sae",
        "--role",
        "master",
        "--exec",
        &command,
        "BAD-001",
        "BAD-002",
        "REQ-001",
        "--strict",
        "--hide-key-ids",
        "--config",
        &path("absent.toml"),
        "--report",
        &path("r.json"),
        "--html",
        &path("r.html"),
        "--junit",
        &path("r.xml"),
    ]);
    let screen = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(run.status.code(), Some(1), "{screen}{}", String::from_utf8_lossy(&run.stderr));
    assert!(screen.contains("FAIL   BAD-001") && screen.contains("pass   BAD-002"), "{screen}");
    for name in ["r.json", "r.html", "r.xml"] {
        let text = std::fs::read_to_string(path(name)).expect(name);
        assert!(text.contains("SAE14-BAD-001") || text.contains("BAD-001"), "{name}");
        let is_id = |word: &str| word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        assert!(!text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').any(is_id), "{name} has key IDs");
    }
    assert!(qkdspec(&["report", &path("r.json"), "--to", "md,text,sarif"]).status.success());
}

#[test]
fn a_key_in_an_address_does_not_lose_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.json").to_string_lossy().into_owned();
    let program = std::env::current_exe().expect("this program");
    let command = format!("SAE_FAULT=C57 exec '{}' --exact the_sae --nocapture", program.display());
    let arguments = ["run", "sae", "--role", "master", "--exec", &command, "REQ-001", "--config", "absent", "--report", &path];
    let run = qkdspec(&arguments);
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let report: Report = serde_json::from_str(&std::fs::read_to_string(path).expect("a report")).expect("JSON");
    // It was taken out where it came in, so that the last gate had nothing to take out or to withhold.
    assert_eq!(report.observations.get("redaction"), None);
    assert!(
        report.case("SAE14-REQ-001").expect("run").evidence.iter().any(|seen| seen.request.line.contains("status?key=\u{2026}"))
    );
}

/// A proxy in front of a KME; what it says, and its report.
struct Proxied {
    pair: Pair,
    sae: Output,
    code: Option<i32>,
    screen: String,
    text: String,
}

impl Proxied {
    fn path(pair: &Pair, name: &str) -> String {
        pair.folder.path().join("pki").join(name).to_string_lossy().into_owned()
    }

    /// What a proxy makes of the requests of an SAE with that fault, at a KME with that one, or at another place.
    fn new(kme: &'static str, sae: &str, upstream: Option<&str>, flags: &[&str]) -> Self {
        let pair = Pair::start(kme);
        let path = |name: &str| Self::path(&pair, name);
        let url =
            pair.toml.lines().find_map(|line| line.strip_prefix("base_url = ")).expect("a URL").trim_matches('"').to_owned();
        let (report, html) = (path("report.json"), path("report.html"));
        let mut proxy = Command::new(env!("CARGO_BIN_EXE_qkdspec"))
            .args(["proxy", "--upstream", upstream.unwrap_or(&url), "--ca", &path("ca.pem"), "--cert", &path("kme-a.pem")])
            .args(["--client-ca", &path("ca.pem"), "--sae-cert", &path("red.pem"), "--sae-id", "red"])
            .args(["--report", &report, "--html", &html, "--strict"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut output = BufReader::new(proxy.stdout.take().expect("its output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let url = line.split(' ').next().unwrap_or_default();
        let client = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "the_sae", "--nocapture"])
            .envs([("SAE_FAULT", sae), ("QKDSPEC_SCENARIO", "get-key"), ("QKDSPEC_KME", url), ("QKDSPEC_KME_ID", "kme-a")])
            .envs([("QKDSPEC_SAE", "red"), ("QKDSPEC_PEER", "blue"), ("QKDSPEC_FP_SALT", "x")])
            .envs([("QKDSPEC_CERT", path("red.pem")), ("QKDSPEC_KEY", path("red.key")), ("QKDSPEC_CA", path("ca.pem"))])
            .output()
            .expect("the SAE runs");
        let mut screen = String::new();
        output.read_to_string(&mut screen).expect("its output");
        let code = proxy.wait().expect("it ends").code();
        let text = std::fs::read_to_string(report).expect("a report");
        Self { pair, sae: client, code, screen, text }
    }

    fn report(&self) -> Report {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// Cases that complain.
    fn bad(&self) -> String {
        let report = self.report();
        assert!(self.sae.status.success(), "{}{}", String::from_utf8_lossy(&self.sae.stderr), self.screen);
        [report.with(Verdict::Fail), report.with(Verdict::Warn), report.with(Verdict::Error)].concat().join(" ")
    }
}

const ONE: [&str; 4] = ["--seconds", "60", "--requests", "1"];

#[test]
fn a_proxy_judges_both_sides() {
    let good = Proxied::new("", "", None, &ONE);
    assert_eq!((good.bad().as_str(), good.code), ("", Some(0)));
    let again = &good.report().cases[0].replay;
    for flag in
        ["--upstream https://", "--ca /", "--cert /", "--client-ca /", "--sae-cert /", "--sae-id red", "--requests 1", "--strict"]
    {
        assert!(again.contains(flag), "{flag}: {again}");
    }
    assert!(good.report().with(Verdict::Pass).len() > 10, "{:?}", good.report().with(Verdict::Pass));
    assert_eq!(Proxied::new("M074", "", None, &ONE).bad(), "014-ENC-035");
    assert_eq!(Proxied::new("", "C11", None, &ONE).bad(), "SAE14-REQ-001");
}

#[test]
fn a_proxy_in_front_of_nothing_proves_nothing() {
    // The SAE tries three times.
    let dead = Proxied::new("", "", Some("https://127.0.0.1:1"), &["--seconds", "60", "--requests", "3"]);
    let report = dead.report();
    assert_eq!((dead.code, report.summary.outcome.as_str()), (Some(3), "inconclusive"), "{}", dead.screen);
    let case = report.case("014-WIR-001").expect("a case of the KME");
    assert!(case.verdict == Verdict::Inconc && case.reason.contains("the KME answered none of 3 requests"), "{}", case.reason);
    assert_eq!(report.case("SAE14-REQ-001").expect("a case of the SAE").verdict, Verdict::Pass);
    assert!(report.observations["requests without an answer"].starts_with("3, first: "), "{:?}", report.observations);
    let unheard = Proxied::new("", "C04", Some("https://127.0.0.1:1"), &["--seconds", "1"]);
    assert!(unheard.code == Some(3) && !unheard.report().with(Verdict::Inconc).is_empty(), "{}", unheard.screen);
}

#[test]
fn a_proxy_shows_neither_keys_nor_key_ids() {
    let proxied = Proxied::new("", "C57", None, &["--seconds", "60", "--requests", "2", "--hide-key-ids"]);
    let said = String::from_utf8_lossy(&proxied.sae.stdout).into_owned();
    let id = said.lines().find_map(|line| line.split_once(' ').filter(|(id, _)| id.len() == 36)).expect("a key ID").0;
    let html = std::fs::read_to_string(Proxied::path(&proxied.pair, "report.html")).expect("a page");
    for (name, text) in [("report", &proxied.text), ("page", &html), ("screen", &proxied.screen)] {
        assert!(!text.to_lowercase().contains(&id.to_lowercase()), "the {name} has {id}");
    }
    assert!(proxied.text.contains("<ID ") && proxied.text.contains("status?key=\u{2026}"), "{}", proxied.text);
}
