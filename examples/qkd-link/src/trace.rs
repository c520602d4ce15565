//! Recordings of the secret key rate (SKR) of a link, as CSV.
//!
//! ```text
//! # any number of comment lines
//! t_s,skr_bps,qber,state
//! 0,2300.5,0.0121,GOOD
//! 60,0,,DEAD
//! ```
//!
//! `t_s` is in seconds and grows from line to line; `skr_bps` is the rate in bits per second from that time until the next
//! line; `qber` is the quantum bit error rate as a fraction of 1 and may be empty; `state` is `GOOD`, `DEGRADED` or `DEAD`,
//! in any case. A `DEAD` line has the rate 0.
//!
//! Playing back begins at the first line, whatever its time, and starts again from there after the last one. The last line
//! lasts as long as the one before it; a single line lasts for ever.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::rate::Skr;

/// The most samples a trace may have.
pub const MAX_SAMPLES: usize = 1_000_000;
/// The most comment lines a trace may have.
pub const MAX_COMMENTS: usize = 1_000;
/// The most octets a line may have.
pub const MAX_LINE_OCTETS: usize = 1_024;
/// The most octets a trace file may have.
pub const MAX_FILE_OCTETS: u64 = 128 << 20;

const COLUMNS: [&str; 4] = ["t_s", "skr_bps", "qber", "state"];
/// About three thousand years; keeps sums of bits well inside what a double holds exactly enough.
const MAX_TIME_S: f64 = 1e11;

/// The condition of a link at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// The link delivers its usual rate.
    Good,
    /// The link delivers less than usual.
    Degraded,
    /// The link delivers nothing.
    Dead,
}

impl LinkState {
    /// The name in a trace: `GOOD`, `DEGRADED` or `DEAD`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Degraded => "DEGRADED",
            Self::Dead => "DEAD",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Good, Self::Degraded, Self::Dead].into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When the line begins to hold, in seconds.
    pub t_s: f64,
    /// The secret key rate.
    pub skr: Skr,
    /// The quantum bit error rate, a fraction of 1.
    pub qber: Option<f64>,
    /// The condition of the link.
    pub state: LinkState,
}

/// A checked trace: at least one sample, times strictly growing.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    comments: Vec<String>,
    samples: Vec<Sample>,
    /// Bits from the first sample to the beginning of each sample.
    bits_before: Vec<f64>,
}

impl Trace {
    /// Checks samples and comments; a comment is given without its `#`.
    ///
    /// # Errors
    /// [`TraceError`]; the line is the one that the sample has in [`Display`](fmt::Display) form.
    pub fn new(comments: Vec<String>, samples: Vec<Sample>) -> Result<Self, TraceError> {
        if comments.len() > MAX_COMMENTS {
            return Err(TraceError::new(MAX_COMMENTS + 1, Problem::TooManyComments));
        }
        if let Some(at) = comments.iter().position(|comment| comment.contains(['\n', '\r'])) {
            return Err(TraceError::new(at + 1, Problem::LineBreakInComment));
        }
        if let Some(at) = comments.iter().position(|comment| comment.len() + 2 > MAX_LINE_OCTETS) {
            return Err(TraceError::new(at + 1, Problem::LineTooLong));
        }
        let first_line = comments.len() + 2;
        let mut builder = Builder { comments, ..Builder::default() };
        for (index, sample) in samples.into_iter().enumerate() {
            builder.push(sample).map_err(|problem| TraceError::new(first_line + index, problem))?;
        }
        builder.finish(first_line)
    }

    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`] with the number of the line. It never quotes the input.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut builder = Builder::default();
        let mut header_seen = false;
        let mut number = 0;
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            number += 1;
            builder.read_line(line, &mut header_seen).map_err(|problem| TraceError::new(number, problem))?;
        }
        if !header_seen {
            return Err(TraceError::new(number + 1, Problem::NoHeader));
        }
        builder.finish(number + 1)
    }

    /// The comment lines, without their `#` and the blanks around.
    #[must_use]
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    /// The samples, in order of time; never empty.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Whether the trace says of itself that it is synthetic: whether it has the comment line `# synthetic`.
    #[must_use]
    pub fn is_synthetic(&self) -> bool {
        self.comments.iter().any(|comment| comment == "synthetic")
    }

    /// How long one pass through the trace takes.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::try_from_secs_f64(self.period_s()).unwrap_or(Duration::MAX)
    }

    /// What holds at `at`, counted from the first sample. The trace repeats after [`period`](Self::period).
    #[must_use]
    pub fn sample_at(&self, at: Duration) -> &Sample {
        let (_, rest) = self.split(at.as_secs_f64());
        &self.samples[self.index_at(rest)]
    }

    /// The rate at `at`, counted from the first sample.
    #[must_use]
    pub fn rate_at(&self, at: Duration) -> Skr {
        self.sample_at(at).skr
    }

    /// How many bits the link makes between two times, both counted from the first sample; 0 when `to` is not after `from`.
    #[must_use]
    pub fn bits_between(&self, from: Duration, to: Duration) -> f64 {
        if to <= from {
            return 0.0;
        }
        // Whole passes are taken off first, so that a long-running link loses no precision.
        let (from_passes, from_rest) = self.split(from.as_secs_f64());
        let (to_passes, to_rest) = self.split(to.as_secs_f64());
        let whole = (to_passes - from_passes) * self.bits_until(self.period_s());
        (whole + self.bits_until(to_rest) - self.bits_until(from_rest)).max(0.0)
    }

    /// The mean rate of one pass, in bits per second.
    #[must_use]
    pub fn mean_bps(&self) -> f64 {
        self.bits_until(self.period_s()) / self.period_s()
    }

    /// Splits a time into whole passes and the rest.
    fn split(&self, at_s: f64) -> (f64, f64) {
        let period = self.period_s();
        let passes = (at_s / period).floor();
        (passes, (at_s - passes * period).clamp(0.0, period))
    }

    fn period_s(&self) -> f64 {
        let times = |index: usize| self.samples[index].t_s;
        match self.samples.len() {
            0 | 1 => 1.0,
            n => times(n - 1) - times(0) + (times(n - 1) - times(n - 2)),
        }
    }

    /// Bits from the first sample until `at_s` within one pass.
    fn bits_until(&self, at_s: f64) -> f64 {
        let index = self.index_at(at_s);
        let sample = &self.samples[index];
        self.bits_before[index] + sample.skr.bps() * (at_s - (sample.t_s - self.samples[0].t_s))
    }

    /// The sample that holds at `at_s` within one pass.
    fn index_at(&self, at_s: f64) -> usize {
        let first = self.samples[0].t_s;
        self.samples.partition_point(|sample| sample.t_s - first <= at_s).saturating_sub(1)
    }
}

impl fmt::Display for Trace {
    /// Writes the trace so that [`Trace::parse`] reads the same trace again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            writeln!(f, "# {comment}")?;
        }
        writeln!(f, "{}", COLUMNS.join(","))?;
        for sample in &self.samples {
            write!(f, "{},{},", sample.t_s, sample.skr.bps())?;
            if let Some(qber) = sample.qber {
                write!(f, "{qber}")?;
            }
            writeln!(f, ",{}", sample.state)?;
        }
        Ok(())
    }
}

impl FromStr for Trace {
    type Err = TraceError;
    fn from_str(text: &str) -> Result<Self, TraceError> {
        Self::parse(text)
    }
}

/// Why a trace was refused, and at which line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    line: usize,
    problem: Problem,
}

impl TraceError {
    fn new(line: usize, problem: Problem) -> Self {
        Self { line, problem }
    }

    /// The number of the line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong there.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

/// What is wrong with a line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The header line is missing or another one.
    #[error("the header t_s,skr_bps,qber,state is missing")]
    NoHeader,
    /// The trace ends before the first sample.
    #[error("the trace has no sample")]
    NoSample,
    /// A line has more or fewer than four columns.
    #[error("a sample has four columns")]
    Columns,
    /// The time is no number from 0 to 10^11.
    #[error("t_s is no number of seconds")]
    Time,
    /// The time is not after that of the line before.
    #[error("t_s does not grow")]
    TimeNotGrowing,
    /// The rate is no finite number, negative or beyond [`Skr::MAX`].
    #[error("skr_bps is no rate in bits per second")]
    Rate,
    /// The error rate is no fraction of 1.
    #[error("qber is no fraction between 0 and 1")]
    Qber,
    /// The state is unknown.
    #[error("state is none of GOOD, DEGRADED, DEAD")]
    State,
    /// A dead link has a rate.
    #[error("the state is DEAD and the rate is not 0")]
    DeadWithRate,
    /// More than [`MAX_LINE_OCTETS`] octets.
    #[error("the line is longer than {MAX_LINE_OCTETS} octets")]
    LineTooLong,
    /// More than [`MAX_COMMENTS`] comment lines.
    #[error("there are more than {MAX_COMMENTS} comment lines")]
    TooManyComments,
    /// A comment to be written has a line break.
    #[error("a comment has a line break")]
    LineBreakInComment,
    /// More than [`MAX_SAMPLES`] samples.
    #[error("there are more than {MAX_SAMPLES} samples")]
    TooManySamples,
}

#[derive(Default)]
struct Builder {
    comments: Vec<String>,
    samples: Vec<Sample>,
    bits_before: Vec<f64>,
}

impl Builder {
    fn read_line(&mut self, line: &str, header_seen: &mut bool) -> Result<(), Problem> {
        if line.len() > MAX_LINE_OCTETS {
            return Err(Problem::LineTooLong);
        }
        if let Some(comment) = line.strip_prefix('#') {
            if self.comments.len() == MAX_COMMENTS {
                return Err(Problem::TooManyComments);
            }
            self.comments.push(comment.trim().to_owned());
            return Ok(());
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        if !*header_seen {
            *header_seen = true;
            return if line.split(',').map(str::trim).eq(COLUMNS) { Ok(()) } else { Err(Problem::NoHeader) };
        }
        self.push(read_sample(line)?)
    }

    fn push(&mut self, sample: Sample) -> Result<(), Problem> {
        if self.samples.len() == MAX_SAMPLES {
            return Err(Problem::TooManySamples);
        }
        if !(0.0..=MAX_TIME_S).contains(&sample.t_s) {
            return Err(Problem::Time);
        }
        if sample.qber.is_some_and(|qber| !(0.0..=1.0).contains(&qber)) {
            return Err(Problem::Qber);
        }
        if sample.state == LinkState::Dead && sample.skr.bps() > 0.0 {
            return Err(Problem::DeadWithRate);
        }
        let bits_before = match (self.samples.last(), self.bits_before.last()) {
            (Some(last), _) if last.t_s >= sample.t_s => return Err(Problem::TimeNotGrowing),
            (Some(last), Some(bits)) => bits + last.skr.bps() * (sample.t_s - last.t_s),
            _ => 0.0,
        };
        self.samples.push(sample);
        self.bits_before.push(bits_before);
        Ok(())
    }

    fn finish(self, end: usize) -> Result<Trace, TraceError> {
        if self.samples.is_empty() {
            return Err(TraceError::new(end, Problem::NoSample));
        }
        let Self { comments, samples, bits_before } = self;
        Ok(Trace { comments, samples, bits_before })
    }
}

fn read_sample(line: &str) -> Result<Sample, Problem> {
    let mut columns = line.split(',').map(str::trim);
    let (Some(t_s), Some(skr), Some(qber), Some(state), None) =
        (columns.next(), columns.next(), columns.next(), columns.next(), columns.next())
    else {
        return Err(Problem::Columns);
    };
    Ok(Sample {
        t_s: t_s.parse().map_err(|_| Problem::Time)?,
        skr: skr.parse().ok().and_then(|bps| Skr::new(bps).ok()).ok_or(Problem::Rate)?,
        qber: if qber.is_empty() { None } else { Some(qber.parse().map_err(|_| Problem::Qber)?) },
        state: LinkState::from_name(state).ok_or(Problem::State)?,
    })
}
