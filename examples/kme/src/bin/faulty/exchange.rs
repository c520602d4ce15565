//! Requests and answers as faults see them.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use transport::server::Peer;

/// A method of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Status,
    GetKey,
    GetKeyWithIds,
    Other,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Whom the certificate names.
    pub(crate) caller: Option<String>,
    pub(crate) address: SocketAddr,
    pub(crate) method: Method,
    /// Path and query as they came.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn of(peer: &Peer, request: Request<Bytes>) -> Self {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        let caller = peer.identity.clone().ok();
        Self { caller, address: peer.address, method: parts.method, target, headers: parts.headers, body }
    }

    /// A request made here.
    pub(crate) fn post(caller: &str, peer: &str, method: &str, body: &Value) -> Self {
        let mut asked = Self {
            caller: Some(caller.to_owned()),
            address: ([127, 0, 0, 1], 0).into(),
            method: Method::POST,
            target: path(peer, method),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        asked.set_json(body);
        asked
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(crate) fn set_query(&mut self, query: &str) {
        self.target = if query.is_empty() { self.path().to_owned() } else { format!("{}?{query}", self.path()) };
    }

    /// The values of a query parameter, decoded.
    pub(crate) fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = self.query().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(found, _)| *found == name).filter_map(|(_, value)| decoded(value)).collect()
    }

    fn segments(&self) -> Option<(&str, &str)> {
        self.path().strip_prefix(PREFIX)?.split_once('/')
    }

    /// The SAE in the path, as it stands there.
    pub(crate) fn segment(&self) -> Option<&str> {
        self.segments().map(|(peer, _)| peer)
    }

    /// The SAE in the path.
    pub(crate) fn peer(&self) -> Option<String> {
        self.segment().and_then(decoded)
    }

    pub(crate) fn set_peer(&mut self, peer: &str) {
        if let Some((_, method)) = self.segments() {
            let query = self.query().to_owned();
            self.target = path(peer, method);
            self.set_query(&query);
        }
    }

    pub(crate) fn operation(&self) -> Operation {
        match self.segments().map(|(_, method)| method) {
            Some("status") => Operation::Status,
            Some("enc_keys") => Operation::GetKey,
            Some("dec_keys") => Operation::GetKeyWithIds,
            _ => Operation::Other,
        }
    }

    pub(crate) fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    pub(crate) fn is_post(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether it is that operation by POST.
    pub(crate) fn posts(&self, operation: Operation) -> bool {
        self.is_post() && self.operation() == operation
    }

    /// Whether it is that operation by GET.
    pub(crate) fn gets(&self, operation: Operation) -> bool {
        self.is_get() && self.operation() == operation
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn set_json(&mut self, body: &Value) {
        self.body = body.to_string().into();
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.remove(header::CONTENT_LENGTH);
    }

    /// Changes the object in the body, if it is one.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        if let Some(Value::Object(mut object)) = self.json() {
            change(&mut object);
            self.set_json(&Value::Object(object));
        }
    }

    /// The key IDs that are asked for.
    pub(crate) fn ids(&self) -> Vec<String> {
        if self.is_get() {
            return self.parameters("key_ID");
        }
        let body = self.json();
        let list = body.as_ref().and_then(|body| body["key_IDs"].as_array());
        list.into_iter().flatten().filter_map(|id| id["key_ID"].as_str().map(str::to_owned)).collect()
    }

    /// Asks for other IDs in their place, one for one.
    pub(crate) fn map_ids(&mut self, other: impl Fn(&str) -> Option<String>) {
        if self.is_get() {
            let ids: Vec<_> = self.ids().iter().map(|id| other(id).unwrap_or_else(|| id.clone())).collect();
            self.set_query(&ids.iter().map(|id| format!("key_ID={}", encoded(id))).collect::<Vec<_>>().join("&"));
            return;
        }
        self.edit(|body| {
            for item in body.get_mut("key_IDs").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(new) = item["key_ID"].as_str().and_then(&other) {
                    item["key_ID"] = new.into();
                }
            }
        });
    }

    /// The same for these IDs only, by POST.
    pub(crate) fn for_ids(&self, ids: &[String]) -> Self {
        let ids: Vec<_> = ids.iter().map(|id| json!({ "key_ID": id })).collect();
        let mut asked = Self { method: Method::POST, target: self.path().to_owned(), ..self.clone() };
        asked.set_json(&json!({ "key_IDs": ids }));
        asked
    }

    /// The same in another name.
    pub(crate) fn by(&self, caller: &str) -> Self {
        Self { caller: Some(caller.to_owned()), ..self.clone() }
    }
}

const PREFIX: &str = "/api/v1/keys/";

fn path(peer: &str, method: &str) -> String {
    format!("{PREFIX}{}/{method}", encoded(peer))
}

pub(crate) fn encoded(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    text.bytes().map(|octet| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") }).collect()
}

pub(crate) fn decoded(text: &str) -> Option<String> {
    let (mut octets, mut rest) = (Vec::new(), text.bytes());
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Said {
    pub(crate) fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn json_of(status: u16, body: &Value) -> Self {
        let mut said = Self { status, headers: HeaderMap::new(), body: body.to_string().into() };
        said.header("content-type", "application/json");
        said.header("cache-control", "no-store");
        said
    }

    /// An Error as the reference would have it.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json_of(status, &json!({ "message": message }))
    }

    /// The refusal that the standard has words for.
    pub(crate) fn not_found() -> Self {
        Self::error(400, NOT_FOUND)
    }

    /// A key container.
    pub(crate) fn container(keys: &[(String, String)]) -> Self {
        let keys: Vec<_> = keys.iter().map(|(id, text)| json!({ "key_ID": id, "key": text })).collect();
        Self::json_of(200, &json!({ "keys": keys }))
    }

    pub(crate) fn header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
    }

    pub(crate) fn into_http(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        response
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn set_json(&mut self, body: &Value) {
        self.body = body.to_string().into();
    }

    pub(crate) fn message(&self) -> String {
        self.json().and_then(|body| body["message"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether this is the refusal with that message.
    pub(crate) fn refuses(&self, message: &str) -> bool {
        self.status == 400 && self.message() == message
    }

    /// Changes the object in the body, if it is one.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
        if let Some(Value::Object(mut object)) = self.json() {
            change(&mut object);
            self.set_json(&Value::Object(object));
        }
    }

    /// IDs and keys as text.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        let body = self.json();
        let list = body.as_ref().and_then(|body| body["keys"].as_array());
        let pair = |key: &Value| Some((key["key_ID"].as_str()?.to_owned(), key["key"].as_str()?.to_owned()));
        list.into_iter().flatten().filter_map(pair).collect()
    }

    /// Changes each key: its ID, and its text.
    pub(crate) fn edit_keys(&mut self, mut change: impl FnMut(&mut String, &mut String)) {
        self.edit(|body| {
            for key in body.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
                let (Some(id), Some(text)) = (key["key_ID"].as_str(), key["key"].as_str()) else { continue };
                let (mut id, mut text) = (id.to_owned(), text.to_owned());
                change(&mut id, &mut text);
                (key["key_ID"], key["key"]) = (id.into(), text.into());
            }
        });
    }
}

/// The mandated words of the reference, which must be these: faults look for them.
pub(crate) const SIZE: &str = "size shall be a multiple of 8";
pub(crate) const MANDATORY: &str = "not all extension_mandatory parameters are supported";
pub(crate) const UNMET: &str = "not all extension_mandatory request options could be met";
pub(crate) const OPTIONAL: &str = "not all extension_optional request options handled";
pub(crate) const NOT_FOUND: &str = "one or more keys specified are not found on KME";
