//! The cases for SAEs, one file per group.

mod bad;
mod err;
mod key;
mod req;
mod rsp;
mod tls;

use super::bench::{Act, Bench};
use super::task::{Role, Task};
use crate::case::Case;
use crate::ctx::Stop;
use crate::player::Fault;

/// All groups, in the order in which they are run.
pub(crate) const GROUPS: [(&str, &str, &[Case]); 6] = [
    ("TLS", "Before the first request (5.1)", tls::CASES),
    ("REQ", "Requests it makes", req::CASES),
    ("RSP", "Odd but conforming answers: must work", rsp::CASES),
    ("BAD", "Faulty answers: must be refused", bad::CASES),
    ("ERR", "Faults and timing", err::CASES),
    ("KEY", "What it does with the key", key::CASES),
];

/// For each role, a task while the KMEs play `fault`.
fn for_each_role(
    t: &mut Bench<'_>,
    roles: &[Role],
    task: impl Fn(Role) -> Task,
    fault: Fault,
    mut judge: impl FnMut(&mut Bench<'_>, Role, &Act) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut kept = None;
    for role in t.roles().into_iter().filter(|role| roles.contains(role)) {
        let outcome = t.act(&task(role), fault).and_then(|act| judge(t, role, &act));
        match outcome {
            Ok(()) => {}
            Err(stop @ (Stop::Error(_) | Stop::Interrupted)) => return Err(stop),
            // What keeps one role from being judged says nothing of the other.
            Err(stop) => kept = Some(stop),
        }
    }
    kept.map_or(Ok(()), Err)
}

const BOTH: &[Role] = &[Role::Master, Role::Slave];
const MASTER: &[Role] = &[Role::Master];
const SLAVE: &[Role] = &[Role::Slave];
