//! Networks of key managers in virtual time, as a program; everything it does is in the library.

use std::process::ExitCode;

use peak_alloc::PeakAlloc;

/// Counts what is allocated, so that the memory of a database can be measured.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    simulation::cli::run(std::env::args_os(), || MEMORY.current_usage())
}
