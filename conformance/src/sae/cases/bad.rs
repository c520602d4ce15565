//! Faulty answers: must be refused.

use super::{BOTH, MASTER, SLAVE, for_each_role};
use crate::case::{Case, Impact, Level, Need};
use crate::ctx::Stop;
use crate::player::Fault;
use crate::sae::bench::{Act, Bench};
use crate::sae::drive::End;
use crate::sae::requests;
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-BAD-001", Level::D, Impact::KeySafety, "A key shorter or longer than asked for is refused")
        .basis(&["6.3-04"], &[])
        .does("256 bits are asked for; the key has 128, then 512", REFUSED)
        .kills(&["C31"])
        .needs(&[Need::AsMaster, Need::Told])
        .run_sae(size),
    Case::new("SAE14-BAD-002", Level::D, Impact::KeySafety, "A key that is no base64 is refused")
        .basis(&["6.3-04"], &[])
        .does("`key` with characters that are none of base64; with three characters less", REFUSED)
        .kills(&["C32"])
        .needs(&[Need::Told])
        .run_sae(base64),
    Case::new("SAE14-BAD-003", Level::D, Impact::KeySafety, "Fewer or more keys than asked for are not taken for all")
        .basis(&["6.3-02"], &[])
        .does(
            "three keys are asked for; two come; then five (a master only)",
            "a failure reported; of five keys, at most three used",
        )
        .kills(&["C33"])
        .needs(&[Need::Told])
        .run_sae(number),
    Case::new("SAE14-BAD-004", Level::D, Impact::KeySafety, "A key ID that was not asked for is refused")
        .basis(&["5.4-03"], &[])
        .does("a slave asks for a key and gets one with another ID", REFUSED)
        .kills(&["C34"])
        .needs(&[Need::AsSlave, Need::Told])
        .run_sae(other_id),
    Case::new("SAE14-BAD-005", Level::D, Impact::KeySafety, "The same key ID, or the same key, twice in one answer is refused")
        .basis(&["4-13"], &[])
        .does("two keys come with one ID; two IDs come with one key", REFUSED)
        .kills(&["C35"])
        .needs(&[Need::Told])
        .run_sae(repeated),
    Case::new("SAE14-BAD-006", Level::D, Impact::KeySafety, "An empty container with 200 is no success")
        .basis(&["6.3-02", "5.3-04"], &[])
        .does("200 with `{\"keys\":[]}`", REFUSED)
        .kills(&["C36"])
        .needs(&[Need::Told])
        .run_sae(empty),
    Case::new("SAE14-BAD-007", Level::D, Impact::Interop, "An Error body, or HTML, with 200 is no success")
        .basis(&["6.5-01", "6.3-01"], &[])
        .does("200 with an Error body; with a page of HTML", REFUSED)
        .kills(&["C37"])
        .needs(&[Need::Told])
        .run_sae(no_container),
    Case::new("SAE14-BAD-008", Level::H, Impact::KeySafety, "Of a body cut by connection loss no part is used")
        .basis(&[], &[])
        .does("the connection is lost within the last key; after the JSON and before the announced end", REFUSED)
        .kills(&["C38", "C39"])
        .needs(&[Need::Told])
        .run_sae(cut),
    Case::new("SAE14-BAD-009", Level::H, Impact::Security, "An endless body does not fill the memory")
        .basis(&[], &[])
        .does("a body without end", "the connection is closed before 64 MiB, or no more than 64 MiB of memory are used for it")
        .kills(&["C40"])
        .run_sae(endless),
    Case::new(
        "SAE14-BAD-010",
        Level::H,
        Impact::Security,
        "Deep nesting, duplicate members and octets that are not UTF-8 do no harm",
    )
    .basis(&[], &[])
    .does("a member nested 100 000 deep; `key` twice in an object; octets that are not UTF-8", "an end of its own, no crash")
    .kills(&["C41"])
    .needs(&[Need::Told])
    .run_sae(odd_json),
    Case::new("SAE14-BAD-011", Level::H, Impact::KeySafety, "A key of zeros is refused")
        .basis(&[], &[])
        .does("a key whose octets are all zero", REFUSED)
        .kills(&["C42"])
        .needs(&[Need::Told])
        .run_sae(zeros),
];

const REFUSED: &str = "a failure reported (exit 1), and no key printed";

/// No key was taken, and the SAE says so.
fn refused(t: &mut Bench<'_>, part: &str, act: &Act) -> Result<(), Stop> {
    if act.key_requests().count() == 0 {
        return Err(Stop::Inconclusive(format!("the SAE asked for no key: {}", act.text())));
    }
    let got = if act.took_keys() { act.text() } else { format!("{}; {}", act.text(), t.last_words(act)) };
    t.check(part, !act.took_keys(), REFUSED, got);
    t.check_orderly(part, act);
    Ok(())
}

fn part(role: Role, act: &Act) -> String {
    format!("{}, {}", role.name(), act.stage.scenario.id)
}

fn refuses(t: &mut Bench<'_>, roles: &[Role], task: fn(Role) -> Task, faults: &[Fault]) -> Result<(), Stop> {
    faults.iter().try_for_each(|fault| for_each_role(t, roles, task, *fault, |t, role, act| refused(t, &part(role, act), act)))
}

fn pair(role: Role) -> Task {
    Task::several(role, 2)
}

fn size(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::ShortKey, Fault::LongKey] {
        for_each_role(
            t,
            MASTER,
            |_| Task::get_key().size(256),
            fault,
            |t, role, act| {
                // Who neither says a size nor reads Status cannot know better.
                let knows = act.journal.requests.iter().any(|seen| {
                    requests::figure(&seen.asked, "size").is_some()
                        || seen.asked.api().is_some_and(|(method, _)| method == "status")
                });
                if !knows {
                    return Err(Stop::Skip("the SAE neither asks for a size nor reads Status".to_owned()));
                }
                refused(t, &part(role, act), act)
            },
        )?;
    }
    Ok(())
}

fn base64(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, BOTH, Task::simple, &[Fault::BadBase64, Fault::CutBase64])
}

/// Whether several keys were asked for in one request.
fn asks_for_several(act: &Act) -> bool {
    act.key_requests().any(|seen| {
        requests::figure(&seen.asked, "number").is_some_and(|number| number > 1) || requests::ids(&seen.asked).len() > 1
    })
}

const ONE_BY_ONE: &str = "the SAE asks for one key at a time";

fn number(t: &mut Bench<'_>) -> Result<(), Stop> {
    let three = |role| Task::several(role, 3);
    for_each_role(t, BOTH, three, Fault::FewerKeys, |t, role, act| {
        if !asks_for_several(act) {
            return Err(Stop::Skip(ONE_BY_ONE.to_owned()));
        }
        refused(t, &part(role, act), act)
    })?;
    for_each_role(t, MASTER, three, Fault::MoreKeys, |t, role, act| {
        if !asks_for_several(act) {
            return Err(Stop::Skip(ONE_BY_ONE.to_owned()));
        }
        let used = act.outcome.lines.len();
        t.check(&part(role, act), used <= 3, "at most three keys used", act.text());
        t.check_orderly(&part(role, act), act);
        Ok(())
    })
}

fn other_id(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, SLAVE, Task::simple, &[Fault::OtherId])
}

fn repeated(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::SameId, Fault::SameKey] {
        for_each_role(t, BOTH, pair, fault, |t, role, act| {
            if !act.key_requests().any(|seen| seen.keys.len() > 1) {
                return Err(Stop::Skip(ONE_BY_ONE.to_owned()));
            }
            refused(t, &part(role, act), act)
        })?;
    }
    Ok(())
}

fn empty(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, BOTH, Task::simple, &[Fault::Empty])
}

fn no_container(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, BOTH, Task::simple, &[Fault::ErrorWith200, Fault::HtmlWith200])
}

fn cut(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, BOTH, pair, &[Fault::CutBody, Fault::CutAfterJson])
}

fn endless(t: &mut Bench<'_>) -> Result<(), Stop> {
    const BOUND: u64 = 64 * 1024 * 1024;
    for role in t.roles() {
        // What the program and its libraries need anyhow, where that can be seen.
        let usual = match t.stand.config.client.exec {
            Some(_) => t.perform(&Task::simple(role), Fault::None)?.outcome.memory,
            None => None,
        };
        let act = t.act(&Task::simple(role), Fault::EndlessBody)?;
        let Some(taken) = act.key_requests().map(|seen| seen.taken).max() else {
            return Err(Stop::Inconclusive(format!("the SAE asked for no key: {}", act.text())));
        };
        let mib = |octets: u64| format!("{} MiB", octets / (1024 * 1024));
        // That it would have stopped at some time is no proof that it stops in time.
        if taken <= BOUND && (act.outcome.end == End::TimedOut || act.key_requests().any(|seen| !seen.over)) {
            return Err(Stop::Inconclusive(format!(
                "{}: it was still reading after {} when its time was over: a longer [client] timeout_s may show where it stops",
                role.name(),
                mib(taken)
            )));
        }
        let grown = act.outcome.memory.zip(usual).map(|(memory, usual)| memory.saturating_sub(usual));
        let (met, got) = match (taken <= BOUND, grown) {
            (true, _) => (true, format!("no more taken after {}", mib(taken))),
            (false, Some(grown)) => {
                (grown <= BOUND, format!("{} taken, {} more of memory used than usual", mib(taken), mib(grown)))
            }
            (false, None) => {
                return Err(Stop::Inconclusive(format!(
                    "{}: {} taken; how much memory that needed is seen only of a process that runs here ([client] exec, Linux)",
                    role.name(),
                    mib(taken)
                )));
            }
        };
        t.check(role.name(), met, "closed before 64 MiB, or memory that does not grow with the body", got);
        if t.tells() {
            t.check(role.name(), !act.took_keys(), REFUSED, act.text());
        }
    }
    Ok(())
}

fn odd_json(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::DeepNesting, Fault::BadUtf8, Fault::DuplicateMembers] {
        for_each_role(t, BOTH, Task::simple, fault, |t, role, act| {
            let part = part(role, act);
            let orderly = matches!(act.outcome.end, End::Done | End::Reported);
            t.check(&part, orderly, "an end of its own (exit 0 or 1), no crash", act.text());
            // RFC 8259 leaves it to the reader which of two equal names counts.
            t.observe(format!("{part}: {}", act.text()));
            Ok(())
        })?;
    }
    Ok(())
}

fn zeros(t: &mut Bench<'_>) -> Result<(), Stop> {
    refuses(t, BOTH, Task::simple, &[Fault::ZeroKey])
}
