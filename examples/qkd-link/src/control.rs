//! The control of a running link, in plain HTTP on a loopback port, and its client.
//!
//! | request | answer |
//! |---|---|
//! | `GET /link` | 200, a [`LinkReport`](crate::link::LinkReport) as JSON |
//! | `PUT /link/rate` with `{"skr_bps": 0}` | 200, the report; the rate holds from now on (0: the link fails) |
//! | `PUT /link/rate` with `{"skr_bps": null}` | 200, the report; the rate is that of the trace again |
//!
//! Errors have a JSON body with a `message`. Whoever reaches the port may use it; it never tells a key.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::link::Link;
use crate::rate::Skr;

/// The most octets the body of a request may have.
pub const MAX_BODY_OCTETS: usize = 4096;

/// Answers one request.
pub fn answer(link: &Link, request: &Request<Bytes>) -> Response<Bytes> {
    match (request.uri().path(), request.method()) {
        ("/link", &Method::GET) => json(StatusCode::OK, &link.report()),
        ("/link/rate", &Method::PUT) => match serde_json::from_slice::<SetRate>(request.body()) {
            Ok(wanted) => {
                link.set_rate(wanted.skr_bps);
                json(StatusCode::OK, &link.report())
            }
            Err(_) => error(StatusCode::BAD_REQUEST, "the body is {\"skr_bps\": a rate from 0 to 10^12, or null}"),
        },
        ("/link", _) => method_not_allowed("GET"),
        ("/link/rate", _) => method_not_allowed("PUT"),
        _ => error(StatusCode::NOT_FOUND, "there are /link and /link/rate"),
    }
}

/// An answer that says what was wrong.
pub(crate) fn error(status: StatusCode, message: &'static str) -> Response<Bytes> {
    json(status, &ErrorBody { message })
}

/// Sets the rate of a running link through its control, or with `None` gives it back to the trace. Answers with the report.
///
/// `control` is the address of the control, as `http://127.0.0.1:8440` or `127.0.0.1:8440`.
///
/// # Errors
/// [`ControlError`] when there is no such control, or it refuses.
pub fn set_rate(control: &str, rate: Option<Skr>) -> Result<String, ControlError> {
    let body = serde_json::to_string(&SetRate { skr_bps: rate }).map_err(io::Error::from)?;
    exchange(control, "PUT", "/link/rate", &body)
}

/// Asks a running link for its report, in JSON.
///
/// # Errors
/// [`ControlError`] when there is no such control, or it refuses.
pub fn report(control: &str) -> Result<String, ControlError> {
    exchange(control, "GET", "/link", "")
}

/// Why a control did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The address is not of the form `http://host:port`.
    #[error("the control's address has the form http://host:port")]
    Address,
    /// The control cannot be reached, or the connection broke.
    #[error("no answer from the control: {0}")]
    Io(#[from] io::Error),
    /// The answer is no HTTP.
    #[error("the answer is not that of a control")]
    NoHttp,
    /// The control refuses.
    #[error("the control answers {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        body: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRate {
    // Named explicitly, so that a missing member is an error and not the same as null.
    #[serde(deserialize_with = "Option::deserialize")]
    skr_bps: Option<Skr>,
}

#[derive(Serialize)]
struct ErrorBody {
    message: &'static str,
}

fn method_not_allowed(allowed: &'static str) -> Response<Bytes> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path");
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Names and finite numbers only: always serializable.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_ANSWER_OCTETS: u64 = 64 << 10;

/// One request on a connection of its own.
fn exchange(control: &str, method: &str, path: &str, body: &str) -> Result<String, ControlError> {
    let authority = control.strip_prefix("http://").unwrap_or(control).trim_end_matches('/');
    if authority.contains(|character: char| character == '/' || character.is_whitespace() || character.is_control()) {
        return Err(ControlError::Address);
    }
    let address = authority.to_socket_addrs().map_err(|_| ControlError::Address)?.next().ok_or(ControlError::Address)?;
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.take(MAX_ANSWER_OCTETS).read_to_string(&mut answer)?;

    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ControlError::NoHttp)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok());
    match status {
        Some(200) => Ok(body.to_owned()),
        Some(status) => Err(ControlError::Refused { status, body: body.to_owned() }),
        None => Err(ControlError::NoHttp),
    }
}
