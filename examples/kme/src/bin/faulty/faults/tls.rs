//! Transport and mutual authentication.

use std::sync::Arc;

use kme::serve::Door;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use transport::identity::IdentitySource;
use transport::tls::ServerTls;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::exchange::Operation;
use crate::fault::{Fault, Front};
use crate::front::{Kme, Side};
use crate::hello::{ENROLLED, Hello};
use crate::raw::{Greeting, Odd, serve};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M001", "serves the API in plain HTTP as well")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { plain: true, ..Odd::default() }))),
    Fault::new("M002", "closes after the ClientHello of a client that supports TLS 1.2 only, or TLS 1.3 only").front(
        |door, kme| {
            let greet = |hello: &Hello| match [0x0303, 0x0304].iter().all(|version| hello.versions.contains(version)) {
                true => Greeting::Usual,
                false => Greeting::Close,
            };
            Box::pin(serve(door, kme, Odd { greeting: Some(greet), ..Odd::default() }))
        },
    ),
    Fault::new("M003", "accepts TLS 1.0/1.1: answers with a ServerHello of that version").front(|door, kme| {
        let greet = |hello: &Hello| match hello.suites.first() {
            Some(suite) if hello.version < 0x0303 && hello.versions.is_empty() => Greeting::ServerHello(hello.version, *suite),
            _ => Greeting::Usual,
        };
        Box::pin(serve(door, kme, Odd { greeting: Some(greet), ..Odd::default() }))
    }),
    Fault::new("M004", "client certificate optional; anonymous gets Status")
        .door(|door, kme| verify(door, kme, |_, _, _, _| false, false))
        .front(RAW)
        .request(|_, asked| {
            if asked.caller.is_none() && asked.gets(Operation::Status) {
                asked.caller = Some(ENROLLED.to_owned());
            }
        }),
    Fault::new("M005", "checks issuer name only, not the signature").door(|door, kme| {
        let right_name = |lenient: &Lenient, leaf: &CertificateDer<'_>, error: &CertificateError, _: UnixTime| {
            let issuer = X509Certificate::from_der(leaf).map(|(_, leaf)| leaf.issuer().as_raw().to_vec());
            let known = issuer.is_ok_and(|issuer| lenient.inner.root_hint_subjects().iter().any(|name| name.as_ref() == issuer));
            known && matches!(error, CertificateError::BadSignature | CertificateError::UnknownIssuer)
        };
        verify(door, kme, right_name, true);
    }),
    Fault::new("M006", "ignores notAfter")
        .door(|door, kme| {
            verify(
                door,
                kme,
                |lenient, leaf, _, now| lenient.at(leaf, |from, until| (until < now.as_secs()).then_some(from)),
                true,
            )
        })
        .front(RAW),
    Fault::new("M007", "ignores notBefore")
        .door(|door, kme| {
            verify(door, kme, |lenient, leaf, _, now| lenient.at(leaf, |from, _| (from > now.as_secs()).then_some(from)), true)
        })
        .front(RAW),
    Fault::new("M008", "accepts self-signed client certificates").door(|door, kme| {
        let self_signed = |_: &Lenient, leaf: &CertificateDer<'_>, _: &CertificateError, _: UnixTime| {
            X509Certificate::from_der(leaf).is_ok_and(|(_, leaf)| leaf.issuer() == leaf.subject())
        };
        verify(door, kme, self_signed, true);
    }),
    Fault::new("M009", "never reads its revocation list").settings(|settings| drop(settings.northbound.remove("crl"))),
    Fault::new("M011", "ignores extended key usage").door(|door, kme| {
        let purpose = |_: &Lenient, _: &CertificateDer<'_>, error: &CertificateError, _: UnixTime| {
            matches!(error, CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. })
        };
        verify(door, kme, purpose, true);
    }),
    Fault::new("M012", "server certificate names another KME ID").settings(|settings| settings.certificate = "west"),
    Fault::new("M013", "identity cached by session ticket, not by certificate")
        .door(|door, _| {
            change(door, |config| {
                config.ticketer = Arc::new(Unreadable);
                config.send_tls13_tickets = 2;
            });
        })
        .front(|door, kme| Box::pin(serve(door, kme, Odd { identity_by_ticket: true, ..Odd::default() }))),
    Fault::new("M014", "accepts 0-RTT Get key")
        .door(|door, _| {
            change(door, |config| {
                config.session_storage = ServerSessionMemoryCache::new(256);
                config.send_tls13_tickets = 2;
                config.max_early_data_size = 16 * 1024;
            });
        })
        .front(RAW),
    Fault::new("M015", "enables anonymous suites: answers with a ServerHello that takes one").front(|door, kme| {
        let greet = |hello: &Hello| {
            let anonymous = hello.suites.iter().find(|suite| ANONYMOUS.contains(suite));
            let proper = hello.suites.iter().any(|suite| matches!(suite >> 8, 0x13 | 0xcc) || matches!(suite, 0xc02b..=0xc030));
            anonymous.filter(|_| !proper).map_or(Greeting::Usual, |suite| Greeting::ServerHello(0x0303, *suite))
        };
        Box::pin(serve(door, kme, Odd { greeting: Some(greet), ..Odd::default() }))
    }),
    Fault::new("B06", "refuses in the handshake not only bad certificates, but also good ones of SAEs that are not enrolled")
        .door(|door, kme| {
            let (identity, side) = (door.identity.clone(), kme.side);
            let only = reference_verifier(door, kme).map(|inner| {
                Arc::new(Lenient { inner, forgives: |_, _, _, _| false, only: Some((identity, side)), mandatory: true }) as _
            });
            rebuild(door, &[&TLS13, &TLS12], only);
        }),
    Fault::new("B04", "TLS 1.3 only").door(|door, kme| versions(door, kme, &[&TLS13])),
    Fault::new("B05", "TLS 1.2 only").door(|door, kme| versions(door, kme, &[&TLS12])),
];

/// The server of our own, for connections that the reference would end at once: those of certificates that are not valid now.
const RAW: Front = |door, kme| Box::pin(serve(door, kme, Odd::default()));

/// DH_anon and ECDH_anon.
const ANONYMOUS: [u16; 10] = [0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x00a6, 0x00a7, 0xc015, 0xc018, 0xc019];

/// Tells whether a certificate that is not right is to be accepted all the same.
type Forgives = fn(&Lenient, &CertificateDer<'_>, &CertificateError, UnixTime) -> bool;

/// Verifies as the reference, with one exception.
#[derive(Debug)]
struct Lenient {
    inner: Arc<dyn ClientCertVerifier>,
    forgives: Forgives,
    /// Lets in the SAEs of this KME only; absent: whoever has a good certificate.
    only: Option<(IdentitySource, Side)>,
    mandatory: bool,
}

impl Lenient {
    /// Whether the certificate is right at a time that `choose` finds in its validity, in seconds.
    fn at(&self, leaf: &CertificateDer<'_>, choose: impl Fn(u64, u64) -> Option<u64>) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return false };
        let validity = parsed.validity();
        let seconds = |time: &x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        let Some(time) = choose(seconds(&validity.not_before), seconds(&validity.not_after)) else { return false };
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time + 1));
        self.inner.verify_client_cert(leaf, &[], time).is_ok()
    }
}

impl ClientCertVerifier for Lenient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(leaf, intermediates, now) {
            Err(Error::InvalidCertificate(error)) if (self.forgives)(self, leaf, &error, now) => {
                Ok(ClientCertVerified::assertion())
            }
            Ok(_) if self.only.as_ref().is_some_and(|(identity, side)| !is_of(leaf, identity, *side)) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn is_of(leaf: &CertificateDer<'_>, identity: &IdentitySource, side: Side) -> bool {
    identity.identify(leaf).is_ok_and(|sae| Side::of(&sae) == Some(side))
}

/// Tickets that nobody can read, so that no session is resumed.
#[derive(Debug)]
struct Unreadable;

impl ProducesTickets for Unreadable {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = vec![0; 32];
        aws_lc_rs::rand::fill(&mut ticket).ok()?;
        Some(ticket)
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Changes what the library lets one change.
fn change(door: &mut Door, change: impl FnOnce(&mut ServerConfig)) {
    let mut config = (*door.tls.current()).clone();
    change(&mut config);
    door.tls = ServerTls::new(Arc::new(config));
}

fn verify(door: &mut Door, kme: &Kme, forgives: Forgives, mandatory: bool) {
    let verifier = reference_verifier(door, kme);
    rebuild(door, &[&TLS13, &TLS12], verifier.map(|inner| Arc::new(Lenient { inner, forgives, only: None, mandatory }) as _));
}

fn versions(door: &mut Door, kme: &Kme, versions: &[&'static SupportedProtocolVersion]) {
    let verifier = reference_verifier(door, kme);
    rebuild(door, versions, verifier);
}

/// As `transport` makes it, from the same files.
fn reference_verifier(door: &Door, kme: &Kme) -> Option<Arc<dyn ClientCertVerifier>> {
    let pki = kme.pair.dir.join("pki");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.join("ca.pem")).ok()?).ok()?;
    let list = CertificateRevocationListDer::from_pem_file(pki.join("crl.pem")).ok()?;
    let provider = door.tls.current().crypto_provider().clone();
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls([list]).build().ok()
}

/// The same server with another verifier. Without one nobody would be let in, which a test would notice at once.
fn rebuild(door: &mut Door, versions: &[&'static SupportedProtocolVersion], verifier: Option<Arc<dyn ClientCertVerifier>>) {
    let current = door.tls.current();
    let builder = ServerConfig::builder_with_provider(current.crypto_provider().clone()).with_protocol_versions(versions);
    let (Ok(builder), Some(verifier)) = (builder, verifier) else {
        tracing::error!("the TLS configuration of this fault cannot be made");
        return;
    };
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(current.cert_resolver.clone());
    config.alpn_protocols.clone_from(&current.alpn_protocols);
    config.session_storage.clone_from(&current.session_storage);
    config.send_tls13_tickets = 0;
    door.tls = ServerTls::new(Arc::new(config));
}
