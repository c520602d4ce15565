//! Every answer that is no success, with its status and text.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use itu_y3803::KeySize;
use serde_json::Value;

use super::{QueryError, response};
use crate::body::Body;
use crate::decode::{DecodeError, Object};
use crate::id::KeyId;
use crate::mandated;
use crate::message::ErrorBody;

const MAX_NAMES: usize = 8;
const MAX_NAME_CHARS: usize = 64;

/// Why a KME does not do what it was asked.
///
/// Each has one status and one text, and none repeats unbounded input. The standard mandates the texts of five
/// and names 400, 401 and 503; 404, 405, 413 and 415 are those of HTTP.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum Rejection {
    /// 400: the body is not of the format.
    BadFormat(#[from] DecodeError),
    /// 400: the query is not of the format.
    BadQuery(#[from] QueryError),
    /// 400: the SAE ID in the path is none.
    BadPath,
    /// 400: a GET with a body (014-5.3-03).
    BodyNotAllowed,
    /// 400 with mandated text: this KME has keys of whole octets only (014-6.2-09).
    SizeNotMultipleOf8,
    /// 400 with mandated text: mandatory extensions that this KME does not know (014-6.2-13).
    MandatoryExtensionUnsupported {
        /// Their names; the answer shows the first eight, cut to 64 characters (014-6.5-03).
        names: Vec<String>,
    },
    /// 400 with mandated text: mandatory extensions that this KME knows and cannot satisfy (014-6.2-14).
    MandatoryExtensionNotMet {
        /// What the KME wants to tell about them.
        details: Vec<Object>,
    },
    /// 400 with mandated text: optional extensions that this KME chooses not to ignore (014-6.2-16).
    OptionalExtensionNotHandled {
        /// What the KME wants to tell about them.
        details: Vec<Object>,
    },
    /// 400 with mandated text: at least one key cannot be returned, so none is (014-6.4-06).
    KeysNotFound {
        /// The keys, as far as they can be told; the answer shows the first eight.
        ids: Vec<KeyId>,
    },
    /// 400: no such SAE (014-A-36).
    UnknownSae,
    /// 400: more keys than this KME gives at once (014-A-22).
    TooManyKeys {
        /// How many were asked for.
        asked: u32,
        /// The most in one request.
        max: u32,
    },
    /// 400: keys of a size that this KME does not give (014-A-22).
    SizeOutOfRange {
        /// The smallest key.
        min: KeySize,
        /// The largest key.
        max: KeySize,
    },
    /// 400: Key IDs without any.
    NoKeyIds,
    /// 400: more key IDs than this KME takes at once.
    TooManyKeyIds {
        /// How many were asked for.
        asked: usize,
        /// The most in one request.
        max: u32,
    },
    /// 400: one key ID twice in a request (014-A-34).
    RepeatedKeyId(KeyId),
    /// 400: more additional slaves than `max_SAE_ID_count` (014-A-14).
    TooManySlaves {
        /// How many were named.
        asked: usize,
        /// The most in one request.
        max: u32,
    },
    /// 400: slaves that make no sense.
    InvalidSlaves(SlaveProblem),
    /// 401: the caller is no designated slave of every key asked for (014-5.4-04).
    NotEntitled,
    /// 401: the caller is not known to be an SAE of this KME.
    Unauthenticated,
    /// 404: no such path.
    NotFound,
    /// 405: the path has other HTTP methods.
    MethodNotAllowed {
        /// The value of the `Allow` header.
        allow: &'static str,
    },
    /// 413: the body is larger than this KME takes.
    PayloadTooLarge,
    /// 415: the body is not of type `application/json`.
    UnsupportedMediaType,
    /// 503: fewer keys are stored than asked for (014-A-20).
    NotEnoughKeys,
    /// 503: the caller has used up what this KME allots to it for now.
    QuotaExceeded,
    /// 503: an error on the side of the KME (014-5.2-06).
    Unavailable {
        /// What the KME wants to tell, such as `key data access error`.
        message: Cow<'static, str>,
    },
}

/// Why the slaves of a Get key make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SlaveProblem {
    /// The caller names itself.
    #[error("the calling SAE cannot be a slave of its own keys")]
    CallerIsSlave,
    /// An additional slave is the one in the path.
    #[error("additional_slave_SAE_IDs repeats the slave of the path")]
    SlaveOfPath,
    /// An additional slave occurs twice.
    #[error("additional_slave_SAE_IDs names an SAE twice")]
    Repeated,
}

impl Rejection {
    /// A 503 with this text.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable { message: message.into() }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.terms().0
    }

    /// The `message` of the Error body.
    #[must_use]
    pub fn message(&self) -> Cow<'_, str> {
        self.terms().1
    }

    /// The `details` of the Error body.
    #[must_use]
    pub fn details(&self) -> Vec<Object> {
        match self {
            Self::MandatoryExtensionUnsupported { names } => names
                .iter()
                .take(MAX_NAMES)
                .map(|name| object([("extension_mandatory_unsupported", bounded(name).into())]))
                .collect(),
            Self::MandatoryExtensionNotMet { details } | Self::OptionalExtensionNotHandled { details } => details.clone(),
            Self::KeysNotFound { ids } => ids.iter().take(MAX_NAMES).map(key_id).collect(),
            Self::RepeatedKeyId(id) => vec![key_id(id)],
            Self::TooManyKeys { asked, max } => {
                vec![object([("number", (*asked).into()), ("max_key_per_request", (*max).into())])]
            }
            Self::SizeOutOfRange { min, max } => {
                vec![object([("min_key_size", min.bits().into()), ("max_key_size", max.bits().into())])]
            }
            Self::TooManyKeyIds { asked, max } => {
                vec![object([("key_IDs", (*asked).into()), ("max_key_per_request", (*max).into())])]
            }
            Self::TooManySlaves { asked, max } => {
                vec![object([("additional_slave_SAE_IDs", (*asked).into()), ("max_SAE_ID_count", (*max).into())])]
            }
            _ => Vec::new(),
        }
    }

    /// The response. The standard defines no body for 401; it gets an Error body like every other (014-A-19).
    #[must_use]
    pub fn into_http(self) -> Response<Body> {
        let body = ErrorBody { message: self.message().into_owned(), details: self.details() };
        let mut response = response(self.status(), body.encode());
        if let Self::MethodNotAllowed { allow } = self {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// Status and text of each.
    fn terms(&self) -> (StatusCode, Cow<'_, str>) {
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        let (status, text) = match self {
            Self::BadFormat(error) => return (BAD_REQUEST, format!("bad request format: {error}").into()),
            Self::BadQuery(error) => return (BAD_REQUEST, error.to_string().into()),
            Self::InvalidSlaves(problem) => return (BAD_REQUEST, problem.to_string().into()),
            Self::Unavailable { message } => return (UNAVAILABLE, Cow::Borrowed(message)),
            Self::SizeNotMultipleOf8 => (BAD_REQUEST, mandated::SIZE_NOT_MULTIPLE_OF_8),
            Self::MandatoryExtensionUnsupported { .. } => (BAD_REQUEST, mandated::MANDATORY_UNSUPPORTED),
            Self::MandatoryExtensionNotMet { .. } => (BAD_REQUEST, mandated::MANDATORY_NOT_MET),
            Self::OptionalExtensionNotHandled { .. } => (BAD_REQUEST, mandated::OPTIONAL_NOT_HANDLED),
            Self::KeysNotFound { .. } => (BAD_REQUEST, mandated::KEYS_NOT_FOUND),
            Self::BadPath => (BAD_REQUEST, "the path has no percent-encoded SAE ID"),
            Self::BodyNotAllowed => (BAD_REQUEST, "a GET request has no body"),
            Self::UnknownSae => (BAD_REQUEST, "unknown SAE ID"),
            Self::TooManyKeys { .. } => (BAD_REQUEST, "number is larger than max_key_per_request"),
            Self::SizeOutOfRange { .. } => (BAD_REQUEST, "size is not between min_key_size and max_key_size"),
            Self::NoKeyIds => (BAD_REQUEST, "key_IDs is empty"),
            Self::TooManyKeyIds { .. } => (BAD_REQUEST, "more key_IDs than max_key_per_request"),
            Self::RepeatedKeyId(_) => (BAD_REQUEST, "key_IDs names a key twice"),
            Self::TooManySlaves { .. } => (BAD_REQUEST, "more additional_slave_SAE_IDs than max_SAE_ID_count"),
            Self::NotEntitled => (UNAUTHORIZED, "the SAE is not entitled to every key specified"),
            Self::Unauthenticated => (UNAUTHORIZED, "the SAE is not authenticated"),
            Self::NotFound => (StatusCode::NOT_FOUND, "no such method"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "the method does not allow this HTTP method"),
            Self::PayloadTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type shall be application/json"),
            Self::NotEnoughKeys => (UNAVAILABLE, "not enough keys are stored"),
            Self::QuotaExceeded => (UNAVAILABLE, "the quota of the SAE is exceeded"),
        };
        (status, Cow::Borrowed(text))
    }
}

fn key_id(id: &KeyId) -> Object {
    object([("key_ID", id.as_str().into())])
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Object {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A name from a request, short and printable enough to be sent back.
fn bounded(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect()
}
