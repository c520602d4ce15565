//! Every requirement of the standard: the cases for it, or why there can be none.

use super::{all, requirement};
use crate::report::{CaseResult, RequirementFacts, Verdict};

/// Where a requirement is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tested {
    /// By cases for a KME.
    Kme,
    /// It binds the SAE, so at a KME it does not show.
    Sae,
    /// Nowhere from outside, and why.
    Nobody(&'static str),
}

use Tested::{Kme, Nobody, Sae};

/// Id without `014-`, what it says, where it is tested.
pub(crate) const REQUIREMENTS: &[(&str, &str, Tested)] = &[
    ("4-01", "each KME is linked to others and distributes keys to them", Kme),
    ("4-02", "a KME in each trusted node", Nobody("the placing of equipment is not seen through an interface")),
    ("4-03", "SAEs in the site of their KME", Nobody("the placing of equipment is not seen through an interface")),
    ("4-04", "one or several SAEs per KME", Kme),
    ("4-05", "the KME offers a Web API over HTTPS", Kme),
    ("4-06", "unique KME ID", Kme),
    ("4-07", "unique SAE ID", Nobody("that no two SAEs of a network have one ID is a matter of whoever allots the IDs")),
    ("4-08", "HTTPS with TLS 1.2 or later", Kme),
    ("4-09", "each request authenticated, caller determined", Kme),
    ("4-10", "bodies are JSON, UTF-8", Kme),
    ("4-11", "the application tells its peer the key IDs", Sae),
    ("4-12", "Get key here, Get key with key IDs there, same keys", Kme),
    ("4-13", "every key has a universally unique ID", Kme),
    ("5.1-01", "HTTPS, UTF-8, application/json", Kme),
    ("5.1-02", "the SAE connects by TLS 1.2 or later", Sae),
    ("5.1-03", "mutual authentication", Kme),
    ("5.1-04", "the SAE verifies the KME certificate", Sae),
    ("5.1-05", "the SAE confirms the KME ID", Kme),
    ("5.1-06", "no use of the API otherwise", Sae),
    ("5.1-07", "the KME verifies the SAE certificate", Kme),
    ("5.1-08", "the KME confirms the SAE ID", Kme),
    ("5.1-09", "the KME rejects the connection otherwise", Kme),
    ("5.1-10", "the SAE may then call the methods", Nobody("a permission of the SAE")),
    ("5.1-11", "methods and URLs", Kme),
    ("5.1-12", "certificate installation out of scope", Nobody("out of scope of the standard")),
    ("5.2-01", "GET {slave_SAE_ID}/status without body", Kme),
    ("5.2-02", "host name or IP address, optional port", Sae),
    ("5.2-03", "SAE ID URL-encoded in the path", Kme),
    ("5.2-04", "answer in Status format for caller and slave", Kme),
    ("5.2-05", "changes nothing", Kme),
    ("5.2-06", "400, 401, 503", Kme),
    ("5.3-01", "POST {slave_SAE_ID}/enc_keys", Kme),
    ("5.3-02", "GET for simple requests", Kme),
    ("5.3-03", "body with POST only", Sae),
    ("5.3-04", "answer is a Key container with at least one key", Kme),
    ("5.3-05", "the SAE may supply Key request data", Nobody("a permission of the SAE")),
    ("5.3-06", "the slave can fetch the keys elsewhere", Kme),
    ("5.3-07", "delivered keys leave the pool", Kme),
    ("5.3-08", "400, 401, 503", Kme),
    ("5.4-01", "POST {master_SAE_ID}/dec_keys", Kme),
    ("5.4-02", "GET with one key_ID", Kme),
    ("5.4-03", "the keys delivered to the master", Kme),
    ("5.4-04", "401 unless the caller is a slave of every key", Kme),
    ("5.4-05", "delivered keys leave the pool", Kme),
    ("5.4-06", "400, 401, 503", Kme),
    ("6.1-01", "eleven mandatory members and their types", Kme),
    ("6.1-02", "max_SAE_ID_count 0 without multicast", Kme),
    ("6.1-03", "stored_key_count at most max_key_count; bits", Kme),
    ("6.1-04", "status_extension an object", Kme),
    ("6.1-05", "sizes in order, at least one key a request", Kme),
    ("6.2-01", "members and types", Kme),
    ("6.2-02", "every member optional", Kme),
    ("6.2-03", "number defaults to 1", Kme),
    ("6.2-04", "size in bits, defaults to key_size", Kme),
    ("6.2-05", "empty request may go by GET", Kme),
    ("6.2-06", "number and size may go by GET", Kme),
    ("6.2-07", "POST in every other case", Kme),
    ("6.2-08", "sizes that are no multiples of 8 may be supported", Kme),
    ("6.2-09", "otherwise 400 with the mandated text", Kme),
    ("6.2-10", "additional slaves share the keys", Kme),
    ("6.2-11", "at most max_SAE_ID_count of them", Kme),
    ("6.2-12", "mandatory parameters all handled", Kme),
    ("6.2-13", "unsupported: 400 with the mandated text", Kme),
    ("6.2-14", "not satisfiable: 400 with the mandated text", Kme),
    ("6.2-15", "optional parameters may be ignored", Kme),
    ("6.2-16", "or refused: 400 with the mandated text", Kme),
    ("6.2-17", "any names and types", Kme),
    ("6.2-18", "vendor prefix in names", Sae),
    ("6.2-19", "common prefix of several vendors", Nobody("a permission of vendors")),
    ("6.3-01", "keys, an array of objects", Kme),
    ("6.3-02", "as many as number", Kme),
    ("6.3-03", "key_ID a UUID of any version", Kme),
    ("6.3-04", "key in base64, of size bits", Kme),
    ("6.3-05", "extensions per ID, per key and of the container", Kme),
    ("6.4-01", "key_IDs, an array of objects", Kme),
    ("6.4-02", "extensions per ID and of all", Kme),
    ("6.4-03", "one ID may go by GET", Kme),
    ("6.4-04", "POST otherwise", Sae),
    ("6.4-05", "POST for two or more", Kme),
    ("6.4-06", "any key missing: 400 with the mandated text, no key", Kme),
    ("6.5-01", "message, for all methods", Kme),
    ("6.5-02", "details, an array of objects", Kme),
    ("6.5-03", "extension_mandatory_unsupported in details", Nobody("an example of the standard, which binds nobody")),
];

/// Why no case for a KME is there; empty if one is.
fn untestable(tested: Tested) -> &'static str {
    match tested {
        Kme => "",
        Sae => "binds the SAE; a KME does not show it",
        Nobody(why) => why,
    }
}

fn cases(id: &str) -> Vec<&'static str> {
    all().iter().filter(|case| case.requirements.contains(&id)).map(|case| case.id).collect()
}

/// The requirements that checks with this verdict show not to be met; none if all are met, which was not expected.
pub(crate) fn breached(result: &CaseResult, verdict: Verdict) -> Vec<String> {
    let unmet = result.checks.iter().filter(|check| check.verdict == verdict);
    match all().iter().find(|case| case.id == result.id) {
        Some(case) => unmet.flat_map(|check| case.breached(&check.part)).map(requirement).collect(),
        None => result.requirements.clone(),
    }
}

/// All requirements with their cases and what came of these.
pub(crate) fn judged(results: &[CaseResult]) -> Vec<RequirementFacts> {
    let facts = REQUIREMENTS.iter().map(|(id, what, tested)| {
        let id = requirement(id);
        // Any case may show that there is no service any more.
        let shows = |case: &CaseResult| {
            matches!(case.verdict, Verdict::Fail | Verdict::Warn) && breached(case, case.verdict).contains(&id)
        };
        let about = |case: &&CaseResult| case.requirements.contains(&id) || shows(case);
        let met: Vec<_> = results.iter().filter(about).collect();
        // A case that fails may have shown that this one is met.
        let shown = |case: &&CaseResult| match case.verdict {
            verdict @ (Verdict::Fail | Verdict::Warn) if case.expected == "none" && !breached(case, verdict).contains(&id) => {
                (Verdict::Pass, Verdict::Pass.name().to_owned())
            }
            verdict => (verdict, case.shown().to_owned()),
        };
        let worst = met.iter().map(shown).max_by_key(|(verdict, _)| *verdict);
        RequirementFacts {
            what: (*what).to_owned(),
            cases: met.iter().map(|case| case.id.clone()).collect(),
            verdict: worst.map_or("none".to_owned(), |(_, shown)| shown),
            untestable: untestable(*tested).to_owned(),
            id,
        }
    });
    facts.collect()
}

/// The table as a document.
pub(crate) fn table() -> String {
    let untested = REQUIREMENTS.iter().filter(|(.., tested)| *tested != Kme).count();
    let mut text = format!(
        "# Requirements of ETSI GS QKD 014 V1.1.1 and the cases for them\n\nMade by `qkdspec catalogue --requirements`; not to be edited. {} requirements, {} of them with cases for a KME. The numbers are\n\
         those of `etsi014/REQUIREMENTS.md`.\n\n| requirement | what | cases for a KME, or why there are none |\n|---|---|---|\n",
        REQUIREMENTS.len(),
        REQUIREMENTS.len() - untested,
    );
    for (id, what, tested) in REQUIREMENTS {
        let cases: Vec<_> = cases(id).into_iter().map(|case| case.trim_start_matches("014-")).collect();
        let last = match tested {
            Kme => cases.join(", "),
            Sae => untestable(*tested).to_owned(),
            Nobody(why) => format!("untestable: {why}"),
        };
        text.push_str(&format!("| 014-{id} | {what} | {last} |\n"));
    }
    text
}

/// The same as data.
pub(crate) fn table_json() -> String {
    let rows: Vec<_> = REQUIREMENTS
        .iter()
        .map(|(id, what, tested)| {
            serde_json::json!({ "id": requirement(id), "what": what, "cases": cases(id), "untestable": untestable(*tested) })
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn read(path: &str) -> String {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
    }

    #[test]
    fn every_requirement_of_the_standard_is_here_once() {
        let listed = read("../etsi014/REQUIREMENTS.md");
        let listed: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("| 014-")?.split(' ').next()).collect();
        assert!(listed.len() > 80);
        assert_eq!(REQUIREMENTS.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), listed);
    }

    #[test]
    fn each_has_cases_or_a_reason_and_not_both() {
        for (id, what, tested) in REQUIREMENTS {
            assert!(!what.is_empty());
            assert_eq!(cases(id).is_empty(), *tested != Kme, "{id}: {:?}, {tested:?}", cases(id));
        }
    }

    /// What cases rest on beside the requirements of the digest.
    const OTHER_BASES: [&str; 4] = ["clause 3.1", "tables 4/6/8", "RFC 8259", "RFC 7230"];

    #[test]
    fn cases_cite_requirements_that_are_there() {
        let known: BTreeSet<&str> = REQUIREMENTS.iter().map(|(id, ..)| *id).chain(OTHER_BASES).collect();
        for case in all() {
            for id in case.requirements {
                assert!(known.contains(id), "{} cites {id}", case.id);
            }
        }
    }

    #[test]
    fn the_document_is_what_the_cases_say() {
        assert_eq!(
            read("REQUIREMENTS.md"),
            table(),
            "to put it right: qkdspec catalogue --requirements > conformance/REQUIREMENTS.md"
        );
    }
}
