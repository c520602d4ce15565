//! What can go wrong with a call, as its caller sees it. Nothing here holds text of a body that may have keys.

use std::fmt;

use http::StatusCode;

use crate::decode::{DecodeError, Decoding, Object};
use crate::id::KeyId;
use crate::mandated;
use crate::message::ErrorBody;

const MAX_MESSAGE_CHARS: usize = 256;

/// A call without the wanted result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The KME answered with a 4xx or 5xx status.
    #[error(transparent)]
    Refused(Refusal),
    /// The KME answered with a status that the standard has no meaning for, such as 202 or a redirection.
    #[error("the KME answered with status {0}, which has no meaning here")]
    UnexpectedStatus(StatusCode),
    /// The answer is not of type `application/json` (014-5.1-01).
    #[error("the answer is not of type application/json")]
    NotJson,
    /// The body has another format.
    #[error("unreadable answer: {0}")]
    Decode(#[from] DecodeError),
    /// More or fewer keys than asked for (014-6.3-02).
    #[error("{got} keys instead of {asked}")]
    KeyCount {
        /// How many were asked for.
        asked: usize,
        /// How many came.
        got: usize,
    },
    /// One ID twice, in the answer or in the request.
    #[error("the key ID {0} occurs twice")]
    DuplicateKey(KeyId),
    /// A key that was not asked for.
    #[error("the key {0} was not asked for")]
    UnaskedKey(KeyId),
    /// A key that was asked for and did not come, although the KME reported success (014-6.4-06).
    #[error("the key {0} is missing")]
    MissingKey(KeyId),
}

impl CallError {
    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The KME's refusal: a status, and what could be read of the Error body.
///
/// The message is cut to 256 characters and has no control characters. `Display` and `Debug` leave out the details, which can be
/// anything.
#[derive(Clone, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    message: Option<String>,
    details: Vec<Object>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, body: &[u8], decoding: Decoding) -> Self {
        match ErrorBody::decode(body, decoding) {
            Ok(ErrorBody { message, details }) => Self { status, message: Some(presentable(&message)), details },
            Err(_) => Self { status, message: None, details: Vec::new() },
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The message, if there was an Error body.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The details of the Error body, as received.
    #[must_use]
    pub fn details(&self) -> &[Object] {
        &self.details
    }

    /// Which of the texts that the standard mandates this is, if the status is right too.
    #[must_use]
    pub fn mandated(&self) -> Option<Mandated> {
        if self.status != StatusCode::BAD_REQUEST {
            return None;
        }
        Mandated::ALL.into_iter().find(|mandated| self.message() == Some(mandated.text()))
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the KME refused with status {}", self.status.as_u16())?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("status", &self.status).field("message", &self.message).finish_non_exhaustive()
    }
}

/// Text fit for a log line.
fn presentable(text: &str) -> String {
    text.chars().take(MAX_MESSAGE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The refusals whose text the standard mandates; all come with status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mandated {
    /// 014-6.2-09.
    SizeNotMultipleOf8,
    /// 014-6.2-13.
    MandatoryExtensionUnsupported,
    /// 014-6.2-14.
    MandatoryExtensionNotMet,
    /// 014-6.2-16.
    OptionalExtensionNotHandled,
    /// 014-6.4-06. Worth another try shortly after Get key: the other KME may not have the key yet (014-A-21).
    KeysNotFound,
}

impl Mandated {
    const ALL: [Self; 5] = [
        Self::SizeNotMultipleOf8,
        Self::MandatoryExtensionUnsupported,
        Self::MandatoryExtensionNotMet,
        Self::OptionalExtensionNotHandled,
        Self::KeysNotFound,
    ];

    /// The text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::SizeNotMultipleOf8 => mandated::SIZE_NOT_MULTIPLE_OF_8,
            Self::MandatoryExtensionUnsupported => mandated::MANDATORY_UNSUPPORTED,
            Self::MandatoryExtensionNotMet => mandated::MANDATORY_NOT_MET,
            Self::OptionalExtensionNotHandled => mandated::OPTIONAL_NOT_HANDLED,
            Self::KeysNotFound => mandated::KEYS_NOT_FOUND,
        }
    }
}

/// A call of a [`Client`](super::Client) without the wanted result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError<E> {
    /// The transport brought no answer.
    #[error("no answer from the KME")]
    Transport(#[source] E),
    /// An answer, but not the wanted one.
    #[error(transparent)]
    Call(#[from] CallError),
}
