//! A folder with all that a report rests on, its sums, and if wanted a signature over them; and the check of such a folder.
//!
//! The formats are those of `sha256sum` and `openssl`, so that nobody needs this program to check one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{load, write_file};
use crate::report::{self, Report};
use crate::run::RunError;
use crate::sign::{PublicKey, SigningKey};

#[derive(Args, Debug)]
pub(super) struct Bundle {
    /// A report in JSON
    #[arg(required_unless_present = "verify")]
    report: Option<PathBuf>,
    /// The folder to make; otherwise the report's name with the ending .bundle
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sign with this Ed25519 key (PKCS #8, PEM), as `openssl genpkey -algorithm ed25519` makes it
    #[arg(long, value_name = "FILE", env = "QKDSPEC_SIGN")]
    sign: Option<PathBuf>,
    /// Check a bundle instead of making one
    #[arg(long, value_name = "DIR", conflicts_with_all = ["report", "out", "sign"])]
    verify: Option<PathBuf>,
    /// Public key of the one who should have signed (PEM), known from elsewhere
    #[arg(long, value_name = "FILE", requires = "verify")]
    key: Option<PathBuf>,
}

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
const SIGNER: &str = "signer.pem";

impl Bundle {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<u8, RunError> {
        match (&self.verify, &self.report) {
            (Some(folder), _) => verify(folder, self.key.as_deref(), out),
            (None, Some(report)) => self.make(report, out),
            (None, None) => Err(RunError::Usage("name a report".to_owned())),
        }
    }

    fn make(&self, path: &Path, out: &mut dyn Write) -> Result<u8, RunError> {
        let report = load(path)?;
        // Before anything is written.
        let key = self.sign.as_deref().map(SigningKey::load).transpose().map_err(RunError::Usage)?;
        let folder = self.out.clone().unwrap_or_else(|| path.with_extension("bundle"));
        if folder.exists() {
            return Err(RunError::Usage(format!("{} is there already; name another folder with --out", folder.display())));
        }
        let mut files = contents(&report)?;
        files.insert("report.json".to_owned(), read(path)?);
        if let Some(key) = &key {
            files.insert(SIGNER.to_owned(), key.public().pem().into_bytes());
        }
        let mut sums = String::new();
        for (name, octets) in &files {
            let file = folder.join(name);
            let parent = file.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).map_err(|error| RunError::Usage(format!("{}: {error}", parent.display())))?;
            write(&file, octets)?;
            sums.push_str(&format!("{}  {name}\n", crate::sha256(octets)));
        }
        write_file(&folder.join(SUMS), &sums)?;
        writeln!(out, "{}: {} files and their sums", folder.display(), files.len())?;
        if let Some(key) = key {
            write(&folder.join(SIGNATURE), &key.sign(sums.as_bytes()))?;
            writeln!(out, "signed by the key {}", key.public().fingerprint())?;
        }
        Ok(0)
    }
}

/// Everything but the report itself.
fn contents(report: &Report) -> Result<BTreeMap<String, Vec<u8>>, RunError> {
    let pretty = |value: &serde_json::Value| format!("{value:#}\n").into_bytes();
    let mut files = BTreeMap::new();
    files.insert("report.html".to_owned(), report::html(report).into_bytes());
    files.insert("report.md".to_owned(), report::markdown(report).into_bytes());
    files.insert("ics.json".to_owned(), pretty(&serde_json::to_value(&report.ics).unwrap_or_default()));
    let cases: Vec<_> = report.cases.iter().map(|case| json!({ "id": case.id, "version": case.version })).collect();
    let plan = json!({ "plan": report.plan, "tool": report.tool, "target": report.target, "cases": cases });
    files.insert("plan.json".to_owned(), pretty(&plan));
    for case in report.cases.iter().filter(|case| !case.evidence.is_empty()) {
        // The report may come from anywhere.
        if case.id.is_empty() || !case.id.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-') {
            return Err(RunError::Usage(format!("{:?} is no id of a case", case.id)));
        }
        let evidence = serde_json::to_value(&case.evidence).unwrap_or_default();
        files.insert(format!("evidence/{}.json", case.id), pretty(&evidence));
    }
    files.insert("README.txt".to_owned(), README.as_bytes().to_vec());
    Ok(files)
}

const README: &str = "\
A report of qkdspec with what it rests on. To check that nothing was changed:

  sha256sum -c SHA256SUMS

If it is signed (SHA256SUMS.sig), with the signer's public key from a source that you trust, not with signer.pem from here:

  openssl pkeyutl -verify -pubin -inkey KEY.pem -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig

Both at once: qkdspec bundle --verify DIR --key KEY.pem
A signature says who vouches for the report; the report is still a self-test, not a certificate.
";

fn verify(folder: &Path, key: Option<&Path>, out: &mut dyn Write) -> Result<u8, RunError> {
    let key = key.map(PublicKey::load).transpose().map_err(RunError::Usage)?;
    let sums = read(&folder.join(SUMS))?;
    let text = std::str::from_utf8(&sums).map_err(|_| RunError::Usage(format!("{SUMS}: not UTF-8")))?;
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::from([PathBuf::from(SUMS), PathBuf::from(SIGNATURE)]);
    for line in text.lines() {
        let (sum, name) = line.split_once("  ").ok_or_else(|| RunError::Usage(format!("{SUMS}: no sum and name: {line:?}")))?;
        let path = Path::new(name);
        if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(RunError::Usage(format!("{SUMS}: {name:?} is outside the folder")));
        }
        listed.insert(path.to_owned());
        match read(&folder.join(path)) {
            Ok(octets) if crate::sha256(&octets) == sum => {}
            Ok(_) => wrong.push(format!("{name} was changed")),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    for path in files(folder, Path::new(""))? {
        if !listed.contains(&path) {
            wrong.push(format!("{} is not in {SUMS}", path.display()));
        }
    }
    let signature = fs::read(folder.join(SIGNATURE)).ok();
    let said = match (key, signature) {
        (Some(key), Some(signature)) => {
            if !key.verify(&sums, &signature) {
                wrong.push(format!("the signature is not of the key {}", key.fingerprint()));
            }
            format!("signed by the key {}", key.fingerprint())
        }
        (Some(_), None) => {
            wrong.push(format!("{SIGNATURE} is missing: the bundle is not signed"));
            String::new()
        }
        (None, Some(_)) => "signed, which was not checked: name the signer's public key with --key".to_owned(),
        (None, None) => "not signed: the sums tell of damage, not of forgery".to_owned(),
    };
    for line in &wrong {
        writeln!(out, "WRONG  {line}")?;
    }
    if wrong.is_empty() {
        writeln!(out, "{}: {} files as they were; {said}", folder.display(), listed.len() - 2)?;
    }
    Ok(u8::from(!wrong.is_empty()))
}

/// All files below, as paths within the folder. A bundle holds no links.
fn files(folder: &Path, within: &Path) -> Result<Vec<PathBuf>, RunError> {
    let failed = |error: std::io::Error| RunError::Usage(format!("{}: {error}", folder.join(within).display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(within)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = within.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            found.extend(files(folder, &path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    fs::read(path).map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))
}

fn write(path: &Path, octets: &[u8]) -> Result<(), RunError> {
    fs::write(path, octets).map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))
}
