//! Requests of an SAE, as octets: nothing here knows what is allowed.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use transport::client::{ClientError, ClientOptions, HttpsClient};
use transport::tls::{self, Credentials, Pem, Trust};

use super::{PATIENCE, eventually};

/// A client with a certificate, or without.
#[derive(Clone, Debug)]
pub(crate) struct Sae {
    pub(crate) id: String,
    http: HttpsClient,
    tls: Arc<ClientConfig>,
    port: u16,
}

/// What came back.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Sae {
    pub(crate) fn new(pki: &Path, stem: Option<&str>, id: &str, port: u16) -> Self {
        let file = |name: String| Pem::file(pki.join(name));
        let own = stem.map(|stem| Credentials { certificate: file(format!("{stem}.pem")), key: file(format!("{stem}.key")) });
        let trust = Trust::roots(file("ca.pem".into()));
        let tls = tls::northbound_client(own.as_ref(), &trust, &tls::Northbound::default()).expect("usable certificates");
        Self { id: id.to_owned(), http: Self::fresh(&tls), tls, port }
    }

    /// The same, on new connections.
    pub(crate) fn reconnected(&self) -> Self {
        Self { http: Self::fresh(&self.tls), ..self.clone() }
    }

    fn fresh(tls: &Arc<ClientConfig>) -> HttpsClient {
        let options = ClientOptions { request: Duration::from_secs(60), ..ClientOptions::default() };
        HttpsClient::new(Arc::clone(tls), options)
    }

    /// Any request, `path` from the root on.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("https://127.0.0.1:{}{path}", self.port));
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let response = self.http.send(request.body(body.into()).expect("a request")).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_vec() })
    }

    /// `path` from `/api/v1/keys/` on.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, &format!("/api/v1/keys/{path}"), None, Bytes::new()).await
    }

    pub(crate) async fn try_post(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, ClientError> {
        self.send(Method::POST, &format!("/api/v1/keys/{path}"), Some("application/json"), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|error| panic!("{} GET {path}: {error}", self.id))
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_post(path, body).await.unwrap_or_else(|error| panic!("{} POST {path}: {error}", self.id))
    }

    /// Get status, which succeeds.
    pub(crate) async fn status(&self, slave: &str) -> Value {
        let answer = self.get(&format!("{slave}/status")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn stored(&self, slave: &str) -> u64 {
        self.status(slave).await["stored_key_count"].as_u64().expect("a number")
    }

    /// How much is stored, once there is something and it does not change any more.
    pub(crate) async fn stored_when_steady(&self, slave: &str) -> u64 {
        eventually("keys", async || Some(self.stored(slave).await).filter(|stored| *stored > 0)).await;
        self.stored_when_steady_or_none(slave).await
    }

    pub(crate) async fn stored_when_steady_or_none(&self, slave: &str) -> u64 {
        let (mut last, mut times) = (0, 0);
        eventually("as much stored as before", async || {
            let stored = self.stored(slave).await;
            times = if stored == last { times + 1 } else { 0 };
            last = stored;
            tokio::time::sleep(Duration::from_millis(100)).await;
            (times > 10).then_some(stored)
        })
        .await
    }

    /// Get key with this Key request, until there are enough.
    pub(crate) async fn draw(&self, slave: &str, request: Value) -> Vec<(String, String)> {
        let begun = Instant::now();
        let answer = loop {
            let answer = self.post(&format!("{slave}/enc_keys"), request.to_string()).await;
            if answer.status != 503 || begun.elapsed() > PATIENCE {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(answer.status, 200, "{} {request}: {answer:?}", self.id);
        answer.keys()
    }

    /// Get key with key IDs.
    pub(crate) async fn collect(&self, master: &str, ids: &[&str]) -> Answer {
        self.post(&format!("{master}/dec_keys"), key_ids(ids)).await
    }

    /// A TLS connection for octets of any kind.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let host = "127.0.0.1".try_into().expect("a name");
        let shaken = TlsConnector::from(Arc::clone(&self.tls)).connect(host, stream);
        tokio::time::timeout(PATIENCE, shaken).await.expect("in time").expect("a handshake")
    }

    /// Sends these octets on a connection of its own, and reads what comes until the KME closes it.
    pub(crate) async fn exchange(&self, octets: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // The KME may have enough of it before it has all.
        let _ = stream.write_all(octets.as_ref()).await;
        let _ = stream.flush().await;
        read_to_end(&mut stream).await
    }
}

/// What comes until the KME closes the connection, in whatever way.
pub(crate) async fn read_to_end(stream: &mut TlsStream<TcpStream>) -> String {
    let mut read = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    assert!(closed.is_ok(), "not closed in time, after {:?}", String::from_utf8_lossy(&read));
    String::from_utf8_lossy(&read).into_owned()
}

/// A body for Get key with key IDs.
pub(crate) fn key_ids(ids: &[&str]) -> String {
    let ids: Vec<Value> = ids.iter().map(|id| json!({ "key_ID": id })).collect();
    json!({ "key_IDs": ids }).to_string()
}

impl fmt::Debug for Answer {
    /// Shows no keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = if self.status == 200 { "…".into() } else { String::from_utf8_lossy(&self.body) };
        write!(f, "{} {body}", self.status)
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }

    /// The message of an Error body.
    pub(crate) fn message(&self) -> String {
        let media_type = self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(media_type.starts_with("application/json"), "{self:?}");
        self.json()["message"].as_str().unwrap_or_else(|| panic!("a message: {self:?}")).to_owned()
    }

    /// ID and base64 of each key of a Key container.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 200, "{self:?}");
        let container = self.json();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        container["keys"].as_array().expect("keys").iter().map(|key| (text(&key["key_ID"]), text(&key["key"]))).collect()
    }
}
