//! A folder with certificates and settings, removed afterwards, and requests over TLS.

#![allow(missing_docs, dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use etsi014::{Decoding, KeyContainer, KeyId};
use http::{Request, Response};
use transport::client::{ClientError, ClientOptions, HttpsClient};
use transport::identity::IdentitySource;
use transport::pki::{Leaf, Profile, write_pki};
use transport::tls::{Credentials, Northbound, Pem, Trust, northbound_client};
use zeroize::Zeroizing;

pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new folder with `ca.pem`, certificates for both devices and KMEs, and for a KME `east` that has nothing to do here;
    /// `stranger.pem` is in the name of north, but signed by nobody known.
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qkd-link-test-{}-{number}", std::process::id()));
        let named = |stem: &str| Profile::new(stem, Leaf::kme(stem));
        let mut profiles: Vec<Profile> = ["link-a", "link-b", "north", "south", "east"].map(named).into();
        profiles.push(Profile::new("stranger", Leaf::kme("north")).signed_by_stranger());
        write_pki(&path, "test authority", &profiles).expect("certificates");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes `link.toml`: `settings` and both ends, at any ports.
    pub(crate) fn settings(&self, settings: &str) -> PathBuf {
        let end = |name: &str, kme: &str| {
            format!(
                "[{name}]\nlisten = \"127.0.0.1:0\"\ndevice_id = \"link-{name}\"\nkme_id = \"{kme}\"\n\
                 certificate = \"link-{name}.pem\"\nkey = \"link-{name}.key\"\nca = \"ca.pem\"\n"
            )
        };
        let path = self.0.join("link.toml");
        fs::write(&path, format!("{settings}\n{}{}", end("a", "north"), end("b", "south"))).expect("a file");
        path
    }

    /// A client with the certificate `stem`, or without one.
    pub(crate) fn client(&self, stem: Option<&str>, device: &str) -> HttpsClient {
        let file = |name: String| Pem::file(self.0.join(name));
        let own = stem.map(|stem| Credentials { certificate: file(format!("{stem}.pem")), key: file(format!("{stem}.key")) });
        let trust = Trust::roots(file("ca.pem".into()));
        let tls = northbound_client(own.as_ref(), &trust, &Northbound::default()).expect("usable certificates");
        let expected_identity = Some((IdentitySource::kme_uri(), device.to_owned()));
        HttpsClient::new(tls, ClientOptions { expected_identity, ..ClientOptions::default() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn get(client: &HttpsClient, port: u16, path: &str) -> Result<Response<Zeroizing<Vec<u8>>>, ClientError> {
    let request = Request::get(format!("https://localhost:{port}/api/v1/keys/{path}")).body(Bytes::new()).expect("a request");
    client.send(request).await
}

pub(crate) async fn status(client: &HttpsClient, port: u16, path: &str) -> u16 {
    get(client, port, path).await.expect("an answer").status().as_u16()
}

pub(crate) async fn keys(client: &HttpsClient, port: u16, path: &str) -> Vec<(KeyId, Vec<u8>)> {
    let response = get(client, port, path).await.expect("an answer");
    assert_eq!(response.status(), 200, "{path}");
    let container = KeyContainer::decode(response.body(), Decoding::Strict).expect("a key container");
    container.keys.iter().map(|key| (key.id, key.material.expose_secret().to_vec())).collect()
}
