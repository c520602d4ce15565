//! An emulated QKD link: two ETSI GS QKD 014 servers, one for either end, on one stream of keys.
//!
//! To the key management entities (KMEs) of two nodes this is a QKD link: each asks the device in its node for keys. How fast
//! keys come is played back from a recording of a secret key rate, or from a synthetic one, at 1 to 1000 times real time; the
//! rate can be set while the link runs, and 0 is a failed link. There is no quantum channel: keys come from the operating
//! system's random generator, and both ends know them because both ends are in this process.
//!
//! * [`trace`] reads and writes recordings of the rate; [`synthetic`] makes some up, and says so in them.
//! * [`rate`] plays a recording; [`stream`] makes keys at that rate and keeps account of who had which. Neither has a clock.
//!
//! With the feature `server`, which is a default:
//!
//! * [`link`] runs a stream in real time; [`device`] is one end of it in the terms of ETSI GS QKD 014.
//! * [`mod@serve`] puts both ends on HTTPS, and [`control`] on plain HTTP; [`config`] has the settings.
//! * [`cli`] is the command line as a function.
//!
//! ```
//! use qkd_link::synthetic::{Class, Parameters};
//! use qkd_link::trace::LinkState;
//!
//! let trace = Parameters::new(Class::Slow, 40.0, 24.0, 1).generate()?;
//! assert_eq!(trace.samples().len(), 24 * 60);
//! assert_eq!(trace.samples()[0].state, LinkState::Good);
//! assert!(trace.to_string().starts_with("# synthetic\n"));
//! # Ok::<(), qkd_link::synthetic::ParameterError>(())
//! ```

#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod control;
#[cfg(feature = "server")]
pub mod device;
#[cfg(feature = "server")]
pub mod link;
pub mod pattern;
mod prng;
#[cfg(feature = "server")]
pub mod random;
pub mod rate;
#[cfg(feature = "server")]
pub mod serve;
pub mod stream;
pub mod synthetic;
pub mod trace;

#[cfg(feature = "server")]
pub use config::Config;
#[cfg(feature = "server")]
pub use serve::{RunningLink, Until, run, run_blocking, serve};
