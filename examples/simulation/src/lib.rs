//! Whole networks of key managers and routers in virtual time.
//!
//! * [`topology`] has the networks: real ones from files, and metropolitan-like ones made from a seed.
//! * [`optimum`] says what no router can beat: the largest equal rate of all pairs, by linear programme; and, beside it, what
//!   shortest paths alone give.
//! * [`rates`] says how fast QKD links make key: constant, along a synthetic trace, or with a failure.
//! * [`world`] runs the engines of `relay-core` on these networks, under load and faults, and holds them to the promises.
//! * [`soak`] does so for many small random networks.
//! * [`scenario`] has what the named scenarios share.
//! * [`scale`] measures routing in large networks.
//! * [`parallel`] puts all processors to work.
//! * [`plot`] draws what was sampled.
//! * [`cli`] is the command line as a function.
//!
//! Everything follows from a seed: the same seed tells the same story on every machine. Only what [`scale`] measures in real
//! time and memory does not.

pub mod auth;
pub mod cli;
pub mod optimum;
pub mod parallel;
pub mod plot;
pub mod random;
pub mod rates;
pub mod scale;
pub mod scenario;
pub mod soak;
pub mod table;
pub mod topology;
pub mod world;
