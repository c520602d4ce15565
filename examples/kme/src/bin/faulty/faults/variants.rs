//! Other ways to conform: nothing may be said against them.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::err::error;
use super::ext::{PATH_CLAIM, listed, with_path};
use super::keys::octets;
use super::sta::{set, status};
use crate::exchange::{Asked, OPTIONAL, Operation, SIZE, Said};
use crate::fault::Fault;
use crate::front::Kme;
use crate::raw::{Odd, serve};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("B01", "honours 257-bit keys (zero bits appended on the right)")
        .settings(|settings| settings.claim("size.any-bit", true))
        .around(|kme, asked| Box::pin(async move { any_bit(&kme, asked).await }))
        .response(|kme, _, said| {
            said.edit_keys(|id, text| {
                if let Some(bits) = kme.notes().counts.get(&format!("bits of {}", id.to_ascii_lowercase())) {
                    let mut octets = octets(text);
                    if let Some(last) = octets.last_mut() {
                        *last &= 0xff << (8 - bits % 8);
                    }
                    *text = Base64::encode_string(&octets);
                }
            });
        }),
    Fault::new("B02", "refuses 257 bits with the mandated sentence, every letter of it escaped, and with details").response(
        |_, _, said| {
            if said.status == 400 && said.message() == SIZE {
                let escaped: String = SIZE.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
                said.body = format!("{{\"details\":[{{\"size\":\"256 or 264\"}}],\"message\":\"{escaped}\"}}").into();
            }
        },
    ),
    Fault::new("B03", "refuses ignored optional extensions with the mandated sentence").around(|kme, asked| {
        Box::pin(async move {
            if listed(&asked, "extension_optional") && !listed(&asked, "extension_mandatory") {
                return Said::error(400, OPTIONAL);
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("B07", "refuses an un-enrolled SAE by HTTP 401 with empty body").response(|kme, asked, said| {
        if said.status == 401 && !kme.serves(asked.caller.as_ref()) {
            said.body = bytes::Bytes::new();
            said.headers.remove("content-type");
        }
    }),
    Fault::new("B08", "refuses an un-enrolled SAE by HTTP 401 with Error body, details and WWW-Authenticate, and closes")
        .response(|kme, asked, said| {
            if said.status == 401 && !kme.serves(asked.caller.as_ref()) {
                said.edit(|body| {
                    drop(body.insert("details".to_owned(), json!([{ "enrolled": false }, { "contact": "operator" }])))
                });
                said.header("www-authenticate", "Certificate realm=\"kme\"");
                said.header("connection", "close");
            }
        }),
    Fault::new("B09", "401 for a stranger's existing ID, in the words of the 400 for an unknown one").response(
        |_, asked, said| {
            if said.status == 401 && asked.operation() == Operation::GetKeyWithIds {
                said.set_json(&json!({ "message": Said::not_found().message() }));
            }
        },
    ),
    Fault::new("B10", "upper-case UUIDs").response(|_, _, said| said.edit_keys(|id, _| id.make_ascii_uppercase())),
    Fault::new("B11", "UUIDs of version 1")
        .request(|kme, asked| {
            if asked.operation() == Operation::GetKeyWithIds {
                asked.map_ids(|id| kme.notes().texts.get(&id.to_ascii_lowercase()).cloned());
            }
        })
        .response(|kme, _, said| {
            said.edit_keys(|id, _| {
                let mut other = id.clone();
                if other.len() == 36 {
                    other.replace_range(14..15, "1");
                    kme.notes().texts.insert(other.clone(), id.clone());
                    *id = other;
                }
            });
        }),
    Fault::new("B12", "keys returned in another order than asked").response(|_, asked, said| {
        if asked.operation() == Operation::GetKeyWithIds && said.status == 200 {
            let mut keys = said.keys();
            keys.reverse();
            *said = Said::container(&keys);
        }
    }),
    Fault::new("B13", "`Content-Type: application/json; charset=utf-8`").response(|_, _, said| {
        if !said.body.is_empty() {
            said.header("content-type", "Application/JSON; charset=utf-8");
        }
    }),
    Fault::new("B14", "chunked answers, members in another order, pretty-printed JSON")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { chunked: true, ..Odd::default() })))
        .response(|_, _, said| {
            if let Some(body) = said.json() {
                said.body = backwards(&body, 0).into();
            }
        }),
    Fault::new("B15", "non-ASCII and escaped text in `message`").response(|_, _, said| {
        let message = said.message();
        let free =
            !message.is_empty() && !message.contains("extension_") && message != SIZE && !message.contains("not found on KME");
        if said.status >= 400 && free {
            said.body =
                format!("{{\"message\":\"\\u00e9chou\\u00E9 \u{2603} \\\"\\/\\\\ \\ud83d\\ude00 {} octets\"}}", message.len())
                    .into();
        }
    }),
    Fault::new("B16", "`details` with several objects and nested values").response(|_, _, said| {
        let details = json!([{ "a": 1 }, { "b": { "c": [null, { "d": "e" }], "f": [] } }, {}]);
        error(said, |body| drop(body.insert("details".to_owned(), details)));
    }),
    Fault::new("B17", "extra members in Status and Error").response(|_, asked, said| {
        let extra = json!({ "more": ["text", 1.5, null] });
        if asked.operation() == Operation::Status || said.status >= 400 {
            said.edit(|body| drop(body.insert("hx_extra".to_owned(), extra)));
        }
    }),
    Fault::new("B18", "`status_extension`, `key_extension` objects present").response(|_, asked, said| {
        set(asked, said, "status_extension", json!({ "hx_load": { "now": 0.5 } }));
        said.edit(|body| {
            let Some(keys) = body.get_mut("keys").and_then(Value::as_array_mut) else { return };
            for key in keys {
                key["key_extension"] = json!({ "hx_label": "direct" });
                key["key_ID_extension"] = json!({});
            }
            body.insert("key_container_extension".to_owned(), json!({ "hx_batch": 1 }));
        });
    }),
    Fault::new("B19", "one fixed key size (min = default = max)").settings(|settings| {
        settings.northbound("min_key_size", 256);
        settings.northbound("max_key_size", 256);
    }),
    Fault::new("B20", "max_key_per_request 1").settings(|settings| settings.northbound("max_keys_per_request", 1)),
    Fault::new("B21", "stored_key_count 0 while refilling (503 thrice, within 150 ms) after every 20th Get key").around(
        |kme, asked| {
            Box::pin(async move {
                let refill = format!("{:?} refill", kme.side);
                let began = kme.notes().times.get(&refill).copied();
                let recent = began.is_some_and(|began| began.elapsed() < Duration::from_millis(150));
                let refilling = recent && kme.notes().counts.get(&refill).is_some_and(|refusals| *refusals < 3);
                let mut said = kme.ask(&asked).await;
                if refilling {
                    set(&asked, &mut said, "stored_key_count", json!(0));
                }
                if asked.operation() == Operation::GetKey && said.status == 200 {
                    if refilling {
                        kme.count(&refill);
                        return Said::error(503, "not enough keys are stored");
                    }
                    if kme.count(&format!("{:?} drawn", kme.side)).is_multiple_of(20) {
                        let mut notes = kme.notes();
                        notes.times.insert(refill.clone(), std::time::Instant::now());
                        notes.counts.insert(refill, 0);
                    }
                }
                said
            })
        },
    ),
    Fault::new("B22", "very large limits (2^31 keys in a request and in store; more than 16 are not there at once: 503)")
        .around(|kme, asked| {
            Box::pin(async move {
                let said = kme.ask(&asked).await;
                let many = super::enc::number(&asked).is_some_and(|number| number <= 1 << 31);
                if said.refuses("number is larger than max_key_per_request") && many {
                    return Said::error(503, "not enough keys are stored");
                }
                said
            })
        })
        .response(|_, asked, said| {
            status(asked, said, |status| {
                for limit in ["max_key_per_request", "max_key_count"] {
                    status.insert(limit.to_owned(), json!(1_u64 << 31));
                }
            });
        }),
    Fault::new("B23", "answers after 900 ms, every twentieth time").around(|kme, asked| {
        Box::pin(async move {
            if kme.count("answers").is_multiple_of(20) {
                tokio::time::sleep(Duration::from_millis(900)).await;
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("B24", "closes the connection after each answer").response(|_, _, said| said.header("connection", "close")),
    Fault::new("B25", "unknown request members refused with 400").around(|kme, asked| {
        Box::pin(async move {
            let known: &[&str] = match asked.operation() {
                Operation::GetKey => &["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"],
                _ => &["key_IDs", "key_IDs_extension"],
            };
            let unknown =
                |body: &Value| body.as_object().is_some_and(|body| body.keys().any(|name| !known.contains(&name.as_str())));
            if asked.is_post() && kme.serves(asked.caller.as_ref()) && asked.json().as_ref().is_some_and(unknown) {
                return Said::error(400, "unknown member");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("B26", "empty additional list refused").around(|kme, asked| {
        Box::pin(async move {
            let empty = asked.json().is_some_and(|body| body["additional_slave_SAE_IDs"].as_array().is_some_and(Vec::is_empty));
            if asked.posts(Operation::GetKey) && empty {
                return Said::error(400, "additional_slave_SAE_IDs is empty");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("B27", "master allowed on its own key ID").around(|kme, asked| {
        Box::pin(async move {
            let own = |id: String| {
                kme.drawn(&id).filter(|drawn| asked.caller.as_ref() == Some(&drawn.master)).map(|drawn| (id, drawn.text))
            };
            let keys: Option<Vec<_>> = asked.ids().into_iter().map(own).collect();
            match keys {
                Some(keys) if asked.operation() == Operation::GetKeyWithIds && !keys.is_empty() => Said::container(&keys),
                _ => kme.ask(&asked).await,
            }
        })
    }),
    Fault::new("B28", "a key whose ID is given twice in a request is returned once").request(|_, asked| {
        let mut ids = asked.ids();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        if asked.posts(Operation::GetKeyWithIds) && ids.len() < all {
            *asked = asked.for_ids(&ids);
        }
    }),
    Fault::new("B29", "key retrievable only after half the declared settle time").around(|kme, asked| {
        Box::pin(async move {
            let early = |id: &String| kme.drawn(id).is_some_and(|drawn| drawn.since.elapsed() < Duration::from_millis(300));
            if asked.operation() == Operation::GetKeyWithIds && kme.serves(asked.caller.as_ref()) && asked.ids().iter().any(early)
            {
                return Said::not_found();
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("B30", "HTTP/2 as well as HTTP/1.1").settings(|settings| settings.northbound("http2", true)),
    Fault::new("B31", "SAE ID in the common name").settings(|settings| settings.northbound("sae_id", "{ from = \"cn\" }")),
    Fault::new("B32", "keys live for some two seconds").settings(|settings| settings.with_short_life()),
    Fault::new("B33", "handles the mandatory extension hx_path")
        .settings(|settings| settings.claim("ext.mandatory", PATH_CLAIM))
        .around(|kme, asked| Box::pin(async move { with_path(&kme, asked).await })),
    Fault::new("B34", "no multicast").settings(|settings| settings.without_multicast()),
];

/// Sizes that are no multiple of 8: a key of the next whole octets, whose last bits are set to zero wherever it is given.
async fn any_bit(kme: &Kme, mut asked: Asked) -> Said {
    let size = super::enc::size(&asked).filter(|size| !size.is_multiple_of(8));
    let (Some(size), Operation::GetKey) = (size, asked.operation()) else { return kme.ask(&asked).await };
    super::enc::set_size(&mut asked, Some(size.next_multiple_of(8)));
    let said = kme.ask(&asked).await;
    for (id, _) in said.keys() {
        kme.notes().counts.insert(format!("bits of {}", id.to_ascii_lowercase()), size);
    }
    said
}

/// Pretty-printed, with members in the opposite order.
fn backwards(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    match value {
        Value::Object(object) if !object.is_empty() => {
            let members =
                object.iter().rev().map(|(name, value)| format!("{indent}{} : {}", json!(name), backwards(value, depth + 1)));
            format!("{{\r\n{}\r\n{end}}}", members.collect::<Vec<_>>().join(",\r\n"))
        }
        Value::Array(list) if !list.is_empty() => {
            let items = list.iter().map(|item| format!("{indent}{}", backwards(item, depth + 1)));
            format!("[\r\n{}\r\n{end}]", items.collect::<Vec<_>>().join(",\r\n"))
        }
        plain => plain.to_string(),
    }
}
