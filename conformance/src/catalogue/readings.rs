//! Where the standard leaves a question open, or is read in several ways: the question, and how this suite takes it.

/// Id, question, reading.
pub(crate) const READINGS: [(&str, &str, &str); 42] = [
    ("A-01", "unknown or fetched key ID", "400 with the sentence of 6.4; code and wording are judged apart"),
    ("A-02", "expired key", "not named in the standard, so a key that is not found: 400 as for A-01"),
    ("A-03", "an SAE that may not have the key", "401; another client error is a warning, a key is a failure"),
    ("A-04", "untrusted certificate: refused by TLS or by HTTP", "either; the layer is recorded; being served is a failure"),
    ("A-05", "where a certificate has the SAE ID", "left to the KME; certificate and SAE ID are both configured"),
    ("A-06", "GET with several `key_ID`", "refused, or answered in full; never silently in part"),
    ("A-07", "`number` and `size` in a GET", "count wherever GET is offered"),
    ("A-08", "unit of sizes", "bits; the length delivered must be the length asked for"),
    ("A-09", "the master fetches its own key by ID", "by the letter 401; recorded"),
    ("A-10", "`master_SAE_ID` is not the master of the key", "400 with the sentence of 6.4, or 401; a key is a warning"),
    ("A-11", "whether a key is gone once fetched", "it is: a second retrieval gets 400 as for A-01"),
    ("A-12", "several slaves: when a key is gone", "each designated slave is served once, in any order"),
    ("A-13", "empty `additional_slave_SAE_IDs`", "not forbidden; recorded"),
    ("A-14", "too many additional slaves, or none supported", "any 400; to ignore the list is a failure"),
    ("A-15", "unknown mandatory extension", "400 with the sentence of 6.2"),
    ("A-16", "unknown optional extension", "ignored, or 400 with the sentence of 6.2"),
    ("A-17", "shape of an error", "`message` is needed; further members are free"),
    ("A-18", "elements of `details`", "objects"),
    ("A-19", "body of a 401", "none is defined; anything without a key"),
    ("A-20", "too few keys", "503, or 400; never fewer keys than asked for, nor none"),
    ("A-21", "a key has not reached the other KME yet", "400 or 503 until the settle time is over"),
    ("A-22", "`number` or `size` beyond the limits of Status", "400"),
    ("A-23", "`number` or `size` of 0, negative, or no number", "400; to spend a key on it is a warning"),
    ("A-24", "malformed JSON in Get key", "400, and no key"),
    ("A-25", "POST with a body of 0 octets", "recorded; a client sends `{}`"),
    ("A-26", "unknown members of a request", "recorded"),
    ("A-27", "`null` in optional members", "undefined; in an answer it counts as absent"),
    ("A-28", "form of `key_ID`", "8-4-4-4-12 hexadecimal digits, of any UUID version; compared without letter case"),
    ("A-29", "capital letters in names of members", "exactly as in the standard: `keys`, `key_ID`, `source_KME_ID`"),
    ("A-30", "media type", "`application/json`, parameters allowed"),
    ("A-31", "trailing or doubled slash in the path", "undefined; recorded"),
    ("A-32", "unknown or repeated parameters of a query", "undefined; never more keys than the larger value says"),
    ("A-33", "characters of SAE IDs", "any, percent-encoded in the path; plain letters unless claimed"),
    ("A-34", "the same ID twice in one request", "undefined; recorded"),
    ("A-35", "order of the keys in an answer", "free; keys are matched by ID"),
    ("A-36", "Status for an unknown slave", "400 or 401; an invented Status is a warning, wrong types in it a failure"),
    ("A-37", "whether the figures of Status are true", "they describe; an impossible one is a warning"),
    ("A-38", "retry after an answer was lost", "by the letter the key is gone; what came is never delivered again"),
    ("A-39", "the SAE in the path of Get key with key IDs", "the master"),
    ("A-40", "how a size that is no multiple of 8 is packed", "whole octets; unused bits are not looked at"),
    ("A-41", "HTTP version and persistent connections", "HTTP/1.1; either way of ending a connection"),
    ("A-42", "base of the path", "`/api/v1/keys` at the root; a prefix can be configured, and is recorded"),
];

/// The question and the reading of an id.
pub(crate) fn reading(id: &str) -> Option<(&'static str, &'static str)> {
    READINGS.iter().find(|(known, ..)| *known == id).map(|(_, question, reading)| (*question, *reading))
}
