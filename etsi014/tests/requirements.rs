//! `REQUIREMENTS.md` names every requirement of the standard once, and only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The requirements of each clause.
const CLAUSES: [(&str, RangeInclusive<u32>); 10] = [
    ("4", 1..=13),
    ("5.1", 1..=12),
    ("5.2", 1..=6),
    ("5.3", 1..=8),
    ("5.4", 1..=6),
    ("6.1", 1..=5),
    ("6.2", 1..=19),
    ("6.3", 1..=5),
    ("6.4", 1..=6),
    ("6.5", 1..=3),
];

fn manifest_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of each row: id, what, met by, tests.
fn rows() -> Vec<[String; 4]> {
    let table = fs::read_to_string(manifest_dir().join("REQUIREMENTS.md")).expect("REQUIREMENTS.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| 014-")?.strip_suffix('|'));
    rows.map(|row| {
        let cells: Vec<String> = format!("014-{row}").split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("four cells, not {cells:?}"))
    })
    .collect()
}

fn expected_ids() -> Vec<String> {
    CLAUSES.iter().flat_map(|(clause, numbers)| numbers.clone().map(move |number| format!("014-{clause}-{number:02}"))).collect()
}

#[test]
fn every_requirement_has_one_row() {
    let found: Vec<String> = rows().into_iter().map(|[id, ..]| id).collect();
    assert_eq!(found, expected_ids());
}

/// Set `QKD_014_REQUIREMENTS` to a text that has each requirement in a table row of its own to compare with that, too.
#[test]
fn the_list_of_requirements_is_that_of_the_given_text() {
    let expected: BTreeSet<String> = expected_ids().into_iter().collect();
    assert_eq!(expected.len(), 83);
    let Some(path) = std::env::var_os("QKD_014_REQUIREMENTS") else {
        println!("QKD_014_REQUIREMENTS is not set: no text to compare with");
        return;
    };
    let text = fs::read_to_string(path).expect("a text");
    let ids = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next().filter(|id| id.starts_with("014-")));
    assert_eq!(ids.map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_row_says_where_and_how() {
    for [id, what, met_by, tests] in rows() {
        assert!(!what.is_empty() && !met_by.is_empty(), "{id}");
        let reason = ["kme:", "deployment:", "untestable:"].iter().find_map(|kind| tests.strip_prefix(kind));
        match reason {
            Some(reason) => assert!(reason.trim().len() > 5, "{id}: a reason"),
            None => {
                assert!(tests.starts_with('`'), "{id}: tests or a reason");
                assert_ne!(met_by, "-", "{id}: what is tested here is here");
            }
        }
    }
}

#[test]
fn every_named_test_exists() {
    let mut sources = String::new();
    collect_sources(&workspace_root(), &mut sources);
    let tests: BTreeSet<&str> = test_names(&sources).collect();
    let mut named = 0;
    for [id, _, _, cell] in rows() {
        for name in cell.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "{id} names the test {name}, which does not exist");
            named += 1;
        }
    }
    assert!(named > 80, "{named}");
}

/// The functions below a `#[test]`, `#[tokio::test]` or within `proptest!`.
fn test_names(sources: &str) -> impl Iterator<Item = &str> {
    let mut below_attribute = false;
    sources.lines().filter_map(move |line| {
        let line = line.trim();
        let attribute = line.starts_with("#[") && line.contains("test");
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        let test = name.filter(|_| below_attribute);
        // other attributes may stand between
        below_attribute = attribute || (below_attribute && line.starts_with("#["));
        test
    })
}

fn workspace_root() -> PathBuf {
    let parent = manifest_dir().parent().unwrap_or(manifest_dir());
    let manifest = fs::read_to_string(parent.join("Cargo.toml")).unwrap_or_default();
    if manifest.contains("[workspace]") { parent.to_owned() } else { manifest_dir().to_owned() }
}

fn collect_sources(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect_sources(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap_or_default());
            sources.push('\n');
        }
    }
}
