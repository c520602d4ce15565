//! Get key with key IDs (clauses 5.4, 6.4).

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Impact, Level, Need, When};
use crate::ctx::{Ctx, Stop, mandated, not_yet};
use crate::hooks;
use crate::lab::{Answer, Key, Request};
use crate::report::Verdict;
use crate::wire::percent_encoded;

pub(super) const CASES: &[Case] = &[
    Case::new("014-DEC-001", Level::S, Impact::KeySafety, "POST one ID at B: same ID, same bytes as at A")
        .basis(&["4-01", "4-12", "5.4-01", "5.4-03"], &[])
        .does("Get key of one key at A; POST of its ID at B", "200 with that ID and the same octets")
        .kills(&["M093"])
        .needs(&[Need::Pair])
        .cost(1, 0)
        .run(dec_001),
    Case::new("014-DEC-002", Level::D, Impact::KeySafety, "GET is offered for one ID at B: same ID, same bytes")
        .basis(&["5.4-02", "5.4-03"], &[])
        .does("Get key of one key at A; GET with its ID at B", "200 with that ID and the same octets")
        .kills(&["M094", "M095"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(dec_002),
    Case::new("014-DEC-003", Level::S, Impact::KeySafety, "POST several IDs: exactly those keys, matched by ID")
        .basis(&["5.4-03"], &["A-35"])
        .does(
            "Get key of three keys; POST of the three IDs in reverse order",
            "200 with exactly these, in any order, each with its octets",
        )
        .kills(&["M096", "M097"])
        .needs(&[Need::Slave])
        .cost(3, 0)
        .run(dec_003),
    Case::new("014-DEC-004", Level::S, Impact::Interop, "Unknown ID: 400 with the mandated sentence; GET and POST")
        .basis(&["6.4-06"], &["A-01"])
        .does("POST and GET of an ID that nobody has drawn", "400 with the mandated sentence; 404, or 400 in other words, to GET is a derived finding where GET is not seen to be offered; by the letter 401 is wrong, too: 5.4-04 has it for keys that were asked for in somebody else's name, and this one nobody has drawn (A-01)")
        .kills(&["M098", "M099", "M100"])
        .needs(&[Need::Slave])
        .negative()
        .run(dec_004),
    Case::new("014-DEC-005", Level::S, Impact::KeySafety, "One unknown among known: 400 with the sentence, no partial container")
        .basis(&["6.4-06"], &["A-01"])
        .does("POST of the ID of a key that has arrived and of an unknown ID", "400 with the mandated sentence, and no key; not 401, since nobody has drawn the unknown one (A-01)")
        .kills(&["M101"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .negative()
        .run(dec_005),
    Case::new("014-DEC-006", Level::D, Impact::KeySafety, "A refused request with known and unknown IDs leaves the known ones retrievable")
        .basis(&["6.4-06"], &[])
        .does("POST of the ID of a key that has arrived and of an unknown ID; then POST of the known ID", "200 with the key")
        .kills(&["M102"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .negative()
        .run(dec_006),
    Case::new("014-DEC-007", Level::S, Impact::KeySafety, "A second retrieval: 400 with the mandated sentence")
        .basis(&["5.4-05", "6.4-06"], &["A-11"])
        .parts(&[("no key", &["5.4-05"]), ("code", &["6.4-06"]), ("text", &["6.4-06"])])
        .does(
            "a key is fetched; then its ID again by POST and GET",
            "400 with the mandated sentence; 404, or 400 in other words, to GET is a derived finding where GET is not seen to be offered",
        )
        .kills(&["M098", "M103"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .negative()
        .run(dec_007),
    Case::new("014-DEC-008", Level::D, Impact::Interop, "`key_ID` that is not a UUID: 400")
        .basis(&["6.4-01"], &[])
        .does("POST and GET of not-a-uuid", "400")
        .kills(&["M104"])
        .needs(&[Need::Slave])
        .aside(2)
        .negative()
        .run(dec_008),
    Case::new("014-DEC-009", Level::D, Impact::Interop, "Empty `key_IDs`: 400")
        .basis(&["6.4-01"], &[])
        .does("POST with an empty key_IDs", "400")
        .kills(&["M105"])
        .needs(&[Need::Slave])
        .aside(2)
        .negative()
        .run(dec_009),
    Case::new("014-DEC-010", Level::D, Impact::Interop, "`key_IDs` missing or not an array: 400")
        .basis(&["6.4-01"], &[])
        .does("POST without key_IDs, and with key_IDs as string and object", "400")
        .kills(&["M106"])
        .needs(&[Need::Slave])
        .aside(2)
        .negative()
        .run(dec_010),
    Case::new("014-DEC-011", Level::D, Impact::Interop, "`key_IDs` as array of strings is refused")
        .basis(&["6.4-01"], &[])
        .does("POST with key_IDs as an array of strings, the ID of a key that has arrived", "400")
        .kills(&["M107"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .negative()
        .run(dec_011),
    Case::new("014-DEC-012", Level::O, Impact::Interop, "The same ID twice in one request: outcome recorded")
        .basis(&[], &["A-34"])
        .does("POST with one ID twice", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(dec_012),
    Case::new("014-DEC-013", Level::O, Impact::Interop, "ID sent in the other letter case: outcome recorded")
        .basis(&[], &["A-28"])
        .does("POST with the ID in the other letter case", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(dec_013),
    Case::new("014-DEC-014", Level::D, Impact::Interop, "Extension members in Key IDs are accepted")
        .basis(&["6.4-02"], &[])
        .does("POST with key_ID_extension and key_IDs_extension", "200 with the key")
        .kills(&["M108"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(dec_014),
    Case::new(
        "014-DEC-015",
        Level::D,
        Impact::Interop,
        "Repeated `key_ID` in GET: refused or answered in full, never a silent subset",
    )
    .basis(&["6.4-05"], &["A-06"])
    .does("GET with two key_ID", "refused without a key, or both keys")
    .kills(&["M109"])
    .needs(&[Need::Slave])
    .cost(3, 0)
    .run(dec_015),
    Case::new("014-DEC-016", Level::D, Impact::Interop, "Retrievable within the declared settle time; before it only 400 or 503")
        .basis(&[], &["A-21"])
        .does("a key is asked for from the moment it is drawn", "400 or 503 at first, 200 within limits.settle_ms")
        .kills(&["M110"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(dec_016),
    Case::new("014-DEC-017", Level::D, Impact::Interop, "Both SAEs on one KME work")
        .basis(&["4-04", "5.4-03"], &[])
        .does("an SAE draws a key for an SAE at the same KME, which fetches it", "200 with the same octets")
        .kills(&["M111"])
        .needs(&[Need::LocalPair])
        .when(When::LocalPair)
        .cost(1, 0)
        .run(dec_017),
    Case::new("014-DEC-018", Level::D, Impact::KeySafety, "n simultaneous retrievals of one ID: exactly one success")
        .basis(&["5.4-05"], &[])
        .does("eight simultaneous POSTs of one ID", "exactly one 200")
        .kills(&["M103", "M112"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(dec_018),
    Case::new("014-DEC-019", Level::D, Impact::Interop, "Roles reversed: B master, A slave")
        .basis(&["5.4-03"], &[])
        .does("the slave draws at B for the master, which fetches at A", "200 with the same octets")
        .kills(&["M113"])
        .needs(&[Need::Pair])
        .cost(1, 0)
        .run(dec_019),
    Case::new("014-DEC-020", Level::D, Impact::Interop, "max_key_per_request IDs in one POST")
        .basis(&["5.4-03"], &[])
        .does("POST of max_key_per_request IDs (at most limits.max_batch)", "200 with exactly these")
        .kills(&["M096", "M114"])
        .needs(&[Need::Slave])
        .batches(1, 0)
        .run(dec_020),
    Case::new("014-DEC-021", Level::S, Impact::KeySafety, "Some IDs now, the rest later, one by one")
        .basis(&["5.4-03"], &[])
        .does("three keys drawn together, fetched one by one", "each with its octets")
        .kills(&["M115"])
        .needs(&[Need::Slave])
        .cost(3, 0)
        .run(dec_021),
    Case::new("014-DEC-022", Level::D, Impact::Interop, "GET without `key_ID`: 400")
        .basis(&["6.4-03"], &[])
        .does("GET without key_ID", "400")
        .kills(&["M116"])
        .needs(&[Need::Slave])
        .aside(2)
        .negative()
        .run(dec_022),
    Case::new("014-DEC-023", Level::D, Impact::Interop, "Expired key: 400 with the mandated sentence")
        .basis(&["6.4-06"], &["A-02"])
        .does("a key has arrived, the clock is moved on, the key asked for", "400 with the mandated sentence")
        .kills(&["M117"])
        .needs(&[Need::Slave, Need::Destructive, Need::Hook("clock_forward")])
        .when(When::Lifetime)
        .cost(2, 0)
        .run(dec_023),
    Case::new("014-DEC-024", Level::D, Impact::KeySafety, "What was delivered can be fetched until somebody has")
        .basis(&["5.3-06", "5.4-03"], &["A-21"])
        .does(
            "the slave asks for every key that a case has drawn by an ordinary request and left",
            "200, within limits.settle_ms",
        )
        .kills(&["M157"]),
];

const REFUSED: &[u16] = &[400];

fn dec_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let answer = t.collect(t.slave()?, &t.master()?.id, &[&drawn[0].id])?;
    t.expect_same(&answer, &drawn)
}

/// By GET, again until the key has come or the settle time is over.
fn by_get(t: &Ctx<'_>, id: &str) -> Result<Answer, Stop> {
    let request = Request::get_ids(&t.master()?.id, &format!("key_ID={}", percent_encoded(id)));
    t.ask_settled(t.slave()?, &request, |answer| !not_yet(answer))
}

fn dec_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let answer = by_get(t, &drawn[0].id)?;
    t.expect_same(&answer, &drawn)
}

fn ids(drawn: &[Key]) -> Vec<&str> {
    drawn.iter().map(|key| key.id.as_str()).collect()
}

/// How many IDs may be in one request, up to `wanted`: the limit is for keys per request.
fn together(t: &Ctx<'_>, wanted: u64) -> Result<u64, Stop> {
    match t.limits().max_per_request.unwrap_or(wanted).min(wanted) {
        0 | 1 => Err(Stop::NotApplicable("max_key_per_request is 1".to_owned())),
        number => Ok(number),
    }
}

fn dec_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let number = together(t, 3)?;
    let drawn = t.draw(number)?;
    let mut asked = ids(&drawn);
    asked.reverse();
    let answer = t.collect(t.slave()?, &t.master()?.id, &asked)?;
    t.expect_same(&answer, &drawn)
}

/// Asks for what is not to be had; again while the KME says 503.
fn ask_in_vain(t: &Ctx<'_>, request: Request) -> Result<Answer, Stop> {
    t.ask_settled(t.slave()?, &request.faulty(), |answer| !answer.is(503))
}

fn refused(t: &mut Ctx<'_>, request: Request, text: Option<&str>) -> Result<(), Stop> {
    let by_get = request.method == "GET";
    let answer = ask_in_vain(t, request)?;
    judge_refusal(t, by_get, &answer, text)
}

/// A KME need not offer GET, which DEC-002 judges: 404 may be of the key, or of the method. It is of the key where GET has been
/// served before, and where POST is refused with it, too.
fn judge_refusal(t: &mut Ctx<'_>, by_get: bool, answer: &Answer, text: Option<&str>) -> Result<(), Stop> {
    let excused = t.checks.iter().all(|check| check.part != "code" || check.verdict == Verdict::Pass);
    match answer.status().filter(|_| by_get && answer.material == 0) {
        Some(405 | 501) => t.observe("GET is not offered, which DEC-002 judges"),
        Some(404) if excused && !t.lab.passive().offers_get => {
            t.check_at(Level::D, "code", false, "400, or 405 where GET is not offered", answer)
        }
        _ => {
            let offered = !by_get || t.lab.passive().offers_get;
            return t.expect_refusal_by_get(offered, answer, REFUSED, text);
        }
    }
    Ok(())
}

fn by_id(master: &str, id: &str) -> Request {
    Request::get_ids(master, &format!("key_ID={}", percent_encoded(id)))
}

fn dec_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, id) = (t.master()?.id.clone(), t.fresh_id());
    refused(t, Request::post_ids(&master, &[&id]), Some(mandated::NOT_FOUND))?;
    refused(t, by_id(&master, &id), Some(mandated::NOT_FOUND))
}

fn mixed(t: &mut Ctx<'_>) -> Result<(Vec<Key>, Answer), Stop> {
    together(t, 2)?;
    let drawn = t.arrived(1)?;
    let unknown = t.fresh_id();
    let request = Request::post_ids(&t.master()?.id, &[drawn[0].id.as_str(), &unknown]).faulty();
    // The unknown one might be on its way, for all the KME knows (A-21).
    let answer = t.ask_settled(t.slave()?, &request, |answer| !answer.is(503))?;
    Ok((drawn, answer))
}

fn dec_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (_, answer) = mixed(t)?;
    t.expect_refusal(&answer, REFUSED, Some(mandated::NOT_FOUND))
}

fn dec_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (drawn, answer) = mixed(t)?;
    t.judgeable(&answer)?;
    if answer.material > 0 {
        return Err(Stop::Inconclusive(format!("not refused, which DEC-005 judges: {}", answer.shown)));
    }
    let answer = t.collect(t.slave()?, &t.master()?.id, &ids(&drawn))?;
    t.expect_same(&answer, &drawn)
}

/// A key drawn and fetched.
fn fetched(t: &mut Ctx<'_>) -> Result<Key, Stop> {
    let mut drawn = t.draw(1)?;
    let answer = t.collect(t.slave()?, &t.master()?.id, &ids(&drawn))?;
    if !answer.is(200) {
        return Err(Stop::Inconclusive(format!("the key could not be fetched at all, which DEC-001 judges: {}", answer.shown)));
    }
    drawn.pop().ok_or(Stop::Judged)
}

fn dec_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let key = fetched(t)?;
    let master = t.master()?.id.clone();
    for (by_get, request) in [(false, Request::post_ids(&master, &[&key.id])), (true, by_id(&master, &key.id))] {
        let answer = ask_in_vain(t, request)?;
        if answer.is(503) && answer.material == 0 {
            // A KME that has just handed out the key can tell that it is gone (A-01).
            t.check("code", false, "400", &answer);
        } else {
            judge_refusal(t, by_get, &answer, Some(mandated::NOT_FOUND))?;
        }
    }
    Ok(())
}

fn dec_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    t.entitle()?;
    let master = t.master()?.id.clone();
    refused(t, Request::post_ids(&master, &["not-a-uuid"]), None)?;
    refused(t, by_id(&master, "not-a-uuid"), None)
}

fn refused_bodies(t: &mut Ctx<'_>, bodies: &[&str]) -> Result<(), Stop> {
    t.entitle()?;
    let master = t.master()?.id.clone();
    bodies.iter().try_for_each(|body| refused(t, Request::post_ids_body(&master, body), None))
}

fn dec_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_bodies(t, &[r#"{"key_IDs":[]}"#])
}

fn dec_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_bodies(t, &["{}", r#"{"key_IDs":"x"}"#, r#"{"key_IDs":{"key_ID":"x"}}"#])
}

fn dec_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // Before a key has arrived, refusing proves nothing.
    let drawn = t.arrived(1)?;
    let body = serde_json::json!({ "key_IDs": [drawn[0].id] }).to_string();
    let request = Request::post_ids_body(&t.master()?.id, &body).faulty();
    let answer = t.ask_settled(t.slave()?, &request, |answer| !answer.is(503))?;
    t.expect_refusal(&answer, REFUSED, None)
}

fn dec_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let id = &drawn[0].id;
    let request = Request::post_ids(&t.master()?.id, &[id, id]).undefined();
    let answer = t.lab.exchange(t.slave()?, request)?;
    t.observe_answer("the same ID twice in one request", &answer);
    Ok(())
}

fn dec_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let id = &drawn[0].id;
    let upper = id.to_ascii_uppercase();
    let other = if *id == upper { id.to_ascii_lowercase() } else { upper };
    let answer =
        t.ask_settled(t.slave()?, &Request::post_ids(&t.master()?.id, &[other]).undefined(), |answer| !answer.is(503))?;
    t.observe_answer("the ID in the other letter case", &answer);
    Ok(())
}

fn dec_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let body = serde_json::json!({
        "key_IDs": [{ "key_ID": drawn[0].id, "key_ID_extension": { "qkdspec_x": 1 } }],
        "key_IDs_extension": { "qkdspec_y": ["z"] },
    });
    let request = Request::post_ids_body(&t.master()?.id, &body.to_string());
    let answer = t.ask_settled(t.slave()?, &request, |answer| !not_yet(answer))?;
    t.expect_same(&answer, &drawn)
}

fn dec_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.arrived(2)?;
    let query = format!("key_ID={}&key_ID={}", percent_encoded(&drawn[0].id), percent_encoded(&drawn[1].id));
    let request = Request::get_ids(&t.master()?.id, &query).undefined();
    let answer = t.ask_settled(t.slave()?, &request, |answer| !answer.is(503))?;
    t.judgeable(&answer)?;
    let all = answer.is(200) && answer.keys.len() == 2;
    let none = answer.status().is_some_and(|status| status >= 400) && answer.material == 0;
    t.check("subset", all || none, "refused without a key, or both keys", &answer);
    Ok(())
}

fn dec_016(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(1)?;
    let began = Instant::now();
    let request = Request::post_ids(&t.master()?.id, &ids(&drawn));
    loop {
        let answer = t.lab.exchange(t.slave()?, request.clone())?;
        if answer.is(200) {
            t.check("settled", true, "200 within the settle time", format!("after {} ms", began.elapsed().as_millis()));
            t.observe(format!("retrievable {} ms after Get key", began.elapsed().as_millis()));
            return t.expect_same(&answer, &drawn);
        }
        let early = not_yet(&answer);
        if !early {
            t.judgeable(&answer)?;
        }
        // The last of them stands for all.
        t.checks.clear();
        t.check("before", early, "400 or 503", &answer);
        if !early || began.elapsed() > t.lab.config.limits.settle() {
            let settle = t.lab.config.limits.settle_ms;
            t.check("settled", false, &format!("200 within {settle} ms"), &answer);
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn dec_017(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = t.neighbours()?;
    let drawn = t.draw_for(first, &second.id, 1)?;
    let answer = t.collect(second, &first.id, &ids(&drawn))?;
    t.expect_same(&answer, &drawn)
}

fn dec_018(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // One is fetched first, so that the other is there, too, if the two were drawn together.
    let drawn = t.draw(2)?;
    let first = t.collect(t.slave()?, &t.master()?.id, &[&drawn[0].id])?;
    if !first.is(200) {
        return Err(Stop::Inconclusive(format!("no key could be fetched, which DEC-001 judges: {}", first.shown)));
    }
    let (slave, lab) = (t.slave()?, t.lab);
    let request = Request::post_ids(&t.master()?.id, &[&drawn[1].id]);
    let start = Barrier::new(8);
    let answers: Vec<Result<Answer, Stop>> = thread::scope(|scope| {
        let race = || {
            let session = lab.connect(slave);
            start.wait();
            session?.ask(request.clone())
        };
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap_or_else(|_| Err(Stop::Error("a thread panicked".to_owned()))))
            .collect()
    });
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut got = answers.iter().filter(|answer| answer.material > 0).count();
    if got == 0 {
        got += usize::from(t.collect(slave, &t.master()?.id, &[&drawn[1].id])?.is(200));
        // The one success may have been in an answer that did not come (A-38).
        if let Some(lost) = answers.iter().find(|answer| answer.outcome.is_err()).filter(|_| got == 0) {
            return Err(Stop::Inconclusive(lost.shown.clone()));
        }
    }
    t.check("successes", got == 1, "exactly one", format!("{got} of 8"));
    Ok(())
}

fn dec_019(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (slave, master) = (t.slave()?, t.master()?);
    let answer = t.supply(slave, &Request::post_key(&master.id, "{}"), None)?;
    let drawn = t.expect_keys(answer, 1, None)?;
    let answer = t.collect(master, &slave.id, &ids(&drawn))?;
    t.expect_same(&answer, &drawn)
}

fn dec_020(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.min(t.lab.config.limits.max_batch);
    t.parameters.insert("number".to_owned(), number.to_string());
    let drawn = t.draw(number)?;
    let answer = t.collect(t.slave()?, &t.master()?.id, &ids(&drawn))?;
    t.expect_same(&answer, &drawn)
}

fn dec_021(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let drawn = t.draw(3)?;
    for key in drawn.chunks(1) {
        let answer = t.collect(t.slave()?, &t.master()?.id, &ids(key))?;
        t.expect_same(&answer, key)?;
    }
    Ok(())
}

fn dec_022(t: &mut Ctx<'_>) -> Result<(), Stop> {
    t.entitle()?;
    let request = Request::get_ids(&t.master()?.id, "").faulty();
    let answer = t.ask_settled(t.slave()?, &request, |answer| !answer.is(503))?;
    if matches!(answer.status(), Some(404 | 405 | 501)) && answer.material == 0 {
        return Err(Stop::NotApplicable("GET is not offered: DEC-002 judges that".to_owned()));
    }
    t.expect_refusal(&answer, REFUSED, None)
}

fn dec_023(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // What has not arrived is not expired.
    let drawn = t.arrived(1)?;
    hooks::run(t.lab, "clock_forward")?;
    let master = t.master()?.id.clone();
    refused(t, Request::post_ids(&master, &[&drawn[0].id]), Some(mandated::NOT_FOUND))
}
