//! Between an SAE and its KME: every request is passed on, and both directions are judged as in a run, without a stimulus of
//! our own.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::bounds;
use crate::case::{Case, Level};
use crate::catalogue;
use crate::config::Config;
use crate::ctx::{Stop, judged};
use crate::expected::Expected;
use crate::lab::{Answer, Api, Lab, Mode, Request, cut, lock, printable};
use crate::player::{Asked, read_request};
use crate::report::{CaseResult, Check, EXCHANGE, Exchange, KmeFacts, Report, Screen, Verdict};
use crate::run::{Gate, Guarded, Hidden, Options, RunError, conclude, conclude_report, levels, plan_of};
use crate::sae::{Finding, Look, WATCHED, blank, empty_report, judge};
use crate::status::Limits;
use crate::wire::{BaseUrl, Credentials, load_certificates, provider};

/// What is needed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The KME, and who signed its certificate.
    pub(crate) upstream: String,
    pub(crate) ca: PathBuf,
    pub(crate) listen: SocketAddr,
    /// What the SAE sees.
    pub(crate) cert: PathBuf,
    pub(crate) key: Option<PathBuf>,
    /// Who signed the SAE's certificate.
    pub(crate) client_ca: PathBuf,
    /// What the KME sees.
    pub(crate) sae_cert: PathBuf,
    pub(crate) sae_key: Option<PathBuf>,
    pub(crate) sae_id: Option<String>,
    /// When it is enough.
    pub(crate) seconds: Option<u64>,
    pub(crate) requests: Option<u64>,
}

/// Findings kept of one case.
const KEPT: usize = 5;

/// Requests that a case could judge, and what it found in which.
type Watched = (u64, Vec<(u64, Finding)>);

/// How many of something there were, and what the first one said.
type Count = (u64, String);

/// The last exchanges, and those before them in which something was found.
#[derive(Default)]
struct Kept {
    exchanges: VecDeque<Exchange>,
    found: Vec<Exchange>,
    dropped: u64,
}

impl Kept {
    fn add(&mut self, exchanges: Vec<Exchange>, is_found: impl Fn(u64) -> bool) {
        self.exchanges.extend(exchanges);
        while self.exchanges.len() > bounds::PASSED {
            let Some(first) = self.exchanges.pop_front() else { break };
            if is_found(first.n) {
                self.found.push(first);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Those that are wanted, in order.
    fn take(&mut self, wanted: impl Fn(u64) -> bool) -> Vec<Exchange> {
        let mut all = std::mem::take(&mut self.found);
        all.extend(self.exchanges.drain(..));
        all.retain(|exchange| wanted(exchange.n));
        all.sort_by_key(|exchange| exchange.n);
        all
    }
}

struct Proxy {
    lab: Lab,
    tls: Arc<ServerConfig>,
    own: Option<String>,
    ended: AtomicBool,
    connections: AtomicU64,
    requests: AtomicU64,
    /// Of the SAE, for each case.
    watched: Mutex<Vec<Watched>>,
    kept: Mutex<Kept>,
    /// Key IDs that the SAE asked for.
    ids: Mutex<BTreeSet<String>>,
    answered: AtomicU64,
    /// Requests that the KME did not answer, and connections of the SAE that failed.
    unanswered: Mutex<Count>,
    lost: Mutex<Count>,
}

/// Passes requests on until it is told to end; gives the report.
pub(crate) fn run(settings: &Settings, options: &Options, out: &mut dyn Write) -> Result<Guarded, RunError> {
    let began = (OffsetDateTime::now_utc(), Instant::now());
    let fail_on = levels(&options.fail_on)?;
    let expected = options.expected.as_deref().map(Expected::load).transpose().map_err(RunError::Usage)?.unwrap_or_default();
    let listener =
        TcpListener::bind(settings.listen).map_err(|error| RunError::Usage(format!("--listen {}: {error}", settings.listen)))?;
    let address = listener.local_addr()?;
    let proxy = Arc::new(Proxy::new(settings, options).map_err(RunError::Usage)?);
    writeln!(out, "https://{address} stands for {}; Ctrl-C ends, and the report follows", settings.upstream)?;
    out.flush()?;
    let accepting = proxy.clone();
    thread::spawn(move || accept(&accepting, &listener));
    let is_enough = || {
        let requests = proxy.requests.load(Ordering::SeqCst);
        options.interrupted.load(Ordering::SeqCst)
            || settings.seconds.is_some_and(|seconds| began.1.elapsed().as_secs() >= seconds)
            || settings.requests.is_some_and(|wanted| requests >= wanted)
    };
    while !is_enough() {
        thread::sleep(Duration::from_millis(50));
    }
    proxy.ended.store(true, Ordering::SeqCst);
    // Wakes who accepts; who is gone needs no waking.
    drop(TcpStream::connect_timeout(&address, Duration::from_millis(200)));
    let mut report = proxy.report(settings, options, &fail_on, began)?;
    expected.apply(&mut report, began.0);
    // Ctrl-C is how it ends: nothing is cut short.
    conclude_report(&mut report, false);
    let mut gate = Gate::new(proxy.lab.vault.clone());
    let report = gate.report(&report, options.hide_key_ids.then(|| proxy.hidden()).as_ref())?;
    let mut screen = Screen::new(options.quiet, options.colour, options.width);
    for case in &report.cases {
        gate.case(&mut screen, case, out)?;
    }
    gate.end(&screen, report, out)
}

impl Proxy {
    fn new(settings: &Settings, options: &Options) -> Result<Self, String> {
        let quoted = |path: &Path| -> Result<String, String> {
            let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(toml::Value::String(path.to_string_lossy().into_owned()).to_string())
        };
        BaseUrl::parse(&settings.upstream).map_err(|error| format!("--upstream: {error}"))?;
        let key = match &settings.sae_key {
            Some(key) => format!(", key = {}", quoted(key)?),
            None => String::new(),
        };
        let text = format!(
            "schema = 1\n[kme.a]\nbase_url = {}\nca = {}\n[sae]\nsae = {{ id = {}, kme = \"a\", cert = {}{key} }}\n[roles]\nmaster = \"sae\"\n\
             [limits]\nbudget_keys = 1000000000\nresponse_s = 60\n",
            toml::Value::String(settings.upstream.clone()),
            quoted(&settings.ca)?,
            toml::Value::String(settings.sae_id.clone().unwrap_or_else(|| "sae".to_owned())),
            quoted(&settings.sae_cert)?,
        );
        let config = Config::parse(&text, Path::new("")).map_err(|error| error.to_string())?;
        let lab = Lab::new(config, Mode::Normal, options.insecure_lab, Arc::default())?;
        let mut roots = RootCertStore::empty();
        for root in load_certificates(&settings.client_ca)? {
            roots.add(root).map_err(|error| format!("{}: {error}", settings.client_ca.display()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let credentials = Credentials::load(&settings.cert, settings.key.as_deref())?;
        let mut tls = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            .with_single_cert(credentials.chain, credentials.key)
            .map_err(|error| format!("{}: {error}", settings.cert.display()))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            lab,
            tls: Arc::new(tls),
            own: settings.sae_id.clone(),
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            watched: Mutex::new(WATCHED.iter().map(|_| (0, Vec::new())).collect()),
            kept: Mutex::default(),
            ids: Mutex::default(),
            answered: AtomicU64::new(0),
            unanswered: Mutex::default(),
            lost: Mutex::default(),
        })
    }

    /// Serves a connection of the SAE.
    fn serve(&self, mut tcp: TcpStream) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        tcp.set_read_timeout(Some(Duration::from_millis(200))).map_err(failed)?;
        tcp.set_write_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        let mut session = ServerConnection::new(self.tls.clone()).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while session.is_handshaking() {
            match session.complete_io(&mut tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {}
                Err(error) => {
                    let _ = session.write_tls(&mut tcp);
                    return Err(format!("no handshake with the SAE: {error}"));
                }
            }
        }
        let mut stream = StreamOwned::new(session, tcp);
        let mut buffer = Vec::new();
        while let Some(asked) = read_request(&mut stream, &mut buffer, &self.ended, None)? {
            let answer = self.pass_on(&asked);
            let sent = answer
                .and_then(|answer| respond(&answer))
                .and_then(|octets| stream.write_all(&octets).and_then(|()| stream.flush()).map_err(failed));
            // Counted when all is entered.
            self.requests.fetch_add(1, Ordering::SeqCst);
            sent?;
        }
        Ok(())
    }

    /// Judges the request of an exchange.
    fn look(&self, asked: &Asked, number: u64) {
        let look = Look { asked: asked.clone(), own: self.own.clone(), peer: None, prefix: String::new() };
        for (case, entry) in WATCHED.iter().zip(lock(&self.watched).iter_mut()) {
            let Some(findings) = judge(case, &look) else { continue };
            entry.0 += 1;
            for finding in findings {
                if entry.1.len() < KEPT && !entry.1.iter().any(|(_, known)| *known == finding) {
                    entry.1.push((number, finding));
                }
            }
        }
    }

    /// Asks the KME; the answer is judged on its way.
    fn pass_on(&self, asked: &Asked) -> Result<Answer, String> {
        let sae = self.lab.sae("sae").ok_or("no SAE")?;
        let request = forwarded(asked);
        let is_status = request.api == Api::Status;
        {
            let mut ids = lock(&self.ids);
            let room = bounds::LEDGER.saturating_sub(ids.len());
            ids.extend(crate::sae::ids(asked).into_iter().take(room).map(|id| cut(&id, bounds::ID)));
        }
        let answer = self.lab.exchange(sae, request).map_err(|stop| format!("{stop:?}"))?;
        self.look(asked, answer.n);
        self.keep();
        match &answer.outcome {
            Ok(_) => drop(self.answered.fetch_add(1, Ordering::SeqCst)),
            Err(error) => count(&self.unanswered, &error.to_string()),
        }
        if is_status && answer.is(200) {
            let mut passive = self.lab.passive();
            passive.default_bits = passive.default_bits.max(Limits::read(&answer).key_size);
        }
        Ok(answer)
    }

    /// Takes exchanges over into what is kept.
    fn keep(&self) {
        lock(&self.kept).add(self.lab.take_evidence(), |number| self.found().contains(&number));
    }

    /// Exchanges in which something was found.
    fn found(&self) -> BTreeSet<u64> {
        let passive = self.lab.passive();
        let tallies = passive.tallies.values().flat_map(|tally| tally.findings.iter().map(|finding| finding.exchange));
        let mut found: BTreeSet<u64> = tallies.collect();
        drop(passive);
        found.extend(lock(&self.watched).iter().flat_map(|(_, findings)| findings.iter().map(|(number, _)| *number)));
        found
    }

    /// What evidence there is, as far as it is wanted.
    fn evidence(&self, wanted: &str) -> Vec<Exchange> {
        let found = self.found();
        lock(&self.kept).take(|number| wanted == "all" || wanted == "fail" && found.contains(&number))
    }

    /// All that may be a key ID.
    fn hidden(&self) -> Hidden {
        let mut ids: Vec<String> = lock(&self.ids).iter().cloned().collect();
        ids.extend(self.lab.ledger().drawn.iter().map(|key| key.id.clone()));
        Hidden { ids, uuids: true }
    }

    /// Why the KME cannot be judged at all.
    fn nothing_heard(&self) -> Option<String> {
        let (unanswered, lost) = (lock(&self.unanswered).clone(), lock(&self.lost).clone());
        match (self.answered.load(Ordering::SeqCst), unanswered.0, lost.0) {
            (1.., ..) => None,
            (0, 1.., _) => Some(format!("the KME answered none of {} requests, first: {}", unanswered.0, unanswered.1)),
            (0, 0, 1..) => Some(format!("no request came, and {} connections of the SAE failed, first: {}", lost.0, lost.1)),
            (0, 0, 0) => Some("no request came".to_owned()),
        }
    }

    fn report(
        &self,
        settings: &Settings,
        options: &Options,
        fail_on: &[Level],
        began: (OffsetDateTime, Instant),
    ) -> Result<Report, RunError> {
        let replay = format!("qkdspec proxy{}", options.again);
        let mut cases: Vec<&'static Case> = Vec::new();
        let mut results = Vec::new();
        for case in catalogue::all().iter().filter(|case| case.is_passive()) {
            let passive = self.lab.passive();
            let tally = passive.tallies.get(case.id);
            let looked = tally.map_or(0, |tally| tally.looked);
            let findings = tally.iter().flat_map(|tally| &tally.findings);
            let told = findings.map(|finding| (finding.exchange, finding.level, finding.accepted, finding.got.clone())).collect();
            results.push(self.result(case, looked, told, fail_on, &replay));
            cases.push(case);
        }
        for (id, (looked, findings)) in WATCHED.iter().zip(lock(&self.watched).iter()) {
            let Some(case) = catalogue::sae().iter().find(|case| case.id == *id) else { continue };
            let told = findings
                .iter()
                .map(|(number, finding)| (*number, finding.level, finding.accepted, printable(&finding.got)))
                .collect();
            results.push(self.result(case, *looked, told, fail_on, &replay));
            cases.push(case);
        }
        // All exchanges are evidence for all cases; they are kept once.
        if let Some(first) = results.first_mut() {
            first.evidence = self.evidence(&options.evidence);
        }
        let kme =
            KmeFacts { name: "A".to_owned(), base_url: settings.upstream.clone(), kme_id: None, tls: None, cert_sha256: None };
        let plan = plan_of(cases, options)?;
        let claims = serde_json::json!({});
        let mut report = empty_report(&plan, options, Default::default(), vec![kme], claims, began, results);
        let ledger = self.lab.ledger();
        report.ledger.delivered = ledger.drawn.len() as u64;
        report.ledger.retrieved = ledger.retrieved;
        report.ledger.asked = self.lab.budget().asked;
        let count = self.requests.load(Ordering::SeqCst);
        report.observations.insert("judged".to_owned(), format!("{count} requests that passed through a proxy"));
        if self.lab.lab_only {
            "not-valid-for-claims".clone_into(&mut report.validity);
        }
        if ledger.is_short() {
            let what = format!("of the keys delivered, the first {} are remembered", ledger.drawn.len());
            report.observations.insert("ledger".to_owned(), what);
        }
        for (name, what) in [("requests without an answer", &self.unanswered), ("connections that failed", &self.lost)] {
            let (count, first) = lock(what).clone();
            if count > 0 {
                report.observations.insert(name.to_owned(), format!("{count}, first: {first}"));
            }
        }
        let dropped = lock(&self.kept).dropped;
        if dropped > 0 {
            let what = format!(
                "of {count} exchanges, the last {} and those with the first {KEPT} findings of each case are kept; {dropped} were judged and dropped",
                bounds::PASSED
            );
            report.observations.insert("evidence".to_owned(), what);
        }
        Ok(report)
    }

    fn result(
        &self,
        case: &'static Case,
        looked: u64,
        findings: Vec<(u64, Option<Level>, &'static str, String)>,
        fail_on: &[Level],
        replay: &str,
    ) -> CaseResult {
        let mut result = blank(case, replay.to_owned());
        let mut checks: Vec<_> = findings
            .into_iter()
            .map(|(number, level, accepted, got)| Check {
                part: format!("{EXCHANGE}{number}"),
                verdict: judged(false, level.unwrap_or(case.level), fail_on),
                level: level.filter(|level| *level != case.level).map(|level| format!("{level:?}")).unwrap_or_default(),
                accepted: accepted.to_owned(),
                got,
                exchange: None,
            })
            .collect();
        // Of an SAE, what it asks can be judged without an answer.
        let deaf = self.nothing_heard().filter(|_| looked == 0 || case.is_passive());
        let outcome = match deaf {
            Some(why) => Err(Stop::Inconclusive(why)),
            None if looked == 0 => Err(Stop::Skip("no exchange to look at".to_owned())),
            None => Ok(()),
        };
        if checks.is_empty() && looked > 0 {
            checks.push(Check {
                part: "all".to_owned(),
                verdict: Verdict::Pass,
                level: String::new(),
                accepted: case.accepted.to_owned(),
                got: format!("{looked} exchanges"),
                exchange: None,
            });
        }
        conclude(&self.lab.vault, &mut result, case, checks, outcome);
        result
    }
}

fn accept(proxy: &Arc<Proxy>, listener: &TcpListener) {
    for tcp in listener.incoming() {
        if proxy.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(tcp) = tcp else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        if proxy.connections.fetch_add(1, Ordering::SeqCst) >= bounds::CONNECTIONS as u64 {
            proxy.connections.fetch_sub(1, Ordering::SeqCst);
            count(&proxy.lost, "more connections at a time than are served");
            continue;
        }
        let proxy = proxy.clone();
        thread::spawn(move || {
            if let Err(why) = proxy.serve(tcp) {
                count(&proxy.lost, &why);
            }
            proxy.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Counts, and keeps what the first one said.
fn count(what: &Mutex<Count>, said: &str) {
    let mut what = lock(what);
    if what.0 == 0 {
        what.1 = cut(&printable(said), bounds::TOLD);
    }
    what.0 += 1;
}

/// The same request, for the KME.
fn forwarded(asked: &Asked) -> Request {
    let api = match asked.api() {
        Some((method, _)) => match method {
            "status" => Api::Status,
            "enc_keys" => Api::GetKey,
            _ => Api::GetKeyWithIds,
        },
        None => Api::Other,
    };
    let mut request = Request::new(api, &asked.method, asked.target.clone());
    let ours = ["host", "user-agent", "accept", "content-length", "transfer-encoding", "connection", "expect"];
    request.headers =
        asked.headers.iter().filter(|(name, _)| !ours.contains(&name.to_ascii_lowercase().as_str())).cloned().collect();
    request.body = (!asked.body.is_empty()).then(|| asked.body.clone());
    if let Some((_, peer)) = asked.api() {
        request = request.peer(&peer);
    }
    if api == Api::GetKey {
        request = request.worst(crate::sae::figure(asked, "number").unwrap_or(1).min(100_000));
        request.size = crate::sae::figure(asked, "size");
    }
    request
}

/// The answer as octets; an error if there is none.
fn respond(answer: &Answer) -> Result<Zeroizing<Vec<u8>>, String> {
    let response = answer.outcome.as_ref().map_err(|error| format!("no answer of the KME: {error}"))?;
    let body = response.body.expose();
    let mut head = format!("HTTP/1.1 {} {}\r\nContent-Length: {}\r\n", response.status, response.reason, body.len());
    let ours = ["content-length", "transfer-encoding", "connection", "keep-alive"];
    for (name, value) in response.headers.iter().filter(|(name, _)| !ours.contains(&name.to_ascii_lowercase().as_str())) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Ok(Zeroizing::new([head.as_bytes(), body].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Message;

    fn exchange(n: u64) -> Exchange {
        let line = "GET /".to_owned();
        let request = Message { line, headers: Vec::new(), body: None, raw_b64: None, truncated_at: None };
        let (at, actor, kme) = Default::default();
        Exchange { n, at, ms: 0.0, actor, kme, tls: None, request, response: None, error: None }
    }

    #[test]
    fn the_last_exchanges_are_kept_and_those_with_findings() {
        let mut kept = Kept::default();
        let count = 3 * bounds::PASSED as u64;
        (1..=count).for_each(|n| kept.add(vec![exchange(n)], |number| number == 7));
        assert_eq!((kept.exchanges.len(), kept.found.len(), kept.dropped), (bounds::PASSED, 1, 2 * bounds::PASSED as u64 - 1));
        let taken: Vec<_> = kept.take(|_| true).into_iter().map(|exchange| exchange.n).collect();
        assert_eq!((taken[0], taken[1], taken.last()), (7, 2 * bounds::PASSED as u64 + 1, Some(&count)));
    }
}
