//! The vocabulary of key management in QKD networks, after ITU-T Y.3803: what a key is to a key manager (KM), and what two
//! KMs say to each other about it.
//!
//! This crate has data types only: no socket, clock, thread or random generator. ETSI GS QKD 004 and 014 are two ways to ask a
//! KM for a key, so the crates for them, and the engine that moves keys, stand on this one.
//!
//! * [`KeyMaterial`] is the only type that holds secret octets; [`KeySize`] counts **bits**.
//! * [`QkdKey`], [`KmaKey`] and [`KsaKey`] are the three kinds of key data of the Recommendation. A key moves from one kind to
//!   the next by value, so it cannot be used as two of them.
//! * [`KeyState`] is the life cycle, as a transition table.
//! * [`KmMessage`] is what one KM tells another (reference point Kx).
//!
//! ```
//! use itu_y3803::{KeyId, KeyMaterial, KmId, KmaKey, LinkId, QkdKey, WallTime};
//!
//! // Two keys arrive from the QKD module over Kq-1 …
//! let arrived = [1_u8, 2].map(|n| QkdKey {
//!     id: KeyId::from_octets([n; 16]),
//!     material: KeyMaterial::from_octets(vec![n; 32]).expect("whole octets"),
//! });
//! // … and the key management agent joins them to the unit it stores.
//! let stored = KmaKey::from_qkd_keys(
//!     KeyId::from_octets([9; 16]),
//!     KmId::new("south").unwrap(),
//!     LinkId::new("north-south").unwrap(),
//!     arrived,
//!     WallTime::from_millis(0),
//!     WallTime::from_millis(3_600_000),
//! )
//! .expect("two keys of whole octets");
//! assert_eq!(stored.material.size().bits(), 512);
//! ```
//!
//! Requirement ids such as `Y3803-9.1-02` name the rows of this project's digest of the Recommendation; they are not clause
//! numbers. `REQUIREMENTS.md` says for each whether it is met, where, and by which tests.

#![no_std]

extern crate alloc;

pub mod id;
pub mod key;
pub mod lifecycle;
pub mod message;
pub mod random;
pub mod record;
pub mod time;

pub use id::{ApplicationId, Incarnation, KeyId, KmId, LinkId};
pub use key::{KeyMaterial, KeySize};
pub use lifecycle::{KeyEvent, KeyState};
pub use message::{KmMessage, Parties};
pub use random::RandomSource;
pub use record::{KmaKey, KsaKey, Paths, QkdKey, SecrecyLabel};
pub use time::WallTime;
