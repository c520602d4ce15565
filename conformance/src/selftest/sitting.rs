//! One run of the harness, as a process of its own, against one pair of KMEs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::program::{Fault, Folder, Guarded, Kind, Patience, Serving, beginning, create, own, shown};
use crate::report::{Report, Verdict};

/// Where and how to run.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// The program of faulty KMEs.
    pub(crate) faulty: &'a Path,
    /// This program.
    pub(crate) qkdspec: &'a Path,
    /// Where reports and logs stay, if they do.
    pub(crate) keep: Option<&'a Path>,
    pub(crate) patience: Patience,
    /// Longest run.
    pub(crate) limit: Duration,
    pub(crate) interrupted: &'a AtomicBool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sitting {
    /// Each case: its verdict, and what it complained of.
    pub(crate) cases: BTreeMap<String, (Option<Verdict>, String)>,
    pub(crate) exit: Option<i32>,
    pub(crate) seconds: f64,
    /// Largest resident memory of the harness, where the system tells.
    pub(crate) peak_kib: u64,
    /// Of report and screen together.
    pub(crate) octets: u64,
    /// Output that a terminal would obey, or a browser run.
    pub(crate) unsafe_output: bool,
    /// Why it proves nothing.
    pub(crate) trouble: Option<String>,
    pub(crate) plan: String,
}

impl Sitting {
    pub(crate) fn verdict(&self, case: &str) -> Option<Verdict> {
        self.cases.get(case).and_then(|(verdict, _)| *verdict)
    }
}

/// Starts the pair with that fault (none: as it is), runs all cases, and stops everything.
pub(crate) fn sit(seat: Seat<'_>, fault: Option<&Fault>, seed: &str) -> Sitting {
    let began = Instant::now();
    let mut sitting =
        attempt(seat, fault, seed).unwrap_or_else(|trouble| Sitting { trouble: Some(trouble), ..Sitting::default() });
    sitting.seconds = began.elapsed().as_secs_f64();
    sitting
}

fn attempt(seat: Seat<'_>, fault: Option<&Fault>, seed: &str) -> Result<Sitting, String> {
    let id = fault.map_or("none", |fault| fault.id.as_str());
    let folder = match seat.keep {
        Some(keep) => Folder::kept(keep, id)?,
        None => Folder::new(id)?,
    };
    let path = |name: &str| folder.path().join(name);
    let mut serving =
        Serving::start(seat.faulty, fault.map(|fault| fault.id.as_str()), folder.path(), seat.patience, seat.interrupted)?;
    let mut command = own(seat.qkdspec);
    command.args(["run", "kme", "--mode", "destructive", "--seed", seed]);
    command.args(["--evidence", if seat.keep.is_some() { "all" } else { "none" }]);
    if fault.is_some_and(|fault| fault.kind == Kind::Mutant) {
        command.arg("--strict");
    }
    command.arg("--config").arg(&serving.config).arg("--report").arg(path("r.json")).arg("--html").arg(path("r.html"));
    command.stdin(std::process::Stdio::null()).stdout(create(&path("screen.txt"))?).stderr(create(&path("errors.txt"))?);
    let child = Guarded::spawn(&mut command).map_err(|error| format!("{}: {error}", seat.qkdspec.display()))?;
    let mut peak_kib = 0;
    let ended = child.wait(seat.limit, seat.interrupted, |pid| peak_kib = peak_kib.max(peak(pid)));
    let served = serving.serves();
    let stopped = serving.stop(seat.patience);
    let Some(status) = ended else {
        if seat.interrupted.load(Ordering::SeqCst) {
            return Err("interrupted".to_owned());
        }
        return Err(format!("the harness hangs: no end after {} s", seat.limit.as_secs()));
    };
    let mut sitting = Sitting { exit: status.code(), peak_kib, ..Sitting::default() };
    let said = ["screen.txt", "errors.txt", "r.json", "r.html"].map(path);
    sitting.octets = said.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum();
    sitting.unsafe_output = said.iter().any(|file| is_unsafe(&beginning(file))) || beginning(&said[3]).contains("<script");
    let text = std::fs::read_to_string(path("r.json")).unwrap_or_default();
    let report: Report = serde_json::from_str(&text).map_err(|_| {
        let errors = beginning(&path("errors.txt"));
        format!("no report ({status}): {}", shown(errors.lines().last().unwrap_or_default()))
    })?;
    sitting.plan.clone_from(&report.plan.sha256);
    for case in &report.cases {
        let complaint = case.complaints().first().map(|check| format!("{}: {}", check.part, check.got));
        let why = complaint.unwrap_or_else(|| case.reason.clone());
        sitting.cases.insert(case.id.clone(), (Some(case.verdict), shown(&why)));
    }
    let dies = fault.is_some_and(|fault| fault.kind != Kind::Variant);
    sitting.trouble = stopped.err().or_else(|| (!served && !dies).then(|| "the program ended during the run".to_owned()));
    Ok(sitting)
}

/// Controls of terminals, and of the direction of text.
fn is_unsafe(text: &str) -> bool {
    let control = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.contains(control)
}

/// Largest resident memory so far, in KiB; 0 where the system does not tell.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}
