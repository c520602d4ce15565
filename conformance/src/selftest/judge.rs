//! What a run of the harness says about the harness.

use super::allowed::Allowed;
use super::program::{Fault, Kind};
use super::sitting::Sitting;
use crate::case::Level;
use crate::catalogue::all;
use crate::report::Verdict;

/// What came of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Mutant: all cases for it fail, and no other that is not allowed to.
    Killed,
    /// Variant: nothing is said against it that is not allowed. Hostile: no harm was done.
    Unharmed,
    /// Mutant: all cases for it fail, but others do, too.
    OthersToo,
    /// Mutant: noticed, but not by all the cases for it.
    Missed,
    /// Mutant: no case for it notices it.
    Survived,
    /// Variant: a case complains. Hostile: harm was done.
    Wrong,
    /// Nothing was proved.
    Broken,
    /// The program does not know it.
    NotPlanted,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self, Self::Killed | Self::Unharmed)
    }

    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Unharmed => "ok",
            Self::OthersToo => "OTHERS TOO",
            Self::Missed => "MISSED",
            Self::Survived => "SURVIVED",
            Self::Wrong => "WRONG",
            Self::Broken => "BROKEN",
            Self::NotPlanted => "NOT PLANTED",
        }
    }
}

/// A fault, what came of it, and what to look at.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) fault: Fault,
    pub(crate) outcome: Outcome,
    /// Cases for this mutant that failed.
    pub(crate) noticed: Vec<&'static str>,
    /// Cases that passed.
    pub(crate) passed: Vec<&'static str>,
    /// Short lines: what was missed, who complained, and of what.
    pub(crate) remarks: Vec<String>,
    pub(crate) seconds: f64,
    /// How many runs it took.
    pub(crate) attempts: u32,
}

/// The cases that are made for a mutant.
pub(crate) fn made_for(mutant: &str) -> Vec<&'static str> {
    all().iter().filter(|case| case.kills.contains(&mutant)).map(|case| case.id).collect()
}

/// Whether a case can fail at all.
pub(crate) fn can_fail(level: Level) -> bool {
    level != Level::O
}

/// More than this for a KME that floods would be bloat.
const MAX_PEAK_KIB: u64 = 512 * 1024;
const MAX_OCTETS: u64 = 16 * 1024 * 1024;

pub(crate) fn judge(fault: &Fault, sitting: &Sitting, allowed: &Allowed) -> Judged {
    let with = |verdict: Verdict| all().iter().map(|case| case.id).filter(move |case| sitting.verdict(case) == Some(verdict));
    let mut judged = Judged {
        fault: fault.clone(),
        outcome: Outcome::Broken,
        noticed: Vec::new(),
        passed: with(Verdict::Pass).collect(),
        remarks: Vec::new(),
        seconds: sitting.seconds,
        attempts: 1,
    };
    if let Some(trouble) = &sitting.trouble {
        judged.remarks.push(trouble.clone());
        return judged;
    }
    let tell = |case: &str| {
        let (verdict, why) = sitting.cases.get(case).cloned().unwrap_or_default();
        format!("{} {}: {why}", short(case), verdict.map_or("not run", Verdict::name))
    };
    let errors: Vec<_> = with(Verdict::Error).map(tell).collect();
    match fault.kind {
        Kind::Mutant => {
            let named = made_for(&fault.id);
            let (noticed, missed): (Vec<_>, Vec<_>) =
                named.into_iter().partition(|case| sitting.verdict(case) == Some(Verdict::Fail));
            let others: Vec<_> = with(Verdict::Fail)
                .filter(|case| !noticed.contains(case) && allowed.reason(&fault.id, case, Verdict::Fail).is_none())
                .collect();
            judged.outcome = match (noticed.is_empty(), missed.is_empty(), others.is_empty() && errors.is_empty()) {
                (true, ..) => Outcome::Survived,
                (false, false, _) => Outcome::Missed,
                (false, true, false) => Outcome::OthersToo,
                (false, true, true) => Outcome::Killed,
            };
            if noticed.is_empty() && missed.is_empty() {
                judged.remarks.push("no case is made for it".to_owned());
            }
            judged.remarks.extend(missed.into_iter().map(|case| format!("missed by {}", tell(case))));
            judged.remarks.extend(others.into_iter().map(|case| format!("also {}", tell(case))));
            judged.remarks.extend(errors);
            judged.noticed = noticed;
        }
        Kind::Variant => {
            judged.remarks = with(Verdict::Fail).map(tell).chain(errors).collect();
            for verdict in [Verdict::Warn, Verdict::Inconc] {
                judged.remarks.extend(with(verdict).filter(|case| allowed.reason(&fault.id, case, verdict).is_none()).map(tell));
            }
            if judged.passed.is_empty() {
                judged.remarks.push("no case passed: nothing was tested".to_owned());
            }
            judged.outcome = if judged.remarks.is_empty() { Outcome::Unharmed } else { Outcome::Wrong };
        }
        Kind::Hostile => {
            judged.remarks = errors;
            if sitting.unsafe_output {
                judged.remarks.push("screen or report hold controls of a terminal, or a script".to_owned());
            }
            if sitting.peak_kib > MAX_PEAK_KIB {
                judged.remarks.push(format!("{} MiB of memory", sitting.peak_kib / 1024));
            }
            if sitting.octets > MAX_OCTETS {
                judged.remarks.push(format!("{} MiB of output", sitting.octets / (1024 * 1024)));
            }
            // It may conform, but for its names; it must not be judged by a crash.
            if !matches!(sitting.exit, Some(0 | 1 | 3)) {
                judged.remarks.push(format!("exit code {:?}", sitting.exit));
            }
            judged.outcome = if judged.remarks.is_empty() { Outcome::Unharmed } else { Outcome::Wrong };
        }
    }
    judged
}

pub(crate) fn short(case: &str) -> &str {
    case.strip_prefix("014-").unwrap_or(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(id: &str, kind: Kind) -> Fault {
        Fault { id: id.to_owned(), kind, what: "what".to_owned() }
    }

    fn sitting(cases: &[(&str, Verdict)]) -> Sitting {
        let cases = cases.iter().map(|(id, verdict)| (format!("014-{id}"), (Some(*verdict), String::new()))).collect();
        Sitting { cases, exit: Some(0), ..Sitting::default() }
    }

    fn outcome(id: &str, kind: Kind, cases: &[(&str, Verdict)]) -> Outcome {
        judge(&fault(id, kind), &sitting(cases), &Allowed::default()).outcome
    }

    #[test]
    fn a_mutant_is_killed_by_all_cases_for_it_and_no_other() {
        let (pass, fail, inconc) = (Verdict::Pass, Verdict::Fail, Verdict::Inconc);
        let m042 = |cases: &[(&str, Verdict)]| outcome("M042", Kind::Mutant, cases);
        assert_eq!(m042(&[("ENC-003", fail), ("ENC-004", fail), ("ENC-001", pass)]), Outcome::Killed);
        assert_eq!(m042(&[("ENC-003", fail), ("ENC-004", fail), ("ENC-001", fail)]), Outcome::OthersToo);
        assert_eq!(m042(&[("ENC-003", fail), ("ENC-004", fail), ("ENC-001", Verdict::Error)]), Outcome::OthersToo);
        assert_eq!(m042(&[("ENC-003", fail), ("ENC-004", inconc)]), Outcome::Missed);
        assert_eq!(m042(&[("ENC-003", pass), ("ENC-004", pass), ("ENC-001", fail)]), Outcome::Survived);
        assert_eq!(m042(&[]), Outcome::Survived);
        assert_eq!(outcome("M999", Kind::Mutant, &[("ENC-003", fail)]), Outcome::Survived);
    }

    #[test]
    fn nothing_may_be_said_against_a_variant() {
        let b03 = |verdict| outcome("B03", Kind::Variant, &[("ENC-001", Verdict::Pass), ("ENC-003", verdict)]);
        for verdict in [Verdict::Pass, Verdict::Na, Verdict::Skip] {
            assert_eq!(b03(verdict), Outcome::Unharmed);
        }
        for verdict in [Verdict::Fail, Verdict::Warn, Verdict::Inconc, Verdict::Error] {
            assert_eq!(b03(verdict), Outcome::Wrong);
        }
        assert_eq!(outcome("B03", Kind::Variant, &[("ENC-001", Verdict::Skip)]), Outcome::Wrong);
    }

    #[test]
    fn a_hostile_kme_may_fail_but_not_harm() {
        let hostile = |change: fn(&mut Sitting)| {
            let mut sitting = sitting(&[("ENC-001", Verdict::Fail)]);
            change(&mut sitting);
            judge(&fault("H01", Kind::Hostile), &sitting, &Allowed::default()).outcome
        };
        assert_eq!(hostile(|sitting| sitting.exit = Some(1)), Outcome::Unharmed);
        assert_eq!(hostile(|sitting| sitting.exit = Some(4)), Outcome::Wrong);
        assert_eq!(hostile(|sitting| sitting.exit = None), Outcome::Wrong);
        assert_eq!(hostile(|sitting| sitting.peak_kib = MAX_PEAK_KIB + 1), Outcome::Wrong);
        assert_eq!(hostile(|sitting| sitting.octets = MAX_OCTETS + 1), Outcome::Wrong);
        assert_eq!(hostile(|sitting| sitting.unsafe_output = true), Outcome::Wrong);
        assert_eq!(hostile(|sitting| sitting.trouble = Some("hangs".to_owned())), Outcome::Broken);
    }
}
