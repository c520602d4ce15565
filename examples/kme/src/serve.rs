//! The KME, assembled: store, engine, QKD modules, neighbours, applications, operators.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use itu_y3803::{KeyId, KeySize, KmId, KmMessage, LinkId};
use relay_core::manager::OpenError;
use relay_core::{Event, Input, KeyManager, Now};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use transport::identity::IdentitySource;
use transport::server::{self, Handler, Observer, Server};
use transport::tls::{self, ClientTls, ServerTls, TlsError};

use crate::admin::Admin;
use crate::audit::Audit;
use crate::config::{Config, StoreKind};
use crate::kx::{Kx, KxConfig, KxError, KxEvent, PeerConfig, Times};
use crate::metrics::Metrics;
use crate::module::{ModuleError, Modules};
use crate::node::{Effects, EngineFailed, Node};
use crate::random::Random;
use crate::service::Service;
use crate::store::{AnyStore, RedbStore, StoreError};
use crate::{prepare, wall_now};

/// Where a KME that is ready listens.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// For SAEs.
    pub northbound: SocketAddr,
    /// For neighbours.
    pub kx: Option<SocketAddr>,
    /// For operators.
    pub admin: Option<SocketAddr>,
}

/// Why a KME could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A folder cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A port cannot be used.
    #[error("cannot listen on {address}, for {purpose}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// For whom.
        purpose: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port for neighbours cannot be served.
    #[error(transparent)]
    Kx(#[from] KxError),
    /// A QKD module cannot be used.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError<StoreError>),
    /// The audit log cannot be written.
    #[error("the audit log {}: {source}", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The store failed while serving.
    #[error(transparent)]
    Engine(#[from] EngineFailed),
}

/// The door for SAEs: the service, and all that is needed to let SAEs come to it.
pub struct Door {
    /// Answers requests.
    pub service: Arc<Service>,
    /// Where SAEs knock.
    pub listener: TcpListener,
    /// What connections are protected with; replaced when certificates are read again.
    pub tls: ServerTls,
    /// Where an SAE's certificate carries its SAE ID.
    pub identity: IdentitySource,
    /// What one SAE can use up.
    pub limits: server::Limits,
    /// Who is told of connections.
    pub observer: Arc<dyn Observer>,
    stopped: watch::Receiver<bool>,
}

impl Door {
    /// Serves HTTPS until the KME stops: the usual front, with `handler` to answer. Returns how many connections had to be cut
    /// off.
    pub async fn serve<H: Handler>(self, handler: Arc<H>) -> usize {
        let stopped = self.until_stopped();
        let server = Server::new(handler).limits(self.limits).observer(self.observer);
        server.serve_tls(self.listener, self.tls, self.identity, stopped).await
    }

    /// Completes when the KME stops.
    pub fn until_stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.clone();
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("service", &self.service).field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Runs a KME until `stop`, then lets requests finish. `ready` is called once, when all ports listen.
///
/// # Errors
/// [`ServeError`] when it cannot start, or its store fails.
pub async fn serve(config: Config, ready: impl FnOnce(&Ready), stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
    let front = |door: Door| {
        let service = door.service.clone();
        door.serve(service)
    };
    serve_with(config, front, ready, stop).await
}

/// As [`serve`], but how SAEs are let in is up to `front`: it serves the [`Door`] until [`Door::until_stopped`], and returns how
/// many connections had to be cut off.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with<F: Future<Output = usize> + Send>(
    config: Config,
    front: impl FnOnce(Door) -> F,
    ready: impl FnOnce(&Ready),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    harden();
    let (store, counters) = match &config.store.kind {
        StoreKind::Redb { path } => {
            let store = RedbStore::open(path).map_err(OpenError::Store)?;
            let opened = store.opened();
            tracing::info!(folder = %path.display(), keys = opened.keys, erased = opened.erased, "the key store is open");
            let counters = store.counters();
            (AnyStore::from(store), Some(counters))
        }
        StoreKind::Memory => (AnyStore::from(relay_core::MemoryStore::default()), None),
    };
    let (audit, audit_thread) = match &config.audit {
        Some(audit) => {
            let folder = |path: &std::path::Path| {
                crate::folder::make(path).map_err(|source| ServeError::Folder { path: path.to_owned(), source })
            };
            path_of(&audit.file).map_or(Ok(()), folder)?;
            Audit::to_file(&audit.file).map_err(|source| ServeError::Audit { path: audit.file.clone(), source })?
        }
        None => Audit::none(),
    };

    let northbound_tls = ServerTls::new(northbound_config(&config)?);
    let northbound = listen(config.northbound.listen, "SAEs").await?;
    let admin = match &config.admin {
        Some(admin) => Some(listen(admin.listen, "operators").await?),
        None => None,
    };
    let kx_listener = match &config.kx {
        Some(kx) => Some(listen(kx.listen, "neighbours").await?),
        None => None,
    };

    let metrics = Metrics::new();
    let engine = config.to_engine();
    let modules = Modules::new(&config.links, engine.qkd_keys_per_link_key, metrics.clone(), Handle::current())?;
    let now = Now { instant: Instant::now(), wall: wall_now() };
    let manager = KeyManager::open(engine, store, Random::new(), now)?;
    let (kx_sender, kx_for_effects) = watch::channel(None::<Kx>);
    let (node, thread) = Node::start(manager, config.store.durability, |node| World {
        node,
        kx: kx_for_effects,
        modules: modules.clone(),
        metrics: metrics.clone(),
        misbehaviour: Sparing::default(),
    })
    .map_err(ServeError::Thread)?;

    let (stop_sender, stopped) = watch::channel(false);
    let until_stopped = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|stop| *stop).await) }
    };
    let local = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Thread);
    let addresses = Ready {
        northbound: local(&northbound)?,
        kx: kx_listener.as_ref().map(local).transpose()?,
        admin: admin.as_ref().map(local).transpose()?,
    };

    let mut reloadable = Reloadable { northbound: northbound_tls.clone(), kx: None, modules };
    let kx = match (&config.kx, kx_listener) {
        (Some(settings), Some(listener)) => {
            let (server_config, client_config) = kx_configs(settings)?;
            let (server_tls, client_tls) = (ServerTls::new(server_config), ClientTls::new(client_config));
            reloadable.kx = Some((server_tls.clone(), client_tls.clone()));
            let events = {
                let (node, metrics) = (node.clone(), metrics.clone());
                move |event| tell_node(&node, &metrics, event)
            };
            let settings = KxConfig {
                id: config.kme.km.clone(),
                listen: listener,
                server_tls,
                client_tls,
                identity: settings.kme_id.clone(),
                peers: config
                    .peers
                    .iter()
                    .map(|peer| PeerConfig { id: peer.id.clone(), address: peer.address.clone() })
                    .collect(),
                times: Times::default(),
            };
            Some(Kx::start(settings, events, until_stopped())?)
        }
        _ => None,
    };
    kx_sender.send_replace(kx.clone());
    for parties in prepare::pairs(&config) {
        node.input(Input::Prepare { parties });
    }

    let audit_watch = audit.clone();
    let service = Arc::new(Service::new(&config, node.clone(), audit, metrics.clone()));
    let observer = metrics.clone();
    let northbound_server = front(Door {
        service,
        listener: northbound,
        tls: northbound_tls,
        identity: config.northbound.sae_id.clone(),
        limits: config.northbound.connections.clone(),
        observer: Arc::new(move |event: &server::Event<'_>| observe(&observer, event)),
        stopped: stopped.clone(),
    });
    let admin_server = async {
        let Some(listener) = admin else { return };
        let links = config.links.iter().map(|link| link.id.clone()).collect();
        let answers = Admin::new(node.clone(), metrics.clone(), links, kx.clone(), counters, &config.northbound.keys);
        Server::new(Arc::new(answers)).serve_plain(listener, until_stopped()).await;
    };
    ready(&addresses);
    tracing::info!(kme = %config.kme.id, northbound = %addresses.northbound, "serving");

    let watch_engine = async {
        while !thread.is_finished() && !audit_watch.has_failed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let until_end = async {
        tokio::select! {
            () = stop => tracing::info!("stopping; requests may finish"),
            () = watch_engine => tracing::error!("the engine or the audit log has ended"),
        }
        stop_sender.send_replace(true);
    };
    let ((), cut_off, ()) = tokio::select! {
        ended = async { tokio::join!(until_end, northbound_server, admin_server) } => ended,
        never = reloadable.on_hangup(&config) => match never {},
    };
    if cut_off > 0 {
        tracing::warn!(cut_off, "connections did not finish in time");
    }
    node.stop();
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    let closed = tokio::task::spawn_blocking(move || audit_thread.close()).await;
    if let (Ok(Err(source)), Some(audit)) = (closed, &config.audit) {
        return Err(ServeError::Audit { path: audit.file.clone(), source });
    }
    ended.unwrap_or(Ok(())).map_err(ServeError::from)
}

/// What is read again when the process gets SIGHUP: certificates, authorities and revocation lists. Connections that are open are
/// closed after their current request, so that a revocation holds for them, too.
struct Reloadable {
    northbound: ServerTls,
    kx: Option<(ServerTls, ClientTls)>,
    modules: Modules,
}

impl Reloadable {
    async fn on_hangup(&self, config: &Config) -> std::convert::Infallible {
        #[cfg(unix)]
        if let Ok(mut hangups) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
            while hangups.recv().await.is_some() {
                match self.reload(config) {
                    Ok(()) => tracing::info!("certificates and revocation lists are read again"),
                    Err(error) => tracing::error!(%error, "nothing is changed: certificates or revocation lists cannot be used"),
                }
            }
        }
        std::future::pending().await
    }

    fn reload(&self, config: &Config) -> Result<(), ServeError> {
        let northbound = northbound_config(config)?;
        let kx = config.kx.as_ref().map(kx_configs).transpose()?;
        self.modules.renew(&config.links, config.to_engine().qkd_keys_per_link_key)?;
        self.northbound.replace(northbound);
        if let (Some((server, client)), Some((server_config, client_config))) = (&self.kx, kx) {
            server.replace(server_config);
            client.replace(client_config);
        }
        Ok(())
    }
}

fn northbound_config(config: &Config) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let northbound = &config.northbound;
    let options = tls::Northbound { key_exchange: northbound.key_exchange, http2: northbound.http2 };
    tls::northbound_server(&northbound.tls.credentials(), &northbound.tls.trust(), &options)
}

fn kx_configs(kx: &crate::config::Kx) -> Result<(Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>), TlsError> {
    let (own, trust) = (kx.tls.credentials(), kx.tls.trust());
    Ok((tls::inter_kme_server(&own, &trust)?, tls::inter_kme_client(&own, &trust)?))
}

/// What the engine's thread does to the world.
struct World {
    node: Node,
    kx: watch::Receiver<Option<Kx>>,
    modules: Modules,
    metrics: Metrics,
    misbehaviour: Sparing,
}

/// Tells of something once a second for each neighbour: it has a metric, and a neighbour must not fill the log.
#[derive(Default)]
struct Sparing(HashMap<KmId, (Instant, u64)>);

impl Sparing {
    /// How often it was not told since the last time, if it is to be told now.
    fn tell(&mut self, of: &KmId, now: Instant) -> Option<u64> {
        let Some((last, untold)) = self.0.get_mut(of) else {
            self.0.insert(of.clone(), (now, 0));
            return Some(0);
        };
        if now.saturating_duration_since(*last) < Duration::from_secs(1) {
            *untold += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(untold))
    }
}

impl Effects for World {
    fn send(&mut self, to: &KmId, message: KmMessage) {
        if let Some(kx) = &*self.kx.borrow() {
            kx.send(to, message);
        }
    }

    fn draw(&mut self, link: LinkId, number: u32, size: KeySize) {
        self.modules.draw(&self.node, link, number, size);
    }

    fn fetch(&mut self, link: LinkId, key: KeyId, qkd_keys: Vec<KeyId>) {
        self.modules.fetch(&self.node, link, key, qkd_keys);
    }

    fn event(&mut self, event: &Event) {
        self.metrics.engine_event(event);
        match event {
            Event::LinkKey { pool, id, event } => tracing::debug!(?pool, %id, ?event, "link key"),
            Event::Bound { block, octets, .. } => tracing::debug!(%block, octets, "block bound"),
            Event::NotBound { block } => tracing::warn!(%block, "block not bound, and burnt"),
            Event::Expired { pool, id } => tracing::info!(?pool, %id, "expired"),
            Event::PeerRenewed { peer } => tracing::warn!(%peer, "the neighbour has a new store; what was agreed is burnt"),
            Event::Misbehaviour { from, what } => {
                if let Some(untold) = self.misbehaviour.tell(from, Instant::now()) {
                    tracing::error!(%from, %what, untold, "misbehaviour of a neighbour");
                }
            }
            Event::ClockSetBack => tracing::error!("the clock was set back: what was ready to be supplied is burnt"),
            Event::NumbersRunLow { left } => tracing::error!(left, "few block numbers are left: the KME needs a new store soon"),
            _ => {}
        }
    }

    fn batch(&mut self, inputs: usize) {
        self.metrics.batch(inputs);
    }
}

fn tell_node(node: &Node, metrics: &Metrics, event: KxEvent) {
    match event {
        KxEvent::Up(peer) => {
            tracing::info!(%peer, "connected to the neighbour");
            node.input(Input::PeerUp { peer });
        }
        KxEvent::Down(peer) => {
            tracing::warn!(%peer, "the connection to the neighbour is gone");
            node.input(Input::PeerDown { peer });
        }
        KxEvent::Message(from, message, room) => node.message(from, message, room),
        KxEvent::Refused { peer, address, reason } => {
            metrics.connection("neighbour refused");
            tracing::warn!(?peer, %address, %reason, "a connection to the port for neighbours was refused");
        }
        KxEvent::NotReached { peer, reason } => tracing::info!(%peer, %reason, "the neighbour is not reached"),
    }
}

fn observe(metrics: &Metrics, event: &server::Event<'_>) {
    use server::Event;
    match event {
        Event::Established { peer, .. } => {
            metrics.connection("established");
            if let Some(negotiated) = &peer.negotiated {
                metrics.handshake(negotiated.version.to_string(), negotiated.group_name().to_string());
            }
        }
        Event::Closed { .. } => metrics.connection("closed"),
        Event::Refused { address, .. } => {
            metrics.connection("refused");
            tracing::debug!(%address, "too many connections");
        }
        Event::HandshakeFailed { address, failure } => {
            metrics.connection("handshake failed");
            tracing::info!(%address, failure = failure.label(), "handshake failed");
        }
        Event::TimedOut { limit: server::TimeLimit::Idle | server::TimeLimit::Age, .. } => metrics.connection("timed out"),
        Event::TimedOut { peer, limit } => {
            metrics.connection("timed out");
            tracing::info!(address = %peer.address, ?limit, "too slow");
        }
        Event::BodyTooLarge { .. } => metrics.connection("body too large"),
        Event::ConnectionFailed { .. } => metrics.connection("failed"),
        Event::HandlerPanicked => {
            metrics.connection("handler panicked");
            tracing::error!("a request could not be answered: the handler panicked");
        }
        Event::AcceptFailed { reason } => tracing::error!(%reason, "cannot accept connections"),
        _ => {}
    }
}

async fn listen(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, purpose, source })
}

fn path_of(file: &std::path::Path) -> Option<&std::path::Path> {
    file.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Keys stay out of core dumps and, where the system allows it, out of swap; and many may connect.
fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{MlockAllFlags, mlockall};
        use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
        // The usual limit is less than all the connections that are allowed.
        let maximum = getrlimit(Resource::Nofile).maximum;
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            tracing::info!(%error, "the number of open files stays limited");
        }
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "core dumps stay possible");
        }
        // With a finite limit, locking would not fail now but when memory grows, and end the process then.
        if getrlimit(Resource::Memlock).maximum.is_some() {
            tracing::info!("memory is not locked and may be swapped; LimitMEMLOCK=infinity would allow it");
            return;
        }
        // Only what is touched: locking all of the address space at once would need far more than is used.
        if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT) {
            tracing::info!(%error, "memory cannot be locked and may be swapped; LimitMEMLOCK=infinity would allow it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_told_of_once_a_second() {
        let (north, south) = (KmId::new("north").expect("valid"), KmId::new("south").expect("valid"));
        let (mut sparing, start) = (Sparing::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let told: Vec<_> = [0, 1, 999, 1000, 1001, 3000].map(|millis| sparing.tell(&north, at(millis))).into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(sparing.tell(&south, at(1)), Some(0), "each by itself");
    }
}
