//! How routers of a simulation authenticate their advertisements: all know one secret.

use hmac::{Hmac, KeyInit, Mac};
use itu_y3803::KmId;
use relay_core::routing::LsaAuth;
use sha2::Sha256;

/// HMAC-SHA-256 under a secret that is the same for all nodes, and so is good for a simulation only.
#[derive(Clone, Debug)]
pub struct SharedSecret(KmId);

impl SharedSecret {
    /// For advertisements of this node.
    #[must_use]
    pub fn new(id: &KmId) -> Self {
        Self(id.clone())
    }
}

fn mac(origin: &KmId, octets: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"for simulations only").expect("any length will do");
    mac.update(&[origin.as_str().len() as u8]);
    mac.update(origin.as_str().as_bytes());
    mac.update(octets);
    mac
}

impl LsaAuth for SharedSecret {
    fn tag(&mut self, octets: &[u8]) -> Vec<u8> {
        mac(&self.0, octets).finalize().into_bytes().to_vec()
    }

    fn verify(&mut self, origin: &KmId, octets: &[u8], tag: &[u8]) -> bool {
        mac(origin, octets).verify_slice(tag).is_ok()
    }
}
