//! The pool, and what the standard leaves open.

use std::thread;
use std::time::{Duration, Instant};

use crate::ctx::{Ctx, Stop, not_yet};
use crate::hooks;
use crate::json::Json;
use crate::lab::Request;
use crate::wire::percent_encoded;

pub(in crate::cases) fn stored(t: &Ctx<'_>) -> Result<i128, Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    let stored = answer.member("stored_key_count").and_then(Json::integer);
    stored.ok_or_else(|| Stop::Inconclusive(format!("no stored_key_count: {}", answer.shown)))
}

fn most(t: &Ctx<'_>) -> Result<i128, Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    Ok(answer.member("max_key_count").and_then(Json::integer).unwrap_or(i128::MAX))
}

/// The same once two readings agree: what is under way when the link goes down may still arrive.
fn at_rest(t: &Ctx<'_>) -> Result<i128, Stop> {
    let until = Instant::now() + t.lab.config.limits.settle();
    let mut before = stored(t)?;
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = stored(t)?;
        if now == before {
            return Ok(now);
        }
        if Instant::now() >= until {
            return Err(Stop::Inconclusive("stored_key_count changes by itself".to_owned()));
        }
        before = now;
    }
}

pub(super) fn enc_028(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let lab = t.lab;
    let (before, after) = hooks::between(lab, "link_down", "link_up", || {
        let before = at_rest(t)?;
        t.draw(2)?;
        Ok((before, at_rest(t)?))
    })?;
    if after == before && after == most(t)? {
        return Err(Stop::Skip("stored_key_count stays at max_key_count: a pool may hold more than it tells".to_owned()));
    }
    // Keys may expire meanwhile.
    t.check("stored_key_count", after <= before - 2, "2 fewer, or less", format!("{before}, then {after}"));
    Ok(())
}

pub(super) fn enc_029(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.min(t.lab.config.limits.max_batch);
    let lab = t.lab;
    hooks::between(lab, "drain_a", "refill_a", || {
        // As many as are declared: small requests empty a pool slowly.
        for _ in 0..(4 * number + 12) / number.max(1) {
            let request = Request::post_key(&t.slave()?.id, &format!("{{\"number\":{number}}}")).worst(number);
            let answer = t.lab.exchange(t.master()?, request)?;
            if answer.is(200) {
                let count = answer.keys.len() as u64;
                t.check("number", count == number, &format!("{number} keys or an error"), format!("{count} keys"));
                if count != number {
                    return Ok(());
                }
            } else {
                // Here 503 is what is looked for.
                if answer.outcome.is_err() {
                    t.judgeable(&answer)?;
                }
                t.check("code", matches!(answer.status(), Some(400 | 503)), "503, or 400 (A-20)", &answer);
                t.check("no key", answer.material == 0, "no key in the answer", &answer);
                return Ok(());
            }
        }
        Err(Stop::Inconclusive("the pool was not empty after the hook drain_a".to_owned()))
    })
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
    let (master, slave, additional) = (t.master()?, t.slave()?, t.additional()?);
    let query = format!("additional_slave_SAE_IDs={}", percent_encoded(&additional.id));
    let answer = t.ask(master, Request::get_key(&slave.id, &query).undefined())?;
    if !answer.is(200) {
        return t.expect_nothing_served("no key", &answer);
    }
    let ids: Vec<_> = answer.keys.iter().map(|key| key.id.as_str()).collect();
    // Not found proves something only where the key is to be found.
    let asked = t.ask_settled(additional, &Request::post_ids(&master.id, &ids), |answer| !not_yet(answer))?;
    if asked.is(400) && additional.side == slave.side {
        let rightful = t.lab.exchange(slave, Request::post_ids(&master.id, &ids))?;
        if !rightful.is(200) {
            return Err(Stop::Inconclusive(format!("the slave does not get the key either: {}", rightful.shown)));
        }
    }
    t.expect_nothing_served("no access", &asked)
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
        let answer = t.ask(t.master()?, request)?;
        t.expect_nothing_served("no key", &answer)?;
    }
    Ok(())
}
