//! HTTP and JSON on the wire (clauses 4, 5.1).

use std::sync::Arc;

use super::tls;
use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop};
use crate::lab::{Answer, Api, Request};
use crate::wire::{TlsSettings, Versions, WireError, client_config, percent_encoded};

pub(super) const CASES: &[Case] = &[
    Case::new("014-WIR-001", Level::S, Impact::Interop, "Bodies are `application/json` (S on 200, D on errors)")
        .basis(&["4-10", "5.1-01"], &["A-30"])
        .does(
            "every answer 200, 400 and 503 of the three methods that has a body",
            "application/json, with any parameters (derived for errors)",
        )
        .kills(&["M119", "M129"]),
    Case::new("014-WIR-002", Level::R, Impact::Interop, "Bodies are UTF-8 without byte order mark")
        .basis(&["4-10", "RFC 8259"], &[])
        .does("every answer 200, 400 and 503 of the three methods that has a body", "UTF-8 without byte order mark")
        .kills(&["M130"]),
    Case::new(
        "014-WIR-003",
        Level::R,
        Impact::Interop,
        "Bodies are one JSON text without trailing data (R); no duplicate members (H)",
    )
    .basis(&["4-10", "RFC 8259"], &[])
    .does(
        "every answer 200, 400 and 503 of the three methods that has a body",
        "one JSON text (derived for errors); no duplicate members (hygiene)",
    )
    .kills(&["M131", "M132"]),
    Case::new("014-WIR-004", Level::R, Impact::Interop, "Content-Length or chunking is exact")
        .basis(&["RFC 7230"], &[])
        .does("every answer", "a body exactly as long as announced")
        .kills(&["M133"]),
    Case::new("014-WIR-005", Level::R, Impact::Interop, "Several requests on one connection are answered in order")
        .basis(&["RFC 7230"], &[])
        .does(
            "Get key, Status and a request for an unknown ID, sent at once on one connection",
            "their answers in this order; closing after any of them is right, too",
        )
        .kills(&["M134"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(wir_005),
    Case::new("014-WIR-006", Level::D, Impact::Security, "No redirect off HTTPS or to another authority")
        .basis(&["4-08"], &[])
        .does("every redirection", "to the same authority, by HTTPS")
        .kills(&["M135"]),
    Case::new("014-WIR-007", Level::O, Impact::Interop, "ALPN and HTTP version: recorded")
        .basis(&[], &["A-41"])
        .does("a handshake that offers h2 and http/1.1; Status, unless it is h2", "anything; recorded")
        .needs(&[Need::Slave, Need::Tls])
        .run(wir_007),
    Case::new(
        "014-WIR-008",
        Level::D,
        Impact::Security,
        "Path variants (case, double or trailing slash) never bypass authorisation",
    )
    .basis(&[], &["A-31"])
    .does("Status with double, trailing and upper-case path segments, by an SAE that is not enrolled", "neither Status nor key")
    .kills(&["M136"])
    .needs(&[Need::Slave, Need::Tls, Need::Intruder("unenrolled")])
    .run(wir_008),
    Case::new("014-WIR-009", Level::H, Impact::Security, "No web page of another origin may read keys")
        .basis(&[], &[])
        .does("Get key with the Origin of a web page", "no Access-Control-Allow-Origin that names it, or any")
        .kills(&["M159"])
        .needs(&[Need::Slave])
        .cost(1, 0)
        .run(wir_009),
];

const ORIGIN: &str = "https://page.example";

fn wir_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, "{}").header("Origin", ORIGIN).undefined())?;
    t.judgeable(&answer)?;
    let Ok(response) = &answer.outcome else { return Err(Stop::Inconclusive(answer.shown)) };
    let allowed = response.header("access-control-allow-origin").unwrap_or_default().trim();
    let met = allowed != "*" && !allowed.eq_ignore_ascii_case(ORIGIN);
    t.check("origin", met, "no Access-Control-Allow-Origin for it", format!("Access-Control-Allow-Origin {allowed:?}"));
    Ok(())
}

fn wir_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, &t.slave()?.id);
    let unknown = t.fresh_id();
    let mut session = t.connect(master)?;
    session.send(Request::post_key(slave, "{}"))?;
    session.send(Request::status(slave))?;
    session.send(Request::post_ids(slave, &[unknown]))?;
    let (mut answered, mut telling, mut end) = (0, 0, String::new());
    for (what, right) in [
        // An error may be the answer to any of them: what shows the order is a Status or a key out of its turn.
        ("Get key first", (|answer| !is_status(answer)) as fn(&Answer) -> bool),
        ("Status second", |answer| answer.material == 0),
        ("the unknown ID third", |answer| answer.material == 0 && !is_status(answer)),
    ] {
        let answer = session.receive()?;
        let last = match &answer.outcome {
            Ok(response) => {
                t.check(what, right(&answer), "answers in the order of the requests", &answer);
                response.last
            }
            // That it takes too long is not that it is over.
            Err(WireError::Timeout(_)) => return Err(Stop::Inconclusive(format!("{what}: {}", answer.shown))),
            Err(error) => {
                end = error.to_string();
                break;
            }
        };
        answered += 1;
        telling += usize::from(is_status(&answer) || answer.material > 0);
        if last {
            "and it was closed".clone_into(&mut end);
            break;
        }
    }
    t.observe(format!("{answered} of 3 requests on one connection were answered {end}"));
    if telling == 0 {
        return Err(Stop::Inconclusive(format!("no answer tells what it answers: {end}")));
    }
    Ok(())
}

fn is_status(answer: &Answer) -> bool {
    answer.is(200) && answer.member("key_size").is_some()
}

fn wir_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let kme = t.kme(master)?;
    let settings = TlsSettings {
        roots: &kme.roots,
        credentials: Some(&master.credentials),
        versions: Versions::Both,
        alpn: &["h2", "http/1.1"],
    };
    let config = client_config(settings).map_err(Stop::Error)?;
    let mut session = t.lab.connect_as(&master.name, kme, Some(Arc::new(config)));
    let (observed, asks) = match (session.tls(), session.error()) {
        (Some(tls), _) if tls.alpn.is_empty() => ("no ALPN protocol is negotiated".to_owned(), true),
        (Some(tls), _) => (format!("of h2 and http/1.1, {} is negotiated", tls.alpn), tls.alpn != "h2"),
        (None, error) => (format!("no connection when h2 is offered, too: {error:?}"), false),
    };
    t.observe(observed);
    if asks {
        // A KME that does not survive a connection without a request is what ROB-015 looks for.
        session.ask(Request::status(&t.slave()?.id))?;
    }
    Ok(())
}

fn wir_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let slave = percent_encoded(&t.slave()?.id);
    for path in [
        format!("//api/v1/keys/{slave}/status"),
        format!("/api//v1/keys/{slave}/status"),
        format!("/api/v1/keys//{slave}/status"),
        format!("/api/v1/keys/{slave}//status"),
        format!("/api/v1/keys/{slave}/status/"),
        format!("/API/V1/keys/{slave}/status"),
        format!("/api/v1/keys/./{slave}/status"),
        format!("/api/v1/keys/{slave}/status?"),
    ] {
        let answer = tls::as_intruder(t, "unenrolled", Request::new(Api::Other, "GET", path))?;
        t.expect_nothing_served("path", &answer)?;
    }
    Ok(())
}
