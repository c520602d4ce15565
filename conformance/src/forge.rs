//! Certificates that say they are an SAE's and are not; and the names in a certificate.

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use x509_parser::extensions::{GeneralName, X509Extension};
use x509_parser::oid_registry::{OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::config::IdField;
use crate::wire::Credentials;

/// A certificate with all that `original` says of its subject and its issuer, signed with a key that nobody knows.
pub(crate) fn look_alike(original: &CertificateDer<'_>) -> Result<Credentials, String> {
    forged(original, &key()?, &key()?, false)
}

/// A certificate with all that `original` says of its subject, signed with its own key.
pub(crate) fn self_signed(original: &CertificateDer<'_>) -> Result<Credentials, String> {
    let own = key()?;
    forged(original, &own, &own, true)
}

/// The original octet for octet, but for the public key, the signature, and what follows from them: whatever a KME knows an
/// SAE by, serial number or any attribute of a name, is in it.
fn forged(original: &CertificateDer<'_>, own: &KeyPair, signer: &KeyPair, own_issuer: bool) -> Result<Credentials, String> {
    let parsed = parse(original)?;
    let version = der(0xa0, &[0x02, 0x01, 0x02]);
    let serial = der(0x02, parsed.raw_serial());
    let issuer = if own_issuer { parsed.subject().as_raw() } else { parsed.issuer().as_raw() };
    let time = |time: &ASN1Time| match time.is_generalizedtime() {
        true => time.to_datetime().format(GENERALIZED).map(|text| der(0x18, text.as_bytes())),
        false => time.to_datetime().format(UTC).map(|text| der(0x17, text.as_bytes())),
    };
    let dates = [&parsed.validity().not_before, &parsed.validity().not_after].map(time);
    let dates = dates.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?.concat();
    let extensions = parsed.extensions().iter().filter(|extension| {
        // They name the keys of the original.
        ![OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_SUBJECT_KEY_IDENTIFIER].contains(&extension.oid)
    });
    let extensions: Vec<u8> = extensions.flat_map(extension).collect();
    let extensions = if extensions.is_empty() { Vec::new() } else { der(0xa3, &der(0x30, &extensions)) };
    let public = own.subject_public_key_info();
    let parts: [&[u8]; 8] =
        [&version, &serial, ECDSA_WITH_SHA256, issuer, &der(0x30, &dates), parsed.subject().as_raw(), &public, &extensions];
    let to_be_signed = der(0x30, &parts.concat());
    let signature = signer.sign(&to_be_signed).map_err(|error| error.to_string())?;
    let signature = der(0x03, &[&[0], signature.as_slice()].concat());
    let certificate = der(0x30, &[to_be_signed.as_slice(), ECDSA_WITH_SHA256, &signature].concat());
    Ok(credentials(CertificateDer::from(certificate), own))
}

/// The algorithm of the keys that are made here, as X.509 writes it.
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const UTC: &[BorrowedFormatItem<'_>] = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
const GENERALIZED: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]Z");

fn extension(extension: &X509Extension<'_>) -> Vec<u8> {
    let critical: &[u8] = if extension.critical { &[0x01, 0x01, 0xff] } else { &[] };
    let (oid, value) = (der(0x06, extension.oid.as_bytes()), der(0x04, extension.value));
    der(0x30, &[oid.as_slice(), critical, &value].concat())
}

/// A value of X.509: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|octet| *octet > 0).unwrap_or(length.len() - 1)..];
    let mut value = vec![tag];
    if content.len() > 127 {
        // A usize has 8 octets at most.
        value.push(0x80 | length.len() as u8);
    }
    value.extend_from_slice(length);
    value.extend_from_slice(content);
    value
}

/// The names a certificate has in that field; all of them if no field is given.
pub(crate) fn names(certificate: &[u8], field: Option<&IdField>) -> Result<Vec<String>, String> {
    let parsed = parse(certificate)?;
    let mut names = Vec::new();
    if matches!(field, None | Some(IdField::CommonName)) {
        names.extend(parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_owned));
    }
    let alternative = parsed.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match (name, field) {
            (GeneralName::DNSName(host), None | Some(IdField::SanDns)) => names.push((*host).to_owned()),
            (GeneralName::URI(uri), None) => names.push((*uri).to_owned()),
            (GeneralName::URI(uri), Some(IdField::SanUri(prefix))) => {
                names.extend(uri.strip_prefix(prefix.as_str()).map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Why a certificate is not valid now.
pub(crate) fn lapsed(certificate: &[u8]) -> Result<Option<String>, String> {
    let parsed = parse(certificate)?;
    let (now, validity) = (ASN1Time::now(), parsed.validity());
    Ok(if now > validity.not_after {
        Some(format!("the certificate has expired, on {}", validity.not_after))
    } else if now < validity.not_before {
        Some(format!("the certificate is not valid before {} (is this machine's clock right?)", validity.not_before))
    } else {
        None
    })
}

/// Why a refusal of that certificate of `[intruder]`, or an answer to it, would prove nothing. `enrolled` are those of the SAEs.
pub(crate) fn unfit(intruder: &str, certificate: &[u8], enrolled: &[&[u8]]) -> Result<Option<&'static str>, String> {
    let parsed = parse(certificate)?;
    let (now, validity) = (ASN1Time::now(), parsed.validity());
    let (early, late) = (now < validity.not_before, now > validity.not_after);
    let dates = match intruder {
        "expired" => (!late).then_some("has not expired"),
        "not_yet_valid" => (!early).then_some("is valid already"),
        _ if late => Some("has expired, too"),
        _ => early.then_some("is not yet valid, too"),
    };
    if dates.is_some() {
        return Ok(dates);
    }
    let own = names(certificate, None)?;
    let (mut names_one, mut is_one) = (false, false);
    for other in enrolled {
        let theirs = names(other, None)?;
        let same_subject = parsed.subject().as_raw() == parse(other)?.subject().as_raw();
        names_one |= same_subject || own.iter().any(|name| theirs.contains(name));
        is_one |= if own.is_empty() { same_subject } else { own.iter().all(|name| theirs.contains(name)) };
    }
    Ok(match intruder {
        "unenrolled" => is_one.then_some("names an SAE that is enrolled"),
        _ => (!names_one).then_some("names no SAE that is enrolled"),
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|error| format!("the certificate cannot be read: {error}"))
}

fn key() -> Result<KeyPair, String> {
    KeyPair::generate().map_err(|error| error.to_string())
}

fn credentials(certificate: CertificateDer<'static>, key: &KeyPair) -> Credentials {
    Credentials { chain: vec![certificate], key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, SanType, SerialNumber};

    use super::*;

    /// A certificate that says of its subject what KMEs may know an SAE by.
    fn original() -> CertificateDer<'static> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 25]), "example");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(authority, key().expect("a key"));
        let mut params = CertificateParams::default();
        for (oid, text) in [(&[2, 5, 4, 5][..], "7f-001"), (&[2, 5, 4, 46], "red"), (&[0, 9, 2342, 19200300, 100, 1, 1], "uid")] {
            params.distinguished_name.push(DnType::CustomDnType(oid.to_vec()), text);
        }
        params.serial_number = Some(SerialNumber::from_slice(&[0x91, 2, 3, 4, 5, 6, 7, 8]));
        let address = [192, 0, 2, 1].into();
        params.subject_alt_names = vec![SanType::IpAddress(address), SanType::DnsName("red".try_into().expect("ASCII"))];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![4, 3, 1, 2, 3])];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&key().expect("a key"), &issuer).expect("signed").der().clone()
    }

    #[test]
    fn whatever_an_sae_is_known_by_is_forged() {
        let original = original();
        let real = parse(&original).expect("it is read");
        for (forge, own_issuer) in [(look_alike as fn(&CertificateDer<'_>) -> _, false), (self_signed, true)] {
            let credentials = forge(&original).expect("forged");
            let forged = parse(&credentials.chain[0]).expect("it is read");
            assert_eq!(forged.raw_serial(), real.raw_serial());
            assert_eq!(forged.subject().as_raw(), real.subject().as_raw());
            assert_eq!(forged.validity(), real.validity());
            let issuer = if own_issuer { real.subject() } else { real.issuer() };
            assert_eq!(forged.issuer().as_raw(), issuer.as_raw());
            let said = |certificate: &X509Certificate<'_>| {
                let all =
                    certificate.extensions().iter().map(|extension| (extension.oid.to_id_string(), extension.value.to_vec()));
                let own_keys = ["2.5.29.14", "2.5.29.35"];
                all.filter(|(oid, _)| !own_keys.contains(&oid.as_str())).collect::<Vec<_>>()
            };
            assert!(said(&real).len() >= 3 && said(&forged) == said(&real));
            assert_ne!(forged.public_key().raw, real.public_key().raw);
        }
    }

    #[test]
    fn the_signature_is_that_of_the_own_key_or_of_nobody() {
        let original = original();
        let verified = |credentials: &Credentials| {
            let forged = parse(&credentials.chain[0]).expect("it is read");
            let point = forged.public_key().subject_public_key.data.to_vec();
            let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1, point);
            key.verify(forged.tbs_certificate.as_ref(), &forged.signature_value.data).is_ok()
        };
        assert!(verified(&self_signed(&original).expect("forged")));
        assert!(!verified(&look_alike(&original).expect("forged")));
    }

    #[test]
    fn lengths_are_written_as_x509_has_them() {
        assert_eq!(der(4, &[]), [4, 0]);
        assert_eq!(der(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(der(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }
}
