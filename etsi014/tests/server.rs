//! The KME's end: requests to calls, and what rejections look like on the wire.

mod support;

use etsi014::decode::Problem;
use etsi014::server::{QueryError, SlaveProblem};
use etsi014::{Body, Call, Decoding, ErrorBody, KeyContainer, KeyRequest, Rejection, Reply, Status, answer};
use http::{Method, Request, Response, StatusCode, header};
use proptest::prelude::*;
use support::*;

use Decoding::{Lenient, Strict};

const BOTH: [Decoding; 2] = [Lenient, Strict];

fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).expect("a request")
}

fn post(path: &str, body: &str) -> Request<Vec<u8>> {
    Request::post(path).header("content-type", "application/json").body(body.as_bytes().to_vec()).expect("a request")
}

fn decode(request: &Request<Vec<u8>>) -> Result<Call, Rejection> {
    let call = Call::decode(request, Lenient);
    assert_eq!(call, Call::decode(request, Strict), "{request:?}");
    call
}

fn key_request(call: Call) -> KeyRequest {
    match call {
        Call::GetKey(call) => call.request,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_three_methods_have_their_paths() {
    for (request, expected) in [
        (get("/api/v1/keys/blue/status"), "GetStatus(GetStatus { slave: SaeId(\"blue\") })"),
        (get("/api/v1/keys/sae%20red%2F1%25%3A%C3%A9/status"), "GetStatus(GetStatus { slave: SaeId(\"sae red/1%:é\") })"),
        (get("https://kme.example:8443/api/v1/keys/blue/status?x=1"), "GetStatus(GetStatus { slave: SaeId(\"blue\") })"),
    ] {
        assert_eq!(format!("{:?}", decode(&request).expect("valid")), expected);
    }
    assert!(matches!(decode(&get("/api/v1/keys/blue/enc_keys")), Ok(Call::GetKey(call)) if call.slave == sae("blue")));
    assert!(matches!(decode(&post("/api/v1/keys/blue/enc_keys", "{}")), Ok(Call::GetKey(call)) if call.slave == sae("blue")));
    let ids = format!(r#"{{"key_IDs":[{{"key_ID":"{ID_1}"}},{{"key_ID":"{ID_2}"}}]}}"#);
    for (request, expected) in [
        (get(&format!("/api/v1/keys/red/dec_keys?key_ID={ID_1}")), vec![key_id(ID_1)]),
        (post("/api/v1/keys/red/dec_keys", &ids), vec![key_id(ID_1), key_id(ID_2)]),
    ] {
        let Ok(Call::GetKeyWithKeyIds(call)) = decode(&request) else { panic!("{request:?}") };
        assert_eq!(call.master, sae("red"));
        assert_eq!(call.key_ids.keys.iter().map(|key| key.id).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn other_paths_are_not_found() {
    for path in [
        "/",
        "/api/v1/keys",
        "/api/v1/keys/",
        "/api/v1/keys/blue",
        "/api/v1/keys/blue/",
        "/api/v1/keys/blue/status/",
        "/api/v1/keys//status",
        "/api/v1/keys/blue//status",
        "/api/v1/keys/a/b/status",
        "/api/v1/keys/blue/Status",
        "/api/v1/keys/blue/enc%5Fkeys",
        "/api/v2/keys/blue/status",
        "/x/api/v1/keys/blue/status",
    ] {
        assert_eq!(decode(&get(path)), Err(Rejection::NotFound), "{path}");
    }
}

#[test]
fn sae_ids_that_are_none_are_rejected() {
    for sae in ["%", "%4", "%zz", "%ff", "a%0Ab", "%00", &"x".repeat(513)] {
        for method in ["status", "enc_keys", "dec_keys"] {
            assert_eq!(decode(&get(&format!("/api/v1/keys/{sae}/{method}"))), Err(Rejection::BadPath), "{sae}");
        }
    }
}

#[test]
fn other_http_methods_are_refused_with_allow() {
    for (method, path, allow) in [
        (Method::POST, "status", "GET"),
        (Method::HEAD, "status", "GET"),
        (Method::PUT, "enc_keys", "GET, POST"),
        (Method::DELETE, "dec_keys", "GET, POST"),
        (Method::OPTIONS, "dec_keys", "GET, POST"),
    ] {
        let mut request = get(&format!("/api/v1/keys/blue/{path}"));
        *request.method_mut() = method;
        let response = decode(&request).expect_err("another method").into_http();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], allow);
    }
}

#[test]
fn number_and_size_come_by_query() {
    for (query, number, size) in [
        ("", None, None),
        ("?", None, None),
        ("?number=3&size=512", Some(3), Some(512)),
        ("?size=257", None, Some(257)),
        ("?&number=1&&unknown=%zz&x", Some(1), None),
        ("?%6eumber=%31%32", Some(12), None),
        ("?Number=7", None, None),
    ] {
        let request = key_request(decode(&get(&format!("/api/v1/keys/blue/enc_keys{query}"))).expect(query));
        assert_eq!(request, KeyRequest { number: number.map(count), size: size.map(bits), ..KeyRequest::default() }, "{query}");
    }
    for (query, error) in [
        ("number=0", QueryError::NotPositive("number")),
        ("number=-1", QueryError::NotPositive("number")),
        ("number=%2B1", QueryError::NotPositive("number")),
        ("number=+1", QueryError::NotPositive("number")),
        ("number=", QueryError::NotPositive("number")),
        ("number", QueryError::NotPositive("number")),
        ("number=1.0", QueryError::NotPositive("number")),
        ("number=three", QueryError::NotPositive("number")),
        ("number=4294967296", QueryError::NotPositive("number")),
        ("number=99999999999999999999999", QueryError::NotPositive("number")),
        ("size=0", QueryError::NotPositive("size")),
        ("size=0x10", QueryError::NotPositive("size")),
        ("number=1&number=1", QueryError::Repeated("number")),
        ("size=8&number=1&size=8", QueryError::Repeated("size")),
        ("number=%3", QueryError::Encoding),
        ("%ff=1", QueryError::Encoding),
        ("additional_slave_SAE_IDs=green", QueryError::NeedsPost("additional_slave_SAE_IDs")),
        ("extension_mandatory=x", QueryError::NeedsPost("extension_mandatory")),
        ("number=1&extension_optional", QueryError::NeedsPost("extension_optional")),
    ] {
        let request = get(&format!("/api/v1/keys/blue/enc_keys?{query}"));
        assert_eq!(decode(&request), Err(Rejection::BadQuery(error)), "{query}");
    }
}

#[test]
fn one_key_id_comes_by_query() {
    let upper = ID_1.to_uppercase();
    for query in [format!("key_ID={ID_1}"), format!("x=1&key_ID={upper}"), format!("key%5FID={}", ID_1.replace('-', "%2D"))] {
        let Ok(Call::GetKeyWithKeyIds(call)) = decode(&get(&format!("/api/v1/keys/red/dec_keys?{query}"))) else {
            panic!("{query}")
        };
        assert_eq!(call.key_ids.fits_get(), Some(key_id(ID_1)));
    }
    for (query, rejection) in [
        (String::new(), Rejection::BadQuery(QueryError::Missing("key_ID"))),
        (format!("key_id={ID_1}"), Rejection::BadQuery(QueryError::Missing("key_ID"))),
        (format!("key_ID={ID_1}&key_ID={ID_2}"), Rejection::BadQuery(QueryError::Repeated("key_ID"))),
        (format!("key_ID={ID_1},{ID_2}"), Rejection::KeysNotFound { ids: vec![] }),
        ("key_ID=".to_owned(), Rejection::KeysNotFound { ids: vec![] }),
        ("key_ID=5-block".to_owned(), Rejection::KeysNotFound { ids: vec![] }),
        (format!("key_ID={ID_1}&key_ID_extension=x"), Rejection::BadQuery(QueryError::NeedsPost("key_ID_extension"))),
        (format!("key_IDs={ID_1}"), Rejection::BadQuery(QueryError::NeedsPost("key_IDs"))),
    ] {
        assert_eq!(decode(&get(&format!("/api/v1/keys/red/dec_keys?{query}"))), Err(rejection), "{query}");
    }
}

#[test]
fn get_has_no_body() {
    for method in ["status".to_owned(), "enc_keys".to_owned(), format!("dec_keys?key_ID={ID_1}")] {
        let path = format!("/api/v1/keys/blue/{method}");
        assert!(decode(&get(&path)).is_ok());
        let mut request = get(&path);
        *request.body_mut() = b"{}".to_vec();
        assert_eq!(decode(&request), Err(Rejection::BodyNotAllowed), "{method}");
    }
}

#[test]
fn post_without_octets_is_an_empty_request_when_lenient() {
    for content_type in [None, Some("application/json"), Some("application/x-www-form-urlencoded")] {
        let mut request = Request::post("/api/v1/keys/blue/enc_keys");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Vec::new()).expect("a request");
        assert_eq!(key_request(Call::decode(&request, Lenient).expect("lenient")), KeyRequest::default());
        let rejection = Call::decode(&request, Strict).expect_err("strict");
        match content_type {
            Some("application/json") => assert_eq!(rejection.status(), StatusCode::BAD_REQUEST),
            _ => assert_eq!(rejection, Rejection::UnsupportedMediaType),
        }
    }
    // there is no empty form of Key IDs
    for decoding in BOTH {
        let rejection = Call::decode(&post("/api/v1/keys/red/dec_keys", ""), decoding).expect_err("no IDs");
        assert_eq!(rejection.status(), StatusCode::BAD_REQUEST);
    }
}

#[test]
fn posts_are_json() {
    for (content_type, lenient, strict) in [
        (Some("application/json"), true, true),
        (Some("application/json; charset=utf-8"), true, true),
        (None, true, false),
        (Some("text/plain"), false, false),
        (Some("application/x-www-form-urlencoded"), false, false),
        (Some("application/cbor"), false, false),
    ] {
        let mut request = Request::post("/api/v1/keys/blue/enc_keys");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(b"{}".to_vec()).expect("a request");
        for (decoding, accepted) in [(Lenient, lenient), (Strict, strict)] {
            match Call::decode(&request, decoding) {
                Ok(_) => assert!(accepted, "{content_type:?}"),
                Err(rejection) => assert_eq!((accepted, rejection), (false, Rejection::UnsupportedMediaType), "{content_type:?}"),
            }
        }
    }
}

#[test]
fn malformed_bodies_are_bad_requests() {
    for body in ["{", "[]", "number=1", r#"{"number":0}"#, r#"{"number":"1"}"#, r#"{"size":-8}"#, "{}{}"] {
        let rejection = decode(&post("/api/v1/keys/blue/enc_keys", body)).expect_err(body);
        assert!(matches!(rejection, Rejection::BadFormat(_)), "{body}");
        assert_eq!(rejection.status(), StatusCode::BAD_REQUEST);
    }
    for body in ["{}", r#"{"key_IDs":"x"}"#, &format!(r#"{{"key_IDs":["{ID_1}"]}}"#)] {
        let rejection = decode(&post("/api/v1/keys/red/dec_keys", body)).expect_err(body);
        assert!(matches!(rejection, Rejection::BadFormat(_)), "{body}");
    }
    let malformed = decode(&post("/api/v1/keys/red/dec_keys", r#"{"key_IDs":[{"key_ID":"5-block"}]}"#));
    assert_eq!(malformed, Err(Rejection::KeysNotFound { ids: vec![] }));
}

/// One of each rejection, with status and message.
fn rejections() -> Vec<(Rejection, u16, &'static str)> {
    let bad_format = KeyRequest::decode(b"[]", Strict).expect_err("an array");
    assert_eq!(bad_format.problem(), Problem::WrongType);
    vec![
        (Rejection::BadFormat(bad_format), 400, "bad request format: wrong type (line 1, column 2)"),
        (Rejection::BadQuery(QueryError::Repeated("size")), 400, "size may occur only once in the query"),
        (Rejection::BadPath, 400, "the path has no percent-encoded SAE ID"),
        (Rejection::BodyNotAllowed, 400, "a GET request has no body"),
        (Rejection::SizeNotMultipleOf8, 400, "size shall be a multiple of 8"),
        (
            Rejection::MandatoryExtensionUnsupported { names: vec!["hx_path".to_owned()] },
            400,
            "not all extension_mandatory parameters are supported",
        ),
        (
            Rejection::MandatoryExtensionNotMet { details: vec![object(r#"{"hx_path":"no direct link to target"}"#)] },
            400,
            "not all extension_mandatory request options could be met",
        ),
        (
            Rejection::OptionalExtensionNotHandled { details: vec![object(r#"{"hx_trace":"not handled"}"#)] },
            400,
            "not all extension_optional request options handled",
        ),
        (Rejection::KeysNotFound { ids: vec![key_id(ID_1)] }, 400, "one or more keys specified are not found on KME"),
        (Rejection::UnknownSae, 400, "unknown SAE ID"),
        (Rejection::TooManyKeys { asked: 17, max: 16 }, 400, "number is larger than max_key_per_request"),
        (Rejection::SizeOutOfRange { min: bits(64), max: bits(4096) }, 400, "size is not between min_key_size and max_key_size"),
        (Rejection::NoKeyIds, 400, "key_IDs is empty"),
        (Rejection::TooManyKeyIds { asked: 17, max: 16 }, 400, "more key_IDs than max_key_per_request"),
        (Rejection::RepeatedKeyId(key_id(ID_1)), 400, "key_IDs names a key twice"),
        (Rejection::TooManySlaves { asked: 3, max: 2 }, 400, "more additional_slave_SAE_IDs than max_SAE_ID_count"),
        (Rejection::InvalidSlaves(SlaveProblem::CallerIsSlave), 400, "the calling SAE cannot be a slave of its own keys"),
        (Rejection::NotEntitled, 401, "the SAE is not entitled to every key specified"),
        (Rejection::Unauthenticated, 401, "the SAE is not authenticated"),
        (Rejection::NotFound, 404, "no such method"),
        (Rejection::MethodNotAllowed { allow: "GET" }, 405, "the method does not allow this HTTP method"),
        (Rejection::PayloadTooLarge, 413, "the request body is too large"),
        (Rejection::UnsupportedMediaType, 415, "the content type shall be application/json"),
        (Rejection::NotEnoughKeys, 503, "not enough keys are stored"),
        (Rejection::QuotaExceeded, 503, "the quota of the SAE is exceeded"),
        (Rejection::unavailable("key data access error"), 503, "key data access error"),
    ]
}

fn check_headers(response: &Response<Body>) {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
}

#[test]
fn every_rejection_has_its_status_and_an_error_body() {
    for (rejection, status, message) in rejections() {
        assert_eq!(rejection.to_string(), message);
        let details = rejection.details();
        let response = rejection.into_http();
        assert_eq!(response.status(), status, "{message}");
        check_headers(&response);
        let error = ErrorBody::decode(response.body().as_ref(), Strict).expect("an Error body");
        assert_eq!(error, ErrorBody { message: message.to_owned(), details });
    }
}

#[test]
fn mandated_texts_are_literal() {
    let literal = |rejection: Rejection| String::from_utf8(rejection.into_http().body().as_ref().to_vec()).expect("UTF-8");
    for (rejection, body) in [
        (Rejection::SizeNotMultipleOf8, r#"{"message":"size shall be a multiple of 8"}"#.to_owned()),
        (
            Rejection::MandatoryExtensionUnsupported { names: vec!["hx_path".to_owned(), "hx_b".to_owned()] },
            r#"{"message":"not all extension_mandatory parameters are supported","details":[{"extension_mandatory_unsupported":"hx_path"},{"extension_mandatory_unsupported":"hx_b"}]}"#.to_owned(),
        ),
        (
            Rejection::MandatoryExtensionNotMet { details: vec![object(r#"{"hx_path":"no direct link to target"}"#)] },
            r#"{"message":"not all extension_mandatory request options could be met","details":[{"hx_path":"no direct link to target"}]}"#.to_owned(),
        ),
        (
            Rejection::OptionalExtensionNotHandled { details: vec![] },
            r#"{"message":"not all extension_optional request options handled"}"#.to_owned(),
        ),
        (
            Rejection::KeysNotFound { ids: vec![key_id(ID_1)] },
            format!(r#"{{"message":"one or more keys specified are not found on KME","details":[{{"key_ID":"{ID_1}"}}]}}"#),
        ),
    ] {
        assert_eq!(literal(rejection), body);
    }
}

#[test]
fn rejections_repeat_bounded_input_only() {
    let names = (0..100).map(|_| format!("\u{1b}[2J{}", "n".repeat(10_000))).collect();
    let response = Rejection::MandatoryExtensionUnsupported { names }.into_http();
    let error = ErrorBody::decode(response.body().as_ref(), Strict).expect("an Error body");
    assert_eq!(error.details.len(), 8);
    for detail in error.details {
        let name = detail["extension_mandatory_unsupported"].as_str().expect("text");
        assert!(name.chars().count() == 64 && name.starts_with("?[2Jnn"), "{name:?}");
    }
    let error = Rejection::KeysNotFound { ids: vec![key_id(ID_1); 1000] };
    assert_eq!(error.details().len(), 8);
}

#[test]
fn successes_are_json_that_nobody_stores() {
    let status = etsi014::Limits::default().status(
        etsi014::Parties { source_kme: kme("north"), target_kme: kme("south"), master: sae("red"), slave: sae("blue") },
        7,
        100,
    );
    let response = Reply::Status(status.clone()).into_http();
    assert_eq!(response.status(), StatusCode::OK);
    check_headers(&response);
    assert_eq!(Status::decode(response.body().as_ref(), Strict), Ok(status));

    let container = KeyContainer::from_iter([key(ID_1, &[7; 32])]);
    let response = Reply::Keys(container).into_http();
    assert_eq!(response.status(), StatusCode::OK);
    check_headers(&response);
    let container = KeyContainer::decode(response.body().as_ref(), Strict).expect("a container");
    assert_eq!(container.keys[0].material.expose_secret(), [7; 32]);
}

#[test]
fn answer_joins_decoding_and_encoding() {
    let handler = |call| match call {
        Call::GetStatus(_) => Err(Rejection::unavailable("key data access error")),
        _ => Ok(Reply::Keys(KeyContainer::from_iter([key(ID_1, &[7; 32])]))),
    };
    for (path, status) in [("blue/status", 503), ("blue/enc_keys", 200), ("blue/enc_keys?size=0", 400), ("blue", 404)] {
        assert_eq!(answer(&get(&format!("/api/v1/keys/{path}")), Lenient, handler).status(), status, "{path}");
    }
}

proptest! {
    #[test]
    fn sae_ids_survive_the_path(id in any_sae()) {
        let path = format!("/api/v1/keys/{}/status", id.to_path_segment());
        let call = Call::decode(&get(&path), Strict);
        prop_assert_eq!(call, Ok(Call::GetStatus(etsi014::GetStatus { slave: id })));
    }

    #[test]
    fn no_request_makes_decoding_panic(path in "/api/v1/keys/[ -~]{0,30}", body in prop::collection::vec(any::<u8>(), 0..60), post: bool) {
        if let Ok(uri) = http::Uri::try_from(path) {
            let mut request = Request::new(body);
            *request.uri_mut() = uri;
            *request.method_mut() = if post { Method::POST } else { Method::GET };
            for decoding in BOTH {
                if let Err(rejection) = Call::decode(&request, decoding) {
                    let response = rejection.into_http();
                    prop_assert!(response.status().is_client_error());
                    prop_assert!(ErrorBody::decode(response.body().as_ref(), Strict).is_ok());
                }
            }
        }
    }
}
