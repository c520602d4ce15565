//! Additional slaves (clause 6.2, annex B).

use serde_json::{Value, json};

use crate::case::{Case, Impact, Level, Need, When};
use crate::ctx::{Ctx, Stop, mandated, not_yet};
use crate::lab::{Key, Request};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "014-MC-001",
        Level::S,
        Impact::Security,
        "Where multicast is not offered, a list of additional slaves is refused, not silently ignored",
    )
    .basis(&["6.2-10"], &["A-14"])
    .does("POST with an additional slave", "400 or 401, and no key")
    .kills(&["M086"])
    .needs(&[Need::Slave])
    .when(When::NoMulticast)
    .cost(0, 1)
    .negative()
    .run(mc_001),
    Case::new("014-MC-002", Level::S, Impact::KeySafety, "Path slave and additional slave get identical ID and bytes")
        .basis(&["6.2-10"], &[])
        .does(
            "POST with an additional slave; both slaves fetch the key",
            "200 with the same ID and octets for both; a refusal is a derived finding",
        )
        .kills(&["M087"])
        .needs(&[Need::Slave, Need::Additional])
        .when(When::Multicast)
        .cost(1, 0)
        .run(mc_002),
    Case::new(
        "014-MC-003",
        Level::D,
        Impact::KeySafety,
        "Each designated slave of a multicast key is served once, in either order",
    )
    .basis(&[], &["A-12"])
    .does(
        "two keys for two slaves each, fetched by them in either order; then once more",
        "200 for each slave once; 400 with the mandated sentence afterwards",
    )
    .kills(&["M088"])
    .needs(&[Need::Slave, Need::Additional])
    .when(When::Multicast)
    .cost(2, 0)
    .run(mc_003),
    Case::new(
        "014-MC-004",
        Level::S,
        Impact::Security,
        "An SAE that is not in the list of additional slaves gets 401 for the key",
    )
    .basis(&["5.4-04"], &[])
    .does("an SAE that is not in the list asks for a key of two slaves", "401; no key")
    .kills(&["M018", "M089"])
    .needs(&[Need::Slave, Need::Additional, Need::Stranger])
    .when(When::Multicast)
    .cost(2, 0)
    .run(mc_004),
    Case::new("014-MC-005", Level::D, Impact::Interop, "A list of additional slaves longer than max_SAE_ID_count is refused")
        .basis(&["6.2-11"], &["A-14"])
        .does("POST with max_SAE_ID_count + 1 additional slaves, all enrolled", "400 or 401, and no key")
        .kills(&["M090"])
        .needs(&[Need::Slave, Need::Additional])
        .when(When::Multicast)
        .cost(0, 1)
        .negative()
        .run(mc_005),
    Case::new("014-MC-006", Level::D, Impact::Security, "Unknown SAE in the list of additional slaves: error, no key")
        .basis(&[], &["A-14"])
        .does("POST with an additional slave that does not exist", "400 or 401, and no key")
        .kills(&["M091"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(mc_006),
    Case::new("014-MC-007", Level::O, Impact::Interop, "Empty list of additional slaves: outcome recorded")
        .basis(&[], &["A-13"])
        .does("POST with an empty list", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(mc_007),
    Case::new(
        "014-MC-008",
        Level::O,
        Impact::Interop,
        "Duplicate, self or path slave in the list of additional slaves: outcome recorded",
    )
    .basis(&[], &[])
    .does("POST with a duplicate, with oneself, with the path slave in the list", "anything; recorded")
    .needs(&[Need::Slave, Need::Additional])
    .cost(3, 0)
    .run(mc_008),
    Case::new("014-MC-009", Level::D, Impact::Interop, "List of additional slaves given as string or with numbers: 400")
        .basis(&["6.2-01"], &[])
        .does("POST with the list as a string, and with a number in it", "400 and no key")
        .kills(&["M092"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(mc_009),
];

fn request(t: &Ctx<'_>, list: &Value) -> Result<Request, Stop> {
    let body = json!({ "additional_slave_SAE_IDs": list }).to_string();
    let mut request = Request::post_key(&t.slave()?.id, &body);
    request.peers.extend(list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    Ok(request)
}

fn refused(t: &mut Ctx<'_>, list: &Value, codes: &[u16]) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, request(t, list)?.faulty())?;
    t.expect_refusal(&answer, codes, None)
}

/// A key for slave and additional slave, as a preparation.
fn drawn(t: &mut Ctx<'_>) -> Result<Vec<Key>, Stop> {
    let answer = t.ask(t.master()?, request(t, &json!([t.additional()?.id]))?)?;
    if !answer.is(200) || answer.keys.len() != 1 {
        return Err(Stop::Inconclusive(format!("no key for two slaves, which MC-002 judges: {}", answer.shown)));
    }
    Ok(answer.keys)
}

fn mc_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    if t.lab.config.ics.multicast.is_none() {
        // Where nothing tells, nothing was promised either.
        Ctx::need(t.limits().max_additional, "max_SAE_ID_count")?;
    }
    // Whoever ignores the list ignores any name.
    let name = match t.additional() {
        Ok(sae) => sae.id.clone(),
        Err(_) => t.nobodies()?.swap_remove(0),
    };
    let answer = t.ask(t.master()?, request(t, &json!([name]))?.faulty())?;
    t.judgeable(&answer)?;
    t.check("not ignored", answer.material == 0 && !answer.is(200), "no key", &answer);
    // How it is refused is not laid down.
    t.check_at(Level::D, "code", matches!(answer.status(), Some(400 | 401)), "400 or 401", &answer);
    Ok(())
}

fn mc_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.supply(t.master()?, &request(t, &json!([t.additional()?.id]))?, None)?;
    // Keys for several slaves may have a pool of their own, of which Status does not tell.
    let drawn = t.expect_keys_at(Level::D, answer, 1, t.limits().key_size)?;
    let Some(first) = drawn.first() else { return Err(Stop::Judged) };
    for slave in [t.slave()?, t.additional()?] {
        let answer = t.collect(slave, &t.master()?.id, &[&first.id])?;
        t.expect_same(&answer, &drawn)?;
    }
    Ok(())
}

fn mc_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (slave, additional, master) = (t.slave()?, t.additional()?, &t.master()?.id);
    for order in [[slave, additional], [additional, slave]] {
        let drawn = drawn(t)?;
        for sae in order {
            let answer = t.collect(sae, master, &[&drawn[0].id])?;
            t.expect_same(&answer, &drawn)?;
        }
        for sae in order {
            let answer = t.lab.exchange(sae, Request::post_ids(master, &[&drawn[0].id]))?;
            t.expect_refusal(&answer, &[400], Some(mandated::NOT_FOUND))?;
        }
    }
    Ok(())
}

fn mc_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (&t.master()?.id, t.slave()?);
    let (key, proof) = (drawn(t)?, drawn(t)?);
    // The later one shows that the other is there, too.
    let fetched = t.collect(slave, master, &[&proof[0].id])?;
    if !fetched.is(200) {
        return Err(Stop::Inconclusive(format!("no key could be fetched, which MC-002 judges: {}", fetched.shown)));
    }
    let request = Request::post_ids(master, &[&key[0].id]);
    let answer = t.ask_settled(t.stranger()?, &request, |answer| !not_yet(answer))?;
    super::aut::expect_stranger_refused(t, &answer, &[(slave, &key[0])])
}

fn mc_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_additional, "max_SAE_ID_count")?;
    let taken = [t.master()?.id.clone(), t.slave()?.id.clone()];
    let mut list: Vec<String> = t.lab.saes().map(|sae| sae.id.clone()).filter(|id| !taken.contains(id)).collect();
    // An unknown SAE, or one named twice, would be another reason to refuse.
    if list.len() as u64 <= max {
        return Err(Stop::Skip(format!("needs {} enrolled SAEs besides master and slave", max.saturating_add(1))));
    }
    list.truncate(usize::try_from(max.saturating_add(1)).unwrap_or(usize::MAX));
    refused(t, &json!(list), &[400, 401])
}

fn mc_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    t.nobodies()?.iter().try_for_each(|nobody| refused(t, &json!([nobody]), &[400, 401]))
}

fn observed(t: &mut Ctx<'_>, what: &str, list: &Value) -> Result<(), Stop> {
    let answer = t.lab.exchange(t.master()?, request(t, list)?.undefined())?;
    t.observe_answer(what, &answer);
    Ok(())
}

fn mc_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    observed(t, "an empty list", &json!([]))
}

fn mc_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave, additional) = (&t.master()?.id, &t.slave()?.id, &t.additional()?.id);
    observed(t, "an SAE twice", &json!([additional, additional]))?;
    observed(t, "oneself", &json!([master]))?;
    observed(t, "the slave of the path", &json!([slave]))
}

fn mc_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let name = t.additional().map_or("x", |sae| sae.id.as_str());
    refused(t, &json!(name), &[400])?;
    refused(t, &json!([1]), &[400])
}
