//! Messages of the API read and written by etsi014, against serde_json on structs of the same members.
//!
//! The plain structs have base64 by a table (not in constant time), and nothing is wiped.

mod plain;

use std::hint::black_box;
use std::time::Duration;

use etsi014::decode::Decoding;
use etsi014::{KeyContainer, KeyIds, KeyRequest};
use rustix::time::{ClockId, clock_gettime};

use super::report::{Goal, Report};
use super::statistics::median;

/// Samples of each; what is reported is their median.
const SAMPLES: usize = 7;
/// Thread CPU time of one sample.
const SAMPLE: Duration = Duration::from_millis(50);

pub(super) fn section(report: &mut Report) {
    let mut rows = Vec::new();
    let goal = Goal::AtLeast { goal: 1.0, stretch: None };
    for keys in [1, 100] {
        let container = plain::Container::sample(keys);
        let text = serde_json::to_vec(&container).unwrap_or_default();
        let Ok(ours) = KeyContainer::decode(&text, Decoding::Lenient) else {
            report.note("etsi014 does not read the sample container.");
            return;
        };
        let mut add = |what: &str, pair: Pair| {
            rows.push(pair.row(&format!("{what}, {keys} keys")));
            report.goal(&format!("{what}, {keys} keys: plain serde_json time over etsi014 time"), goal, &pair.ratios);
        };
        add("write Key container", compare(|| black_box(&ours).encode(), || serde_json::to_vec(black_box(&container))));
        add(
            "read Key container",
            compare(
                || KeyContainer::decode(black_box(&text), Decoding::Lenient),
                || serde_json::from_slice::<plain::Container>(black_box(&text)),
            ),
        );
        let ids = serde_json::to_vec(&container.ids()).unwrap_or_default();
        add(
            "read Key IDs",
            compare(
                || KeyIds::decode(black_box(&ids), Decoding::Lenient),
                || serde_json::from_slice::<plain::Ids>(black_box(&ids)),
            ),
        );
    }
    let request = br#"{"number":1,"size":256}"#;
    let pair = compare(
        || KeyRequest::decode(black_box(request), Decoding::Lenient),
        || serde_json::from_slice::<plain::Request>(black_box(request)),
    );
    rows.push(pair.row("read Key request"));
    report.goal("read Key request: plain serde_json time over etsi014 time", goal, &pair.ratios);
    report.table("Messages, thread CPU time", &["what", "etsi014 ns", "plain serde_json ns", "plain over etsi014"], &rows);
}

/// Nanoseconds of either way, and the ratio in each round.
struct Pair {
    ours: f64,
    plain: f64,
    ratios: Vec<f64>,
}

impl Pair {
    fn row(&self, what: &str) -> Vec<String> {
        let ratio = format!("{:.2}", median(self.ratios.iter().copied()));
        vec![what.to_owned(), format!("{:.0}", self.ours), format!("{:.0}", self.plain), ratio]
    }
}

fn compare<T, U>(mut ours: impl FnMut() -> T, mut plain: impl FnMut() -> U) -> Pair {
    let samples: Vec<(f64, f64)> = (0..SAMPLES).map(|_| (sample(&mut ours), sample(&mut plain))).collect();
    Pair {
        ours: median(samples.iter().map(|sample| sample.0)),
        plain: median(samples.iter().map(|sample| sample.1)),
        ratios: samples.iter().map(|(ours, plain)| plain / ours).collect(),
    }
}

/// Nanoseconds of a call.
fn sample<T>(work: &mut impl FnMut() -> T) -> f64 {
    const BATCH: u32 = 64;
    let (mut calls, start) = (0u32, thread_time());
    loop {
        for _ in 0..BATCH {
            // What it made is dropped within the time: wiping is part of it.
            black_box(work());
        }
        calls += BATCH;
        let passed = thread_time().saturating_sub(start);
        if passed >= SAMPLE {
            return passed.as_nanos() as f64 / f64::from(calls);
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
