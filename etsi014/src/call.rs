//! The three methods of the API as values, the same at both ends (014-5.1-11).

use crate::id::SaeId;
use crate::message::{KeyIds, KeyRequest};

/// What every path of the API begins with.
pub const PATH_PREFIX: &str = "/api/v1/keys/";

/// Get status (clause 5.2): what can the caller, as master, ask for this slave?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetStatus {
    /// The SAE that would receive the keys.
    pub slave: SaeId,
}

/// Get key (clause 5.3): the caller becomes the master of new keys that this slave may fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetKey {
    /// The SAE that shares the keys.
    pub slave: SaeId,
    /// How many keys, of what size, for whom else.
    pub request: KeyRequest,
}

/// Get key with key IDs (clause 5.4): the caller, as slave, fetches keys that this master was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetKeyWithKeyIds {
    /// The SAE that called Get key for the keys.
    pub master: SaeId,
    /// The keys.
    pub key_ids: KeyIds,
}
