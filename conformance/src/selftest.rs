//! Holds the harness against KMEs that are faulty on purpose, odd, or hostile: is every fault noticed, and nothing else?
//!
//! The KMEs are another program (`faulty`), started once per fault; the harness runs as a process of its own against each.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::lab::lock;
use crate::rng::Rng;

mod allowed;
mod canary;
mod judge;
mod matrix;
mod program;
mod sitting;

use allowed::Allowed;
pub(crate) use canary::canary;
pub(crate) use judge::{Judged, Outcome};
pub(crate) use matrix::{document, figures, marked, never_passed, row, unproved};
use program::Patience;
pub(crate) use program::{Fault, Kind};
use sitting::{Seat, Sitting, sit};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The program of faulty KMEs.
    pub(crate) faulty: PathBuf,
    /// This program.
    pub(crate) qkdspec: PathBuf,
    pub(crate) kinds: Vec<Kind>,
    /// Only these faults; none: all.
    pub(crate) only: Vec<String>,
    /// The k-th of n parts in an order drawn from the seed.
    pub(crate) part: Option<(usize, usize, u64)>,
    /// Pairs at a time.
    pub(crate) jobs: usize,
    /// A planted fault that shows by chance, or that waited for a processor, is tried so many times in all. What is wrongly said
    /// of a KME that conforms, or harm once done, is not undone by a second try: variants and hostile KMEs have one.
    pub(crate) attempts: u32,
    /// Seconds that a pair may take to be ready, and to stop.
    pub(crate) patience: u64,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) interrupted: Arc<AtomicBool>,
}

/// What came of it.
pub(crate) struct Results {
    /// In the order of the list.
    pub(crate) rows: Vec<Judged>,
    /// All faults of all kinds were run.
    pub(crate) whole: bool,
    pub(crate) allowed: Allowed,
}

/// How it goes.
pub(crate) enum News<'a> {
    /// So many runs of so many are over, these are under way.
    Progress {
        over: usize,
        of: usize,
        running: &'a [String],
    },
    Done(&'a Judged),
}

/// Tries of a planted fault, unless told otherwise.
pub(crate) const ATTEMPTS: u16 = 3;
/// Longest run of the harness against one pair.
const LIMIT: Duration = Duration::from_secs(240);
/// Of all runs: what is random is the same in two runs against the reference KMEs.
const SEED: &str = "5eed";

/// Who is told how it goes.
type Tell<'a> = &'a mut dyn FnMut(News<'_>);

enum Event {
    Began(usize),
    Over(usize, Box<Sitting>),
}

/// Runs what is ordered; whatever happens is in the results.
pub(crate) fn run(order: &Order, tell: Tell<'_>) -> Result<Results, String> {
    let allowed = Allowed::load()?;
    let patience = Patience::new(order.patience);
    let planted = program::list(&order.faulty, patience)?;
    let mut faults = with_reference(planted, &allowed);
    let all = faults.len();
    choose(&mut faults, order)?;
    let whole = faults.len() == all;
    let seat = Seat {
        faulty: &order.faulty,
        qkdspec: &order.qkdspec,
        keep: order.keep.as_deref(),
        patience,
        limit: LIMIT,
        interrupted: &order.interrupted,
    };
    let mut rows: Vec<Option<Judged>> = faults.iter().map(|fault| not_planted(fault, &order.faulty)).collect();
    rows.iter().flatten().for_each(|row| tell(News::Done(row)));
    let mut jobs = order.jobs.max(1);
    for attempt in 1..=order.attempts {
        let open = |row: &Option<Judged>| row.as_ref().is_none_or(|row| may_be_tried_again(&row.fault, &row.outcome));
        let due: Vec<usize> = (0..faults.len()).filter(|index| open(&rows[*index])).collect();
        let last = attempt == order.attempts;
        sittings(seat, &faults, &due, jobs, tell, &mut |index, sitting, tell| {
            let mut judged = judge::judge(&faults[index], &sitting, &allowed);
            judged.attempts = attempt;
            // What will be tried again is told once.
            if !may_be_tried_again(&faults[index], &judged.outcome) || last || order.interrupted.load(Ordering::SeqCst) {
                tell(News::Done(&judged));
            }
            rows[index] = Some(judged);
        });
        if order.interrupted.load(Ordering::SeqCst) {
            break;
        }
        // The next ones are not to wait for each other.
        jobs = jobs.min(2);
    }
    Ok(Results { rows: rows.into_iter().flatten().collect(), whole, allowed })
}

fn may_be_tried_again(fault: &Fault, outcome: &Outcome) -> bool {
    fault.kind == Kind::Mutant && !outcome.is_good() && *outcome != Outcome::NotPlanted
}

/// Runs some faults, several at a time, and hands out each when it is over.
fn sittings(
    seat: Seat<'_>,
    faults: &[Fault],
    due: &[usize],
    jobs: usize,
    tell: Tell<'_>,
    done: &mut dyn FnMut(usize, Sitting, Tell<'_>),
) {
    let queue = Mutex::new(due.iter().copied().collect::<VecDeque<_>>());
    let of = due.len();
    let (send, receive) = mpsc::channel();
    let (mut over, mut running) = (0, Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(of) {
            let send = send.clone();
            scope.spawn(|| work(seat, faults, &queue, send));
        }
        drop(send);
        loop {
            match receive.recv_timeout(Duration::from_millis(200)) {
                Ok(Event::Began(index)) => running.push(faults[index].id.clone()),
                Ok(Event::Over(index, sitting)) => {
                    running.retain(|id| *id != faults[index].id);
                    over += 1;
                    done(index, *sitting, tell);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            tell(News::Progress { over, of, running: &running });
        }
    });
}

fn work(seat: Seat<'_>, faults: &[Fault], queue: &Mutex<VecDeque<usize>>, send: Sender<Event>) {
    while let Some(index) = { lock(queue).pop_front() } {
        if seat.interrupted.load(Ordering::SeqCst) {
            return;
        }
        let planted = (faults[index].id != matrix::REFERENCE).then_some(&faults[index]);
        // Nobody listens any more: nothing is lost.
        let _ = send.send(Event::Began(index));
        let mut sitting = sit(seat, planted, SEED);
        if planted.is_none() {
            let again = sit(seat, planted, SEED);
            let trouble = differs(&sitting, &again);
            sitting.trouble = sitting.trouble.or(again.trouble).or(trouble);
        }
        if send.send(Event::Over(index, Box::new(sitting))).is_err() {
            return;
        }
    }
}

/// The same seed has to give the same plan and the same verdicts.
fn differs(one: &Sitting, two: &Sitting) -> Option<String> {
    if one.plan != two.plan {
        return Some("the same seed gives another plan".to_owned());
    }
    let (case, ..) = one.cases.iter().find(|(case, (verdict, _))| two.verdict(case) != *verdict)?;
    Some(format!("the same seed gives another verdict in {case}"))
}

/// The faults of the program, behind the reference KMEs without any; and those that cases name and it does not know.
fn with_reference(mut planted: Vec<Fault>, allowed: &Allowed) -> Vec<Fault> {
    let named = crate::catalogue::all().iter().flat_map(|case| case.kills).map(|&id| id.to_owned());
    let missing: BTreeSet<String> =
        named.filter(|id| allowed.unplanted(id).is_none() && !planted.iter().any(|fault| fault.id == *id)).collect();
    planted.extend(missing.into_iter().map(|id| Fault { id, kind: Kind::Mutant, what: String::new() }));
    let what = "the reference KMEs as they are, twice with the same seed".to_owned();
    planted.push(Fault { id: matrix::REFERENCE.to_owned(), kind: Kind::Variant, what });
    let order = |fault: &Fault| (fault.kind, fault.id != matrix::REFERENCE, fault.id.len(), fault.id.clone());
    planted.sort_by_key(order);
    planted
}

fn not_planted(fault: &Fault, program: &Path) -> Option<Judged> {
    fault.what.is_empty().then(|| Judged {
        fault: fault.clone(),
        outcome: Outcome::NotPlanted,
        noticed: Vec::new(),
        passed: Vec::new(),
        remarks: vec![format!("cases name it, and {} does not list it", program.display())],
        seconds: 0.0,
        attempts: 0,
    })
}

/// Leaves what is ordered.
fn choose(faults: &mut Vec<Fault>, order: &Order) -> Result<(), String> {
    for id in &order.only {
        if !faults.iter().any(|fault| fault.id.eq_ignore_ascii_case(id)) {
            return Err(format!("--only {id}: there is no such fault"));
        }
    }
    let only = |fault: &Fault| order.only.is_empty() || order.only.iter().any(|id| fault.id.eq_ignore_ascii_case(id));
    faults.retain(|fault| order.kinds.contains(&fault.kind) && only(fault));
    if let Some((part, of, seed)) = order.part {
        let mut shuffled: Vec<String> = faults.iter().map(|fault| fault.id.clone()).collect();
        Rng::new(seed, "part").shuffle(&mut shuffled);
        let chosen: Vec<_> = shuffled.into_iter().skip(part - 1).step_by(of).collect();
        faults.retain(|fault| chosen.contains(&fault.id));
    }
    if faults.is_empty() { Err("no fault is selected".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(only: &[&str], part: Option<(usize, usize, u64)>) -> Order {
        Order {
            faulty: PathBuf::new(),
            qkdspec: PathBuf::new(),
            kinds: vec![Kind::Mutant],
            only: only.iter().map(|&id| id.to_owned()).collect(),
            part,
            jobs: 1,
            attempts: 1,
            patience: 1,
            keep: None,
            interrupted: Arc::default(),
        }
    }

    fn faults() -> Vec<Fault> {
        let fault = |number: u32| Fault { id: format!("M{number:03}"), kind: Kind::Mutant, what: "what".to_owned() };
        let variant = Fault { id: "B01".to_owned(), kind: Kind::Variant, what: "what".to_owned() };
        (1..=20).map(fault).chain([variant]).collect()
    }

    #[test]
    fn the_parts_of_a_seed_are_all_faults() {
        let mut all: Vec<String> = Vec::new();
        for part in 1..=3 {
            let mut some = faults();
            choose(&mut some, &order(&[], Some((part, 3, 77)))).expect("a part");
            assert!((6..=7).contains(&some.len()));
            all.extend(some.into_iter().map(|fault| fault.id));
        }
        all.sort();
        assert_eq!(all, faults().into_iter().map(|fault| fault.id).filter(|id| id != "B01").collect::<Vec<_>>());
    }

    #[test]
    fn unknown_and_empty_selections_are_errors() {
        assert!(choose(&mut faults(), &order(&["M999"], None)).is_err());
        assert!(choose(&mut faults(), &order(&["B01"], None)).is_err(), "of another kind");
        let mut some = faults();
        choose(&mut some, &order(&["M003", "M001"], None)).expect("a selection");
        assert_eq!(some.len(), 2);
    }

    #[test]
    fn what_cases_name_and_nobody_plants_is_there_as_not_planted() {
        let all = with_reference(faults(), &Allowed::default());
        let absent = all.iter().find(|fault| fault.id == "M102").expect("a case names it");
        assert!(not_planted(absent, Path::new("faulty")).is_some());
        assert_eq!(all.iter().filter(|fault| fault.id == "M001").count(), 1);
    }
}
