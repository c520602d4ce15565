//! Errors.

use base64ct::{Base64, Encoding};
use http::Method;
use serde_json::{Value, json};

use crate::exchange::{Asked, Operation, Said};
use crate::fault::Fault;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M118", "error member `detail` instead of `message`").response(|_, _, said| {
        error(said, |body| {
            let message = body.remove("message").unwrap_or_default();
            body.insert("detail".to_owned(), message);
        });
    }),
    Fault::new("M119", "HTML error pages").response(|_, _, said| {
        if said.status >= 400 {
            said.body = format!("<html><body><h1>Error {}</h1></body></html>", said.status).into();
            said.header("content-type", "text/html");
        }
    }),
    Fault::new("M120", "`details` is an array of strings")
        .response(|_, _, said| error(said, |body| drop(body.insert("details".to_owned(), json!(["see the manual"]))))),
    Fault::new("M121", "422 for validation errors").response(|_, _, said| {
        if is_bad_format(said) {
            said.status = 422;
        }
    }),
    Fault::new("M122", "malformed JSON treated as empty request: key delivered").request(|_, asked| {
        if asked.posts(Operation::GetKey) && is_malformed(asked) {
            asked.set_json(&json!({}));
        }
    }),
    Fault::new("M123", "malformed JSON on dec_keys answered 500").response(|_, asked, said| {
        if asked.posts(Operation::GetKeyWithIds) && is_malformed(asked) && said.status == 400 {
            *said = Said::error(500, "internal error");
        }
    }),
    Fault::new("M124", "`null` or `[]` as body treated as empty request").request(|_, asked| {
        let nothing = |body: Value| body.is_null() || body.as_array().is_some_and(Vec::is_empty);
        if asked.posts(Operation::GetKey) && asked.json().is_some_and(nothing) {
            asked.set_json(&json!({}));
        }
    }),
    Fault::new("M125", "any version below /api answers like v1").request(|_, asked| {
        if let Some((version, rest)) = asked.target.strip_prefix("/api/").and_then(|rest| rest.split_once('/'))
            && !version.is_empty()
            && version != "v1"
        {
            asked.target = format!("/api/v1/{rest}");
        }
    }),
    Fault::new("M126", "PUT treated as POST").request(|_, asked| {
        if asked.method == Method::PUT && matches!(asked.operation(), Operation::GetKey | Operation::GetKeyWithIds) {
            asked.method = Method::POST;
        }
    }),
    Fault::new("M127", "error text quotes the key that failed to encode").response(|_, _, said| {
        if is_bad_format(said) {
            let mut octets = [0; 32];
            let _ = aws_lc_rs::rand::fill(&mut octets);
            let message = format!("cannot encode key {}", Base64::encode_string(&octets));
            error(said, |body| drop(body.insert("message".to_owned(), message.into())));
        }
    }),
    Fault::new("M128", "stack trace in `message`").response(|_, _, said| {
        if is_bad_format(said) {
            let trace = "Exception in thread \"main\" BadRequest\n\tat kme.api.Keys.post(Keys.java:42)";
            error(said, |body| drop(body.insert("message".to_owned(), trace.into())));
        }
    }),
];

/// Changes an Error.
pub(super) fn error(said: &mut Said, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    if said.status >= 400 {
        said.edit(change);
    }
}

/// Whether the body of the request was no message of the standard.
fn is_bad_format(said: &Said) -> bool {
    said.status == 400 && said.message().starts_with("bad request format")
}

/// Whether the body is no JSON, be it for its octets; numbers too large and too much nesting are other matters.
fn is_malformed(asked: &Asked) -> bool {
    serde_json::from_slice::<Value>(&asked.body).is_err_and(|error| {
        let why = error.to_string();
        !why.contains("out of range") && !why.contains("recursion")
    })
}
