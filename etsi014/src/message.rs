//! The five data formats of clause 6, one struct each.

mod error_body;
mod key_container;
mod key_ids;
mod key_request;
mod status;

pub(crate) use key_request::{count, key_size};

pub use error_body::ErrorBody;
pub use key_container::{Key, KeyContainer};
pub use key_ids::{KeyIds, RequestedKey};
pub use key_request::KeyRequest;
pub use status::Status;

use crate::body::Body;

/// JSON of a message without keys. Maps with text names and plain values always serialize, so there is no error to report.
fn to_json(message: &impl serde::Serialize) -> Body {
    Body::from(serde_json::to_vec(message).unwrap_or_default())
}
