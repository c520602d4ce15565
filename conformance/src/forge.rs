//! Certificates that say they are an SAE's and are not; and the names in a certificate.

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::config::IdField;
use crate::wire::Credentials;

/// A certificate with the names of `original` and of its issuer, signed with a key that nobody knows.
pub(crate) fn look_alike(original: &CertificateDer<'_>) -> Result<Credentials, String> {
    let parsed = parse(original)?;
    let authority_key = key()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = same_name(parsed.issuer());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(authority, authority_key);
    let own = key()?;
    let signed = leaf(&parsed)?.signed_by(&own, &issuer).map_err(|error| error.to_string())?;
    Ok(credentials(signed.der().clone(), &own))
}

/// A certificate with the names of `original`, signed with its own key.
pub(crate) fn self_signed(original: &CertificateDer<'_>) -> Result<Credentials, String> {
    let own = key()?;
    let signed = leaf(&parse(original)?)?.self_signed(&own).map_err(|error| error.to_string())?;
    Ok(credentials(signed.der().clone(), &own))
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

fn leaf(original: &X509Certificate<'_>) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = same_name(original.subject());
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let alternative = original.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        let ascii = |text: &str| text.try_into().map_err(|error: rcgen::Error| error.to_string());
        match name {
            GeneralName::DNSName(host) => params.subject_alt_names.push(SanType::DnsName(ascii(host)?)),
            GeneralName::URI(uri) => params.subject_alt_names.push(SanType::URI(ascii(uri)?)),
            GeneralName::RFC822Name(mail) => params.subject_alt_names.push(SanType::Rfc822Name(ascii(mail)?)),
            _ => {}
        }
    }
    Ok(params)
}

fn same_name(name: &X509Name<'_>) -> DistinguishedName {
    let mut same = DistinguishedName::new();
    for attribute in name.iter_attributes() {
        let kind = match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.3" => DnType::CommonName,
            "2.5.4.6" => DnType::CountryName,
            "2.5.4.7" => DnType::LocalityName,
            "2.5.4.8" => DnType::StateOrProvinceName,
            "2.5.4.10" => DnType::OrganizationName,
            "2.5.4.11" => DnType::OrganizationalUnitName,
            _ => continue,
        };
        if let Ok(text) = attribute.as_str() {
            same.push(kind, text);
        }
    }
    same
}

fn credentials(certificate: CertificateDer<'static>, key: &KeyPair) -> Credentials {
    Credentials { chain: vec![certificate], key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) }
}
