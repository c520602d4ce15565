//! What stands before a KME: the fault, and the reference behind it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use kme::service::Service;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};
use transport::identity::IdentityError;
use transport::server::{Handler, Peer};

use crate::book::{Book, Drawn};
use crate::exchange::{Asked, Operation, Said};
use crate::fault::Fault;

/// The SAEs of both KMEs. The ID of the last one has to be encoded in a path.
pub(crate) const SAES: [(&str, &str, Side); 5] = [
    ("red", "red", Side::North),
    ("blue", "blue", Side::South),
    ("green", "green", Side::South),
    ("grey", "grey", Side::South),
    ("odd", "odd id/50%:é", Side::South),
];

/// One of the two KMEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// KME A.
    North,
    /// KME B.
    South,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::North, Self::South];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::North => "north",
            Self::South => "south",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::North => Self::South,
            Self::South => Self::North,
        }
    }

    pub(crate) fn of(sae: &str) -> Option<Self> {
        SAES.iter().find(|(_, id, _)| *id == sae).map(|(_, _, side)| *side)
    }
}

/// Everything that the two KMEs of a process share.
pub(crate) struct Pair {
    pub(crate) fault: &'static Fault,
    services: [Mutex<Option<Arc<Service>>>; 2],
    book: Mutex<Book>,
    notes: Mutex<Notes>,
    restart: Mutex<Option<Instant>>,
    /// The folder of the laboratory.
    pub(crate) dir: PathBuf,
    /// Answers that several callers wait for.
    pub(crate) waiting: Mutex<HashMap<String, Arc<OnceCell<Said>>>>,
    /// How many requests each KME has under way, where a fault counts them.
    pub(crate) busy: [Arc<AtomicUsize>; 2],
    /// Counts how often KME north was ordered to end without notice.
    pub(crate) deaths: watch::Sender<u64>,
}

/// What a fault remembers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) counts: HashMap<String, u64>,
    pub(crate) texts: HashMap<String, String>,
    pub(crate) answers: HashMap<String, (Instant, Said)>,
    pub(crate) times: HashMap<String, Instant>,
    pub(crate) pool: Vec<Drawn>,
}

impl Pair {
    pub(crate) fn new(fault: &'static Fault, dir: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            fault,
            services: Default::default(),
            book: Mutex::default(),
            notes: Mutex::default(),
            restart: Mutex::default(),
            dir,
            waiting: Mutex::default(),
            busy: Default::default(),
            deaths: watch::Sender::new(0),
        })
    }

    /// To be told when KME north is started again.
    pub(crate) fn restarted(&self) {
        *lock(&self.restart) = Some(Instant::now());
    }

    /// When KME north was started again.
    pub(crate) fn restart(&self) -> Option<Instant> {
        *lock(&self.restart)
    }
}

/// A KME, with the fault before it.
#[derive(Clone)]
pub(crate) struct Kme {
    pub(crate) side: Side,
    pub(crate) pair: Arc<Pair>,
}

impl Kme {
    pub(crate) fn install(&self, service: Option<Arc<Service>>) {
        *lock(&self.pair.services[self.side as usize]) = service;
    }

    fn service(&self) -> Option<Arc<Service>> {
        lock(&self.pair.services[self.side as usize]).clone()
    }

    /// The KME of that SAE; this one if nobody knows it.
    pub(crate) fn of(&self, sae: &str) -> Self {
        Self { side: Side::of(sae).unwrap_or(self.side), pair: self.pair.clone() }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.pair.book)
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.pair.notes)
    }

    /// Counts something; 1 the first time.
    pub(crate) fn count(&self, what: &str) -> u64 {
        let mut notes = self.notes();
        let count = notes.counts.entry(what.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub(crate) fn drawn(&self, id: &str) -> Option<Drawn> {
        self.book().find(id).cloned()
    }

    /// The reference's own answer.
    pub(crate) async fn ask(&self, asked: &Asked) -> Said {
        let Some(service) = self.service() else { return Said::error(503, "the KME is restarting") };
        let mut request = Request::new(asked.body.clone());
        *request.method_mut() = asked.method.clone();
        *request.headers_mut() = asked.headers.clone();
        match asked.target.parse() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Said::error(400, "the path has no percent-encoded SAE ID"),
        }
        let identity = asked.caller.clone().ok_or(IdentityError::NoCertificate);
        let said = Said::of(service.call(&Peer::new(asked.address, identity), request).await);
        self.enter(asked, &said);
        said
    }

    fn enter(&self, asked: &Asked, said: &Said) {
        let (Some(caller), Some(peer), 200) = (&asked.caller, asked.peer(), said.status) else { return };
        let keys = said.keys();
        match asked.operation() {
            Operation::GetKey => {
                let more = asked.json();
                let more = more.as_ref().and_then(|body| body["additional_slave_SAE_IDs"].as_array().cloned());
                let more = more.into_iter().flatten().filter_map(|sae| sae.as_str().map(str::to_owned));
                let slaves: Vec<_> = std::iter::once(peer).chain(more).collect();
                self.book().draw(self.side, caller, &slaves, &keys);
            }
            Operation::GetKeyWithIds => {
                let ids: Vec<_> = keys.into_iter().map(|(id, _)| id).collect();
                self.book().take(caller, &ids);
            }
            _ => {}
        }
    }

    /// With the fault.
    pub(crate) async fn answer(&self, mut asked: Asked) -> Said {
        let fault = self.pair.fault;
        if let Some(change) = fault.request {
            change(self, &mut asked);
        }
        let mut said = match fault.around {
            Some(around) => around(self.clone(), asked.clone()).await,
            None => self.ask(&asked).await,
        };
        if let Some(change) = fault.response {
            change(self, &asked, &mut said);
        }
        said
    }

    /// The reference's answer to Get key of one key, or of what `body` says.
    pub(crate) async fn draw(&self, master: &str, slave: &str, body: &Value) -> Said {
        self.ask(&Asked::post(master, slave, "enc_keys", body)).await
    }

    /// Fetches a key in the name of a slave, wherever that is.
    pub(crate) async fn fetch(&self, slave: &str, master: &str, id: &str) -> Option<String> {
        let asked = Asked::post(slave, master, "dec_keys", &json!({ "key_IDs": [{ "key_ID": id }] }));
        let said = self.of(slave).ask(&asked).await;
        said.keys().pop().map(|(_, text)| text)
    }

    /// Fetches a key in the names of all its slaves that have not, so that nobody else can.
    pub(crate) async fn burn(&self, id: &str) {
        let Some(drawn) = self.drawn(id) else { return };
        for slave in &drawn.slaves {
            self.fetch(slave, &drawn.master, id).await;
        }
    }

    /// Whether this is an SAE of this KME.
    pub(crate) fn serves(&self, caller: Option<&String>) -> bool {
        caller.is_some_and(|caller| Side::of(caller) == Some(self.side))
    }

    /// Ends KME north, as if its process had died; whoever waits for this waits for ever.
    pub(crate) async fn die(&self) -> ! {
        self.pair.deaths.send_modify(|deaths| *deaths += 1);
        loop {
            std::future::pending::<()>().await;
        }
    }
}

impl Handler for Kme {
    async fn call(&self, peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        self.answer(Asked::of(peer, request)).await.into_http()
    }

    fn too_large(&self, peer: &Peer) -> Response<Bytes> {
        self.service().map_or_else(Response::default, |service| service.too_large(peer))
    }

    fn too_slow(&self, peer: &Peer) -> Response<Bytes> {
        self.service().map_or_else(Response::default, |service| service.too_slow(peer))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
