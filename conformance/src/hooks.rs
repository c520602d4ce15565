//! Shell commands of the laboratory.

use std::process::{Command, Stdio};

use crate::ctx::Stop;
use crate::lab::Lab;

/// Runs a hook to its end; its output is not ours to show.
pub(crate) fn run(lab: &Lab, name: &str) -> Result<(), Stop> {
    let command = lab.config.hooks.get(name).ok_or_else(|| Stop::Skip(format!("no hook {name}")))?;
    let status = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| Stop::Error(format!("hook {name}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Stop::Inconclusive(format!("hook {name}: {status}"))) }
}

/// Does something between two hooks. The second one is run whatever happens: the laboratory has to be as it was.
pub(crate) fn between<T>(lab: &Lab, first: &str, last: &str, within: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    let outcome = run(lab, first).and_then(|()| within());
    let undone = run(lab, last);
    let outcome = outcome?;
    undone.map(|()| outcome)
}
