//! Which strings of a report a KME may have had a say in, so that they can be searched, blanked and rewritten.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Members that hold nothing but our own words and the configuration's. What is in no list is taken for foreign.
const OWN: [&str; 25] = [
    "schema",
    "tool",
    "validity",
    "product",
    "base_url",
    "plan",
    "claims",
    "summary",
    "environment",
    "id",
    "title",
    "level",
    "requirements",
    "ambiguities",
    "impact",
    "status",
    "verdict",
    "expected",
    "ics_expression",
    "part",
    "started",
    "replay",
    "actor",
    "master",
    "slaves",
];

/// A copy of a report, or of a part of one, in which `change` was made to every string a KME may have had a say in.
pub(crate) fn with_foreign<T: Serialize + DeserializeOwned>(
    whole: &T,
    change: &mut dyn FnMut(&mut String),
) -> Result<T, serde_json::Error> {
    let mut value = serde_json::to_value(whole)?;
    walk(&mut value, change);
    serde_json::from_value(value)
}

/// The same without what a KME may have had a say in.
pub(crate) fn blanked<T: Serialize + DeserializeOwned>(whole: &T) -> Result<T, serde_json::Error> {
    with_foreign(whole, &mut String::clear)
}

fn walk(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, change)),
        Value::Object(members) => {
            members.iter_mut().filter(|(name, _)| !OWN.contains(&name.as_str())).for_each(|(_, value)| walk(value, change));
        }
        _ => {}
    }
}
