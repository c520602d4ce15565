//! ETSI GS QKD 014 V1.1.1, the REST API by which a key management entity (KME) delivers keys of a QKD network to secure application
//! entities (SAE): both ends of it, on the types of the `http` crate.
//!
//! There is no socket, thread, async runtime, clock or random generator in here. A KME feeds requests from its HTTP server into
//! [`Call::decode`] and sends what [`Reply`] or [`Rejection`] become; an SAE puts its HTTPS client under [`Client`]. TLS and
//! certificates, hence who is calling, stay with them.
//!
//! ```
//! # use std::collections::HashMap;
//! # use std::convert::Infallible;
//! # use std::sync::Mutex;
//! use etsi014::*;
//! use http::{Request, Response};
//!
//! /// A KME for two SAEs: `red` draws keys, `blue` fetches them.
//! struct Kme {
//!     limits: Limits,
//!     keys: Mutex<HashMap<KeyId, (SaeId, Vec<SaeId>, KeyMaterial)>>,
//! }
//!
//! impl Kme {
//!     /// `caller` is who the TLS certificate says.
//!     fn handle(&self, caller: &SaeId, call: Call) -> Result<Reply, Rejection> {
//!         let mut keys = self.keys.lock().map_err(|_| Rejection::unavailable("key data access error"))?;
//!         match call {
//!             Call::GetStatus(GetStatus { slave }) => {
//!                 # let kme = |id| KmeId::new(id).map_err(|_| Rejection::unavailable("no KME ID"));
//!                 let parties = Parties { source_kme: kme("north")?, target_kme: kme("south")?, master: caller.clone(), slave };
//!                 Ok(Reply::Status(self.limits.status(parties, 0, 1000)))
//!             }
//!             Call::GetKey(call) => {
//!                 let order = self.limits.admit(caller, call)?; // number, size and slaves are in range from here on
//!                 let mut random = |octets: &mut [u8]| octets.fill(4); // a KME has a better source
//!                 let mut delivered = KeyContainer::default();
//!                 for number in 0..order.number().get() {
//!                     let id = itu_y3803::KeyId::from_octets(u128::from(number).to_be_bytes()).into();
//!                     let key = KeyMaterial::generate(order.size(), &mut random);
//!                     delivered.keys.push(Key::new(id, key.duplicate()));
//!                     keys.insert(id, (order.master().clone(), order.slaves().to_vec(), key));
//!                 }
//!                 Ok(Reply::Keys(delivered))
//!             }
//!             Call::GetKeyWithKeyIds(call) => {
//!                 let order = self.limits.admit_ids(caller, call)?;
//!                 let not_found = || Rejection::KeysNotFound { ids: order.ids().to_vec() };
//!                 for id in order.ids() {
//!                     let (master, slaves, _) = keys.get(id).ok_or_else(not_found)?;
//!                     if !slaves.contains(caller) {
//!                         return Err(Rejection::NotEntitled);
//!                     }
//!                     if master != order.master() {
//!                         return Err(not_found());
//!                     }
//!                 }
//!                 let taken = order.ids().iter().filter_map(|id| Some(Key::new(*id, keys.remove(id)?.2)));
//!                 Ok(Reply::Keys(taken.collect()))
//!             }
//!         }
//!     }
//! }
//!
//! /// Stands for HTTPS with the certificate of an SAE.
//! struct Connection<'k>(&'k Kme, SaeId);
//!
//! impl Transport for Connection<'_> {
//!     type Error = Infallible;
//!     async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
//!         Ok(answer(&request, Decoding::Lenient, |call| self.0.handle(&self.1, call)))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # fn block_on<F: Future>(future: F) -> F::Output {
//! #     match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
//! #         std::task::Poll::Ready(output) => output,
//! #         std::task::Poll::Pending => unreachable!("nothing to wait for"),
//! #     }
//! # }
//! # block_on(async {
//! let kme = Kme { limits: Limits::default(), keys: Mutex::default() };
//! let (red, blue) = (SaeId::new("red")?, SaeId::new("blue")?);
//! let at_red = Client::new(BaseUrl::parse("https://north.example:8443")?, Connection(&kme, red.clone()));
//! let at_blue = Client::new(BaseUrl::parse("https://south.example:8443")?, Connection(&kme, blue.clone()));
//!
//! let drawn = at_red.get_key(&blue, KeyRequest::default()).await?;
//! let ids: KeyIds = drawn.keys.iter().map(|key| key.id).collect(); // red tells blue, in its own way
//! let fetched = at_blue.get_key_with_key_ids(&red, ids.clone()).await?;
//! assert_eq!(drawn.keys[0].material.expose_secret(), fetched.keys[0].material.expose_secret());
//!
//! // a key is delivered once
//! let error = at_blue.get_key_with_key_ids(&red, ids).await.expect_err("the key is gone");
//! assert_eq!(error.to_string(), "the KME refused with status 400: one or more keys specified are not found on KME");
//! # Ok(()) })
//! # }
//! ```
//!
//! # Modules
//!
//! * [`id`]: SAE, KME and key identifiers;
//! * [`message`]: the data formats, and [`decode`]: how strictly they are read;
//! * [`call`]: the three methods as values;
//! * [`server`] and [`limits`]: the KME's end; [`client`]: the SAE's end;
//! * [`body`]: HTTP bodies that are wiped;
//! * `openapi` (with the feature of that name): the OpenAPI document.
//!
//! # Secrets
//!
//! Keys are [`KeyMaterial`], bodies are [`Body`]; both wipe what they held. Encoding writes into one buffer of the exact size, decoding
//! goes from the body straight into the key. No error, `Debug` or `Display` of this crate has text from a body that may hold keys.
//!
//! # Requirements
//!
//! Ids such as `014-6.4-06` number the requirements of the standard by clause, ids such as `014-A-29` the questions it leaves open.
//! `REQUIREMENTS.md` says for each of the former where it is met and tested.

pub mod body;
pub mod call;
pub mod client;
pub mod decode;
mod encode;
pub mod id;
pub mod limits;
mod mandated;
mod media_type;
pub mod message;
#[cfg(feature = "openapi")]
pub mod openapi;
mod percent;
pub mod server;

pub use body::Body;
pub use call::{GetKey, GetKeyWithKeyIds, GetStatus, PATH_PREFIX};
pub use client::{BaseUrl, CallError, Client, ClientError, Form, Operation, Transport};
pub use decode::{DecodeError, Decoding, Object};
pub use id::{KeyId, KmeId, SaeId};
pub use itu_y3803::{KeyMaterial, KeySize};
pub use limits::{IdOrder, Limits, Order, Parties};
pub use message::{ErrorBody, Key, KeyContainer, KeyIds, KeyRequest, RequestedKey, Status};
pub use server::{Call, Rejection, Reply, answer};
