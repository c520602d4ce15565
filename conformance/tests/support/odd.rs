//! What KMEs do that is not wrong in itself, or not in the way that a case looks for, and harms a careless harness.

use serde_json::{Value, json};

use super::api::random_id;
use super::{Asked, Said, State};

pub(crate) fn spoil(asked: &Asked, said: &mut Said, state: &State) {
    let Ok(mut body) = serde_json::from_slice::<Value>(&said.body) else { return };
    let first = |body: &mut Value, name: &str, value: Value| {
        if let Some(key) = body["keys"].get_mut(0) {
            key[name] = value;
        }
    };
    let is_key = asked.target.contains("/enc_keys") && said.status == 200;
    match state.fault {
        // Conforms: names of details are free.
        "H10" if said.status >= 400 => {
            body["details"] = json!([{ "key": "size", "value": "257" }, { "key": "keyContainer" }, { "key": 8 }]);
        }
        // Keys that are words of a report.
        "H11" if is_key => first(&mut body, "key", json!("Failures")),
        "H12" if is_key => {
            let id = body["keys"][0]["key_ID"].clone();
            first(&mut body, "key", id);
        }
        "H13" if is_key => body["keys"] = (0..3000).map(|_| json!({ "key_ID": random_id(), "key": "AAECAwQFBgc=" })).collect(),
        "H14" if is_key => {
            let id = format!("\u{1b}]0;x\u{7}\u{1b}[2J PASS \u{202e}\u{200b}{}", random_id());
            first(&mut body, "key_ID", json!(id));
            first(&mut body, "key", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        }
        "H15" if asked.target.ends_with("/status") => {
            for name in ["max_key_per_request", "min_key_size", "max_key_size", "key_size", "max_SAE_ID_count"] {
                body[name] = json!(u64::MAX);
            }
            said.body = body
                .to_string()
                .replace("\"stored_key_count\":", "\"stored_key_count\":-170141183460469231731687303715884105728,\"x\":")
                .into_bytes();
            return;
        }
        "H16" if asked.target.contains("/enc_keys") && asked.body.is_empty() && asked.method == "POST" => {
            said.status = 200;
            body["keys"] = (0..600).map(|_| json!({ "key_ID": random_id(), "key": "AAECAwQFBgc=" })).collect();
        }
        // A key under other names, and written in other ways.
        "H18" if is_key => {
            body["keys"][0]["value"] = json!("yAFNAwn6Bj0=");
            body["octets"] = json!([200, 1, 77, 3, 9, 250, 6, 61]);
            body["hex"] = json!("c8:01:4d:03:09:fa:06:3d");
            body["yAFNAwn6Bj0="] = json!(1);
        }
        "H19" if is_key => {
            first(&mut body, "key_ID", json!(["evidence", "requirements", "a b"][usize::try_from(state.count % 3).unwrap_or(0)]))
        }
        "H20" => {
            said.headers.extend((0..90).map(|index| (format!("X-{index}"), "words and words ".repeat(30))));
            return;
        }
        _ => return,
    }
    said.body = body.to_string().into_bytes();
}
