//! `REQUIREMENTS.md` names items and tests that exist, and every requirement that the sources cite.
//!
//! They are of the whole workspace: where this crate is alone, as in its package, there is nothing to look them up in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PREFIX: &str = "Y3803-";

/// A row of the table.
struct Row {
    id: String,
    level: String,
    what: String,
    met_by: String,
    tests: String,
}

fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REQUIREMENTS.md");
    let table = fs::read_to_string(path).expect("REQUIREMENTS.md");
    let rows = table.lines().filter(|line| line.starts_with(&format!("| {PREFIX}")));
    rows.map(|line| {
        let [id, level, what, met_by, tests] = cells(line).try_into().unwrap_or_else(|_| panic!("five cells: {line}"));
        Row { id, level, what, met_by, tests }
    })
    .collect()
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')).unwrap_or_default();
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn every_requirement_has_one_row_that_says_where_and_how() {
    let rows = rows();
    assert!(rows.len() > 50, "{}", rows.len());
    let mut ids = BTreeSet::new();
    for Row { id, level, what, met_by, tests } in rows {
        assert_eq!(ids_in(&id), [id.as_str()], "an id");
        assert!(ids.insert(id.clone()), "{id} is there twice");
        assert!(level.starts_with(['R', 'r', 'o']) && !what.is_empty() && !met_by.is_empty(), "{id}");
        match ["not yet:", "not ours:"].iter().find_map(|kind| tests.strip_prefix(kind)) {
            Some(reason) => assert!(reason.trim().len() > 20, "{id}: a reason"),
            None => {
                assert!(tests.starts_with('`'), "{id}: tests, or why there are none");
                assert!(met_by.contains('`'), "{id}: what is tested is somewhere");
            }
        }
    }
}

#[test]
fn every_item_and_every_test_exists() {
    let Some(workspace) = workspace() else { return };
    let (mut sources, mut items, mut named) = (BTreeMap::new(), 0, 0);
    let mut source = |id: &str, path: &str| -> String {
        assert!(path.ends_with(".rs"), "{id} names {path}, which is no source file");
        let read =
            || fs::read_to_string(workspace.join(path)).unwrap_or_else(|_| panic!("{id} names {path}, which is not there"));
        sources.entry(path.to_owned()).or_insert_with(read).clone()
    };
    for row in rows() {
        let id = &row.id;
        for (path, item, _) in references(id, &row.met_by) {
            assert!(defines(&source(id, path), item), "{id} names the item {item}, which is not in {path}");
            items += 1;
        }
        for (path, test, doc) in references(id, &row.tests) {
            let source = source(id, path);
            let exists = if doc { has_doc_test(&source, test) } else { test_names(&source).any(|name| name == test) };
            // What only gives a reason may name an item as well.
            let named_item = row.tests.starts_with("not ") && defines(&source, test);
            assert!(exists || named_item, "{id} names the test {test}, which is not in {path}");
            named += usize::from(exists);
        }
    }
    assert!(items > 50 && named > 80, "{items} items, {named} tests");
}

/// Each `path::item` between backticks, and whether a doc test of it is meant. What has no `::` is a word of the text.
fn references<'a>(id: &str, cell: &'a str) -> Vec<(&'a str, &'a str, bool)> {
    let parts: Vec<_> = cell.split('`').collect();
    assert!(parts.len() % 2 == 1, "{id}: a backtick is missing in {cell}");
    let quoted = (1..parts.len()).step_by(2).filter(|&at| parts[at].contains("::"));
    quoted
        .map(|at| {
            let (path, item) = parts[at].split_once("::").unwrap_or_default();
            (path, item, parts[at + 1].starts_with(" (doc test)"))
        })
        .collect()
}

/// Whether a source defines each part of `item`: the first as an item, the others as items, variants or fields.
fn defines(source: &str, item: &str) -> bool {
    item.split("::")
        .enumerate()
        .all(|(at, name)| source.lines().any(|line| is_item(line, name) || at > 0 && is_member(line, name)))
}

fn is_item(line: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 7] = ["const", "enum", "fn", "static", "struct", "trait", "type"];
    let line = line.trim();
    let words: Vec<_> = line.split(|letter: char| !is_word(letter)).filter(|word| !word.is_empty()).collect();
    !line.starts_with("//") && words.windows(2).any(|pair| KEYWORDS.contains(&pair[0]) && pair[1] == name)
}

fn is_member(line: &str, name: &str) -> bool {
    let line = line.trim();
    let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix(name);
    rest.is_some_and(|rest| rest == "," || [": ", " {", "("].iter().any(|begin| rest.starts_with(begin)))
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Whether there is code in the comment above an item.
fn has_doc_test(source: &str, item: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let Some(at) = lines.iter().position(|line| is_item(line, item)) else { return false };
    lines[..at]
        .iter()
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .any(|line| line.starts_with("/// ```"))
}

/// The functions below a `#[test]`, `#[tokio::test]` or within `proptest!`.
fn test_names(source: &str) -> impl Iterator<Item = &str> {
    let mut below_attribute = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        let attribute = line.starts_with("#[") && line.contains("test");
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        let test = name.filter(|_| below_attribute);
        // Other attributes may stand between.
        below_attribute = attribute || (below_attribute && line.starts_with("#["));
        test
    })
}

#[test]
fn every_requirement_that_is_cited_has_a_row() {
    let Some(workspace) = workspace() else { return };
    let ids: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    let mut cited = 0;
    for path in source_files(&workspace) {
        let source = fs::read_to_string(&path).expect("a source file");
        for id in ids_in(&source) {
            // Of a group, if it has no number of its own.
            let known = ids.contains(id) || ids.iter().any(|row| row.strip_prefix(id).is_some_and(|rest| rest.starts_with('-')));
            assert!(known, "{} cites {id}, which is not in the table", path.display());
            cited += 1;
        }
    }
    assert!(cited > 20, "{cited}");
}

/// Set `QKD_Y3803_REQUIREMENTS` to a text that has each requirement in a table row of its own, the level fourth, to compare with
/// that.
#[test]
fn the_list_of_requirements_is_that_of_the_given_text() {
    let Some(path) = std::env::var_os("QKD_Y3803_REQUIREMENTS") else {
        println!("QKD_Y3803_REQUIREMENTS is not set: no text to compare with");
        return;
    };
    let text = fs::read_to_string(path).expect("a text");
    let rows_there = text.lines().filter(|line| line.starts_with(&format!("| {PREFIX}"))).map(cells);
    let there: BTreeSet<_> = rows_there.map(|cells| (cells[0].clone(), cells[3].clone())).collect();
    let here: BTreeSet<_> = rows().into_iter().map(|row| (row.id, row.level)).collect();
    let only = |these: &BTreeSet<_>, those| these.difference(those).cloned().collect::<Vec<(String, String)>>();
    assert_eq!((only(&there, &here), only(&here, &there)), (Vec::new(), Vec::new()), "only there, only here");
}

/// What begins like an id and goes on with a number, without the punctuation of the sentence.
fn ids_in(text: &str) -> Vec<&str> {
    let ids = text.match_indices(PREFIX).filter_map(|(at, _)| {
        let rest = &text[at + PREFIX.len()..];
        let length = rest.find(|letter: char| !letter.is_ascii_digit() && !['.', '-'].contains(&letter)).unwrap_or(rest.len());
        let id = text[at..at + PREFIX.len() + length].trim_end_matches(['.', '-']);
        (id.len() > PREFIX.len()).then_some(id)
    });
    ids.collect()
}

/// The root of the workspace, if this crate is in it.
fn workspace() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let is_there = ["itu-y3803", "relay-core", "etsi014", "examples/kme"]
        .iter()
        .all(|folder| root.join(folder).join("Cargo.toml").is_file());
    if !is_there {
        println!("SKIPPED: the workspace is not around this crate");
    }
    is_there.then(|| root.to_owned())
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files.extend(source_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
