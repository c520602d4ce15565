//! The client of one KME.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etsi014::{BaseUrl, Body, Client, ClientError, Decoding, Form, KeyContainer, KeyIds, KeyRequest, SaeId, Status, Transport};
use http::{Request, Response};
use transport::client::{ClientError as NoAnswer, ClientOptions, HttpsClient, ServerFacts};
use transport::identity::IdentitySource;
use transport::tls::{self, Credentials, Northbound, TlsError, Trust};

/// Which KME to talk to, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the KME serves the API.
    pub kme: BaseUrl,
    /// The SAE's certificate, which says who it is (014-5.1-08), and its private key.
    pub credentials: Credentials,
    /// Who may vouch for the KME (014-5.1-04).
    pub trust: Trust,
    /// The KME ID, and where the KME's certificate carries it (014-5.1-05). Without it only the host name is compared, which leaves
    /// 014-5.1-06 to whoever gives out certificates with that name.
    pub kme_id: Option<(IdentitySource, String)>,
    /// Time for a whole request, connecting included.
    pub timeout: Duration,
}

/// A call without the wanted result: no answer, a refusal, or an answer that is not one to this call.
pub type CallFailure = ClientError<NoAnswer>;

/// An SAE's client of one KME. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SaeClient {
    client: Client<Https>,
}

impl SaeClient {
    /// A client that uses POST for the key methods and decodes leniently. Nothing is sent yet.
    ///
    /// # Errors
    /// [`TlsError`], naming the file at fault.
    pub fn new(settings: &Settings) -> Result<Self, TlsError> {
        let tls = tls::northbound_client(Some(&settings.credentials), &settings.trust, &Northbound::default())?;
        let options = ClientOptions {
            connect: settings.timeout.min(ClientOptions::default().connect),
            request: settings.timeout,
            expected_identity: settings.kme_id.clone(),
            ..ClientOptions::default()
        };
        let https = Https { http: HttpsClient::new(tls, options), server: Arc::default() };
        Ok(Self { client: Client::new(settings.kme.clone(), https) })
    }

    /// Chooses the form of the key methods.
    #[must_use]
    pub fn with_form(self, form: Form) -> Self {
        Self { client: self.client.with_form(form) }
    }

    /// Chooses how closely answers are held to the letter.
    #[must_use]
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { client: self.client.with_decoding(decoding) }
    }

    /// Get status: what this SAE can ask for, to share with `slave`.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn status(&self, slave: &SaeId) -> Result<Status, CallFailure> {
        self.client.status(slave).await
    }

    /// Get key: new keys, shared with `slave` and the additional slaves of the request.
    ///
    /// # Errors
    /// [`CallFailure`]. When the answer was lost or unreadable, keys may have been spent.
    pub async fn get_key(&self, slave: &SaeId, request: KeyRequest) -> Result<KeyContainer, CallFailure> {
        self.client.get_key(slave, request).await
    }

    /// Get key with key IDs: the keys that `master` was given and told the IDs of, in the order asked for.
    ///
    /// # Errors
    /// [`CallFailure`]. When the answer was lost or unreadable, the keys may be gone from the KME.
    pub async fn get_key_with_key_ids(&self, master: &SaeId, key_ids: KeyIds) -> Result<KeyContainer, CallFailure> {
        self.client.get_key_with_key_ids(master, key_ids).await
    }

    /// What the first answer came from.
    #[must_use]
    pub fn server(&self) -> Option<&ServerFacts> {
        self.client.transport().server.get()
    }
}

/// The HTTPS client as a transport of the API.
#[derive(Clone, Debug)]
struct Https {
    http: HttpsClient,
    server: Arc<OnceLock<ServerFacts>>,
}

impl Transport for Https {
    type Error = NoAnswer;

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, NoAnswer> {
        let response = self.http.send(request.map(Body::into_bytes)).await?;
        if let Some(facts) = response.extensions().get::<ServerFacts>() {
            self.server.get_or_init(|| facts.clone());
        }
        Ok(response.map(Body::from))
    }
}
