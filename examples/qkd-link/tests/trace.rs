//! Traces: what is read, what is refused where, and playing back.

#![allow(missing_docs)]

use std::time::Duration;

use proptest::prelude::*;
use qkd_link::rate::Skr;
use qkd_link::trace::{LinkState, MAX_COMMENTS, MAX_LINE_OCTETS, MAX_SAMPLES, Problem, Sample, Trace};

const HEADER: &str = "t_s,skr_bps,qber,state\n";

fn trace(lines: &str) -> Trace {
    Trace::parse(&format!("{HEADER}{lines}")).expect("a trace")
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn good_traces_are_read() {
    let text = "\u{feff}# synthetic\r\n#seed=1\r\n\r\nt_s, skr_bps ,qber,state\r\n5,100,0.01,GOOD\r\n\
        # noted later\r\n7.5, 2.5e1,,degraded\r\n9,0,0.5,Dead\r\n";
    let trace = Trace::parse(text).expect("a trace");
    assert_eq!(trace.comments(), ["synthetic", "seed=1", "noted later"]);
    assert!(trace.is_synthetic());
    let bps = |bps| Skr::new(bps).expect("a rate");
    assert_eq!(
        trace.samples(),
        [
            Sample { t_s: 5.0, skr: bps(100.0), qber: Some(0.01), state: LinkState::Good },
            Sample { t_s: 7.5, skr: bps(25.0), qber: None, state: LinkState::Degraded },
            Sample { t_s: 9.0, skr: Skr::ZERO, qber: Some(0.5), state: LinkState::Dead },
        ]
    );
}

#[test]
fn bad_traces_are_refused_at_their_line() {
    let long = format!("# {}", "x".repeat(MAX_LINE_OCTETS));
    for (lines, line, problem) in [
        ("", 2, Problem::NoSample),
        ("0,1,0.1\n", 2, Problem::Columns),
        ("0,1,0.1,GOOD,x\n", 2, Problem::Columns),
        ("x,1,0.1,GOOD\n", 2, Problem::Time),
        ("-1,1,0.1,GOOD\n", 2, Problem::Time),
        ("NaN,1,0.1,GOOD\n", 2, Problem::Time),
        ("1e12,1,0.1,GOOD\n", 2, Problem::Time),
        ("0,1,0.1,GOOD\n0,1,0.1,GOOD\n", 3, Problem::TimeNotGrowing),
        ("1,1,0.1,GOOD\n\n0,1,0.1,GOOD\n", 4, Problem::TimeNotGrowing),
        ("0,-1,0.1,GOOD\n", 2, Problem::Rate),
        ("0,inf,0.1,GOOD\n", 2, Problem::Rate),
        ("0,NaN,0.1,GOOD\n", 2, Problem::Rate),
        ("0,1e13,0.1,GOOD\n", 2, Problem::Rate),
        ("0,,0.1,GOOD\n", 2, Problem::Rate),
        ("0,1,1.1,GOOD\n", 2, Problem::Qber),
        ("0,1,-0.1,GOOD\n", 2, Problem::Qber),
        ("0,1,NaN,GOOD\n", 2, Problem::Qber),
        ("0,1,0.1,BAD\n", 2, Problem::State),
        ("0,1,0.1,\n", 2, Problem::State),
        ("0,1,0.1,DEAD\n", 2, Problem::DeadWithRate),
        (&long, 2, Problem::LineTooLong),
    ] {
        let error = Trace::parse(&format!("{HEADER}{lines}")).expect_err(lines);
        assert_eq!((error.line(), error.problem()), (line, problem), "{lines:?}");
    }
    for (text, line) in [("", 1), ("# only comments\n", 2), ("t_s,skr_bps\n0,1\n", 1), ("0,1,0.1,GOOD\n", 1)] {
        let error = Trace::parse(text).expect_err(text);
        assert_eq!((error.line(), error.problem()), (line, Problem::NoHeader), "{text:?}");
    }
}

#[test]
fn numbers_of_lines_are_bounded() {
    let comments = "#\n".repeat(MAX_COMMENTS + 1);
    let error = Trace::parse(&comments).expect_err("too many");
    assert_eq!((error.line(), error.problem()), (MAX_COMMENTS + 1, Problem::TooManyComments));
    let lines: String = (0..=MAX_SAMPLES).map(|t| format!("{t},1,,GOOD\n")).collect();
    let error = Trace::parse(&format!("{HEADER}{lines}")).expect_err("too many");
    assert_eq!((error.line(), error.problem()), (MAX_SAMPLES + 2, Problem::TooManySamples));
}

#[test]
fn made_traces_are_checked_as_read_ones() {
    let sample = trace("0,1,,GOOD\n").samples()[0];
    assert_eq!(Trace::new(vec![], vec![]).expect_err("empty").problem(), Problem::NoSample);
    let error = Trace::new(vec!["c".into()], vec![sample, sample]).expect_err("time stands");
    assert_eq!((error.line(), error.problem()), (4, Problem::TimeNotGrowing));
    let error = Trace::new(vec!["a\nt_s".into()], vec![sample]).expect_err("would not read back");
    assert_eq!(error.problem(), Problem::LineBreakInComment);
}

#[test]
fn the_rate_is_that_of_the_latest_line_and_repeats() {
    let trace = trace("100,10,,GOOD\n110,20,,GOOD\n130,0,,DEAD\n");
    assert_eq!(trace.period(), s(50.0));
    for (at, bps) in
        [(0.0, 10.0), (9.999, 10.0), (10.0, 20.0), (29.0, 20.0), (30.0, 0.0), (49.0, 0.0), (50.0, 10.0), (111.0, 20.0)]
    {
        assert_eq!(trace.rate_at(s(at)).bps(), bps, "at {at} s");
    }
    for (from, to, bits) in [
        (0.0, 10.0, 100.0),
        (5.0, 15.0, 150.0),
        (0.0, 50.0, 500.0),
        (45.0, 55.0, 50.0),
        (0.0, 500.0, 5000.0),
        (7.0, 7.0, 0.0),
        (9.0, 7.0, 0.0),
    ] {
        assert!((trace.bits_between(s(from), s(to)) - bits).abs() < 1e-6, "{from} s to {to} s");
    }
    assert_eq!(trace.mean_bps(), 10.0);
}

#[test]
fn a_single_line_lasts_for_ever() {
    let trace = trace("3,8,,GOOD\n");
    assert_eq!(trace.rate_at(Duration::MAX).bps(), 8.0);
    assert!((trace.bits_between(s(0.25), s(10.5)) - 82.0).abs() < 1e-6);
}

prop_compose! {
    fn traces()(
        lines in prop::collection::vec((1u32..100, 0u32..10_000, prop::option::of(0u32..=1000), 0u8..3), 1..20),
    ) -> Trace {
        let mut t = 0;
        let samples = lines.into_iter().map(|(step, bps, qber, state)| {
            t += step;
            let state = [LinkState::Good, LinkState::Degraded, LinkState::Dead][usize::from(state)];
            let bps = if state == LinkState::Dead { 0.0 } else { f64::from(bps) / 8.0 };
            let skr = Skr::new(bps).expect("a rate");
            Sample { t_s: f64::from(t) / 4.0, skr, qber: qber.map(|q| f64::from(q) / 1000.0), state }
        });
        Trace::new(vec!["synthetic".into()], samples.collect()).expect("a trace")
    }
}

proptest! {
    #[test]
    fn traces_round_trip(trace in traces()) {
        prop_assert_eq!(Trace::parse(&trace.to_string()), Ok(trace));
    }

    #[test]
    fn no_text_panics(text: String, lines in "([-0-9.,eE]{0,6},){0,5}(GOOD|dead)?\n") {
        let _ = Trace::parse(&text);
        let _ = Trace::parse(&format!("{HEADER}{lines}"));
    }

    #[test]
    fn bits_add_up_and_agree_with_the_rate(trace in traces(), from in 0u32..4000, first in 0u32..4000, second in 0u32..4000) {
        // Quarters of a second, as in the trace: the rate is constant within each.
        let at = |quarters: u32| s(f64::from(quarters) / 4.0);
        let (middle, to) = (from + first, from + first + second);
        let whole = trace.bits_between(at(from), at(to));
        let parts = trace.bits_between(at(from), at(middle)) + trace.bits_between(at(middle), at(to));
        let summed: f64 = (from..to).map(|quarter| trace.rate_at(at(quarter)).bps() / 4.0).sum();
        let tolerance = 1e-6 * (1.0 + whole);
        prop_assert!((whole - parts).abs() < tolerance, "{} {}", whole, parts);
        prop_assert!((whole - summed).abs() < tolerance, "{} {}", whole, summed);
    }

    #[test]
    fn no_time_panics(trace in traces(), from: Duration, to: Duration) {
        prop_assert!(trace.rate_at(from).bps() >= 0.0);
        prop_assert!(trace.bits_between(from, to) >= 0.0);
    }
}
