//! Faults and timing.

use std::time::Duration;

use super::{BOTH, MASTER, for_each_role};
use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Stop, mandated};
use crate::player::Fault;
use crate::sae::bench::{Act, Bench};
use crate::sae::drive::End;
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-ERR-001", Level::H, Impact::Quality, "401 is not retried in a loop")
        .basis(&[], &["A-19"])
        .does("401 to every request", "at most 5 requests, and an end, or at least no further one")
        .kills(&["C43"])
        .run_sae(unauthorised),
    Case::new("SAE14-ERR-002", Level::H, Impact::Quality, "503 and connection loss: tries are bounded, with pauses")
        .basis(&[], &["A-20"])
        .does("503 to every request; every connection lost after a request", "at most 50 tries; from the fourth on, with pauses")
        .kills(&["C44"])
        .run_sae(back_off),
    Case::new("SAE14-ERR-003", Level::H, Impact::Quality, "The mandated sentences reach the operator")
        .basis(&["6.2-09", "6.4-06"], &[])
        .does("400 with a sentence of the standard", "the sentence in what the SAE says")
        .kills(&["C45"])
        .needs(&[Need::Told])
        .run_sae(sentences),
    Case::new("SAE14-ERR-004", Level::H, Impact::Quality, "Silence, and an answer in drips, end by its own timeout")
        .basis(&[], &[])
        .does("no answer; an answer of one octet in 0.2 s", "an end within [client] timeout_s, and no key")
        .kills(&["C46"])
        .needs(&[Need::Told])
        .run_sae(silence),
    Case::new("SAE14-ERR-005", Level::D, Impact::KeySafety, "Lost answer to Get key: no ID in it is taken to be usable")
        .basis(&["5.3-07"], &["A-38"])
        .does("the first answer is cut after the first key ID; later ones are whole", "no key of the lost answer is used")
        .kills(&["C38"])
        .needs(&[Need::AsMaster, Need::Told])
        .run_sae(lost_answer),
    Case::new("SAE14-ERR-006", Level::H, Impact::KeySafety, "KME unreachable: no old key, no fixed key, no plaintext")
        .basis(&[], &[])
        .does("no KME can be reached; in a second session, after a good first one", "a failure reported, and no key")
        .kills(&["C47", "C48"])
        .needs(&[Need::Told])
        .run_sae(unreachable),
    Case::new("SAE14-ERR-007", Level::H, Impact::Quality, "Recovers when the KME returns, without a restart")
        .basis(&[], &[])
        .does("no KME for a second; the SAE keeps trying, in one process", "a key, in the end")
        .kills(&["C49"])
        .needs(&[Need::AsMaster, Need::Told])
        .run_sae(recovers),
];

/// Judges how often it tried, and whether it came to an end: that of its process; or, where that is not seen, a silence that is no
/// pause, even if its pauses double.
fn gives_up(t: &mut Bench<'_>, part: &str, act: &Act, most: u64) -> Result<(), Stop> {
    let Some((first, last)) = act.journal.requested() else {
        return Err(Stop::Inconclusive(format!("the SAE sent no request: {}", act.text())));
    };
    let tries = act.journal.tries();
    if act.ended {
        let met = tries <= most && act.outcome.end != End::TimedOut;
        t.check(part, met, &format!("at most {most} requests, and an end"), act.text());
        return Ok(());
    }
    let (busy, silent) = (last - first, act.watched_until - last);
    let seen = format!("{tries} requests within {:.1} s, then none for {:.1} s", busy.as_secs_f64(), silent.as_secs_f64());
    if tries <= most && silent <= 2 * busy {
        return Err(Stop::Inconclusive(format!(
            "{part}: {seen}: whether it goes on is not seen without an end of the process; a longer [client] timeout_s may show it"
        )));
    }
    let accepted = format!("at most {most} requests, and no further one while it was watched (its end is not seen)");
    t.check(part, tries <= most, &accepted, seen);
    Ok(())
}

fn unauthorised(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::Unauthorised, |t, role, act| gives_up(t, role.name(), act, 5))
}

/// Between tries, on average, if there are more than three.
fn pause(act: &Act) -> Option<Duration> {
    let (first, last) = act.journal.requested()?;
    let gaps = u32::try_from(act.journal.tries().checked_sub(1)?).unwrap_or(u32::MAX);
    (gaps >= 3).then(|| (last - first) / gaps)
}

fn back_off(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::ServerError, Fault::ConnectionLost] {
        for_each_role(t, BOTH, Task::simple, fault, |t, role, act| {
            let part = format!("{}, {}", role.name(), act.stage.scenario.id);
            // The pauses are seen whether or not the end is.
            if let Some(pause) = pause(act) {
                let got = format!("{} tries, {} ms between them on average", act.journal.tries(), pause.as_millis());
                t.check(&part, pause >= Duration::from_millis(50), "50 ms between tries on average, or more", got);
            }
            gives_up(t, &part, act, 50)
        })?;
    }
    Ok(())
}

fn sentences(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::SizeRefused, |t, role, act| {
        if act.key_requests().count() == 0 {
            return Err(Stop::Inconclusive(format!("the SAE asked for no key: {}", act.text())));
        }
        let sentence = if role == Role::Master { mandated::SIZE } else { mandated::NOT_FOUND };
        let told = act.outcome.said().contains(sentence);
        t.check(role.name(), told, &format!("\"{sentence}\""), format!("{}; {}", act.outcome.end.text(), t.last_words(act)));
        t.check(role.name(), act.outcome.end == End::Reported, "a failure reported (exit 1)", act.text());
        Ok(())
    })
}

fn silence(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::Silence, Fault::Drip] {
        for_each_role(t, BOTH, Task::simple, fault, |t, role, act| {
            let part = format!("{}, {}", role.name(), act.stage.scenario.id);
            let accepted = format!("an end within {} s", t.stand.config.client.timeout_s);
            let got = format!("{} after {:.1} s", act.text(), act.outcome.took.as_secs_f64());
            t.check(&part, act.outcome.end != End::TimedOut, &accepted, got);
            t.check(&part, !act.took_keys(), "no key", act.text());
            Ok(())
        })?;
    }
    Ok(())
}

fn lost_answer(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, MASTER, Task::simple, Fault::LostAnswer, |t, role, act| {
        let lost: Vec<_> = act.key_requests().filter(|seen| seen.cut.is_some()).flat_map(|seen| &seen.keys).collect();
        if lost.is_empty() {
            return Err(Stop::Inconclusive(format!("no answer was lost: {}", act.text())));
        }
        let used = act.outcome.lines.iter().find(|(id, _)| lost.iter().any(|(other, _)| id.eq_ignore_ascii_case(other)));
        let got = used.map_or_else(|| act.text(), |(id, _)| format!("{id} was used"));
        t.check(role.name(), used.is_none(), "no key of the lost answer is used", got);
        let done = act.outcome.end == End::Done;
        let empty = done && act.outcome.lines.is_empty();
        t.check(role.name(), !empty, "keys of a later answer, or a failure reported", act.text());
        Ok(())
    })
}

fn unreachable(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::Unreachable, |t, role, act| {
        t.expect_contact(act)?;
        t.check(role.name(), !act.took_keys(), "a failure reported (exit 1), and no key", act.text());
        t.check_orderly(role.name(), act);
        Ok(())
    })?;
    let task = Task::named("two-sessions", Role::Master);
    if t.roles().contains(&Role::Master) && t.works(&task).is_ok() {
        let act = t.act(&task, Fault::DownAfterFirst)?;
        if act.journal.supplied() > 1 {
            return Err(Stop::Inconclusive("the KME did not go away in time".to_owned()));
        }
        let met = act.outcome.end != End::Done && act.outcome.lines.len() <= 1;
        t.check("second session", met, "a failure reported (exit 1), and no second key", act.text());
    } else {
        t.observe("two sessions in one process: not supported, not tried");
    }
    Ok(())
}

fn recovers(t: &mut Bench<'_>) -> Result<(), Stop> {
    let task = |role| Task::named("keep-trying", role);
    for_each_role(t, MASTER, task, Fault::DownAtFirst, |t, role, act| {
        t.expect_contact(act)?;
        let right = !act.outcome.lines.is_empty() && act.outcome.lines.iter().all(|line| t.is_right(act, line));
        t.check(role.name(), act.outcome.end == End::Done && right, "a key, with its fingerprint", act.text());
        Ok(())
    })
}
