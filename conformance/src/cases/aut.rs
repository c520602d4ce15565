//! Identity and authorisation (clauses 4, 5.1, 5.4).

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop, not_yet, unjudgeable};
use crate::json::Json;
use crate::lab::{Answer, Key, Request, Sae};
use crate::wire::percent_encoded;

pub(super) const CASES: &[Case] = &[
    Case::new("014-AUT-001", Level::S, Impact::Security, "`master_SAE_ID` follows the certificate, shown with two SAEs")
        .basis(&["5.1-08"], &[])
        .does("Status as master and as slave", "master_SAE_ID is the caller each time")
        .kills(&["M016"])
        .needs(&[Need::Slave, Need::Tls])
        .run(aut_001),
    Case::new("014-AUT-002", Level::S, Impact::Security, "Header, query or body member cannot change the caller's identity")
        .basis(&["4-09", "5.1-08"], &[])
        .does(
            "Status with headers and query parameters that name another SAE; Get key with such headers and body members; a stranger asks for a key with headers that name the slave",
            "the caller is who the certificate says, or a refusal",
        )
        .kills(&["M017"])
        .needs(&[Need::Slave, Need::Tls])
        .cost(4, 0)
        .run(aut_002),
    Case::new("014-AUT-003", Level::S, Impact::Security, "A third enrolled SAE asking for another's key gets 401")
        .basis(&["5.4-04"], &["A-03"])
        .does(
            "an enrolled SAE that was never designated asks for a key that has arrived",
            "401; 403 or 404 is a derived finding; no key",
        )
        .kills(&["M018"])
        .needs(&[Need::Slave, Need::Stranger, Need::Tls])
        .cost(2, 0)
        .run(aut_003),
    Case::new("014-AUT-004", Level::S, Impact::Security, "One foreign ID among own IDs: 401 for the whole request")
        .basis(&["5.4-04"], &[])
        .does("the slave asks for a key of its own and one designated for another SAE, in one request", "401; no key")
        .kills(&["M019"])
        .needs(&[Need::Slave, Need::Additional, Need::Tls])
        .cost(4, 0)
        .run(aut_004),
    Case::new(
        "014-AUT-005",
        Level::D,
        Impact::KeySafety,
        "A refused stranger costs the rightful slave nothing: the key is still there",
    )
    .basis(&["5.4-04"], &[])
    .does("an enrolled SAE that was never designated asks for a key that has arrived; then the slave asks for it", "200 with the key")
    .kills(&["M020"])
    .needs(&[Need::Slave, Need::Stranger, Need::Tls])
    .cost(2, 0)
    .run(aut_005),
    Case::new("014-AUT-006", Level::O, Impact::Interop, "Master asks for its own key by ID: outcome recorded")
        .basis(&[], &["A-09"])
        .does("the master asks for its own key", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(aut_006),
    Case::new("014-AUT-007", Level::D, Impact::Security, "Wrong master in the path: no key delivered")
        .basis(&[], &["A-10"])
        .does("the slave asks for its key with another SAE in the path than the master", "400 or 401; no key")
        .kills(&["M021"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(aut_007),
    Case::new(
        "014-AUT-008",
        Level::S,
        Impact::Security,
        "Interleaved requests of two SAEs on persistent connections never cross over",
    )
    .basis(&["4-09"], &[])
    .does("Status of two SAEs at one KME, by turns, on two persistent connections", "master_SAE_ID is the caller each time")
    .kills(&["M022"])
    .needs(&[Need::LocalPair, Need::Tls])
    .run(aut_008),
    Case::new(
        "014-AUT-009",
        Level::O,
        Impact::Security,
        "Foreign versus unknown key ID, asked by a stranger: difference recorded (the words of the standard make them differ)",
    )
    .basis(&[], &["A-03"])
    .does("a stranger asks for a foreign ID and for an unknown one", "anything; recorded")
    .needs(&[Need::Slave, Need::Stranger])
    .cost(1, 0)
    .run(aut_009),
    Case::new("014-AUT-010", Level::D, Impact::Interop, "Get key for an unknown slave: error, no key")
        .basis(&["5.3-08"], &[])
        .does("Get key for an SAE that does not exist, and for one whose ID has the form of the slave's", "400 or 401; no key")
        .kills(&["M023"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(aut_010),
];

fn caller(answer: &Answer) -> Option<&str> {
    answer.member("master_SAE_ID").and_then(Json::text)
}

fn expect_caller(t: &mut Ctx<'_>, answer: &Answer, sae: &Sae) {
    t.check("master_SAE_ID", caller(answer) == Some(&sae.id), &sae.id, answer);
}

fn aut_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    for (sae, peer) in [(master, slave), (slave, master)] {
        let answer = t.status(sae, &peer.id)?;
        t.judgeable(&answer)?;
        if answer.is(200) {
            expect_caller(t, &answer, sae);
        }
    }
    if t.checks.is_empty() {
        return Err(Stop::Inconclusive("no Status, which STA-001 judges".to_owned()));
    }
    Ok(())
}

/// Headers by which front ends tell a KME who asks.
fn borrowed_names(id: &str) -> Vec<(&'static str, String)> {
    let plain =
        ["X-SAE-ID", "SAE-ID", "Request-SAE-ID", "X-Client-CN", "X-SSL-Client-CN", "X-Remote-User", "X-Forwarded-User", "From"];
    let mut headers: Vec<_> = plain.iter().map(|name| (*name, id.to_owned())).collect();
    headers.push(("X-SSL-Client-S-DN", format!("CN={id}")));
    headers.push(("Authorization", format!("Bearer {id}")));
    headers
}

fn aut_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    let other = &slave.id;
    let mut requests: Vec<(&str, Request)> = Vec::new();
    for (name, value) in borrowed_names(other) {
        requests.push((name, Request::status(other).header(name, &value)));
    }
    for parameter in ["SAE_ID", "master_SAE_ID", "sae_id"] {
        let mut request = Request::status(other);
        request.target = format!("{}?{parameter}={}", request.target, percent_encoded(other));
        requests.push(("query", request));
    }
    for (what, request) in requests {
        // Refusing what one does not know is right, too.
        let answer = t.lab.exchange(master, request.undefined())?;
        if let Some(why) = unjudgeable(&answer) {
            return Err(Stop::Inconclusive(why));
        }
        let own = caller(&answer).is_none_or(|caller| caller == master.id) || !answer.is(200);
        t.check(what, own, &format!("{}, or a refusal", master.id), &answer);
    }
    draws_as_another(t)?;
    fetches_as_another(t)
}

/// The master draws a key, saying that it is somebody else: the key is the master's all the same, or it is refused.
fn draws_as_another(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    let Some(other) = t.lab.saes().find(|sae| sae.name != master.name && sae.name != slave.name) else { return Ok(()) };
    let body = serde_json::json!({ "master_SAE_ID": other.id, "SAE_ID": other.id }).to_string();
    let mut headers = Request::post_key(&slave.id, "{}").undefined();
    for (name, value) in borrowed_names(&other.id).into_iter().filter(|(name, _)| *name != "Authorization") {
        headers = headers.header(name, &value);
    }
    for (what, request) in [("Get key, headers", headers), ("Get key, body", Request::post_key(&slave.id, &body).undefined())] {
        let answer = t.ask(master, request)?;
        let Some(key) = answer.keys.first().filter(|_| answer.is(200)) else { continue };
        let fetched = t.collect(slave, &master.id, &[&key.id])?;
        // Not the master's, however that is told; then is it the other's?
        let stolen = fetched.material == 0 && t.lab.exchange(slave, Request::post_ids(&other.id, &[&key.id]))?.material > 0;
        t.check(what, !stolen, "a key of the caller's, or a refusal", format!("a key of {}", other.id));
    }
    Ok(())
}

/// A stranger asks for a key, saying that it is the slave.
fn fetches_as_another(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    let stranger = t.stranger().ok().filter(|stranger| stranger.side == slave.side);
    let Some(stranger) = stranger else {
        t.observe("no stranger at the slave's KME: Get key with key IDs is not tried");
        return Ok(());
    };
    let drawn = t.arrived(1)?;
    for (name, value) in borrowed_names(&slave.id) {
        let request = Request::post_ids(&master.id, &[&drawn[0].id]).header(name, &value).undefined();
        let answer = t.lab.exchange(stranger, request)?;
        t.check(name, answer.material == 0, "no key", &answer);
    }
    Ok(())
}

/// 401 by the letter; another client error is a weaker finding than a key. `rightful` are those who may have the keys.
pub(super) fn expect_stranger_refused(t: &mut Ctx<'_>, answer: &Answer, rightful: &[(&Sae, &Key)]) -> Result<(), Stop> {
    if answer.material == 0 {
        t.judgeable(answer)?;
    }
    t.check("no key", answer.material == 0, "no key", answer);
    if answer.is(400) {
        // "Not found" would be right if a key were not there.
        for (sae, key) in rightful {
            let fetched = t.lab.exchange(sae, Request::post_ids(&t.master()?.id, &[&key.id]))?;
            if !fetched.is(200) {
                return Err(Stop::Inconclusive(format!("{} does not get the key either: {}", sae.name, fetched.shown)));
            }
        }
    }
    let level = if matches!(answer.status(), Some(403 | 404)) { Level::D } else { Level::S };
    t.check_at(level, "code", answer.is(401), "401", answer);
    Ok(())
}

/// The stranger asks for a key that is there.
fn stranger_asks(t: &Ctx<'_>, key: &Key) -> Result<Answer, Stop> {
    let request = Request::post_ids(&t.master()?.id, &[&key.id]);
    t.ask_settled(t.stranger()?, &request, |answer| !not_yet(answer))
}

fn aut_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.arrived(1)?;
    let answer = stranger_asks(t, &drawn[0])?;
    expect_stranger_refused(t, &answer, &[(t.slave()?, &drawn[0])])
}

fn aut_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave, other) = (t.master()?, t.slave()?, t.additional()?);
    if t.limits().max_per_request == Some(1) {
        return Err(Stop::NotApplicable("max_key_per_request is 1, so two IDs may be refused for their number".to_owned()));
    }
    if other.side != slave.side {
        return Err(Stop::Skip("the additional slave is at another KME: the slave's never hears of its keys".to_owned()));
    }
    let own = t.arrived(1)?;
    let foreign = t.arrived_for(master, other, 1)?;
    let request = Request::post_ids(&master.id, &[&own[0].id, &foreign[0].id]);
    let answer = t.ask_settled(slave, &request, |answer| !not_yet(answer))?;
    expect_stranger_refused(t, &answer, &[(slave, &own[0]), (other, &foreign[0])])
}

fn aut_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.arrived(1)?;
    let answer = t.lab.exchange(t.stranger()?, Request::post_ids(&t.master()?.id, &[&drawn[0].id]))?;
    t.judgeable(&answer)?;
    if answer.material > 0 {
        return Err(Stop::Inconclusive("the stranger got the key, which AUT-003 judges".to_owned()));
    }
    let answer = t.collect(t.slave()?, &t.master()?.id, &[&drawn[0].id])?;
    t.expect_same(&answer, &drawn)
}

fn aut_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let (master, slave) = (t.master()?, t.slave()?);
    for (what, path) in [("itself", &master.id), ("the slave", &slave.id)] {
        let answer = t.lab.exchange(master, Request::post_ids(path, &[&drawn[0].id]).undefined())?;
        t.observe_answer(&format!("the master asks for its own key, naming {what}"), &answer);
    }
    Ok(())
}

fn aut_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.arrived(1)?;
    let (master, slave) = (t.master()?, t.slave()?);
    let other = t.lab.saes().find(|sae| sae.name != master.name && sae.name != slave.name);
    // A name is enough.
    let other = match other {
        Some(other) => other.id.clone(),
        None => t.nobodies()?.swap_remove(0),
    };
    let request = Request::post_ids(&other, &[&drawn[0].id]);
    let answer = t.ask_settled(slave, &request, |answer| !answer.is(503))?;
    t.expect_refusal(&answer, &[400, 401], None)
}

fn aut_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = t.neighbours()?;
    let peer = t.peer_of(first, second)?;
    let mut sessions = [(first, t.connect(first)?), (second, t.connect(second)?)];
    for _ in 0..8 {
        for (sae, session) in &mut sessions {
            let answer = session.ask(Request::status(&peer.id))?;
            let ended = answer.outcome.as_ref().map_or(true, |response| response.last);
            if let Some(caller) = caller(&answer).filter(|_| answer.is(200)) {
                t.check("master_SAE_ID", caller == sae.id, &sae.id, &answer);
            }
            if ended {
                *session = t.connect(sae)?;
            }
        }
    }
    if t.checks.is_empty() {
        return Err(Stop::Inconclusive("no Status, which STA-001 judges".to_owned()));
    }
    Ok(())
}

fn aut_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let foreign = stranger_asks(t, &drawn[0])?;
    let unknown = t.fresh_id();
    let unknown = t.lab.exchange(t.stranger()?, Request::post_ids(&t.master()?.id, &[unknown]))?;
    t.observe_answer("a foreign ID", &foreign);
    t.observe_answer("an unknown ID", &unknown);
    Ok(())
}

fn aut_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for nobody in t.nobodies()? {
        let answer = t.ask(t.master()?, Request::post_key(&nobody, "{}").faulty())?;
        t.expect_refusal(&answer, &[400, 401], None)?;
    }
    Ok(())
}
