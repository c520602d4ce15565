//! Who a certificate names: the SAE ID or KME ID in it (GS QKD 014 clause 5.1: 014-5.1-05, 014-5.1-08).
//!
//! The standard does not say which field of the certificate carries the ID, so it is a setting: [`IdentitySource`].

use serde::Deserialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest identity taken from a certificate, in octets.
pub const MAX_IDENTITY_OCTETS: usize = 512;

/// The certificate field that carries the ID.
///
/// In a TOML file: `identity = "common_name"`, `identity = "san_dns"` or
/// `identity = { san_uri = { prefix = "urn:qkd:sae:" } }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum IdentitySource {
    /// The URI in the subject alternative name that starts with `prefix`, octet for octet; what follows the prefix is
    /// percent-decoded and is the ID. Other URIs are ignored.
    SanUri {
        /// What the URI starts with, for instance `urn:qkd:sae:`.
        prefix: String,
    },
    /// The only DNS name in the subject alternative name. A wildcard is refused.
    ///
    /// Server certificates often hold several DNS names; those need another source.
    SanDns,
    /// The only common name of the subject.
    CommonName,
}

impl IdentitySource {
    /// The source for SAE certificates made by [`pki`](crate::pki): URI `urn:qkd:sae:<id>`.
    #[must_use]
    pub fn sae_uri() -> Self {
        Self::SanUri { prefix: SAE_URI_PREFIX.to_owned() }
    }

    /// The source for KME certificates made by [`pki`](crate::pki): URI `urn:qkd:kme:<id>`.
    #[must_use]
    pub fn kme_uri() -> Self {
        Self::SanUri { prefix: KME_URI_PREFIX.to_owned() }
    }

    /// Reads the identity from a DER certificate.
    ///
    /// The result is not empty, has at most [`MAX_IDENTITY_OCTETS`] and no control character. The certificate's validity is
    /// not looked at: that is the verifier's work in the handshake.
    ///
    /// # Errors
    /// [`IdentityError`] unless exactly one value matches.
    pub fn identify(&self, certificate: &[u8]) -> Result<String, IdentityError> {
        let (rest, certificate) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Malformed)?;
        if !rest.is_empty() {
            return Err(IdentityError::Malformed);
        }
        let identity = match self {
            Self::SanUri { prefix } => {
                let names = alternative_names(&certificate)?;
                let uris = names.iter().filter_map(|name| match name {
                    GeneralName::URI(uri) => uri.strip_prefix(prefix.as_str()),
                    _ => None,
                });
                percent_decoded(only(uris)?)?
            }
            Self::SanDns => {
                let names = alternative_names(&certificate)?;
                let hosts = names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(host) => Some(*host),
                    _ => None,
                });
                let host = only(hosts)?;
                if host.contains('*') {
                    return Err(IdentityError::Unusable);
                }
                host.to_owned()
            }
            Self::CommonName => {
                let name = only(certificate.subject().iter_common_name())?;
                name.as_str().map_err(|_| IdentityError::Unusable)?.to_owned()
            }
        };
        if identity.is_empty() || identity.len() > MAX_IDENTITY_OCTETS || identity.chars().any(char::is_control) {
            return Err(IdentityError::Unusable);
        }
        Ok(identity)
    }
}

/// What the SAN URI of an SAE starts with in certificates made by [`pki`](crate::pki).
pub const SAE_URI_PREFIX: &str = "urn:qkd:sae:";
/// What the SAN URI of a KME starts with in certificates made by [`pki`](crate::pki).
pub const KME_URI_PREFIX: &str = "urn:qkd:kme:";

/// Why a certificate gives no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The peer presented no certificate.
    #[error("no certificate was presented")]
    NoCertificate,
    /// The certificate, or its subject alternative name, cannot be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// No name of the wanted kind.
    #[error("the certificate holds no identity of the expected kind")]
    Missing,
    /// More than one name of the wanted kind: which one counts is not ours to guess.
    #[error("the certificate holds more than one identity of the expected kind")]
    Ambiguous,
    /// The name is empty, too long, holds a control character, is a wildcard, or is wrongly percent-encoded.
    #[error("the identity in the certificate is not usable")]
    Unusable,
}

fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a [GeneralName<'a>], IdentityError> {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => {
            let names = &extension.value.general_names;
            if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
                return Err(IdentityError::Malformed);
            }
            Ok(names)
        }
        Ok(None) => Err(IdentityError::Missing),
        Err(_) => Err(IdentityError::Malformed),
    }
}

fn only<T>(mut values: impl Iterator<Item = T>) -> Result<T, IdentityError> {
    let first = values.next().ok_or(IdentityError::Missing)?;
    if values.next().is_some() {
        return Err(IdentityError::Ambiguous);
    }
    Ok(first)
}

fn percent_decoded(text: &str) -> Result<String, IdentityError> {
    let mut octets = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let hex = |octets: &mut std::str::Bytes<'_>| {
        octets.next().and_then(|octet| char::from(octet).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    while let Some(octet) = octets.next() {
        if octet == b'%' {
            let (Some(high), Some(low)) = (hex(&mut octets), hex(&mut octets)) else {
                return Err(IdentityError::Unusable);
            };
            decoded.push(high << 4 | low);
        } else {
            decoded.push(octet);
        }
    }
    String::from_utf8(decoded).map_err(|_| IdentityError::Unusable)
}
