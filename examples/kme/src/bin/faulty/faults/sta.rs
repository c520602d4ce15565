//! Get status.

use serde_json::{Map, Value, json};

use crate::exchange::{Asked, Operation, Said};
use crate::fault::Fault;
use crate::front::{Kme, Side};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M024", "Status answers 201").response(|_, asked, said| {
        if asked.operation() == Operation::Status && said.status == 200 {
            said.status = 201;
        }
    }),
    Fault::new("M025", "`target_KME_ID` missing").response(|_, asked, said| {
        status(asked, said, |status| drop(status.remove("target_KME_ID")));
    }),
    Fault::new("M026", "`source_kme_id` in lower case").response(|_, asked, said| {
        status(asked, said, |status| {
            let id = status.remove("source_KME_ID").unwrap_or_default();
            status.insert("source_kme_id".to_owned(), id);
        });
    }),
    Fault::new("M027", "`key_size` as string").response(|_, asked, said| set(asked, said, "key_size", json!("256"))),
    Fault::new("M028", "`target_KME_ID` integer 0 for unknown slave, with 200").around(|kme, asked| {
        Box::pin(async move {
            let mut said = kme.ask(&asked).await;
            if asked.gets(Operation::Status) && said.refuses("unknown SAE ID") {
                let peer = asked.peer().unwrap_or_default();
                let mut other = asked.clone();
                other.set_peer(known(&kme));
                said = kme.ask(&other).await;
                status(&other, &mut said, |status| {
                    status.insert("target_KME_ID".to_owned(), json!(0));
                    status.insert("slave_SAE_ID".to_owned(), json!(peer));
                });
            }
            said
        })
    }),
    Fault::new("M029", "empty `source_KME_ID`, changing per call").response(|kme, asked, said| {
        if asked.operation() == Operation::Status {
            let call = kme.count("status");
            let id = if call.is_multiple_of(2) { format!("kme-{call}") } else { String::new() };
            set(asked, said, "source_KME_ID", json!(id));
        }
    }),
    Fault::new("M030", "`slave_SAE_ID` echoes the still-encoded path").response(|_, asked, said| {
        let segment = asked.segment().map(str::to_owned);
        set(asked, said, "slave_SAE_ID", json!(segment));
    }),
    Fault::new("M031", "B reports its own ID as target").response(|kme, asked, said| {
        if kme.side == Side::South {
            set(asked, said, "target_KME_ID", json!("south"));
        }
    }),
    Fault::new("M032", "default size above max_key_size: no more than 128 bits are given, and 256 unless asked otherwise")
        .around(|kme, asked| {
            Box::pin(async move {
                let size = if asked.is_get() { asked.parameters("size").pop().and_then(|size| size.parse().ok()) } else { None };
                let size = size.or_else(|| asked.json().and_then(|body| body["size"].as_u64()));
                if asked.operation() == Operation::GetKey && size.is_some_and(|size| size > 128 && size.is_multiple_of(8)) {
                    return Said::error(400, "size is not between min_key_size and max_key_size");
                }
                kme.ask(&asked).await
            })
        })
        .response(|_, asked, said| set(asked, said, "max_key_size", json!(128))),
    Fault::new("M033", "stored_key_count negative").response(|_, asked, said| set(asked, said, "stored_key_count", json!(-1))),
    Fault::new("M034", "all limits reported as 0").response(|_, asked, said| {
        for limit in ["max_key_count", "max_key_per_request", "max_key_size", "min_key_size", "max_SAE_ID_count"] {
            set(asked, said, limit, json!(0));
        }
    }),
    Fault::new("M035", "max_SAE_ID_count 5 although multicast is refused, and claimed not to be there")
        .settings(|settings| settings.without_multicast())
        .response(|_, asked, said| set(asked, said, "max_SAE_ID_count", json!(5))),
    Fault::new("M036", "each Status read discards a key").around(|kme, asked| {
        Box::pin(async move {
            let (Operation::Status, Some(caller), Some(peer)) = (asked.operation(), asked.caller.clone(), asked.peer()) else {
                return kme.ask(&asked).await;
            };
            kme.draw(&caller, &peer, &json!({})).await;
            let mut said = kme.ask(&asked).await;
            // Refilling does not hide it.
            let pair = format!("{caller} {peer}");
            status(&asked, &mut said, |status| {
                let mut notes = kme.notes();
                let last = notes.counts.entry(pair).or_insert(u64::MAX);
                let stored = status.get("stored_key_count").and_then(Value::as_u64).unwrap_or_default();
                *last = stored.min(last.saturating_sub(1));
                status.insert("stored_key_count".to_owned(), json!(*last));
            });
            said
        })
    }),
    Fault::new("M037", "`status_extension` is a string")
        .response(|_, asked, said| set(asked, said, "status_extension", json!("none"))),
    Fault::new("M038", "POST on status answers Status").request(|_, asked| {
        if asked.posts(Operation::Status) {
            asked.method = http::Method::GET;
            asked.body = bytes::Bytes::new();
        }
    }),
    Fault::new("M039", "splits the decoded path at `/`, so such IDs are not found").around(|kme, asked| {
        Box::pin(async move {
            if asked.peer().is_some_and(|peer| peer.contains('/')) {
                return Said::error(404, "no such method");
            }
            kme.ask(&asked).await
        })
    }),
];

/// Changes a Status.
pub(super) fn status(asked: &Asked, said: &mut Said, change: impl FnOnce(&mut Map<String, Value>)) {
    if asked.operation() == Operation::Status && said.status == 200 {
        said.edit(change);
    }
}

/// Sets a member of Status.
pub(super) fn set(asked: &Asked, said: &mut Said, member: &str, value: Value) {
    status(asked, said, |status| drop(status.insert(member.to_owned(), value)));
}

/// An SAE of the other KME.
pub(super) fn known(kme: &Kme) -> &'static str {
    if kme.side == Side::North { "grey" } else { "red" }
}
