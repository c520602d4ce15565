//! What a pair of KMEs can do wrong, or oddly: one thing at a time.

/// Where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Nowhere,
    Handshake,
    Connection,
    Answer,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nowhere => "",
            Self::Handshake => "handshake",
            Self::Connection => "connection",
            Self::Answer => "answer",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    UnknownAuthority,
    OtherHost,
    Expired,
    OtherKmeId,
    Tls11,
    NoCertificateRequest,
    EarlyData,
    PlainRedirect,
    Unreachable,
    DownAtFirst,
    DownAfterFirst,
    ConnectionLost,
    Silence,
    Drip,
    TightLimits,
    Reordered,
    ExtraMembers,
    OddUuids,
    Chunked,
    Pretty,
    Charset,
    Unauthorised,
    OptionalRefused,
    NotYet,
    NeverFound,
    ShortKey,
    LongKey,
    BadBase64,
    CutBase64,
    FewerKeys,
    MoreKeys,
    OtherId,
    SameId,
    SameKey,
    Empty,
    ErrorWith200,
    HtmlWith200,
    CutBody,
    CutAfterJson,
    EndlessBody,
    DeepNesting,
    DuplicateMembers,
    BadUtf8,
    ZeroKey,
    ServerError,
    SizeRefused,
    LostAnswer,
    OtherOctets,
    RepeatedId,
}

impl Fault {
    /// Whether every try is refused or lost: then what matters is whether the SAE goes on trying.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Self::Unauthorised | Self::ServerError | Self::ConnectionLost)
    }
}

/// An entry of the table.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) place: Place,
    pub(crate) fault: Fault,
    pub(crate) what: &'static str,
}

const fn entry(id: &'static str, place: Place, fault: Fault, what: &'static str) -> Scenario {
    Scenario { id, place, fault, what }
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    entry("good", Place::Nowhere, Fault::None, "nothing is wrong"),
    entry("unknown-authority", Place::Handshake, Fault::UnknownAuthority, "the certificate is of an authority nobody knows"),
    entry("other-host", Place::Handshake, Fault::OtherHost, "the certificate names another host and another KME"),
    entry("expired", Place::Handshake, Fault::Expired, "the certificate has expired"),
    entry("other-kme-id", Place::Handshake, Fault::OtherKmeId, "the certificate names this host, and another KME ID"),
    entry("tls-1.1", Place::Handshake, Fault::Tls11, "TLS 1.1 is chosen"),
    entry("no-certificate-request", Place::Handshake, Fault::NoCertificateRequest, "no client certificate is asked for"),
    entry("early-data", Place::Handshake, Fault::EarlyData, "sessions can be resumed with early data; each answer closes"),
    entry("plain-redirect", Place::Answer, Fault::PlainRedirect, "every request is redirected to plain HTTP"),
    entry("unreachable", Place::Connection, Fault::Unreachable, "every connection is closed before the handshake"),
    entry("down-at-first", Place::Connection, Fault::DownAtFirst, "unreachable for a second, then good"),
    entry("down-after-first", Place::Connection, Fault::DownAfterFirst, "unreachable once keys were delivered"),
    entry("connection-lost", Place::Connection, Fault::ConnectionLost, "every request is read, and the connection closed"),
    entry("silence", Place::Answer, Fault::Silence, "requests are never answered"),
    entry("drip", Place::Answer, Fault::Drip, "the answer comes one octet at a time, for ever"),
    entry("tight-limits", Place::Answer, Fault::TightLimits, "Status allows 2 keys per request, of 128 to 256 bits"),
    entry("reordered", Place::Answer, Fault::Reordered, "keys come in another order than asked for"),
    entry("extra-members", Place::Answer, Fault::ExtraMembers, "answers hold extension objects and unknown members"),
    entry("odd-uuids", Place::Answer, Fault::OddUuids, "key IDs are UUIDs of version 8, in upper case"),
    entry("chunked", Place::Answer, Fault::Chunked, "bodies are chunked"),
    entry("pretty", Place::Answer, Fault::Pretty, "JSON with white space and escapes"),
    entry("charset", Place::Answer, Fault::Charset, "Content-Type: Application/JSON; charset=utf-8"),
    entry("unauthorised", Place::Answer, Fault::Unauthorised, "401 without a body to every request"),
    entry("optional-refused", Place::Answer, Fault::OptionalRefused, "400 to optional extensions, in the words of the standard"),
    entry("not-yet", Place::Answer, Fault::NotYet, "keys are not found at the slave's KME for a second"),
    entry("never-found", Place::Answer, Fault::NeverFound, "keys are never found at the slave's KME"),
    entry("short-key", Place::Answer, Fault::ShortKey, "keys are half as long as asked for"),
    entry("long-key", Place::Answer, Fault::LongKey, "keys are twice as long as asked for"),
    entry("bad-base64", Place::Answer, Fault::BadBase64, "`key` holds characters that are not base64"),
    entry("cut-base64", Place::Answer, Fault::CutBase64, "`key` is base64 without its last three characters"),
    entry("fewer-keys", Place::Answer, Fault::FewerKeys, "one key less than asked for"),
    entry("more-keys", Place::Answer, Fault::MoreKeys, "two keys more than asked for"),
    entry("other-id", Place::Answer, Fault::OtherId, "the last key has an ID that was not asked for"),
    entry("same-id", Place::Answer, Fault::SameId, "all keys of an answer have one ID"),
    entry("same-key", Place::Answer, Fault::SameKey, "all keys of an answer are the same octets"),
    entry("empty", Place::Answer, Fault::Empty, "200 with an empty `keys`"),
    entry("error-with-200", Place::Answer, Fault::ErrorWith200, "200 with an Error body"),
    entry("html-with-200", Place::Answer, Fault::HtmlWith200, "200 with a page of HTML"),
    entry("cut-body", Place::Answer, Fault::CutBody, "the connection is lost within the last key"),
    entry(
        "cut-after-json",
        Place::Answer,
        Fault::CutAfterJson,
        "the connection is lost before the announced end, after the JSON",
    ),
    entry("endless-body", Place::Answer, Fault::EndlessBody, "a body that does not end (given up after 256 MiB)"),
    entry("deep-nesting", Place::Answer, Fault::DeepNesting, "a member nested 100 000 deep"),
    entry("duplicate-members", Place::Answer, Fault::DuplicateMembers, "`key` occurs twice in each key object"),
    entry("bad-utf8", Place::Answer, Fault::BadUtf8, "a member that is not UTF-8"),
    entry("zero-key", Place::Answer, Fault::ZeroKey, "keys of zeros"),
    entry("server-error", Place::Answer, Fault::ServerError, "503 to every request"),
    entry("size-refused", Place::Answer, Fault::SizeRefused, "400 in the words of the standard to every request for keys"),
    entry("lost-answer", Place::Answer, Fault::LostAnswer, "the first answer with keys is cut after the first key ID"),
    entry("other-octets", Place::Answer, Fault::OtherOctets, "the slave gets other octets than the master"),
    entry("repeated-id", Place::Answer, Fault::RepeatedId, "key IDs and keys are handed out again"),
];

/// The scenario of that name.
pub(crate) fn scenario(id: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.id == id)
}

/// The scenario with that fault.
pub(crate) fn with(fault: Fault) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.fault == fault).unwrap_or(&SCENARIOS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_every_fault_occurs_once() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            let rest = &SCENARIOS[index + 1..];
            assert!(!rest.iter().any(|other| other.id == scenario.id || other.fault == scenario.fault), "{}", scenario.id);
            assert!(!scenario.what.is_empty());
        }
    }
}
