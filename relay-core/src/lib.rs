//! The engine of a QKD key manager: link key is agreed with neighbours, turned into key for applications, and supplied,
//! each key to its parties and nobody else, once, the same at all ends.
//!
//! There is no socket, thread, clock or random generator in this crate. [`KeyManager`] takes in what happens and gives out
//! what is to be done:
//!
//! 1. Open it over a [`KeyStore`]: [`MemoryStore`], or one of your own that passes [`testing::store_suite`].
//! 2. Feed it [`Input`]s with the time: connections to neighbours, their messages, keys from QKD modules, requests.
//! 3. Poll [`Output`]s until there is none and do them: send, ask a module, answer a request. The first poll commits the
//!    store; what depends on a change is not seen before that.
//! 4. Feed [`Input::Timeout`] by [`poll_timeout`](KeyManager::poll_timeout) at the latest.
//!
//! Key for a node that is no neighbour is relayed over trusted nodes: name it in [`Config::distant`] and answer
//! [`Output::RouteWanted`], with [`routing::LinkStates::paths`] for instance. [`routing`] finds ways through a meshed network, [`shares`]
//! are the parts of a key that takes several, and [`scheme`] is the algebra of all relay schemes of ITU-T Y.3803, of which the
//! key manager uses R2.
//!
//! [`policy`] says on which terms two applications share key, also which ways it takes; the key manager keeps to it ([`Config::policy`]).
//! [`admission`] says whether the links of a path can feed one session more, [`allocation`] who gets how much of a pool, and
//! [`hybrid`] combines a QKD key with another one: the key manager does not use these yet.
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::Instant;
//!
//! use itu_y3803::{ApplicationId, KeySize, KmId, Parties, WallTime};
//! use relay_core::{Config, Input, KeyManager, MemoryStore, Now, OrderId, Output};
//!
//! // Two applications at one node; with a neighbour, messages would pass, too.
//! let north = KmId::new("north")?;
//! let (red, grey) = (ApplicationId::new("red")?, ApplicationId::new("grey")?);
//! let mut config = Config::new(north.clone());
//! config.applications = [(red.clone(), north.clone()), (grey.clone(), north)].into();
//!
//! let now = Now { instant: Instant::now(), wall: WallTime::from_millis(0) };
//! # let mut state = 1_u64;
//! # let random = move |out: &mut [u8]| for octet in out {
//! #     state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
//! #     *octet = (state >> 56) as u8;
//! # };
//! // `random` fills a slice from a cryptographic generator.
//! let mut manager = KeyManager::open(config, MemoryStore::default(), random, now)?;
//! let parties = Parties::new(red.clone(), vec![grey.clone()]).expect("one slave");
//! manager.handle_input(now, Input::Supply {
//!     order: OrderId(1),
//!     parties,
//!     number: NonZeroU32::MIN,
//!     size: KeySize::BITS_256,
//! })?;
//! let mut supplied = None;
//! while let Some(output) = manager.poll_output()? {
//!     if let Output::Supplied { keys, .. } = output {
//!         supplied = keys.into_iter().next();
//!     }
//! }
//! let for_red = supplied.expect("key of this node's own");
//!
//! manager.handle_input(now, Input::Collect { order: OrderId(2), slave: grey, master: red, keys: vec![for_red.id] })?;
//! while let Some(output) = manager.poll_output()? {
//!     if let Output::Supplied { keys, .. } = output {
//!         assert_eq!(keys[0].material.expose_secret(), for_red.material.expose_secret());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod admission;
pub mod allocation;
pub mod block;
pub mod encoding;
pub mod hybrid;
pub mod key_id;
pub mod lease;
pub mod manager;
pub mod pad;
pub mod policy;
pub mod routing;
pub mod scheme;
pub mod shares;
pub mod store;
pub mod testing;

pub use admission::Admission;
pub use allocation::Allocator;
pub use lease::Lease;
pub use manager::{
    Config, Entitlement, Event, Input, KeyManager, LinkAuthentication, LinkConfig, Misbehaviour, Now, OrderId, Output, Refusal,
    Ruling, Stopped, Use,
};
pub use pad::Pad;
pub use policy::Policy;
pub use scheme::{Relay, Scheme};
pub use shares::{Share, Sharing};
pub use store::{KeyStore, MemoryStore, Pool, StoredKey};
