//! The data formats of clause 6: vectors for every decoder, and round trips.

mod support;

use etsi014::decode::Problem;
use etsi014::{Decoding, ErrorBody, KeyContainer, KeyIds, KeyRequest, Status};
use proptest::prelude::*;
use support::*;

use Decoding::{Lenient, Strict};

const BOTH: [Decoding; 2] = [Lenient, Strict];

/// What a decoder says to a body: nothing, or member and problem.
type Verdict = Result<(), (&'static str, Problem)>;

fn check(decode: impl Fn(&[u8], Decoding) -> Result<(), etsi014::DecodeError>, json: &str, lenient: Verdict, strict: Verdict) {
    for (decoding, expected) in [(Lenient, lenient), (Strict, strict)] {
        let verdict = decode(json.as_bytes(), decoding).map_err(|error| (error.member(), error.problem()));
        assert_eq!(verdict, expected, "{decoding:?} {json}");
    }
}

fn status_json(member: &str, value: &str) -> String {
    let members = [
        ("source_KME_ID", "\"north\""),
        ("target_KME_ID", "\"south\""),
        ("master_SAE_ID", "\"red\""),
        ("slave_SAE_ID", "\"blue\""),
        ("key_size", "256"),
        ("stored_key_count", "412"),
        ("max_key_count", "2048"),
        ("max_key_per_request", "16"),
        ("max_key_size", "4096"),
        ("min_key_size", "64"),
        ("max_SAE_ID_count", "2"),
    ];
    let members = members.map(|(name, usual)| match (name == member, value) {
        (true, "") => String::new(),
        (true, value) => format!("\"{name}\":{value},"),
        (false, _) => format!("\"{name}\":{usual},"),
    });
    format!("{{{}\"x\":[]}}", members.concat())
}

#[test]
fn status_has_eleven_mandatory_members() {
    for decoding in BOTH {
        let status = Status::decode(status_json("", "").as_bytes(), decoding).expect("complete");
        assert_eq!(status.source_kme, kme("north"));
        assert_eq!(status.target_kme, kme("south"));
        assert_eq!(status.master, sae("red"));
        assert_eq!(status.slave, sae("blue"));
        let numbers = [
            status.key_size,
            status.stored_key_count,
            status.max_key_count,
            status.max_key_per_request,
            status.max_key_size,
            status.min_key_size,
            status.max_sae_id_count,
        ];
        assert_eq!(numbers, [256, 412, 2048, 16, 4096, 64, 2]);
        assert_eq!(status.extension, None);
    }
    for name in [
        "source_KME_ID",
        "target_KME_ID",
        "master_SAE_ID",
        "slave_SAE_ID",
        "key_size",
        "stored_key_count",
        "max_key_count",
        "max_key_per_request",
        "max_key_size",
        "min_key_size",
        "max_SAE_ID_count",
    ] {
        for (value, problem) in
            [("", Problem::Missing), ("null", Problem::Missing), ("[]", Problem::WrongType), ("true", Problem::WrongType)]
        {
            let verdict = Err((name, problem));
            check(|body, how| Status::decode(body, how).map(drop), &status_json(name, value), verdict, verdict);
        }
    }
}

#[test]
fn status_values_have_types() {
    let decode = |body: &[u8], how| Status::decode(body, how).map(drop);
    let wrong = |member| Err((member, Problem::WrongType));
    for (member, value, lenient, strict) in [
        ("max_SAE_ID_count", "\"2\"", Ok(()), wrong("max_SAE_ID_count")),
        ("max_SAE_ID_count", "\"-2\"", wrong("max_SAE_ID_count"), wrong("max_SAE_ID_count")),
        ("max_SAE_ID_count", "\"\"", wrong("max_SAE_ID_count"), wrong("max_SAE_ID_count")),
        ("key_size", "256.0", Ok(()), wrong("key_size")),
        ("key_size", "256.5", wrong("key_size"), wrong("key_size")),
        ("key_size", "0", Ok(()), Ok(())),
        ("key_size", "-1", Err(("key_size", Problem::OutOfRange)), Err(("key_size", Problem::OutOfRange))),
        ("target_KME_ID", "0", wrong("target_KME_ID"), wrong("target_KME_ID")),
        ("target_KME_ID", "\"\"", Err(("target_KME_ID", Problem::InvalidId)), Err(("target_KME_ID", Problem::InvalidId))),
        ("master_SAE_ID", r#""\n""#, Err(("master_SAE_ID", Problem::InvalidId)), Err(("master_SAE_ID", Problem::InvalidId))),
    ] {
        check(decode, &status_json(member, value), lenient, strict);
    }
    let with_extension = status_json("", "").replace("\"x\":[]", "\"status_extension\":{\"hx_a\":[1]}");
    let status = Status::decode(with_extension.as_bytes(), Strict).expect("valid");
    assert_eq!(status.extension, Some(object(r#"{"hx_a":[1]}"#)));
    check(decode, &with_extension.replace("{\"hx_a\":[1]}", "[]"), wrong("status_extension"), wrong("status_extension"));
}

#[test]
fn key_request_members_are_optional_and_typed() {
    let decode = |body: &[u8], how| KeyRequest::decode(body, how).map(drop);
    let both = |json: &str, verdict: Verdict| check(decode, json, verdict, verdict);
    for json in [
        "{}",
        " {\n} ",
        r#"{"number":1}"#,
        r#"{"size":257}"#,
        r#"{"number":4294967295,"size":4294967295}"#,
        r#"{"number":null,"size":null,"additional_slave_SAE_IDs":null,"extension_mandatory":null,"extension_optional":null}"#,
        r#"{"additional_slave_SAE_IDs":[]}"#,
        r#"{"extension_mandatory":[{"hx_a":{"b":[null,true,1.5,"x"]}},{}],"extension_optional":[]}"#,
        r#"{"unknown":{"a":[1]},"unknown":2}"#,
    ] {
        both(json, Ok(()));
    }
    for (json, member, problem) in [
        (r#"{"number":0}"#, "number", Problem::OutOfRange),
        (r#"{"number":-1}"#, "number", Problem::OutOfRange),
        (r#"{"number":4294967296}"#, "number", Problem::OutOfRange),
        (r#"{"number":"3"}"#, "number", Problem::WrongType),
        (r#"{"number":1.5}"#, "number", Problem::WrongType),
        (r#"{"number":true}"#, "number", Problem::WrongType),
        (r#"{"size":0}"#, "size", Problem::OutOfRange),
        (r#"{"size":{}}"#, "size", Problem::WrongType),
        (r#"{"size":256,"size":256}"#, "size", Problem::Duplicate),
        (r#"{"size":null,"size":256}"#, "size", Problem::Duplicate),
        (r#"{"additional_slave_SAE_IDs":"blue"}"#, "additional_slave_SAE_IDs", Problem::WrongType),
        (r#"{"additional_slave_SAE_IDs":[1]}"#, "additional_slave_SAE_IDs", Problem::WrongType),
        (r#"{"additional_slave_SAE_IDs":[null]}"#, "additional_slave_SAE_IDs", Problem::WrongType),
        (r#"{"additional_slave_SAE_IDs":[""]}"#, "additional_slave_SAE_IDs", Problem::InvalidId),
        (r#"{"extension_mandatory":{"hx_a":1}}"#, "extension_mandatory", Problem::WrongType),
        (r#"{"extension_mandatory":["hx_a"]}"#, "extension_mandatory", Problem::WrongType),
        (r#"{"extension_mandatory":[{"hx_a":1,"hx_a":2}]}"#, "extension_mandatory", Problem::Duplicate),
        (r#"{"extension_optional":[{"a":[{"b":1,"b":2}]}]}"#, "extension_optional", Problem::Duplicate),
        ("[]", "", Problem::WrongType),
        ("null", "", Problem::WrongType),
        ("\"x\"", "", Problem::WrongType),
        ("", "", Problem::UnexpectedEnd),
        ("{", "", Problem::UnexpectedEnd),
        ("{}{}", "", Problem::Syntax),
        ("{} x", "", Problem::Syntax),
        ("\u{feff}{}", "", Problem::Syntax),
        ("{'number':1}", "", Problem::Syntax),
        (r#"{"number":01}"#, "", Problem::Syntax),
        (r#"{"number":1e999}"#, "", Problem::Syntax),
    ] {
        both(json, Err((member, problem)));
    }
    check(decode, r#"{"number":2.0}"#, Ok(()), Err(("number", Problem::WrongType)));
    let deep = format!(r#"{{"extension_optional":[{}1{}]}}"#, "{\"a\":".repeat(200), "}".repeat(200));
    both(&deep, Err(("", Problem::Syntax)));
}

#[test]
fn key_request_values_arrive() {
    let json = br#"{"number":3,"size":512,"additional_slave_SAE_IDs":["green","gr\u00fcn"],
        "extension_mandatory":[{"hx_path":"direct"},{"hx_profile":{"min_freshness_s":30}}],"extension_optional":[{"hx_trace":true}]}"#;
    for decoding in BOTH {
        let request = KeyRequest::decode(json, decoding).expect("valid");
        assert_eq!((request.number, request.size), (Some(count(3)), Some(bits(512))));
        assert_eq!(request.additional_slaves, [sae("green"), sae("grün")]);
        assert_eq!(
            request.extension_mandatory,
            [object(r#"{"hx_path":"direct"}"#), object(r#"{"hx_profile":{"min_freshness_s":30}}"#)]
        );
        assert_eq!(request.extension_optional, [object(r#"{"hx_trace":true}"#)]);
    }
}

#[test]
fn absent_members_are_left_out() {
    assert_eq!(KeyRequest::default().encode().as_ref(), b"{}");
    assert_eq!(KeyRequest::new(count(2), bits(128)).encode().as_ref(), br#"{"number":2,"size":128}"#);
    let ids = KeyIds::from_iter([key_id(ID_1)]);
    assert_eq!(ids.encode().as_ref(), format!(r#"{{"key_IDs":[{{"key_ID":"{ID_1}"}}]}}"#).as_bytes());
    let error = ErrorBody { message: "key store unavailable".to_owned(), details: Vec::new() };
    assert_eq!(error.encode().as_ref(), br#"{"message":"key store unavailable"}"#);
    let container = KeyContainer::from_iter([key(ID_1, b"0123456789abcdef")]);
    let json = format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":"MDEyMzQ1Njc4OWFiY2RlZg=="}}]}}"#);
    assert_eq!(container.encode().as_ref(), json.as_bytes());
}

#[test]
fn key_ids_are_objects_in_an_array() {
    let decode = |body: &[u8], how| KeyIds::decode(body, how).map(drop);
    for (json, verdict) in [
        (r#"{"key_IDs":[{"key_ID":"ID"}]}"#, Ok(())),
        (r#"{"key_IDs":[{"key_ID":"ID","key_ID_extension":{"hx_hint":"e"}},{"key_ID":"ID"}],"key_IDs_extension":{}}"#, Ok(())),
        (r#"{"key_IDs":[]}"#, Ok(())),
        (r#"{"key_IDs":[{"key_ID":"ID","key_ID_extension":null,"x":1}],"key_IDs_extension":null}"#, Ok(())),
        (r#"{"key_IDs":["ID"]}"#, Err(("key_IDs", Problem::WrongType))),
        (r#"{"key_IDs":{"key_ID":"ID"}}"#, Err(("key_IDs", Problem::WrongType))),
        (r#"{"key_IDs":null}"#, Err(("key_IDs", Problem::Missing))),
        (r#"{}"#, Err(("key_IDs", Problem::Missing))),
        (r#"{"key_ID":"ID"}"#, Err(("key_IDs", Problem::Missing))),
        (r#"{"key_IDs":[{}]}"#, Err(("key_ID", Problem::Missing))),
        (r#"{"key_IDs":[{"key_ID":1}]}"#, Err(("key_ID", Problem::WrongType))),
        (r#"{"key_IDs":[{"key_ID":"5-block"}]}"#, Err(("key_ID", Problem::InvalidKeyId))),
        (r#"{"key_IDs":[{"key_ID":"ID","key_ID":"ID"}]}"#, Err(("key_ID", Problem::Duplicate))),
        (r#"{"key_IDs":[],"key_IDs":[]}"#, Err(("key_IDs", Problem::Duplicate))),
        (r#"{"key_IDs":[{"key_ID":"ID","key_ID_extension":[]}]}"#, Err(("key_ID_extension", Problem::WrongType))),
        (r#"{"key_IDs":[],"key_IDs_extension":"x"}"#, Err(("key_IDs_extension", Problem::WrongType))),
    ] {
        check(decode, &json.replace("ID\"}", &format!("{ID_1}\"}}")).replace("\"ID\"", &format!("\"{ID_1}\"")), verdict, verdict);
    }
}

#[test]
fn key_container_vectors() {
    let decode = |body: &[u8], how| KeyContainer::decode(body, how).map(drop);
    let invalid = Err(("key", Problem::InvalidKey));
    let container = |key: &str| format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":{key}}}]}}"#);
    for (key, lenient, strict) in [
        (r#""5c19kPQ0C3Ka5ZOQDQQFlA==""#, Ok(()), Ok(())),
        (r#""iWyOmCUPXP5gqp7Q0pZyZw==""#, Ok(()), Ok(())),
        (r#""XMdueTCBzG3nqznjD3035kEzG2jzxsDGa+Wa8ylv2\/g=""#, Ok(()), Ok(())),
        (r#""AA\u003d\u003D""#, Ok(()), Ok(())),
        // no padding, URL-safe alphabet, both
        (r#""5c19kPQ0C3Ka5ZOQDQQFlA""#, Ok(()), invalid),
        (r#""-_-_""#, Ok(()), invalid),
        (r#""-_-_-_8=""#, Ok(()), invalid),
        (r#""-_-_-_8""#, Ok(()), invalid),
        (r#""+_+_""#, invalid, invalid),
        (r#""""#, invalid, invalid),
        (r#""A""#, invalid, invalid),
        (r#""AA=""#, invalid, invalid),
        (r#""AA==AA==""#, invalid, invalid),
        // bits beyond the last octet
        (r#""AB==""#, invalid, invalid),
        (r#""AAAA\n""#, invalid, invalid),
        (r#"" AAAA""#, invalid, invalid),
        (r#""AAA\u00e9""#, invalid, invalid),
        (r#""AAAé""#, invalid, invalid),
        (r#""AAA\u0141""#, invalid, invalid),
        ("null", Err(("key", Problem::Missing)), Err(("key", Problem::Missing))),
        ("[1,2]", Err(("key", Problem::WrongType)), Err(("key", Problem::WrongType))),
    ] {
        check(decode, &container(key), lenient, strict);
        // Where anything is escaped, keys are read in another way.
        check(decode, &container(key).replace("{\"keys\"", r#"{"x":"\n","keys""#), lenient, strict);
    }
    for (json, lenient, strict) in [
        (r#"{"keys":[]}"#, Ok(()), Ok(())),
        (r#"{"Keys":[]}"#, Ok(()), Err(("keys", Problem::Missing))),
        (r#"{"keys":[],"Keys":[]}"#, Err(("Keys", Problem::Duplicate)), Ok(())),
        (r#"{"keys":[],"keys":[]}"#, Err(("keys", Problem::Duplicate)), Err(("keys", Problem::Duplicate))),
        (r#"{}"#, Err(("keys", Problem::Missing)), Err(("keys", Problem::Missing))),
        (r#"{"keys":[{"key":"AAAA"}]}"#, Err(("key_ID", Problem::Missing)), Err(("key_ID", Problem::Missing))),
        (r#"{"keys":[{"key_ID":"5"}]}"#, Err(("key_ID", Problem::InvalidKeyId)), Err(("key_ID", Problem::InvalidKeyId))),
        (r#"{"keys":[{"key":"AAAA","key":"AAAA"}]}"#, Err(("key", Problem::Duplicate)), Err(("key", Problem::Duplicate))),
        (r#"{"keys":["AAAA"]}"#, Err(("keys", Problem::WrongType)), Err(("keys", Problem::WrongType))),
        (r#"{"keys":"AAAA"}"#, Err(("keys", Problem::WrongType)), Err(("keys", Problem::WrongType))),
    ] {
        check(decode, json, lenient, strict);
    }
}

#[test]
fn key_container_extensions_arrive() {
    let json = format!(
        r#"{{"keys":[{{"key_ID":"{ID_1}","key":"NK5kmZMgJXYB8MAWLtimeh4LC7imQ5jKcDpbn5WGi9A=",
        "key_ID_extension":{{"hx_epoch":71}},"key_extension":{{"hx_path":"direct"}}}}],
        "key_container_extension":{{"hx_notes":["hx_trace ignored"]}}}}"#
    );
    for decoding in BOTH {
        let container = KeyContainer::decode(json.as_bytes(), decoding).expect("valid");
        assert_eq!(container.extension, Some(object(r#"{"hx_notes":["hx_trace ignored"]}"#)));
        let key = &container.keys[0];
        assert_eq!(key.id_extension, Some(object(r#"{"hx_epoch":71}"#)));
        assert_eq!(key.key_extension, Some(object(r#"{"hx_path":"direct"}"#)));
        assert_eq!(key.material.size(), bits(256));
        assert_eq!(key.material.expose_secret()[..4], [0x34, 0xae, 0x64, 0x99]);
    }
}

#[test]
fn sizes_are_counted_in_bits_and_padded_on_the_right() {
    let json = |key: &str| format!(r#"{{"keys":[{{"key_ID":"{ID_1}","key":"{key}"}}]}}"#);
    for (key, size, fits) in [
        ("/////w==", 32, true),
        ("/////w==", 31, false),
        ("/////w==", 4, false),
        ("/////w==", 256, false),
        ("/////g==", 31, true),
        ("/4A=", 9, true),
        ("/8A=", 9, false),
        ("/wA=", 9, true),
        ("/w==", 9, false),
    ] {
        let decoded = KeyContainer::decode_sized(json(key).as_bytes(), Strict, bits(size));
        match decoded {
            Ok(container) => assert!(fits && container.keys[0].material.size() == bits(size), "{key} {size}"),
            Err(error) => assert_eq!((fits, error.problem()), (false, Problem::WrongKeySize), "{key} {size}"),
        }
    }
}

#[test]
fn error_bodies() {
    let decode = |json: &str, how| ErrorBody::decode(json.as_bytes(), how).map(|error| (error.message, error.details.len()));
    let found = |message: &str, details| Some((message.to_owned(), details));
    for (json, lenient, strict) in [
        (r#"{"message":"m"}"#, found("m", 0), found("m", 0)),
        (r#"{"message":"m","details":[{"a":1},{}]}"#, found("m", 2), found("m", 2)),
        (r#"{"message":"m","details":null,"ksid":7}"#, found("m", 0), found("m", 0)),
        (r#"{"message":"m","details":["text",{"a":1}]}"#, found("m", 1), None),
        (r#"{"detail":"d"}"#, found("d", 0), None),
        (r#"{"detail":"d","message":"m"}"#, found("m", 0), found("m", 0)),
        (r#"{"detail":[{"loc":["a"]}]}"#, None, None),
        (r#"{"messsage":"m"}"#, None, None),
        (r#"{"message":"m","message":"m"}"#, None, None),
        (r#"{"message":7}"#, None, None),
        ("not found", None, None),
    ] {
        assert_eq!(decode(json, Lenient).ok(), lenient, "{json}");
        assert_eq!(decode(json, Strict).ok(), strict, "{json}");
    }
}

#[test]
fn bodies_are_utf_8() {
    for body in [&b"{\"message\":\"\xff\"}"[..], b"\xff\xfe{\0}\0", b"{}\x80"] {
        let error = ErrorBody::decode(body, Lenient).expect_err("not UTF-8");
        assert_eq!(error.problem(), Problem::NotUtf8);
    }
    // also where the value is skipped, or only passed through
    let error = KeyRequest::decode(b"{\"number\":1,\n\"x\":\"\xc3\x28\"}", Lenient).expect_err("not UTF-8");
    assert_eq!((error.line(), error.column()), (2, 6));
    let message = ErrorBody::decode("{\"message\":\"Schlüssel\"}".as_bytes(), Strict).expect("UTF-8").message;
    assert_eq!(message, "Schlüssel");
}

#[test]
fn errors_tell_the_place() {
    let error = KeyRequest::decode(b"{\n  \"number\": 1,\n  \"size\": \"x\"\n}", Strict).expect_err("wrong type");
    assert_eq!((error.line(), error.member()), (3, "size"));
    assert_eq!(error.to_string(), format!("size: wrong type (line 3, column {})", error.column()));
    assert!((8..=13).contains(&error.column()), "{}", error.column());
}

proptest! {
    #[test]
    fn status_round_trips(status in any_status()) {
        for decoding in BOTH {
            prop_assert_eq!(&Status::decode(status.encode().as_ref(), decoding).expect("own output"), &status);
        }
    }

    #[test]
    fn key_requests_round_trip(request in any_key_request()) {
        for decoding in BOTH {
            prop_assert_eq!(&KeyRequest::decode(request.encode().as_ref(), decoding).expect("own output"), &request);
        }
    }

    #[test]
    fn key_ids_round_trip(ids in any_key_ids()) {
        for decoding in BOTH {
            prop_assert_eq!(&KeyIds::decode(ids.encode().as_ref(), decoding).expect("own output"), &ids);
        }
    }

    #[test]
    fn error_bodies_round_trip(message in ".*", details in prop::collection::vec(any_object(), 0..3)) {
        let error = ErrorBody { message, details };
        for decoding in BOTH {
            prop_assert_eq!(&ErrorBody::decode(error.encode().as_ref(), decoding).expect("own output"), &error);
        }
    }

    #[test]
    fn key_containers_round_trip(container in any_container()) {
        let body = container.encode();
        // a parser that is not ours agrees that it is JSON
        let value: serde_json::Value = serde_json::from_slice(body.as_ref()).expect("JSON");
        prop_assert_eq!(value["keys"].as_array().map(Vec::len), Some(container.keys.len()));
        for decoding in BOTH {
            let decoded = KeyContainer::decode(body.as_ref(), decoding).expect("own output");
            prop_assert!(same_keys(&decoded, &container));
        }
    }

    #[test]
    fn no_octets_make_a_decoder_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_all(&octets);
    }

    #[test]
    fn no_mutation_makes_a_decoder_panic(
        container in any_container(), status in any_status(), ids in any_key_ids(), request in any_key_request(),
        cut in any::<prop::sample::Index>(), octet: u8, insert: bool,
    ) {
        for body in [container.encode(), status.encode(), ids.encode(), request.encode()] {
            let mut octets = body.as_ref().to_vec();
            let at = cut.index(octets.len());
            decode_all(&octets[..at]);
            if insert { octets.insert(at, octet) } else { octets[at] = octet }
            decode_all(&octets);
        }
    }
}

fn decode_all(octets: &[u8]) {
    for decoding in BOTH {
        let _ = Status::decode(octets, decoding);
        let _ = KeyRequest::decode(octets, decoding);
        let _ = KeyIds::decode(octets, decoding);
        let _ = KeyContainer::decode(octets, decoding);
        let _ = KeyContainer::decode_sized(octets, decoding, bits(257));
        let _ = ErrorBody::decode(octets, decoding);
    }
}
