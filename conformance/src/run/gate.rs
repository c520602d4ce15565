//! The last gate: nothing is written that holds a key.
//!
//! What KMEs say is censored where it comes in. Here all of it is searched once more, with every key of the run known. Words of
//! our own are no secret, even if a KME gives them as a key: otherwise it could forbid its own verdict.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use super::{RunError, summary};
use crate::cli::rendered;
use crate::report::{CaseResult, Report, Screen, blanked, with_foreign};
use crate::secret::{Vault, is_uuid, printable};

/// A report and what must not be found in any form of it.
pub(crate) struct Guarded {
    pub(crate) report: Report,
    vault: Arc<Vault>,
}

impl Guarded {
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

/// Key IDs that are not to be shown.
#[derive(Default)]
pub(crate) struct Hidden {
    /// Of keys that were delivered, or asked for.
    pub(crate) ids: Vec<String>,
    /// All else that has the form of one, too: SAEs also name keys that nobody has delivered.
    pub(crate) uuids: bool,
}

/// All output of a run goes through it, whatever the run is of.
pub(crate) struct Gate {
    vault: Arc<Vault>,
    /// Something was not written because it held a key.
    withheld: bool,
}

impl Gate {
    pub(crate) fn new(vault: Arc<Vault>) -> Self {
        Self { vault, withheld: false }
    }

    /// Writes what comes before the first case.
    pub(crate) fn begin(&mut self, screen: &Screen, header: &[String], out: &mut dyn Write) -> Result<(), RunError> {
        let mut lines = Vec::new();
        screen.begin(&mut lines, header)?;
        self.put(&lines, &[], out)
    }

    /// Writes a case to the screen; without what KMEs said, if that holds a key.
    pub(crate) fn case(&mut self, screen: &mut Screen, result: &CaseResult, out: &mut dyn Write) -> Result<(), RunError> {
        let (mut lines, mut own) = (Vec::new(), Vec::new());
        screen.clone().case(&mut own, &blanked(result).map_err(|_| RunError::Redaction("screen"))?)?;
        screen.case(&mut lines, result)?;
        self.put(&lines, &own, out)
    }

    /// Writes the end of the screen, of a report that [`Gate::report`] gave, and guards what else is made of it.
    pub(crate) fn end(mut self, screen: &Screen, report: Report, out: &mut dyn Write) -> Result<Guarded, RunError> {
        let (mut lines, mut own) = (Vec::new(), Vec::new());
        screen.end(&mut lines, &report)?;
        screen.end(&mut own, &blanked(&report).map_err(|_| RunError::Redaction("screen"))?)?;
        self.put(&lines, &own, out)?;
        Ok(Guarded { report, vault: self.vault })
    }

    fn put(&mut self, lines: &[u8], own: &[u8], out: &mut dyn Write) -> Result<(), RunError> {
        let betrayed = self.vault.betrayed_beyond(lines, own);
        self.withheld |= betrayed;
        out.write_all(if betrayed { own } else { lines })?;
        Ok(out.flush()?)
    }

    /// The report as it may be written.
    pub(crate) fn report(&mut self, report: &Report, hidden: Option<&Hidden>) -> Result<Report, RunError> {
        let failed = |_| RunError::Redaction("report");
        let vault = &self.vault;
        let mut changed = 0;
        let mut censor = |text: &mut String| {
            let censored = vault.censored(text);
            if censored != *text {
                (*text, changed) = (censored, changed + 1);
            }
        };
        let mut report = with_foreign(report, &mut censor).map_err(failed)?;
        // The user's own words, which no KME can have withheld; but a command line may hold anything.
        report.cases.iter_mut().for_each(|case| censor(&mut case.replay));
        if let Some(hidden) = hidden {
            report = self.without_key_ids(&report, hidden).map_err(failed)?;
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
    pub(crate) fn alias(&self, id: &str) -> String {
        format!("<ID {}>", self.vault.fingerprint(id.to_ascii_lowercase().as_bytes()))
    }

    /// The same report with fingerprints for key IDs.
    fn without_key_ids(&self, report: &Report, hidden: &Hidden) -> Result<Report, serde_json::Error> {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let mut words = HashMap::new();
        let mut others = Vec::new();
        for id in &hidden.ids {
            let alias = self.alias(id);
            if id.chars().all(in_word) {
                words.insert(id.to_ascii_lowercase(), alias);
            } else if others.len() < 256 && id.len() > 1 {
                others.extend([(printable(id), alias.clone()), (id.clone(), alias)]);
            }
        }
        with_foreign(report, &mut |text| {
            for (id, alias) in &others {
                *text = text.replace(id, alias);
            }
            *text = replaced(text, in_word, |word| words.get(&word.to_ascii_lowercase()).map(String::as_str));
            if hidden.uuids {
                *text = self.without_uuids(text);
            }
        })
    }

    /// `text` with fingerprints for UUIDs, wherever they stand: in what is percent-encoded they are no words.
    fn without_uuids(&self, text: &str) -> String {
        const LENGTH: usize = 36;
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match rest.get(..LENGTH).filter(|word| is_uuid(word)) {
                Some(id) => {
                    shown.push_str(&self.alias(id));
                    rest = &rest[LENGTH..];
                }
                None => {
                    shown.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        shown
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
