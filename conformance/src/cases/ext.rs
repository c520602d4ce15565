//! Extensions (clause 6.2).

use serde_json::{Value, json};

use super::enc::stored;
use crate::case::{Case, Impact, Level, Need, When};
use crate::ctx::{Ctx, Stop, mandated};
use crate::hooks;
use crate::lab::{Answer, Mode, Request};

pub(super) const CASES: &[Case] = &[
    Case::new("014-EXT-001", Level::S, Impact::Interop, "Unknown mandatory extension: 400 with the mandated sentence")
        .basis(&["6.2-13"], &["A-15"])
        .does("POST with an invented mandatory extension", "400 with the mandated sentence, and no key")
        .kills(&["M076", "M077"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(ext_001),
    Case::new("014-EXT-002", Level::D, Impact::KeySafety, "A request refused for an unknown mandatory extension spends no key")
        .basis(&["6.2-12"], &[])
        .does("Status; four requests with an invented mandatory extension; Status; with the link down, if hooks for it are given and may be used", "stored_key_count is not lower by four")
        .kills(&["M078"])
        .needs(&[Need::Slave])
        .cost(0, 4)
        .negative()
        .run(ext_002),
    Case::new(
        "014-EXT-003",
        Level::S,
        Impact::Interop,
        "Unknown optional extension: usual answer, or 400 with the mandated sentence",
    )
    .basis(&["6.2-15", "6.2-16"], &["A-16"])
    .does("POST with an invented optional extension", "200 with one key, or 400 with the mandated sentence")
    .kills(&["M079"])
    .needs(&[Need::Slave])
    .cost(1, 0)
    .run(ext_003),
    Case::new("014-EXT-004", Level::D, Impact::Interop, "Optional values of every JSON type are accepted as JSON")
        .basis(&["6.2-17"], &[])
        .does(
            "POST with optional extensions whose values are string, number, Boolean, null, array and object",
            "200 with one key, or 400 with the mandated sentence",
        )
        .kills(&["M080"])
        .needs(&[Need::Slave])
        .cost(6, 0)
        .run(ext_004),
    Case::new("014-EXT-005", Level::D, Impact::Interop, "Empty extension arrays behave as absent")
        .basis(&["6.2-02"], &[])
        .does("POST with empty arrays of mandatory, and of optional extensions", "200 with one key")
        .kills(&["M081"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(ext_005),
    Case::new("014-EXT-006", Level::S, Impact::Interop, "Mandatory and optional together: the mandatory rule decides")
        .basis(&["6.2-13"], &[])
        .does("POST with an invented mandatory and an invented optional extension", "400 with the sentence for mandatory ones; that for optional ones is a derived finding")
        .kills(&["M076", "M082"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(ext_006),
    Case::new(
        "014-EXT-007",
        Level::S,
        Impact::Interop,
        "Supported but unmeetable mandatory parameter: 400 with the mandated sentence",
    )
    .basis(&["6.2-14"], &[])
    .does("POST with the impossible value of ext.mandatory", "400 with the mandated sentence")
    .kills(&["M083"])
    .needs(&[Need::Slave])
    .when(When::UnmeetableExtension)
    .cost(0, 1)
    .negative()
    .run(ext_007),
    Case::new("014-EXT-008", Level::S, Impact::Interop, "Supported mandatory parameter: keys delivered")
        .basis(&["6.2-12"], &[])
        .does("POST with the meetable value of ext.mandatory", "200 with one key; 400 with the sentence for what cannot be met is a derived finding")
        .kills(&["M084"])
        .needs(&[Need::Slave])
        .when(When::MandatoryExtension)
        .cost(1, 0)
        .run(ext_008),
    Case::new("014-EXT-009", Level::D, Impact::Interop, "An extension member that is not an array of objects: 400")
        .basis(&["6.2-01"], &[])
        .does("POST with extension_mandatory as object, and as array of strings", "400 and no key")
        .kills(&["M085"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(ext_009),
];

/// Asks; a refusal with `text` is the KME's answer, even if it is short of keys.
fn ask(t: &Ctx<'_>, body: &Value, fault: bool, text: Option<&str>) -> Result<Answer, Stop> {
    let mut request = Request::post_key(&t.slave()?.id, &body.to_string());
    request.fault = fault;
    // Without a text, any refusal will do.
    if fault && text.is_none() { t.ask(t.master()?, request) } else { t.supply(t.master()?, &request, text) }
}

fn invented(t: &mut Ctx<'_>) -> String {
    format!("qkdspec_{}", &t.fresh_id()[..8])
}

fn refused(t: &mut Ctx<'_>, body: &Value, text: Option<&str>) -> Result<(), Stop> {
    let answer = ask(t, body, true, text)?;
    t.expect_refusal(&answer, &[400], text)
}

fn ext_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let name = invented(t);
    refused(t, &json!({ "extension_mandatory": [{ name: true }] }), Some(mandated::MANDATORY))
}

fn ext_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // What comes in hides what goes out: without new keys the case is surer.
    let lab = t.lab;
    if lab.mode == Mode::Destructive && ["link_down", "link_up"].iter().all(|hook| lab.config.hooks.contains_key(*hook)) {
        hooks::between(lab, "link_down", "link_up", || spent_by_refusals(t))
    } else {
        spent_by_refusals(t)
    }
}

fn spent_by_refusals(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let earlier = stored(t)?;
    let before = stored(t)?;
    if before < earlier {
        return Err(Stop::Inconclusive("stored_key_count falls by itself".to_owned()));
    }
    for _ in 0..4 {
        let name = invented(t);
        let answer = ask(t, &json!({ "extension_mandatory": [{ name: true }] }), true, Some(mandated::MANDATORY))?;
        t.judgeable(&answer)?;
        if answer.material > 0 {
            return Err(Stop::Inconclusive("not refused, which EXT-001 judges".to_owned()));
        }
    }
    let after = stored(t)?;
    t.check("stored_key_count", after > before - 4, "not lower by four", format!("{before}, then {after}"));
    Ok(())
}

/// The answer to a request that may be served, or refused for its optional extensions.
fn served_or_refused(t: &mut Ctx<'_>, body: &Value) -> Result<(), Stop> {
    let answer = ask(t, body, false, Some(mandated::OPTIONAL))?;
    if answer.is(200) {
        return t.expect_keys(answer, 1, t.limits().key_size).map(drop);
    }
    t.expect_refusal(&answer, &[400], Some(mandated::OPTIONAL))
}

fn ext_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let name = invented(t);
    served_or_refused(t, &json!({ "extension_optional": [{ name: true }] }))
}

fn ext_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for value in [json!("text"), json!(1.5), json!(false), Value::Null, json!([1, [2]]), json!({ "a": { "b": [] } })] {
        let name = invented(t);
        served_or_refused(t, &json!({ "extension_optional": [{ name: value }] }))?;
    }
    Ok(())
}

fn ext_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for body in [json!({ "extension_mandatory": [] }), json!({ "extension_optional": [] })] {
        let answer = ask(t, &body, false, None)?;
        t.expect_keys(answer, 1, t.limits().key_size)?;
    }
    Ok(())
}

fn ext_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (mandatory, optional) = (invented(t), invented(t));
    let body = json!({ "extension_mandatory": [{ mandatory: true }], "extension_optional": [{ optional: true }] });
    let answer = ask(t, &body, true, Some(mandated::MANDATORY))?;
    if answer.is(400) && answer.message() == Some(mandated::OPTIONAL) {
        t.expect_refusal(&answer, &[400], None)?;
        // 6.2-16 permits that sentence, too; but 6.2-13 is a shall.
        t.check_at(Level::D, "text", false, &format!("\"{}\"", mandated::MANDATORY), &answer);
        return Ok(());
    }
    t.expect_refusal(&answer, &[400], Some(mandated::MANDATORY))
}

fn ext_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let declared = t.lab.config.ics.mandatory.iter();
    let Some((name, value)) = declared.filter_map(|one| Some((one.name.clone(), one.impossible.clone()?))).next() else {
        return Err(Stop::Skip("no impossible value is given".to_owned()));
    };
    refused(t, &json!({ "extension_mandatory": [{ name: value }] }), Some(mandated::UNMET))
}

fn ext_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let Some(extension) = t.lab.config.ics.mandatory.first() else {
        return Err(Stop::Skip("no extension is declared".to_owned()));
    };
    let body = json!({ "extension_mandatory": [{ extension.name.clone(): extension.ok }] });
    let answer = ask(t, &body, false, Some(mandated::UNMET))?;
    // What can be met at times may be refused at others.
    let unmet = answer.is(400) && answer.message() == Some(mandated::UNMET);
    let level = if unmet { Level::D } else { Level::S };
    t.expect_keys_at(level, answer, 1, t.limits().key_size).map(drop)
}

fn ext_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused(t, &json!({ "extension_mandatory": { "qkdspec_x": true } }), None)?;
    refused(t, &json!({ "extension_mandatory": ["qkdspec_x"] }), None)
}
