//! The audit log: every delivery and every refusal, one JSON object a line, with identifiers and sizes and never a key octet
//! (Y3803-9.4-03).
//!
//! Records are handed over before the answer is sent, and written by a thread of its own some milliseconds later: a crash of
//! the process can cost the last of them. When that thread falls far behind, requests are refused rather than not recorded.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use etsi014::KeyId;
use itu_y3803::{ApplicationId, WallTime};

/// With so many records waiting to be written, no more requests are begun; those under way still find a place.
const MAX_WAITING: usize = 100_000;
/// How long records may wait to be written together.
const PAUSE: Duration = Duration::from_millis(10);

/// One delivery or refusal.
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: WallTime,
    /// Who asked, as authenticated; `None` when it could not be told.
    pub sae: Option<ApplicationId>,
    /// The SAE that the path names, if it got so far.
    pub other: Option<ApplicationId>,
    /// Which method.
    pub operation: &'static str,
    /// The HTTP status of the answer; 0 when the caller went away before it.
    pub status: u16,
    /// What was refused, or nothing.
    pub refusal: Option<String>,
    /// The size of each key in bits.
    pub bits: u32,
    /// The keys delivered, or asked for in vain.
    pub keys: Vec<KeyId>,
}

/// Where records go; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    records: Vec<Record>,
    closed: bool,
    failed: bool,
}

/// The writing thread, to wait for its end.
#[derive(Debug)]
pub struct AuditThread(Option<(Audit, thread::JoinHandle<io::Result<()>>)>);

/// The audit log does not take the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct AuditFailed;

impl Audit {
    /// No audit log.
    #[must_use]
    pub fn none() -> (Self, AuditThread) {
        (Self(None), AuditThread(None))
    }

    /// Appends to a file, which is made if need be, readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn to_file(path: &Path) -> io::Result<(Self, AuditThread)> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new() });
        let audit = Self(Some(Arc::clone(&shared)));
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(move || shared.write(file))?;
        Ok((audit.clone(), AuditThread(Some((audit, thread)))))
    }

    /// Whether records are taken: to be asked before keys are spent.
    ///
    /// # Errors
    /// [`AuditFailed`] when the log cannot be written, or its writer is far behind.
    pub fn ready(&self) -> Result<(), AuditFailed> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.failed || waiting.records.len() >= MAX_WAITING { Err(AuditFailed) } else { Ok(()) }
    }

    /// Hands over a record. Once the log has failed there is nobody to write it.
    pub fn record(&self, record: impl FnOnce() -> Record) {
        let Some(shared) = &self.0 else { return };
        let record = record();
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.failed {
            waiting.records.push(record);
        }
    }

    /// Whether the log has failed: then the process should end, for no request will be served.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).failed)
    }
}

impl AuditThread {
    /// Writes what is left and ends the thread.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn close(self) -> io::Result<()> {
        let Some((audit, thread)) = self.0 else { return Ok(()) };
        if let Some(shared) = &audit.0 {
            shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            shared.changed.notify_all();
        }
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the audit thread panicked")))
    }
}

impl Shared {
    fn write(&self, mut file: File) -> io::Result<()> {
        let mut text = Vec::new();
        loop {
            let (records, closed) = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                // Not woken for each record: that would cost the requests more than the writing does.
                let (mut waiting, _) = self
                    .changed
                    .wait_timeout_while(waiting, PAUSE, |waiting| !waiting.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                (std::mem::take(&mut waiting.records), waiting.closed)
            };
            text.clear();
            for record in &records {
                write_line(&mut text, record)?;
            }
            if let Err(error) = file.write_all(&text) {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
                tracing::error!(%error, "the audit log cannot be written; requests are refused");
                return Err(error);
            }
            if closed {
                return file.sync_data();
            }
        }
    }
}

/// A record as a line of JSON. By hand, since it is written for every request: half of what a JSON library does is looking for
/// what IDs must not contain.
fn write_line(out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    write!(out, "{{\"at_ms\":{},\"sae\":", record.at.millis())?;
    write_text(out, record.sae.as_ref().map(ApplicationId::as_str))?;
    out.extend_from_slice(b",\"other_sae\":");
    write_text(out, record.other.as_ref().map(ApplicationId::as_str))?;
    out.extend_from_slice(b",\"operation\":");
    write_text(out, Some(record.operation))?;
    write!(out, ",\"status\":{}", record.status)?;
    if record.refusal.is_some() {
        out.extend_from_slice(b",\"refusal\":");
        write_text(out, record.refusal.as_deref())?;
    }
    if !record.keys.is_empty() {
        let mut before = b",\"key_ids\":[\"".as_slice();
        for key in &record.keys {
            out.extend_from_slice(before);
            out.extend_from_slice(key.as_str().as_bytes());
            before = b"\",\"";
        }
        out.extend_from_slice(b"\"]");
    }
    if record.bits > 0 {
        write!(out, ",\"bits\":{}", record.bits)?;
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn write_text(out: &mut Vec<u8>, text: Option<&str>) -> io::Result<()> {
    match text {
        Some(text) if text.bytes().all(|octet| octet >= b' ' && octet != b'"' && octet != b'\\') => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        text => serde_json::to_writer(out, &text)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_written_as_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        for round in 0..2 {
            let (audit, thread) = Audit::to_file(&path).expect("a file");
            for number in 0..500 {
                let record = || Record {
                    at: WallTime::from_millis(number),
                    sae: ApplicationId::new("red").ok(),
                    other: ApplicationId::new("b\"lue").ok(),
                    operation: "enc_keys",
                    status: 200,
                    refusal: None,
                    bits: 256,
                    keys: vec![KeyId::parse("0957365e-4b8d-4f95-8a8f-de3d60199dbb").expect("a UUID")],
                };
                audit.ready().expect("room");
                audit.record(record);
            }
            thread.close().expect("written");
            let text = std::fs::read_to_string(&path).expect("a file");
            assert_eq!(text.lines().count(), 500 * (round + 1), "appended, none lost");
            let line: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
            assert_eq!(line["other_sae"], "b\"lue");
            assert_eq!(line["key_ids"][0], "0957365e-4b8d-4f95-8a8f-de3d60199dbb");
        }
    }

    #[test]
    fn a_line_says_what_the_record_says() {
        let id = "0957365e-4b8d-4f95-8a8f-de3d60199dbb";
        let record = Record {
            at: WallTime::from_millis(1_700_000_000_123),
            sae: None,
            other: ApplicationId::new("b\\l\"u\u{fc} {e}").ok(),
            operation: "dec_keys",
            status: 400,
            refusal: Some("a \"text\"\n\u{1}".to_owned()),
            bits: 0,
            keys: vec![KeyId::parse(id).expect("a UUID"); 2],
        };
        let line = |record: &Record| {
            let mut text = Vec::new();
            write_line(&mut text, record).expect("memory takes it");
            assert_eq!(text.iter().filter(|&&octet| octet == b'\n').count(), 1);
            serde_json::from_slice::<serde_json::Value>(&text).expect("JSON")
        };
        let expected = serde_json::json!({
            "at_ms": 1_700_000_000_123u64, "sae": null, "other_sae": "b\\l\"u\u{fc} {e}", "operation": "dec_keys", "status": 400,
            "refusal": "a \"text\"\n\u{1}", "key_ids": [id, id],
        });
        assert_eq!(line(&record), expected);
        let delivered = Record { status: 200, refusal: None, bits: 256, sae: ApplicationId::new("red").ok(), ..record };
        let expected = serde_json::json!({
            "at_ms": 1_700_000_000_123u64, "sae": "red", "other_sae": "b\\l\"u\u{fc} {e}", "operation": "dec_keys", "status": 200,
            "key_ids": [id, id], "bits": 256,
        });
        assert_eq!(line(&delivered), expected);
    }
}
