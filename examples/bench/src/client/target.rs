//! Whom to ask, as whom, and the octets of requests.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use transport::tls::{self, Credentials, Northbound, Pem, Trust};

use super::Dialler;
use crate::failure::Failure;

/// Where the certificates are.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    /// The server.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// The folder of the certificates, as `kme pki` makes it.
    #[arg(long)]
    pub(crate) pki: PathBuf,
    /// The SAE in whose name to ask.
    #[arg(long = "as", default_value = "red")]
    pub(crate) sae: String,
}

impl TargetArguments {
    pub(crate) fn dialler(&self) -> Result<Dialler, Failure> {
        Ok(Dialler::new(self.address, self.client()?))
    }

    /// Without post-quantum key exchange.
    pub(crate) fn classical_dialler(&self) -> Result<Dialler, Failure> {
        let certificates = self.pem("pem");
        // The settings of the KME's own client, but for the groups.
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![kx_group::X25519];
        let mut roots = rustls::RootCertStore::empty();
        for root in read_certificates(&self.pki.join("ca.pem"))? {
            roots.add(root).map_err(|error| Failure::other(error.to_string()))?;
        }
        let key = fs::read(self.pem("key"))?;
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(&key).map_err(|error| Failure::other(format!("{error}")))?;
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                let certificates = read_certificates(&certificates).unwrap_or_default();
                builder.with_root_certificates(roots).with_client_auth_cert(certificates, key)
            });
        let mut config = config.map_err(|error| Failure::other(error.to_string()))?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Dialler::new(self.address, Arc::new(config)))
    }

    fn client(&self) -> Result<Arc<ClientConfig>, Failure> {
        let own = Credentials { certificate: Pem::file(self.pem("pem")), key: Pem::file(self.pem("key")) };
        let trust = Trust::roots(Pem::file(self.pki.join("ca.pem")));
        Ok(tls::northbound_client(Some(&own), &trust, &Northbound::default())?)
    }

    fn pem(&self, extension: &str) -> PathBuf {
        self.pki.join(format!("{}.{extension}", self.sae))
    }
}

/// A GET request.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// A POST request with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

fn read_certificates(path: &std::path::Path) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, Failure> {
    use rustls::pki_types::pem::PemObject;
    let pem = fs::read(path)?;
    let certificates = rustls::pki_types::CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    certificates.map_err(|error| Failure::other(format!("{}: {error}", path.display())))
}
