//! The program of faulty KMEs.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn faulty() -> Command {
    Command::new(env!("CARGO_BIN_EXE_faulty"))
}

#[test]
fn the_list_has_each_fault_once() {
    let output = faulty().args(["list", "--json"]).output().expect("it runs");
    let list: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let ids: Vec<_> = list.iter().map(|fault| fault["id"].as_str().expect("an id").to_owned()).collect();
    assert!(ids.contains(&"M024".to_owned()));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for fault in &list {
        let id = fault["id"].as_str().expect("an id");
        let (letter, number) = id.split_at(1);
        let kind = [("M", "mutant"), ("B", "variant"), ("H", "hostile")].iter().find(|(known, _)| *known == letter);
        assert_eq!(fault["kind"], kind.expect("a known letter").1, "{id}");
        assert!(number.parse::<u32>().is_ok_and(|number| number > 0), "{id}");
        assert!(fault["what"].as_str().is_some_and(|what| !what.is_empty()), "{id}");
    }
}

#[test]
fn it_says_when_it_is_ready_and_ends_with_its_standard_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("laboratory");
    let mut child = faulty()
        .args(["serve", "--fault", "M024", "--dir"])
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = lines.next().expect("a line").expect("text");
    let file = line.strip_prefix("ready ").expect("ready");
    let configuration = std::fs::read_to_string(file).expect("a configuration");
    assert!(configuration.contains("[kme.b]"), "{configuration}");
    for hook in ["link_down", "link_up"] {
        let status = faulty().arg("hook").arg("--dir").arg(&dir).arg(hook).status().expect("it runs");
        assert!(status.success(), "{hook}");
    }
    let unknown = faulty().arg("hook").arg("--dir").arg(&dir).arg("explode").output().expect("it runs");
    assert_eq!(unknown.status.code(), Some(1));
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert!(lines.next().is_none(), "one line only");
}

#[test]
fn an_unknown_fault_is_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = faulty().args(["serve", "--fault", "M999", "--dir"]).arg(folder.path()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("faulty list"));
}
