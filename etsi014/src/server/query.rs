//! The query of the GET forms.

use crate::id::KeyId;
use crate::message::{KeyIds, KeyRequest, count, key_size};
use crate::percent;
use crate::server::Rejection;

/// What can be wrong with a query. Holds no text from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A percent escape that is not whole, or does not give UTF-8.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A parameter occurs more than once (014-A-06).
    #[error("{0} may occur only once in the query")]
    Repeated(&'static str),
    /// A parameter is not a positive integer, or too large (014-A-23).
    #[error("{0} shall be a positive integer")]
    NotPositive(&'static str),
    /// A mandatory parameter is absent.
    #[error("{0} is missing in the query")]
    Missing(&'static str),
    /// Only the POST form can carry this (014-6.2-07, 014-6.4-04).
    #[error("{0} shall be sent by POST")]
    NeedsPost(&'static str),
}

/// `number` and `size`, each at most once (014-6.2-06).
pub(super) fn key_request(query: &str) -> Result<KeyRequest, Rejection> {
    let [number, size] =
        parameters(query, ["number", "size"], &["additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"])?;
    Ok(KeyRequest {
        number: number.map(|text| positive("number", &text, count)).transpose()?,
        size: size.map(|text| positive("size", &text, key_size)).transpose()?,
        ..KeyRequest::default()
    })
}

/// `key_ID`, exactly once (014-6.4-03).
pub(super) fn key_ids(query: &str) -> Result<KeyIds, Rejection> {
    let [id] = parameters(query, ["key_ID"], &["key_IDs", "key_ID_extension", "key_IDs_extension"])?;
    let id = id.ok_or(QueryError::Missing("key_ID"))?;
    // no key has an ID of another form, so the KME cannot return it (014-6.4-06)
    let id = KeyId::parse(&id).map_err(|_| Rejection::KeysNotFound { ids: Vec::new() })?;
    Ok(KeyIds::from_iter([id]))
}

/// The values of the named parameters, percent-decoded.
fn parameters<const N: usize>(
    query: &str,
    names: [&'static str; N],
    post_only: &[&'static str],
) -> Result<[Option<String>; N], QueryError> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent::decode(name).ok_or(QueryError::Encoding)?;
        if let Some(name) = post_only.iter().find(|known| **known == name) {
            return Err(QueryError::NeedsPost(name));
        }
        let known = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        if let Some((name, slot)) = known {
            let value = percent::decode(value).ok_or(QueryError::Encoding)?;
            if slot.replace(value.into_owned()).is_some() {
                return Err(QueryError::Repeated(name));
            }
        }
    }
    Ok(values)
}

fn positive<T>(name: &'static str, text: &str, accept: fn(u64) -> Option<T>) -> Result<T, QueryError> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let value = if digits { text.parse().ok() } else { None };
    value.and_then(accept).ok_or(QueryError::NotPositive(name))
}
