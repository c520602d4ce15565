//! The cases, one file per group.

mod aut;
mod con;
mod dec;
mod enc;
mod err;
mod ext;
mod mc;
mod rob;
mod sta;
mod tls;
mod wir;

use crate::case::Case;

/// All groups, in the order in which they are run.
pub(crate) const GROUPS: [(&str, &str, &[Case]); 11] = [
    ("TLS", "Transport and mutual authentication", tls::CASES),
    ("AUT", "Identity and authorisation", aut::CASES),
    ("STA", "Get status", sta::CASES),
    ("ENC", "Get key", enc::CASES),
    ("EXT", "Extensions", ext::CASES),
    ("MC", "Additional slaves", mc::CASES),
    ("DEC", "Get key with key IDs", dec::CASES),
    ("ERR", "Errors", err::CASES),
    ("WIR", "HTTP and JSON on the wire", wir::CASES),
    ("ROB", "Robustness", rob::CASES),
    ("CON", "Concurrency and time", con::CASES),
];
