//! The corpus as an ordinary test: no target panics, and each input fares as its name says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::{Outcome, TARGETS};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

#[test]
fn every_input_fares_as_its_name_says() {
    for (target, body) in TARGETS {
        let corpus = folder("corpus").join(target);
        let mut seen = BTreeSet::new();
        for name in names(&corpus) {
            println!("{target}/{name}");
            let outcome = body(&fs::read(corpus.join(&name)).expect("readable"));
            match name.split_once('-') {
                Some(("ok", _)) => assert_eq!(outcome, Outcome::Accepted, "{target}/{name}"),
                Some(("bad", _)) => assert_eq!(outcome, Outcome::Refused, "{target}/{name}"),
                // found by a run on this machine
                _ => continue,
            }
            seen.insert(outcome == Outcome::Accepted);
        }
        assert_eq!(seen.len(), 2, "{target} wants inputs of both kinds");
    }
}

#[test]
fn targets_have_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("corpus")), targets);
    let programs: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), programs);
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("readable");
    for target in &targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is not in Cargo.toml");
    }
}

/// How many places in each input are changed.
const NEIGHBOURS: usize = 24;

#[test]
fn neighbours_of_the_corpus_do_not_panic() {
    for (target, body) in TARGETS {
        let corpus = folder("corpus").join(target);
        for name in names(&corpus).into_iter().filter(|name| name.starts_with("ok-") || name.starts_with("bad-")) {
            let input = fs::read(corpus.join(&name)).expect("readable");
            for at in (0..input.len()).step_by(1 + input.len() / NEIGHBOURS) {
                body(&input[..at]);
                let mut changed = input.clone();
                for octet in [b'"', 0xff, input[at] ^ 1] {
                    changed[at] = octet;
                    body(&changed);
                }
            }
        }
    }
}
