//! ETSI GS QKD 014 V1.1.1, the REST API by which a key management entity (KME) delivers keys of a QKD network to secure application
//! entities (SAE): both ends of it, on the types of the `http` crate.
//!
//! There is no socket, thread, async runtime, clock or random generator in here. A KME feeds requests from its HTTP server into
//! [`Call::decode`] and sends what [`Reply`] or [`Rejection`] become; an SAE puts its HTTPS client under [`Client`]. TLS and
//! certificates, hence who is calling, stay with them.
//!
//! ```
//! use std::collections::HashMap;
//! use std::convert::Infallible;
//! use std::sync::Mutex;
//!
//! use etsi014::*;
//! use http::{Request, Response};
//!
//! /// A KME for two SAEs: `red` draws keys, `blue` fetches them.
//! struct Kme {
//!     id: KmeId,
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
//!                 let (source_kme, target_kme) = (self.id.clone(), self.id.clone());
//!                 let parties = Parties { source_kme, target_kme, master: caller.clone(), slave };
//!                 Ok(Reply::Status(self.limits.status(parties, 0, 1000)))
//!             }
//!             Call::GetKey(call) => {
//!                 let order = self.limits.admit(caller, call)?; // number, size and slaves are in range from here on
//!                 let mut delivered = KeyContainer::default();
//!                 for _ in 0..order.number().get() {
//!                     let mut id = [0; 16];
//!                     random(&mut id);
//!                     let id = KeyId::from_octets(id);
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
//! /// Only looks random: a KME takes its keys from QKD, or from a generator that is fit for keys.
//! fn random(octets: &mut [u8]) {
//!     static NEXT: Mutex<u64> = Mutex::new(0);
//!     let mut next = NEXT.lock().expect("no panic while it is held");
//!     for octet in octets {
//!         *next = next.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
//!         *octet = (*next >> 56) as u8;
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
//! async fn show() -> Result<(), Box<dyn std::error::Error>> {
//!     // One slave for a key: `handle` forgets a key when the first slave has it.
//!     let limits = Limits::default().with_max_additional_slaves(0);
//!     let kme = Kme { id: KmeId::new("north")?, limits, keys: Mutex::default() };
//!     let (red, blue) = (SaeId::new("red")?, SaeId::new("blue")?);
//!     let at_red = Client::new(BaseUrl::parse("https://north.example:8443")?, Connection(&kme, red.clone()));
//!     let at_blue = Client::new(BaseUrl::parse("https://north.example:8443")?, Connection(&kme, blue.clone()));
//!
//!     let drawn = at_red.get_key(&blue, KeyRequest::default()).await?;
//!     let another = at_red.get_key(&blue, KeyRequest::default()).await?;
//!     assert_ne!(drawn.keys[0].id, another.keys[0].id);
//!
//!     let ids: KeyIds = drawn.keys.iter().map(|key| key.id).collect(); // red tells blue, in its own way
//!     let fetched = at_blue.get_key_with_key_ids(&red, ids.clone()).await?;
//!     assert_eq!(drawn.keys[0].material.expose_secret(), fetched.keys[0].material.expose_secret());
//!
//!     // a key is delivered once
//!     let error = at_blue.get_key_with_key_ids(&red, ids).await.expect_err("the key is gone");
//!     assert_eq!(error.to_string(), "the KME refused with status 400: one or more keys specified are not found on KME");
//!     Ok(())
//! }
//!
//! fn main() {
//!     // Nothing in `show` ever waits, so no async runtime is needed here.
//!     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
//!     let shown = std::pin::pin!(show()).poll(&mut context);
//!     assert!(matches!(shown, std::task::Poll::Ready(Ok(()))));
//! }
//! ```
//!
//! In a crate of your own this needs `etsi014 = { package = "qkms-etsi014", … }` and `http = "1"`. Behind a real server, with hyper: the
//! program [`examples/embed`](https://github.com/qkms/qkms/tree/main/examples/embed) of the repository.
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
