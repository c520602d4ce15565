//! Makes the SAE under test do something, and sees how that ends.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::lab::lock;

/// Octets of each output stream that are kept.
const MAX_OUTPUT: usize = 1024 * 1024;
/// Lines of keys that are read.
const MAX_LINES: usize = 200;
/// For the rest of the output, once all that can be ended is.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Exit code 0.
    Done,
    /// Exit code 1.
    Reported,
    /// Exit code 89.
    Unsupported,
    /// Another exit code.
    Code(i32),
    /// It crashed.
    Signal(i32),
    /// It did not end in time, and was ended.
    TimedOut,
    /// There is no way to tell.
    Unknown,
}

impl End {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Done => "exit 0, done".to_owned(),
            Self::Reported => "exit 1, a failure reported".to_owned(),
            Self::Unsupported => "exit 89, unsupported".to_owned(),
            Self::Code(code) => format!("exit {code}"),
            Self::Signal(signal) => format!("ended by signal {signal}"),
            Self::TimedOut => "did not end in time".to_owned(),
            Self::Unknown => "no way to tell how it ended".to_owned(),
        }
    }
}

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) end: End,
    /// Key IDs and fingerprints it printed.
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) stdout: Zeroizing<Vec<u8>>,
    pub(crate) stderr: Zeroizing<Vec<u8>>,
    pub(crate) took: Duration,
    /// Greatest resident memory seen, of all its processes, in octets; where the system tells.
    pub(crate) memory: Option<u64>,
}

impl Outcome {
    /// Of an SAE that is seen on the wire only.
    pub(crate) fn unseen(took: Duration) -> Self {
        let empty = || Zeroizing::new(Vec::new());
        Self { end: End::Unknown, lines: Vec::new(), stdout: empty(), stderr: empty(), took, memory: None }
    }

    /// All it said.
    pub(crate) fn said(&self) -> Zeroizing<String> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Zeroizing::new(format!("{}\n{}", text(&self.stdout), text(&self.stderr)))
    }
}

/// Runs a shell command to its end, or to that of `timeout`.
pub(crate) fn exec(
    command: &str,
    environment: &[(&'static str, String)],
    folder: &std::path::Path,
    timeout: Duration,
    measure: bool,
    interrupted: &AtomicBool,
) -> Result<Outcome, String> {
    let began = Instant::now();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if !folder.as_os_str().is_empty() {
        shell.current_dir(folder);
    }
    // What another run left behind would mislead.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QKDSPEC_")) {
        shell.env_remove(name);
    }
    shell.envs(environment.iter().map(|(name, value)| (*name, value)));
    let mut child = shell.spawn().map_err(|error| format!("the command cannot be run: {error}"))?;
    let readers = (child.stdout.take().map(reader), child.stderr.take().map(reader));
    let (status, memory) = watch(&mut child, began + timeout, measure, interrupted);
    // Also those it left running: they hold its output.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = match status {
        Some(status) => Some(status),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            None
        }
    };
    let took = began.elapsed();
    // One that left the group, as a daemon does, may hold the output for ever.
    let deadline = Instant::now() + LAST_OUTPUT;
    let output = |reader: Option<Reader>| reader.map(|reader| reader.take(deadline)).unwrap_or_default();
    let (stdout, stderr) = (output(readers.0), output(readers.1));
    let end = status.map_or(End::TimedOut, ended);
    Ok(Outcome { end, lines: lines(&stdout), stdout, stderr, took, memory })
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Done,
        (Some(1), _) => End::Reported,
        (Some(89), _) => End::Unsupported,
        // So a shell tells of what it ran.
        (Some(code @ 129..=159), _) => End::Signal(code - 128),
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or_default()),
    }
}

fn watch(child: &mut Child, deadline: Instant, measure: bool, interrupted: &AtomicBool) -> (Option<ExitStatus>, Option<u64>) {
    let mut memory = None;
    let mut pause = Duration::from_millis(2);
    loop {
        if measure {
            memory = memory.max(resident(child.id()));
        }
        match child.try_wait() {
            Ok(Some(status)) => return (Some(status), memory),
            Ok(None) if Instant::now() < deadline && !interrupted.load(Ordering::SeqCst) => thread::sleep(pause),
            _ => return (None, memory),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Resident memory of all processes of a group, where there is /proc.
fn resident(group: u32) -> Option<u64> {
    let mut sum = None;
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().bytes().all(|octet| octet.is_ascii_digit()) {
            continue;
        }
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name of the program, in brackets, may hold anything.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        if fields.get(2).and_then(|field| field.parse::<u32>().ok()) == Some(group) {
            let pages: u64 = fields.get(21).and_then(|field| field.parse().ok()).unwrap_or_default();
            sum = Some(sum.unwrap_or(0) + pages * 4096);
        }
    }
    sum
}

/// What a stream gives; none once it was taken.
type Kept = Arc<Mutex<Option<Zeroizing<Vec<u8>>>>>;

struct Reader {
    kept: Kept,
    /// Cut when the stream has ended.
    ended: Receiver<()>,
}

impl Reader {
    /// All there is by the end of the stream, or by `deadline`.
    fn take(self, deadline: Instant) -> Zeroizing<Vec<u8>> {
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        lock(&self.kept).take().unwrap_or_default()
    }
}

fn reader(mut stream: impl Read + Send + 'static) -> Reader {
    let kept: Kept = Arc::new(Mutex::new(Some(Zeroizing::new(Vec::with_capacity(4096)))));
    let (end, ended) = channel();
    let filled = kept.clone();
    thread::spawn(move || {
        let _end: Sender<()> = end;
        let mut chunk = Zeroizing::new([0; 16 * 1024]);
        while let Ok(count) = stream.read(chunk.as_mut()) {
            if count == 0 {
                break;
            }
            // The rest is read, so that nobody waits, and dropped.
            if let Some(kept) = lock(&filled).as_mut() {
                let room = MAX_OUTPUT - kept.len();
                kept.extend_from_slice(&chunk[..count.min(room)]);
            }
        }
    });
    Reader { kept, ended }
}

/// Lines `key_ID fingerprint`; all others are for people.
fn lines(stdout: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(stdout);
    let pair = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (id, fingerprint) = (words.next()?, words.next()?);
        let is_hex = |text: &str| (16..=64).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_hexdigit());
        (words.next().is_none() && crate::secret::is_uuid(id) && is_hex(fingerprint))
            .then(|| (id.to_owned(), fingerprint.to_ascii_lowercase()))
    };
    text.lines().filter_map(pair).take(MAX_LINES).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sh(command: &str, timeout: Duration) -> Outcome {
        exec(command, &[("QKDSPEC_ROLE", "master".to_owned())], Path::new(""), timeout, false, &AtomicBool::new(false))
            .expect("it runs")
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn exit_codes_are_told_apart() {
        for (command, end) in [
            ("exit 0", End::Done),
            ("exit 1", End::Reported),
            ("exit 89", End::Unsupported),
            ("exit 101", End::Code(101)),
            ("kill -SEGV $$", End::Signal(11)),
            ("sh -c 'kill -ABRT $$'; exit $?", End::Signal(6)),
            ("[ \"$QKDSPEC_ROLE\" = master ]", End::Done),
        ] {
            assert_eq!(sh(command, LONG).end, end, "{command}");
        }
    }

    #[test]
    fn what_does_not_end_is_ended_with_all_its_processes() {
        let began = Instant::now();
        let outcome = sh("sleep 1000 & echo started; sleep 1000", Duration::from_millis(300));
        assert_eq!(outcome.end, End::TimedOut);
        assert_eq!(outcome.stdout.as_slice(), b"started\n");
        // A process that went on in the background would hold the output.
        let outcome = sh("sleep 1000 & exit 1", LONG);
        assert_eq!(outcome.end, End::Reported);
        assert!(began.elapsed() < LONG);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_left_the_group_holds_nobody_up() {
        let began = Instant::now();
        // The shell goes on when the other has a session of its own; that one keeps standard error open.
        let outcome = sh("echo \"$(setsid sh -c 'echo away; exec sleep 60 >&2' &)\"; exit 1", LONG);
        assert_eq!((outcome.end, outcome.stdout.as_slice()), (End::Reported, b"away\n".as_slice()));
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn keys_are_read_from_lines_and_output_is_bounded() {
        let id = "0957365e-4b8d-4f95-8a8f-de3d60199dbb";
        let outcome = sh(&format!("echo hello; echo {id} 00112233445566FF; echo {id} short; head -c 3000000 /dev/zero"), LONG);
        assert_eq!(outcome.lines, [(id.to_owned(), "00112233445566ff".to_owned())]);
        assert_eq!(outcome.stdout.len(), MAX_OUTPUT);
    }
}
