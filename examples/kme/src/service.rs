//! The API for applications: ETSI GS QKD 014 over the node.
//!
//! Who calls is known from the client certificate, once a connection (014-4-09). A request is counted against the caller's
//! quota, decoded, admitted within the limits, and handed to the node; its outcome is in the audit log before it is on the
//! wire. Every answer that is no success has a JSON Error body, also 401, for which the standard defines none: there are
//! clients that fail without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use etsi014::decode::Decoding;
use etsi014::limits;
use etsi014::{
    Body, Call, ErrorBody, GetKey, GetKeyWithKeyIds, GetStatus, Key, KeyContainer, KeyId, KmeId, Limits, Object, Rejection,
    Reply, SaeId,
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use itu_y3803::{ApplicationId, KeySize, KsaKey, Parties};
use relay_core::Refusal;
use serde_json::Value;
use transport::server::{Handler, Peer};

use crate::audit::{Audit, Record};
use crate::config::Config;
use crate::metrics::{Metrics, Operation};
use crate::node::{NoKeys, Node, Shelf};
use crate::quota::Account;
use crate::wall_now;

/// An optional extension of this KME's own: with `{"qkms_label": true}` in `extension_optional`, each key comes with
/// `key_extension.qkms_label`, which says what its secrecy rests on.
pub const LABEL_EXTENSION: &str = "qkms_label";

/// Answers the requests of SAEs, of those that are known and entitled (Y3803-9.4-01).
#[derive(Debug)]
pub struct Service {
    kme: KmeId,
    limits: Limits,
    decoding: Decoding,
    max_stored_octets: usize,
    directory: HashMap<String, Arc<Sae>>,
    node: Node,
    audit: Audit,
    metrics: Metrics,
}

/// An SAE of the network, by all its names.
#[derive(Debug)]
struct Sae {
    id: SaeId,
    application: ApplicationId,
    kme: KmeId,
    /// Only SAEs of this KME have one.
    account: Option<Account>,
}

/// The SAE at the other end of a connection.
#[derive(Debug)]
struct Caller {
    sae: Arc<Sae>,
    /// The slave it last had a key for, and whence: mostly the next request is for the same.
    recent: Mutex<Option<(Arc<Sae>, Arc<Shelf>)>>,
}

impl Caller {
    fn recent(&self, slave: &SaeId) -> Option<(Arc<Sae>, Arc<Shelf>)> {
        self.lock().as_ref().filter(|(sae, _)| sae.id == *slave).cloned()
    }

    fn remember(&self, slave: &Arc<Sae>, shelf: &Arc<Shelf>) {
        *self.lock() = Some((Arc::clone(slave), Arc::clone(shelf)));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Arc<Sae>, Arc<Shelf>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// The service of the KME with these settings.
    #[must_use]
    pub fn new(config: &Config, node: Node, audit: Audit, metrics: Metrics) -> Self {
        let now = Instant::now();
        let sae = |sae: &crate::config::Sae| {
            let own = sae.kme == config.kme.km;
            let account = own.then(|| Account::new(&config.quota, now));
            let sae = Sae { id: sae.id.clone(), application: sae.application.clone(), kme: sae.kme_id.clone(), account };
            (sae.id.as_str().to_owned(), Arc::new(sae))
        };
        let engine = config.to_engine();
        Self {
            kme: config.kme.id.clone(),
            limits: config.northbound.keys.clone(),
            decoding: config.northbound.decoding,
            max_stored_octets: engine.pool_limit.max(engine.pool_high) + 2 * engine.lease_octets,
            directory: config.saes.iter().map(sae).collect(),
            node,
            audit,
            metrics,
        }
    }

    /// The SAE at the other end of a connection, if it is one of this KME's.
    fn caller<'a>(&self, peer: &'a Peer) -> Option<&'a Caller> {
        let known = peer.cached(|peer| {
            let id = peer.identity.as_ref().ok()?;
            let sae = self.directory.get(id).filter(|sae| sae.account.is_some())?;
            Some(Caller { sae: Arc::clone(sae), recent: Mutex::default() })
        })?;
        known.as_ref()
    }

    async fn answer(&self, peer: &Peer, request: &Request<Bytes>, seen: &mut Seen) -> Result<Reply, Rejection> {
        let caller = self.caller(peer).ok_or(Rejection::Unauthenticated)?;
        seen.sae = Some(caller.sae.application.clone());
        let account = caller.sae.account.as_ref().ok_or(Rejection::Unauthenticated)?;
        if !account.request(seen.started) {
            return Err(Rejection::QuotaExceeded);
        }
        match Call::decode(request, self.decoding)? {
            Call::GetStatus(call) => self.status(&caller.sae, call, seen).await,
            Call::GetKey(call) => self.get_key(caller, account, call, seen).await,
            Call::GetKeyWithKeyIds(call) => self.get_key_with_key_ids(&caller.sae, call, seen).await,
        }
    }

    async fn status(&self, caller: &Sae, call: GetStatus, seen: &mut Seen) -> Result<Reply, Rejection> {
        let slave = self.directory.get(call.slave.as_str()).ok_or(Rejection::UnknownSae)?;
        seen.other = Some(slave.application.clone());
        let parties = parties(caller, [slave])?;
        let size = self.limits.default_size();
        let stored = self.node.keys_ready(&self.node.shelf(parties), size).await.map_err(rejection)?;
        let most = self.max_stored_octets / size.octets();
        let about = limits::Parties {
            source_kme: self.kme.clone(),
            target_kme: slave.kme.clone(),
            master: caller.id.clone(),
            slave: slave.id.clone(),
        };
        Ok(Reply::Status(self.limits.status(about, stored.min(most) as u64, most as u64)))
    }

    async fn get_key(&self, caller: &Caller, account: &Account, call: GetKey, seen: &mut Seen) -> Result<Reply, Rejection> {
        let recent = caller.recent(&call.slave);
        let slave = recent.as_ref().map(|(sae, _)| sae).or_else(|| self.directory.get(call.slave.as_str()));
        seen.other = slave.map(|sae| sae.application.clone());
        let order = self.limits.admit(&caller.sae.id, call)?;
        let shelf = match recent {
            Some((_, shelf)) if order.slaves().len() == 1 => shelf,
            _ => self.shelf(caller, order.slaves())?,
        };
        seen.bits = order.size().bits();
        if !account.keys(order.number().get(), seen.started) {
            return Err(Rejection::QuotaExceeded);
        }
        let (number, size) = (order.number(), order.size());
        let labelled = wants_label(order.extension_optional());
        // Extensions may be large, and a supply may have to wait.
        drop(order);
        self.ready_to_record()?;
        let keys = self.node.supply(&shelf, number, size).await.map_err(rejection)?;
        Ok(self.container(keys, labelled, seen))
    }

    fn shelf(&self, caller: &Caller, slaves: &[SaeId]) -> Result<Arc<Shelf>, Rejection> {
        let found = slaves.iter().map(|id| self.directory.get(id.as_str()).ok_or(Rejection::UnknownSae));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let shelf = self.node.shelf(parties(&caller.sae, found.iter().copied())?);
        if let [slave] = found[..] {
            caller.remember(slave, &shelf);
        }
        Ok(shelf)
    }

    async fn get_key_with_key_ids(&self, caller: &Sae, call: GetKeyWithKeyIds, seen: &mut Seen) -> Result<Reply, Rejection> {
        let labelled = call.key_ids.extension.as_ref().is_some_and(|extension| extension.contains_key(LABEL_EXTENSION));
        let order = self.limits.admit_ids(&caller.id, call)?;
        // Also one that is in the directory no more: its slaves may yet come for what it was given.
        let master = ApplicationId::new(order.master().as_str());
        let master = master.map_err(|_| Rejection::KeysNotFound { ids: order.ids().to_vec() })?;
        seen.other = Some(master.clone());
        let ids = order.ids().iter().map(|&id| id.into()).collect();
        seen.keys = order.ids().to_vec();
        self.ready_to_record()?;
        let collected = self.node.collect(caller.application.clone(), master, ids).await;
        let keys = collected.map_err(|refused| match refused {
            // In the letters of the request, which need not be ours.
            NoKeys::Refused(Refusal::NotFound { keys }) => {
                let missing = |id: &&KeyId| keys.contains(&(**id).into());
                Rejection::KeysNotFound { ids: order.ids().iter().filter(missing).copied().collect() }
            }
            other => rejection(other),
        })?;
        seen.bits = keys.first().map_or(0, |key| key.material.size().bits());
        let mut reply = self.container(keys, labelled, seen);
        if let Reply::Keys(container) = &mut reply {
            for (key, id) in container.keys.iter_mut().zip(order.ids()) {
                key.id = *id;
            }
        }
        Ok(reply)
    }

    /// Keys are spent only when it can be recorded: or they would be lost for want of a record.
    fn ready_to_record(&self) -> Result<(), Rejection> {
        self.audit.ready().map_err(|failed| Rejection::unavailable(failed.to_string()))
    }

    fn container(&self, keys: Vec<KsaKey>, labelled: bool, seen: &mut Seen) -> Reply {
        let key = |key: KsaKey| {
            let label = labelled.then(|| Object::from_iter([(LABEL_EXTENSION.to_owned(), Value::from(key.label.as_str()))]));
            Key { key_extension: label, ..Key::new(key.id.into(), key.material) }
        };
        let container: KeyContainer = keys.into_iter().map(key).collect();
        seen.keys = container.keys.iter().map(|key| key.id).collect();
        Reply::Keys(container)
    }

    /// Records the outcome, then makes it an answer.
    fn finish(&self, outcome: Result<Reply, Rejection>, seen: Seen) -> Response<Bytes> {
        let (status, refusal) = match &outcome {
            Ok(_) => (200, None),
            Err(rejection) => (rejection.status().as_u16(), Some(rejection)),
        };
        let delivered = if refusal.is_none() { seen.keys.len() } else { 0 };
        self.metrics.answered(seen.operation, status, delivered, seen.bits, seen.started.elapsed());
        // A mere look needs no record.
        if seen.operation != Operation::Status || refusal.is_some() {
            self.record(seen, status, refusal.map(|rejection| rejection.message().into_owned()));
        }
        outcome.map_or_else(Rejection::into_http, Reply::into_http).map(Body::into_bytes)
    }
}

impl Service {
    fn record(&self, seen: Seen, status: u16, refusal: Option<String>) {
        self.audit.record(|| Record {
            at: wall_now(),
            sae: seen.sae,
            other: seen.other,
            operation: seen.operation.as_str(),
            status,
            refusal,
            bits: seen.bits,
            keys: seen.keys,
        });
    }
}

impl Handler for Service {
    async fn call(&self, peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        let seen = Seen { operation: Operation::named(request.uri().path()), ..Seen::now() };
        let mut open = Open { service: self, seen, answered: false };
        let outcome = self.answer(peer, &request, &mut open.seen).await;
        open.answered = true;
        let stranger = open.seen.sae.is_none();
        let mut response = self.finish(outcome, std::mem::replace(&mut open.seen, Seen::now()));
        if stranger {
            // It will not be known later on this connection either, and another one may need the place.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn too_large(&self, peer: &Peer) -> Response<Bytes> {
        let sae = self.caller(peer).map(|caller| caller.sae.application.clone());
        self.finish(Err(Rejection::PayloadTooLarge), Seen { sae, ..Seen::now() })
    }

    fn too_slow(&self, peer: &Peer) -> Response<Bytes> {
        let sae = self.caller(peer).map(|caller| caller.sae.application.clone());
        let message = "the request took too long to arrive";
        let status = StatusCode::REQUEST_TIMEOUT;
        self.metrics.answered(Operation::Unknown, status.as_u16(), 0, 0, std::time::Duration::ZERO);
        self.record(Seen { sae, ..Seen::now() }, status.as_u16(), Some(message.to_owned()));
        let body = ErrorBody { message: message.to_owned(), details: Vec::new() }.encode();
        let mut response = Response::new(body.into_bytes());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// A request that is being answered. If its caller goes away meanwhile it is dropped, and that is recorded: keys may have been
/// spent for it, which nobody has.
struct Open<'a> {
    service: &'a Service,
    seen: Seen,
    answered: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let seen = std::mem::replace(&mut self.seen, Seen::now());
            self.service.record(seen, 0, Some("the caller went away before the answer".to_owned()));
        }
    }
}

/// What is known of a request so far, for the records.
struct Seen {
    started: Instant,
    sae: Option<ApplicationId>,
    other: Option<ApplicationId>,
    operation: Operation,
    bits: u32,
    keys: Vec<KeyId>,
}

impl Seen {
    fn now() -> Self {
        Self { started: Instant::now(), sae: None, other: None, operation: Operation::Unknown, bits: 0, keys: Vec::new() }
    }
}

fn parties<'a>(caller: &Sae, slaves: impl IntoIterator<Item = &'a Arc<Sae>>) -> Result<Parties, Rejection> {
    let slaves = slaves.into_iter().map(|sae| sae.application.clone()).collect();
    // Admission has seen to it that they are distinct; more than a block can have is not for this KME.
    Parties::new(caller.application.clone(), slaves)
        .ok_or(Rejection::TooManySlaves { asked: itu_y3803::message::MAX_SLAVES + 1, max: itu_y3803::message::MAX_SLAVES as u32 })
}

fn wants_label(extensions: &[Object]) -> bool {
    extensions.iter().any(|extension| extension.get(LABEL_EXTENSION) == Some(&Value::Bool(true)))
}

fn rejection(refused: NoKeys) -> Rejection {
    match refused {
        NoKeys::Refused(Refusal::UnknownApplication) => Rejection::UnknownSae,
        NoKeys::Refused(Refusal::NotEnoughKeys) => Rejection::NotEnoughKeys,
        NoKeys::Refused(Refusal::NotEntitled) => Rejection::NotEntitled,
        NoKeys::Refused(Refusal::NotFound { keys }) => {
            Rejection::KeysNotFound { ids: keys.into_iter().map(KeyId::from).collect() }
        }
        NoKeys::Refused(Refusal::SizeNotSupported) => {
            let max = KeySize::from_octets(relay_core::key_id::MAX_KEY_OCTETS).unwrap_or(KeySize::BITS_256);
            Rejection::SizeOutOfRange { min: KeySize::MIN, max }
        }
        refused @ (NoKeys::Refused(_) | NoKeys::Stopped) => Rejection::unavailable(refused.to_string()),
    }
}
