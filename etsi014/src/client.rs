//! The SAE's end: calls to `http` requests, `http` responses to results, and a client over any transport.

mod base_url;
mod error;

use std::collections::HashMap;
use std::future::Future;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use error::{CallError, ClientError, Mandated, Refusal};

use crate::body::Body;
use crate::call::{GetKey, GetKeyWithKeyIds, GetStatus, PATH_PREFIX};
use crate::decode::Decoding;
use crate::id::{KeyId, SaeId};
use crate::media_type;
use crate::message::{KeyContainer, KeyIds, KeyRequest, Status};

/// A method of the API as its caller sees it.
pub trait Operation {
    /// What a success brings.
    type Response;

    /// The request, with a path that begins with [`PATH_PREFIX`] and no host.
    fn to_http(&self, form: Form) -> Request<Body>;

    /// Reads the answer to this request and holds it against what was asked.
    ///
    /// # Errors
    /// [`CallError`] when the KME refused, or its answer is not one to this request.
    fn read_http<B: AsRef<[u8]>>(&self, response: &Response<B>, decoding: Decoding) -> Result<Self::Response, CallError>;
}

/// Which of the two forms of the key methods to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// Always POST. Every KME has it (014-5.3-01, 014-5.4-01), some have nothing else.
    #[default]
    Post,
    /// GET where the standard allows it, POST elsewhere (014-6.2-05 to 014-6.2-07, 014-6.4-03 to 014-6.4-05).
    GetWhereAllowed,
}

impl Operation for GetStatus {
    type Response = Status;

    fn to_http(&self, _: Form) -> Request<Body> {
        get(format!("{PATH_PREFIX}{}/status", self.slave.to_path_segment()))
    }

    fn read_http<B: AsRef<[u8]>>(&self, response: &Response<B>, decoding: Decoding) -> Result<Status, CallError> {
        Ok(Status::decode(success(response, decoding)?, decoding)?)
    }
}

impl Operation for GetKey {
    type Response = KeyContainer;

    fn to_http(&self, form: Form) -> Request<Body> {
        let path = format!("{PATH_PREFIX}{}/enc_keys", self.slave.to_path_segment());
        if form == Form::Post || !self.request.fits_get() {
            return post(path, self.request.encode());
        }
        let number = self.request.number.map(|number| format!("number={number}"));
        let size = self.request.size.map(|size| format!("size={}", size.bits()));
        let query: Vec<String> = number.into_iter().chain(size).collect();
        get(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
    }

    /// Checks the number of keys (014-6.3-02), their size when one was asked for (014-6.3-04), and that no ID occurs twice.
    fn read_http<B: AsRef<[u8]>>(&self, response: &Response<B>, decoding: Decoding) -> Result<KeyContainer, CallError> {
        let body = success(response, decoding)?;
        let container = match self.request.size {
            Some(size) => KeyContainer::decode_sized(body, decoding, size)?,
            None => KeyContainer::decode(body, decoding)?,
        };
        let asked = self.request.number.map_or(1, |number| number.get() as usize);
        if container.keys.len() != asked {
            return Err(CallError::KeyCount { asked, got: container.keys.len() });
        }
        positions(container.keys.iter().map(|key| key.id))?;
        Ok(container)
    }
}

impl Operation for GetKeyWithKeyIds {
    type Response = KeyContainer;

    fn to_http(&self, form: Form) -> Request<Body> {
        let path = format!("{PATH_PREFIX}{}/dec_keys", self.master.to_path_segment());
        match self.key_ids.fits_get() {
            Some(id) if form == Form::GetWhereAllowed => get(format!("{path}?key_ID={id}")),
            _ => post(path, self.key_ids.encode()),
        }
    }

    /// Checks that each ID asked for is there once and no other, and puts the keys into the order of the request: a KME may answer
    /// in any order (014-A-35).
    fn read_http<B: AsRef<[u8]>>(&self, response: &Response<B>, decoding: Decoding) -> Result<KeyContainer, CallError> {
        let mut container = KeyContainer::decode(success(response, decoding)?, decoding)?;
        let asked = positions(self.key_ids.keys.iter().map(|key| key.id))?;
        let got = positions(container.keys.iter().map(|key| key.id))?;
        if let Some(id) = got.keys().find(|id| !asked.contains_key(id)) {
            return Err(CallError::UnaskedKey(*id));
        }
        if let Some(id) = asked.keys().find(|id| !got.contains_key(id)) {
            return Err(CallError::MissingKey(*id));
        }
        container.keys.sort_by_key(|key| asked.get(&key.id).copied());
        Ok(container)
    }
}

fn get(path: String) -> Request<Body> {
    request(Method::GET, path, Body::empty())
}

fn post(path: String, body: Body) -> Request<Body> {
    let mut request = request(Method::POST, path, body);
    request.headers_mut().insert(header::CONTENT_TYPE, media_type::JSON);
    request
}

fn request(method: Method, path: String, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).expect("a percent-encoded path of bounded length is a URI");
    request.headers_mut().insert(header::ACCEPT, media_type::JSON);
    request.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    request
}

/// The body of a 200; any other status is an error.
fn success<B: AsRef<[u8]>>(response: &Response<B>, decoding: Decoding) -> Result<&[u8], CallError> {
    let status = response.status();
    let body = response.body().as_ref();
    if status.is_client_error() || status.is_server_error() {
        return Err(CallError::Refused(Refusal::new(status, body, decoding)));
    }
    if status != StatusCode::OK {
        return Err(CallError::UnexpectedStatus(status));
    }
    if !decoding.is_lenient() && !media_type::is_json(response.headers()) {
        return Err(CallError::NotJson);
    }
    Ok(body)
}

/// Where each ID stands; no ID may occur twice.
fn positions(ids: impl Iterator<Item = KeyId>) -> Result<HashMap<KeyId, usize>, CallError> {
    let mut positions = HashMap::new();
    for (position, id) in ids.enumerate() {
        if positions.insert(id, position).is_some() {
            return Err(CallError::DuplicateKey(id));
        }
    }
    Ok(positions)
}

/// What carries requests to a KME: an HTTPS client with the SAE's certificate, or anything that behaves like one.
///
/// Implementations verify the KME's certificate and the KME ID in it (014-5.1-04 to 014-5.1-06), use TLS 1.2 or later (014-5.1-02),
/// and limit how many octets of an answer they gather.
pub trait Transport {
    /// Why no answer came.
    type Error;

    /// Sends a request with an absolute URI and brings the whole answer.
    fn send(&self, request: Request<Body>) -> impl Future<Output = Result<Response<Body>, Self::Error>> + Send;
}

/// An SAE's client of one KME.
#[derive(Clone, Debug)]
pub struct Client<T> {
    transport: T,
    base: BaseUrl,
    form: Form,
    decoding: Decoding,
}

impl<T: Transport> Client<T> {
    /// A client that uses POST for the key methods and decodes leniently.
    pub fn new(base: BaseUrl, transport: T) -> Self {
        Self { transport, base, form: Form::default(), decoding: Decoding::default() }
    }

    /// Chooses the form of the key methods.
    #[must_use]
    pub fn with_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// Chooses how closely answers are held to the letter.
    #[must_use]
    pub fn with_decoding(self, decoding: Decoding) -> Self {
        Self { decoding, ..self }
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Get status: what this SAE can ask for, to share with `slave`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self, slave: &SaeId) -> Result<Status, ClientError<T::Error>> {
        self.call(&GetStatus { slave: slave.clone() }).await
    }

    /// Get key: new keys, shared with `slave` and the additional slaves of the request.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_key(&self, slave: &SaeId, request: KeyRequest) -> Result<KeyContainer, ClientError<T::Error>> {
        self.call(&GetKey { slave: slave.clone(), request }).await
    }

    /// Get key with key IDs: the keys that `master` was given and told the IDs of, in the order asked for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_key_with_key_ids(&self, master: &SaeId, key_ids: KeyIds) -> Result<KeyContainer, ClientError<T::Error>> {
        self.call(&GetKeyWithKeyIds { master: master.clone(), key_ids }).await
    }

    /// Any of the three.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<O::Response, ClientError<T::Error>> {
        let mut request = operation.to_http(self.form);
        *request.uri_mut() = self.base.join(request.uri());
        let response = self.transport.send(request).await.map_err(ClientError::Transport)?;
        Ok(operation.read_http(&response, self.decoding)?)
    }
}
