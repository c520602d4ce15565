//! Concurrency and time.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop};
use crate::hooks;
use crate::lab::{Answer, Key, Request, Sae, printable};

pub(super) const CASES: &[Case] = &[
    Case::new("014-CON-001", Level::S, Impact::KeySafety, "50 parallel Get key: all IDs and material distinct")
        .basis(&["5.3-07", "4-13"], &[])
        .does("50 Get key requests, ten at a time", "50 different IDs, and keys if they have 64 bits")
        .kills(&["M151"])
        .needs(&[Need::Slave])
        .cost(50, 0)
        .run(con_001),
    Case::new("014-CON-002", Level::S, Impact::KeySafety, "Steady traffic both ways for T: zero mismatches")
        .basis(&["5.4-03"], &[])
        .does("20 keys drawn and fetched in either direction at once", "each with its octets")
        .kills(&["M152"])
        .needs(&[Need::Pair])
        .cost(40, 0)
        .run(con_002),
    Case::new("014-CON-003", Level::S, Impact::KeySafety, "Two masters at one KME never receive the same key")
        .basis(&["5.3-07"], &[])
        .does(
            "two SAEs at one KME draw ten keys each, at once, for one SAE, at the other KME if there is one",
            "20 different IDs, and keys if they have 64 bits",
        )
        .kills(&["M151", "M153"])
        .needs(&[Need::LocalPair, Need::Slave])
        .cost(20, 0)
        .run(con_003),
    Case::new("014-CON-004", Level::O, Impact::Quality, "Constant-rate latency percentiles and error share: recorded")
        .basis(&[], &[])
        .does("20 Get key requests, one every 50 ms", "anything; percentiles are recorded")
        .needs(&[Need::Slave])
        .cost(20, 0)
        .run(con_004),
    Case::new(
        "014-CON-005",
        Level::D,
        Impact::KeySafety,
        "Restart of a KME: delivered keys come back intact or as 400, never as other bytes",
    )
    .basis(&["5.4-03"], &[])
    .does(
        "keys are drawn at either KME and have arrived at the other, KME A is restarted, they are asked for",
        "200 with the same octets, or 400",
    )
    .kills(&["M154"])
    .needs(&[Need::Slave, Need::Destructive, Need::Hook("restart_a")])
    .cost(4, 0)
    .run(con_005),
    Case::new("014-CON-006", Level::S, Impact::KeySafety, "Masters at both KMEs never receive the same key")
        .basis(&["5.3-07", "4-13"], &[])
        .does(
            "40 Get key requests at each KME at once, four at a time, each for the SAE at the other",
            "80 different IDs, and keys if they have 64 bits",
        )
        .kills(&["M156"])
        .needs(&[Need::Pair])
        .cost(80, 0)
        .run(con_006),
];

/// `count` keys for `slave`, drawn by so many threads.
fn drawn(t: &Ctx<'_>, master: &Sae, slave: &str, count: usize, threads: usize) -> Result<Vec<Answer>, Stop> {
    let some = |_| -> Result<Vec<Answer>, Stop> {
        let asked = (0..count / threads).map(|_| t.ask(master, Request::post_key(slave, "{}")));
        // Fifty bodies at once would be the KME's choice of our memory.
        asked.map(|answer| answer.map(Answer::without_body)).collect()
    };
    let some = &some;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|index| scope.spawn(move || some(index))).collect();
        let mut answers = Vec::new();
        for worker in workers {
            answers.extend(worker.join().unwrap_or_else(|_| Err(Stop::Error("a thread panicked".to_owned())))?);
        }
        Ok(answers)
    })
}

fn expect_distinct(t: &mut Ctx<'_>, answers: &[Answer]) -> Result<(), Stop> {
    let keys: Vec<&Key> = answers.iter().flat_map(|answer| &answer.keys).collect();
    if keys.len() < answers.len() / 2 {
        let other = answers.iter().find(|answer| !answer.is(200)).map_or("", |answer| answer.shown.as_str());
        return Err(Stop::Inconclusive(format!("{} of {} requests gave a key; {other}", keys.len(), answers.len())));
    }
    let ids: HashSet<_> = keys.iter().map(|key| key.id.to_ascii_lowercase()).collect();
    t.check("key IDs", ids.len() == keys.len(), "all different", format!("{} of {}", ids.len(), keys.len()));
    // Short keys are equal by chance; what is not base64 has no octets to compare.
    let long: Vec<_> = keys.iter().filter(|key| key.bits() >= 64).filter_map(|key| key.fingerprint).collect();
    let material: HashSet<_> = long.iter().collect();
    t.check("key material", material.len() == long.len(), "all different", format!("{} of {}", material.len(), long.len()));
    Ok(())
}

fn con_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answers = drawn(t, t.master()?, &t.slave()?.id, 50, 10)?;
    expect_distinct(t, &answers)
}

fn con_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    let here = &*t;
    let one_way = |from: &Sae, to: &Sae| -> Result<Way, Stop> {
        let mut way = Way::default();
        for _ in 0..20 {
            let drawn = here.ask(from, Request::post_key(&to.id, "{}"))?;
            let Some(key) = drawn.keys.first() else {
                match drawn.status() {
                    Some(200 | 400 | 503) => way.short += 1,
                    Some(_) => way.odd.push(drawn.shown),
                    None => way.unclear = Some(drawn.shown),
                }
                if way.unclear.is_some() {
                    break;
                }
                continue;
            };
            let answer = here.collect(to, &from.id, &[&key.id])?;
            match answer.key(&key.id) {
                Some(got) if got.fingerprint == key.fingerprint => way.fetched += 1,
                Some(_) => way.differing.push(printable(&key.id)),
                None if answer.is(200) => way.differing.push(format!("{}: {}", printable(&key.id), answer.shown)),
                // Out of reach, or short of something: that is no mismatch.
                None if here.judgeable(&answer).is_err() => {
                    way.unclear = Some(answer.shown);
                    break;
                }
                None => way.missing.push(format!("{}: {}", printable(&key.id), answer.shown)),
            }
        }
        Ok(way)
    };
    let (there, back) = thread::scope(|scope| {
        let back = scope.spawn(|| one_way(slave, master));
        (one_way(master, slave), back.join())
    });
    let back = back.unwrap_or_else(|_| Err(Stop::Error("a thread panicked".to_owned())))?;
    let mut unclear = None;
    for (name, way) in [("A to B", there?), ("B to A", back)] {
        t.check(name, way.differing.is_empty(), "every key as it was drawn", way.differing.join("; "));
        t.check(&format!("{name}, fetched"), way.missing.is_empty(), "every key fetched", way.missing.join("; "));
        t.check_at(Level::D, &format!("{name}, drawn"), way.odd.is_empty(), "a key, or 400 or 503", way.odd.join("; "));
        if way.short > 0 {
            t.observe(format!("{name}: {} of 20 requests gave no key", way.short));
        }
        if way.fetched == 0 && way.missing.is_empty() {
            unclear = Some(format!("no key could be drawn, {name}"));
        }
        unclear = way.unclear.map(|why| format!("{name}: {why}")).or(unclear);
    }
    unclear.map_or(Ok(()), |why| Err(Stop::Inconclusive(why)))
}

/// What became of keys from one KME to the other.
#[derive(Default)]
struct Way {
    fetched: usize,
    short: usize,
    odd: Vec<String>,
    differing: Vec<String>,
    missing: Vec<String>,
    unclear: Option<String>,
}

fn con_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    let here = &*t;
    let (there, back) = thread::scope(|scope| {
        let back = scope.spawn(|| drawn(here, slave, &master.id, 40, 4));
        (drawn(here, master, &slave.id, 40, 4), back.join())
    });
    let mut answers = there?;
    answers.extend(back.unwrap_or_else(|_| Err(Stop::Error("a thread panicked".to_owned())))?);
    expect_distinct(t, &answers)
}

fn con_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = t.neighbours()?;
    let peer = t.peer_of(first, second)?;
    let here = &*t;
    let (ours, theirs) = thread::scope(|scope| {
        let other = scope.spawn(|| drawn(here, second, &peer.id, 10, 2));
        (drawn(here, first, &peer.id, 10, 2), other.join())
    });
    let mut answers = ours?;
    let theirs = theirs.unwrap_or_else(|_| Err(Stop::Error("a thread panicked".to_owned())))?;
    for (master, answers) in [(first, &answers), (second, &theirs)] {
        // Which SAEs may have keys in common is the KME's business.
        if answers.iter().all(|answer| matches!(answer.status(), Some(400 | 401 | 403 | 404))) {
            return Err(Stop::Skip(format!("{} is given no key for {}", master.name, peer.name)));
        }
    }
    answers.extend(theirs);
    expect_distinct(t, &answers)
}

fn con_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let mut times = Vec::new();
    let mut errors = 0;
    let began = Instant::now();
    for index in 0..20 {
        thread::sleep((began + Duration::from_millis(50) * index).saturating_duration_since(Instant::now()));
        let answer = t.lab.exchange(t.master()?, Request::post_key(&t.slave()?.id, "{}"))?;
        errors += usize::from(!answer.is(200));
        times.push(answer.took);
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    t.observe(format!(
        "Get key: median {:.1} ms, 95 % {:.1} ms, most {:.1} ms; {errors} of 20 without key",
        at(50),
        at(95),
        at(100)
    ));
    Ok(())
}

fn con_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    // Keys drawn at A are fetched at B; those that A has to keep through its restart were drawn at B.
    let mut ways = vec![(slave, master, t.arrived(1)?)];
    if slave.side != master.side {
        match t.arrived_for(slave, master, 1) {
            Ok(drawn) => ways.push((master, slave, drawn)),
            Err(Stop::Inconclusive(why)) => t.observe(format!("no keys from B to A, which DEC-019 judges: {why}")),
            Err(stop) => return Err(stop),
        }
    }
    hooks::run(t.lab, "restart_a")?;
    let ready = Instant::now() + Duration::from_secs(60);
    while !t.status(master, &slave.id)?.is(200) {
        if Instant::now() > ready {
            return Err(Stop::Inconclusive("KME A did not come back within 60 s".to_owned()));
        }
        thread::sleep(Duration::from_millis(200));
    }
    for (to, from, drawn) in ways {
        let answer = t.collect(to, &from.id, &[&drawn[0].id])?;
        if answer.is(400) {
            t.check("refused", answer.material == 0, "no key in a refusal", &answer);
            t.observe(format!("a key for {} did not survive the restart", to.name));
        } else {
            t.expect_same(&answer, &drawn)?;
        }
    }
    Ok(())
}
