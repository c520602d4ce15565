//! What is sent: a well-formed request, or octets as a case wrote them.

use crate::wire::percent_encoded;

/// Which method of the standard a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Status,
    GetKey,
    GetKeyWithIds,
    /// None of them, or so odd that the standard says nothing of the answer: passive checks of the three methods do not apply.
    Other,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) api: Api,
    pub(crate) method: String,
    /// Path and query, without the prefix of the base URL.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// Sent instead of all the above, as it is.
    pub(crate) raw: Option<Vec<u8>>,
    /// Keys that a wrong KME may hand out in answer.
    pub(crate) worst_keys: u64,
    /// Bits per key asked for; absent: the default size.
    pub(crate) size: Option<u64>,
    /// The client is at fault: an answer 5xx is not right.
    pub(crate) fault: bool,
    /// The other SAE in the path, and additional slaves.
    pub(crate) peers: Vec<String>,
}

impl Request {
    pub(crate) fn new(api: Api, method: &str, target: String) -> Self {
        Self {
            api,
            method: method.to_owned(),
            target,
            headers: Vec::new(),
            body: None,
            raw: None,
            worst_keys: u64::from(api == Api::GetKey),
            size: None,
            fault: false,
            peers: Vec::new(),
        }
    }

    /// Get status of keys for `peer`.
    pub(crate) fn status(peer: &str) -> Self {
        Self::new(Api::Status, "GET", path(peer, "status")).peer(peer)
    }

    /// Get key by GET, with a query such as `number=2`.
    pub(crate) fn get_key(peer: &str, query: &str) -> Self {
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Self::new(Api::GetKey, "GET", path(peer, "enc_keys") + &query).peer(peer)
    }

    /// Get key by POST.
    pub(crate) fn post_key(peer: &str, body: &str) -> Self {
        Self::new(Api::GetKey, "POST", path(peer, "enc_keys")).peer(peer).json(body)
    }

    /// Get key with key IDs by GET, with a query such as `key_ID=…`.
    pub(crate) fn get_ids(peer: &str, query: &str) -> Self {
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        Self::new(Api::GetKeyWithIds, "GET", path(peer, "dec_keys") + &query).peer(peer)
    }

    /// Get key with key IDs by POST of any body.
    pub(crate) fn post_ids_body(peer: &str, body: &str) -> Self {
        Self::new(Api::GetKeyWithIds, "POST", path(peer, "dec_keys")).peer(peer).json(body)
    }

    /// Get key with key IDs by POST.
    pub(crate) fn post_ids<T: AsRef<str>>(peer: &str, ids: &[T]) -> Self {
        let ids: Vec<_> = ids.iter().map(|id| serde_json::json!({ "key_ID": id.as_ref() })).collect();
        Self::post_ids_body(peer, &serde_json::json!({ "key_IDs": ids }).to_string())
    }

    /// Octets instead of a request, which no passive check of the three methods judges.
    pub(crate) fn raw(octets: Vec<u8>, worst_keys: u64) -> Self {
        let mut request = Self::new(Api::Other, "(raw)", String::new());
        request.raw = Some(octets);
        request.worst_keys = worst_keys;
        request.fault = true;
        request
    }

    pub(crate) fn json(mut self, body: &str) -> Self {
        self.headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        self.body = Some(body.as_bytes().to_vec());
        self
    }

    pub(crate) fn peer(mut self, peer: &str) -> Self {
        self.peers.push(peer.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// How many keys a wrong KME may hand out.
    pub(crate) fn worst(mut self, keys: u64) -> Self {
        self.worst_keys = keys;
        self
    }

    /// The bits per key that are asked for.
    pub(crate) fn sized(mut self, bits: u64) -> Self {
        self.size = Some(bits);
        self
    }

    /// Marks the client as being at fault.
    pub(crate) fn faulty(mut self) -> Self {
        self.fault = true;
        self
    }

    /// What the standard leaves open: any answer is one of the KME's choice.
    pub(crate) fn undefined(mut self) -> Self {
        self.api = Api::Other;
        self
    }

    /// Bits that a wrong KME may hand out, where keys have so many by default.
    pub(crate) fn worst_bits(&self, default: u64) -> u64 {
        self.worst_keys.saturating_mul(self.size.unwrap_or(default))
    }

    /// The octets on the wire.
    pub(crate) fn octets(&self, prefix: &str, authority: &str) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut head = format!("{} {prefix}{} HTTP/1.1\r\nHost: {authority}\r\n", self.method, self.target);
        head.push_str(concat!("User-Agent: qkdspec/", env!("CARGO_PKG_VERSION"), "\r\nAccept: application/json\r\n"));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut octets = head.into_bytes();
        octets.extend_from_slice(self.body.as_deref().unwrap_or_default());
        octets
    }
}

/// The path of a method for the other SAE.
pub(crate) fn path(peer: &str, method: &str) -> String {
    format!("/api/v1/keys/{}/{method}", percent_encoded(peer))
}
