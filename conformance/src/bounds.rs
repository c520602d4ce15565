//! How much of what a peer sends is taken in, kept and shown. All of it is here, so that memory, time and the size of a report
//! can be added up: whatever the KMEs do, they are the harness's choice.
//!
//! One answer takes at most [`BODY`] and its values at a time, and what a run keeps of it is an exchange in the evidence (some
//! 20 KB), [`KEYS`] entries in the ledger, [`LEDGER`] in all, and hashes of keys, [`NEEDLES`] in all.
//!
//! SAEs: a request takes at most [`HEAD`] and [`REQUEST`], on each of [`CONNECTIONS`]; a scenario keeps [`JOURNAL_OCTETS`] of them and
//! [`STORED`] keys, and shows [`SHOWN_OF_EACH`] exchanges. A proxy keeps [`PASSED`] exchanges, and those of the first findings of each case, which are all that it tells. A report says
//! what was dropped.

/// Octets of a body; a longer one is an error.
pub(crate) const BODY: usize = 4 * 1024 * 1024;
/// Octets of a head.
pub(crate) const HEAD: usize = 64 * 1024;
/// Headers of an answer.
pub(crate) const HEADERS: usize = 128;
/// JSON values inside each other.
pub(crate) const DEPTH: usize = 64;
/// JSON values of one text.
pub(crate) const VALUES: usize = 200_000;
/// Duplicate names in one text that are remembered.
pub(crate) const DUPLICATES: usize = 8;
/// Keys of one answer that are looked at; further ones are only counted.
pub(crate) const KEYS: usize = 4096;
/// Octets of a key ID; of a longer one, the beginning and a hash stand for it.
pub(crate) const ID: usize = 300;
/// Keys of a run of which the ledger keeps more than their number.
pub(crate) const LEDGER: usize = 20_000;
/// Hashes by which keys are found in what is written. Once there are more, bodies are not shown any more.
pub(crate) const NEEDLES: usize = 500_000;
/// Octets of a key in which patterns are looked for, and of which spellings are remembered.
pub(crate) const KEY_HEAD: usize = 4096;
/// Octets of a text that are searched for keys before it is shown.
pub(crate) const SEARCHED: usize = 4096;
/// Octets of a body as shown in the evidence.
pub(crate) const SHOWN: usize = 2000;
/// Octets of a stimulus as shown in the evidence.
pub(crate) const RAW: usize = 512;
/// Headers shown in the evidence, and octets of each.
pub(crate) const HEADERS_SHOWN: usize = 32;
/// Octets of a header, or of a status line, as shown.
pub(crate) const HEADER_SHOWN: usize = 300;
/// Octets of what a peer said in a check, an observation, a reason.
pub(crate) const TOLD: usize = 400;
/// Octets of the body of an SAE's request.
pub(crate) const REQUEST: usize = 1024 * 1024;
/// Connections of an SAE at a time.
pub(crate) const CONNECTIONS: usize = 128;
/// Requests that are kept of a scenario, and connections; further ones are counted.
pub(crate) const JOURNAL: usize = 2000;
/// Octets of these requests, together.
pub(crate) const JOURNAL_OCTETS: usize = 4 * 1024 * 1024;
/// Cipher suites, and versions, of a ClientHello that are kept.
pub(crate) const OFFERED: usize = 256;
/// Keys of a scenario; once there are so many, there are no more.
pub(crate) const STORED: usize = 20_000;
/// Requests, and connections without one, of a scenario that are shown as evidence.
pub(crate) const SHOWN_OF_EACH: usize = 50;
/// Exchanges that a proxy keeps: the last ones. Those of the findings that it tells, the first of each case, are kept besides.
pub(crate) const PASSED: usize = 200;
