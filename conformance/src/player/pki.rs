//! The certificates of a run: an authority, the KMEs' certificates, right and wrong, and one for each SAE.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::Site;
use super::scenario::Fault;
use crate::config::{IdField, Side};
use crate::pki::{keyless, private, public};
use crate::wire::{load_certificates, provider};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// See the module.
pub(crate) struct Pki {
    authority: Issuer<'static, KeyPair>,
    /// Same name, another key: nobody trusts it.
    stranger: Issuer<'static, KeyPair>,
    /// Of SAEs, also of those that bring certificates of their own.
    trusted: RootCertStore,
    folder: PathBuf,
    field: Option<IdField>,
    hosts: Vec<String>,
}

impl Pki {
    /// Makes, or finds (`ca.pem` and `ca.key`), the authority in `folder`; writes a certificate for each SAE there.
    ///
    /// `foreign`: PEM file of another authority whose SAEs are trusted.
    pub(crate) fn new(
        folder: &Path,
        site: &Site,
        field: Option<IdField>,
        saes: &[&str],
        foreign: Option<&Path>,
    ) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        let failed = |error: rcgen::Error| error.to_string();
        let name = "qkdspec player authority";
        let authority = match (certificate.exists(), key.exists()) {
            (true, true) => {
                let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
                let (pem, secret) = (read(&certificate)?, Zeroizing::new(read(&key)?));
                let secret = KeyPair::from_pem(&secret).map_err(|error| format!("{}: {error}", key.display()))?;
                Issuer::from_ca_cert_pem(&pem, secret).map_err(|error| format!("{}: {error}", certificate.display()))?
            }
            (true, false) => return Err(keyless(folder)),
            (false, true) => {
                return Err(format!("{} is there without ca.pem: it is not written over; name another folder", key.display()));
            }
            (false, false) => {
                let secret = KeyPair::generate().map_err(failed)?;
                let params = authority(name);
                public(&certificate, &params.self_signed(&secret).map_err(failed)?.pem())?;
                private(&key, &secret)?;
                Issuer::new(params, secret)
            }
        };
        let mut hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        hosts.extend(std::iter::once(&site.host).chain(&site.hosts).cloned());
        let stranger = Issuer::new(self::authority(name), KeyPair::generate().map_err(failed)?);
        let mut trusted = RootCertStore::empty();
        for path in [Some(certificate.as_path()), foreign].into_iter().flatten() {
            for root in load_certificates(path)? {
                trusted.add(root).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        let pki = Self { authority, stranger, trusted, folder: folder.to_owned(), field, hosts };
        for sae in saes {
            let mut params = leaf(sae, 365);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let secret = KeyPair::generate().map_err(failed)?;
            let signed = params.signed_by(&secret, &pki.authority).map_err(failed)?;
            let (certificate, key) = pki.of_sae(sae);
            public(&certificate, &signed.pem())?;
            private(&key, &secret)?;
        }
        Ok(pki)
    }

    /// The authority's certificate as a file.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key of an SAE as files.
    pub(crate) fn of_sae(&self, id: &str) -> (PathBuf, PathBuf) {
        let name: String = id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect();
        (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")))
    }

    /// How a KME of that fault makes its handshakes.
    pub(super) fn server(&self, side: Side, fault: Fault) -> Result<Arc<ServerConfig>, String> {
        let (certificate, key) = self.certificate(side, fault, &KeyPair::generate().map_err(|error| error.to_string())?)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if fault == Fault::NoCertificateRequest {
            builder.with_no_client_auth()
        } else {
            // Whoever brings none is answered 401, so that it is seen what he asks for.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.trusted.clone()), provider());
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().map_err(|error| error.to_string())?)
        };
        let mut config = builder.with_single_cert(vec![certificate], key).map_err(|error| error.to_string())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if fault == Fault::EarlyData {
            config.max_early_data_size = 16 * 1024;
        }
        Ok(Arc::new(config))
    }

    /// A certificate with an RSA key, for old handshakes.
    pub(super) fn old(&self, side: Side) -> Result<CertificateDer<'static>, String> {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).map_err(|error| error.to_string())?;
        self.certificate(side, Fault::Tls11, &key).map(|(certificate, _)| certificate)
    }

    fn certificate(
        &self,
        side: Side,
        fault: Fault,
        key: &KeyPair,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), String> {
        let failed = |error: rcgen::Error| error.to_string();
        let id = if matches!(fault, Fault::OtherKmeId | Fault::OtherHost) { "kme-elsewhere" } else { kme_id(side) };
        let mut params = leaf(id, 30);
        if fault == Fault::Expired {
            let now = SystemTime::now();
            (params.not_before, params.not_after) = ((now - 30 * DAY).into(), (now - DAY).into());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        let dns = |name: &str| name.try_into().map(SanType::DnsName).map_err(failed);
        match fault {
            Fault::OtherHost => params.subject_alt_names.push(dns("kme-elsewhere.invalid")?),
            _ => {
                for host in &self.hosts {
                    params.subject_alt_names.push(host.parse().map(SanType::IpAddress).or_else(|_| dns(host))?);
                }
            }
        }
        match &self.field {
            Some(IdField::SanDns) => params.subject_alt_names.push(dns(id)?),
            Some(IdField::SanUri(prefix)) => {
                let uri = format!("{prefix}{id}");
                params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().map_err(failed)?));
            }
            Some(IdField::CommonName) | None => {}
        }
        let issuer = if fault == Fault::UnknownAuthority { &self.stranger } else { &self.authority };
        let signed = params.signed_by(key, issuer).map_err(failed)?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((signed.der().clone(), secret))
    }
}

/// The KMEs' names.
pub(crate) fn kme_id(side: Side) -> &'static str {
    match side {
        Side::A => "kme-a",
        Side::B => "kme-b",
    }
}

fn leaf(name: &str, days: u32) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + days * DAY).into());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = leaf(name, 365);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}
