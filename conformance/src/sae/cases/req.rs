//! Requests it makes.

use std::net::{IpAddr, Ipv4Addr};

use crate::case::{Case, Impact, Level, Need};
use crate::ctx::Stop;
use crate::player::{Fault, NO_HTTP, Seen};
use crate::sae::bench::{Bench, same_ids};
use crate::sae::requests::{self, Look};
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-REQ-001", Level::S, Impact::Interop, "Exact paths and methods")
        .basis(&["5.1-11", "5.2-01", "5.3-03"], &[])
        .does("everything the SAE can do, with good KMEs", "the methods and paths of the standard; GET without a body")
        .kills(&["C10", "C11"])
        .run_sae(watched::<0>),
    Case::new("SAE14-REQ-002", Level::S, Impact::Interop, "URL-encodes SAE IDs")
        .basis(&["5.2-03"], &["A-33"])
        .does("a peer whose ID holds a space, a slash, a percent sign and a letter that is not ASCII", "the ID, encoded once")
        .kills(&["C12", "C12b"])
        .run_sae(encoding),
    Case::new("SAE14-REQ-003", Level::S, Impact::Interop, "Works with host name, IPv4, IPv6, each with a port")
        .basis(&["5.2-02"], &[])
        .does(
            "KMEs at localhost, 127.0.0.1 and [::1]; for an SAE on another machine, at those of [client] hosts",
            "requests at each (IPv6: derived); the Host header as in the URL (RFC 7230)",
        )
        .kills(&["C13"])
        .needs(&[Need::Told])
        .run_sae(hosts),
    Case::new("SAE14-REQ-004", Level::S, Impact::Interop, "Names the peer in the path, as master and as slave")
        .basis(&["5.3-06", "5.4-01"], &["A-39"])
        .does("everything the SAE can do, with good KMEs", "the other SAE's ID in the path")
        .kills(&["C14"])
        .run_sae(watched::<1>),
    Case::new("SAE14-REQ-005", Level::S, Impact::Interop, "Get key by GET with `number` and `size` only")
        .basis(&["6.2-07", "6.2-06"], &[])
        .does("Get key with and without number, size and an extension", "GET with `number` and `size`, or POST")
        .kills(&["C15"])
        .needs(&[Need::AsMaster])
        .run_sae(watched::<2>),
    Case::new("SAE14-REQ-006", Level::S, Impact::Interop, "POST for two or more key IDs")
        .basis(&["6.4-04", "6.4-05"], &[])
        .does("one key ID; three of them", "GET with one `key_ID`, or POST")
        .kills(&["C16"])
        .needs(&[Need::AsSlave])
        .run_sae(watched::<3>),
    Case::new(
        "SAE14-REQ-007",
        Level::S,
        Impact::Interop,
        "Integers are JSON integers, members of the right types; none null or unknown (derived)",
    )
    .basis(&["6.2-01", "6.4-01"], &["A-26", "A-27"])
    .does("every body", "members, types and arrays of the standard")
    .kills(&["C17", "C18"])
    .run_sae(watched::<4>),
    Case::new("SAE14-REQ-008", Level::S, Impact::Interop, "Bodies are JSON with the right content type")
        .basis(&["4-10", "5.1-01"], &["A-25"])
        .does("every POST", "application/json, one JSON text in UTF-8; an empty Get key request is `{}` (derived)")
        .kills(&["C19"])
        .run_sae(watched::<5>),
    Case::new("SAE14-REQ-009", Level::D, Impact::Interop, "Stays within the limits of Status, once it has read it")
        .basis(&["6.1-03"], &["A-22"])
        .does("5 keys of 512 bits are wanted; Status allows 2 of 256 at a time", "no request beyond the limits after Status")
        .kills(&["C20"])
        .needs(&[Need::AsMaster])
        .run_sae(limits),
    Case::new("SAE14-REQ-010", Level::H, Impact::Interop, "Own extensions carry a vendor's prefix")
        .basis(&["6.2-18"], &[])
        .does("every extension in a request", "a name that begins with a prefix and `_`")
        .kills(&["C21"])
        .needs(&[Need::AsMaster])
        .run_sae(watched::<6>),
    Case::new("SAE14-REQ-011", Level::S, Impact::Interop, "A slave asks for exactly the IDs it was told")
        .basis(&["4-11"], &["A-28"])
        .does("three IDs are told", "requests for these three, letter case aside")
        .kills(&["C22"])
        .needs(&[Need::AsSlave])
        .run_sae(told_ids),
];

/// Requests of everything the SAE can do, made once per run.
fn survey(t: &mut Bench<'_>) -> Result<Vec<Look>, Stop> {
    if let Some(looks) = t.stand.survey.borrow().clone() {
        return Ok(looks);
    }
    let mut looks = Vec::new();
    for role in t.roles() {
        let tasks = match role {
            Role::Master => vec![
                Task::get_key(),
                Task::get_key().number(3).size(128),
                Task::named("status", role),
                Task::named("get-key-optional", role),
            ],
            Role::Slave => vec![Task::by_ids(1), Task::by_ids(3)],
        };
        for task in tasks {
            let act = match t.perform(&task, Fault::None) {
                Ok(act) => act,
                // What not every SAE does.
                Err(Stop::Inconclusive(_)) if matches!(task.name.as_str(), "status" | "get-key-optional") => continue,
                Err(stop) => return Err(stop),
            };
            looks.extend(act.journal.requests.iter().map(|seen| look(t, role, seen)));
        }
    }
    *t.stand.survey.borrow_mut() = Some(looks.clone());
    Ok(looks)
}

fn look(t: &Bench<'_>, role: Role, seen: &Seen) -> Look {
    let peer = Some(t.stand.peer(&Task::simple(role)).to_owned());
    Look { asked: seen.asked.clone(), own: Some(t.stand.own(role).to_owned()), peer, prefix: String::new() }
}

/// A case that looks at every request.
fn watched<const INDEX: usize>(t: &mut Bench<'_>) -> Result<(), Stop> {
    let case = requests::WATCHED[INDEX];
    let looks = survey(t)?;
    let mut count = 0;
    let mut told = Vec::new();
    for findings in looks.iter().filter_map(|look| requests::judge(case, look)) {
        count += 1;
        for finding in findings {
            if told.len() < 5 && !told.contains(&finding) {
                let level = finding.level.unwrap_or_else(|| t.level());
                t.check_at(level, finding.part, false, finding.accepted, finding.got.clone());
                told.push(finding);
            }
        }
    }
    if count == 0 {
        let why = if looks.is_empty() { "the SAE sent no request" } else { "no request to look at" };
        return Err(if looks.is_empty() { Stop::Inconclusive(why.to_owned()) } else { Stop::Skip(why.to_owned()) });
    }
    if told.is_empty() {
        t.check("all", true, t.accepted(), format!("{count} requests"));
    }
    Ok(())
}

fn encoding(t: &mut Bench<'_>) -> Result<(), Stop> {
    const PEER: &str = "unit 7/50%\u{e9}";
    const ENCODED: &str = "/api/v1/keys/unit%207%2F50%25%C3%A9/…";
    for role in t.roles() {
        t.works(&Task::simple(role))?;
        // Not `act`: what is encoded wrongly does not work, and that is to be told.
        let act = t.perform(&Task::simple(role).peer(PEER), Fault::None)?;
        let Some(seen) = act.journal.requests.first() else {
            // An ID put in as it is: its space ends the target, and what follows is no version of HTTP.
            let failures = act.journal.connections.iter().filter(|connection| connection.tls.is_some());
            let mut garbled = failures.filter_map(|connection| connection.failed.as_deref());
            if let Some(why) = garbled.find(|why| why.starts_with(NO_HTTP)) {
                t.check(role.name(), false, ENCODED, format!("a request that cannot be read: {why}"));
                continue;
            }
            return Err(Stop::NotApplicable(format!("the SAE sends no request for a peer of such a name: {}", act.text())));
        };
        let fault = match requests::peer_segment(&seen.asked) {
            Some(segment) => requests::encoding_fault(&segment, PEER),
            None => Some("the path is no path of the standard any more".to_owned()),
        };
        let line = crate::lab::printable(&seen.asked.target);
        let got = fault.as_ref().map_or(line.clone(), |fault| format!("{line}: {fault}"));
        t.check(role.name(), fault.is_none(), ENCODED, got);
    }
    Ok(())
}

fn hosts(t: &mut Bench<'_>) -> Result<(), Stop> {
    let client = &t.stand.config.client;
    let hosts = client.tried_hosts();
    if hosts.is_empty() {
        let why = "by which host name, IPv4 and IPv6 address does the SAE reach this machine? set [client] hosts";
        return Err(Stop::Skip(why.to_owned()));
    }
    let is_ipv6 = |host: &str| host.contains(':');
    let required = [
        ("host name", hosts.iter().any(|host| host.parse::<IpAddr>().is_err())),
        ("IPv4 address", hosts.iter().any(|host| host.parse::<Ipv4Addr>().is_ok())),
    ];
    let untried = required.into_iter().find(|(_, is_there)| !is_there).map(|(kind, _)| kind);
    if !hosts.iter().any(|host| is_ipv6(host)) {
        t.observe("[client] hosts has no IPv6 address: not tried");
    }
    for role in t.roles() {
        let (before, mut reached) = (t.checks.len(), 0);
        for host in hosts.iter().map(String::as_str) {
            if host == "::1" && !t.stand.player.has_ipv6() {
                t.observe("no IPv6 here: not tried");
                continue;
            }
            let act = t.perform(&Task::simple(role).host(host), Fault::None)?;
            let part = format!("{}, {host}", role.name());
            if act.outcome.end == crate::sae::drive::End::Unsupported {
                return Err(Stop::NotApplicable("the SAE does not support the simplest of tasks (exit 89)".to_owned()));
            }
            let worked = !act.journal.requests.is_empty();
            reached += u32::from(worked);
            // The standard says `IP address`; that this is IPv6, too, is our reading.
            let level = if is_ipv6(host) { Level::D } else { t.level() };
            t.check_at(level, &part, worked, "requests at this KME", act.text());
            let authority = t.stand.player.url(role.side(), Some(host)).replace("https://", "");
            let wrong = act
                .journal
                .requests
                .iter()
                .find(|seen| !seen.asked.header("host").is_some_and(|named| named.trim().eq_ignore_ascii_case(&authority)));
            if let Some(seen) = wrong {
                let got = format!("Host: {}", crate::lab::printable(seen.asked.header("host").unwrap_or("(absent)")));
                t.check_at(Level::R, &part, false, "the URL's host and port in the Host header", got);
            }
        }
        if reached == 0 {
            // Then it is not the host that is wrong.
            t.checks.truncate(before);
            return Err(Stop::Inconclusive(format!("as {}, the SAE reached no KME at all", role.name())));
        }
    }
    match untried {
        Some(kind) => Err(Stop::Inconclusive(format!("[client] hosts has no {kind}: not tried"))),
        None => Ok(()),
    }
}

fn limits(t: &mut Bench<'_>) -> Result<(), Stop> {
    t.works(&Task::get_key())?;
    let act = t.perform(&Task::get_key().number(5).size(512), Fault::TightLimits)?;
    let read = act.journal.requests.iter().position(|seen| seen.asked.api().is_some_and(|(method, _)| method == "status"));
    let Some(read) = read else {
        return Err(Stop::Skip("the SAE asks for keys without reading Status".to_owned()));
    };
    let beyond = act.journal.requests[read..].iter().find(|seen| {
        seen.asked.api().is_some_and(|(method, _)| method == "enc_keys")
            && (requests::figure(&seen.asked, "number").is_some_and(|number| number > 2)
                || requests::figure(&seen.asked, "size").is_some_and(|size| !(128..=256).contains(&size)))
    });
    let got = beyond.map(|seen| {
        let body = String::from_utf8_lossy(&seen.asked.body[..seen.asked.body.len().min(200)]).into_owned();
        crate::lab::printable(&format!("{} {} {body}", seen.asked.method, seen.asked.target))
    });
    t.check("requests", beyond.is_none(), "`number` up to 2, `size` from 128 to 256", got.unwrap_or_else(|| act.text()));
    Ok(())
}

fn told_ids(t: &mut Bench<'_>) -> Result<(), Stop> {
    t.works(&Task::by_ids(1))?;
    let act = t.perform(&Task::by_ids(3), Fault::None)?;
    let asked: Vec<_> = act.key_requests().flat_map(|seen| requests::ids(&seen.asked)).collect();
    if asked.is_empty() {
        return Err(Stop::Inconclusive(format!("the SAE asked for no key: {}", act.text())));
    }
    let got = format!(
        "{} asked for, {} told{}",
        asked.len(),
        act.told.len(),
        if requests::are_uuids(&asked) { "" } else { "; not UUIDs" }
    );
    t.check("key IDs", same_ids(&asked, &act.told), "the IDs that were told, and no other", got);
    Ok(())
}
