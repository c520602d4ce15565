//! A report of every outcome is as the schema says, and an HTML page whose elements end where they begin. The reports stay in
//! the folder for tests (target/tmp/reports), where CI has another program judge them by the schema.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use qkdspec::{Config, Options, Report};
use serde_json::Value;
use support::Pair;

const SMOKE: &[&str] = &["@014-smoke", "MC-001", "MC-002", "DEC-023", "AUT-006"];

fn reported(fault: &'static str, change: impl FnOnce(&mut String, &mut Options, &Path)) -> Report {
    let pair = Pair::start(fault);
    let mut toml = pair.toml.clone();
    let mut options = Options::default();
    options.select = SMOKE.iter().map(|&case| case.to_owned()).collect();
    options.seed = Some(7);
    change(&mut toml, &mut options, pair.folder.path());
    let config = Config::parse(&toml, pair.folder.path()).expect("a configuration");
    qkdspec::run(config, &options, &mut std::io::sink()).expect("a report")
}

/// Reports with outcome and validity that they must have.
fn reports() -> Vec<(&'static str, &'static str, &'static str, Report)> {
    let expecting = |until: &'static str, case: &'static str| {
        move |_: &mut String, options: &mut Options, folder: &Path| {
            let file = folder.join("expected.toml");
            let text = format!("[[expect]]\ncase = \"{case}\"\nverdict = \"fail\"\nreason = \"<b>known</b>\"\nuntil = {until}\n");
            fs::write(&file, text).expect("written");
            options.expected = Some(file);
        }
    };
    let all =
        |_: &mut String, options: &mut Options, _: &Path| (options.select, options.fail_on) = (Vec::new(), "S,R,D,H".to_owned());
    vec![
        ("conforming", "conforming", "self-test", reported("", |_, _, _| ())),
        ("failing", "not-conforming", "self-test", reported("M100", |_, _, _| ())),
        ("hostile", "not-conforming", "self-test", reported("H06", all)),
        ("accepted", "not-conforming", "self-test", reported("M100", expecting("2999-12-31", "014-DEC-004"))),
        ("expired", "not-conforming", "self-test", reported("M100", expecting("2001-01-01", "014-DEC-004"))),
        ("mended", "conforming", "self-test", reported("", expecting("2999-12-31", "014-DEC-004"))),
        (
            "nothing-judged",
            "inconclusive",
            "self-test",
            reported("", |_, options, _| {
                (options.select, options.budget_keys) = (vec!["ENC-001".to_owned()], Some(0));
            }),
        ),
        (
            "interrupted",
            "inconclusive",
            "partial",
            reported("", |_, options, _| options.interrupted = Arc::new(AtomicBool::new(true))),
        ),
        ("laboratory", "conforming", "not-valid-for-claims", reported("", |_, options, _| options.insecure_lab = true)),
        ("without-ids", "conforming", "self-test", reported("", |_, options, _| options.hide_key_ids = true)),
        (
            "without-evidence",
            "not-conforming",
            "self-test",
            reported("M100", |_, options, _| options.evidence = "none".to_owned()),
        ),
        (
            "one-kme",
            "inconclusive",
            "self-test",
            reported("", |toml, _, _| {
                let kept = toml.lines().filter(|line| !["blue", "green", "grey"].iter().any(|name| line.starts_with(name)));
                let text = kept.collect::<Vec<_>>().join("\n");
                let (before, after) = text.split_once("[kme.b]").expect("a second KME");
                let after = after.split_once("[sae]").expect("SAEs").1;
                *toml = format!("{before}[sae]{after}")
                    .replace("slave = \"blue\"", "")
                    .replace("additional = [\"green\"]", "")
                    .replace("stranger = \"grey\"", "");
            }),
        ),
    ]
}

#[test]
fn reports_of_every_outcome_are_as_the_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../report.schema.json")).expect("a schema");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reports");
    // What an earlier version left.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    for (name, outcome, validity, report) in reports() {
        assert_eq!((report.summary.outcome.as_str(), report.validity.as_str()), (outcome, validity), "{name}");
        let text = serde_json::to_string_pretty(&report).expect("JSON");
        fs::write(folder.join(format!("{name}.json")), &text).expect("written");
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let mut errors = Vec::new();
        validate(&schema, &schema, &report, "$", &mut errors);
        assert!(errors.is_empty(), "{name}: {}", errors.join("\n"));
        let mut spoilt = report.clone();
        spoilt["cases"][0]["verdict"] = "perhaps".into();
        validate(&schema, &schema, &spoilt, "$", &mut errors);
        assert!(!errors.is_empty(), "the schema says nothing");
        page(&folder, name);
    }
}

/// Has the program make the page, and looks at it.
fn page(folder: &Path, name: &str) {
    let path = folder.join(format!("{name}.json")).to_string_lossy().into_owned();
    let code = qkdspec::cli::main(["qkdspec", "report", &path, "--to", "html"].map(Into::into));
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS), "{name}");
    let html = fs::read_to_string(folder.join(format!("{name}.html"))).expect("a page");
    for forbidden in ["<script", "<b>known", "http://", "src=", "@import", "url(", "\u{1b}", "\u{202e}"] {
        assert!(!html.contains(forbidden), "{name}: {forbidden:?}");
    }
    let mut open = Vec::new();
    for tag in html.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let element = tag.split_whitespace().next().unwrap_or_default().to_owned();
        match element.strip_prefix('/') {
            Some(end) => assert_eq!(open.pop().as_deref(), Some(end), "{name}: <{tag}>"),
            None if ["!doctype", "meta", "br", "input"].contains(&element.as_str()) => {}
            None => open.push(element),
        }
    }
    assert!(open.is_empty(), "{name}: {open:?}");
    let ids: Vec<_> =
        html.match_indices(" href=\"#").filter_map(|(at, found)| html[at + found.len()..].split('"').next()).collect();
    assert!(ids.iter().all(|id| html.contains(&format!("id=\"{id}\""))), "{name}: {ids:?}");
    let links: Vec<_> = ids.iter().filter(|id| id.starts_with("014-")).collect();
    let with_faults =
        ["failing", "hostile", "accepted", "expired", "mended", "nothing-judged", "interrupted", "without-evidence"];
    assert!(links.is_empty() != with_faults.contains(&name), "{name}: {links:?}");
    assert!(ids.iter().any(|id| id.starts_with("g-014-")) && ids.iter().all(|id| !id.is_empty()), "{name}: {ids:?}");
}

/// The part of JSON Schema that the schema uses.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        return validate(root, &root["$defs"][reference.trim_start_matches("#/$defs/")], value, at, errors);
    }
    let fits = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    let kinds: Vec<_> = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !kinds.is_empty() && !kinds.iter().any(|kind| fits(kind)) {
        errors.push(format!("{at}: not {kinds:?}"));
    }
    if schema["const"] != Value::Null && schema["const"] != *value {
        errors.push(format!("{at}: not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        errors.push(format!("{at}: {value} is not allowed"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            errors.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(name), schema["additionalProperties"] == Value::Bool(false)) {
            (Some(schema), _) => validate(root, schema, member, &format!("{at}.{name}"), errors),
            (None, true) => errors.push(format!("{at}: {name} is unknown")),
            (None, false) => {}
        }
    }
    if schema["items"].is_object() {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            validate(root, &schema["items"], item, &format!("{at}[{index}]"), errors);
        }
    }
}
