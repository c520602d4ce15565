//! The OpenAPI 3.1 document of the API, as this crate serves it with [`Decoding::Lenient`](crate::decode::Decoding::Lenient).
//!
//! ETSI has published none for V1.1.1. What a KME admits depends on its limits, so the document is made for given [`Limits`]; the one
//! in `openapi.json` is for the default.

mod schemas;

use serde_json::{Value, json};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::security::{SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::{ServerBuilder, ServerVariableBuilder};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref,
    RefOr, Required, Response, ResponseBuilder, Schema,
};

use crate::limits::Limits;

const JSON: &str = "application/json";

/// The document for a KME with these limits.
///
/// Whoever serves the API must still have the [`server`](crate::server) answer as it does; 413 and 401 come from the KME itself.
#[must_use]
pub fn openapi(limits: &Limits) -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("ETSI GS QKD 014 key delivery API")
                .version("1.1.1")
                .description(Some(
                    "REST-based key delivery between a key management entity (KME) and secure application entities (SAE), after ETSI GS \
                     QKD 014 V1.1.1. Sizes are in bits. The calling SAE is known by its TLS client certificate.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0 OR MIT").identifier(Some("Apache-2.0 OR MIT")).build()))
                .build(),
        )
        .servers(Some([ServerBuilder::new()
            .url("https://{KME_hostname}")
            .parameter(
                "KME_hostname",
                ServerVariableBuilder::new()
                    .default_value("localhost:8443")
                    .description(Some("Host name or IP address of the KME, optionally with a port")),
            )
            .build()]))
        .paths(
            PathsBuilder::new()
                .path("/api/v1/keys/{slave_SAE_ID}/status", PathItem::new(HttpMethod::Get, get_status()))
                .path("/api/v1/keys/{slave_SAE_ID}/enc_keys", both(get_key_simple(limits), get_key()))
                .path("/api/v1/keys/{master_SAE_ID}/dec_keys", both(get_key_with_one_id(), get_key_with_key_ids())),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schemas_from_iter(schemas::all(limits))
                .security_scheme(
                    "mutualTLS",
                    SecurityScheme::MutualTls {
                        description: Some("TLS 1.2 or later; the KME takes the SAE ID from the client certificate".to_owned()),
                        deprecated: None,
                        extensions: None,
                    },
                )
                .build(),
        ))
        .security(Some([SecurityRequirement::new::<&str, [&str; 0], &str>("mutualTLS", [])]))
        .build()
}

/// The document as indented JSON, ending in a newline.
#[must_use]
pub fn openapi_json(limits: &Limits) -> String {
    // plain values with text names always serialize
    let mut json = openapi(limits).to_pretty_json().unwrap_or_default();
    json.push('\n');
    json
}

fn both(get: Operation, post: Operation) -> PathItem {
    let mut item = PathItem::new(HttpMethod::Get, get);
    item.merge_operations(PathItem::new(HttpMethod::Post, post));
    item
}

fn get_status() -> Operation {
    operation("getStatus", "Get status", "What the caller, as master SAE, can ask for to share with this slave SAE.")
        .parameter(sae_in_path("slave_SAE_ID", "The SAE that would receive the keys, percent-encoded", "blue"))
        .response("200", success("Status", "The limits of the KME and the keys it holds for the two SAEs", status_example()))
        .build()
}

fn get_key_simple(limits: &Limits) -> Operation {
    let number = query("number", "How many keys; 1 when absent", schemas::number(limits, false), json!(2));
    let size =
        query("size", "The size of each key in bits; the KME's key_size when absent", schemas::size(limits, false), json!(256));
    operation(
        "getKeySimple",
        "Get key (GET form)",
        "New keys for the caller, as master SAE, and this slave SAE. Takes number and size only.",
    )
    .parameter(sae_in_path("slave_SAE_ID", "The SAE that shares the keys, percent-encoded", "blue"))
    .parameter(number)
    .parameter(size)
    .response("200", keys())
    .build()
}

fn get_key() -> Operation {
    let example =
        json!({"number": 1, "size": 512, "additional_slave_SAE_IDs": ["green"], "extension_optional": [{"hx_trace": true}]});
    operation("getKey", "Get key", "New keys for the caller, as master SAE, this slave SAE, and any additional ones.")
        .parameter(sae_in_path("slave_SAE_ID", "The SAE that shares the keys, percent-encoded", "blue"))
        .request_body(Some(body("KeyRequest", "What is asked for; nothing or {} is one key of the default size", false, example)))
        .response("200", keys())
        .response("415", error("The body is not of type application/json", "the content type shall be application/json"))
        .build()
}

fn get_key_with_one_id() -> Operation {
    let mut id = query("key_ID", "The key", schemas::key_id(), json!("0957365e-4b8d-4f95-8a8f-de3d60199dbb"));
    id.required = Required::True;
    operation(
        "getKeyWithKeyId",
        "Get key with key IDs (GET form)",
        "One key that the master SAE was given, for the caller as slave SAE.",
    )
    .parameter(sae_in_path("master_SAE_ID", "The SAE that called Get key, percent-encoded", "red"))
    .parameter(id)
    .response("200", keys())
    .build()
}

fn get_key_with_key_ids() -> Operation {
    let example = json!({"key_IDs": [
        {"key_ID": "f20f4a45-8a7f-43e5-b0d9-234ca2bfc5aa"},
        {"key_ID": "1136e869-67a8-43aa-8f73-4ead4060ff73", "key_ID_extension": {"hx_hint": "epoch-71"}},
    ]});
    operation(
        "getKeyWithKeyIds",
        "Get key with key IDs",
        "Keys that the master SAE was given, for the caller as slave SAE: all or none.",
    )
    .parameter(sae_in_path("master_SAE_ID", "The SAE that called Get key, percent-encoded", "red"))
    .request_body(Some(body("KeyIds", "The keys asked for", true, example)))
    .response("200", keys())
    .response("415", error("The body is not of type application/json", "the content type shall be application/json"))
    .build()
}

/// An operation with the errors that all have.
fn operation(id: &str, summary: &str, description: &str) -> OperationBuilder {
    let allow = HeaderBuilder::new().description(Some("The HTTP methods of this path")).schema(Some(schemas::text())).build();
    let method_not_allowed = error("The path has other HTTP methods", "the method does not allow this HTTP method");
    OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .description(Some(description))
        .response("400", error("The request cannot be met as it is", "size shall be a multiple of 8"))
        .response(
            "401",
            error("The caller is no SAE of this KME, or not entitled", "the SAE is not entitled to every key specified"),
        )
        .response("404", error("No such path", "no such method"))
        .response("405", ResponseBuilder::from(method_not_allowed).header("Allow", allow).build())
        .response("413", error("The request body is too large", "the request body is too large"))
        .response("503", error("An error on the side of the KME, or not enough keys", "key data access error"))
}

fn sae_in_path(name: &str, description: &str, example: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(Ref::from_schema_name("SaeId")))
        .example(Some(json!(example)))
        .build()
}

fn query(name: &str, description: &str, schema: RefOr<Schema>, example: Value) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example))
        .build()
}

fn body(schema: &str, description: &str, required: bool, example: Value) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    let required = if required { Required::True } else { Required::False };
    RequestBodyBuilder::new().description(Some(description)).required(Some(required)).content(JSON, content).build()
}

fn keys() -> Response {
    let example = json!({"keys": [
        {"key_ID": "0957365e-4b8d-4f95-8a8f-de3d60199dbb", "key": "bm90IGEgcmVhbCBrZXksIGp1c3QgYW4gZXhhbXBsZSE="},
    ]});
    success("KeyContainer", "The keys", example)
}

fn success(schema: &str, description: &str, example: Value) -> Response {
    response(schema, description, example)
}

fn error(description: &str, message: &str) -> Response {
    response("Error", description, json!({"message": message}))
}

fn response(schema: &str, description: &str, example: Value) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example)).build();
    let cache_control = HeaderBuilder::new().description(Some("Always no-store")).schema(Some(schemas::text())).build();
    ResponseBuilder::new().description(description).content(JSON, content).header("Cache-Control", cache_control).build()
}

fn status_example() -> Value {
    json!({
        "source_KME_ID": "north", "target_KME_ID": "south", "master_SAE_ID": "red", "slave_SAE_ID": "blue",
        "key_size": 256, "stored_key_count": 412, "max_key_count": 2048, "max_key_per_request": 128,
        "max_key_size": 4096, "min_key_size": 64, "max_SAE_ID_count": 4
    })
}
