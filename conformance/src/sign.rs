//! Ed25519 signatures, with keys as `openssl` writes them.

use std::fmt;
use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64ct::{Base64, Encoding};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use zeroize::Zeroizing;

/// A SubjectPublicKeyInfo up to the 32 octets of the key (RFC 8410).
const HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Whoever has it can sign.
pub(crate) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = Zeroizing::new(fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?);
        let wrong = "no Ed25519 key (PKCS #8, PEM); to make one: openssl genpkey -algorithm ed25519 -out KEY.pem";
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| format!("{}: {wrong}", path.display()))?;
        // openssl leaves the public key out.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| format!("{}: {wrong}", path.display()))
    }

    pub(crate) fn sign(&self, octets: &[u8]) -> Vec<u8> {
        self.0.sign(octets).as_ref().to_vec()
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().fingerprint())
    }
}

/// Tells whose signature one is.
#[derive(Debug)]
pub(crate) struct PublicKey(Vec<u8>);

impl PublicKey {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let wrong = |_| format!("{}: no Ed25519 public key (PEM); of KEY.pem: openssl pkey -in KEY.pem -pubout", path.display());
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&text).map_err(|_| wrong(()))?;
        match der.strip_prefix(&HEAD) {
            Some(key) if key.len() == 32 => Ok(Self(key.to_vec())),
            _ => Err(wrong(())),
        }
    }

    pub(crate) fn verify(&self, octets: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(octets, signature).is_ok()
    }

    pub(crate) fn pem(&self) -> String {
        let der = [HEAD.as_slice(), &self.0].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", Base64::encode_string(&der))
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) fn fingerprint(&self) -> String {
        format!("sha256:{}", crate::sha256(&[HEAD.as_slice(), &self.0].concat()))
    }
}
