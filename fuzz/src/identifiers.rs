//! Identifiers and URLs.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use etsi014::{BaseUrl, Client, KeyId, SaeId, Transport};
use http::{Request, Response};

use crate::Outcome;
use crate::check::holds_no_text;

/// SAE IDs as segments of a path, percent-encoded; and the same text as an ID that is to be encoded.
pub fn path_segment(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    if let Ok(id) = SaeId::new(text) {
        assert_eq!(SaeId::from_path_segment(&id.to_path_segment()), Ok(id), "lost on the way");
    }
    let read = SaeId::from_path_segment(text);
    match &read {
        Ok(id) => {
            let segment = id.to_path_segment();
            let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~%".contains(&octet);
            assert!(segment.bytes().all(plain), "an octet that a path cannot hold");
            assert!(SaeId::from_path_segment(&segment).as_ref() == Ok(id) && segment.len() <= 3 * id.as_str().len());
        }
        Err(error) => holds_no_text(error, input),
    }
    Outcome::of(&read)
}

/// Key IDs, by both crates that read them.
pub fn key_id(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    let (of_api, of_core) = (KeyId::parse(text), itu_y3803::KeyId::parse(text));
    match (&of_api, &of_core) {
        (Ok(of_api), Ok(of_core)) => {
            assert_eq!(of_api.as_str(), text, "shown otherwise than received");
            assert_eq!(of_api.octets(), of_core.octets());
            assert_eq!(itu_y3803::KeyId::from(*of_api), *of_core);
            assert_eq!(KeyId::from(*of_core), *of_api);
            assert_eq!(of_core.to_string(), text.to_ascii_lowercase());
        }
        (Err(of_api), Err(of_core)) => {
            holds_no_text(of_api, input);
            holds_no_text(of_core, input);
        }
        _ => panic!("the crates do not agree"),
    }
    Outcome::of(&of_api)
}

/// Base URLs, a line break, and an SAE ID to be put into a path there.
pub fn base_url(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    let (url, sae) = text.split_once('\n').unwrap_or((text, "blue"));
    let base = BaseUrl::parse(url);
    match &base {
        Ok(base) => {
            assert_eq!(BaseUrl::parse(&base.to_string()).as_ref(), Ok(base), "read otherwise than shown");
            if let Ok(sae) = SaeId::new(sae) {
                joined(base, &sae);
            }
        }
        Err(error) => holds_no_text(error, input),
    }
    Outcome::of(&base)
}

/// The URL of a call begins with the base URL, and its path ends with that of the method.
fn joined(base: &BaseUrl, sae: &SaeId) {
    let client = Client::new(base.clone(), Recorder::default());
    let called = pin!(client.status(sae)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(called, Poll::Ready(Err(_))), "204 is no answer");
    let url = client.transport().0.lock().expect("one thread").take().expect("a request was sent");
    assert_eq!(url, format!("{base}/api/v1/keys/{}/status", sae.to_path_segment()));
}

#[derive(Default)]
struct Recorder(Mutex<Option<String>>);

impl Transport for Recorder {
    type Error = Infallible;

    fn send(&self, request: Request<etsi014::Body>) -> impl Future<Output = Result<Response<etsi014::Body>, Infallible>> + Send {
        *self.0.lock().expect("one thread") = Some(request.uri().to_string());
        let mut response = Response::new(etsi014::Body::empty());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        ready(Ok(response))
    }
}
