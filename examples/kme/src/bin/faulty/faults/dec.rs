//! Get key with key IDs.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::enc::{is_not_found, reword};
use super::keys::{flipped, refused_though_drawn};
use crate::exchange::{Asked, NOT_FOUND, Operation, Said, encoded};
use crate::fault::Fault;
use crate::front::{Kme, Side};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M093", "POST dec_keys flips one bit").response(|_, asked, said| {
        if asked.posts(DEC) {
            said.edit_keys(|_, text| *text = flipped(text));
        }
    }),
    Fault::new("M094", "GET dec_keys flips one bit").response(|_, asked, said| {
        if asked.gets(DEC) {
            said.edit_keys(|_, text| *text = flipped(text));
        }
    }),
    Fault::new("M095", "GET on dec_keys not offered").around(|kme, asked| {
        Box::pin(async move {
            if asked.gets(DEC) {
                return Said::error(405, "the method does not allow this HTTP method");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M096", "POST dec_keys returns only the first key").response(|_, asked, said| {
        if asked.posts(DEC) && said.status == 200 {
            *said = Said::container(&said.keys()[..1]);
        }
    }),
    Fault::new("M097", "IDs and keys paired in the wrong order").response(|_, asked, said| {
        if asked.operation() == DEC && said.status == 200 {
            let keys = said.keys();
            let mut place = 0;
            said.edit_keys(|_, text| {
                place += 1;
                text.clone_from(&keys[place % keys.len()].1);
            });
        }
    }),
    Fault::new("M098", "unknown ID: 404").response(|_, _, said| {
        if is_not_found(said) {
            said.status = 404;
        }
    }),
    Fault::new("M099", "unknown ID: 200 with an invented key").response(|kme, asked, said| {
        let ids = asked.ids();
        let unknown = ids.iter().all(|id| kme.drawn(id).is_none() && id.len() == 36);
        if asked.operation() == DEC && is_not_found(said) && unknown && !ids.is_empty() {
            let mut octets = [0; 32];
            let invented = ids.into_iter().map(|id| {
                // Without randomness, a key of zeros is invented enough.
                let _ = aws_lc_rs::rand::fill(&mut octets);
                (id, Base64::encode_string(&octets))
            });
            *said = Said::container(&invented.collect::<Vec<_>>());
        }
    }),
    Fault::new("M100", "ID that nobody has drawn: 400 with another sentence").response(|kme, asked, said| {
        if asked.ids().iter().all(|id| kme.drawn(id).is_none()) {
            reword(said, NOT_FOUND, "key not found");
        }
    }),
    Fault::new("M101", "partial container for a mixed request").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let known = known(&kme, &asked);
            if is_not_found(&said) && !known.is_empty() && known.len() < asked.ids().len() {
                let partial = kme.ask(&asked.for_ids(&known)).await;
                return if partial.status == 200 { partial } else { said };
            }
            said
        })
    }),
    Fault::new("M102", "mixed request refused, known keys deleted").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let known = known(&kme, &asked);
            if is_not_found(&said) && known.len() < asked.ids().len() {
                for id in known {
                    kme.burn(&id).await;
                }
            }
            said
        })
    }),
    Fault::new("M103", "key stays available after retrieval").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let caller = asked.caller.clone().unwrap_or_default();
            if !refused_though_drawn(&kme, &asked, &said) {
                return said;
            }
            let again = |id: String| {
                let drawn = kme.drawn(&id)?;
                let entitled = drawn.taken.contains(&caller) && asked.peer().as_ref() == Some(&drawn.master);
                entitled.then_some((id, drawn.text))
            };
            let keys: Option<Vec<_>> = asked.ids().into_iter().map(again).collect();
            keys.map_or(said, |keys| Said::container(&keys))
        })
    }),
    Fault::new("M104", "non-UUID ID answered 500").response(|_, asked, said| {
        if asked.operation() == DEC && said.status == 400 && asked.ids().iter().any(|id| id.len() != 36) {
            *said = Said::error(500, "internal error");
        }
    }),
    Fault::new("M105", "empty key_IDs: 200 with an empty container").response(|_, asked, said| {
        let empty = asked.json().is_some_and(|body| body["key_IDs"].as_array().is_some_and(Vec::is_empty));
        if asked.posts(DEC) && said.status == 400 && empty {
            *said = Said::container(&[]);
        }
    }),
    Fault::new("M106", "missing key_IDs answered 500").response(|_, asked, said| {
        let missing = asked.json().is_some_and(|body| body.is_object() && body.get("key_IDs").is_none());
        if asked.posts(DEC) && said.status == 400 && missing {
            *said = Said::error(500, "internal error");
        }
    }),
    Fault::new("M107", "array of strings accepted").request(|_, asked| {
        if asked.posts(DEC) {
            asked.edit(|body| {
                for id in body.get_mut("key_IDs").and_then(Value::as_array_mut).into_iter().flatten() {
                    if id.is_string() {
                        *id = json!({ "key_ID": id.take() });
                    }
                }
            });
        }
    }),
    Fault::new("M108", "extension members in Key IDs refused").around(|kme, asked| {
        Box::pin(async move {
            let body = asked.json().unwrap_or_default();
            let each = body["key_IDs"].as_array().is_some_and(|ids| ids.iter().any(|id| id.get("key_ID_extension").is_some()));
            if asked.posts(DEC) && (each || body.get("key_IDs_extension").is_some()) {
                return Said::error(400, "unknown member");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M109", "repeated key_ID in GET: one key, silently").request(|_, asked| {
        let ids = asked.parameters("key_ID");
        if asked.gets(DEC) && ids.len() > 1 {
            asked.set_query(&format!("key_ID={}", encoded(&ids[0])));
        }
    }),
    Fault::new("M110", "peer learns keys only after ten settle times").around(|kme, asked| {
        Box::pin(async move {
            let early = |id: &String| kme.drawn(id).is_some_and(|drawn| drawn.at != kme.side && drawn.since.elapsed() < SETTLED);
            refusing(&kme, &asked, early).await
        })
    }),
    Fault::new("M111", "slave on the same KME is never found").around(|kme, asked| {
        Box::pin(async move { refusing(&kme, &asked, |id| kme.drawn(id).is_some_and(|drawn| drawn.at == kme.side)).await })
    }),
    Fault::new("M112", "check and removal not atomic: several simultaneous successes").around(|kme, asked| {
        Box::pin(async move {
            let caller = asked.caller.clone().unwrap_or_default();
            let there =
                |id: &String| kme.drawn(id).filter(|drawn| drawn.slaves.contains(&caller) && !drawn.taken.contains(&caller));
            let checked: Option<Vec<_>> = asked.ids().iter().map(|id| there(id).map(|drawn| (id.clone(), drawn.text))).collect();
            if asked.operation() == DEC {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let said = kme.ask(&asked).await;
            match checked {
                // Somebody was faster; only then the key is in the book as taken.
                Some(keys) if refused_though_drawn(&kme, &asked, &said) && keys.iter().all(|(id, _)| there(id).is_none()) => {
                    Said::container(&keys)
                }
                _ => said,
            }
        })
    }),
    Fault::new("M113", "only one direction is provisioned: what is drawn at B is never found at A").around(|kme, asked| {
        Box::pin(async move {
            refusing(&kme, &asked, |id| kme.side == Side::North && kme.drawn(id).is_some_and(|drawn| drawn.at == Side::South))
                .await
        })
    }),
    Fault::new("M114", "more than 8 IDs per request refused, though 16 keys are given").around(|kme, asked| {
        Box::pin(async move {
            if asked.operation() == DEC && asked.ids().len() > 8 {
                return Said::error(400, "too many key_IDs");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M115", "first retrieval closes the whole batch").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            if asked.operation() == DEC {
                for (id, _) in said.keys() {
                    let batch = kme.drawn(&id).map_or_else(Vec::new, |drawn| kme.book().batch(drawn.batch));
                    for other in batch.into_iter().filter(|other| !asked.ids().contains(other)) {
                        kme.burn(&other).await;
                    }
                }
            }
            said
        })
    }),
    Fault::new("M116", "GET without key_ID: 200 with an empty container").around(|kme, asked| {
        Box::pin(async move {
            if asked.gets(DEC) && asked.parameters("key_ID").is_empty() && kme.serves(asked.caller.as_ref()) {
                return Said::container(&[]);
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M117", "expired key answered 403, in KMEs whose keys live for two seconds")
        .settings(|settings| settings.with_short_life())
        .around(|kme, asked| {
            Box::pin(async move {
                let said = kme.ask(&asked).await;
                let caller = asked.caller.clone().unwrap_or_default();
                let expired = |id: &String| {
                    kme.drawn(id).is_some_and(|drawn| !drawn.taken.contains(&caller) && drawn.since.elapsed() > LIFE)
                };
                if refused_though_drawn(&kme, &asked, &said) && asked.ids().iter().any(expired) {
                    return Said::error(403, "the key has expired");
                }
                said
            })
        }),
];

const DEC: Operation = Operation::GetKeyWithIds;
/// Ten times the settle time of the configuration.
const SETTLED: Duration = Duration::from_secs(6);
/// How long keys live where their life is short.
pub(super) const LIFE: Duration = Duration::from_secs(2);

/// The IDs that have been drawn.
fn known(kme: &Kme, asked: &Asked) -> Vec<String> {
    if asked.operation() != DEC { Vec::new() } else { asked.ids().into_iter().filter(|id| kme.drawn(id).is_some()).collect() }
}

/// As the reference, but some IDs are unknown to it.
async fn refusing(kme: &Kme, asked: &Asked, unknown: impl Fn(&String) -> bool) -> Said {
    if asked.operation() == DEC && kme.serves(asked.caller.as_ref()) && asked.ids().iter().any(unknown) {
        return Said::not_found();
    }
    kme.ask(asked).await
}
