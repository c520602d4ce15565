//! The SAE client as a program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sae::cli::run(std::env::args_os())
}
