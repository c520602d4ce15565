//! The program `kme`; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kme::cli::run(std::env::args_os())
}
