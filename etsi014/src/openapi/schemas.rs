//! The data formats as JSON Schema. A body is valid by these exactly when the decoders and [`Limits`] take it.

use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::id::MAX_ID_OCTETS;
use crate::limits::Limits;

type SchemaRef = RefOr<Schema>;

const UUID: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
const BASE64: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";
const NO_CONTROL_CHARACTERS: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// Every schema by its name.
pub(super) fn all(limits: &Limits) -> [(&'static str, SchemaRef); 9] {
    [
        ("SaeId", id("Identifier of an SAE, unique in the QKD network")),
        ("KmeId", id("Identifier of a KME, unique in the QKD network")),
        ("KeyId", key_id()),
        ("Status", status()),
        ("KeyRequest", key_request(limits)),
        ("KeyContainer", key_container()),
        ("KeyIds", key_ids(limits)),
        ("Extension", extension("Names and values of any JSON type", false)),
        ("Error", error()),
    ]
}

/// `number`, for the query or, nullable, for a body.
pub(super) fn number(limits: &Limits, nullable: bool) -> SchemaRef {
    integer(nullable, "How many keys; 1 when absent").minimum(Some(1)).maximum(Some(limits.max_keys().get())).into()
}

/// `size`, likewise.
pub(super) fn size(limits: &Limits, nullable: bool) -> SchemaRef {
    integer(nullable, "The size of each key in bits; key_size of Status when absent")
        .minimum(Some(limits.min_size().bits()))
        .maximum(Some(limits.max_size().bits()))
        .multiple_of(limits.octets_only().then_some(8))
        .into()
}

pub(super) fn key_id() -> SchemaRef {
    string("Identifier of a key in the form of a UUID of any version; compared without case").pattern(Some(UUID)).into()
}

pub(super) fn text() -> SchemaRef {
    ObjectBuilder::new().schema_type(Type::String).into()
}

fn id(description: &str) -> SchemaRef {
    string(description).min_length(Some(1)).max_length(Some(MAX_ID_OCTETS)).pattern(Some(NO_CONTROL_CHARACTERS)).into()
}

fn status() -> SchemaRef {
    let mut status = ObjectBuilder::new().description(Some("What a master SAE can ask of its KME for one slave SAE"));
    for (name, schema) in
        [("source_KME_ID", "KmeId"), ("target_KME_ID", "KmeId"), ("master_SAE_ID", "SaeId"), ("slave_SAE_ID", "SaeId")]
    {
        status = status.property(name, Ref::from_schema_name(schema)).required(name);
    }
    for (name, description) in [
        ("key_size", "The size of a key when none is asked for, in bits"),
        ("stored_key_count", "How many keys can be delivered now"),
        ("max_key_count", "The most keys that can be stored"),
        ("max_key_per_request", "The most keys in one request"),
        ("max_key_size", "The largest key, in bits"),
        ("min_key_size", "The smallest key, in bits"),
        ("max_SAE_ID_count", "The most additional slave SAEs; 0 when there is no multicast"),
    ] {
        status = status.property(name, integer(false, description).minimum(Some(0))).required(name);
    }
    status.property("status_extension", Ref::from_schema_name("Extension")).into()
}

fn key_request(limits: &Limits) -> SchemaRef {
    let slaves = ArrayBuilder::new()
        .schema_type(or_null(Type::Array, true))
        .description(Some("SAEs besides the one in the path, each once, that share the keys"))
        .items(Ref::from_schema_name("SaeId"))
        .max_items(Some(limits.max_additional_slaves() as usize))
        .unique_items(true);
    let mut supported = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for name in limits.mandatory_extensions() {
        supported = supported.property(name, ObjectBuilder::new().schema_type(SchemaType::AnyValue));
    }
    let mandatory = ArrayBuilder::new()
        .schema_type(or_null(Type::Array, true))
        .description(Some("Parameters that the KME must honour or refuse; only those it supports can be met"))
        .items(supported);
    let optional = ArrayBuilder::new()
        .schema_type(or_null(Type::Array, true))
        .description(Some("Parameters that the KME may ignore"))
        .items(any_object("Names and values of any JSON type"));
    ObjectBuilder::new()
        .description(Some("What is asked for with Get key; every member is optional"))
        .property("number", number(limits, true))
        .property("size", size(limits, true))
        .property("additional_slave_SAE_IDs", slaves)
        .property("extension_mandatory", mandatory)
        .property("extension_optional", optional)
        .into()
}

fn key_container() -> SchemaRef {
    let key = ObjectBuilder::new()
        .property("key_ID", Ref::from_schema_name("KeyId"))
        .required("key_ID")
        .property("key", string("The key, base64").pattern(Some(BASE64)).min_length(Some(4)).content_encoding("base64"))
        .required("key")
        .property("key_ID_extension", Ref::from_schema_name("Extension"))
        .property("key_extension", Ref::from_schema_name("Extension"));
    ObjectBuilder::new()
        .description(Some("Keys on their way to an SAE"))
        .property("keys", ArrayBuilder::new().items(key).min_items(Some(1)))
        .required("keys")
        .property("key_container_extension", Ref::from_schema_name("Extension"))
        .into()
}

fn key_ids(limits: &Limits) -> SchemaRef {
    let requested = ObjectBuilder::new()
        .property("key_ID", Ref::from_schema_name("KeyId"))
        .required("key_ID")
        .property("key_ID_extension", extension("For extensions concerning this key", true));
    let keys = ArrayBuilder::new()
        .description(Some("The keys asked for, each once"))
        .items(requested)
        .min_items(Some(1))
        .max_items(Some(limits.max_keys().get() as usize))
        .unique_items(true);
    ObjectBuilder::new()
        .description(Some("Which keys are asked for with Get key with key IDs"))
        .property("key_IDs", keys)
        .required("key_IDs")
        .property("key_IDs_extension", extension("For extensions concerning all of them", true))
        .into()
}

fn error() -> SchemaRef {
    ObjectBuilder::new()
        .description(Some("Why the KME does not do what it was asked"))
        .property("message", string("What happened"))
        .required("message")
        .property("details", ArrayBuilder::new().description(Some("More about it")).items(Ref::from_schema_name("Extension")))
        .into()
}

fn extension(description: &str, nullable: bool) -> SchemaRef {
    any_object(description).schema_type(or_null(Type::Object, nullable)).into()
}

fn any_object(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().description(Some(description)).additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn integer(nullable: bool, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(or_null(Type::Integer, nullable)).description(Some(description))
}

/// The decoders take `null` for an absent optional member.
fn or_null(schema_type: Type, nullable: bool) -> SchemaType {
    if nullable { SchemaType::from_iter([schema_type, Type::Null]) } else { schema_type.into() }
}
