//! The KME's end: `http` requests to calls, replies and rejections to `http` responses.
//!
//! There is no handler trait on purpose. A KME often has to reach another KME before it can answer, so decoding and answering are two
//! steps; [`answer`] joins them when the answer is at hand. Who calls comes from the TLS certificate, hence from the transport
//! (014-4-09), and goes beside the [`Call`].

mod query;
mod rejection;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

pub use query::QueryError;
pub use rejection::{Rejection, SlaveProblem};

use crate::body::Body;
use crate::call::{GetKey, GetKeyWithKeyIds, GetStatus, PATH_PREFIX};
use crate::decode::{DecodeError, Decoding, Problem};
use crate::id::SaeId;
use crate::media_type;
use crate::message::{KeyContainer, KeyIds, KeyRequest, Status};

/// A request to a KME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GET {slave}/status`.
    GetStatus(GetStatus),
    /// `POST {slave}/enc_keys`, or GET.
    GetKey(GetKey),
    /// `POST {master}/dec_keys`, or GET.
    GetKeyWithKeyIds(GetKeyWithKeyIds),
}

impl Call {
    /// Reads a request, whose path begins with [`PATH_PREFIX`].
    ///
    /// Unknown query parameters are ignored (014-A-32), but those that say what only the POST form can say are refused: to ignore them
    /// would be to deliver something else than was asked for.
    ///
    /// # Errors
    /// The [`Rejection`] to answer with.
    pub fn decode<B: AsRef<[u8]>>(request: &Request<B>, decoding: Decoding) -> Result<Self, Rejection> {
        let (sae, method) = route(request.uri().path())?;
        let post = match *request.method() {
            Method::GET => false,
            Method::POST if method != ApiMethod::Status => true,
            _ => return Err(Rejection::MethodNotAllowed { allow: method.allow() }),
        };
        let sae = SaeId::from_path_segment(sae).map_err(|_| Rejection::BadPath)?;
        let query = request.uri().query().unwrap_or_default();
        let body = request.body().as_ref();
        if post {
            check_media_type(request, decoding)?;
        } else if !body.is_empty() {
            return Err(Rejection::BodyNotAllowed);
        }
        Ok(match method {
            ApiMethod::Status => Self::GetStatus(GetStatus { slave: sae }),
            ApiMethod::EncKeys => {
                let request = if post { posted_key_request(body, decoding)? } else { query::key_request(query)? };
                Self::GetKey(GetKey { slave: sae, request })
            }
            ApiMethod::DecKeys => {
                let key_ids = if post { posted_key_ids(body, decoding)? } else { query::key_ids(query)? };
                Self::GetKeyWithKeyIds(GetKeyWithKeyIds { master: sae, key_ids })
            }
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ApiMethod {
    Status,
    EncKeys,
    DecKeys,
}

impl ApiMethod {
    fn allow(self) -> &'static str {
        match self {
            Self::Status => "GET",
            Self::EncKeys | Self::DecKeys => "GET, POST",
        }
    }
}

/// The SAE ID as it stands in the path, and the method. A trailing or doubled slash makes another path (014-A-31).
fn route(path: &str) -> Result<(&str, ApiMethod), Rejection> {
    let (sae, method) = path.strip_prefix(PATH_PREFIX).and_then(|rest| rest.split_once('/')).ok_or(Rejection::NotFound)?;
    let method = match method {
        "status" => ApiMethod::Status,
        "enc_keys" => ApiMethod::EncKeys,
        "dec_keys" => ApiMethod::DecKeys,
        _ => return Err(Rejection::NotFound),
    };
    if sae.is_empty() { Err(Rejection::NotFound) } else { Ok((sae, method)) }
}

fn check_media_type<B: AsRef<[u8]>>(request: &Request<B>, decoding: Decoding) -> Result<(), Rejection> {
    let tolerable = !request.headers().contains_key(header::CONTENT_TYPE) || request.body().as_ref().is_empty();
    if media_type::is_json(request.headers()) || (decoding.is_lenient() && tolerable) {
        Ok(())
    } else {
        Err(Rejection::UnsupportedMediaType)
    }
}

fn posted_key_request(body: &[u8], decoding: Decoding) -> Result<KeyRequest, Rejection> {
    if body.is_empty() && decoding.is_lenient() {
        return Ok(KeyRequest::default());
    }
    Ok(KeyRequest::decode(body, decoding)?)
}

fn posted_key_ids(body: &[u8], decoding: Decoding) -> Result<KeyIds, Rejection> {
    KeyIds::decode(body, decoding).map_err(|error: DecodeError| match error.problem() {
        // no key has such an ID, so the KME cannot return it (014-6.4-06)
        Problem::InvalidKeyId => Rejection::KeysNotFound { ids: Vec::new() },
        _ => Rejection::BadFormat(error),
    })
}

/// A success.
#[derive(Debug)]
pub enum Reply {
    /// Answers Get status.
    Status(Status),
    /// Answers Get key, and Get key with key IDs.
    Keys(KeyContainer),
}

impl Reply {
    /// The response, with status 200.
    #[must_use]
    pub fn into_http(self) -> Response<Body> {
        let body = match self {
            Self::Status(status) => status.encode(),
            Self::Keys(keys) => keys.encode(),
        };
        response(StatusCode::OK, body)
    }
}

/// Decodes, calls the handler, and encodes: for a KME that can answer at once.
pub fn answer<B: AsRef<[u8]>>(
    request: &Request<B>,
    decoding: Decoding,
    handler: impl FnOnce(Call) -> Result<Reply, Rejection>,
) -> Response<Body> {
    match Call::decode(request, decoding).and_then(handler) {
        Ok(reply) => reply.into_http(),
        Err(rejection) => rejection.into_http(),
    }
}

/// A JSON response that nobody is to store.
fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, media_type::JSON);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
