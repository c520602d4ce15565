//! Get key (clauses 5.3, 6.2, 6.3).

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop};
use crate::lab::Request;

mod container;
mod number;
mod other;
mod size;

pub(super) use other::stored;

pub(super) const CASES: &[Case] = &[
    Case::new("014-ENC-001", Level::S, Impact::Interop, "POST `{}` gives one key of key_size bits")
        .basis(&["5.3-01", "6.2-03", "6.2-04"], &[])
        .does("POST with the body {}", "200 with one key of key_size bits")
        .kills(&["M040"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(number::enc_001),
    Case::new("014-ENC-002", Level::D, Impact::Interop, "GET is offered, and without query gives one key of key_size bits")
        .basis(&["5.3-02", "6.2-05"], &[])
        .does("GET without query", "200 with one key of key_size bits")
        .kills(&["M041"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(number::enc_002),
    Case::new("014-ENC-003", Level::S, Impact::Interop, "GET `number`, where GET is offered, is honoured")
        .basis(&["6.3-02", "6.2-06"], &["A-07"])
        .does("GET with number=2", "200 with two keys; a refusal is a derived finding; not applicable if GET is not offered or only one key per request is")
        .kills(&["M042"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(number::enc_003),
    Case::new("014-ENC-004", Level::S, Impact::Interop, "GET `size`, where GET is offered, is honoured")
        .basis(&["6.3-04", "6.2-06"], &["A-07"])
        .does(
            "GET with size, the smallest that is a multiple of 8",
            "200 with one key of that size; a refusal is a derived finding; not applicable if GET is not offered",
        )
        .kills(&["M042", "M044"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(size::enc_004),
    Case::new("014-ENC-005", Level::S, Impact::Interop, "POST `number` is honoured")
        .basis(&["6.3-02"], &[])
        .does("POST with number 2", "200 with two keys; not applicable if only one key per request is offered")
        .kills(&["M043"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(number::enc_005),
    Case::new("014-ENC-006", Level::S, Impact::Interop, "POST `size` = min_key_size is honoured")
        .basis(&["6.3-04", "5.2-04"], &["A-08"])
        .does("POST with size = min_key_size", "200 with one key of that size")
        .kills(&["M044", "M045"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(size::enc_006),
    Case::new("014-ENC-007", Level::S, Impact::Interop, "POST `size` = max_key_size is honoured")
        .basis(&["6.3-04", "5.2-04"], &[])
        .does("POST with size = max_key_size", "200 with one key of that size")
        .kills(&["M044", "M046", "M063"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(size::enc_007),
    Case::new("014-ENC-008", Level::S, Impact::Interop, "`number` = max_key_per_request gives exactly that many")
        .basis(&["6.3-02", "5.2-04"], &[])
        .does("POST with number = max_key_per_request (at most limits.max_batch)", "200 with that many keys")
        .kills(&["M043", "M046"])
        .needs(&[Need::Slave])
        .batches(1, 0)
        .run(number::enc_008),
    Case::new("014-ENC-009", Level::D, Impact::KeySafety, "`number` = max_key_per_request + 1: 400, nothing delivered")
        .basis(&[], &["A-22"])
        .does("POST with number = max_key_per_request + 1", "400 and no key")
        .kills(&["M047"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .batches(0, 1)
        .negative()
        .run(number::enc_009),
    Case::new("014-ENC-010", Level::D, Impact::Interop, "`number` 0 is refused")
        .basis(&[], &["A-23"])
        .does("number 0, by POST and GET", "400 and no key")
        .kills(&["M048"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(number::enc_010),
    Case::new("014-ENC-011", Level::D, Impact::Interop, "Negative `number` is refused")
        .basis(&[], &["A-23"])
        .does("number −1, by POST and GET", "400 and no key")
        .kills(&["M049"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(number::enc_011),
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
    .run(number::enc_012),
    Case::new("014-ENC-013", Level::D, Impact::Interop, "POST `number` as string or fraction is refused")
        .basis(&["6.2-01"], &[])
        .does("POST with number \"2\" and 1.5", "400 and no key")
        .kills(&["M051"])
        .needs(&[Need::Slave])
        .cost(0, 4)
        .negative()
        .run(number::enc_013),
    Case::new("014-ENC-014", Level::D, Impact::Interop, "`size` below min_key_size is refused")
        .basis(&["6.3-04"], &["A-08", "A-22"])
        .parts(OUTSIDE)
        .does("size 8 below min_key_size, by POST", "400 and no key; a key of another size fails as shall; not applicable if there is no smaller size")
        .kills(&["M052"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(size::enc_014),
    Case::new("014-ENC-015", Level::D, Impact::Interop, "`size` above max_key_size is refused")
        .basis(&["6.3-04"], &["A-08", "A-22"])
        .parts(OUTSIDE)
        .does("size 8 above max_key_size, by POST", "400 and no key; a key of another size fails as shall")
        .kills(&["M053"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(size::enc_015),
    Case::new("014-ENC-016", Level::D, Impact::Interop, "`size` 0 or negative is refused")
        .basis(&[], &["A-23"])
        .does("size 0 and −8, by POST", "400 and no key")
        .kills(&["M052"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(size::enc_016),
    Case::new("014-ENC-017", Level::D, Impact::Interop, "`size` as string, fraction or beyond 2^53 is refused")
        .basis(&["6.2-01"], &[])
        .does("size as string, with a fraction, and 2^64 + key_size", "400 and no key")
        .kills(&["M054"])
        .needs(&[Need::Slave])
        .cost(0, 3)
        .negative()
        .run(size::enc_017),
    Case::new(
        "014-ENC-018",
        Level::S,
        Impact::Interop,
        "`size` = 8n+1: exactly that many bits, or 400 with the mandated sentence; GET and POST",
    )
    .basis(&["6.2-08", "6.2-09", "6.3-04"], &["A-08", "A-40"])
    .parts(&[
        ("code", &["6.2-09"]),
        ("text", &["6.2-09"]),
        ("no key", &["6.2-09"]),
        ("container", &["6.3-01"]),
        ("number", &["6.3-02"]),
        ("size", &["6.3-04"]),
        ("claim", &[]),
    ])
    .does(
        "size one bit above a multiple of 8, by GET and POST; key_size + 1 if the limits allow none",
        "that many bits, or 400 with the mandated sentence; that it is as claimed in size.any-bit is derived; outside the limits any 400, and no key of another size",
    )
    .kills(&["M055", "M056"])
    .needs(&[Need::Slave])
    .cost(2, 0)
    .negative()
    .run(size::enc_018),
    Case::new("014-ENC-019", Level::S, Impact::Interop, "The container member is `keys`, a non-empty array of objects")
        .basis(&["5.3-04", "6.3-01"], &["A-29"])
        .does("every key container", "`keys` is a non-empty array of objects")
        .kills(&["M057", "M058"]),
    Case::new("014-ENC-020", Level::S, Impact::Interop, "`key_ID` has UUID form, any version")
        .basis(&["6.3-03"], &["A-28"])
        .does("every key container", "8-4-4-4-12 hexadecimal digits")
        .kills(&["M059"]),
    Case::new("014-ENC-021", Level::S, Impact::KeySafety, "No `key_ID` repeats in the whole run, at either KME")
        .basis(&["5.3-07", "4-13"], &[])
        .does("every Get key answer", "an ID that did not occur before, letter case aside")
        .kills(&["M060", "M067"]),
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
        .kills(&["M064", "M065"]),
    Case::new("014-ENC-025", Level::D, Impact::KeySafety, "Material is not degenerate (constant, counter, text, repeated block)")
        .basis(&["clause 3.1"], &[])
        .does(
            "every Get key answer, keys of 128 bits and more",
            "not constant, not counting, not text, no repeated block, no beginning shared with another key",
        )
        .kills(&["M065", "M066"]),
    Case::new("014-ENC-026", Level::S, Impact::KeySafety, "Two equal Get key calls return disjoint IDs")
        .basis(&["5.3-07"], &[])
        .does("the same Get key twice", "two different IDs, and keys if they have 64 bits")
        .kills(&["M067"])
        .needs(&[Need::Slave])
        .cost(2, 0)
        .run(container::enc_026),
    Case::new(
        "014-ENC-027",
        Level::S,
        Impact::KeySafety,
        "After a second Get key call the slave can still fetch the keys of the first",
    )
    .basis(&["5.3-06", "5.4-03"], &[])
    .does("Get key twice; then the slave asks for the first, then for the second", "both, as drawn")
    .kills(&["M068"])
    .needs(&[Need::Slave])
    .cost(2, 0)
    .run(container::enc_027),
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
    .run(other::enc_028),
    Case::new("014-ENC-029", Level::S, Impact::KeySafety, "Too few keys: an error, never a short or empty container")
        .basis(&["6.3-02"], &["A-20"])
        .does("Get key of full batches until the drained pool is empty", "full containers, then 503 or 400 without a key")
        .kills(&["M070"])
        .needs(&[Need::Slave, Need::Destructive, Need::Hook("drain_a"), Need::Hook("refill_a")])
        .cost(12, 0)
        .batches(4, 0)
        .run(other::enc_029),
    Case::new("014-ENC-030", Level::D, Impact::Interop, "Extension members of the container, if any, are objects")
        .basis(&["6.3-05"], &[])
        .does("every key container", "key_ID_extension, key_extension, key_container_extension are objects, or null, where present")
        .kills(&["M071"]),
    Case::new("014-ENC-031", Level::O, Impact::Interop, "POST with a body of 0 octets: outcome recorded")
        .basis(&[], &["A-25"])
        .does("POST with a body of 0 octets", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(other::enc_031),
    Case::new("014-ENC-032", Level::O, Impact::Interop, "Unknown request member: outcome recorded")
        .basis(&[], &["A-26"])
        .does("POST with a member that the standard does not know", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(other::enc_032),
    Case::new("014-ENC-033", Level::D, Impact::Security, "`additional_slave_SAE_IDs` in a GET query gives that SAE no access")
        .basis(&["6.2-07"], &[])
        .does(
            "GET with additional_slave_SAE_IDs in the query; that SAE then asks for the key",
            "refused, or a key that the SAE does not get",
        )
        .kills(&["M072"])
        .needs(&[Need::Slave, Need::Additional])
        .cost(1, 0)
        .run(other::enc_033),
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
    .run(number::enc_034),
    Case::new("014-ENC-035", Level::H, Impact::Security, "Key answers forbid caching")
        .basis(&[], &[])
        .does("every key container", "Cache-Control: no-store (GET); not declared cacheable (POST)")
        .kills(&["M074"]),
    Case::new("014-ENC-036", Level::O, Impact::Interop, "Get key naming oneself as slave: outcome recorded")
        .basis(&[], &[])
        .does("Get key for oneself", "anything; recorded")
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(other::enc_036),
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
    .run(other::enc_037),
    Case::new("014-ENC-038", Level::S, Impact::KeySafety, "No answer holds more keys than were asked for")
        .basis(&["6.3-02"], &[])
        .does("every answer with keys to a Get key request", "at most as many keys as the request may be read to ask for")
        .kills(&["M155"]),
    Case::new("014-ENC-039", Level::H, Impact::KeySafety, "A key ID tells nothing of its key")
        .basis(&[], &["A-28"])
        .does(
            "every Get key answer, keys of 128 bits and more",
            "an ID, as printed and as a GUID, that is not the key's beginning, nor its SHA-1 or SHA-256, of its octets or of its base64",
        )
        .kills(&["M158"]),
];

/// What is refused outside the limits, and how, nobody lays down; the size of a key is laid down.
const OUTSIDE: &[(&str, &[&str])] = &[("code", &[]), ("no key", &[]), ("size", &["6.3-04"])];

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
