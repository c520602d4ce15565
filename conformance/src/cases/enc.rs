//! Get key (clauses 5.3, 6.2, 6.3).

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop, mandated};
use crate::hooks;
use crate::json::Json;
use crate::lab::{Answer, Request, printable};
use crate::wire::{MAX_BODY, percent_encoded};

pub(super) const CASES: &[Case] = &[
    Case::new("014-ENC-001", Level::S, Impact::Interop, "POST `{}` gives one key of key_size bits")
        .basis(&["5.3-01", "6.2-03", "6.2-04"], &[])
        .does("POST with the body {}", "200 with one key of key_size bits")
        .kills(&["M040"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_001),
    Case::new("014-ENC-002", Level::D, Impact::Interop, "GET is offered, and without query gives one key of key_size bits")
        .basis(&["5.3-02", "6.2-05"], &[])
        .does("GET without query", "200 with one key of key_size bits")
        .kills(&["M041"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_002),
    Case::new("014-ENC-003", Level::S, Impact::Interop, "GET `number`, where GET is offered, is honoured")
        .basis(&["6.2-06"], &["A-07"])
        .does("GET with number=2", "200 with two keys; not applicable if GET is not offered or only one key per request is")
        .kills(&["M042"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(enc_003),
    Case::new("014-ENC-004", Level::S, Impact::Interop, "GET `size`, where GET is offered, is honoured")
        .basis(&["6.2-06"], &["A-07"])
        .does(
            "GET with size, the smallest that is a multiple of 8",
            "200 with one key of that size; not applicable if GET is not offered",
        )
        .kills(&["M042", "M044"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_004),
    Case::new("014-ENC-005", Level::S, Impact::Interop, "POST `number` is honoured")
        .basis(&["6.3-02"], &[])
        .does("POST with number 2", "200 with two keys; not applicable if only one key per request is offered")
        .kills(&["M043"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(enc_005),
    Case::new("014-ENC-006", Level::S, Impact::Interop, "POST `size` = min_key_size is honoured")
        .basis(&["6.3-04"], &["A-08"])
        .does("POST with size = min_key_size", "200 with one key of that size")
        .kills(&["M044", "M045"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_006),
    Case::new("014-ENC-007", Level::S, Impact::Interop, "POST `size` = max_key_size is honoured")
        .basis(&["6.3-04"], &[])
        .does("POST with size = max_key_size", "200 with one key of that size")
        .kills(&["M044", "M046", "M063"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_007),
    Case::new("014-ENC-008", Level::S, Impact::Interop, "`number` = max_key_per_request gives exactly that many")
        .basis(&["6.3-02"], &[])
        .does("POST with number = max_key_per_request (at most limits.max_batch)", "200 with that many keys")
        .kills(&["M043", "M046"])
        .needs(&[Need::Slave])
        .batches(1, 0)
        .run(enc_008),
    Case::new("014-ENC-009", Level::D, Impact::KeySafety, "`number` = max_key_per_request + 1: 400, nothing delivered")
        .basis(&[], &["A-22"])
        .does("POST with number = max_key_per_request + 1", "400 and no key")
        .kills(&["M047"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .batches(0, 1)
        .negative()
        .run(enc_009),
    Case::new("014-ENC-010", Level::D, Impact::Interop, "`number` 0 is refused")
        .basis(&[], &["A-23"])
        .does("number 0, by POST and GET", "400 and no key")
        .kills(&["M048"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(enc_010),
    Case::new("014-ENC-011", Level::D, Impact::Interop, "Negative `number` is refused")
        .basis(&[], &["A-23"])
        .does("number −1, by POST and GET", "400 and no key")
        .kills(&["M049"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(enc_011),
    Case::new(
        "014-ENC-012",
        Level::D,
        Impact::KeySafety,
        "GET `number` that is not an integer is refused (abc, 1.5, 1e1, empty)",
    )
    .basis(&[], &["A-23"])
    .does("GET with number abc, 1.5, 1e1 and empty", "400 and no key")
    .kills(&["M050"])
    .needs(&[Need::Slave])
    .cost(0, 13)
    .negative()
    .run(enc_012),
    Case::new("014-ENC-013", Level::D, Impact::Interop, "POST `number` as string or fraction is refused")
        .basis(&["6.2-01"], &[])
        .does("POST with number \"2\" and 1.5", "400 and no key")
        .kills(&["M051"])
        .needs(&[Need::Slave])
        .cost(0, 4)
        .negative()
        .run(enc_013),
    Case::new("014-ENC-014", Level::D, Impact::Interop, "`size` below min_key_size is refused")
        .basis(&[], &["A-22"])
        .does("size 8 below min_key_size, by POST", "400 and no key; not applicable if there is no smaller size")
        .kills(&["M052"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(enc_014),
    Case::new("014-ENC-015", Level::D, Impact::Interop, "`size` above max_key_size is refused")
        .basis(&[], &["A-22"])
        .does("size 8 above max_key_size, by POST", "400 and no key")
        .kills(&["M053"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(enc_015),
    Case::new("014-ENC-016", Level::D, Impact::Interop, "`size` 0 or negative is refused")
        .basis(&[], &["A-23"])
        .does("size 0 and −8, by POST", "400 and no key")
        .kills(&["M052"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(enc_016),
    Case::new("014-ENC-017", Level::D, Impact::Interop, "`size` as string, fraction or beyond 2^53 is refused")
        .basis(&["6.2-01"], &[])
        .does("size as string, with a fraction, and 2^64 + key_size", "400 and no key")
        .kills(&["M054"])
        .needs(&[Need::Slave])
        .cost(0, 3)
        .negative()
        .run(enc_017),
    Case::new(
        "014-ENC-018",
        Level::S,
        Impact::Interop,
        "`size` = 8n+1: exactly that many bits, or 400 with the mandated sentence; GET and POST",
    )
    .basis(&["6.2-08", "6.2-09"], &["A-40"])
    .does(
        "size one bit above a multiple of 8, by GET and POST",
        "that many bits, or 400 with the mandated sentence; as claimed in size.any-bit, if it is",
    )
    .kills(&["M055", "M056"])
    .needs(&[Need::Slave])
    .cost(2, 0)
    .negative()
    .run(enc_018),
    Case::new("014-ENC-019", Level::S, Impact::Interop, "The container member is `keys`, a non-empty array of objects")
        .basis(&["5.3-04", "6.3-01"], &["A-29"])
        .does("every key container", "`keys` is a non-empty array of objects")
        .kills(&["M057", "M058"]),
    Case::new("014-ENC-020", Level::S, Impact::Interop, "`key_ID` has UUID form, any version")
        .basis(&["6.3-03"], &["A-28"])
        .does("every key container", "8-4-4-4-12 hexadecimal digits")
        .kills(&["M059"]),
    Case::new("014-ENC-021", Level::S, Impact::KeySafety, "No `key_ID` repeats in the whole run, at either KME")
        .basis(&["4-13"], &[])
        .does("every Get key answer", "an ID that did not occur before, letter case aside")
        .kills(&["M060"]),
    Case::new("014-ENC-022", Level::S, Impact::Interop, "`key` is RFC 4648 base64: standard alphabet, padding, one line")
        .basis(&["6.3-04"], &[])
        .does("every key container", "strict base64")
        .kills(&["M061", "M062"]),
    Case::new("014-ENC-023", Level::S, Impact::Interop, "Decoded length equals the size asked for, or the default")
        .basis(&["6.3-04"], &[])
        .does("every key container", "ceil(bits / 8) octets")
        .kills(&["M044", "M045", "M063"]),
    Case::new("014-ENC-024", Level::S, Impact::KeySafety, "No key material repeats under a second ID")
        .basis(&["5.3-07"], &[])
        .does("every Get key answer, keys of 64 bits and more", "a fingerprint that did not occur before")
        .kills(&["M064", "M065", "M067"]),
    Case::new("014-ENC-025", Level::D, Impact::KeySafety, "Material is not degenerate (constant, counter, text, repeated block)")
        .basis(&["clause 3.1"], &[])
        .does(
            "every Get key answer, keys of 128 bits and more",
            "not constant, not counting, not text, no repeated block, no beginning shared with another key",
        )
        .kills(&["M065", "M066"]),
    Case::new("014-ENC-026", Level::S, Impact::KeySafety, "Two equal Get key calls return disjoint IDs")
        .basis(&["5.3-07"], &[])
        .does("the same Get key twice", "two different IDs and keys")
        .kills(&["M067"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(enc_026),
    Case::new(
        "014-ENC-027",
        Level::S,
        Impact::KeySafety,
        "After a second Get key call the slave can still fetch the keys of the first",
    )
    .basis(&["5.3-06", "5.4-03"], &[])
    .does("Get key twice; then the slave asks for the first, then for the second", "both, as drawn")
    .kills(&["M068"])
    .needs(&[Need::Pair])
    .cost(2, 0)
    .run(enc_027),
    Case::new(
        "014-ENC-028",
        Level::D,
        Impact::KeySafety,
        "stored_key_count falls by the number drawn (refill paused, else inconclusive)",
    )
    .basis(&["5.3-07"], &[])
    .does("with the QKD link down: Status, Get key of two keys, Status", "stored_key_count is lower by 2")
    .kills(&["M069"])
    .needs(&[Need::Slave, Need::Destructive, Need::Hook("link_down"), Need::Hook("link_up")])
    .cost(2, 0)
    .run(enc_028),
    Case::new("014-ENC-029", Level::S, Impact::KeySafety, "Too few keys: an error, never a short or empty container")
        .basis(&["6.3-02"], &["A-20"])
        .does("Get key of full batches until the drained pool is empty", "full containers, then 503 or 400 without a key")
        .kills(&["M070"])
        .needs(&[Need::Slave, Need::Destructive, Need::Hook("drain_a"), Need::Hook("refill_a")])
        .batches(4, 0)
        .run(enc_029),
    Case::new("014-ENC-030", Level::D, Impact::Interop, "Extension members of the container, if any, are objects")
        .basis(&["6.3-05"], &[])
        .does("every key container", "key_ID_extension, key_extension, key_container_extension are objects where present")
        .kills(&["M071"]),
    Case::new("014-ENC-031", Level::O, Impact::Interop, "POST with a body of 0 octets: outcome recorded")
        .basis(&[], &["A-25"])
        .does("POST with a body of 0 octets", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_031),
    Case::new("014-ENC-032", Level::O, Impact::Interop, "Unknown request member: outcome recorded")
        .basis(&[], &["A-26"])
        .does("POST with a member that the standard does not know", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_032),
    Case::new("014-ENC-033", Level::D, Impact::Security, "`additional_slave_SAE_IDs` in a GET query gives that SAE no access")
        .basis(&["6.2-07"], &[])
        .does(
            "GET with additional_slave_SAE_IDs in the query; that SAE then asks for the key",
            "refused, or a key that the SAE does not get",
        )
        .kills(&["M072"])
        .needs(&[Need::Slave, Need::Additional])
        .cost(1, 0)
        .run(enc_033),
    Case::new(
        "014-ENC-034",
        Level::H,
        Impact::KeySafety,
        "A repeated query parameter never yields more keys than the larger value",
    )
    .basis(&[], &["A-32"])
    .does("GET with number=1&number=2", "refused, or at most two keys")
    .kills(&["M073"])
    .needs(&[Need::Slave])
    .cost(0, 3)
    .negative()
    .run(enc_034),
    Case::new("014-ENC-035", Level::H, Impact::Security, "Key answers forbid caching")
        .basis(&[], &[])
        .does("every key container", "Cache-Control: no-store (GET); not declared cacheable (POST)")
        .kills(&["M074"]),
    Case::new("014-ENC-036", Level::O, Impact::Interop, "Get key naming oneself as slave: outcome recorded")
        .basis(&[], &[])
        .does("Get key for oneself", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(enc_036),
    Case::new(
        "014-ENC-037",
        Level::D,
        Impact::Security,
        "Encoded dot segments and slashes in the SAE ID reach no other resource",
    )
    .basis(&["5.2-03"], &[])
    .does("Get key for nobody%2F..%2FSLAVE and %2e%2e%2fkeys%2fSLAVE", "no key")
    .kills(&["M075"])
    .needs(&[Need::Slave])
    .cost(0, 2)
    .negative()
    .run(enc_037),
];

/// Not applicable where the KME delivers one key per request.
fn several(t: &Ctx<'_>) -> Result<(), Stop> {
    match t.limits().max_per_request {
        Some(0 | 1) => Err(Stop::NotApplicable("max_key_per_request is 1".to_owned())),
        _ => Ok(()),
    }
}

fn get(t: &Ctx<'_>, request: Request) -> Result<Answer, Stop> {
    let answer = t.ask(t.master()?, request)?;
    if matches!(answer.status(), Some(404 | 405 | 501)) {
        return Err(Stop::NotApplicable("GET is not offered: ENC-002 judges that".to_owned()));
    }
    Ok(answer)
}

fn enc_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, "{}"))?;
    t.expect_keys(answer, 1, t.limits().key_size).map(drop)
}

fn enc_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, Request::get_key(&t.slave()?.id, ""))?;
    t.expect_keys(answer, 1, t.limits().key_size).map(drop)
}

fn enc_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    several(t)?;
    let answer = get(t, Request::get_key(&t.slave()?.id, "number=2").worst(2))?;
    t.expect_keys(answer, 2, t.limits().key_size).map(drop)
}

/// The smallest size in whole octets that the KME offers.
fn smallest(t: &Ctx<'_>) -> Result<u64, Stop> {
    let min = Ctx::need(t.limits().min_size, "min_key_size")?.max(1);
    Ok(min.div_ceil(8) * 8)
}

fn enc_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = smallest(t)?;
    let answer = get(t, Request::get_key(&t.slave()?.id, &format!("size={size}")).sized(size))?;
    t.expect_keys(answer, 1, Some(size)).map(drop)
}

fn enc_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    several(t)?;
    let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, r#"{"number":2}"#).worst(2))?;
    t.expect_keys(answer, 2, t.limits().key_size).map(drop)
}

fn of_size(t: &mut Ctx<'_>, size: u64) -> Result<(), Stop> {
    if size > MAX_BITS {
        return Err(Stop::Skip(format!("a key of {size} bits is more than this program reads")));
    }
    if !size.is_multiple_of(8) {
        return Err(Stop::NotApplicable(format!("{size} is no multiple of 8: ENC-018 judges such sizes")));
    }
    t.parameters.insert("size".to_owned(), size.to_string());
    let request = Request::post_key(&t.slave()?.id, &format!("{{\"size\":{size}}}")).sized(size);
    let answer = t.ask(t.master()?, request)?;
    t.expect_keys(answer, 1, Some(size)).map(drop)
}

/// Base64 makes 4 octets of 3, and the rest of the answer needs room, too.
const MAX_BITS: u64 = MAX_BODY as u64 * 8 / 2;

fn enc_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = Ctx::need(t.limits().min_size, "min_key_size")?;
    of_size(t, size)
}

fn enc_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = Ctx::need(t.limits().max_size, "max_key_size")?;
    of_size(t, size)
}

fn enc_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.min(t.lab.config.limits.max_batch);
    t.parameters.insert("number".to_owned(), number.to_string());
    let request = Request::post_key(&t.slave()?.id, &format!("{{\"number\":{number}}}")).worst(number);
    let answer = t.ask(t.master()?, request)?;
    if answer.is(400) && number > 1 {
        // Fewer may be there than are asked for: then an error is right (A-20).
        let stored = t.status(t.master()?, &t.slave()?.id)?.member("stored_key_count").and_then(Json::integer);
        if stored.is_some_and(|stored| stored < i128::from(number)) {
            return Err(Stop::Inconclusive(format!("{} keys in the pool for a request of {number}", stored.unwrap_or_default())));
        }
    }
    t.expect_keys(answer, number, t.limits().key_size).map(drop)
}

fn enc_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.saturating_add(1);
    refused_body(t, &format!("{{\"number\":{number}}}"), number)
}

/// A Get key request that ought to be refused with 400.
fn refused(t: &mut Ctx<'_>, request: Request) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, request.faulty())?;
    t.expect_refusal(&answer, &[400], None)
}

fn refused_body(t: &mut Ctx<'_>, body: &str, worst: u64) -> Result<(), Stop> {
    let slave = &t.slave()?.id;
    refused(t, Request::post_key(slave, body).worst(worst))
}

fn refused_query(t: &mut Ctx<'_>, query: &str, worst: u64) -> Result<(), Stop> {
    let slave = &t.slave()?.id;
    let answer = t.ask(t.master()?, Request::get_key(slave, query).worst(worst).faulty())?;
    // A KME that does not offer GET says so with one of these.
    t.expect_refusal(&answer, &[400, 404, 405, 501], None)
}

fn enc_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":0}"#, 1)?;
    refused_query(t, "number=0", 1)
}

fn enc_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":-1}"#, 1)?;
    refused_query(t, "number=-1", 1)
}

fn enc_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    for (query, worst) in [("number=abc", 1), ("number=1.5", 1), ("number=1e1", 10), ("number=", 1)] {
        refused_query(t, query, worst)?;
    }
    Ok(())
}

fn enc_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"number":"2"}"#, 2)?;
    refused_body(t, r#"{"number":1.5}"#, 2)
}

fn enc_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let min = Ctx::need(t.limits().min_size, "min_key_size")?;
    let size = min.saturating_sub(1) / 8 * 8;
    if size == 0 {
        return Err(Stop::NotApplicable(format!("no whole octets are fewer than {min} bits, but none")));
    }
    refused_body(t, &format!("{{\"size\":{size}}}"), 1)
}

fn enc_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_size, "max_key_size")?;
    let size = (max / 8).saturating_add(1).saturating_mul(8);
    if size > MAX_BITS {
        return Err(Stop::Skip(format!("a key of {size} bits is more than this program reads")));
    }
    refused_body(t, &format!("{{\"size\":{size}}}"), 1)
}

fn enc_016(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"size":0}"#, 1)?;
    refused_body(t, r#"{"size":-8}"#, 1)
}

fn enc_017(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = t.limits().key_size.unwrap_or(256);
    let wrapped = (1_u128 << 64) + u128::from(size);
    for value in [format!("\"{size}\""), format!("{size}.5"), wrapped.to_string()] {
        refused_body(t, &format!("{{\"size\":{value}}}"), 1)?;
    }
    Ok(())
}

fn enc_018(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let limits = t.limits();
    let default = Ctx::need(limits.key_size, "key_size")? / 8 * 8;
    let (min, max) = (Ctx::need(limits.min_size, "min_key_size")?, Ctx::need(limits.max_size, "max_key_size")?);
    let candidates = [default + 1, default.saturating_sub(7), min / 8 * 8 + 1, max.saturating_sub(1) / 8 * 8 + 1];
    let Some(size) = candidates.into_iter().find(|size| (min..=max).contains(size) && *size <= MAX_BITS) else {
        return Err(Stop::NotApplicable("all sizes that are offered are multiples of 8".to_owned()));
    };
    t.parameters.insert("size".to_owned(), size.to_string());
    let slave = t.slave()?.id.clone();
    let requests =
        [Request::post_key(&slave, &format!("{{\"size\":{size}}}")), Request::get_key(&slave, &format!("size={size}"))];
    for request in requests {
        let by_get = request.method == "GET";
        let answer = t.ask(t.master()?, request.sized(size))?;
        if by_get && matches!(answer.status(), Some(404 | 405 | 501)) {
            continue;
        }
        match (answer.is(200), t.lab.config.ics.any_bit) {
            (true, Some(false)) => t.check("code", false, "400, since size.any-bit is not claimed", &answer.shown),
            (true, _) => {
                for key in t.expect_keys(answer, 1, Some(size))? {
                    let last = key.octets.as_ref().and_then(|octets| octets.expose().last().copied()).unwrap_or_default();
                    t.check_at(Level::D, "padding", last & 0x7f == 0, "zero bits on the right (A-40)", "other bits are set");
                }
            }
            (false, Some(true)) => t.check("code", false, "200, since size.any-bit is claimed", &answer.shown),
            (false, _) => t.expect_refusal(&answer, &[400], Some(mandated::SIZE))?,
        }
    }
    Ok(())
}

fn enc_026(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = (t.draw(1)?, t.draw(1)?);
    let (a, b) = (&first[0], &second[0]);
    t.check("key ID", !a.id.eq_ignore_ascii_case(&b.id), "two IDs", format!("{} twice", printable(&a.id)));
    let same = a.fingerprint.is_some() && a.fingerprint == b.fingerprint;
    t.check("key material", !same, "two keys", format!("fp {:?} and {:?}", a.fingerprint, b.fingerprint));
    Ok(())
}

fn enc_027(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = (t.draw(1)?, t.draw(1)?);
    let (slave, master) = (t.slave()?, &t.master()?.id);
    for drawn in [first, second] {
        let answer = t.collect(slave, master, &[&drawn[0].id])?;
        t.expect_same(&answer, &drawn)?;
    }
    Ok(())
}

fn stored(t: &Ctx<'_>) -> Result<i128, Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    let stored = answer.member("stored_key_count").and_then(Json::integer);
    stored.ok_or_else(|| Stop::Inconclusive(format!("no stored_key_count: {}", answer.shown)))
}

fn enc_028(t: &mut Ctx<'_>) -> Result<(), Stop> {
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

fn enc_029(t: &mut Ctx<'_>) -> Result<(), Stop> {
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

fn enc_031(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.lab.exchange(t.master()?, Request::post_key(&t.slave()?.id, "").undefined())?;
    t.observe_answer("a body of 0 octets", &answer);
    Ok(())
}

fn enc_032(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let request = Request::post_key(&t.slave()?.id, r#"{"qkdspec_unknown":1}"#).undefined();
    let answer = t.lab.exchange(t.master()?, request)?;
    t.observe_answer("an unknown member", &answer);
    Ok(())
}

fn enc_033(t: &mut Ctx<'_>) -> Result<(), Stop> {
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

fn enc_034(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.lab.exchange(t.master()?, Request::get_key(&t.slave()?.id, "number=1&number=2").worst(3).undefined())?;
    t.check("number", answer.material <= 2, "at most 2 keys", format!("{} keys", answer.material));
    t.observe_answer("number=1&number=2", &answer);
    Ok(())
}

fn enc_036(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let answer = t.lab.exchange(master, Request::post_key(&master.id, "{}").undefined())?;
    t.observe_answer("Get key for oneself", &answer);
    Ok(())
}

fn enc_037(t: &mut Ctx<'_>) -> Result<(), Stop> {
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
