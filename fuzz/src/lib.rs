//! Fuzz targets: everything that reads what a peer or a file says.
//!
//! The bodies are plain functions from octets to an [`Outcome`], so that the corpus in `corpus/` is replayed by `cargo test -p fuzz`
//! on any machine. Each of them panics when what it watches does not hold:
//!
//! - no input makes the code under test panic;
//! - what was decoded and is encoded again is decoded to the same value, and encoded to the same octets;
//! - what the strict decoder accepts, the lenient one reads alike;
//! - errors, and `Debug` of what holds keys, repeat nothing of the input beyond what their documentation says.
//!
//! # Running
//!
//! With `cargo install cargo-fuzz`, in the root of the workspace (the stable compiler will do, without sanitizer, since there is no
//! `unsafe` code to check here):
//!
//! ```text
//! cargo +stable fuzz list
//! cargo +stable fuzz run -s none key_container -- -max_total_time=60
//! ```
//!
//! A run adds inputs to `corpus/TARGET` under names of 40 digits, which git ignores. One that is worth keeping gets a name that begins
//! with `ok-` when it is accepted and with `bad-` when it is refused: the test holds it to that. An input that made a target panic lies
//! in `artifacts/TARGET`; without cargo-fuzz it is replayed by
//!
//! ```text
//! cargo run -p fuzz --bin key_container -- fuzz/artifacts/key_container/crash-…
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

mod certificate;
mod check;
mod http_bodies;
mod identifiers;
mod link_states;
mod messages;
mod neighbours;
mod neighbours_record;
mod records;
mod routing;
mod wire;

pub use certificate::certificate;
pub use http_bodies::{answer, call};
pub use identifiers::{base_url, key_id, path_segment};
pub use link_states::link_states;
pub use messages::{error_body, key_container, key_ids, key_request, status};
pub use neighbours::neighbours;
pub use records::{stored_key, trace};
pub use routing::{lsa, routing_message};
pub use wire::kx_frame;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use libfuzzer_sys;

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was read.
    Accepted,
    /// It got an error, as it should.
    Refused,
}

impl Outcome {
    fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Accepted } else { Self::Refused }
    }
}

/// The body of a target.
pub type Body = fn(&[u8]) -> Outcome;

/// Every target by name.
pub const TARGETS: &[(&str, Body)] = &[
    ("answer", answer),
    ("base_url", base_url),
    ("call", call),
    ("certificate", certificate),
    ("error_body", error_body),
    ("key_container", key_container),
    ("key_id", key_id),
    ("key_ids", key_ids),
    ("key_request", key_request),
    ("kx_frame", kx_frame),
    ("link_states", link_states),
    ("lsa", lsa),
    ("neighbours", neighbours),
    ("path_segment", path_segment),
    ("routing_message", routing_message),
    ("status", status),
    ("stored_key", stored_key),
    ("trace", trace),
];

/// The entry points of a target: that of libFuzzer under cargo-fuzz, otherwise a `main` that replays files.
#[macro_export]
macro_rules! target {
    ($body:ident) => {
        #[cfg(fuzzing)]
        use $crate::libfuzzer_sys;
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            let _ = $crate::$body(input);
        });

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay($crate::$body)
        }
    };
}

/// Runs a target on the files that the command line names, and tells what became of them.
#[must_use]
pub fn replay(body: Body) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        match std::fs::read(&path) {
            Ok(input) => println!("{}: {:?}", path.display(), body(&input)),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
