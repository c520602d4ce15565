//! The laboratory: KMEs, SAEs, and the one door through which every request goes, where budget, ledger, evidence and passive
//! checks are kept.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};

use crate::config::{CertificateConfig, Config, IdField, Side};
use crate::ctx::Stop;
use crate::forge::lapsed;
use crate::passive::Passive;
use crate::report;
use crate::secret::Vault;
use crate::wire::{BaseUrl, Credentials, TlsSettings, Versions, WireError, client_config, load_certificates};

mod answer;
mod books;
mod evidence;
mod request;
mod session;

pub(crate) use answer::{Answer, Key};
pub(crate) use books::{Budget, Ledger};
pub(crate) use request::{Api, Request};
pub(crate) use session::Session;

pub(crate) use crate::secret::{cut, printable};

/// A KME under test.
pub(crate) struct Kme {
    pub(crate) side: Side,
    pub(crate) url: BaseUrl,
    pub(crate) kme_id: Option<String>,
    pub(crate) id_field: Option<IdField>,
    pub(crate) roots: RootCertStore,
}

/// An SAE that the harness plays.
pub(crate) struct Sae {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) side: Side,
    /// Of its certificate.
    pub(crate) path: PathBuf,
    pub(crate) credentials: Credentials,
    tls: Arc<ClientConfig>,
}

impl Sae {
    /// Why its KME gives it no answer, in words for whoever wrote the configuration.
    pub(crate) fn unheard(&self, error: &WireError) -> String {
        let kme = self.side.letter();
        match error.alert() {
            Some(alert) if ABOUT_CERTIFICATES.iter().any(|word| alert.contains(word)) => {
                format!("KME {kme} refuses the certificate of {} ({}): {alert}", self.name, self.path.display())
            }
            Some(alert) => format!("KME {kme} ends the handshake of {}: {alert}", self.name),
            None => format!("KME {kme} cannot be reached: {error}"),
        }
    }
}

/// Parts of the names of alerts that tell of a client's certificate.
const ABOUT_CERTIFICATES: [&str; 4] = ["Certificate", "UnknownCA", "AccessDenied", "DecryptError"];

/// How much a run may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing that can deliver a key.
    Safe,
    /// Everything that leaves the KMEs as they are but for the keys drawn.
    #[default]
    Normal,
    /// Also what drains, restarts and cuts.
    Destructive,
}

impl Mode {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Safe, Self::Normal, Self::Destructive].into_iter().find(|mode| mode.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Normal => "normal",
            Self::Destructive => "destructive",
        }
    }
}

/// See the module.
pub(crate) struct Lab {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) lab_only: bool,
    kmes: BTreeMap<Side, Kme>,
    saes: BTreeMap<String, Sae>,
    pub(crate) vault: Arc<Vault>,
    pub(crate) interrupted: Arc<AtomicBool>,
    current: AtomicUsize,
    exchanges: AtomicU64,
    /// Connections that could not be made.
    refused: AtomicU64,
    /// Exchanges without an answer.
    unanswered: AtomicU64,
    /// Stimuli to which a KME said nothing at all.
    unheard: AtomicU64,
    /// Stimuli that a connection was lost by.
    lost: Mutex<HashSet<u64>>,
    budget: Mutex<Budget>,
    ledger: Mutex<Ledger>,
    passive: Mutex<Passive>,
    evidence: Mutex<Vec<report::Exchange>>,
    next_request: Mutex<Instant>,
}

impl Lab {
    /// Reads certificates and keys; nothing is sent.
    pub(crate) fn new(config: Config, mode: Mode, lab_only: bool, interrupted: Arc<AtomicBool>) -> Result<Self, String> {
        let mut kmes = BTreeMap::new();
        for (side, kme) in &config.kme {
            let url = BaseUrl::of_kme(&kme.base_url)?;
            if !url.tls && !lab_only {
                return Err(format!("{url}: plain HTTP needs --insecure-lab, and the result is worth nothing then"));
            }
            let mut roots = RootCertStore::empty();
            let wrong = |error: String| format!("[kme.{}] ca: {error}", side.letter().to_lowercase());
            for certificate in load_certificates(&config.path(&kme.ca)).map_err(wrong)? {
                roots.add(certificate).map_err(|error| wrong(format!("{}: {error}", kme.ca.display())))?;
            }
            let id_field = kme.kme_id_field.as_deref().map(IdField::parse).transpose()?;
            kmes.insert(*side, Kme { side: *side, url, kme_id: kme.kme_id.clone(), id_field, roots });
        }
        let mut saes = BTreeMap::new();
        for (name, sae) in &config.sae {
            let key = sae.key.as_ref().map(|key| config.path(key));
            let path = config.path(&sae.cert);
            let wrong = |error: String| format!("[sae] {name}: {error}");
            let credentials = Credentials::load(&path, key.as_deref()).map_err(wrong)?;
            let doubt = lapsed(&credentials.chain[0]).unwrap_or_else(Some);
            if let Some(why) = doubt {
                return Err(wrong(format!("{}: {why}", path.display())));
            }
            let roots = &kmes.get(&sae.kme).ok_or("an SAE at no KME")?.roots;
            let settings = TlsSettings { roots, credentials: Some(&credentials), versions: Versions::Both, alpn: &["http/1.1"] };
            let tls = client_config(settings).map_err(|error| format!("[sae] {name}: {error}"))?;
            let sae = Sae { name: name.clone(), id: sae.id.clone(), side: sae.kme, path, credentials, tls: Arc::new(tls) };
            saes.insert(name.clone(), sae);
        }
        // A file that cannot be read is a fault of the configuration, and not of a case.
        for (name, certificate) in &config.intruder {
            certificate.load(&config).map_err(|error| format!("[intruder] {name}: {error}"))?;
        }
        let budget = Budget::new(config.limits.budget_keys, config.limits.budget_bits);
        Ok(Self {
            config,
            mode,
            lab_only,
            kmes,
            saes,
            vault: Arc::new(Vault::new()?),
            interrupted,
            current: AtomicUsize::new(usize::MAX),
            exchanges: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            unheard: AtomicU64::new(0),
            lost: Mutex::default(),
            budget: Mutex::new(budget),
            ledger: Mutex::default(),
            passive: Mutex::default(),
            evidence: Mutex::default(),
            next_request: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn kme(&self, side: Side) -> Option<&Kme> {
        self.kmes.get(&side)
    }

    pub(crate) fn kmes(&self) -> impl Iterator<Item = &Kme> {
        self.kmes.values()
    }

    pub(crate) fn sae(&self, name: &str) -> Option<&Sae> {
        self.saes.get(name)
    }

    pub(crate) fn saes(&self) -> impl Iterator<Item = &Sae> {
        self.saes.values()
    }

    /// The certificate of that name in `[intruder]`.
    pub(crate) fn intruder(&self, name: &str) -> Option<Result<Credentials, String>> {
        Some(self.config.intruder.get(name)?.load(&self.config))
    }

    /// The case to which exchanges belong from now on.
    pub(crate) fn enter(&self, case: usize) {
        self.current.store(case, Ordering::SeqCst);
    }

    /// The exchanges since the last call.
    pub(crate) fn take_evidence(&self) -> Vec<report::Exchange> {
        std::mem::take(&mut lock(&self.evidence))
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        lock(&self.budget)
    }

    pub(crate) fn passive(&self) -> MutexGuard<'_, Passive> {
        lock(&self.passive)
    }

    /// A connection of `sae` to its KME, with its usual settings.
    pub(crate) fn connect(&self, sae: &Sae) -> Result<Session<'_>, Stop> {
        let kme = self.kme(sae.side).ok_or_else(|| Stop::Error("an SAE at no KME".to_owned()))?;
        Ok(Session::open(self, &sae.name, kme, kme.url.tls.then(|| sae.tls.clone())))
    }

    /// A connection with other settings, in the name of `who`; without settings: without TLS.
    pub(crate) fn connect_as<'a>(&'a self, who: &str, kme: &'a Kme, tls: Option<Arc<ClientConfig>>) -> Session<'a> {
        Session::open(self, who, kme, tls)
    }

    /// One request on a connection of its own.
    pub(crate) fn exchange(&self, sae: &Sae, request: Request) -> Result<Answer, Stop> {
        self.connect(sae)?.ask(request)
    }

    /// Waits for its turn under `limits.rate_per_s`.
    fn pace(&self) {
        let rate = self.config.limits.rate_per_s;
        if rate > 0.0 {
            let turn = {
                let mut next = lock(&self.next_request);
                let turn = (*next).max(Instant::now());
                *next = turn + Duration::from_secs_f64((1.0 / rate).min(60.0));
                turn
            };
            while Instant::now() < turn && !self.interrupted.load(Ordering::SeqCst) {
                thread::sleep(turn.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
            }
        }
    }

    fn worst_bits(&self, request: &Request) -> u64 {
        request.worst_bits(self.passive().default_bits.unwrap_or(256))
    }

    /// Connections that could not be made so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Exchanges without an answer so far.
    pub(crate) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::SeqCst)
    }

    /// Stimuli to which a KME said nothing at all so far: no answer, and no alert.
    pub(crate) fn unheard(&self) -> u64 {
        self.unheard.load(Ordering::SeqCst)
    }

    /// Counts one more of them.
    pub(crate) fn met_silence(&self) {
        self.unheard.fetch_add(1, Ordering::SeqCst);
    }

    /// Stimuli that a connection was lost by since the last call.
    pub(crate) fn take_lost(&self) -> HashSet<u64> {
        std::mem::take(&mut lock(&self.lost))
    }

    /// Refuses what the mode forbids or the budget cannot bear.
    fn admit(&self, request: &Request) -> Result<(), Stop> {
        if self.interrupted.load(Ordering::SeqCst) {
            return Err(Stop::Interrupted);
        }
        if request.worst_keys > 0 {
            if self.mode == Mode::Safe {
                return Err(Stop::Skip("safe mode sends nothing that can deliver a key".to_owned()));
            }
            let bits = self.worst_bits(request);
            self.budget().reserve(request.worst_keys, bits)?;
        }
        self.pace();
        Ok(())
    }
}

impl CertificateConfig {
    fn load(&self, config: &Config) -> Result<Credentials, String> {
        match self {
            Self::Path(path) => Credentials::load(&config.path(path), None),
            Self::Paths { cert, key } => Credentials::load(&config.path(cert), Some(&config.path(key))),
        }
    }
}

/// A poisoned lock means that a case panicked; the books are as good as before.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
