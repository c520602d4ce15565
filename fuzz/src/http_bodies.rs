//! Whole requests and responses of GS QKD 014.

use std::num::NonZeroU32;

use etsi014::{
    Call, CallError, Decoding, ErrorBody, Form, GetKey, GetKeyWithKeyIds, GetStatus, KeyId, KeyRequest, KeySize, Limits,
    Operation, Rejection, SaeId,
};
use http::{Request, Response, StatusCode};

use crate::Outcome;
use crate::check::repeats_nothing;

/// Requests as a KME reads them: a line with method and target, lines with headers, an empty line, the body.
///
/// A request that is read and sent again by the client, in either form, is the same request. A request that is refused gets an answer
/// that the client understands. An admitted order keeps to the limits.
pub fn call(input: &[u8]) -> Outcome {
    let Some(request) = request(input) else { return Outcome::Refused };
    let lenient = Call::decode(&request, Decoding::Lenient);
    let strict = Call::decode(&request, Decoding::Strict);
    for rejection in [&lenient, &strict].into_iter().filter_map(|decoded| decoded.as_ref().err()) {
        repeats_nothing(&rejection.message(), input, 16);
        presentable(rejection.clone());
    }
    if strict.is_ok() {
        assert_eq!(strict, lenient, "lenient reads another request than strict");
    }
    if let Ok(call) = &lenient {
        for form in [Form::Post, Form::GetWhereAllowed] {
            assert_eq!(Call::decode(&sent_again(call, form), Decoding::Strict).as_ref(), Ok(call), "{form:?}");
        }
        admitted(call.clone());
    }
    Outcome::of(&lenient)
}

/// Answers as a client reads them: an octet that picks the call, one that picks the status, one for the content type, then the body.
pub fn answer(input: &[u8]) -> Outcome {
    let [call, status, media, body @ ..] = input else { return Outcome::Refused };
    const STATUS: [u16; 8] = [200, 200, 400, 401, 503, 202, 302, 204];
    const MEDIA: [Option<&str>; 4] = [Some("application/json"), Some("application/json; charset=utf-8"), Some("text/html"), None];
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(STATUS[usize::from(*status) % STATUS.len()]).expect("a status");
    if let Some(media) = MEDIA[usize::from(*media) % MEDIA.len()] {
        response.headers_mut().insert("content-type", http::HeaderValue::from_static(media));
    }

    let keys = |number: Option<u32>, size: Option<u32>| {
        let number = number.and_then(NonZeroU32::new);
        let request = KeyRequest { number, size: size.and_then(KeySize::from_bits), ..KeyRequest::default() };
        keys_asked_for(GetKey { slave: sae("blue"), request }, &response)
    };
    match call % 5 {
        0 => read(&GetStatus { slave: sae("blue") }, &response, |_| {}),
        1 => keys(None, None),
        2 => keys(Some(2), Some(64)),
        3 => keys(Some(1), Some(257)),
        _ => {
            let ids = ["0957365e-4b8d-4f95-8a8f-de3d60199dbb", "f20f4a45-8a7f-43e5-b0d9-234ca2bfc5aa"]
                .map(|id| KeyId::parse(id).expect("a UUID"));
            let call = GetKeyWithKeyIds { master: sae("red"), key_ids: ids.into_iter().collect() };
            read(&call, &response, |got| assert!(got.keys.iter().map(|key| key.id).eq(ids), "not in the order asked for"))
        }
    }
}

fn request(input: &[u8]) -> Option<Request<&[u8]>> {
    let (line, mut rest) = cut(input, b"\n")?;
    let (method, target) = cut(line, b" ")?;
    let mut request = Request::builder().method(method).uri(target);
    loop {
        let (header, after) = cut(rest, b"\n")?;
        rest = after;
        if header.is_empty() {
            return request.body(rest).ok();
        }
        let (name, value) = cut(header, b": ")?;
        request = request.header(name, value);
    }
}

fn cut<'a>(octets: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = octets.windows(at.len()).position(|window| window == at)?;
    Some((&octets[..position], &octets[position + at.len()..]))
}

fn sent_again(call: &Call, form: Form) -> Request<etsi014::Body> {
    match call {
        Call::GetStatus(call) => call.to_http(form),
        Call::GetKey(call) => call.to_http(form),
        Call::GetKeyWithKeyIds(call) => call.to_http(form),
    }
}

/// The answer is an Error body of bounded size, and tells the client the same message.
fn presentable(rejection: Rejection) {
    let (status, message, details) = (rejection.status(), rejection.message().into_owned(), rejection.details());
    assert!(status.is_client_error() || status.is_server_error());
    let response = rejection.into_http();
    assert_eq!(response.status(), status);
    assert!(response.body().len() < 4096, "an answer of {} octets", response.body().len());
    let body = ErrorBody::decode(response.body().as_ref(), Decoding::Strict).expect("an Error body");
    assert_eq!(body, ErrorBody { message, details });
}

fn admitted(call: Call) {
    let (caller, limits) = (sae("red"), Limits::default());
    let refused = match call {
        Call::GetStatus(_) => None,
        Call::GetKey(call) => match limits.admit(&caller, call) {
            Ok(order) => {
                assert!(order.number() <= limits.max_keys() && order.size().bits() % 8 == 0);
                assert!((limits.min_size()..=limits.max_size()).contains(&order.size()));
                assert!(order.slaves().len() <= 1 + limits.max_additional_slaves() as usize);
                assert!(!order.slaves().contains(&caller));
                assert!(order.extension_mandatory().iter().all(etsi014::Object::is_empty), "an extension that nobody handles");
                None
            }
            Err(rejection) => Some(rejection),
        },
        Call::GetKeyWithKeyIds(call) => match limits.admit_ids(&caller, call) {
            Ok(order) => {
                assert!((1..=limits.max_keys().get() as usize).contains(&order.ids().len()));
                None
            }
            Err(rejection) => Some(rejection),
        },
    };
    if let Some(rejection) = refused {
        presentable(rejection);
    }
}

fn keys_asked_for(call: GetKey, response: &Response<&[u8]>) -> Outcome {
    let asked = call.request.number.map_or(1, NonZeroU32::get) as usize;
    let size = call.request.size;
    read(&call, response, |got| {
        assert_eq!(got.keys.len(), asked);
        assert!(size.is_none_or(|size| got.keys.iter().all(|key| key.material.size() == size)), "another size");
    })
}

fn read<O: Operation>(call: &O, response: &Response<&[u8]>, check: impl Fn(&O::Response)) -> Outcome {
    let strict = call.read_http(response, Decoding::Strict);
    let lenient = call.read_http(response, Decoding::Lenient);
    assert!(strict.is_err() || lenient.is_ok(), "lenient refuses what strict accepts");
    for result in [&strict, &lenient] {
        match result {
            Ok(got) => {
                assert_eq!(response.status(), StatusCode::OK);
                check(got);
            }
            Err(error) => tells_little(error, response.body()),
        }
    }
    Outcome::of(&lenient)
}

/// A refusal shows the KME's message, bounded; other errors at most a key ID of 36 characters.
fn tells_little(error: &CallError, body: &[u8]) {
    let texts = [error.to_string(), format!("{error:?}")];
    match error.refusal() {
        Some(refusal) => {
            assert!(texts[0].chars().count() < 300 && !texts[0].contains(char::is_control), "{error}");
            assert!(refusal.message().is_none_or(|message| message.chars().count() <= 256));
        }
        None => texts.iter().for_each(|text| repeats_nothing(text, body, 37)),
    }
}

fn sae(id: &str) -> SaeId {
    SaeId::new(id).expect("an SAE ID")
}
