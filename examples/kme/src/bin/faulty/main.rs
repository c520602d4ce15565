//! The program `faulty`: a pair of reference KMEs with exactly one planted deviation, to show what a conformance test notices.
//!
//! The KMEs know nothing of it: faults stand around them, in what goes in and comes out of their service, in their settings, in
//! their TLS configuration, or in a front of its own where the HTTP or TLS library cannot express the fault.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

mod book;
mod cli;
mod control;
mod exchange;
mod fault;
mod faults;
mod front;
mod hello;
mod raw;
mod site;

/// Wipes what is freed, as the KME's own program does.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    cli::run()
}
