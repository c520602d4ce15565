//! Transport and mutual authentication (clauses 4, 5.1).

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use crate::case::{Case, Impact, Level, Need, When};
use crate::ctx::{Ctx, Stop, unjudgeable};
use crate::forge;
use crate::json::Json;
use crate::lab::{Answer, Kme, Mode, Request, Session, lock, printable};
use crate::wire::{Credentials, Stream, TlsSettings, Versions, WireError, client_config, client_hello, provider};

pub(super) const CASES: &[Case] = &[
    Case::new("014-TLS-001", Level::S, Impact::Security, "No API answer over plain HTTP")
        .basis(&["4-08"], &[])
        .does("GET status without TLS, on the port of the API", "no Status")
        .kills(&["M001"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .run(tls_001),
    Case::new(
        "014-TLS-002",
        Level::S,
        Impact::Interop,
        "A client limited to TLS 1.2 or to TLS 1.3 is served; which of the two is recorded",
    )
    .basis(&["4-08"], &[])
    .does(
        "Status by a client that offers TLS 1.2 only, and one that offers TLS 1.3 only",
        "an HTTP answer to at least one of them",
    )
    .kills(&["M002"])
    .needs(&[Need::Slave, Need::Tls])
    .run(tls_002),
    Case::new("014-TLS-003", Level::S, Impact::Security, "A client limited to TLS 1.1 or 1.0 cannot complete a handshake")
        .basis(&["4-08"], &[])
        .does("ClientHello of TLS 1.1 and of TLS 1.0", "an alert, or the connection is closed; no ServerHello of these versions")
        .kills(&["M003"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .run(tls_003),
    Case::new("014-TLS-004", Level::S, Impact::Security, "Without a client certificate: neither Status nor key")
        .basis(&["5.1-03"], &[])
        .does("each of the methods without client certificate", "refused in the handshake, or by HTTP; neither Status nor key")
        .kills(&["M004"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .aside(2)
        .run(tls_004),
    Case::new(
        "014-TLS-005",
        Level::S,
        Impact::Security,
        "Client certificate of an unregistered CA with look-alike names is refused",
    )
    .basis(&["5.1-07"], &["A-04"])
    .does(
        "each of the methods with a certificate of an authority that has the name of the right one, but another key",
        "refused; neither Status nor key",
    )
    .kills(&["M005"])
    .needs(&[Need::Slave, Need::Tls])
    .negative()
    .aside(2)
    .run(tls_005),
    Case::new("014-TLS-006", Level::S, Impact::Security, "Expired client certificate is refused")
        .basis(&["5.1-07"], &[])
        .does("each of the methods with an expired certificate", "refused; neither Status nor key")
        .kills(&["M006"])
        .needs(&[Need::Slave, Need::Tls, Need::Intruder("expired")])
        .negative()
        .aside(2)
        .run(tls_006),
    Case::new("014-TLS-007", Level::S, Impact::Security, "Not-yet-valid client certificate is refused")
        .basis(&["5.1-07"], &[])
        .does("each of the methods with a certificate that is not yet valid", "refused; neither Status nor key")
        .kills(&["M007"])
        .needs(&[Need::Slave, Need::Tls, Need::Intruder("not_yet_valid")])
        .negative()
        .aside(2)
        .run(tls_007),
    Case::new("014-TLS-008", Level::S, Impact::Security, "Self-signed client certificate is refused")
        .basis(&["5.1-07"], &[])
        .does("each of the methods with a self-signed certificate that names the master", "refused; neither Status nor key")
        .kills(&["M008"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .aside(2)
        .run(tls_008),
    Case::new("014-TLS-009", Level::S, Impact::Security, "Revoked client certificate is refused")
        .basis(&["5.1-07"], &[])
        .does("each of the methods with a revoked certificate", "refused; neither Status nor key")
        .kills(&["M009"])
        .needs(&[Need::Slave, Need::Tls, Need::Intruder("revoked")])
        .when(When::Revocation)
        .negative()
        .aside(2)
        .run(tls_009),
    Case::new(
        "014-TLS-010",
        Level::S,
        Impact::Security,
        "Valid chain but SAE not enrolled: nothing served; layer of refusal recorded",
    )
    .basis(&["5.1-09"], &["A-04"])
    .does(
        "each of the methods with a certificate of the right authority for an SAE that is not enrolled",
        "refused; neither Status nor key; the layer is recorded",
    )
    .kills(&["M010"])
    .needs(&[Need::Slave, Need::Tls, Need::Intruder("unenrolled")])
    .negative()
    .aside(2)
    .run(tls_010),
    Case::new("014-TLS-011", Level::H, Impact::Security, "Client certificate without client-auth usage is refused")
        .basis(&[], &[])
        .does("each of the methods with a certificate that is for servers only", "refused; neither Status nor key")
        .kills(&["M011"])
        .needs(&[Need::Slave, Need::Tls, Need::Intruder("no_client_auth")])
        .negative()
        .aside(2)
        .run(tls_011),
    Case::new(
        "014-TLS-012",
        Level::D,
        Impact::Interop,
        "KME certificate fits the configured name and carries the KME ID seen in Status",
    )
    .basis(&["5.1-05", "4-06"], &[])
    .does(
        "the certificate of each KME, and Status",
        "source_KME_ID is in the field that kme_id_field names, or in any name of the certificate",
    )
    .kills(&["M012"])
    .needs(&[Need::Slave, Need::Tls])
    .run(tls_012),
    Case::new("014-TLS-013", Level::D, Impact::Security, "Session resumption does not carry one SAE's identity to another")
        .basis(&["4-09"], &[])
        .does(
            "an SAE connects; another one offers the session of the first",
            "master_SAE_ID of the session that was resumed, or of the certificate if none was",
        )
        .kills(&["M013"])
        .needs(&[Need::LocalPair, Need::Tls])
        .run(tls_013),
    Case::new("014-TLS-014", Level::H, Impact::KeySafety, "Early data (0-RTT) is not accepted for Get key")
        .basis(&[], &[])
        .does("Get key as early data of a resumed session", "early data is not offered, not accepted, or not answered with a key")
        .kills(&["M014"])
        .needs(&[Need::Slave, Need::Tls])
        .cost(0, 1)
        .run(tls_014),
    Case::new("014-TLS-015", Level::H, Impact::Security, "NULL, anonymous, export and RC4 suites are not accepted")
        .basis(&[], &[])
        .does(
            "ClientHello with suites without encryption, without authentication, of export strength, with RC4",
            "an alert, or the connection is closed; no ServerHello",
        )
        .kills(&["M015"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .run(tls_015),
];

/// A configuration for the master's KME.
fn settings(t: &Ctx<'_>, credentials: Option<&Credentials>, versions: Versions) -> Result<ClientConfig, Stop> {
    settings_for(t.kme(t.master()?)?, credentials, versions)
}

fn settings_for(kme: &Kme, credentials: Option<&Credentials>, versions: Versions) -> Result<ClientConfig, Stop> {
    client_config(TlsSettings { roots: &kme.roots, credentials, versions, alpn: &["http/1.1"] }).map_err(Stop::Error)
}

fn status_with(t: &Ctx<'_>, who: &str, config: ClientConfig) -> Result<Answer, Stop> {
    let request = Request::status(&t.slave()?.id).undefined();
    t.lab.connect_as(who, t.kme(t.master()?)?, Some(Arc::new(config))).ask(request)
}

/// The certificate of that name in `[intruder]`, if nothing but the fault is a reason to refuse it.
fn configured(t: &Ctx<'_>, name: &str) -> Option<Result<Credentials, Stop>> {
    let looked_at = |credentials: Credentials| {
        let enrolled: Vec<&[u8]> = t.lab.saes().map(|sae| sae.credentials.chain[0].as_ref()).collect();
        match forge::unfit(name, &credentials.chain[0], &enrolled).map_err(Stop::Inconclusive)? {
            Some(why) => Err(Stop::Inconclusive(format!("the certificate [intruder] {name} {why}"))),
            None => Ok(credentials),
        }
    };
    Some(t.lab.intruder(name)?.map_err(Stop::Error).and_then(looked_at))
}

/// The TLS configuration of a certificate that ought to be refused.
pub(super) fn intruder(t: &Ctx<'_>, name: &str) -> Result<Arc<ClientConfig>, Stop> {
    let credentials = configured(t, name).ok_or_else(|| Stop::Skip(format!("no [intruder] {name}")))??;
    Ok(Arc::new(settings(t, Some(&credentials), Versions::Both)?))
}

/// A request with a certificate that ought to be refused.
pub(super) fn as_intruder(t: &Ctx<'_>, name: &str, request: Request) -> Result<Answer, Stop> {
    let config = intruder(t, name)?;
    t.lab.connect_as(name, t.kme(t.master()?)?, Some(config)).ask(request)
}

/// The certificate of that name in `[intruder]`, or else one forged after the master's.
fn given_or(t: &Ctx<'_>, name: &str, forge: fn(&CertificateDer<'_>) -> Result<Credentials, String>) -> Result<Credentials, Stop> {
    let master = t.master()?;
    configured(t, name).unwrap_or_else(|| forge(&master.credentials.chain[0]).map_err(Stop::Error))
}

/// Nothing is served; where it was refused is recorded.
fn expect_refused(t: &mut Ctx<'_>, answer: &Answer) -> Result<(), Stop> {
    t.expect_nothing_served("refused", answer)?;
    let layer = if answer.outcome.is_ok() { "by HTTP" } else { "by the connection" };
    t.observe(format!("refused {layer}: {}", answer.shown));
    Ok(())
}

/// Each method is asked: the caller of each request is to be known (4-09), even of one that asks for nothing.
fn every_method_refused(t: &mut Ctx<'_>, who: &str, credentials: Option<&Credentials>) -> Result<(), Stop> {
    let slave = t.slave()?.id.clone();
    let mut requests =
        vec![("Status", Request::status(&slave)), ("Get key with key IDs", Request::post_ids(&slave, &[t.fresh_id()]))];
    if t.lab.mode != Mode::Safe {
        requests.push(("Get key", Request::post_key(&slave, "{}")));
        requests.push(("Get key, none", Request::get_key(&slave, "number=0")));
    }
    for (what, request) in requests {
        let config = Arc::new(settings(t, credentials, Versions::Both)?);
        let answer = t.lab.connect_as(who, t.kme(t.master()?)?, Some(config)).ask(request.undefined())?;
        if what == "Status" {
            expect_refused(t, &answer)?;
            if answer.outcome.is_err() {
                // Refused before anything could be asked.
                return Ok(());
            }
        } else {
            if let Some(why) = unjudgeable(&answer) {
                return Err(Stop::Inconclusive(why));
            }
            let served = answer.serves() || answer.is(200) && answer.member("keys").is_some();
            t.check(what, !served, "no key, and no key container", &answer);
        }
    }
    Ok(())
}

fn intruder_refused(t: &mut Ctx<'_>, name: &str) -> Result<(), Stop> {
    let credentials = configured(t, name).ok_or_else(|| Stop::Skip(format!("no [intruder] {name}")))??;
    every_method_refused(t, name, Some(&credentials))
}

fn tls_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let request = Request::status(&t.slave()?.id).undefined();
    let answer = t.lab.connect_as("without TLS", t.kme(t.master()?)?, None).ask(request)?;
    if let Err(WireError::Timeout(_)) = &answer.outcome {
        // To a TLS server the request is the beginning of a record: it may wait for the rest.
        t.check("refused", true, "no Status", &answer);
        return Ok(());
    }
    expect_refused(t, &answer)
}

fn tls_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let mut served = Vec::new();
    let (mut last, mut unclear) = (String::new(), None);
    for (name, versions) in [("1.2", Versions::Only12), ("1.3", Versions::Only13)] {
        let master = t.master()?;
        let config = settings(t, Some(&master.credentials), versions)?;
        let answer = status_with(t, &master.name, config)?;
        // What HTTP has to say is for others to judge: there was a handshake.
        match (&answer.outcome, unjudgeable(&answer)) {
            (Ok(_), _) => served.push(name),
            (Err(_), Some(why)) => unclear = Some(why),
            (Err(_), None) => last = answer.shown,
        }
    }
    if let Some(why) = unclear.filter(|_| served.is_empty()) {
        return Err(Stop::Inconclusive(why));
    }
    t.check("served", !served.is_empty(), "TLS 1.2 or TLS 1.3 or both", last);
    t.observe(format!("served with TLS {}", served.join(" and ")));
    Ok(())
}

fn no_server_hello(t: &mut Ctx<'_>, what: &str, version: u16, suites: &[u16]) -> Result<(), Stop> {
    let kme = t.kme(t.master()?)?;
    let deadline = Instant::now() + t.lab.config.limits.connect();
    let mut stream = Stream::plain(&kme.url, deadline).map_err(|error| {
        t.lab.met_silence();
        Stop::Inconclusive(error.to_string())
    })?;
    let random = t.rng.octets::<32>();
    let hello = client_hello(version, suites, &kme.url.host, &random);
    let mut reply = Vec::new();
    if stream.write(&hello, deadline).is_ok() {
        let mut buffer = [0; 512];
        // A record's head, and the head of a ServerHello in it.
        while reply.len() < 11 {
            match stream.read(&mut buffer, deadline) {
                Ok(0) | Err(_) => break,
                Ok(count) => reply.extend_from_slice(&buffer[..count]),
            }
        }
    }
    if reply.is_empty() {
        t.lab.met_silence();
    }
    let accepted = reply.first() == Some(&22) && reply.get(5) == Some(&2);
    let got = match reply.as_slice() {
        [] => "closed".to_owned(),
        [21, _, _, _, _, level, description, ..] => format!("alert, level {level}, description {description}"),
        [22, _, _, _, _, 2, _, _, _, major, minor, ..] => format!("ServerHello of version {major}.{minor}"),
        _ => format!("a record of type {}", reply[0]),
    };
    t.check(what, !accepted, "no ServerHello", got);
    Ok(())
}

fn tls_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // ECDHE and RSA with AES-CBC and SHA-1: what clients of that time offered.
    let suites = [0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035, 0x000a];
    no_server_hello(t, "TLS 1.1", 0x0302, &suites)?;
    no_server_hello(t, "TLS 1.0", 0x0301, &suites)
}

fn tls_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    no_server_hello(t, "NULL", 0x0303, &[0x0001, 0x0002, 0x003b, 0xc001, 0xc006, 0xc00b, 0xc010])?;
    no_server_hello(t, "anonymous", 0x0303, &[0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x00a6, 0x00a7, 0xc015, 0xc018, 0xc019])?;
    no_server_hello(t, "export", 0x0303, &[0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019])?;
    no_server_hello(t, "RC4", 0x0303, &[0x0004, 0x0005, 0xc002, 0xc007, 0xc00c, 0xc011])
}

fn tls_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    every_method_refused(t, "without certificate", None)
}

fn tls_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let forged = given_or(t, "lookalike", forge::look_alike)?;
    every_method_refused(t, "look-alike", Some(&forged))
}

fn tls_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    intruder_refused(t, "expired")
}

fn tls_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    intruder_refused(t, "not_yet_valid")
}

fn tls_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let forged = given_or(t, "self_signed", forge::self_signed)?;
    every_method_refused(t, "self-signed", Some(&forged))
}

fn tls_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    intruder_refused(t, "revoked")
}

fn tls_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    intruder_refused(t, "unenrolled")
}

fn tls_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    intruder_refused(t, "no_client_auth")
}

fn tls_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (master, slave) = (t.master()?, t.slave()?);
    for (sae, peer) in [(master, slave), (slave, master)] {
        let answer = t.status(sae, &peer.id)?;
        let (Some(tls), Some(id)) = (&answer.tls, answer.member("source_KME_ID").and_then(Json::text)) else { continue };
        let kme = t.kme(sae)?;
        let names = forge::names(&tls.certificate, kme.id_field.as_ref()).map_err(Stop::Inconclusive)?;
        let got = format!("{id} in Status, {} in the certificate", names.join(", "));
        t.check(
            "certificate",
            names.iter().any(|name| name == id || name.ends_with(&format!(":{id}"))),
            "the same",
            printable(&got),
        );
        if let Some(configured) = &kme.kme_id {
            t.check("configuration", configured == id, configured, printable(id));
        }
    }
    if t.checks.is_empty() {
        return Err(Stop::Inconclusive("no KME ID to compare with, which STA-002 judges".to_owned()));
    }
    Ok(())
}

/// Presents one certificate after the other, to one memory of sessions.
#[derive(Debug)]
struct Switch(Mutex<Arc<CertifiedKey>>);

impl ResolvesClientCert for Switch {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(lock(&self.0).clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(credentials: &Credentials) -> Result<Arc<CertifiedKey>, Stop> {
    let key = provider().key_provider.load_private_key(credentials.key.clone_key());
    let key = key.map_err(|error| Stop::Error(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(credentials.chain.clone(), key)))
}

fn tls_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let (first, second) = t.neighbours()?;
    let peer = t.peer_of(first, second)?;
    let kme = t.kme(first)?;
    let switch = Arc::new(Switch(Mutex::new(certified(&first.credentials)?)));
    let mut config = settings_for(kme, None, Versions::Both)?;
    config.client_auth_cert_resolver = switch.clone();
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    let status = |who: &str| t.lab.connect_as(who, kme, Some(config.clone())).ask(Request::status(&peer.id));
    let own = status(&first.name)?;
    if !own.is(200) {
        return Err(Stop::Inconclusive(format!("no Status, which STA-001 judges: {}", own.shown)));
    }
    *lock(&switch.0) = certified(&second.credentials)?;
    let crossed = status(&second.name)?;
    t.judgeable(&crossed)?;
    let resumed = crossed.tls.as_ref().is_some_and(|tls| tls.resumed);
    let expected = if resumed { &first.id } else { &second.id };
    t.observe(if resumed { "sessions are resumed" } else { "sessions are not resumed" });
    if crossed.is(200) {
        let caller = crossed.member("master_SAE_ID").and_then(Json::text);
        t.check("offered session", caller == Some(expected), expected, &crossed);
    }
    let fresh = t.status(second, &peer.id)?;
    t.judgeable(&fresh)?;
    let caller = fresh.member("master_SAE_ID").and_then(Json::text);
    t.check("new session", caller == Some(&second.id), &second.id, &fresh);
    Ok(())
}

fn tls_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let kme = t.kme(master)?;
    let mut config = settings(t, Some(&master.credentials), Versions::Only13)?;
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let first = t.lab.connect_as(&master.name, kme, Some(config.clone())).ask(Request::status(&t.slave()?.id).undefined())?;
    if let Some(why) = unjudgeable(&first) {
        return Err(Stop::Inconclusive(why));
    }
    if !first.is(200) {
        return Err(Stop::NotApplicable(format!("no TLS 1.3, so no early data: {}", first.shown)));
    }
    let deadline = Instant::now() + t.lab.config.limits.connect();
    let mut stream = Stream::secure_started(&kme.url, config, deadline).map_err(|error| Stop::Inconclusive(error.to_string()))?;
    let request = Request::get_key(&t.slave()?.id, "").undefined();
    let octets = request.octets(&kme.url.prefix, &kme.url.authority());
    let Some(mut early) = stream.tls_mut().and_then(|tls| tls.early_data()) else {
        t.check("early data", true, "not offered", "");
        t.observe("sessions that could be resumed do not allow early data");
        return Ok(());
    };
    if early.bytes_left() < octets.len() || early.write_all(&octets).is_err() {
        t.check("early data", true, "not offered", "");
        t.observe("early data is allowed, but not so much of it");
        return Ok(());
    }
    let done = stream.handshake(deadline).map(|()| stream);
    let accepted = done.is_ok_and(|mut stream| {
        let accepted = stream.tls_mut().is_some_and(|tls| tls.is_early_data_accepted());
        if accepted {
            let mut session = Session::on(t.lab, &master.name, kme, Ok(stream));
            let answer = session.sent_already(request).and_then(|()| session.receive());
            return answer.is_ok_and(|answer| answer.material > 0);
        }
        false
    });
    t.check("early data", !accepted, "not answered with a key", "a key was delivered for a request that can be replayed");
    Ok(())
}
