//! The commands around a run: what they write, and what they say to bad input.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::Pair;

/// A pair of KMEs, and the program in the folder of its configuration.
struct Bench(Pair);

impl Bench {
    fn new(fault: &'static str) -> Self {
        let pair = Pair::start(fault);
        fs::write(pair.folder.path().join("qkdspec.toml"), &pair.toml).expect("written");
        let hook =
            |line: &&str| ["drain_a", "refill_a", "restart_a", "link_", "clock_"].iter().any(|name| line.starts_with(name));
        let without_hooks: Vec<_> = pair.toml.lines().filter(|line| !hook(line)).collect();
        fs::write(pair.folder.path().join("without-hooks.toml"), without_hooks.join("\n")).expect("written");
        Self(pair)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qkdspec"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QKDSPEC_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.0.folder.path());
        command
    }

    /// Exit code, standard output and standard error.
    fn said(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        said(self.command(arguments).output().expect("the program runs"))
    }

    /// Standard output; the exit code must be that.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let (got, out, errors) = self.said(arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {out}{errors}");
        out
    }

    /// Writes a report again with something changed in it.
    fn changed(&self, from: &str, to: &str, change: impl FnOnce(&mut Value)) {
        let mut report = self.json(from);
        change(&mut report);
        fs::write(self.path(to), report.to_string()).expect("written");
    }

    /// Standard error of wrong usage.
    fn refused(&self, arguments: &[&str]) -> String {
        let (got, out, errors) = self.said(arguments);
        assert_eq!(got, Some(2), "{arguments:?}: {out}{errors}");
        errors
    }
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_case_of_a_report_is_repeated() {
    // Wrong text for an unknown key ID; and what a passive case sees in the answers to others.
    let bench = Bench::new("M100");
    bench.expect(1, &["run", "kme", "DEC-004", "DEC-001", "--report", "r.json"]);
    let out = bench.expect(1, &["replay", "r.json", "DEC-004", "--out", "again.json"]);
    assert!(out.contains("014-DEC-004: was fail, is fail"), "{out}");
    let (first, again) = (bench.json("r.json"), bench.json("again.json"));
    assert_eq!(again["plan"]["seed"], first["plan"]["seed"]);
    assert_eq!(again["cases"].as_array().map(Vec::len), Some(1));
    let stimulus = |report: &Value| {
        let cases = report["cases"].as_array().expect("cases").clone();
        let case = cases.into_iter().find(|case| case["id"] == "014-DEC-004").expect("the case");
        case["evidence"].as_array().expect("evidence").iter().map(|exchange| exchange["request"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(stimulus(&again), stimulus(&first), "the same stimulus");
    assert!(bench.expect(0, &["replay", "r.json", "014-dec-001"]).contains("was pass, is pass"));
    assert!(bench.refused(&["replay", "r.json", "DEC-003"]).contains("has no case DEC-003"));
    assert!(bench.refused(&["replay", "qkdspec.toml", "DEC-004"]).contains("no report"));
    assert!(bench.refused(&["replay", "nothing.json", "DEC-004"]).contains("nothing.json"));
    let line = "qkdspec run sae --role slave SAE14-BAD-001 --exec ./shim";
    bench.changed("r.json", "sae.json", |report| {
        report["cases"][0]["id"] = "SAE14-BAD-001".into();
        report["cases"][0]["replay"] = line.into();
    });
    let errors = bench.refused(&["replay", "sae.json", "BAD-001"]);
    assert!(
        errors.contains(&format!("replay for KMEs only; the report has the command that repeats it:\n  {line}\n")),
        "{errors}"
    );
}

#[test]
fn what_a_later_report_leaves_open_is_no_success() {
    let bench = Bench::new("");
    bench.expect(0, &["run", "kme", "STA-001", "STA-002", "ENC-001", "--report", "r.json"]);
    assert_eq!(bench.expect(0, &["diff", "r.json", "r.json"]), "no verdict differs\n");
    let judged = |report: &mut Value, case: usize, verdict: &str| report["cases"][case]["verdict"] = verdict.into();
    bench.changed("r.json", "open.json", |report| judged(report, 1, "inconc"));
    let out = bench.expect(3, &["diff", "r.json", "open.json"]);
    assert!(out.starts_with("no longer judged: 1\n  014-STA-002  pass -> inconc"), "{out}");
    bench.changed("r.json", "worse.json", |report| {
        judged(report, 0, "fail");
        judged(report, 1, "inconc");
    });
    let out = bench.expect(1, &["diff", "r.json", "worse.json"]);
    assert!(out.contains("regressions: 1") && out.contains("no longer judged: 1"), "{out}");
    bench.changed("r.json", "partial.json", |report| {
        report["validity"] = "partial".into();
        judged(report, 2, "skip");
    });
    let out = bench.expect(3, &["diff", "r.json", "partial.json"]);
    assert!(out.contains("014-ENC-001  pass -> skip") && out.contains("the later report is partial"), "{out}");
    bench.expect(3, &["diff", "partial.json", "partial.json"]);
    assert!(bench.expect(0, &["diff", "partial.json", "r.json"]).contains("the earlier report is partial"));
    // Not run, and not for an interruption.
    bench.changed("r.json", "skip.json", |report| judged(report, 2, "skip"));
    assert!(bench.expect(0, &["diff", "r.json", "skip.json"]).starts_with("other changes: 1"));
    bench.changed("r.json", "fewer.json", |report| drop(report["cases"].as_array_mut().map(|cases| cases.remove(0))));
    assert!(bench.expect(0, &["diff", "r.json", "fewer.json"]).starts_with("not selected now: 1\n  014-STA-001  pass  "));
    assert!(bench.expect(0, &["diff", "fewer.json", "r.json"]).starts_with("not selected before: 1"));
    bench.changed("fewer.json", "newer.json", |report| report["tool"]["catalogue"] = "99".into());
    assert!(bench.expect(0, &["diff", "r.json", "newer.json"]).starts_with("retired cases, or not selected now: 1"));
    bench.changed("r.json", "sae.json", |report| {
        let cases = report["cases"].as_array_mut().expect("cases");
        cases.iter_mut().for_each(|case| case["id"] = "SAE14-BAD-001".into());
    });
    assert!(bench.refused(&["diff", "r.json", "sae.json"]).contains("about KMEs, the later one about an SAE"));
}

#[test]
fn the_line_to_repeat_a_case_can_be_pasted() {
    let bench = Bench::new("M100");
    fs::rename(bench.path("qkdspec.toml"), bench.path("it's a lab.toml")).expect("renamed");
    let lab = ["--config", "it's a lab.toml"];
    let run = ["run", "kme", "DEC-004", "-q", "--mode", "destructive", "--report", "r.json", "--seed", "7"];
    let mut command = bench.command(&[run.as_slice(), &lab].concat());
    let (code, out, errors) = said(command.env("QKDSPEC_STRICT", "yes").output().expect("the program runs"));
    assert_eq!(code, Some(1), "{out}{errors}");
    let again = bench.json("r.json")["cases"][0]["replay"].as_str().expect("text").to_owned();
    let wanted = r"qkdspec run kme 014-DEC-004 --seed 7 --config 'it'\''s a lab.toml' --mode destructive --strict";
    assert_eq!(again, wanted);
    assert!(out.contains(&again), "{out}");
    let program = env!("CARGO_BIN_EXE_qkdspec").replace("/qkdspec", "");
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let pasted = Command::new("sh").args(["-c", &again]).current_dir(bench.path("")).env("PATH", path).output();
    let (code, out, errors) = said(pasted.expect("a shell"));
    assert!(code == Some(1) && out.contains("FAIL   DEC-004"), "{out}{errors}");
    bench.expect(1, &[["replay", "r.json", "DEC-004", "--out", "again.json"].as_slice(), &lab].concat());
    let replayed = bench.json("again.json")["cases"][0]["replay"].as_str().expect("text").to_owned();
    let lab = r"--config 'it'\''s a lab.toml'";
    assert_eq!(replayed, format!("qkdspec run kme 014-DEC-004 --seed 7 {lab} --mode destructive --fail-on S,R,D,H"));
}

#[test]
fn a_passive_case_is_repeated_with_what_it_looked_at() {
    let bench = Bench::new("M127");
    bench.expect(1, &["run", "kme", "ERR-010", "DEC-004", "STA-001", "--strict", "--report", "r.json"]);
    let out = bench.expect(1, &["replay", "r.json", "ERR-010"]);
    assert!(out.contains("DEC-004") && !out.contains("STA-001"), "{out}");
    assert!(out.contains("014-ERR-010: was fail, is fail"), "{out}");
}

#[test]
fn claims_are_drafted_checked_and_used() {
    let bench = Bench::new("");
    fs::write(bench.path("ics.toml"), bench.expect(0, &["ics", "new"])).expect("written");
    let out = bench.expect(0, &["ics", "check", "--ics", "ics.toml"]);
    assert!(out.contains("tls.revocation") && out.contains("TLS-009") && out.contains("no contradictions"), "{out}");

    let derived = bench.expect(0, &["ics", "derive"]);
    assert!(derived.contains("derived = true") && derived.contains("multicast = { claimed = true, max = 2 }"), "{derived}");
    fs::write(bench.path("derived.toml"), derived).expect("written");
    assert!(bench.expect(0, &["ics", "check", "--ics", "derived.toml"]).contains("derived"));
    bench.expect(0, &["run", "kme", "STA", "--ics", "derived.toml", "--report", "r.json"]);
    let report = bench.json("r.json");
    assert_eq!(report["ics"]["claims"]["derived"], true);
    assert!(report["observations"]["claims"].as_str().is_some_and(|text| text.contains("not stated by the vendor")));

    let claims = |text: &str| fs::write(bench.path("bad.toml"), format!("schema = 1\n[ics]\n{text}\n")).expect("written");
    for (text, why) in [
        ("multicast = { claimed = true, max = 0 }", "max = 0"),
        ("multicast = { claimed = false, max = 2 }", "not claimed"),
        ("\"ext.mandatory\" = [{ name = \"x\", ok = 1, impossible = 1 }]", "same value"),
        ("\"ext.mandatory\" = [{ name = \"x\", ok = 1 }, { name = \"x\", ok = 2 }]", "twice"),
        ("\"tls.revoked\" = true", "unknown field"),
        ("\"key.lifetime\" = 3", "expected a boolean"),
    ] {
        claims(text);
        for command in [["ics", "check"].as_slice(), &["run", "kme", "STA-001"]] {
            let errors = bench.refused(&[command, &["--ics", "bad.toml"]].concat());
            assert!(errors.contains(why) && errors.contains("bad.toml"), "{text}: {errors}");
        }
    }
    claims("\"key.lifetime\" = true");
    let out = bench.expect(0, &["ics", "check", "--ics", "bad.toml", "--config", "without-hooks.toml"]);
    assert!(out.contains("missing in the configuration: the hook clock_forward"), "{out}");
    assert!(bench.refused(&["run", "kme", "--ics", "nothing.toml"]).contains("qkdspec ics new"));
}

#[test]
fn a_badge_says_no_more_than_the_report() {
    let bench = Bench::new("");
    bench.expect(0, &["run", "kme", "@014-smoke", "--report", "r.json"]);
    let out = bench.expect(0, &["badge", "r.json"]);
    assert_eq!(out, "r.badge.svg\nr.badge.json\n");
    let endpoint = bench.json("r.badge.json");
    assert_eq!(endpoint["schemaVersion"], 1);
    assert_eq!(endpoint["message"], "self-test conforms: 12 of 12 passed, @014-smoke");
    let svg = bench.read("r.badge.svg");
    assert!(svg.starts_with("<svg ") && svg.contains("12 of 12 passed, @014-smoke"), "{svg}");

    let with = |change: &dyn Fn(&mut Value)| {
        let mut report = bench.json("r.json");
        change(&mut report);
        fs::write(bench.path("other.json"), report.to_string()).expect("written");
        bench.expect(0, &["badge", "other.json", "--out", "b.svg"]);
        let message = bench.json("b.json")["message"].as_str().expect("text").to_owned();
        assert!(!bench.read("b.svg").contains("<script"), "escaped");
        message
    };
    assert_eq!(with(&|report| report["validity"] = "partial".into()), "partial run: no result");
    assert!(with(&|report| report["validity"] = "not-valid-for-claims".into()).contains("no result"));
    assert!(with(&|report| report["summary"]["outcome"] = "not-conforming".into()).starts_with("does not conform"));
    let listed = with(&|report| {
        report["summary"]["outcome"] = "not-conforming".into();
        report["summary"]["counts"]["xfail"] = 2.into();
    });
    assert!(listed.starts_with("does not conform") && listed.ends_with(", 2 expected deviations"), "{listed}");
    assert!(with(&|report| report["summary"]["outcome"] = "inconclusive".into()).starts_with("inconclusive"));
    assert!(with(&|report| report["plan"]["profile"] = "<script>".into()).contains("<script>"));
    assert!(bench.refused(&["badge", "r.json", "--out", "r.svg"]).contains("would be written over"));
    let of_sae = with(&|report| {
        report["summary"]["counts"]["pass"] = 10.into();
        report["summary"]["counts"]["warn"] = 2.into();
        report["cases"].as_array_mut().expect("cases").iter_mut().for_each(|case| case["id"] = "SAE14-BAD-001".into());
    });
    assert_eq!(of_sae, "self-test conforms: 10 of 12 passed, 2 warnings, @014-smoke");
    assert_eq!((&bench.json("b.json")["label"], &endpoint["label"]), (&"SAE, ETSI GS QKD 014".into(), &"ETSI GS QKD 014".into()));
    assert!(bench.read("b.svg").contains(">SAE, ETSI GS QKD 014<"));
}

/// A private key of the given seed, as openssl writes one.
fn signing_key(path: &Path, seed: u8) {
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend([seed; 32]);
    let text = <base64ct::Base64 as base64ct::Encoding>::encode_string(&der);
    fs::write(path, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")).expect("written");
}

#[test]
fn a_bundle_shows_every_change_and_who_signed_it() {
    let bench = Bench::new("");
    bench.expect(0, &["run", "kme", "@014-smoke", "--report", "r.json"]);
    for (name, seed) in [("lab", 7), ("other", 8)] {
        signing_key(&bench.path(&format!("{name}.key")), seed);
        bench.expect(0, &["bundle", "r.json", "--out", name, "--sign", &format!("{name}.key")]);
        fs::copy(bench.path(name).join("signer.pem"), bench.path(&format!("{name}.pem"))).expect("copied");
    }
    let verify = |arguments: &[&str]| bench.said(&[&["bundle", "--verify", "lab"], arguments].concat());
    assert_eq!(fs::read(bench.path("lab/report.json")).expect("the report"), fs::read(bench.path("r.json")).expect("the report"));
    assert!(bench.path("lab/evidence/014-DEC-001.json").is_file());
    for file in ["lab/ics.json", "lab/plan.json", "lab/report.html", "lab/README.txt"] {
        assert!(!bench.read(file).is_empty());
    }
    let (code, out, _) = verify(&["--key", "lab.pem"]);
    assert!(code == Some(0) && out.contains("signed by the key sha256:"), "{out}");
    assert!(verify(&[]).1.contains("not checked"));
    let (code, out, _) = verify(&["--key", "other.pem"]);
    assert!(code == Some(1) && out.contains("the signature is not of the key"), "{out}");

    let whole = bench.read("lab/ics.json");
    fs::write(bench.path("lab/ics.json"), whole.replace("false", "true ")).expect("written");
    let (code, out, _) = verify(&["--key", "lab.pem"]);
    assert!(code == Some(1) && out.contains("ics.json was changed"), "{out}");
    fs::write(bench.path("lab/ics.json"), whole).expect("written");
    fs::write(bench.path("lab/evidence/more.json"), "{}").expect("written");
    assert!(verify(&[]).1.contains("more.json is not in SHA256SUMS"));
    fs::remove_file(bench.path("lab/evidence/more.json")).expect("removed");
    fs::remove_file(bench.path("lab/plan.json")).expect("removed");
    assert!(verify(&[]).1.contains("plan.json"));
    let sums = bench.read("lab/SHA256SUMS");
    fs::write(bench.path("lab/SHA256SUMS"), format!("{sums}{}  ../r.json\n", "0".repeat(64))).expect("written");
    assert!(bench.refused(&["bundle", "--verify", "lab"]).contains("outside the folder"));

    bench.expect(0, &["bundle", "r.json"]);
    assert!(bench.expect(0, &["bundle", "--verify", "r.bundle"]).contains("not signed"));
    assert!(bench.expect(1, &["bundle", "--verify", "r.bundle", "--key", "lab.pem"]).contains("is not signed"));
    assert!(bench.refused(&["bundle", "r.json"]).contains("is there already"));
    assert!(bench.refused(&["bundle", "r.json", "--out", "x", "--sign", "r.json"]).contains("openssl genpkey"));
    assert!(!bench.path("x").exists(), "nothing is begun with a wrong key");
    assert!(bench.refused(&["bundle", "--verify", "r.bundle", "--key", "lab.key"]).contains("public key"));
    assert!(bench.refused(&["bundle", "--verify", "nowhere"]).contains("SHA256SUMS"));
    assert!(bench.refused(&["bundle"]).contains("<REPORT>"));
}

#[test]
fn flags_override_the_environment_and_the_environment_the_file() {
    let bench = Bench::new("");
    let run = |environment: &[(&str, &str)], arguments: &[&str]| {
        let mut command = bench.command(&[&["run", "kme", "STA-001", "ENC-001"], arguments].concat());
        said(command.envs(environment.iter().copied()).output().expect("the program runs"))
    };
    let (code, out, _) = run(&[("QKDSPEC_MODE", "safe"), ("QKDSPEC_SEED", "abc"), ("QKDSPEC_REPORT", "e.json")], &[]);
    assert!(code == Some(0) && out.contains("mode safe") && out.contains("seed abc") && bench.path("e.json").is_file(), "{out}");
    let (_, out, _) = run(&[("QKDSPEC_MODE", "safe")], &["--mode", "normal"]);
    assert!(out.contains("mode normal"), "{out}");
    let (_, out, _) = run(&[("QKDSPEC_QUIET", "1"), ("QKDSPEC_SHUFFLE", "no"), ("QKDSPEC_SKIP", "")], &[]);
    assert!(!out.contains("pass   "), "{out}");
    let (code, _, errors) = run(&[("QKDSPEC_QUIET", "perhaps")], &[]);
    assert!(code == Some(2) && errors.contains("--quiet"), "{errors}");
    let (_, out, _) = run(&[("QKDSPEC_BUDGET_BITS", "8")], &[]);
    assert!(out.contains("inconc ENC-001") && out.contains("the key budget was used up"), "{out}");
    for (flag, value) in [
        ("--timeout-connect", "soon"),
        ("--timeout-response", "-1s"),
        ("--timeout-settle", "2h"),
        ("--wait-ready", "1e400"),
        ("--width", "10"),
        ("--budget-bits", "-8"),
    ] {
        let (code, _, errors) = run(&[], &[&format!("{flag}={value}")]);
        assert!(code == Some(2) && errors.contains(flag), "{flag} {value}: {errors}");
    }
    let (code, out, _) =
        run(&[], &["--timeout-connect", "2s", "--timeout-response", "500ms", "--timeout-settle", "0.2", "--width", "60"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 60), "{out}");
    let out = bench.expect(0, &["run", "kme", "--list-hooks", "--config", "without-hooks.toml"]);
    assert!(out.contains("drain_a        absent      014-ENC-029") && !out.contains("pass"), "{out}");
}

#[test]
fn an_authority_without_its_key_is_not_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qkdspec"));
        command.args(["init", "--pki", "--force"]).args(flags).current_dir(folder.path());
        said(command.output().expect("the program runs"))
    };
    let authority = folder.path().join("pki/ca.pem");
    let read = || fs::read(&authority).expect("an authority");
    assert_eq!(init(&[]).0, Some(0));
    let first = read();
    assert_eq!(init(&[]).0, Some(0));
    let second = read();
    assert_ne!(second, first, "with its key it is written over, if that is wanted");
    fs::remove_file(folder.path().join("pki/ca.key")).expect("removed");
    let (code, _, errors) = init(&[]);
    assert!(code == Some(2) && errors.contains("without ca.key") && errors.contains("not written over"), "{code:?} {errors}");
    assert_eq!(read(), second);
    let (code, out, _) = init(&["--sae-dir", "other", "--one-kme"]);
    assert!(code == Some(0) && out.contains("kme-a.pem  ") && !out.contains("kme-b"), "{out}");
    assert!(!folder.path().join("other/kme-b.pem").exists(), "there is one KME");
    let (_, out, _) = init(&["--sae-dir", "third"]);
    assert!(out.contains("kme-a.pem, kme-b.pem") && out.contains("claim \"tls.revocation\""), "{out}");
}

#[test]
fn one_kme_is_enough() {
    let bench = Bench::new("");
    let url = bench.0.toml.lines().find_map(|line| line.strip_prefix("base_url = ")).expect("a URL").trim_matches('"').to_owned();
    bench.expect(0, &["init", "--kme", &url, "--one-kme", "--out", "one.toml"]);
    assert!(bench.refused(&["init", "--one-kme", "--kme-b", &url, "--out", "x.toml"]).contains("--kme-b"));
    bench.expect(0, &["preflight", "--config", "one.toml"]);
    let out = bench.expect(0, &["run", "kme", "@014-smoke", "MC-001", "--config", "one.toml"]);
    assert!(out.contains("one KME only") && !out.contains("needs a slave"), "{out}");
    assert!(out.contains("because   by Status, multicast is offered"), "{out}");
}

#[test]
fn who_stops_reading_is_no_fault() {
    let bench = Bench::new("");
    let mut command = bench.command(&["list"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("the program runs");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0));
}

#[test]
fn a_report_says_from_which_commit_its_program_is() {
    let bench = Bench::new("");
    bench.expect(0, &["run", "kme", "STA-001", "--report", "r.json"]);
    let here = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    if here.is_ok_and(|output| output.status.success()) {
        assert_ne!(bench.json("r.json")["tool"]["commit"], "unknown");
    }
}

#[test]
fn every_command_has_an_example() {
    let bench = Bench::new("");
    let commands = |arguments: &[&str]| -> Vec<String> {
        let help = bench.expect(0, &[arguments, &["--help"]].concat());
        let listed = help.split_once("Commands:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default().to_owned());
        let listed = listed.unwrap_or_default();
        let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).filter(|name| name != "help").collect()
    };
    let mut leaves = 0;
    for command in commands(&[]) {
        let below = commands(&[&command]);
        let paths: Vec<Vec<&str>> =
            if below.is_empty() { vec![vec![&command]] } else { below.iter().map(|name| vec![command.as_str(), name]).collect() };
        for path in paths {
            let help = bench.expect(0, &[path.as_slice(), &["--help"]].concat());
            assert!(help.contains("Example"), "{path:?}: {help}");
            leaves += 1;
        }
    }
    assert!(leaves > 15, "{leaves}");
}

#[test]
fn the_catalogue_is_written_page_by_page() {
    let bench = Bench::new("");
    bench.expect(0, &["catalogue", "--dir", "purposes"]);
    let page = bench.read("purposes/014-DEC-006.md");
    for text in ["014-6.4-06", "stimulus", "accepted", "M102", "BSD-3-Clause"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(bench.read("purposes/README.md").contains("[014-DEC-006](014-DEC-006.md)"));
    assert!(bench.read("purposes/LICENSE").contains("Redistribution and use"));
    fs::write(bench.path("file"), "").expect("written");
    assert!(bench.refused(&["catalogue", "--dir", "file/purposes"]).contains("file/purposes"));
}
