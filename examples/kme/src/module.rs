//! Key from QKD modules: this KME is an SAE of each of its modules, over ETSI GS QKD 014.
//!
//! The module at the other end of a link serves the neighbouring KME. So this KME draws keys as master and names the
//! neighbour as slave; keys that the neighbour drew it fetches as slave, by the IDs that the neighbour tells it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use etsi014::client::{BaseUrl, Client, ClientError, Transport};
use etsi014::{Body, KeyContainer, KeyIds, KeyRequest, SaeId};
use http::{Request, Response};
use itu_y3803::{KeyId, KeySize, LinkId, QkdKey};
use relay_core::Input;
use tokio::runtime::Handle;
use transport::client::{ClientError as HttpsError, ClientOptions, HttpsClient};
use transport::tls::{self, TlsError};

use crate::config;
use crate::metrics::Metrics;
use crate::node::Node;

/// A module may not have yet what the other end's module gave out a moment ago (014-A-21).
const FETCH_PAUSES_MILLIS: [u64; 6] = [20, 50, 150, 400, 1000, 2500];

/// The QKD modules of this node.
#[derive(Clone, Debug)]
pub struct Modules {
    modules: Arc<RwLock<HashMap<LinkId, Arc<Module>>>>,
    metrics: Metrics,
    runtime: Handle,
}

#[derive(Debug)]
struct Module {
    client: Client<Https>,
    neighbour: SaeId,
    /// How many keys the module gives at once, as it last said.
    most_keys: AtomicUsize,
}

/// A module cannot be reached with these settings.
#[derive(Debug, thiserror::Error)]
#[error("link {link}: {problem}")]
pub struct ModuleError {
    link: LinkId,
    problem: Box<Problem>,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the URL of the QKD module is not usable: {0}")]
    Url(#[from] etsi014::client::InvalidBaseUrl),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Modules {
    /// Makes the clients for these links; nothing is connected yet.
    ///
    /// # Errors
    /// [`ModuleError`] for the first module whose settings are not usable.
    pub fn new(links: &[config::Link], keys_per_link_key: u32, metrics: Metrics, runtime: Handle) -> Result<Self, ModuleError> {
        let modules = Arc::new(RwLock::new(modules(links, keys_per_link_key)?));
        Ok(Self { modules, metrics, runtime })
    }

    /// Makes them anew, for certificates that have changed; calls under way go on.
    ///
    /// # Errors
    /// [`ModuleError`] for the first module whose settings are not usable; then nothing is changed.
    pub fn renew(&self, links: &[config::Link], keys_per_link_key: u32) -> Result<(), ModuleError> {
        let renewed = modules(links, keys_per_link_key)?;
        *self.modules.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    fn module(&self, link: &LinkId) -> Option<Arc<Module>> {
        self.modules.read().unwrap_or_else(PoisonError::into_inner).get(link).cloned()
    }

    /// Asks for new keys, and tells the node the outcome.
    pub fn draw(&self, node: &Node, link: LinkId, number: u32, size: KeySize) {
        let (node, metrics) = (node.clone(), self.metrics.clone());
        let Some(module) = self.module(&link) else {
            return node.input(Input::Drawn { link, keys: Vec::new() });
        };
        self.runtime.spawn(async move {
            let keys = match module.draw(number, size).await {
                Ok(keys) => {
                    metrics.module_call(link.as_str(), "enc_keys", if keys.is_empty() { "too few" } else { "keys" });
                    keys
                }
                Err(error) => {
                    metrics.module_call(link.as_str(), "enc_keys", "failed");
                    tracing::debug!(%link, %error, "the QKD module gave no keys");
                    Vec::new()
                }
            };
            node.input(Input::Drawn { link, keys });
        });
    }

    /// Asks for keys that the other end drew, and tells the node the outcome.
    pub fn fetch(&self, node: &Node, link: LinkId, key: KeyId, qkd_keys: Vec<KeyId>) {
        let (node, metrics) = (node.clone(), self.metrics.clone());
        let Some(module) = self.module(&link) else {
            return node.input(Input::Fetched { link, key, keys: Vec::new() });
        };
        self.runtime.spawn(async move {
            let keys = match module.fetch(&qkd_keys).await {
                Ok(keys) => {
                    metrics.module_call(link.as_str(), "dec_keys", "keys");
                    keys
                }
                Err(error) => {
                    metrics.module_call(link.as_str(), "dec_keys", "failed");
                    tracing::warn!(%link, %error, "the QKD module does not have the keys that the other end drew");
                    Vec::new()
                }
            };
            node.input(Input::Fetched { link, key, keys });
        });
    }
}

fn modules(links: &[config::Link], keys_per_link_key: u32) -> Result<HashMap<LinkId, Arc<Module>>, ModuleError> {
    let module = |link: &config::Link| match Module::new(link, keys_per_link_key) {
        Ok(module) => Ok((link.id.clone(), Arc::new(module))),
        Err(problem) => Err(ModuleError { link: link.id.clone(), problem: Box::new(problem) }),
    };
    links.iter().map(module).collect()
}

impl Module {
    fn new(link: &config::Link, keys_per_link_key: u32) -> Result<Self, Problem> {
        let module = &link.module;
        let tls = tls::northbound_client(Some(&module.tls.credentials()), &module.tls.trust(), &tls::Northbound::default())?;
        let expected_identity = module.kme_id.as_ref().map(|id| (module.kme_id_from.clone(), id.as_str().to_owned()));
        if expected_identity.is_none() {
            tracing::warn!(link = %link.id, "any_kme_id: whoever has a certificate for the host may pose as the QKD module");
        }
        let options = ClientOptions {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            body_octets: 4 << 20,
            expected_identity,
            ..ClientOptions::default()
        };
        let client = Client::new(BaseUrl::parse(&module.url)?, Https(HttpsClient::new(tls, options)));
        let most_keys = AtomicUsize::new(keys_per_link_key as usize);
        Ok(Self { client, neighbour: link.peer_as_sae.clone(), most_keys })
    }

    /// All there is, up to `number`: the node keeps what is too little for a link key until there is more.
    async fn draw(&self, number: u32, size: KeySize) -> Result<Vec<QkdKey>, ClientError<HttpsError>> {
        let status = self.client.status(&self.neighbour).await?;
        let mut missing = status.stored_key_count.min(u64::from(number)) as u32;
        // There are modules that say 0 and mean nothing by it (014-A-37), and such that give one key at a time.
        let most = u32::try_from(status.max_key_per_request).unwrap_or(u32::MAX);
        let most = if most == 0 { missing } else { most };
        self.most_keys.store(most as usize, Ordering::Relaxed);
        let mut keys = Vec::new();
        while let Some(number) = NonZeroU32::new(missing.min(most)) {
            match self.client.get_key(&self.neighbour, KeyRequest::new(number, size)).await {
                Ok(more) => keys.extend(qkd_keys(more)),
                Err(error) if keys.is_empty() => return Err(error),
                // What there is, is used; the rest comes with the next draw.
                Err(_) => break,
            }
            missing -= number.get();
        }
        Ok(keys)
    }

    async fn fetch(&self, ids: &[KeyId]) -> Result<Vec<QkdKey>, ClientError<HttpsError>> {
        let most = self.most_keys.load(Ordering::Relaxed).max(1);
        let mut keys = Vec::with_capacity(ids.len());
        for ids in ids.chunks(most) {
            keys.extend(self.fetch_at_once(ids).await?);
        }
        Ok(keys)
    }

    async fn fetch_at_once(&self, ids: &[KeyId]) -> Result<Vec<QkdKey>, ClientError<HttpsError>> {
        let mut pauses = FETCH_PAUSES_MILLIS.into_iter().map(Duration::from_millis);
        loop {
            let wanted: KeyIds = ids.iter().map(|&id| id.into()).collect();
            match self.client.get_key_with_key_ids(&self.neighbour, wanted).await {
                Ok(keys) => return Ok(qkd_keys(keys)),
                Err(error) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }
}

fn qkd_keys(container: KeyContainer) -> Vec<QkdKey> {
    container.keys.into_iter().map(|key| QkdKey { id: key.id.into(), material: key.material }).collect()
}

/// The HTTPS client as a transport of the 014 client.
#[derive(Debug)]
struct Https(HttpsClient);

impl Transport for Https {
    type Error = HttpsError;

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, HttpsError> {
        let response = self.0.send(request.map(|body| Bytes::copy_from_slice(body.as_ref()))).await?;
        // The vector changes hands; nothing of it is copied.
        Ok(response.map(|mut body| Body::from(std::mem::take(&mut *body))))
    }
}
