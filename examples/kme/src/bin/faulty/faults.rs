//! All faults, by the group of cases that has to notice them.

use crate::fault::Fault;

mod aut;
mod con;
mod dec;
mod enc;
mod err;
mod ext;
mod hostile;
mod keys;
mod more;
mod rob;
mod sta;
mod tls;
mod variants;
mod wir;

/// The reference as it is.
pub(crate) static NONE: Fault = Fault::new("", "the reference as it is");

/// All of them, in order.
pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    let mut all: Vec<_> = [
        aut::FAULTS,
        con::FAULTS,
        dec::FAULTS,
        enc::FAULTS,
        err::FAULTS,
        ext::FAULTS,
        hostile::FAULTS,
        keys::FAULTS,
        more::FAULTS,
        rob::FAULTS,
        sta::FAULTS,
        tls::FAULTS,
        variants::FAULTS,
        wir::FAULTS,
    ]
    .into_iter()
    .flatten()
    .collect();
    all.sort_by_key(|fault| (["mutant", "variant", "hostile"].iter().position(|kind| *kind == fault.kind()), fault.id));
    all.into_iter()
}
