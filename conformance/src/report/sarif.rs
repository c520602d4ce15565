//! SARIF 2.1.0: failures only, since common consumers take every result for one.

use serde_json::{Value, json};

use super::{Finding, Report};

pub(crate) fn sarif(report: &Report) -> String {
    let failed: Vec<_> = report.cases.iter().filter(|case| case.is_bad()).collect();
    let rules: Vec<Value> = failed
        .iter()
        .map(|case| json!({ "id": case.id, "shortDescription": { "text": case.title }, "properties": { "tags": [case.impact] } }))
        .collect();
    let results: Vec<Value> = failed
        .iter()
        .map(|case| {
            let complaints: Vec<_> = case.findings().iter().map(Finding::line).collect();
            let text = format!("{} ({}). {}", case.title, case.concerned().join(", "), complaints.join(". "));
            json!({
                "ruleId": case.id,
                "level": "error",
                "message": { "text": text },
                "locations": report.target.kmes.first().map(|kme| json!({
                    "physicalLocation": { "artifactLocation": { "uri": kme.base_url } }
                })).into_iter().collect::<Vec<_>>(),
            })
        })
        .collect();
    let sarif = json!({
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [{
            "tool": { "driver": { "name": "qkdspec", "version": report.tool.version, "rules": rules } },
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&sarif).unwrap_or_default() + "\n"
}
