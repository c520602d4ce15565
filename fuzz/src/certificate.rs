//! Identities in certificates.

use transport::identity::{IdentitySource, MAX_IDENTITY_OCTETS};

use crate::Outcome;
use crate::check::holds_no_text;

/// DER certificates, each looked at for every kind of identity; accepted when one is found.
pub fn certificate(input: &[u8]) -> Outcome {
    let sources = [
        IdentitySource::sae_uri(),
        IdentitySource::kme_uri(),
        IdentitySource::SanUri { prefix: String::new() },
        IdentitySource::SanDns,
        IdentitySource::CommonName,
    ];
    let mut outcome = Outcome::Refused;
    for source in sources {
        match source.identify(input) {
            Ok(name) => {
                assert!(!name.is_empty() && name.len() <= MAX_IDENTITY_OCTETS && !name.contains(char::is_control));
                outcome = Outcome::Accepted;
            }
            Err(error) => holds_no_text(&error, input),
        }
    }
    outcome
}
