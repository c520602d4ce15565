//! Extensions, and additional slaves.

use serde_json::{Value, json};

use super::enc::reword;
use super::keys::flipped;
use super::sta::set;
use crate::exchange::{Asked, MANDATORY, Operation, Said, UNMET};
use crate::fault::Fault;
use crate::front::{Kme, Side};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M076", "mandatory extensions ignored").request(|_, asked| {
        if listed(asked, "extension_mandatory") {
            asked.edit(|body| drop(body.remove("extension_mandatory")));
        }
    }),
    Fault::new("M077", "mandatory extension refused with another sentence")
        .response(|_, _, said| reword(said, MANDATORY, "unknown extension")),
    Fault::new("M078", "mandatory extension refused, key drawn all the same").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            if said.refuses(MANDATORY) {
                let mut drawn = asked;
                drawn.edit(|body| drop(body.remove("extension_mandatory")));
                kme.ask(&drawn).await;
            }
            said
        })
    }),
    Fault::new("M079", "unknown optional extension refused with another sentence").around(|kme, asked| {
        Box::pin(async move {
            if listed(&asked, "extension_optional") && !listed(&asked, "extension_mandatory") {
                return Said::error(400, "unknown optional extension");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M080", "optional values other than strings crash the parser (500)").around(|kme, asked| {
        Box::pin(async move {
            let body = asked.json().unwrap_or_default();
            let objects = body["extension_optional"].as_array().cloned().unwrap_or_default();
            let odd =
                objects.iter().filter_map(Value::as_object).flat_map(|object| object.values()).any(|value| !value.is_string());
            if asked.posts(Operation::GetKey) && odd && !listed(&asked, "extension_mandatory") {
                return Said::error(500, "internal error");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M081", "empty extension arrays refused").around(|kme, asked| {
        Box::pin(async move {
            let body = asked.json().unwrap_or_default();
            let empty = |name: &str| body[name].as_array().is_some_and(Vec::is_empty);
            if asked.posts(Operation::GetKey) && (empty("extension_mandatory") || empty("extension_optional")) {
                return Said::error(400, "an extension array is empty");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M082", "optional present switches the mandatory check off").request(|_, asked| {
        if listed(asked, "extension_optional") && listed(asked, "extension_mandatory") {
            asked.edit(|body| drop(body.remove("extension_mandatory")));
        }
    }),
    Fault::new("M083", "unmeetable parameter silently relaxed, in KMEs that handle the mandatory extension hx_path")
        .settings(|settings| settings.claim("ext.mandatory", PATH_CLAIM))
        .request(|_, asked| {
            if path(asked).is_some() {
                asked.edit(|body| drop(body.remove("extension_mandatory")));
            }
        }),
    Fault::new("M084", "declared mandatory parameter refused")
        .settings(|settings| settings.claim("ext.mandatory", r#"[{ name = "hx_path", ok = "direct" }]"#)),
    Fault::new("M085", "extension given as object accepted and dropped").request(|_, asked| {
        if asked.posts(Operation::GetKey) {
            asked.edit(|body| {
                for name in ["extension_mandatory", "extension_optional"] {
                    if body.get(name).is_some_and(Value::is_object) {
                        body.remove(name);
                    }
                }
            });
        }
    }),
    Fault::new("M086", "multicast not supported, list of enrolled SAEs ignored")
        .settings(|settings| settings.without_multicast())
        .request(|_, asked| {
            let list = slaves(asked);
            let enrolled = |sae: &Value| sae.as_str().is_some_and(|sae| Side::of(sae).is_some());
            if list.is_some_and(|list| list.iter().all(enrolled)) {
                asked.edit(|body| drop(body.remove(SLAVES)));
            }
        }),
    Fault::new("M087", "additional slave gets other bytes under the same ID").response(|kme, asked, said| {
        if asked.operation() == Operation::GetKeyWithIds {
            said.edit_keys(|id, text| {
                let additional =
                    |drawn: &crate::book::Drawn| drawn.slaves.iter().skip(1).any(|sae| Some(sae) == asked.caller.as_ref());
                if kme.drawn(id).as_ref().is_some_and(additional) {
                    *text = flipped(text);
                }
            });
        }
    }),
    Fault::new("M088", "first retrieval deletes the key for all slaves").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            if asked.operation() == Operation::GetKeyWithIds {
                for (id, _) in said.keys() {
                    kme.burn(&id).await;
                }
            }
            said
        })
    }),
    Fault::new("M089", "additional slaves stored as wildcard").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let wild = |id: &String| kme.drawn(id).is_some_and(|drawn| drawn.slaves.len() > 1);
            let refused = asked.operation() == Operation::GetKeyWithIds && said.status == 401;
            if refused && kme.serves(asked.caller.as_ref()) && asked.ids().iter().all(wild) {
                return super::aut::as_slaves(&kme, &asked).await.unwrap_or(said);
            }
            said
        })
    }),
    Fault::new("M090", "list length unchecked")
        .settings(|settings| settings.northbound("max_additional_slaves", 4))
        .response(|_, asked, said| set(asked, said, "max_SAE_ID_count", json!(2))),
    Fault::new("M091", "unknown SAEs in the list dropped in silence").request(|_, asked| {
        let Some(mut list) = slaves(asked) else { return };
        let before = list.len();
        // What is no text is refused as ever.
        list.retain(|sae| sae.as_str().is_none_or(|sae| Side::of(sae).is_some()));
        // A list that is too long without them is so with them.
        if list.len() < before && before <= 2 {
            asked.edit(|body| {
                drop(if list.is_empty() { body.remove(SLAVES) } else { body.insert(SLAVES.to_owned(), json!(list)) })
            });
        }
    }),
    Fault::new("M092", "list as string treated as list of characters, which name nobody and are dropped").request(|_, asked| {
        if asked.posts(Operation::GetKey) && asked.json().is_some_and(|body| body[SLAVES].is_string()) {
            asked.edit(|body| drop(body.remove(SLAVES)));
        }
    }),
];

const SLAVES: &str = "additional_slave_SAE_IDs";
/// The mandatory extension of KMEs that have one.
pub(super) const PATH_CLAIM: &str = r#"[{ name = "hx_path", ok = "direct", impossible = "by-moon" }]"#;

/// Whether that extension is given, as an array of objects that is not empty.
pub(super) fn listed(asked: &Asked, name: &str) -> bool {
    let list = asked.json().and_then(|body| body[name].as_array().cloned()).unwrap_or_default();
    asked.posts(Operation::GetKey) && !list.is_empty() && list.iter().all(Value::is_object)
}

fn slaves(asked: &Asked) -> Option<Vec<Value>> {
    let list = asked.json().and_then(|body| body[SLAVES].as_array().cloned())?;
    (asked.posts(Operation::GetKey) && !list.is_empty()).then_some(list)
}

/// What is asked for of the mandatory extension `hx_path`, if nothing else is mandatory.
pub(super) fn path(asked: &Asked) -> Option<Value> {
    let list = asked.json().and_then(|body| body["extension_mandatory"].as_array().cloned())?;
    let mut named = list.iter().filter_map(Value::as_object).flatten();
    match (named.next(), named.next()) {
        (Some((name, value)), None) if name == "hx_path" && listed(asked, "extension_mandatory") => Some(value.clone()),
        _ => None,
    }
}

/// The answer of a KME that handles `hx_path`, to be met directly only.
pub(super) async fn with_path(kme: &Kme, mut asked: Asked) -> Said {
    match path(&asked) {
        Some(value) if value == "direct" => {
            asked.edit(|body| drop(body.remove("extension_mandatory")));
            kme.ask(&asked).await
        }
        Some(_) => Said::error(400, UNMET),
        None => kme.ask(&asked).await,
    }
}
