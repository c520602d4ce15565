//! The emulated QKD link as a program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    qkd_link::cli::run(std::env::args_os())
}
