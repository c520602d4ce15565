//! The files that a configuration names: whether they can be read, and whether they hold what they should.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use transport::identity::IdentitySource;
use transport::tls::{self, Northbound};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::reader::{Document, Wrong};
use super::{Config, TlsFiles};

/// Notes files that cannot be opened.
pub(super) fn check_readable(config: &Config, document: &mut Document<'_>) {
    for user in users(config) {
        user.check_readable(document);
    }
}

/// Notes files that cannot be opened, certificates and keys that do not go together or are not valid today, and
/// certificates of this KME without its KME ID.
pub(super) fn check_contents(config: &Config, document: &mut Document<'_>) {
    for user in users(config) {
        if user.check_readable(document) && user.check_usable(document) {
            user.check_own_certificate(config, document);
        }
    }
}

/// A section that names files for TLS.
struct User<'c> {
    section: String,
    authorities: &'static str,
    files: &'c TlsFiles,
    door: Door<'c>,
}

enum Door<'c> {
    Northbound,
    Kx(&'c IdentitySource),
    Module,
}

fn users(config: &Config) -> Vec<User<'_>> {
    let northbound = User {
        section: "northbound".to_owned(),
        authorities: "client_ca",
        files: &config.northbound.tls,
        door: Door::Northbound,
    };
    let kx = config.kx.as_ref().map(|kx| User {
        section: "kx".to_owned(),
        authorities: "ca",
        files: &kx.tls,
        door: Door::Kx(&kx.kme_id),
    });
    let modules = config.links.iter().enumerate().map(|(index, link)| User {
        section: format!("link[{index}].module"),
        authorities: "ca",
        files: &link.module.tls,
        door: Door::Module,
    });
    std::iter::once(northbound).chain(kx).chain(modules).collect()
}

impl User<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.section)
    }

    fn check_readable(&self, document: &mut Document<'_>) -> bool {
        let TlsFiles { certificate, key, ca, crl, .. } = self.files;
        let single = [("certificate", certificate), ("key", key)];
        let lists = ca.iter().map(|path| (self.authorities, path)).chain(crl.iter().map(|path| ("crl", path)));
        let mut all = true;
        for (setting, path) in single.into_iter().chain(lists) {
            if let Err(error) = open(path) {
                let fix = "write the path of an existing file; relative paths count from the folder of this file";
                let message = format!("`{setting}` names {}: {error}", path.display());
                document.note(&self.name(setting), Wrong::new(message, fix));
                all = false;
            }
        }
        all
    }

    /// Builds what the KME will build from these files.
    fn check_usable(&self, document: &mut Document<'_>) -> bool {
        let (own, trust) = (self.files.credentials(), self.files.trust());
        let built = match self.door {
            Door::Northbound => tls::northbound_server(&own, &trust, &Northbound::default()).map(drop),
            Door::Kx(_) => tls::inter_kme_server(&own, &trust).and_then(|_| tls::inter_kme_client(&own, &trust)).map(drop),
            Door::Module => tls::northbound_client(Some(&own), &trust, &Northbound::default()).map(drop),
        };
        let Err(error) = built else { return true };
        let (setting, fix) = match &error {
            tls::TlsError::KeyMismatch { .. } => ("key", "name the private key that belongs to the certificate"),
            tls::TlsError::BadPem { name, reason } => (self.setting_of(name, reason), "name a PEM file that holds it"),
            tls::TlsError::ForeignList { .. } => {
                ("crl", "name lists of the authorities only; if the list is right, name the authority that signed it, too")
            }
            tls::TlsError::NoList { .. } => ("crl", "name the list of this authority, too; one without any entry will do"),
            tls::TlsError::UnusableTrust { .. } => {
                (self.authorities, "name certificates of authorities and their revocation lists")
            }
            _ => ("certificate", "name a certificate and a key that TLS can use"),
        };
        document.note(&self.name(setting), Wrong::new(format!("`{setting}`: {error}"), fix));
        false
    }

    /// Which setting names this file. One file may be named by several: then what it lacks decides.
    fn setting_of(&self, file: &str, reason: &str) -> &'static str {
        let TlsFiles { certificate, key, ca, crl, .. } = self.files;
        let is = |path: &Path| path.display().to_string() == file;
        let any = |paths: &[PathBuf]| paths.iter().any(|path| is(path));
        let named = [
            ("certificate", is(certificate), "certificate"),
            (self.authorities, any(ca), "certificate"),
            ("crl", any(crl), "certificate revocation list"),
            ("key", is(key), "private key"),
        ];
        let mut by_name = named.into_iter().filter(|(_, is_named, _)| *is_named);
        let lacks = |contents: &str| reason.strip_prefix("holds no ") == Some(contents);
        let by_contents = by_name.clone().find(|(_, _, contents)| lacks(contents));
        by_contents.or_else(|| by_name.next()).map_or("certificate", |(setting, ..)| setting)
    }

    fn check_own_certificate(&self, config: &Config, document: &mut Document<'_>) {
        let name = self.name("certificate");
        let Ok(certificate) = CertificateDer::from_pem_file(&self.files.certificate) else {
            return document.note(&name, Wrong::new("`certificate` cannot be read", "name a PEM file that holds it"));
        };
        if let Ok((_, parsed)) = X509Certificate::from_der(&certificate)
            && !parsed.validity().is_valid()
        {
            let message =
                format!("the certificate is valid only from {} to {}", parsed.validity().not_before, parsed.validity().not_after);
            document.note(&name, Wrong::new(message, "get a new certificate, or set the clock"));
        }
        let kme_uri = IdentitySource::kme_uri();
        let source = match self.door {
            Door::Kx(source) => source,
            Door::Northbound | Door::Module => config.kx.as_ref().map_or(&kme_uri, |kx| &kx.kme_id),
        };
        let wrong = match source.identify(&certificate) {
            Ok(found) if found == config.kme.id.as_str() => return,
            Ok(found) => format!("the certificate names the KME `{}`, but this is `{}`", found.escape_debug(), config.kme.id),
            Err(error) => format!("no KME ID in the certificate: {error}"),
        };
        let fix =
            format!("name the certificate of `{}`, or correct [kme] id, or set [kx] kme_id to where the ID is", config.kme.id);
        document.note(&name, Wrong::new(wrong, fix));
    }
}

fn open(path: &Path) -> std::io::Result<()> {
    // A folder can be opened, but is no file.
    match File::open(path)?.metadata()?.is_dir() {
        true => Err(std::io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}
