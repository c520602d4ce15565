//! No error, Debug or Display repeats what a body holds.

mod support;

use etsi014::{
    Body, Call, Decoding, ErrorBody, GetKey, GetKeyWithKeyIds, GetStatus, Key, KeyContainer, KeyIds, KeyRequest, Operation,
    Status,
};
use http::{Request, Response};
use support::*;

/// Base64 that would be recognised anywhere.
const MARK: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQh";

/// Bodies that have the mark where it does not belong, or are broken after it.
fn bodies() -> Vec<String> {
    let key = |id: &str| format!(r#"{{"key_ID":"{id}","key":"{MARK}"}}"#);
    let mut bodies = vec![
        MARK.to_owned(),
        format!("\"{MARK}\""),
        format!("[\"{MARK}\"]"),
        format!(r#"{{"{MARK}":1"#),
        format!(r#"{{"keys":"{MARK}"}}"#),
        format!(r#"{{"keys":["{MARK}"]}}"#),
        format!(r#"{{"keys":[{{"key_ID":"{MARK}","key":"{MARK}"}}]}}"#),
        format!(r#"{{"keys":[{}"#, key(ID_1)),
        format!(r#"{{"keys":[{}]}}{MARK}"#, key(ID_1)),
        format!(r#"{{"keys":[{},{}]}}"#, key(ID_1), key(ID_1)),
        format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":"{MARK}*"}}]}}"#),
        format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":"\u0063{MARK}*"}}]}}"#),
        format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":"{MARK}","key":"{MARK}"}}]}}"#),
        format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":["{MARK}"]}}]}}"#),
        format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key_extension":"{MARK}"}}]}}"#),
        format!(r#"{{"key_IDs":[{{"key_ID":"{MARK}"}}]}}"#),
        format!(r#"{{"key_IDs":"{MARK}"}}"#),
        format!(r#"{{"details":"{MARK}"}}"#),
    ];
    for name in
        ["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional", "source_KME_ID", "key_size"]
    {
        bodies.push(format!(r#"{{"{name}":"{MARK}\n"}}"#));
        bodies.push(format!(r#"{{"{name}":{{"{MARK}":"{MARK}","{MARK}":1}}}}"#));
    }
    bodies
}

fn assert_clean(text: &str) {
    assert!(!text.contains("c2Vj") && !text.contains("secret"), "{text}");
}

#[test]
fn decode_errors_hold_no_input() {
    let mut errors = 0;
    for body in bodies() {
        let octets = body.as_bytes();
        for how in [Decoding::Lenient, Decoding::Strict] {
            let found = [
                Status::decode(octets, how).err(),
                KeyRequest::decode(octets, how).err(),
                KeyIds::decode(octets, how).err(),
                KeyContainer::decode(octets, how).err(),
                KeyContainer::decode_sized(octets, how, bits(256)).err(),
                ErrorBody::decode(octets, how).err(),
            ];
            for error in found.into_iter().flatten() {
                errors += 1;
                assert_clean(&format!("{error} {error:?}"));
            }
        }
    }
    assert!(errors > 100, "{errors}");
}

#[test]
fn call_errors_hold_no_input() {
    let mut errors = 0;
    for body in bodies() {
        for status in [200, 202, 400, 500] {
            let response = Response::builder().status(status).body(body.as_bytes()).expect("a response");
            for how in [Decoding::Lenient, Decoding::Strict] {
                let found = [
                    GetStatus { slave: sae("blue") }.read_http(&response, how).err(),
                    GetKey { slave: sae("blue"), request: KeyRequest::default() }.read_http(&response, how).err(),
                    GetKeyWithKeyIds { master: sae("red"), key_ids: KeyIds::default() }.read_http(&response, how).err(),
                ];
                for error in found.into_iter().flatten() {
                    errors += 1;
                    assert_clean(&format!("{error} {error:?}"));
                }
            }
        }
    }
    assert!(errors > 100, "{errors}");
}

#[test]
fn answers_to_bad_requests_hold_no_input() {
    for body in bodies() {
        for path in ["/api/v1/keys/blue/enc_keys", "/api/v1/keys/red/dec_keys"] {
            let request =
                Request::post(path).header("content-type", "application/json").body(body.as_bytes()).expect("a request");
            for how in [Decoding::Lenient, Decoding::Strict] {
                if let Err(rejection) = Call::decode(&request, how) {
                    assert_clean(&format!("{rejection} {rejection:?}"));
                    let response = rejection.into_http();
                    assert_clean(std::str::from_utf8(response.body().as_ref()).expect("UTF-8"));
                }
            }
        }
    }
}

#[test]
fn debug_shows_no_key() {
    let mut key: Key = key(ID_1, b"secret-secret-secret!");
    key.key_extension = Some(object(&format!(r#"{{"hx_a":"{MARK}"}}"#)));
    let container = KeyContainer::from_iter([key]);
    let text = format!("{container:?}");
    assert_clean(&text);
    assert!(text.contains(ID_1) && text.contains("168 bits"), "{text}");
    let body: Body = container.encode();
    assert!(body.as_ref().windows(MARK.len()).any(|window| window == MARK.as_bytes()), "the key is in the body");
    assert_clean(&format!("{body:?}"));
}
