//! Errors (tables 4, 6 and 8; clause 6.5).

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop};
use crate::lab::{Api, Request};
use crate::wire::percent_encoded;

pub(super) const CASES: &[Case] = &[
    Case::new("014-ERR-001", Level::S, Impact::Interop, "Bodies of 400 and 503 are objects with a string `message`")
        .basis(&["6.5-01"], &["A-17"])
        .does("every answer 400 and 503 of the three methods", "an object with a string `message`")
        .kills(&["M118", "M119"]),
    Case::new("014-ERR-002", Level::S, Impact::Interop, "`details`, if present, is an array of objects")
        .basis(&["6.5-01", "6.5-02"], &["A-18", "A-27"])
        .does("every error answer", "no `details`, or an array of objects (derived for codes other than 400 and 503)")
        .kills(&["M120"]),
    Case::new("014-ERR-003", Level::D, Impact::Interop, "No status code outside 200, 400, 401, 503 on the three methods")
        .basis(&["5.2-06", "5.3-08", "5.4-06", "tables 4/6/8"], &[])
        .does("every answer of the three methods", "200, 400, 401 or 503")
        .kills(&["M098", "M121"]),
    Case::new("014-ERR-004", Level::S, Impact::KeySafety, "Malformed JSON on enc_keys: 400, no key")
        .basis(&["4-10", "5.3-08", "6.5-01"], &["A-24"])
        .parts(&[("no key", &["4-10"]), ("code", &["5.3-08"])])
        .does("POST on enc_keys of bodies that are not JSON", "400 (derived) with an Error, and no key")
        .kills(&["M122"])
        .needs(&[Need::Slave])
        .cost(0, 4)
        .negative()
        .run(err_004),
    Case::new("014-ERR-005", Level::D, Impact::Interop, "Malformed JSON on dec_keys: 400")
        .basis(&["5.4-06"], &[])
        .does("POST on dec_keys of bodies that are not JSON", "400")
        .kills(&["M123"])
        .needs(&[Need::Slave])
        .aside(2)
        .negative()
        .run(err_005),
    Case::new("014-ERR-006", Level::D, Impact::KeySafety, "JSON of another shape (array, null, number, string): 400, no key")
        .basis(&["6.2-01"], &[])
        .does("POST on enc_keys of [], null, 1 and \"x\"", "400 and no key")
        .kills(&["M124"])
        .needs(&[Need::Slave])
        .cost(0, 4)
        .negative()
        .run(err_006),
    Case::new("014-ERR-007", Level::O, Impact::Interop, "Other Content-Type: outcome recorded")
        .basis(&[], &["A-30"])
        .does("POST on enc_keys of {} as text/plain", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(err_007),
    Case::new("014-ERR-008", Level::D, Impact::Interop, "Unknown path or API version: client error, nothing served")
        .basis(&["5.1-11"], &[])
        .does("/api/v2/…/status, /api/v2/…/enc_keys, an unknown method, an unknown path", "4xx; neither key nor Status")
        .kills(&["M125"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(err_008),
    Case::new("014-ERR-009", Level::D, Impact::KeySafety, "PUT, DELETE, PATCH on key methods: client error, nothing spent")
        .basis(&["5.1-11"], &[])
        .does("PUT, DELETE and PATCH on enc_keys", "4xx or 501; no key")
        .kills(&["M126"])
        .needs(&[Need::Slave])
        .cost(0, 3)
        .negative()
        .run(err_009),
    Case::new("014-ERR-010", Level::H, Impact::Security, "Error bodies contain no key material, stack trace, file path or query")
        .basis(&[], &[])
        .does("every error answer", "no key material, stack trace, file path, query")
        .kills(&["M127", "M128"]),
    Case::new("014-ERR-011", Level::D, Impact::Quality, "No 5xx for a fault of the client")
        .basis(&["tables 4/6/8"], &[])
        .does("every answer to a request that is wrong", "no 5xx other than 501 and 503")
        .kills(&["M104", "M106", "M123"]),
];

const BROKEN: [&str; 4] = [r#"{"number":1"#, "{number:1}", "hello", r#"{"number":1,}"#];

fn refused_bodies(t: &mut Ctx<'_>, bodies: &[&str]) -> Result<(), Stop> {
    for body in bodies {
        let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, body).faulty())?;
        t.expect_refusal(&answer, &[400], None)?;
    }
    Ok(())
}

fn err_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for body in BROKEN {
        let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, body).faulty())?;
        t.judgeable(&answer)?;
        // The tables name 400 as what a KME may say; that it delivers nothing is another matter (A-24).
        t.check("no key", answer.material == 0 && !answer.is(200), "no key", &answer);
        t.check_at(Level::D, "code", answer.is(400), "400", &answer);
        if answer.is(400) {
            t.check("shape", answer.message().is_some(), "an object with a string `message`", &answer);
        }
    }
    Ok(())
}

fn err_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    t.entitle()?;
    for body in [r#"{"key_IDs":["#, "{key_IDs:[]}", "hello"] {
        let request = Request::post_ids_body(&t.master()?.id, body).faulty();
        let answer = t.ask_settled(t.slave()?, &request, |answer| !answer.is(503))?;
        t.expect_refusal(&answer, &[400], None)?;
    }
    Ok(())
}

fn err_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_bodies(t, &["[]", "null", "1", "\"x\""])
}

fn err_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let mut request = Request::post_key(&t.slave()?.id, "{}").undefined();
    request.headers = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    let answer = t.lab.exchange(t.master()?, request)?;
    t.observe_answer("{} as text/plain", &answer);
    Ok(())
}

fn err_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let slave = percent_encoded(&t.slave()?.id);
    for (method, path, worst) in [
        ("GET", format!("/api/v2/keys/{slave}/status"), 0),
        ("POST", format!("/api/v2/keys/{slave}/enc_keys"), 1),
        ("GET", format!("/api/v1/keys/{slave}/qkdspec"), 0),
        ("GET", "/api/qkdspec".to_owned(), 0),
    ] {
        let mut request = Request::new(Api::Other, method, path).worst(worst).faulty().peer(&t.slave()?.id);
        if method == "POST" {
            request = request.json("{}");
        }
        let answer = t.ask(t.master()?, request)?;
        t.expect_client_error(&answer)?;
    }
    Ok(())
}

fn err_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = Request::post_key(&t.slave()?.id, "{}").method(method).undefined().faulty();
        let answer = t.ask(t.master()?, request)?;
        t.expect_nothing_served(&format!("{method}: no key"), &answer)?;
        let refused = answer.status().is_none_or(|status| (400..500).contains(&status) || status == 501);
        t.check(method, refused, "4xx or 501, or a closed connection", &answer);
    }
    Ok(())
}
