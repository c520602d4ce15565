//! Faults that real KMEs were found to have, beyond those planned.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use serde_json::json;

use crate::exchange::{Operation, Said};
use crate::fault::Fault;
use crate::front::Side;
use crate::raw::{Odd, serve};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M171", "the process of KME A dies of clients that hang up after the handshake, the eighth time")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { dies_unasked: true, ..Odd::default() }))),
    Fault::new("M156", "both KMEs draw from one pool: under load on both, one hands out what the other has just handed out")
        .around(|kme, asked| {
            Box::pin(async move {
                if asked.operation() != Operation::GetKey {
                    return kme.ask(&asked).await;
                }
                let busy = kme.pair.busy[kme.side as usize].clone();
                let loaded = busy.fetch_add(1, Ordering::SeqCst) >= 2;
                tokio::time::sleep(Duration::from_millis(5)).await;
                let said = kme.ask(&asked).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                if said.status != 200 || !loaded {
                    return said;
                }
                let mut notes = kme.notes();
                if kme.side == Side::North {
                    notes.answers.insert("latest".to_owned(), (Instant::now(), said.clone()));
                    return said;
                }
                match notes.answers.get("latest") {
                    Some((at, theirs)) if at.elapsed() < Duration::from_millis(50) => theirs.clone(),
                    _ => said,
                }
            })
        }),
    Fault::new("M157", "keys drawn by GET do not reach the slave's KME").around(|kme, asked| {
        Box::pin(async move {
            let by_get = |id: &String| format!("by GET: {}", id.to_ascii_lowercase());
            if asked.operation() == Operation::GetKeyWithIds
                && asked.ids().iter().any(|id| kme.notes().texts.contains_key(&by_get(id)))
            {
                return Said::not_found();
            }
            let said = kme.ask(&asked).await;
            if asked.gets(Operation::GetKey) {
                let ids = said.keys().into_iter().map(|(id, _)| (by_get(&id), String::new()));
                kme.notes().texts.extend(ids);
            }
            said
        })
    }),
    Fault::new("M158", "key_ID is the SHA-1 of the key")
        .request(|kme, asked| {
            if asked.operation() == Operation::GetKeyWithIds {
                asked.map_ids(|hash| kme.notes().texts.get(&hash.to_ascii_lowercase()).cloned());
            }
        })
        .response(|kme, _, said| {
            said.edit_keys(|id, text| {
                let hash = hashed(text);
                kme.notes().texts.insert(hash.clone(), id.clone());
                *id = hash;
            });
        }),
    Fault::new("M159", "pages of any origin may read keys").response(|_, asked, said| {
        if asked.operation() == Operation::GetKey {
            said.header("access-control-allow-origin", "*");
        }
    }),
    Fault::new("M165", "stored_key_count is always 0").response(|_, asked, said| {
        if asked.operation() == Operation::Status && said.status == 200 {
            said.edit(|body| {
                body.insert("stored_key_count".to_owned(), json!(0));
            });
        }
    }),
];

/// As a UUID.
fn hashed(text: &str) -> String {
    let octets = Base64::decode_vec(text).unwrap_or_default();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &octets);
    let hex: String = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}
