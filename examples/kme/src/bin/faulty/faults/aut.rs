//! Who asks, and what for.

use serde_json::json;

use super::sta::{known, set, status};
use crate::exchange::{Asked, Operation, Said};
use crate::fault::Fault;
use crate::front::{Kme, Side};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M010", "any valid chain is treated as an enrolled SAE").around(|kme, asked| {
        Box::pin(async move {
            if asked.caller.is_none() || kme.serves(asked.caller.as_ref()) {
                return kme.ask(&asked).await;
            }
            as_enrolled(&kme, &asked).await
        })
    }),
    Fault::new("M016", "`master_SAE_ID` is a constant from configuration")
        .response(|_, asked, said| set(asked, said, "master_SAE_ID", json!("configured"))),
    Fault::new("M017", "trusts an `X-SAE-ID` request header over the certificate")
        .request(|kme, asked| {
            let named = header(asked);
            if kme.serves(named.as_ref()) {
                asked.caller = named;
            }
        })
        .response(|_, asked, said| {
            if let Some(named) = header(asked) {
                set(asked, said, "master_SAE_ID", json!(named));
            }
        }),
    Fault::new("M018", "dec_keys checks only that the key exists, not who asks").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let refused = asked.operation() == Operation::GetKeyWithIds && said.status == 401;
            if refused && kme.serves(asked.caller.as_ref()) { as_slaves(&kme, &asked).await.unwrap_or(said) } else { said }
        })
    }),
    Fault::new("M019", "entitlement checked for the first ID only").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let first = asked.ids().first().and_then(|id| kme.drawn(id));
            let entitled = first.zip(asked.caller.as_ref()).is_some_and(|(first, caller)| first.slaves.contains(caller));
            let refused = asked.operation() == Operation::GetKeyWithIds && said.status == 401;
            if refused && entitled { as_slaves(&kme, &asked).await.unwrap_or(said) } else { said }
        })
    }),
    Fault::new("M020", "a 401 deletes the key").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            if asked.operation() == Operation::GetKeyWithIds && said.status == 401 {
                for id in asked.ids() {
                    kme.burn(&id).await;
                }
            }
            said
        })
    }),
    Fault::new("M021", "ignores the SAE in the dec_keys path").request(|kme, asked| {
        if asked.operation() == Operation::GetKeyWithIds
            && let Some(drawn) = asked.ids().first().and_then(|id| kme.drawn(id))
        {
            asked.set_peer(&drawn.master);
        }
    }),
    Fault::new("M022", "identity kept in a global set by the latest connection").request(|kme, asked| {
        let mut notes = kme.notes();
        let connection = format!("{:?} {}", kme.side, asked.address);
        let latest = format!("{:?}", kme.side);
        if notes.counts.insert(connection, 1).is_none()
            && let Some(caller) = &asked.caller
        {
            notes.texts.insert(latest.clone(), caller.clone());
        }
        // Nobody who has no certificate of an SAE gets in by it.
        if kme.serves(asked.caller.as_ref()) {
            asked.caller = notes.texts.get(&latest).cloned();
        }
    }),
    Fault::new("M023", "delivers keys for an unknown slave").around(|kme, asked| {
        Box::pin(async move {
            let unknown = asked.peer().is_some_and(|peer| Side::of(&peer).is_none() && !peer.contains('/'));
            let mut asked = asked;
            if unknown && asked.operation() == Operation::GetKey && kme.serves(asked.caller.as_ref()) {
                asked.set_peer(known(&kme));
            }
            kme.ask(&asked).await
        })
    }),
];

fn header(asked: &Asked) -> Option<String> {
    asked.headers.get("x-sae-id")?.to_str().ok().map(str::to_owned)
}

/// In the name of an SAE that is enrolled, without saying so.
pub(super) async fn as_enrolled(kme: &Kme, asked: &Asked) -> Said {
    let enrolled = if kme.side == Side::North { "red" } else { "grey" };
    let mut said = kme.ask(&asked.by(enrolled)).await;
    status(asked, &mut said, |status| drop(status.insert("master_SAE_ID".to_owned(), json!(asked.caller))));
    said
}

/// Every key that is asked for, in the name of whoever may have it; nothing if one of them is gone.
pub(super) async fn as_slaves(kme: &Kme, asked: &Asked) -> Option<Said> {
    let mut keys = Vec::new();
    for id in asked.ids() {
        let drawn = kme.drawn(&id)?;
        let untaken = drawn.slaves.iter().find(|slave| !drawn.taken.contains(*slave))?;
        let text = kme.fetch(untaken, &drawn.master, &id).await?;
        keys.push((id, text));
    }
    Some(Said::container(&keys))
}
