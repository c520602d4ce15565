//! How a run ends when it cannot go as planned: each time with one clear sentence and the exit code for it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::Pair;

struct Bench(Pair);

impl Bench {
    fn new(fault: &'static str) -> Self {
        let bench = Self(Pair::start(fault));
        bench.configure(|toml| toml);
        bench
    }

    fn configure(&self, change: impl FnOnce(String) -> String) {
        fs::write(self.0.folder.path().join("qkdspec.toml"), change(self.0.toml.clone())).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qkdspec"));
        command.args(arguments).current_dir(self.0.folder.path()).stdin(Stdio::null());
        command
    }

    /// Exit code, and all that was said.
    fn said(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().expect("the program runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    fn ends(&self, code: i32, arguments: &[&str], sentence: &str) {
        let (got, text) = self.said(arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(sentence), "{arguments:?} does not say `{sentence}`: {text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_before_anything_is_sent() {
    let bench = Bench::new("");
    let run = ["run", "kme", "ENC-001"];
    bench.ends(2, &["run", "kme", "--config", "absent.toml"], "absent.toml: No such file");
    bench.ends(2, &["run", "kme", "--config", "pki"], "pki: Is a directory");
    bench.ends(2, &["run", "kme", "--expected", "absent.toml"], "absent.toml");
    for (file, instead, sentence) in [
        ("pki/ca.pem", "pki/absent.pem", "pki/absent.pem: No such file"),
        ("pki/red.pem", "qkdspec.toml", "qkdspec.toml: no certificate in it"),
        ("pki/red.key", "pki/red.pem", "pki/red.pem: no private key"),
        ("pki/revoked.pem", "pki/absent.pem", "[intruder] revoked: "),
    ] {
        bench.configure(|toml| toml.replace(file, instead));
        bench.ends(2, &run, sentence);
    }
    bench.configure(|toml| toml);
    bench.ends(2, &["run", "kme", "ENC-001", "--report", "absent/r.json"], "absent/r.json: cannot be written");
    bench.ends(2, &["run", "kme", "ENC-001", "--html", "pki"], "pki: cannot be written");
    let (_, text) = bench.said(&["run", "kme", "ENC-001", "--html", "pki"]);
    assert!(!text.contains("ENC-001"), "nothing was run: {text}");
    bench.ends(0, &["run", "kme", "ENC-001", "--report", "r.json", "--html", "r.html"], "CONFORMING");
    for name in ["r.json", "r.html"] {
        assert!(fs::read_to_string(bench.0.folder.path().join(name)).expect(name).contains("014-ENC-001"), "{name}");
    }
}

#[test]
fn a_name_without_an_address_is_named() {
    let bench = Bench::new("");
    bench.configure(|toml| {
        let lines = toml.lines().map(|line| match line.strip_prefix("base_url") {
            Some(_) => "base_url = \"https://kme.invalid:8443\"",
            None => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    bench.ends(3, &["run", "kme", "STA-001"], "KME A cannot be reached: cannot connect: the name kme.invalid is not resolved");
    bench.ends(3, &["preflight"], "nothing can be tested: KME A cannot be reached: cannot connect: the name kme.invalid");
    let (code, text) = bench.said(&["run", "kme", "STA", "DEC", "-q"]);
    assert!(code == Some(3) && text.contains("INCONCLUSIVE: nothing was tested: KME A cannot be reached"), "{text}");
    assert!(text.matches("cannot be reached").count() == 2, "once where it begins, and once at the end: {text}");
}

#[test]
fn an_expired_certificate_is_called_so() {
    let bench = Bench::new("H24");
    bench.ends(3, &["run", "kme", "STA-001"], "KME A cannot be reached: TLS: the KME's certificate has expired");
    bench.ends(3, &["preflight"], "the KME's certificate has expired");
}

#[test]
fn certificates_and_keys_are_looked_at_before_they_are_used() {
    let bench = Bench::new("");
    for (setting, instead, sentence) in [
        ("cert = \"pki/red.pem\"", "cert = \"pki/expired.pem\"", "[sae] red: pki/expired.pem: the certificate has expired, on "),
        (
            "cert = \"pki/blue.pem\"",
            "cert = \"pki/not_yet_valid.pem\"",
            "[sae] blue: pki/not_yet_valid.pem: the certificate is not valid before",
        ),
        (
            "key = \"pki/red.key\"",
            "key = \"pki/blue.key\"",
            "[sae] red: pki/blue.key: not the key of the certificate pki/red.pem",
        ),
        ("ca = \"pki/ca.pem\"", "ca = \"qkdspec.toml\"", "[kme.a] ca: qkdspec.toml: no certificate in it"),
        ("127.0.0.1", "127.1", "[kme.a] base_url: `127.1` is neither a host name nor an IP address"),
    ] {
        bench.configure(|toml| match setting {
            "cert = \"pki/red.pem\"" => toml.replace(setting, instead).replace("pki/red.key", "pki/expired.key"),
            "cert = \"pki/blue.pem\"" => toml.replace(setting, instead).replace("pki/blue.key", "pki/not_yet_valid.key"),
            _ => toml.replace(setting, instead),
        });
        bench.ends(2, &["preflight"], sentence);
        bench.ends(2, &["run", "kme", "STA-001"], sentence);
    }
}

#[test]
fn a_refused_certificate_is_named() {
    let (bench, other) = (Bench::new(""), Bench::new(""));
    let of = |name: &str| other.0.folder.path().join("pki").join(name).to_string_lossy().into_owned();
    bench.configure(|toml| toml.replace("pki/red.pem", &of("red.pem")).replace("pki/red.key", &of("red.key")));
    let (code, text) = bench.said(&["preflight"]);
    assert!(code == Some(3) && text.contains(&format!("KME A refuses the certificate of red ({})", of("red.pem"))), "{text}");
}

#[test]
fn what_the_slaves_kme_refuses_may_be_as_it_ought_to() {
    Bench::new("H37").ends(0, &["preflight"], "note:  KME B tells no Status, but 503");
    Bench::new("H38").ends(0, &["preflight"], "note:  KME B has no Status below");
    // Tells no slave.
    Bench::new("B58").ends(0, &["preflight"], "if not, a run will hold it against the KME");
}

#[test]
fn a_preflight_says_what_seems_to_be_wrong() {
    let bench = Bench::new("");
    bench.ends(0, &["preflight"], "Status at the slave's KME");
    bench.ends(0, &["preflight"], "nothing speaks against a run for certain; see 1 note above");
    bench.ends(0, &["preflight", "--budget-keys", "0", "--mode", "safe"], "MC-005 will be skipped");
    bench.ends(3, &["preflight", "--budget-keys", "0"], "wrong? the budget is 0 keys");
    bench.configure(|toml| toml.replace("pki/blue.", "pki/unenrolled."));
    bench.ends(3, &["preflight"], "wrong? KME B refuses blue (401), and tells green its Status: is its certificate");
    bench.ends(3, &["preflight"], "not to be run like this: 1 likely mistake (wrong?) above");
    bench.configure(|toml| toml.replace("{ id = \"blue\", kme = \"b\"", "{ id = \"blue\", kme = \"a\""));
    bench.ends(3, &["preflight"], "wrong? [kme.b] is configured, but the slave, blue, is at A");
    bench.configure(|toml| toml.replace("[ics]", "[ics]\nmulticast = { claimed = false }"));
    bench.ends(3, &["preflight"], "wrong? claim contradicted: multicast.claimed = false");
    bench.configure(|toml| toml.replace("etsi014 = \"1.1.1\"", "etsi014 = \"9.9.9\""));
    bench.ends(2, &["preflight"], "edition: etsi014 = \"9.9.9\": this program tests etsi014 = \"1.1.1\" only");
    bench.configure(|toml| toml);
    let urls: Vec<_> = bench.0.toml.lines().filter_map(|line| line.strip_prefix("base_url = ")).map(str::to_owned).collect();
    bench.configure(|toml| toml.replace(&urls[1], &urls[0]));
    bench.ends(3, &["preflight"], "wrong? [kme.a] and [kme.b] have one base_url");
    bench.configure(|toml| toml.replace("{ id = \"red\"", "{ id = \"rot\""));
    bench.ends(3, &["preflight"], "KME A tells master_SAE_ID \"red\", and the configuration has \"rot\" ([sae] red, id)");
    bench.configure(|toml| toml.replace("# kme_id = \"kme-a\"", "kme_id = \"kme-x\""));
    bench.ends(3, &["preflight"], "the configuration has \"kme-x\" ([kme.a] kme_id)");
    bench.configure(|toml| toml.replace(&urls[0], &format!("{}/nothing\"", urls[0].trim_end_matches('"'))));
    bench.ends(3, &["preflight"], "is base_url what stands before /api/v1 there?");
}

#[test]
fn another_authority_is_called_so() {
    let (bench, other) = (Bench::new(""), Bench::new(""));
    let ca = other.0.folder.path().join("pki/ca.pem");
    bench.configure(|toml| toml.replace("pki/ca.pem", &ca.to_string_lossy()));
    bench.ends(3, &["preflight"], "the KME's certificate is not from the authority configured as `ca`");
}

#[test]
fn claims_that_do_not_fit_are_no_success() {
    let bench = Bench::new("");
    let claim = |claim: &str| bench.configure(|toml| toml.replace("[ics]", &format!("[ics]\n{claim}")));
    claim("multicast = { claimed = false, max = 3 }");
    bench.ends(2, &["run", "kme", "STA-001"], "contradicts itself");
    claim("multicast = { claimed = false }");
    bench.ends(3, &["run", "kme", "STA-001"], "claim contradicted: multicast.claimed = false, but Status says");
    bench.ends(3, &["run", "kme", "STA-001"], "INCONCLUSIVE: the claims do not fit what Status says");
    bench.ends(1, &["run", "kme", "STA-010"], "claim contradicted");
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    let bench = Bench::new("");
    bench.configure(|toml| toml.lines().filter(|line| !line.starts_with("restart_a")).collect::<Vec<_>>().join("\n"));
    let (_, text) = bench.said(&["run", "kme", "CON-005"]);
    assert!(text.contains("the hook restart_a") && text.contains("--mode destructive") && text.contains(", and "), "{text}");
    assert!(text.contains("1 case "), "{text}");
}

#[test]
fn a_budget_that_is_used_up_is_said() {
    let bench = Bench::new("");
    bench.ends(
        0,
        &["run", "kme", "ENC-001", "--budget-keys", "1"],
        "worst cost 2 keys if all goes wrong; never more than the budget, 1 ",
    );
    bench.ends(0, &["run", "kme", "ENC-001"], "keys, budget 500 ");
    bench.ends(3, &["run", "kme", "ENC-001", "ENC-002", "--budget-keys", "1"], "INCONCLUSIVE: the key budget was used up");
}

#[test]
fn a_hook_that_hangs_is_ended_and_named() {
    let bench = Bench::new("");
    bench.configure(|toml| {
        let line = toml.lines().find(|line| line.starts_with("restart_a")).expect("a hook").to_owned();
        toml.replace(&line, "restart_a = \"sleep 1000 & sleep 1000\"").replace("[limits]", "[limits]\nhook_s = 0.4")
    });
    let run = ["run", "kme", "CON-005", "--mode", "destructive"];
    bench.ends(3, &run, "hook restart_a: it did not end within 0.4 s and was ended, with all that it had started");
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "a signal is sent");
}

/// Reads lines until one holds that.
fn wait_for(lines: &mut impl BufRead, word: &str) -> String {
    let mut all = String::new();
    while !all.lines().last().is_some_and(|line| line.contains(word)) {
        assert!(lines.read_line(&mut all).expect("text") > 0, "the end comes before `{word}`: {all}");
    }
    all
}

#[test]
fn an_interrupted_run_leaves_a_partial_report() {
    let bench = Bench::new("H22");
    let mut child = bench
        .command(&["run", "kme", "STA", "ENC", "--report", "r.json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut out = BufReader::new(child.stdout.take().expect("output"));
    wait_for(&mut out, "STA-001");
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(130), "{rest}");
    assert!(rest.contains("(interrupted: partial)      exit 130"), "{rest}");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(bench.0.folder.path().join("r.json")).expect("a report")).expect("JSON");
    assert_eq!((report["validity"].as_str(), report["summary"]["exit"].as_u64()), (Some("partial"), Some(130)));
    let status = |case: &str| {
        let case = report["cases"].as_array().and_then(|cases| cases.iter().find(|found| found["id"] == case));
        (case.map(|case| case["status"].clone()), case.map(|case| case["verdict"].clone()))
    };
    assert_eq!(status("014-STA-001"), (Some("done".into()), Some("pass".into())));
    assert_eq!(status("014-ENC-027"), (Some("queued".into()), Some("skip".into())));
    let failed = report["cases"].as_array().is_some_and(|cases| cases.iter().any(|case| case["verdict"] == "fail"));
    assert!(!failed, "nobody is judged by an interruption: {rest}");
}

#[test]
fn the_second_interruption_ends_at_once() {
    // The KME answers in a minute, and so long the harness would wait.
    let bench = Bench::new("H23");
    bench.configure(|toml| toml.replace("response_s = 5", "response_s = 100"));
    let mut child =
        bench.command(&["run", "kme", "STA"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut out = BufReader::new(child.stdout.take().expect("output"));
    wait_for(&mut out, "STA-001");
    let mut errors = BufReader::new(child.stderr.take().expect("errors"));
    interrupt(&child);
    wait_for(&mut errors, "once more to end at once");
    interrupt(&child);
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("text");
    assert!(!rest.contains("cases:"), "it did not wait for a summary: {rest}");
}
