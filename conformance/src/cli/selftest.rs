//! Holds the harness itself against KMEs that are faulty on purpose.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;

use crate::run::RunError;
use crate::selftest::{self, Judged, Kind, News, Order, Outcome, Results};

/// What to run, and where to write.
#[derive(Args, Clone, Debug)]
pub(super) struct Selftest {
    /// KMEs with one fault each: all cases for it have to fail, and no other
    #[arg(long)]
    mutants: bool,
    /// KMEs that are odd and conform: none may fail
    #[arg(long)]
    variants: bool,
    /// KMEs that want to harm the harness
    #[arg(long)]
    hostile: bool,
    /// Keys that can be recognised: they are in no output
    #[arg(long)]
    canary: bool,
    /// The program of faulty KMEs
    #[arg(long, value_name = "PATH", env = "QKDSPEC_FAULTY")]
    faulty: Option<PathBuf>,
    /// Pairs of KMEs at a time
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Run a KME with a planted fault so many times, at most, until it shows as it ought to; odd and hostile KMEs are run once
    #[arg(long, value_name = "N", default_value_t = selftest::ATTEMPTS, value_parser = clap::value_parser!(u16).range(1..=10))]
    attempts: u16,
    /// Seconds that a pair may take to be ready, and to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u16,
    /// Only these faults; `none` for the KMEs as they are
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// Only the K-th of N parts, in an order drawn from the seed
    #[arg(long, value_name = "K/N", requires = "seed", value_parser = part)]
    third: Option<(usize, usize)>,
    /// Hexadecimal; for --third
    #[arg(long)]
    seed: Option<String>,
    /// Write the matrix, and its figures into the README beside it
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    /// Compare with a matrix that was written; exit code 1 if it differs
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Keep reports, screens and logs there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

const WANTED: &str = "\
mutants, variants and hostile KMEs were not run: they need the program of faulty KMEs. In a clone of the repository:
  cargo build --release -p kme -p qkdspec
  target/release/qkdspec selftest --faulty target/release/faulty
";

fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    numbers.filter(|(part, of)| (1..=*of).contains(part)).ok_or_else(|| "write K/N, for instance 2/3".to_owned())
}

impl Selftest {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<u8, RunError> {
        let none = !(self.mutants || self.variants || self.hostile || self.canary);
        let kinds = [(self.mutants, Kind::Mutant), (self.variants, Kind::Variant), (self.hostile, Kind::Hostile)];
        let kinds: Vec<Kind> = kinds.into_iter().filter(|(chosen, _)| *chosen || none).map(|(_, kind)| kind).collect();
        let mut good = true;
        if (self.canary || none) && self.only.is_empty() {
            good &= canary(out)?;
        }
        if kinds.is_empty() {
            return Ok(u8::from(!good));
        }
        let Some(faulty) = &self.faulty else {
            eprint!("{WANTED}");
            return Ok(2);
        };
        if self.matrix.is_some() && (kinds.len() < 3 || !self.only.is_empty() || self.third.is_some()) {
            return Err(RunError::Usage("--matrix: only a run of all faults makes a matrix".to_owned()));
        }
        let written = self.check.as_deref().map(|path| Ok::<_, RunError>((path, read(path)?))).transpose()?;
        let interrupted = Arc::<AtomicBool>::default();
        super::options::watch_interrupts(&interrupted);
        let order = Order {
            faulty: faulty.clone(),
            qkdspec: std::env::current_exe()?,
            kinds,
            only: self.only.clone(),
            part: self.part()?,
            jobs: usize::from(self.jobs),
            attempts: u32::from(self.attempts),
            patience: u64::from(self.patience),
            keep: self.keep.clone(),
            interrupted: interrupted.clone(),
        };
        let began = Instant::now();
        let mut screen = Screen { out, error: None, live: std::io::stdout().is_terminal(), began };
        let results = selftest::run(&order, &mut |news| screen.tell(&news)).map_err(RunError::Usage)?;
        if let Some(error) = screen.error {
            return Err(error.into());
        }
        good &= summary(&results, out)?;
        writeln!(out, "{:.0} s, {} at a time", began.elapsed().as_secs_f64(), self.jobs)?;
        if interrupted.load(Ordering::SeqCst) {
            writeln!(out, "interrupted: this says nothing of what was not run")?;
            return Ok(130);
        }
        if let Some(path) = &self.matrix {
            write_matrix(path, &results, out)?;
        }
        if let Some((path, written)) = &written {
            good &= check_matrix(path, written, &results, out)?;
        }
        Ok(u8::from(!good))
    }

    fn part(&self) -> Result<Option<(usize, usize, u64)>, RunError> {
        let Some((part, of)) = self.third else { return Ok(None) };
        let digits = self.seed.as_deref().unwrap_or_default();
        let seed = u64::from_str_radix(digits, 16)
            .map_err(|_| RunError::Usage(format!("--seed {digits}: hexadecimal digits, 16 at most")))?;
        Ok(Some((part, of, seed)))
    }
}

fn canary(out: &mut dyn Write) -> Result<bool, RunError> {
    let (found, searched) = selftest::canary().map_err(RunError::Usage)?;
    for line in &found {
        writeln!(out, "FOUND        canary  {line}")?;
    }
    writeln!(
        out,
        "{:<12} canary  {searched} outputs searched for keys that were handed out",
        if found.is_empty() { "ok" } else { "FOUND" }
    )?;
    Ok(found.is_empty())
}

/// A line per fault; on a terminal also one that says how far it is.
struct Screen<'a> {
    out: &'a mut dyn Write,
    error: Option<std::io::Error>,
    live: bool,
    began: Instant,
}

impl Screen<'_> {
    fn tell(&mut self, news: &News<'_>) {
        let clear = if self.live { "\r\x1b[K" } else { "" };
        let text = match news {
            News::Done(judged) => format!("{clear}{}", lines(judged)),
            News::Progress { over, of, running } if self.live => {
                let line = format!("{over} of {of}, {:.0} s: {}", self.began.elapsed().as_secs_f64(), running.join(" "));
                let line: String = line.chars().take(78).collect();
                format!("{clear}{line}")
            }
            News::Progress { .. } => return,
        };
        if let Err(error) = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            self.error.get_or_insert(error);
        }
    }
}

fn lines(judged: &Judged) -> String {
    let noticed: Vec<_> = judged.noticed.iter().map(|case| case.trim_start_matches("014-")).collect();
    let attempts = if judged.attempts > 1 { format!("  (run {} times)", judged.attempts) } else { String::new() };
    let mut text = format!(
        "{:<12} {:<5} {:5.1} s  {}{}{attempts}\n",
        judged.outcome.words(),
        judged.fault.id,
        judged.seconds,
        judged.fault.what,
        if noticed.is_empty() { String::new() } else { format!("  [{}]", noticed.join(" ")) },
    );
    if !judged.outcome.is_good() {
        judged.remarks.iter().for_each(|remark| text.push_str(&format!("                {remark}\n")));
    }
    text
}

/// The table at the end; whether all is well.
fn summary(results: &Results, out: &mut dyn Write) -> Result<bool, RunError> {
    let bad: Vec<_> = results.rows.iter().filter(|row| !row.outcome.is_good()).collect();
    if !bad.is_empty() {
        writeln!(out, "\nNot as it ought to be")?;
        for row in &bad {
            write!(out, "{}", lines(row))?;
        }
    }
    writeln!(out)?;
    for (kind, name) in [(Kind::Mutant, "mutants"), (Kind::Variant, "variants"), (Kind::Hostile, "hostile")] {
        let rows: Vec<_> = results.rows.iter().filter(|row| row.fault.kind == kind).collect();
        let outcomes = [
            Outcome::Killed,
            Outcome::Unharmed,
            Outcome::OthersToo,
            Outcome::Missed,
            Outcome::Survived,
            Outcome::Wrong,
            Outcome::Broken,
            Outcome::NotPlanted,
        ];
        let counts = outcomes.iter().filter_map(|outcome| {
            let count = rows.iter().filter(|row| row.outcome == *outcome).count();
            (count > 0).then(|| format!("{count} {}", outcome.words()))
        });
        if !rows.is_empty() {
            writeln!(out, "{name:<9} {:>4}: {}", rows.len(), counts.collect::<Vec<_>>().join(", "))?;
        }
    }
    let again: Vec<_> = results.rows.iter().filter(|row| row.attempts > 1 && row.outcome.is_good()).collect();
    let mutants = results.rows.iter().filter(|row| row.fault.kind == Kind::Mutant).count();
    if mutants > 0 {
        let ids: String = again.iter().map(|row| format!(" {}", row.fault.id)).collect();
        let ids = if ids.is_empty() { ids } else { format!(":{ids}") };
        writeln!(out, "mutants that needed more than one try: {} of {mutants}{ids}", again.len())?;
    }
    let mut good = bad.is_empty();
    if results.whole {
        for (cases, what) in [
            (selftest::unproved(&results.rows), "cases that can fail, without a fault that they notice"),
            (selftest::never_passed(&results.rows), "cases that can fail, never passed by a KME that conforms"),
        ] {
            writeln!(out, "{what}: {}", if cases.is_empty() { "none".to_owned() } else { cases.join(" ") })?;
            good &= cases.is_empty();
        }
    }
    Ok(good)
}

fn read(path: &Path) -> Result<String, RunError> {
    fs::read_to_string(path).map_err(|error| RunError::Usage(format!("{}: {error}", path.display())))
}

fn write_matrix(path: &Path, results: &Results, out: &mut dyn Write) -> Result<(), RunError> {
    super::write_file(path, &selftest::document(&results.rows, &results.allowed))?;
    writeln!(out, "{} written", path.display())?;
    let readme = path.with_file_name("README.md");
    let Ok(text) = fs::read_to_string(&readme) else { return Ok(()) };
    if let Some(old) = selftest::marked(&text) {
        let new = selftest::figures(&results.rows, &results.allowed);
        super::write_file(&readme, &text.replace(old, new.trim_end()))?;
        writeln!(out, "{}: figures written", readme.display())?;
    }
    Ok(())
}

/// A part of the faults is compared row by row.
fn check_matrix(path: &Path, written: &str, results: &Results, out: &mut dyn Write) -> Result<bool, RunError> {
    let differs: Vec<String> = if results.whole {
        let now = selftest::document(&results.rows, &results.allowed);
        let (old, new): (Vec<_>, Vec<_>) = (written.lines().collect(), now.lines().collect());
        let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
        gone.chain(new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"))).collect()
    } else {
        let rows = results.rows.iter().map(|row| selftest::row(row, &results.allowed));
        rows.filter(|row| !written.contains(row.as_str())).map(|row| format!("+ {}", row.trim_end())).collect()
    };
    if differs.is_empty() {
        writeln!(out, "{} is as this run", path.display())?;
    } else {
        writeln!(out, "{} is not as this run:", path.display())?;
        differs.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(differs.is_empty())
}
