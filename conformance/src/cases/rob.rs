//! Robustness: after each stimulus the KME serves as before.

use std::thread;
use std::time::{Duration, Instant};

use super::tls;
use crate::case::{Case, Impact, Level, Need};
use crate::ctx::{Ctx, Stop, unjudgeable};
use crate::lab::{Answer, Api, Key, Request, Session, printable};
use crate::wire::{Stream, WireError, percent_encoded};

pub(super) const CASES: &[Case] = &[
    Case::new("014-ROB-001", Level::R, Impact::Quality, "Body shorter than announced: closed in time, no key")
        .basis(&["RFC 7230"], &["A-24"])
        .does(
            "a body shorter than announced, then the end of the connection",
            "no key: half a message is none (RFC 7230, 3.3.3); that the connection is closed in time is hygiene",
        )
        .kills(&["M137"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(rob_001),
    Case::new("014-ROB-002", Level::H, Impact::Quality, "JSON nested 100 000 deep")
        .basis(&[], &[])
        .does("an optional extension nested 20 000 deep, and 100 000", "an answer that is no server error, or a closed connection, in time")
        .kills(&["M138"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(rob_002),
    Case::new("014-ROB-003", Level::H, Impact::Quality, "16 MiB body is refused or bounded")
        .basis(&[], &[])
        .does("a body of 16 MiB", "4xx or a closed connection, in time")
        .kills(&["M139"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(rob_003),
    Case::new("014-ROB-004", Level::S, Impact::KeySafety, "Invalid UTF-8 in the body: 400, no key")
        .basis(&["4-10", "5.3-08"], &["A-24"])
        .parts(&[("no key", &["4-10"]), ("code", &["5.3-08"])])
        .does("a body with invalid UTF-8 in a string", "400 (derived) and no key")
        .kills(&["M122", "M140"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(rob_004),
    Case::new("014-ROB-005", Level::H, Impact::Quality, "NUL and control characters in the path")
        .basis(&[], &[])
        .does(
            "Status with NUL and control characters, percent-encoded, after the SAE ID",
            "4xx or a closed connection; no Status",
        )
        .kills(&["M141"])
        .needs(&[Need::Slave])
        .negative()
        .run(rob_005),
    Case::new("014-ROB-006", Level::H, Impact::Quality, "64 KiB URL, 64 KiB header")
        .basis(&[], &[])
        .does("Status with a query, and a header, of 64 KiB", "an answer that is no server error, or a closed connection")
        .kills(&["M142"])
        .needs(&[Need::Slave])
        .negative()
        .run(rob_006),
    Case::new("014-ROB-007", Level::H, Impact::Quality, "A stalled TLS handshake does not block other clients")
        .basis(&[], &[])
        .does("four connections without a handshake; meanwhile Status", "200")
        .kills(&["M143"])
        .needs(&[Need::Slave])
        .negative()
        .run(rob_007),
    Case::new("014-ROB-008", Level::H, Impact::Quality, "Slow request headers do not block other clients")
        .basis(&[], &[])
        .does("four connections with half a request; meanwhile Status", "200")
        .kills(&["M144"])
        .needs(&[Need::Slave, Need::Tls])
        .negative()
        .run(rob_008),
    Case::new("014-ROB-009", Level::H, Impact::Quality, "A slow body is cut off within the declared limit")
        .basis(&[], &[])
        .does("a body that comes octet by octet", "an answer, or the connection is closed, within limits.body_timeout_s")
        .kills(&["M137", "M145"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .negative()
        .run(rob_009),
    Case::new("014-ROB-010", Level::R, Impact::Security, "Conflicting Content-Length and Transfer-Encoding are rejected")
        .basis(&["RFC 7230"], &[])
        .does(
            "two different Content-Length; Content-Length with Transfer-Encoding",
            "the first is refused (RFC 7230, 3.3.3); after the second the connection is closed (hygiene)",
        )
        .kills(&["M146"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .negative()
        .run(rob_010),
    Case::new("014-ROB-011", Level::D, Impact::Quality, "Numbers 1e400, -0, 1E0: refused or read exactly")
        .basis(&["RFC 8259"], &[])
        .does("number 1e400, -0 and 1E0", "400; or one key for 1E0")
        .kills(&["M147"])
        .needs(&[Need::Slave])
        .cost(0, 2)
        .batches(0, 1)
        .negative()
        .run(rob_011),
    Case::new("014-ROB-012", Level::H, Impact::KeySafety, "Duplicate members never exceed max_key_per_request")
        .basis(&[], &[])
        .does("number twice: 1, and more than max_key_per_request", "at most max_key_per_request keys")
        .kills(&["M148"])
        .needs(&[Need::Slave])
        .cost(0, 1)
        .batches(0, 1)
        .negative()
        .run(rob_012),
    Case::new("014-ROB-013", Level::H, Impact::Quality, "200 idle connections leave the service available")
        .basis(&[], &[])
        .does("200 idle connections; meanwhile Status", "200")
        .kills(&["M149"])
        .needs(&[Need::Slave])
        .negative()
        .run(rob_013),
    Case::new(
        "014-ROB-014",
        Level::D,
        Impact::KeySafety,
        "Connection dropped after the request: no ID or material handed out twice later",
    )
    .basis(&["5.3-07"], &["A-38"])
    .does(
        "Get key twice, the connection reset when the answer has come, before the KME can see that it was read; Get key once, the connection reset at once; then four more keys",
        "none of the keys that came is delivered again; what became of the answer that nobody saw is the KME's business",
    )
    .kills(&["M150"])
    .needs(&[Need::Slave])
    .cost(7, 0)
    .negative()
    .run(rob_014),
    Case::new("014-ROB-015", Level::D, Impact::Quality, "Connections closed right after the handshake harm nobody")
        .basis(&["4-05"], &[])
        .does(
            "48 connections of the master, and as many of an SAE that is not enrolled if there is one, closed or reset as soon as the handshake is done; then Status",
            "200; a KME that is gone fails as shall",
        )
        .kills(&["M171"])
        .needs(&[Need::Slave])
        .negative()
        .run(rob_015),
];

/// The head of a POST on enc_keys with other headers than usual, and what follows it.
fn raw_post(t: &Ctx<'_>, headers: &str, body: &[u8], worst: u64) -> Result<Request, Stop> {
    let url = &t.kme(t.master()?)?.url;
    let (prefix, slave) = (&url.prefix, percent_encoded(&t.slave()?.id));
    let head = format!(
        "POST {prefix}/api/v1/keys/{slave}/enc_keys HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{headers}\r\n",
        url.authority()
    );
    Ok(Request::raw([head.as_bytes(), body].concat(), worst).peer(&t.slave()?.id))
}

/// An answer, or none, but not a server error; a KME that hangs is the fault that is looked for.
fn expect_no_server_error(t: &mut Ctx<'_>, part: &str, answer: &Answer) -> Result<(), Stop> {
    settled(answer)?;
    let met = answer.status().is_none_or(|status| status < 500 || matches!(status, 501 | 503 | 505));
    t.check(part, met && !hangs(answer), "no server error, or a closed connection", answer);
    Ok(())
}

fn expect_refused_or_closed(t: &mut Ctx<'_>, part: &str, answer: &Answer) -> Result<(), Stop> {
    settled(answer)?;
    if answer.is(503) && !answer.serves() {
        return Err(Stop::Inconclusive(answer.shown.clone()));
    }
    let met = answer.status().is_none_or(|status| (400..500).contains(&status) || status == 501);
    // That it takes long is no breach of what an RFC says.
    let level = if hangs(answer) { Level::D } else { t.level() };
    t.check_at(level, part, met && !answer.serves() && !hangs(answer), "4xx or a closed connection", answer);
    Ok(())
}

fn hangs(answer: &Answer) -> bool {
    matches!(answer.outcome, Err(WireError::Timeout(_)))
}

/// Without a connection there was no stimulus; and what is more than this program reads may be right.
fn settled(answer: &Answer) -> Result<(), Stop> {
    match &answer.outcome {
        Err(error @ (WireError::Connect(_) | WireError::TooMuch(_) | WireError::Timeout("connection" | "handshake"))) => {
            Err(Stop::Inconclusive(error.to_string()))
        }
        _ => Ok(()),
    }
}

/// A connection on which a case does what it likes.
fn connected<'a>(t: &Ctx<'a>) -> Result<Session<'a>, Stop> {
    let session = t.connect(t.master()?)?;
    match session.error() {
        Some(error) => Err(Stop::Inconclusive(error.to_string())),
        None => Ok(session),
    }
}

fn rob_001(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let request = raw_post(t, "Content-Length: 100\r\n", b"{}", 1)?;
    let mut session = connected(t)?;
    session.send(request)?;
    if let Some(stream) = session.stream() {
        stream.end_of_sending();
    }
    let limit = t.lab.config.limits.body_timeout();
    let answer = session.receive_by(Instant::now() + limit)?;
    t.check("no key", answer.material == 0, "no key", &answer);
    let timely = !matches!(answer.outcome, Err(WireError::Timeout(_)));
    t.check_at(Level::H, "closed", timely, &format!("closed within {} s", limit.as_secs()), &answer);
    Ok(())
}

fn rob_002(t: &mut Ctx<'_>) -> Result<(), Stop> {
    // The lesser depth gets past limits for bodies that keep the greater one from the parser.
    for deep in [20_000, 100_000] {
        let body = format!("{{\"extension_optional\":[{{\"qkdspec_x\":{}{}}}]}}", "[".repeat(deep), "]".repeat(deep));
        let answer = t.lab.exchange(t.master()?, Request::post_key(&t.slave()?.id, &body).undefined())?;
        expect_no_server_error(t, &format!("{deep} deep"), &answer)?;
    }
    Ok(())
}

fn rob_003(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let body = format!("{{{}}}", " ".repeat(16 * 1024 * 1024));
    let answer = t.lab.exchange(t.master()?, Request::post_key(&t.slave()?.id, &body).undefined())?;
    if hangs(&answer) {
        // On a slow line the request itself may take so long.
        return Err(Stop::Inconclusive(answer.shown));
    }
    expect_refused_or_closed(t, "answer", &answer)
}

fn rob_004(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let mut request = Request::post_key(&t.slave()?.id, "").faulty();
    request.body = Some(b"{\"extension_optional\":[{\"qkdspec_x\":\"\xff\xfe\"}]}".to_vec());
    let answer = t.ask(t.master()?, request)?;
    t.judgeable(&answer)?;
    // It is no JSON, as in ERR-004.
    t.check("no key", answer.material == 0 && !answer.is(200), "no key", &answer);
    t.check_at(Level::D, "code", answer.is(400), "400", &answer);
    Ok(())
}

fn rob_005(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let nobody = t.nobodies()?.pop().unwrap_or_default();
    if t.lab.exchange(t.master()?, Request::status(&nobody).faulty())?.is(200) {
        return Err(Stop::NotApplicable("there is a Status for every name: STA-013 judges that".to_owned()));
    }
    let slave = percent_encoded(&t.slave()?.id);
    for tail in ["%00", "%00x", "%0d%0a", "%1b", "%7f"] {
        let request = Request::new(Api::Other, "GET", format!("/api/v1/keys/{slave}{tail}/status")).faulty();
        let answer = t.lab.exchange(t.master()?, request)?;
        expect_refused_or_closed(t, tail, &answer)?;
    }
    Ok(())
}

fn rob_006(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let long = "x".repeat(64 * 1024);
    let mut query = Request::status(&t.slave()?.id).undefined();
    query.target = format!("{}?{long}", query.target);
    let header = Request::status(&t.slave()?.id).undefined().header("X-Long", &long);
    for (part, request) in [("query", query), ("header", header)] {
        let answer = t.lab.exchange(t.master()?, request)?;
        expect_no_server_error(t, part, &answer)?;
    }
    Ok(())
}

/// Status by the master while `_others` are held open.
fn served_meanwhile<T>(t: &mut Ctx<'_>, _others: Vec<T>) -> Result<(), Stop> {
    let answer = t.status(t.master()?, &t.slave()?.id)?;
    t.check("served", answer.is(200), "200", &answer);
    Ok(())
}

fn plain(t: &Ctx<'_>, count: usize) -> Result<Vec<Stream>, Stop> {
    let url = &t.kme(t.master()?)?.url;
    // One time limit for all: a KME may stop accepting.
    let deadline = Instant::now() + t.lab.config.limits.connect().max(Duration::from_secs(5));
    // Refusing some of many is a KME's right.
    Ok((0..count).map_while(|_| (Instant::now() < deadline).then(|| Stream::plain(url, deadline))).flatten().collect())
}

fn rob_007(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let others = plain(t, 4)?;
    served_meanwhile(t, others)
}

fn rob_008(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut session = connected(t)?;
        session.send(Request::raw(b"GET /api/v1/keys/".to_vec(), 0))?;
        others.push(session);
    }
    served_meanwhile(t, others)
}

/// Between two octets of a slow body.
const STEP: Duration = Duration::from_millis(200);

fn rob_009(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let limit = t.lab.config.limits.body_timeout();
    // Longer than what is sent until then, and no longer: a large body may be refused for its size.
    let announced = 1024_u128.max(limit.as_millis() / STEP.as_millis() * 2);
    let request = raw_post(t, &format!("Content-Length: {announced}\r\n"), b"{", 1)?;
    let mut session = connected(t)?;
    session.send(request)?;
    let began = Instant::now();
    loop {
        let over = began.elapsed() > limit;
        let step = Instant::now() + STEP;
        let sent = session.stream().is_none_or(|stream| stream.write(b" ", step).is_ok());
        let ended = !sent || session.stream().is_none_or(|stream| stream.has_input(step));
        if ended || over {
            let got = format!("after {:.1} s: {}", began.elapsed().as_secs_f64(), if ended { "ended" } else { "still open" });
            t.check("cut off", ended, &format!("within {} s", limit.as_secs()), got);
            break;
        }
    }
    let answer = session.receive_by(Instant::now() + Duration::from_secs(1))?;
    t.check("no key", answer.material == 0, "no key", &answer);
    Ok(())
}

fn rob_010(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let two = raw_post(t, "Content-Length: 2\r\nContent-Length: 3\r\n", b"{} ", 1)?;
    let answer = t.lab.exchange(t.master()?, two)?;
    expect_refused_or_closed(t, "two lengths", &answer)?;
    let both = raw_post(t, "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n", 1)?;
    let answer = t.lab.exchange(t.master()?, both)?;
    settled(&answer)?;
    let ended = !hangs(&answer) && answer.outcome.as_ref().map_or(true, |response| response.last || response.status >= 400);
    t.check_at(Level::H, "length and encoding", ended, "refused, or the connection is closed afterwards", &answer);
    Ok(())
}

fn rob_011(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let slave = t.slave()?.id.clone();
    let max = t.limits().max_per_request.unwrap_or(1);
    for (number, worst) in [("1e400", max), ("-0", 1), ("1E0", 1)] {
        let request = Request::post_key(&slave, &format!("{{\"number\":{number}}}")).worst(worst).faulty();
        let answer = t.ask(t.master()?, request)?;
        if number == "1E0" && answer.is(200) {
            t.check("1E0", answer.material == 1, "one key, or 400", &answer);
        } else {
            t.expect_refusal(&answer, &[400], None)?;
        }
    }
    Ok(())
}

fn rob_012(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let max = Ctx::need(t.limits().max_per_request, "max_key_per_request")?;
    let number = max.saturating_add(1);
    let body = format!("{{\"number\":1,\"number\":{number}}}");
    let answer = t.ask(t.master()?, Request::post_key(&t.slave()?.id, &body).worst(number).undefined())?;
    if let Some(why) = unjudgeable(&answer) {
        return Err(Stop::Inconclusive(why));
    }
    t.check("number", answer.material <= max, &format!("at most {max} keys"), format!("{} keys", answer.material));
    t.observe_answer("number twice", &answer);
    Ok(())
}

fn rob_013(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let others = plain(t, 200)?;
    t.observe(format!("{} idle connections", others.len()));
    served_meanwhile(t, others)
}

fn rob_014(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let request = Request::post_key(&t.slave()?.id, "{}");
    let mut seen: Vec<Key> = Vec::new();
    for _ in 0..2 {
        let mut session = connected(t)?;
        let answer = session.ask(request.clone())?;
        t.judgeable(&answer)?;
        session.reset()?;
        seen.extend(answer.keys);
    }
    let mut session = connected(t)?;
    session.send(request.clone())?;
    // Whether a key was spent for it nobody knows: the budget takes it that one was.
    session.reset()?;
    if seen.is_empty() {
        return Err(Stop::Inconclusive("no key to begin with".to_owned()));
    }
    let before = seen.len();
    for _ in 0..4 {
        seen.extend(t.ask(master, request.clone())?.keys);
    }
    if seen.len() < 2 || seen.len() == before {
        return Err(Stop::Inconclusive("no key afterwards".to_owned()));
    }
    let earlier = |index: usize, same: &dyn Fn(&Key) -> bool| seen[..index].iter().any(same);
    let twice = seen.iter().enumerate().find(|(index, key)| earlier(*index, &|other| other.id.eq_ignore_ascii_case(&key.id)));
    let got = twice.map_or("none".to_owned(), |(_, key)| printable(&key.id));
    t.check("key IDs", twice.is_none(), "none that came before", got);
    let material = |key: &Key| key.fingerprint.filter(|_| key.bits() >= 64);
    let twice = seen
        .iter()
        .enumerate()
        .find_map(|(index, key)| material(key).filter(|own| earlier(index, &|other| material(other) == Some(*own))));
    let got = twice.map_or("none".to_owned(), |fingerprint| format!("fp {fingerprint}"));
    t.check("key material", twice.is_none(), "none that came before", got);
    Ok(())
}

fn rob_015(t: &mut Ctx<'_>) -> Result<(), Stop> {
    let master = t.master()?;
    let kme = t.kme(master)?;
    let unknown = kme.url.tls && t.lab.intruder("unenrolled").is_some();
    let unknown = unknown.then(|| tls::intruder(t, "unenrolled")).transpose()?;
    let lab = t.lab;
    let some = |at: usize| {
        let mut made = 0;
        for round in 0..8 {
            let other = unknown.clone().map(|config| lab.connect_as("unenrolled", kme, Some(config)));
            for session in lab.connect(master).into_iter().chain(other) {
                made += usize::from(session.error().is_none());
                // Dropped, a connection is closed; reset, its peer finds even its address gone.
                if (at + round).is_multiple_of(2) {
                    let _ = session.reset();
                }
            }
        }
        made
    };
    let made: usize = thread::scope(|scope| {
        let some = &some;
        let workers: Vec<_> = (0..6).map(|at| scope.spawn(move || some(at))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    });
    if made == 0 {
        return Err(Stop::Inconclusive("no connection was made at all".to_owned()));
    }
    t.observe(format!("{made} connections"));
    served_meanwhile::<()>(t, Vec::new())
}
