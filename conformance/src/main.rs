//! The conformance suite as a program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    qkdspec::cli::main(std::env::args_os())
}
