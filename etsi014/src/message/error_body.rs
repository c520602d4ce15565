//! Error, clause 6.5.

use serde::Serialize;
use serde::de::MapAccess;
use serde_json::Value;

use crate::body::Body;
use crate::decode::{self, AnyValue, At, DecodeError, Decoding, ListOf, Object, Problem, Shape, Slot, Text, next_member};

/// The body of an answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// What happened (014-6.5-01).
    pub message: String,
    /// Names and values that tell more (014-6.5-02).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Object>,
}

impl ErrorBody {
    /// Reads an Error body.
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format.
    pub fn decode(body: &[u8], decoding: Decoding) -> Result<Self, DecodeError> {
        decode::parse(body, ErrorShape(decoding))
    }

    /// The body as JSON.
    #[must_use]
    pub fn encode(&self) -> Body {
        super::to_json(self)
    }
}

struct ErrorShape(Decoding);

impl<'de> Shape<'de> for ErrorShape {
    type Out = ErrorBody;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<ErrorBody, A::Error> {
        let names: &[&str] = if self.0.is_lenient() { &["message", "details", "detail"] } else { &["message", "details"] };
        let (mut message, mut details, mut detail) = (Slot::new(), Slot::new(), Slot::new());
        while let Some(name) = next_member(&mut map, names)? {
            let at = at.member(name);
            match name {
                "message" => message.read(at, &mut map, Text(|text: &str| Ok(text.to_owned())))?,
                "details" => details.read(at, &mut map, ListOf(|| AnyValue))?,
                _ => detail.read(at, &mut map, AnyValue)?,
            }
        }
        let ((Some(message), _) | (None, Some(Value::String(message)))) = (message.optional(), detail.optional()) else {
            return Err(at.member("message").fail(Problem::Missing));
        };
        let mut objects = Vec::new();
        for value in details.optional().unwrap_or_default() {
            match value {
                Value::Object(object) => objects.push(object),
                _ if self.0.is_lenient() => {}
                _ => return Err(at.member("details").fail(Problem::WrongType)),
            }
        }
        Ok(ErrorBody { message, details: objects })
    }
}
