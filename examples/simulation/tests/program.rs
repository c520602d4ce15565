//! The program itself: what it prints, and its exit status.

#![allow(missing_docs)]

use std::process::{Command, Output};

fn simulation(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_simulation")).args(arguments).output().expect("it runs");
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
    (status.code().expect("an exit status"), text(stdout), text(stderr))
}

#[test]
fn topology_tells_the_optimum_and_what_cuts_leave() {
    let (status, out, _) = simulation(&["topology", "nobel-germany", "--cuts"]);
    assert_eq!(status, 0);
    assert!(out.contains("0.045455") && out.contains("SNDlib"), "{out}");
    // The worst comes first: Frankfurt.
    let worst = out.lines().skip_while(|line| !line.starts_with("cut")).nth(1).expect("a row");
    assert!(worst.starts_with("frankfurt ") && worst.ends_with("0.367"), "{worst}");
    let cuts = out.lines().skip_while(|line| !line.starts_with("cut")).skip(1);
    assert_eq!(cuts.filter(|line| line.contains(" node ") || line.contains(" link ")).count(), 17 + 26);
}

#[test]
fn a_file_is_read_and_a_wrong_one_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.json");
    let write = |links: &str| {
        let json = format!(
            r#"{{"name": "two", "about": "a", "source": "s", "nodes": [{{"name": "a"}}, {{"name": "b"}}], "links": [{links}]}}"#
        );
        std::fs::write(&path, json).expect("written");
    };
    let path_text = path.to_str().expect("text");
    write(r#"{"between": ["a", "b"]}"#);
    let (status, out, _) = simulation(&["topology", "--file", path_text]);
    assert!(status == 0 && out.contains("1.000000"), "{out}");
    write(r#"{"between": ["a", "a"]}"#);
    let (status, out, err) = simulation(&["topology", "--file", path_text]);
    assert!(status == 2 && out.is_empty() && err.contains("leads from a to itself"), "{err}");
    assert_eq!(simulation(&["topology", "nowhere"]).0, 2);
    assert_eq!(simulation(&["reroute", "--to", "nowhere"]).0, 2);
}

#[test]
fn soak_sums_up_and_tells_a_story() {
    let (status, out, err) = simulation(&["soak", "--seeds", "5"]);
    assert!(status == 0 && out.contains("Every promise held") && err.contains("5 of 5 seeds"), "{out}{err}");
    let (status, out, _) = simulation(&["soak", "--seeds", "1", "--from", "3", "--story"]);
    assert!(status == 0 && out.contains("n0 starts") && out.contains("is given"), "{out}");
    assert_eq!(simulation(&["soak", "--seeds", "2", "--story"]).0, 2);
}

#[test]
fn scale_measures_with_a_counting_allocator() {
    let (status, out, err) = simulation(&["scale", "--nodes", "60,100"]);
    assert_eq!(status, 0, "{out}{err}");
    let row = out.lines().filter(|line| line.starts_with("metropolitan-100-1")).nth(1).expect("a row of the database");
    let megabytes: f64 = row.split_whitespace().nth(2).expect("a cell").parse().expect("a number");
    assert!((0.01..1.0).contains(&megabytes), "{row}");
    assert_eq!(out.lines().filter(|line| line.starts_with("metropolitan-60-1")).count(), 5, "{out}");
}

#[test]
fn help_has_examples() {
    let (status, out, _) = simulation(&["--help"]);
    assert!(status == 0 && out.contains("Examples:") && out.contains("soak --seeds"), "{out}");
}
