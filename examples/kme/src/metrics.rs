//! What is counted, in the text format of Prometheus. No label holds an SAE ID or a key ID: those are in the audit log.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use relay_core::Event;

use crate::node::LinkLevel;

/// A method of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Get status.
    Status,
    /// Get key.
    EncKeys,
    /// Get key with key IDs.
    DecKeys,
    /// Another path.
    Unknown,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Status, Self::EncKeys, Self::DecKeys, Self::Unknown];

    /// The method that a path names.
    #[must_use]
    pub fn named(path: &str) -> Self {
        let last = path.rsplit('/').next();
        Self::ALL.into_iter().find(|operation| last == Some(operation.as_str())).unwrap_or(Self::Unknown)
    }

    /// As in the path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EncKeys => "enc_keys",
            Self::DecKeys => "dec_keys",
            Self::Unknown => "unknown",
        }
    }
}

/// The meters; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Meters>);

#[derive(Debug)]
struct Meters {
    registry: Registry,
    requests: Family<Request, Counter>,
    /// What every request counts in is looked up once; in the order of [`Operation::ALL`].
    successes: [Counter; 4],
    keys: [Counter; 4],
    bits: [Counter; 4],
    seconds: [Histogram; 4],
    engine: Family<What, Counter>,
    misbehaviour: Family<Peer, Counter>,
    connections: Family<What, Counter>,
    handshakes: Family<Handshake, Counter>,
    module_calls: Family<ModuleCall, Counter>,
    link_keys: Family<Link, Gauge>,
    link_octets: Family<Link, Gauge>,
    kx: Family<Traffic, Gauge>,
    inputs: Counter,
    batches: Counter,
    commits: Gauge,
    commit_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
}

/// Figures that others keep, as they are now.
#[derive(Clone, Debug, Default)]
pub struct Current {
    /// What is held for each link.
    pub links: Vec<(String, LinkLevel)>,
    /// For each neighbour, figures by name.
    pub kx: Vec<(String, Vec<(&'static str, u64)>)>,
    /// Commits of the store so far, and the time they took.
    pub commits: (u64, Duration),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Peer {
    peer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Link {
    link: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Traffic {
    peer: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handshake {
    version: String,
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModuleCall {
    link: String,
    call: &'static str,
    outcome: &'static str,
}

impl Metrics {
    /// All meters at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("kme");
        let requests = Family::<Request, Counter>::default();
        let seconds = Operation::ALL.map(|_| Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]));
        for (operation, histogram) in Operation::ALL.iter().zip(&seconds) {
            let labelled = registry.sub_registry_with_label(("operation".into(), operation.as_str().into()));
            labelled.register_with_unit("request", "Time to answer a request", Unit::Seconds, histogram.clone());
        }
        let successes = Operation::ALL
            .map(|operation| requests.get_or_create(&Request { operation: operation.as_str(), status: 200 }).clone());
        let (keys, bits) = (Family::<Method, Counter>::default(), Family::<Method, Counter>::default());
        let each = |family: &Family<Method, Counter>| {
            Operation::ALL.map(|operation| family.get_or_create(&Method { operation: operation.as_str() }).clone())
        };
        let meters = Meters {
            requests,
            successes,
            seconds,
            keys: each(&keys),
            bits: each(&bits),
            engine: Family::default(),
            misbehaviour: Family::default(),
            connections: Family::default(),
            handshakes: Family::default(),
            module_calls: Family::default(),
            link_keys: Family::default(),
            link_octets: Family::default(),
            kx: Family::default(),
            inputs: Counter::default(),
            batches: Counter::default(),
            commits: Gauge::default(),
            commit_seconds: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests answered", meters.requests.clone());
        registry.register("keys_delivered", "Keys delivered to SAEs", keys);
        registry.register("key_bits_delivered", "Bits of key delivered to SAEs", bits);
        registry.register("engine_events", "Steps in the life of link keys and blocks", meters.engine.clone());
        registry.register("misbehaviour", "What a neighbour did that no conforming one does", meters.misbehaviour.clone());
        registry.register("connections", "What happened to connections of SAEs", meters.connections.clone());
        registry.register("handshakes", "TLS handshakes with SAEs by version and key exchange", meters.handshakes.clone());
        registry.register("module_calls", "Calls to QKD modules", meters.module_calls.clone());
        registry.register("link_keys_ready", "Link keys that this node may use", meters.link_keys.clone());
        registry.register("link_octets_ready", "Octets of block that those can seal", meters.link_octets.clone());
        registry.register("kx", "Traffic with neighbours since the start", meters.kx.clone());
        registry.register("engine_inputs", "Inputs to the engine", meters.inputs.clone());
        registry.register("engine_batches", "Batches of inputs, with one commit each at most", meters.batches.clone());
        registry.register("store_commits", "Commits of the key store since the start", meters.commits.clone());
        registry.register("store_commit_seconds", "Time spent in them", meters.commit_seconds.clone());
        Self(Arc::new(Meters { registry, ..meters }))
    }

    /// A request was answered.
    pub fn answered(&self, operation: Operation, status: u16, keys: usize, bits: u32, time: Duration) {
        let index = operation as usize;
        if status == 200 {
            self.0.successes[index].inc();
        } else {
            self.0.requests.get_or_create(&Request { operation: operation.as_str(), status }).inc();
        }
        self.0.seconds[index].observe(time.as_secs_f64());
        if keys > 0 {
            self.0.keys[index].inc_by(keys as u64);
            self.0.bits[index].inc_by(keys as u64 * u64::from(bits));
        }
    }

    /// Something happened in the engine.
    pub fn engine_event(&self, event: &Event) {
        let what = match event {
            Event::LinkKey { event, .. } => match event {
                itu_y3803::KeyEvent::Confirm => "link_key_agreed",
                itu_y3803::KeyEvent::Use => "link_key_used",
                itu_y3803::KeyEvent::Burn => "link_key_burnt",
                itu_y3803::KeyEvent::Expire => "link_key_expired",
                _ => return,
            },
            Event::Bound { .. } => "block_bound",
            Event::NotBound { .. } => "block_not_bound",
            Event::Expired { .. } => "expired",
            Event::PeerRenewed { .. } => "peer_renewed",
            Event::ClockSetBack => "clock_set_back",
            Event::NumbersRunLow { .. } => "numbers_run_low",
            Event::Misbehaviour { from, .. } => {
                self.0.misbehaviour.get_or_create(&Peer { peer: from.to_string() }).inc();
                return;
            }
            _ => return,
        };
        self.0.engine.get_or_create(&What { what }).inc();
    }

    /// Inputs shared a commit.
    pub fn batch(&self, inputs: usize) {
        self.0.inputs.inc_by(inputs as u64);
        self.0.batches.inc();
    }

    /// Something happened to a connection of an SAE.
    pub fn connection(&self, what: &'static str) {
        self.0.connections.get_or_create(&What { what }).inc();
    }

    /// A handshake with an SAE succeeded.
    pub fn handshake(&self, version: String, group: String) {
        self.0.handshakes.get_or_create(&Handshake { version, group }).inc();
    }

    /// A QKD module was asked.
    pub fn module_call(&self, link: &str, call: &'static str, outcome: &'static str) {
        self.0.module_calls.get_or_create(&ModuleCall { link: link.to_owned(), call, outcome }).inc();
    }

    /// All meters as text, with these current figures.
    #[must_use]
    pub fn text(&self, current: &Current) -> String {
        for (link, level) in &current.links {
            let label = Link { link: link.clone() };
            self.0.link_keys.get_or_create(&label).set(level.keys as i64);
            self.0.link_octets.get_or_create(&label).set(level.octets as i64);
        }
        for (peer, figures) in &current.kx {
            for &(what, figure) in figures {
                self.0.kx.get_or_create(&Traffic { peer: peer.clone(), what }).set(figure as i64);
            }
        }
        self.0.commits.set(current.commits.0 as i64);
        self.0.commit_seconds.set(current.commits.1.as_secs_f64());
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.0.registry);
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
