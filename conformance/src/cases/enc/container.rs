//! Keys of several requests, compared.

use crate::ctx::{Ctx, Stop};
use crate::lab::printable;

pub(super) fn enc_026(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = (t.draw(1)?, t.draw(1)?);
    let (a, b) = (&first[0], &second[0]);
    t.check("key ID", !a.id.eq_ignore_ascii_case(&b.id), "two IDs", format!("{} twice", printable(&a.id)));
    // Short keys are equal by chance.
    let long = a.bits() >= 64 && b.bits() >= 64;
    let same = long && a.fingerprint.is_some() && a.fingerprint == b.fingerprint;
    t.check("key material", !same, "two keys", format!("fp {:?} and {:?}", a.fingerprint, b.fingerprint));
    Ok(())
}

pub(super) fn enc_027(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = (t.draw(1)?, t.draw(1)?);
    let (slave, master) = (t.slave()?, &t.master()?.id);
    for drawn in [first, second] {
        let answer = t.collect(slave, master, &[&drawn[0].id])?;
        t.expect_same(&answer, &drawn)?;
    }
    Ok(())
}
