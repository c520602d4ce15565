//! Get key: what is given.

use std::time::{Duration, Instant};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use super::enc::is_not_found;
use super::sta::set;
use crate::exchange::{Asked, Operation, Said};
use crate::fault::Fault;
use crate::front::Kme;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M057", "member spelled `Keys`").response(|_, _, said| {
        container(said, |body| {
            let keys = body.remove("keys").unwrap_or_default();
            body.insert("Keys".to_owned(), keys);
        });
    }),
    Fault::new("M058", "single key returned as object, not array").response(|_, _, said| {
        container(said, |body| {
            if let Some([single]) = body["keys"].as_array().map(Vec::as_slice) {
                let single = single.clone();
                body.insert("keys".to_owned(), single);
            }
        });
    }),
    Fault::new("M059", "key_ID is a counter, not a UUID")
        .request(|kme, asked| {
            if asked.operation() == Operation::GetKeyWithIds {
                asked.map_ids(|counter| kme.notes().texts.get(counter).cloned());
            }
        })
        .response(|kme, _, said| {
            said.edit_keys(|id, _| {
                let counter = format!("counter of {id}");
                let known = kme.notes().texts.get(&counter).cloned();
                let counted = known.unwrap_or_else(|| {
                    let counted = kme.count("keys").to_string();
                    let mut notes = kme.notes();
                    notes.texts.insert(counted.clone(), id.clone());
                    notes.texts.insert(counter, counted.clone());
                    counted
                });
                *id = counted;
            });
        }),
    Fault::new("M060", "key_ID derived from slave name, second and place in the answer: repeats")
        .request(|kme, asked| {
            if asked.operation() == Operation::GetKeyWithIds {
                asked.map_ids(|derived| kme.notes().texts.get(derived).cloned());
            }
        })
        .response(|kme, asked, said| {
            let peer = asked.peer().unwrap_or_default();
            let mut place = 0_u32;
            said.edit_keys(|id, _| {
                let derived = format!("derived of {id}");
                let mut notes = kme.notes();
                if asked.operation() == Operation::GetKey {
                    let name: u32 = peer.bytes().fold(7, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
                    let second = kme::wall_now().millis() / 1000;
                    let alias = format!("{name:08x}-0000-4000-8000-{:012x}", second << 8 | u64::from(place));
                    place += 1;
                    notes.texts.insert(alias.clone(), id.clone());
                    notes.texts.insert(derived, alias.clone());
                    *id = alias;
                } else if let Some(alias) = notes.texts.get(&derived) {
                    id.clone_from(alias);
                }
            });
        }),
    Fault::new("M061", "URL-safe base64 without padding").response(|_, _, said| {
        said.edit_keys(|_, text| *text = Base64UrlUnpadded::encode_string(&octets(text)));
    }),
    Fault::new("M062", "key in hexadecimal").response(|_, _, said| {
        said.edit_keys(|_, text| *text = octets(text).iter().map(|octet| format!("{octet:02x}")).collect());
    }),
    Fault::new("M063", "one octet short for sizes above 512").response(|_, _, said| {
        said.edit_keys(|_, text| {
            let octets = octets(text);
            if octets.len() > 64 {
                *text = Base64::encode_string(&octets[1..]);
            }
        });
    }),
    Fault::new("M064", "every 20th key repeats earlier material under a new ID").response(|kme, _, said| {
        said.edit_keys(|id, text| {
            let Some(drawn) = kme.drawn(id) else { return };
            if drawn.number % 20 == 19
                && let Some(earlier) = (0..drawn.number)
                    .rev()
                    .filter_map(|number| kme.book().at(number).map(|earlier| earlier.text.clone()))
                    .find(|earlier| earlier.len() == drawn.text.len())
            {
                *text = earlier;
            }
        });
    }),
    Fault::new("M065", "key material all zero")
        .response(|_, _, said| said.edit_keys(|_, text| *text = Base64::encode_string(&vec![0; octets(text).len()]))),
    Fault::new("M066", "key material is a counter").response(|kme, _, said| {
        said.edit_keys(|id, text| {
            let number = kme.drawn(id).map_or(0, |drawn| drawn.number);
            // Each beginning and step once in a long while.
            let (first, step) = ((number % 256) as u8, (2 * (number / 256) + 1) as u8);
            let counted = (0..octets(text).len()).map(|place| first.wrapping_add(step.wrapping_mul(place as u8)));
            *text = Base64::encode_string(&counted.collect::<Vec<_>>());
        });
    }),
    Fault::new("M067", "Get key is idempotent for one second, until the key is fetched").around(|kme, asked| {
        Box::pin(async move {
            if asked.operation() != Operation::GetKey {
                return kme.ask(&asked).await;
            }
            let call = format!("{:?} {} {} {:?}", asked.caller, asked.method, asked.target, asked.body);
            let before = kme.notes().answers.get(&call).cloned();
            if let Some((at, said)) = before
                && at.elapsed() < Duration::from_secs(1)
                && said.keys().iter().all(|(id, _)| kme.drawn(id).is_some_and(|drawn| drawn.taken.is_empty()))
            {
                return said;
            }
            let said = kme.ask(&asked).await;
            if said.status == 200 {
                kme.notes().answers.insert(call, (Instant::now(), said.clone()));
            }
            said
        })
    }),
    Fault::new("M068", "only the latest Get key call is known to the peer").around(|kme, asked| {
        Box::pin(async move {
            if asked.operation() == Operation::GetKeyWithIds {
                let caller = asked.caller.clone().unwrap_or_default();
                for id in asked.ids() {
                    let old = kme.drawn(&id).is_some_and(|drawn| {
                        drawn.slaves.contains(&caller) && drawn.batch < kme.book().latest(&drawn.master, &caller)
                    });
                    if old {
                        return Said::not_found();
                    }
                }
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M069", "stored_key_count never changes").response(|kme, asked, said| {
        if asked.operation() == Operation::Status {
            let stored = said.json().and_then(|status| status["stored_key_count"].as_u64()).unwrap_or_default();
            let pair = format!("stored {:?} {:?}", asked.caller, asked.peer());
            let first = *kme.notes().counts.entry(pair).or_insert(stored);
            set(asked, said, "stored_key_count", json!(first));
        }
    }),
    Fault::new("M071", "`key_container_extension` is an array")
        .response(|_, _, said| container(said, |body| drop(body.insert("key_container_extension".to_owned(), json!([]))))),
    Fault::new("M074", "Cache-Control public on key answers").response(|_, asked, said| {
        if said.status == 200 && asked.operation() != Operation::Status {
            said.header("cache-control", "public, max-age=60");
        }
    }),
];

/// Changes a key container.
pub(super) fn container(said: &mut Said, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    said.edit(|body| {
        if body.contains_key("keys") {
            change(body);
        }
    });
}

pub(super) fn octets(text: &str) -> Vec<u8> {
    Base64::decode_vec(text).unwrap_or_default()
}

/// Another key of the same length.
pub(super) fn flipped(text: &str) -> String {
    let mut octets = octets(text);
    if let Some(first) = octets.first_mut() {
        *first ^= 1;
    }
    Base64::encode_string(&octets)
}

/// Whether all IDs that are asked for have been drawn, and the refusal is about them.
pub(super) fn refused_though_drawn(kme: &Kme, asked: &Asked, said: &Said) -> bool {
    let ids = asked.ids();
    asked.operation() == Operation::GetKeyWithIds
        && is_not_found(said)
        && !ids.is_empty()
        && ids.iter().all(|id| kme.drawn(id).is_some())
}
