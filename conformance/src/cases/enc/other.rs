//! The pool, and what the standard leaves open.

use crate::ctx::{Ctx, Stop};
use crate::hooks;
use crate::json::Json;
use crate::lab::Request;
use crate::wire::percent_encoded;

pub(super) fn stored(t: &Ctx<'_>) -> Result<i128, Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    let stored = answer.member("stored_key_count").and_then(Json::integer);
    stored.ok_or_else(|| Stop::Inconclusive(format!("no stored_key_count: {}", answer.shown)))
}

pub(super) fn enc_028(t: &mut Ctx<'_>) -> Result<(), Stop> {
    hooks::run(t.lab, "link_down")?;
    let outcome = (|| {
        let before = stored(t)?;
        if stored(t)? != before {
            return Err(Stop::Inconclusive("stored_key_count changes by itself".to_owned()));
        }
        t.draw(2)?;
        Ok((before, stored(t)?))
    })();
    hooks::run(t.lab, "link_up")?;
    let (before, after) = outcome?;
    t.check("stored_key_count", after == before - 2, "2 fewer", format!("{before}, then {after}"));
    Ok(())
}

pub(super) fn enc_029(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.min(t.lab.config.limits.max_batch);
    hooks::run(t.lab, "drain_a")?;
    let outcome = (|| {
        for _ in 0..4 {
            let request = Request::post_key(&t.slave()?.id, &format!("{{\"number\":{number}}}")).worst(number);
            let answer = t.lab.exchange(t.master()?, request)?;
            if answer.is(200) {
                let count = answer.keys.len() as u64;
                t.check("number", count == number, &format!("{number} keys or an error"), format!("{count} keys"));
            } else {
                t.check("code", matches!(answer.status(), Some(400 | 503)), "503, or 400 (A-20)", &answer.shown);
                t.check("no key", answer.material == 0, "no key in the answer", &answer.shown);
                return Ok(());
            }
        }
        Err(Stop::Inconclusive("the pool was not empty after the hook drain_a".to_owned()))
    })();
    hooks::run(t.lab, "refill_a")?;
    outcome
}

pub(super) fn enc_031(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.lab.exchange(t.master()?, Request::post_key(&t.slave()?.id, "").undefined())?;
    t.observe_answer("a body of 0 octets", &answer);
    Ok(())
}

pub(super) fn enc_032(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let request = Request::post_key(&t.slave()?.id, r#"{"qkdspec_unknown":1}"#).undefined();
    let answer = t.lab.exchange(t.master()?, request)?;
    t.observe_answer("an unknown member", &answer);
    Ok(())
}

pub(super) fn enc_033(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (slave, additional) = (&t.slave()?.id, t.additional()?);
    let query = format!("additional_slave_SAE_IDs={}", percent_encoded(&additional.id));
    let answer = t.ask(t.master()?, Request::get_key(slave, &query).undefined())?;
    if !answer.is(200) {
        t.check("no key", answer.material == 0, "no key in a refusal", &answer.shown);
        return Ok(());
    }
    let ids: Vec<_> = answer.keys.iter().map(|key| key.id.as_str()).collect();
    let request = Request::post_ids(&t.master()?.id, &ids);
    let asked = t.ask_settled(additional, &request, |answer| !matches!(answer.status(), Some(400 | 503)))?;
    t.check("no access", asked.material == 0, "no key for the SAE in the query", &asked.shown);
    Ok(())
}

pub(super) fn enc_036(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let answer = t.lab.exchange(master, Request::post_key(&master.id, "{}").undefined())?;
    t.observe_answer("Get key for oneself", &answer);
    Ok(())
}

pub(super) fn enc_037(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let slave = percent_encoded(&t.slave()?.id);
    for segment in [format!("nobody%2F..%2F{slave}"), format!("%2e%2e%2fkeys%2f{slave}")] {
        let mut request = Request::get_key("", "").undefined().faulty();
        request.target = format!("/api/v1/keys/{segment}/enc_keys");
        request.peers = vec![t.slave()?.id.clone()];
        let answer = t.lab.exchange(t.master()?, request)?;
        t.check("no key", answer.material == 0, "no key", &answer.shown);
    }
    Ok(())
}
