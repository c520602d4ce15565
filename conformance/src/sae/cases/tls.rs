//! Before the first request (clause 5.1).

use super::{BOTH, for_each_role};
use crate::case::{Case, Impact, Level};
use crate::ctx::Stop;
use crate::player::{Fault, First, OldTls};
use crate::sae::bench::{Act, Bench};
use crate::sae::task::{Role, Task};

pub(super) const CASES: &[Case] = &[
    Case::new("SAE14-TLS-001", Level::S, Impact::Security, "Refuses a KME certificate of an unknown authority: no request is sent")
        .basis(&["5.1-04"], &[])
        .does("the KMEs' certificates are signed by an authority of the same name and another key", "no request")
        .kills(&["C01"])
        .run_sae(unknown_authority),
    Case::new("SAE14-TLS-002", Level::S, Impact::Security, "Refuses a certificate that names another host")
        .basis(&["5.1-04"], &[])
        .does("a certificate of the right authority that names another host and another KME", "no request")
        .kills(&["C02"])
        .run_sae(other_host),
    Case::new("SAE14-TLS-003", Level::S, Impact::Security, "Refuses an expired KME certificate")
        .basis(&["5.1-04"], &[])
        .does("a certificate that expired yesterday", "no request")
        .kills(&["C03"])
        .run_sae(expired),
    Case::new("SAE14-TLS-004", Level::S, Impact::Security, "Refuses a valid certificate of another KME ID")
        .basis(&["5.1-05", "5.1-06"], &[])
        .does(
            "a certificate of the right authority for this host, with another KME ID where the SAE looks for it ([client] kme_id_field)",
            "no request",
        )
        .kills(&["C04"])
        .run_sae(other_kme_id),
    Case::new("SAE14-TLS-005", Level::S, Impact::Security, "Refuses TLS 1.1")
        .basis(&["5.1-02", "4-08"], &[])
        .does("the KMEs choose TLS 1.1", "an alert, or an end of the connection; or no cipher suite that TLS 1.1 has was offered")
        .kills(&["C05"])
        .run_sae(tls_1_1),
    Case::new("SAE14-TLS-006", Level::S, Impact::Security, "Presents its client certificate")
        .basis(&["5.1-03"], &[])
        .does("the KMEs ask for a certificate, and would go on without; then they do not ask", "a certificate with every request")
        .kills(&["C06"])
        .run_sae(client_certificate),
    Case::new("SAE14-TLS-007", Level::S, Impact::Security, "Never speaks plain HTTP, redirected or not")
        .basis(&["4-08"], &[])
        .does("every request is redirected to http://; every connection is closed before the handshake", "no request without TLS")
        .kills(&["C07", "C08"])
        .run_sae(plain_http),
    Case::new("SAE14-TLS-008", Level::H, Impact::KeySafety, "Does not send key requests as early data")
        .basis(&[], &[])
        .does("sessions may be resumed with early data; every answer ends its connection", "no early data")
        .kills(&["C09"])
        .run_sae(early_data),
];

fn no_request(t: &mut Bench<'_>, role: Role, act: &Act) -> Result<(), Stop> {
    t.expect_contact(act)?;
    let sent = act.journal.requests.first().map(|seen| format!("{} {}", seen.asked.method, seen.asked.target));
    t.check(role.name(), sent.is_none(), "no request", sent.unwrap_or_else(|| act.text()));
    Ok(())
}

fn unknown_authority(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::UnknownAuthority, no_request)
}

fn other_host(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::OtherHost, no_request)
}

fn expired(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::Expired, no_request)
}

fn other_kme_id(t: &mut Bench<'_>) -> Result<(), Stop> {
    if t.stand.config.client.kme_id_field.is_none() {
        return Err(Stop::Skip("where does the SAE find the KME ID? set [client] kme_id_field".to_owned()));
    }
    for_each_role(t, BOTH, Task::simple, Fault::OtherKmeId, no_request)
}

fn tls_1_1(t: &mut Bench<'_>) -> Result<(), Stop> {
    for_each_role(t, BOTH, Task::simple, Fault::Tls11, |t, role, act| {
        let reactions: Vec<_> = act.journal.connections.iter().filter_map(|connection| connection.old.as_ref()).collect();
        let went_on = reactions.iter().find(|old| matches!(old, OldTls::WentOn | OldTls::OffersAtMost(_)));
        let accepted = "TLS 1.1 is refused, or cannot be chosen";
        match (went_on, reactions.first()) {
            (Some(OldTls::OffersAtMost(version)), _) => {
                t.check(role.name(), false, accepted, format!("it offers version {version:#06x} at most"));
            }
            (Some(_), _) => t.check(role.name(), false, accepted, "it went on with a handshake of TLS 1.1"),
            (None, Some(_)) if reactions.iter().all(|old| **old == OldTls::Waits) => {
                return Err(Stop::Inconclusive("it neither refused TLS 1.1 nor went on with it".to_owned()));
            }
            (None, Some(first)) => {
                let got = match first {
                    OldTls::Refused(how) => how.clone(),
                    _ => "no suite of TLS 1.1 is offered".to_owned(),
                };
                t.check(role.name(), true, accepted, got);
            }
            (None, None) => return Err(Stop::Inconclusive(format!("the SAE sent no ClientHello: {}", act.text()))),
        }
        Ok(())
    })
}

fn client_certificate(t: &mut Bench<'_>) -> Result<(), Stop> {
    // Not `act`: an SAE without a certificate does not work with good KMEs either.
    for role in t.roles() {
        let act = t.perform(&Task::simple(role), Fault::None)?;
        let Some(seen) = act.journal.requests.first() else {
            return Err(Stop::Inconclusive(format!("the SAE sent no request: {}", act.text())));
        };
        let without = act.journal.requests.iter().find(|seen| seen.asked.caller.is_none());
        let got = match (&seen.asked.caller, without) {
            (_, Some(seen)) => format!("{} {} without a certificate", seen.asked.method, seen.asked.target),
            (caller, None) => format!("the certificate of {}", crate::lab::printable(caller.as_deref().unwrap_or_default())),
        };
        t.check(role.name(), without.is_none(), "a certificate with every request", got);
        let act = t.perform(&Task::simple(role), Fault::NoCertificateRequest)?;
        // Few TLS libraries tell whether they were asked.
        t.observe(format!("{}: {} when no certificate was asked for", role.name(), act.text()));
    }
    Ok(())
}

fn plain_http(t: &mut Bench<'_>) -> Result<(), Stop> {
    for fault in [Fault::PlainRedirect, Fault::Unreachable] {
        for_each_role(t, BOTH, Task::simple, fault, |t, role, act| {
            t.expect_contact(act)?;
            let on_port = act.journal.connections.iter().any(|connection| connection.first == First::PlainHttp);
            let plain = act.journal.plain.first().cloned().or(on_port.then(|| "an HTTP request".to_owned()));
            let part = format!("{}, {}", role.name(), act.stage.scenario.id);
            t.check(&part, plain.is_none(), "no request without TLS", plain.unwrap_or_else(|| act.text()));
            Ok(())
        })?;
    }
    Ok(())
}

fn early_data(t: &mut Bench<'_>) -> Result<(), Stop> {
    let mut judged = false;
    for role in t.roles() {
        let mut task = Task::simple(role);
        if role == Role::Master && t.works(&Task::named("two-sessions", role)).is_ok() {
            task = Task::named("two-sessions", role);
        }
        let act = t.act(&task, Fault::EarlyData)?;
        let hellos = act.journal.connections.iter().filter_map(|connection| match &connection.first {
            First::Hello(hello) => Some(hello.early_data),
            _ => None,
        });
        let (early, count) = hellos.fold((false, 0), |(early, count), is| (early || is, count + 1));
        if count < 2 && !early {
            t.observe(format!("{}: one connection only, which cannot resume another", role.name()));
            continue;
        }
        judged = true;
        t.check(role.name(), !early, "no early data", format!("{count} connections{}", if early { ", early data" } else { "" }));
    }
    if judged { Ok(()) } else { Err(Stop::Skip("the SAE made one connection: it had no session to resume".to_owned())) }
}
