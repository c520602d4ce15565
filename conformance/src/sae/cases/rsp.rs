//! Odd but conforming answers: must work.

use super::{BOTH, MASTER, SLAVE, for_each_role};
use crate::case::{Case, Impact, Level, Need};
use crate::ctx::Stop;
use crate::player::Fault;
use crate::sae::bench::{Act, Bench};
use crate::sae::drive::End;
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-RSP-001", Level::D, Impact::KeySafety, "Keys in another order are matched by ID")
        .basis(&["5.4-03"], &["A-35"])
        .does("three keys are fetched by ID; they come in the opposite order", "each ID with the fingerprint of its own key")
        .kills(&["C23"])
        .needs(&[Need::AsSlave, Need::Told])
        .run_sae(reordered),
    Case::new("SAE14-RSP-002", Level::D, Impact::Interop, "Extra members and extension objects do no harm")
        .basis(&["6.3-05", "6.1-04"], &["A-26"])
        .does("answers with extension objects and members that nobody knows", "the keys, as without them")
        .kills(&["C24"])
        .needs(&[Need::Told])
        .run_sae(extra_members),
    Case::new("SAE14-RSP-003", Level::D, Impact::Interop, "UUIDs in upper case and of other versions are UUIDs")
        .basis(&["6.3-03"], &["A-28"])
        .does("key IDs of version 8 in upper case", "the keys")
        .kills(&["C25"])
        .needs(&[Need::Told])
        .run_sae(odd_uuids),
    Case::new("SAE14-RSP-004", Level::R, Impact::Interop, "Chunked bodies, white space and escapes, a charset parameter")
        .basis(&["4-10", "RFC 8259", "RFC 7230"], &["A-30"])
        .does("bodies in chunks; pretty-printed, with escapes; Application/JSON; charset=utf-8", "the keys")
        .kills(&["C26", "C27"])
        .needs(&[Need::Told])
        .run_sae(dressed),
    Case::new("SAE14-RSP-005", Level::D, Impact::Interop, "A bare 401 is reported")
        .basis(&["5.3-08", "5.4-06"], &["A-19"])
        .does("401 without a body", "a failure reported (exit 1)")
        .kills(&["C28"])
        .needs(&[Need::Told])
        .run_sae(bare_401),
    Case::new("SAE14-RSP-006", Level::D, Impact::Interop, "400 for ignored optional extensions: tries without them, or reports")
        .basis(&["6.2-16"], &[])
        .does("optional extensions are refused in the words of the standard", "keys without the extension, or a failure reported")
        .kills(&["C29"])
        .needs(&[Need::AsMaster, Need::Told])
        .run_sae(optional_refused),
    Case::new("SAE14-RSP-007", Level::D, Impact::Interop, "A key that is not yet at the peer: tries are bounded")
        .basis(&["6.4-06"], &["A-21"])
        .does("keys are not found for a second; then never", "the keys, or a failure reported; at most 100 requests, and an end")
        .kills(&["C30"])
        .needs(&[Need::AsSlave])
        .run_sae(not_yet),
];

/// Done, with the right fingerprint for every key.
fn works(t: &mut Bench<'_>, part: &str, act: &Act) {
    t.check(part, act.outcome.end == End::Done, "done (exit 0)", format!("{}; {}", act.text(), t.last_words(act)));
    if act.outcome.end == End::Done {
        let wrong = act.outcome.lines.iter().find(|line| !t.is_right(act, line));
        let wanted = act.told.len().max(usize::try_from(act.task.number.unwrap_or(1)).unwrap_or(1));
        let got = match wrong {
            Some((id, fingerprint)) => format!("{id} with fingerprint {fingerprint}, which is not that of its key"),
            None => format!("{} keys printed", act.outcome.lines.len()),
        };
        let right = wrong.is_none() && act.outcome.lines.len() >= wanted;
        t.check(part, right, &format!("{wanted} keys, each with its fingerprint"), got);
    }
}

fn reordered(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(
        t,
        SLAVE,
        |_| Task::by_ids(3),
        Fault::Reordered,
        |t, role, act| {
            if !act.key_requests().any(|seen| seen.keys.len() > 1) {
                return Err(Stop::Skip("the SAE fetches one key at a time: there is no order".to_owned()));
            }
            works(t, role.name(), act);
            Ok(())
        },
    )
}

fn extra_members(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::ExtraMembers, |t, role, act| {
        works(t, role.name(), act);
        Ok(())
    })?;
    if t.roles().contains(&Role::Master) && t.works(&Task::named("status", Role::Master)).is_ok() {
        let act = t.act(&Task::named("status", Role::Master), Fault::ExtraMembers)?;
        t.check("status", act.outcome.end == End::Done, "done (exit 0)", act.text());
    }
    Ok(())
}

fn odd_uuids(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::OddUuids, |t, role, act| {
        works(t, role.name(), act);
        Ok(())
    })
}

fn dressed(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::Chunked, Fault::Pretty, Fault::Charset] {
        for_each_role(t, BOTH, Task::simple, fault, |t, role, act| {
            works(t, &format!("{}, {}", role.name(), act.stage.scenario.id), act);
            Ok(())
        })?;
    }
    Ok(())
}

fn bare_401(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::Unauthorised, |t, role, act| {
        t.check(role.name(), act.outcome.end == End::Reported && !act.took_keys(), "a failure reported (exit 1)", act.text());
        Ok(())
    })
}

fn optional_refused(t: &mut Bench<'_>) -> Result<(), Stop> {
    let task = |role| Task::named("get-key-optional", role);
    for_each_role(t, MASTER, task, Fault::OptionalRefused, |t, role, act| {
        let refused = act.journal.requests.iter().filter(|seen| seen.status == 400).count();
        if refused == 0 {
            return Err(Stop::Skip("the SAE sends no optional extension".to_owned()));
        }
        t.check("tries", refused <= 5, "at most 5 requests with the extension", format!("{refused}"));
        let accepted = "done (exit 0) without the extension, or a failure reported (exit 1)";
        let ended = match act.outcome.end {
            End::Done => act.supplied().count() > 0 && act.outcome.lines.iter().all(|line| t.is_right(act, line)),
            End::Reported => act.outcome.lines.is_empty(),
            _ => false,
        };
        t.check(role.name(), ended, accepted, act.text());
        Ok(())
    })
}

fn not_yet(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::NotYet, Fault::NeverFound] {
        for_each_role(
            t,
            SLAVE,
            |_| Task::by_ids(1),
            fault,
            |t, _, act| {
                let part = act.stage.scenario.id;
                let further = act.journal.tries() - act.journal.requests.len() as u64;
                let tries = act.key_requests().count() as u64 + further;
                if tries == 0 {
                    return Err(Stop::Inconclusive(format!("the SAE asked for no key: {}", act.text())));
                }
                t.check(part, tries <= 100, "at most 100 requests", format!("{tries} requests"));
                if t.tells() {
                    let right = match act.outcome.end {
                        End::Done => act.supplied().count() > 0 && act.outcome.lines.iter().all(|line| t.is_right(act, line)),
                        End::Reported => act.outcome.lines.is_empty(),
                        _ => false,
                    };
                    t.check(part, right, "the key (exit 0), or a failure reported (exit 1)", act.text());
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}
