//! What it does with the key.

use std::collections::BTreeSet;

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::Stop;
use crate::player::Fault;
use crate::sae::bench::Bench;
use crate::sae::drive::End;
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-KEY-001", Level::S, Impact::KeySafety, "Master and slave end with the keys that the KMEs supplied")
        .basis(&["4-12"], &[])
        .does("keys are drawn, and fetched by ID", "the fingerprint of each key, as the KME has it")
        .kills(&["C50"])
        .needs(&[Need::Told])
        .run_sae(equal),
    Case::new("SAE14-KEY-002", Level::H, Impact::KeySafety, "Other octets at the slave's KME: the application notices")
        .basis(&[], &[])
        .does("the slave is given other octets under the same ID", "both ends together report a failure")
        .kills(&["C51"])
        .needs(&[Need::AsBoth, Need::Told])
        .run_sae(other_octets),
    Case::new("SAE14-KEY-003", Level::D, Impact::KeySafety, "Each session uses a fresh key ID")
        .basis(&["4-13", "5.3-07"], &[])
        .does(
            "Get key in two runs, and in two sessions of one process; then a KME that repeats itself",
            "different IDs, each drawn from the KME; a repeated one is refused",
        )
        .kills(&["C52", "C53"])
        .needs(&[Need::AsMaster, Need::Told])
        .run_sae(fresh),
    Case::new("SAE14-KEY-004", Level::D, Impact::KeySafety, "IDs that are told out of order still pair up")
        .basis(&["4-11"], &[])
        .does("the IDs of five keys are told in the opposite order", "each ID with the fingerprint of its own key")
        .kills(&["C54"])
        .needs(&[Need::AsSlave, Need::Told])
        .run_sae(out_of_order),
    Case::new("SAE14-KEY-005", Level::H, Impact::KeySafety, "No key in what it says: output, messages, crash reports")
        .basis(&[], &[])
        .does("all that the SAE wrote in this run, and every request, is searched for every key, in base64, in hexadecimal, as octets and octet by octet", "no key")
        .kills(&["C55"])
        .needs(&[Need::Output])
        .run_sae(nothing_shown),
    Case::new("SAE14-KEY-006", Level::H, Impact::KeySafety, "The second use of one ID is refused by the application")
        .basis(&[], &[])
        .does(
            "the peer announces one ID for two sessions, and the KME supplies its key twice",
            "a failure reported; the key used once",
        )
        .kills(&["C56"])
        .needs(&[Need::AsSlave, Need::Told])
        .run_sae(second_use),
];

fn equal(t: &mut Bench<'_>) -> Result<(), Stop> {
    for role in t.roles() {
        let act = t.perform(&Task::several(role, 2), Fault::None)?;
        match act.outcome.end {
            End::Done => {}
            End::Unsupported => {
                return Err(Stop::NotApplicable(format!("the SAE does not support `{}` (exit 89)", act.task.name)));
            }
            _ => return Err(Stop::Inconclusive(format!("{}: {}; {}", act.task.text(), act.text(), t.last_words(&act)))),
        }
        if act.outcome.lines.is_empty() {
            return Err(Stop::Inconclusive("it printed no line `key_ID fingerprint`".to_owned()));
        }
        for line in &act.outcome.lines {
            let right = t.is_right(&act, line);
            let got = format!("{} with fingerprint {}", line.0, &line.1[..8]);
            t.check(role.name(), right, "the fingerprint of the key that the KME supplied under this ID", got);
        }
    }
    Ok(())
}

fn other_octets(t: &mut Bench<'_>) -> Result<(), Stop> {
    let act = t.act(&Task::named("session", Role::Master), Fault::OtherOctets)?;
    if !act.journal.requests.iter().any(|seen| seen.side == Role::Slave.side() && !seen.keys.is_empty()) {
        return Err(Stop::Inconclusive(format!("the slave fetched no key: {}", act.text())));
    }
    t.check("session", act.outcome.end != End::Done, "a failure reported (exit 1)", act.text());
    t.check_orderly("session", &act);
    Ok(())
}

fn fresh(t: &mut Bench<'_>) -> Result<(), Stop> {
    let mut ids = BTreeSet::new();
    let mut printed = 0;
    let mut tasks = vec![Task::get_key(), Task::get_key()];
    let two = Task::named("two-sessions", Role::Master);
    t.works(&Task::get_key())?;
    let has_sessions = t.works(&two).is_ok();
    if has_sessions {
        tasks.push(two.clone());
    }
    for task in tasks {
        let act = t.perform(&task, Fault::None)?;
        for (id, _) in &act.outcome.lines {
            let drawn = act.supplied().any(|(other, _)| other.eq_ignore_ascii_case(id));
            t.check(
                "drawn",
                drawn,
                "an ID that this session drew from the KME",
                format!("{id}: {}", if drawn { "drawn" } else { "not drawn" }),
            );
            ids.insert(id.to_ascii_lowercase());
            printed += 1;
        }
        if task == two {
            let calls = act.key_requests().filter(|seen| !seen.keys.is_empty()).count();
            let keys = act.supplied().count();
            t.check("two sessions", keys >= 2, "a key of its own for each session", format!("{keys} keys in {calls} answers"));
        }
    }
    t.check("IDs", ids.len() == printed, "different IDs", format!("{} IDs in {printed} sessions", ids.len()));
    if has_sessions {
        let act = t.act(&two, Fault::RepeatedId)?;
        let met = act.outcome.end != End::Done && act.outcome.lines.len() <= 1;
        // A library that keeps no list of IDs cannot know; an application can.
        t.check_at(Level::H, "repeated by the KME", met, "a failure reported (exit 1), the key used once", act.text());
    } else {
        t.observe("two sessions in one process: not supported, not tried");
    }
    Ok(())
}

fn out_of_order(t: &mut Bench<'_>) -> Result<(), Stop> {
    t.works(&Task::by_ids(1))?;
    let act = t.perform(&Task::by_ids(5).reversed(), Fault::None)?;
    if act.outcome.end != End::Done || act.outcome.lines.is_empty() {
        return Err(Stop::Inconclusive(format!("{}: {}; {}", act.task.text(), act.text(), t.last_words(&act))));
    }
    for line in &act.outcome.lines {
        let right = t.is_right(&act, line);
        t.check("slave", right, "each ID with the fingerprint of its own key", format!("{} with {}", line.0, &line.1[..8]));
    }
    Ok(())
}

fn nothing_shown(t: &mut Bench<'_>) -> Result<(), Stop> {
    // An error with a key at hand is where keys get into messages.
    for (role, fault) in [(Role::Master, Fault::BadUtf8), (Role::Slave, Fault::CutAfterJson), (Role::Slave, Fault::None)] {
        if t.roles().contains(&role) {
            t.perform(&Task::several(role, 2), fault)?;
        }
    }
    if t.roles().contains(&Role::Master) {
        for fault in [Fault::None, Fault::ShortKey, Fault::CutAfterJson] {
            t.perform(&Task::get_key().size(256), fault)?;
        }
    }
    let betrayed = t.stand.betrayed.borrow().clone();
    let searched = *t.stand.searched.borrow();
    let got = match betrayed.first() {
        Some(first) => format!("a key in {first}{}", if betrayed.len() > 1 { ", and elsewhere" } else { "" }),
        None => format!("none in the output and the requests of {searched} runs"),
    };
    t.check("output", betrayed.is_empty(), "no key: raw, in base64, in hexadecimal, or octet by octet", got);
    Ok(())
}

fn second_use(t: &mut Bench<'_>) -> Result<(), Stop> {
    let task = Task { deposit: 1, ..Task::named("ids-twice", Role::Slave) };
    // Not `act`: even with good KMEs the second use fails.
    let act = t.perform(&task, Fault::RepeatedId)?;
    if act.outcome.end == End::Unsupported {
        return Err(Stop::NotApplicable("the SAE does not support `ids-twice` (exit 89)".to_owned()));
    }
    if act.outcome.lines.is_empty() {
        return Err(Stop::Inconclusive(format!("the first use failed, too: {}", act.text())));
    }
    let met = act.outcome.end != End::Done && act.outcome.lines.len() == 1;
    t.check("second use", met, "a failure reported (exit 1), the key printed once", act.text());
    Ok(())
}
