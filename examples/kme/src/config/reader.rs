//! Reading a TOML document piece by piece: every mistake is noted with its place, and reading goes on.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) fix: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { message: message.into(), fix: fix.into() }
    }
}

/// The document: the places of all settings that were read, and the problems so far.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    places: HashMap<String, usize>,
    problems: Vec<Problem>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, places: HashMap::new(), problems: Vec::new() }
    }

    /// The tables of the document; `None` when it is no TOML, which is noted.
    pub(super) fn root(&mut self) -> Option<Section<'a>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
            self.note_at(at, Wrong::new(message, "write this line as TOML: `key = value`, texts in double quotes"));
        }
        errors.is_empty().then(|| Section::new(String::new(), 0..0, root.into_inner()))
    }

    /// Notes a problem of the setting called `name`, as `link[0].peer`.
    pub(super) fn note(&mut self, name: &str, wrong: Wrong) {
        let at = self.places.get(name).copied().unwrap_or(0);
        self.note_at(at, wrong);
    }

    /// Whether a setting was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The line of a setting.
    pub(super) fn line(&self, name: &str) -> usize {
        self.position(self.places.get(name).copied().unwrap_or(0)).0
    }

    /// All problems, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        self.problems
    }

    fn note_at(&mut self, at: usize, Wrong { message, fix }: Wrong) {
        let (line, column) = self.position(at);
        self.problems.push(Problem { line, column, message, fix });
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

/// One table of the document, from which settings are taken one by one. What nobody takes is unknown.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// As `northbound` or `link[0].module`; empty for the document itself.
    name: String,
    at: usize,
    entries: DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(name: String, span: Range<usize>, entries: DeTable<'a>) -> Self {
        Self { name, at: span.start, entries, known: Vec::new() }
    }

    /// The full name of a setting in this section, as [`Document::note`] takes it.
    pub(super) fn full_name(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Counts a setting as known that is not taken now.
    pub(super) fn knows(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// A setting that may be absent. One that is there and wrong is noted, and counts as absent.
    pub(super) fn optional<T>(
        &mut self,
        document: &mut Document<'a>,
        key: &'static str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.take(document, key)?;
        let at = value.span().start;
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(Wrong { message, fix }) => {
                document.note_at(at, Wrong::new(format!("`{key}` {message}"), fix));
                None
            }
        }
    }

    /// A setting that must be there. `None` when it is absent or wrong, which is noted.
    pub(super) fn required<T>(
        &mut self,
        document: &mut Document<'a>,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.contains(key) {
            self.known.push(key);
            let message = format!("{} has no `{key}`", self.title());
            document.note_at(self.at, Wrong::new(message, format!("add `{key} = {example}`")));
            return None;
        }
        self.optional(document, key, read)
    }

    /// A section within this one that may be absent.
    pub(super) fn section(&mut self, document: &mut Document<'a>, key: &'static str) -> Option<Self> {
        let value = self.take(document, key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(entries) => Some(Self::new(self.full_name(key), span, entries)),
            _ => {
                let fix = format!("write a section, [{}]", self.full_name(key));
                document.note_at(span.start, Wrong::new(format!("`{key}` is no section"), fix));
                None
            }
        }
    }

    /// A section within this one that must be there.
    pub(super) fn required_section(&mut self, document: &mut Document<'a>, key: &'static str, example: &str) -> Option<Self> {
        if !self.contains(key) {
            self.known.push(key);
            let message = format!("{} has no `{key}`", self.title());
            document.note_at(self.at, Wrong::new(message, example));
            return None;
        }
        self.section(document, key)
    }

    /// The sections of this name, `[[key]]`, however many.
    pub(super) fn sections(&mut self, document: &mut Document<'a>, key: &'static str) -> Vec<Self> {
        let Some(value) = self.take(document, key) else { return Vec::new() };
        let span = value.span();
        let wrong = || Wrong::new(format!("`{key}` is no list of sections"), format!("write [[{key}]] above each of them"));
        let DeValue::Array(array) = value.into_inner() else {
            document.note_at(span.start, wrong());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, value) in array.into_iter().enumerate() {
            let span = value.span();
            match value.into_inner() {
                DeValue::Table(entries) => {
                    sections.push(Self::new(format!("{}[{index}]", self.full_name(key)), span, entries));
                }
                _ => document.note_at(span.start, wrong()),
            }
        }
        sections
    }

    /// Notes what nobody took.
    pub(super) fn finish(self, document: &mut Document<'a>) {
        let title = self.title();
        for key in self.entries.keys() {
            let unknown = key.get_ref().as_ref();
            let fix = match closest(unknown, &self.known) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("remove it; {title} knows {}", listed(&self.known)),
            };
            document.note_at(key.span().start, Wrong::new(format!("{title} knows no `{unknown}`"), fix));
        }
    }

    fn take(&mut self, document: &mut Document<'a>, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        document.places.insert(self.full_name(key), value.span().start);
        Some(value)
    }

    fn title(&self) -> String {
        match (self.name.as_str(), self.name.split_once('[')) {
            ("", _) => "the file".to_owned(),
            (_, Some((list, rest))) => match rest.split_once("].") {
                Some((_, inner)) => format!("`{inner}` of [[{list}]]"),
                None => format!("[[{list}]]"),
            },
            (name, None) => format!("[{name}]"),
        }
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The name that a slip of the fingers would turn into `unknown`, if there is one.
pub(super) fn closest<'n>(unknown: &str, names: &[&'n str]) -> Option<&'n str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let unknown = plain(unknown);
    let allowed = (unknown.chars().count() / 3).clamp(1, 3);
    let distances = names.iter().map(|name| (distance(&unknown, &plain(name)), *name));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// How many characters have to be added, removed or replaced. Both are short: keys of a configuration.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, character) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], done + 1);
        for (index, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
