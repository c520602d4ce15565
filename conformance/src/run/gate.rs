//! The last gate: nothing is written that holds a key.
//!
//! What KMEs say is censored where it comes in. Here all of it is searched once more, with every key of the run known. Words of
//! our own are no secret, even if a KME gives them as a key: otherwise it could forbid its own verdict.

use std::collections::HashMap;
use std::io::Write;

use super::{RunError, Runner, summary};
use crate::cli::rendered;
use crate::report::{CaseResult, Report, Screen, blanked, with_foreign};
use crate::secret::{Vault, printable};

/// A report and what must not be found in any form of it.
pub(crate) struct Guarded {
    pub(crate) report: Report,
    vault: Vault,
}

impl Guarded {
    pub(super) fn new(report: Report, vault: Vault) -> Self {
        Self { report, vault }
    }

    /// The report in one of its forms.
    pub(crate) fn rendered(&self, form: &'static str) -> Result<String, RunError> {
        let text = rendered(&self.report, form);
        let own = blanked(&self.report).map_err(|_| RunError::Redaction(form))?;
        if self.vault.betrayed_beyond(text.as_bytes(), rendered(&own, form).as_bytes()) {
            return Err(RunError::Redaction(form));
        }
        Ok(text)
    }
}

impl Runner<'_> {
    /// Writes a case to the screen; without what KMEs said, if that holds a key.
    pub(super) fn show(&mut self, screen: &mut Screen, result: &CaseResult, out: &mut dyn Write) -> Result<(), RunError> {
        let (mut lines, mut own) = (Vec::new(), Vec::new());
        screen.clone().case(&mut own, &blanked(result).map_err(|_| RunError::Redaction("screen"))?)?;
        screen.case(&mut lines, result)?;
        self.put(&lines, &own, out)
    }

    pub(super) fn put(&mut self, lines: &[u8], own: &[u8], out: &mut dyn Write) -> Result<(), RunError> {
        let betrayed = self.lab.vault.betrayed_beyond(lines, own);
        self.withheld |= betrayed;
        out.write_all(if betrayed { own } else { lines })?;
        Ok(out.flush()?)
    }

    /// The report as it may be written.
    pub(super) fn gated(&mut self, report: &Report) -> Result<Report, RunError> {
        let failed = |_| RunError::Redaction("report");
        let vault = &self.lab.vault;
        let mut changed = 0;
        let mut report = with_foreign(report, &mut |text| {
            let censored = vault.censored(text);
            if censored != *text {
                (*text, changed) = (censored, changed + 1);
            }
        })
        .map_err(failed)?;
        if self.options.hide_key_ids {
            report = self.without_key_ids(&report).map_err(failed)?;
        }
        if changed > 0 {
            let what = format!("{changed} texts held what later turned out to be a key; it was taken out");
            report.observations.insert("redaction".to_owned(), what);
        }
        let own = blanked(&report).map_err(failed)?;
        if vault.betrayed_beyond(report.json().as_bytes(), own.json().as_bytes()) {
            let ledger = report.ledger;
            report = Report { ledger, ..own };
            self.withheld = true;
        }
        if self.withheld {
            let what =
                "what KMEs said is left out where it would have shown a key; this is a defect of qkdspec, please report it";
            report.observations.insert("redaction".to_owned(), what.to_owned());
            summary::withheld(&mut report);
        }
        Ok(report)
    }

    /// What stands for a key ID that is hidden.
    pub(super) fn alias(&self, id: &str) -> String {
        format!("<ID {}>", self.lab.vault.fingerprint(id.to_ascii_lowercase().as_bytes()))
    }

    /// The same report with fingerprints for the IDs of keys that were delivered.
    fn without_key_ids(&self, report: &Report) -> Result<Report, serde_json::Error> {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut words = HashMap::new();
        let mut others = Vec::new();
        for key in &self.lab.ledger().drawn {
            let (id, alias) = (key.id.to_ascii_lowercase(), self.alias(&key.id));
            if id.chars().all(in_word) {
                words.insert(id, alias);
            } else if others.len() < 256 && id.len() > 1 {
                others.extend([(printable(&key.id), alias.clone()), (key.id.clone(), alias)]);
            }
        }
        with_foreign(report, &mut |text| {
            for (id, alias) in &others {
                *text = text.replace(id, alias);
            }
            *text = replaced(text, in_word, |word| words.get(&word.to_ascii_lowercase()).map(String::as_str));
        })
    }
}

/// `text` with others for some of its words.
fn replaced<'a>(text: &'a str, in_word: impl Fn(char) -> bool, other: impl Fn(&'a str) -> Option<&'a str>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&in_word) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
        shown.push_str(before);
        shown.push_str(other(word).unwrap_or(word));
        rest = after;
    }
    shown + rest
}
