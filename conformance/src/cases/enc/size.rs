//! How long keys are: `size`, by GET and POST.

use super::{number, refused_body};
use crate::case::Level;
use crate::ctx::{Ctx, Stop, mandated};
use crate::lab::{Key, Request};
use crate::wire::MAX_BODY;

/// The smallest size in whole octets that the KME offers.
fn smallest(t: &Ctx<'_>) -> Result<u64, Stop> {
    let min = Ctx::need(t.limits().min_size, "min_key_size")?.max(1);
    Ok(min.div_ceil(8) * 8)
}

pub(super) fn enc_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = smallest(t)?;
    let answer = number::get(t, &Request::get_key(&t.slave()?.id, &format!("size={size}")).sized(size))?;
    t.expect_keys_at(Level::D, answer, 1, Some(size)).map(drop)
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
    let answer = t.supply(t.master()?, &request, None)?;
    t.expect_keys(answer, 1, Some(size)).map(drop)
}

/// Base64 makes 4 octets of 3, and the rest of the answer needs room, too.
const MAX_BITS: u64 = MAX_BODY as u64 * 8 / 2;

pub(super) fn enc_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = Ctx::need(t.limits().min_size, "min_key_size")?;
    of_size(t, size)
}

pub(super) fn enc_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = Ctx::need(t.limits().max_size, "max_key_size")?;
    of_size(t, size)
}

fn refused_size(t: &mut Ctx<'_>, size: u64) -> Result<(), Stop> {
    let request = Request::post_key(&t.slave()?.id, &format!("{{\"size\":{size}}}")).sized(size);
    outside(t, request.faulty(), size, &[400])
}

/// Outside the limits a request is to be refused (A-22); what it must not give is a key of another size than was asked for (A-08).
fn outside(t: &mut Ctx<'_>, request: Request, size: u64, codes: &[u16]) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, request)?;
    if answer.is(200) && !answer.keys.is_empty() {
        let lengths: Vec<_> = answer.keys.iter().map(Key::bits).collect();
        let right = lengths.iter().all(|bits| *bits == size.div_ceil(8) * 8);
        t.check_at(Level::S, "size", right, &format!("no key, or {size} bits"), format!("bits: {lengths:?}"));
    }
    t.judgeable(&answer)?;
    let level = t.level().max(Level::D);
    let accepted = codes.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ");
    t.check_at(level, "code", answer.status().is_some_and(|status| codes.contains(&status)), &accepted, &answer);
    t.check_at(level, "no key", answer.material == 0, "no key in the answer", &answer);
    Ok(())
}

pub(super) fn enc_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let min = Ctx::need(t.limits().min_size, "min_key_size")?;
    let size = min.saturating_sub(1) / 8 * 8;
    if size == 0 {
        return Err(Stop::NotApplicable(format!("no whole octets are fewer than {min} bits, but none")));
    }
    refused_size(t, size)
}

pub(super) fn enc_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_size, "max_key_size")?;
    let size = (max / 8).saturating_add(1).saturating_mul(8);
    if size > MAX_BITS {
        return Err(Stop::Skip(format!("a key of {size} bits is more than this program reads")));
    }
    refused_size(t, size)
}

pub(super) fn enc_016(t: &mut Ctx<'_>) -> Result<(), Stop> {
    refused_body(t, r#"{"size":0}"#, 1)?;
    refused_body(t, r#"{"size":-8}"#, 1)
}

pub(super) fn enc_017(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let size = t.limits().key_size.unwrap_or(256);
    let wrapped = (1_u128 << 64) + u128::from(size);
    for value in [format!("\"{size}\""), format!("{size}.5"), wrapped.to_string()] {
        refused_body(t, &format!("{{\"size\":{value}}}"), 1)?;
    }
    Ok(())
}

pub(super) fn enc_018(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let limits = t.limits();
    let default = Ctx::need(limits.key_size, "key_size")? / 8 * 8;
    let (min, max) = (Ctx::need(limits.min_size, "min_key_size")?, Ctx::need(limits.max_size, "max_key_size")?);
    let candidates = [default + 1, default.saturating_sub(7), min / 8 * 8 + 1, max.saturating_sub(1) / 8 * 8 + 1];
    let Some(size) = candidates.into_iter().find(|size| (min..=max).contains(size) && *size <= MAX_BITS) else {
        // Two reasons to refuse it, and either may be told.
        t.observe("all sizes that are offered are multiples of 8");
        let size = default.saturating_add(1);
        let body = format!("{{\"size\":{size}}}");
        outside(t, Request::post_key(&t.slave()?.id, &body).sized(size).faulty(), size, &[400])?;
        let by_get = Request::get_key(&t.slave()?.id, &format!("size={size}")).sized(size).faulty();
        return outside(t, by_get, size, &[400, 404, 405, 501]);
    };
    t.parameters.insert("size".to_owned(), size.to_string());
    let slave = t.slave()?.id.clone();
    let requests =
        [Request::post_key(&slave, &format!("{{\"size\":{size}}}")), Request::get_key(&slave, &format!("size={size}"))];
    for request in requests {
        let by_get = request.method == "GET";
        let answer = t.supply(t.master()?, &request.sized(size), Some(mandated::SIZE))?;
        if by_get && matches!(answer.status(), Some(404 | 405 | 501)) {
            continue;
        }
        // A claim that is not true is the claim's fault, as long as the KME does either of what the standard has.
        let claimed = t.lab.config.ics.any_bit;
        if answer.is(200) {
            if claimed == Some(false) {
                t.check_at(Level::D, "claim", false, "400, since size.any-bit is not claimed", &answer);
            }
            let keys = t.expect_keys(answer, 1, Some(size))?;
            // Of a key that has another size, no bit is padding.
            for key in keys.into_iter().filter(|key| key.bits() == size.div_ceil(8) * 8) {
                let last = key.octets.as_ref().and_then(|octets| octets.expose().last().copied()).unwrap_or_default();
                t.check_at(Level::D, "padding", last & 0x7f == 0, "zero bits on the right (A-40)", "other bits are set");
            }
        } else {
            let offered = !by_get || t.lab.passive().offers_get_key;
            t.expect_refusal_by_get(offered, &answer, &[400], Some(mandated::SIZE))?;
            if claimed == Some(true) {
                t.check_at(Level::D, "claim", false, "200, since size.any-bit is claimed", &answer);
            }
        }
    }
    Ok(())
}
