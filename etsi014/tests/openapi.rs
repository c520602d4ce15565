//! The committed OpenAPI document is the one the code makes, and says what the code does.

#![cfg(feature = "openapi")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use etsi014::openapi::openapi_json;
use etsi014::{Call, Decoding, ErrorBody, GetKey, KeyContainer, KeyIds, KeyRequest, Limits, Status};
use serde_json::Value;
use support::*;

fn document() -> Value {
    serde_json::from_str(&openapi_json(&Limits::default())).expect("JSON")
}

#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let current = openapi_json(&Limits::default());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &current).expect("openapi.json can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "etsi014/openapi.json differs from the code; to rewrite it: UPDATE_OPENAPI=1 cargo test -p qkms-etsi014 --features openapi"
    );
}

#[test]
fn every_method_and_form_is_there_with_its_statuses() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let statuses: Vec<_> = operation["responses"].as_object().expect("responses").keys().map(String::as_str).collect();
            found.insert(format!("{method} {path} {}", statuses.join(" ")));
        }
    }
    let expected = [
        "get /api/v1/keys/{slave_SAE_ID}/status 200 400 401 404 405 413 503",
        "get /api/v1/keys/{slave_SAE_ID}/enc_keys 200 400 401 404 405 413 503",
        "post /api/v1/keys/{slave_SAE_ID}/enc_keys 200 400 401 404 405 413 415 503",
        "get /api/v1/keys/{master_SAE_ID}/dec_keys 200 400 401 404 405 413 503",
        "post /api/v1/keys/{master_SAE_ID}/dec_keys 200 400 401 404 405 413 415 503",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{}", found.len());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn examples_are_decodable() {
    let document = document();
    let mut examples = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for operation in item.as_object().expect("operations").values() {
            let request = &operation["requestBody"]["content"]["application/json"]["example"];
            if !request.is_null() {
                let body = request.to_string();
                if path.ends_with("enc_keys") {
                    let request = KeyRequest::decode(body.as_bytes(), Decoding::Strict).expect("an example");
                    let call = GetKey { slave: sae("blue"), request };
                    assert!(Limits::default().admit(&sae("red"), call).is_ok(), "{body}");
                } else {
                    assert!(KeyIds::decode(body.as_bytes(), Decoding::Strict).is_ok(), "{body}");
                }
                examples += 1;
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let body = response["content"]["application/json"]["example"].to_string();
                let decoded = match (status.as_str(), path.ends_with("status")) {
                    ("200", true) => Status::decode(body.as_bytes(), Decoding::Strict).map(drop),
                    ("200", false) => KeyContainer::decode(body.as_bytes(), Decoding::Strict).map(drop),
                    _ => ErrorBody::decode(body.as_bytes(), Decoding::Strict).map(drop),
                };
                assert_eq!(decoded, Ok(()), "{status} {body}");
                examples += 1;
            }
        }
    }
    assert_eq!(examples, 2 + 5 * 7 + 2);
}

#[test]
fn parameters_are_those_of_the_decoder() {
    let document = document();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let parameters = item["get"]["parameters"].as_array().expect("parameters");
        let mut uri = path.clone();
        for (index, parameter) in parameters.iter().enumerate() {
            let (name, example) = (parameter["name"].as_str().expect("a name"), &parameter["example"]);
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            match parameter["in"].as_str() {
                Some("path") => uri = uri.replace(&format!("{{{name}}}"), &example),
                _ => uri = format!("{uri}{}{name}={example}", if index == 1 { '?' } else { '&' }),
            }
        }
        let request = http::Request::get(&uri).body(Vec::new()).expect("a request");
        let call = Call::decode(&request, Decoding::Strict).expect("an example");
        match call {
            Call::GetKey(call) => assert_eq!(call.request, KeyRequest::new(count(2), bits(256))),
            Call::GetKeyWithKeyIds(call) => assert_eq!(call.key_ids.fits_get(), Some(key_id(ID_1))),
            Call::GetStatus(call) => assert_eq!(call.slave, sae("blue")),
        }
    }
}

#[test]
fn limits_show_in_the_schemas() {
    let limits = Limits::default()
        .with_sizes(bits(1), bits(257), bits(300), false)
        .expect("coherent")
        .with_max_keys(count(3))
        .with_max_additional_slaves(0)
        .with_mandatory_extension("hx_path");
    let document: Value = serde_json::from_str(&openapi_json(&limits)).expect("JSON");
    let request = &document["components"]["schemas"]["KeyRequest"]["properties"];
    assert_eq!((&request["number"]["minimum"], &request["number"]["maximum"]), (&1.into(), &3.into()));
    assert_eq!((&request["size"]["minimum"], &request["size"]["maximum"]), (&1.into(), &300.into()));
    assert!(request["size"].get("multipleOf").is_none());
    assert_eq!(request["additional_slave_SAE_IDs"]["maxItems"], 0);
    let supported = &request["extension_mandatory"]["items"];
    assert!(supported["properties"].get("hx_path").is_some() && supported["additionalProperties"] == false);
    assert_eq!(document["components"]["schemas"]["KeyIds"]["properties"]["key_IDs"]["maxItems"], 3);
    let by_default = self::document();
    assert_eq!(by_default["components"]["schemas"]["KeyRequest"]["properties"]["size"]["multipleOf"], 8);
}
