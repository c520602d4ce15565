//! Get status (clauses 5.2, 6.1).

use std::thread;
use std::time::Instant;

use crate::case::{Case, Impact, Level, Need, When};
use crate::ctx::{Ctx, Stop};
use crate::json::Json;
use crate::lab::{Answer, Request, cut, printable};
use crate::wire::percent_encoded;

pub(super) const CASES: &[Case] = &[
    Case::new("014-STA-001", Level::S, Impact::Interop, "Answers 200 with a JSON object")
        .basis(&["5.2-01", "4-05"], &["A-42"])
        .does("Status as the master, for the slave", "200 with a JSON object")
        .kills(&["M024"])
        .needs(&[Need::Slave])
        .run(sta_001),
    Case::new("014-STA-002", Level::S, Impact::Interop, "All eleven members present with exact spelling")
        .basis(&["6.1-01"], &[])
        .does("Status", "source_KME_ID, target_KME_ID, master_SAE_ID, slave_SAE_ID, key_size, stored_key_count, max_key_count, max_key_per_request, max_key_size, min_key_size, max_SAE_ID_count")
        .kills(&["M025", "M026"])
        .needs(&[Need::Slave])
        .run(sta_002),
    Case::new("014-STA-003", Level::S, Impact::Interop, "Four strings and seven integers; no numeric strings, no fractions")
        .basis(&["6.1-01"], &[])
        .does("Status", "strings where the standard has strings, integers where it has integers; the notation 256.0 is a derived finding only")
        .kills(&["M027"])
        .needs(&[Need::Slave])
        .run(sta_003),
    Case::new("014-STA-004", Level::S, Impact::Interop, "KME IDs non-empty, stable, and different for a remote slave")
        .basis(&["4-06"], &[])
        .does("Status twice", "non-empty KME IDs, the same both times, and two different ones if the slave is at the other KME")
        .kills(&["M029"])
        .needs(&[Need::Slave])
        .run(sta_004),
    Case::new("014-STA-005", Level::S, Impact::Interop, "`slave_SAE_ID` is the decoded path, `master_SAE_ID` the caller")
        .basis(&["5.2-04"], &[])
        .does(
            "Status; again with a letter of the SAE ID percent-encoded",
            "slave_SAE_ID as in the path, decoded; master_SAE_ID as the certificate has it",
        )
        .kills(&["M016", "M030"])
        .needs(&[Need::Slave])
        .run(sta_005),
    Case::new("014-STA-006", Level::D, Impact::Interop, "Status of the reverse pair at B mirrors the KME IDs")
        .basis(&["4-06"], &[])
        .does("Status at A for the slave, and at B for the master", "source and target exchanged")
        .kills(&["M031"])
        .needs(&[Need::Pair])
        .run(sta_006),
    Case::new("014-STA-007", Level::D, Impact::Interop, "min_key_size ≤ key_size ≤ max_key_size")
        .basis(&["6.1-05"], &[])
        .does("Status", "min_key_size ≤ key_size ≤ max_key_size")
        .kills(&["M032", "M034"])
        .needs(&[Need::Slave])
        .run(sta_007),
    Case::new("014-STA-008", Level::D, Impact::Interop, "0 ≤ stored_key_count ≤ max_key_count")
        .basis(&["6.1-03"], &[])
        .does("Status", "0 ≤ stored_key_count ≤ max_key_count")
        .kills(&["M033"])
        .needs(&[Need::Slave])
        .run(sta_008),
    Case::new("014-STA-009", Level::D, Impact::Interop, "max_key_per_request is at least 1")
        .basis(&["6.1-05"], &["A-37"])
        .does("Status", "max_key_per_request ≥ 1")
        .kills(&["M034"])
        .needs(&[Need::Slave])
        .run(sta_009),
    Case::new("014-STA-010", Level::S, Impact::Interop, "max_SAE_ID_count is 0 exactly when multicast is not claimed")
        .basis(&["6.1-02"], &[])
        .does("Status, compared with the claim about multicast", "0 if multicast is not claimed, more (derived) if it is")
        .kills(&["M035"])
        .needs(&[Need::Slave])
        .run(sta_010),
    Case::new("014-STA-011", Level::S, Impact::KeySafety, "Reading Status twice does not lower the pool")
        .basis(&["5.2-05"], &[])
        .does(
            "Status six times, then once after as long a time; that thrice",
            "stored_key_count does not fall each time, or falls without readings, too",
        )
        .kills(&["M036"])
        .needs(&[Need::Slave])
        .run(sta_011),
    Case::new("014-STA-012", Level::D, Impact::Interop, "`status_extension`, if present, is an object")
        .basis(&["6.1-04"], &[])
        .does("Status", "no status_extension, or one that is an object, or null")
        .kills(&["M037"])
        .needs(&[Need::Slave])
        .run(sta_012),
    Case::new("014-STA-013", Level::D, Impact::Interop, "Unknown slave: 400 or 401, never an invented Status")
        .basis(&["6.1-01"], &["A-36"])
        .does("Status for an SAE that does not exist, and for one whose ID has the form of the slave's", "400 or 401; no Status; a Status with wrong types fails as shall")
        .kills(&["M028"])
        .needs(&[Need::Slave])
        .negative()
        .run(sta_013),
    Case::new("014-STA-014", Level::D, Impact::Interop, "POST, PUT and DELETE on status are refused")
        .basis(&["5.1-11"], &[])
        .does("POST, PUT and DELETE on the status path", "4xx or 501; no Status")
        .kills(&["M038"])
        .needs(&[Need::Slave])
        .negative()
        .run(sta_014),
    Case::new("014-STA-015", Level::S, Impact::Interop, "SAE IDs with space, slash, percent, colon, non-ASCII round-trip")
        .basis(&["5.2-04", "5.2-03"], &["A-33"])
        .does(
            "Status for each configured SAE whose ID holds reserved characters",
            "slave_SAE_ID equal to the ID; of an SAE that is neither slave nor additional slave, which need not have keys with the master, 400 or 401 will do, and anything else but Status is a derived finding",
        )
        .kills(&["M030", "M039"])
        .needs(&[Need::Slave])
        .when(When::AnyId)
        .run(sta_015),
    Case::new("014-STA-016", Level::D, Impact::Interop, "stored_key_count is not 0 while keys are to be had")
        .basis(&["6.1-03"], &["A-37"])
        .does("every Get key within a second after Status for the same pair", "no key after a stored_key_count of 0, or now and then")
        .kills(&["M165"]),
];

fn fetched(t: &mut Ctx<'_>) -> Result<Answer, Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    if answer.is(200) && answer.json.as_ref().is_ok_and(Json::is_object) {
        return Ok(answer);
    }
    Err(Stop::Inconclusive(format!("no Status to look at, which STA-001 judges: {}", answer.shown)))
}

const TEXTS: [&str; 4] = ["source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID"];
const NUMBERS: [&str; 7] =
    ["key_size", "stored_key_count", "max_key_count", "max_key_per_request", "max_key_size", "min_key_size", "max_SAE_ID_count"];

fn sta_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    t.judgeable(&answer)?;
    t.check("code", answer.is(200), "200", &answer);
    let object = answer.json.as_ref().is_ok_and(Json::is_object);
    t.check("object", object, "a JSON object", &answer);
    Ok(())
}

fn sta_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = fetched(t)?;
    let missing: Vec<_> = TEXTS.iter().chain(&NUMBERS).filter(|name| answer.member(name).is_none()).copied().collect();
    t.check("members", missing.is_empty(), "all eleven", format!("missing: {}", missing.join(", ")));
    Ok(())
}

fn sta_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = fetched(t)?;
    for name in TEXTS {
        if let Some(value) = answer.member(name) {
            t.check(name, value.text().is_some(), "a string", value.kind());
        }
    }
    for name in NUMBERS {
        if let Some(value) = answer.member(name) {
            t.check(name, value.integer().is_some(), "an integer", value.kind());
            if let Json::Number(spelt) = value {
                let plain = spelt.bytes().all(|octet| octet.is_ascii_digit() || octet == b'-');
                t.check_at(Level::D, "notation", plain || value.integer().is_none(), "digits only", cut(spelt, 40));
            }
        }
    }
    if t.checks.is_empty() {
        return Err(Stop::Inconclusive("no member to look at".to_owned()));
    }
    Ok(())
}

fn sta_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = (fetched(t)?, fetched(t)?);
    for name in ["source_KME_ID", "target_KME_ID"] {
        let Some(id) = first.member(name).and_then(Json::text) else { continue };
        t.check(name, !id.is_empty(), "not empty", printable(id));
        let again = second.member(name).and_then(Json::text);
        t.check(name, again == Some(id), "the same again", &second);
    }
    if t.master()?.side != t.slave()?.side {
        let ids = (first.member(TEXTS[0]).and_then(Json::text), first.member(TEXTS[1]).and_then(Json::text));
        if let (Some(source), Some(target)) = ids {
            t.check("remote slave", source != target, "two different KME IDs", &first);
        }
    }
    if t.checks.is_empty() {
        return Err(Stop::Inconclusive("no KME IDs, which STA-002 judges".to_owned()));
    }
    Ok(())
}

fn sta_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = fetched(t)?;
    let slave = &t.slave()?.id;
    for (name, id) in [("slave_SAE_ID", slave), ("master_SAE_ID", &t.master()?.id)] {
        let got = answer.member(name).and_then(Json::text);
        t.check(name, got == Some(id), id, got.map_or("absent".to_owned(), printable));
    }
    // The same ID with a character encoded that need not be (RFC 3986, 2.3): the same resource.
    if let Some((first, rest)) = slave.split_at_checked(1).filter(|(first, _)| first.bytes().all(|c| c.is_ascii_alphanumeric())) {
        let mut request = Request::status(slave);
        let encoded = format!("%{:02X}{}", first.as_bytes()[0], percent_encoded(rest));
        request.target = format!("/api/v1/keys/{encoded}/status");
        let answer = t.lab.exchange(t.master()?, request.undefined())?;
        if let Some(got) = answer.member("slave_SAE_ID").and_then(Json::text).filter(|_| answer.is(200)) {
            t.check_at(Level::D, "decoded", got == slave, slave, printable(got));
        } else {
            t.observe_answer(&format!("{encoded} for {slave}"), &answer);
        }
    }
    Ok(())
}

fn sta_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let here = fetched(t)?;
    let there = t.status(t.slave()?, &t.master()?.id)?;
    if !there.is(200) {
        return Err(Stop::Inconclusive(format!("no Status for the reverse pair: {}", there.shown)));
    }
    let id = |answer: &Answer, name| answer.member(name).and_then(Json::text).map(str::to_owned);
    for (ours, theirs) in [("source_KME_ID", "target_KME_ID"), ("target_KME_ID", "source_KME_ID")] {
        let (at_a, at_b) = (id(&here, ours), id(&there, theirs));
        let got = format!("{ours} at A {at_a:?}, {theirs} at B {at_b:?}");
        t.check(ours, at_a.is_some() && at_a == at_b, "equal", got);
    }
    Ok(())
}

/// Integers of Status; inconclusive where they are none.
fn numbers<const N: usize>(t: &mut Ctx<'_>, names: [&str; N]) -> Result<[i128; N], Stop> {
    let answer = fetched(t)?;
    let mut numbers = [0; N];
    for (number, name) in numbers.iter_mut().zip(names) {
        let value = answer.member(name).and_then(Json::integer);
        *number = value.ok_or_else(|| Stop::Inconclusive(format!("{name} is no integer, which STA-002 and STA-003 judge")))?;
    }
    Ok(numbers)
}

fn sta_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let [min, default, max] = numbers(t, ["min_key_size", "key_size", "max_key_size"])?;
    let got = format!("{min}, {default}, {max}");
    t.check("order", min <= default && default <= max, "min_key_size ≤ key_size ≤ max_key_size", got);
    Ok(())
}

fn sta_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let [stored, max] = numbers(t, ["stored_key_count", "max_key_count"])?;
    t.check("range", 0 <= stored && stored <= max, "0 ≤ stored_key_count ≤ max_key_count", format!("{stored}, {max}"));
    Ok(())
}

fn sta_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let [max] = numbers(t, ["max_key_per_request"])?;
    t.check("value", max >= 1, "at least 1", max.to_string());
    Ok(())
}

fn sta_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let [max] = numbers(t, ["max_SAE_ID_count"])?;
    match t.lab.config.ics.multicast {
        Some(claim) => {
            let accepted =
                if claim.claimed { "more than 0, since multicast is claimed" } else { "0, since multicast is not claimed" };
            // The standard lays down the 0 for KMEs without multicast only.
            let level = if claim.claimed && max == 0 { Level::D } else { Level::S };
            t.check_at(level, "value", (max > 0) == claim.claimed && max >= 0, accepted, max.to_string());
            if let Some(claimed) = claim.max.filter(|_| claim.claimed) {
                t.check_at(Level::D, "claimed", max == i128::from(claimed), &format!("{claimed} as claimed"), max.to_string());
            }
        }
        None => {
            t.check("value", max >= 0, "0 or more; nothing is claimed about multicast", max.to_string());
            t.observe(format!("max_SAE_ID_count {max}: taken as the claim (derived)"));
        }
    }
    Ok(())
}

fn sta_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (mut by_reading, mut by_others, mut told) = (0, 0, Vec::new());
    for _ in 0..3 {
        let began = Instant::now();
        let mut counts = Vec::new();
        for _ in 0..6 {
            let [stored] = numbers(t, ["stored_key_count"])?;
            counts.push(stored);
        }
        if !counts.windows(2).all(|pair| pair[1] < pair[0]) {
            t.check("count", true, "not lower at every reading", format!("{counts:?}"));
            return Ok(());
        }
        // Others may draw from the pool: what falls in the same time without so many readings is theirs.
        thread::sleep(began.elapsed());
        let [quiet] = numbers(t, ["stored_key_count"])?;
        by_reading += counts[0] - counts[5];
        by_others += counts[5] - quiet;
        told.push(format!("{counts:?}, then {quiet}"));
    }
    if by_others * 2 > by_reading {
        return Err(Stop::Inconclusive(format!("stored_key_count falls by itself: {}", told.join("; "))));
    }
    t.check("count", false, "not lower at every reading", told.join("; "));
    Ok(())
}

fn sta_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = fetched(t)?;
    let got = answer.member("status_extension").map_or("absent", Json::kind);
    t.check("status_extension", matches!(got, "absent" | "an object" | "null"), "an object, if present", got);
    Ok(())
}

fn sta_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    t.nobodies()?.iter().try_for_each(|nobody| invented_status(t, nobody))
}

fn invented_status(t: &mut Ctx<'_>, nobody: &str) -> Result<(), Stop> {
    let answer = t.lab.exchange(t.master()?, Request::status(nobody).faulty())?;
    if answer.is(200) {
        // A wrong type is more than a derived finding.
        let typed = TEXTS.iter().all(|name| answer.member(name).is_none_or(|value| value.text().is_some()))
            && NUMBERS.iter().all(|name| answer.member(name).is_none_or(|value| value.integer().is_some()));
        t.check_at(Level::S, "types", typed, "no wrong type, whatever the answer", &answer);
    }
    t.expect_refusal(&answer, &[400, 401], None)?;
    t.expect_nothing_served("no Status", &answer)
}

fn sta_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let slave = &t.slave()?.id;
    for method in ["POST", "PUT", "DELETE"] {
        let mut request = Request::status(slave).method(method).undefined();
        if method != "DELETE" {
            request = request.json("{}");
        }
        let answer = t.lab.exchange(t.master()?, request)?;
        t.expect_nothing_served(&format!("{method}: no Status"), &answer)?;
        let refused = answer.status().is_none_or(|status| (400..500).contains(&status) || status == 501);
        t.check(method, refused, "4xx or 501, or a closed connection", &answer);
    }
    Ok(())
}

fn sta_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let odd = |id: &str| id.bytes().any(|octet| !octet.is_ascii_alphanumeric() && !b"-._~".contains(&octet));
    let master = t.master()?;
    let roles = &t.lab.config.roles;
    for sae in t.lab.saes().filter(|sae| odd(&sae.id) && sae.id != master.id) {
        let answer = t.status(master, &sae.id)?;
        t.judgeable(&answer)?;
        // A master has keys with its slaves (5.2-04); with whom else is the network's business.
        let related = roles.slave.as_ref() == Some(&sae.name) || roles.additional.contains(&sae.name);
        // Another code of success is for STA-001 to judge.
        if related || answer.succeeds() {
            let got = answer.member("slave_SAE_ID").and_then(Json::text);
            t.check("slave_SAE_ID", got == Some(&sae.id), &printable(&sae.id), &answer);
        } else if matches!(answer.status(), Some(400 | 401)) {
            t.observe_answer(&format!("Status for {}, who need not have keys with the master", sae.id), &answer);
        } else {
            t.check_at(Level::D, "code", false, "200, or 400 or 401 if it has no keys with the master", &answer);
        }
    }
    match (t.checks.is_empty(), t.observed.is_empty()) {
        (false, _) => Ok(()),
        (true, true) => Err(Stop::Skip("no configured SAE has an ID with reserved characters".to_owned())),
        (true, false) => {
            Err(Stop::Inconclusive("no slave and no additional slave has an ID with reserved characters".to_owned()))
        }
    }
}
