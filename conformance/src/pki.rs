//! Throw-away certificates for a laboratory: an authority, SAEs, KMEs, and the certificates that ought to be refused.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const REVOKED: u64 = 0x5245_564f;

/// Makes `ca.pem`, `crl.pem`, and certificate and key (`NAME.pem`, `NAME.key`) of red, blue, green, grey, these KMEs, and of
/// all that `[intruder]` can name.
pub(crate) fn write(folder: &Path, kmes: &[&str]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let failed = |error: rcgen::Error| error.to_string();
    let now = SystemTime::now();
    let authority_key = KeyPair::generate().map_err(failed)?;
    let authority = authority(now);
    let certificate = authority.self_signed(&authority_key).map_err(failed)?;
    public(&folder.join("ca.pem"), &certificate.pem())?;
    private(&folder.join("ca.key"), &authority_key)?;
    let issuer = Issuer::new(authority.clone(), authority_key);
    let save = |name: &str, certificate: &rcgen::Certificate, key: &KeyPair| {
        public(&folder.join(format!("{name}.pem")), &certificate.pem())?;
        private(&folder.join(format!("{name}.key")), key)
    };
    let leaf = |name: &str, params: CertificateParams| {
        let key = KeyPair::generate().map_err(failed)?;
        save(name, &params.signed_by(&key, &issuer).map_err(failed)?, &key)
    };
    for sae in ["red", "blue", "green", "grey", "unenrolled"] {
        leaf(sae, client(sae, now - DAY, now + 365 * DAY)?)?;
    }
    // They name an enrolled SAE: nothing but the fault is a reason to refuse them.
    leaf("expired", client("red", now - 2 * DAY, now - DAY)?)?;
    leaf("not_yet_valid", client("red", now + 300 * DAY, now + 365 * DAY)?)?;
    let mut revoked = client("red", now - DAY, now + 365 * DAY)?;
    revoked.serial_number = Some(SerialNumber::from(REVOKED));
    leaf("revoked", revoked)?;
    let mut server_only = client("red", now - DAY, now + 365 * DAY)?;
    server_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf("no_client_auth", server_only)?;
    let year = client("red", now - DAY, now + 365 * DAY)?;
    let key = KeyPair::generate().map_err(failed)?;
    save("self_signed", &year.self_signed(&key).map_err(failed)?, &key)?;
    // Of another authority, which bears the same name.
    let (key, stranger) = (KeyPair::generate().map_err(failed)?, KeyPair::generate().map_err(failed)?);
    let stranger = Issuer::new(authority, stranger);
    save("lookalike", &year.signed_by(&key, &stranger).map_err(failed)?, &key)?;
    for &kme in kmes {
        let mut params = client(kme, now - DAY, now + 365 * DAY)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names.push(SanType::DnsName("localhost".try_into().map_err(failed)?));
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        leaf(kme, params)?;
    }
    let list = CertificateRevocationListParams {
        this_update: OffsetDateTime::from(now - DAY),
        next_update: OffsetDateTime::from(now + 365 * DAY),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: OffsetDateTime::from(now - DAY),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    public(&folder.join("crl.pem"), &list.signed_by(&issuer).and_then(|list| list.pem()).map_err(failed)?)
}

fn authority(now: SystemTime) -> CertificateParams {
    let mut authority = params("qkdspec laboratory authority", now - DAY, now + 365 * DAY);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority
}

fn params(name: &str, from: SystemTime, until: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = from.into();
    params.not_after = until.into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn client(id: &str, from: SystemTime, until: SystemTime) -> Result<CertificateParams, String> {
    let mut params = params(id, from, until);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::DnsName(id.try_into().map_err(|error: rcgen::Error| error.to_string())?)];
    Ok(params)
}

/// Why an authority without its key stays as it is: it is somebody's, and nothing could be signed with it.
pub(crate) fn keyless(folder: &Path) -> String {
    let file = folder.join("ca.pem");
    format!("{} is there without ca.key: it is of another authority, and not written over; name another folder", file.display())
}

pub(crate) fn public(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn private(path: &Path, key: &KeyPair) -> Result<(), String> {
    let text = Zeroizing::new(key.serialize_pem());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
