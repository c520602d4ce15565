//! How many keys: `number`, by GET and POST.

use super::{refused_body, refused_query};
use crate::case::Level;
use crate::ctx::{Ctx, Stop, unjudgeable};
use crate::lab::{Answer, Request};

/// Not applicable where the KME delivers one key per request.
fn several(t: &Ctx<'_>) -> Result<(), Stop> {
    match t.limits().max_per_request {
        Some(0 | 1) => Err(Stop::NotApplicable("max_key_per_request is 1".to_owned())),
        _ => Ok(()),
    }
}

/// A Get key request by GET, which a KME need not offer.
pub(super) fn get(t: &Ctx<'_>, request: &Request) -> Result<Answer, Stop> {
    let answer = t.supply(t.master()?, request, None)?;
    if matches!(answer.status(), Some(404 | 405 | 501)) {
        return Err(Stop::NotApplicable("GET is not offered: ENC-002 judges that".to_owned()));
    }
    Ok(answer)
}

pub(super) fn enc_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.supply(t.master()?, &Request::post_key(&t.slave()?.id, "{}"), None)?;
    t.expect_keys(answer, 1, t.limits().key_size).map(drop)
}

pub(super) fn enc_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.supply(t.master()?, &Request::get_key(&t.slave()?.id, ""), None)?;
    t.expect_keys(answer, 1, t.limits().key_size).map(drop)
}

pub(super) fn enc_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    several(t)?;
    let answer = get(t, &Request::get_key(&t.slave()?.id, "number=2").worst(2))?;
    // Refusing by GET what is granted by POST is no worse than not offering GET.
    t.expect_keys_at(Level::D, answer, 2, t.limits().key_size).map(drop)
}

pub(super) fn enc_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    several(t)?;
    let answer = t.supply(t.master()?, &Request::post_key(&t.slave()?.id, r#"{"number":2}"#).worst(2), None)?;
    t.expect_keys(answer, 2, t.limits().key_size).map(drop)
}

pub(super) fn enc_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.min(t.lab.config.limits.max_batch);
    t.parameters.insert("number".to_owned(), number.to_string());
    let request = Request::post_key(&t.slave()?.id, &format!("{{\"number\":{number}}}")).worst(number);
    let answer = t.supply(t.master()?, &request, None)?;
    t.expect_keys(answer, number, t.limits().key_size).map(drop)
}

pub(super) fn enc_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.saturating_add(1);
    refused_body(t, &format!("{{\"number\":{number}}}"), number)
}

pub(super) fn enc_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":0}"#, 1)?;
    refused_query(t, "number=0", 1)
}

pub(super) fn enc_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":-1}"#, 1)?;
    refused_query(t, "number=-1", 1)
}

pub(super) fn enc_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for (query, worst) in [("number=abc", 1), ("number=1.5", 1), ("number=1e1", 10), ("number=", 1)] {
        refused_query(t, query, worst)?;
    }
    Ok(())
}

pub(super) fn enc_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":"2"}"#, 2)?;
    refused_body(t, r#"{"number":1.5}"#, 2)
}

pub(super) fn enc_034(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, Request::get_key(&t.slave()?.id, "number=1&number=2").worst(3).undefined())?;
    if let Some(why) = unjudgeable(&answer) {
        return Err(Stop::Inconclusive(why));
    }
    t.check("number", answer.material <= 2, "at most 2 keys", format!("{} keys", answer.material));
    t.observe_answer("number=1&number=2", &answer);
    Ok(())
}
