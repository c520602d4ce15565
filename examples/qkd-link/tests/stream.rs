//! The key stream: how many keys it makes when, and that each is handed out once at either end.

#![allow(missing_docs)]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use itu_y3803::{KeyId, KeySize, QkdKey};
use proptest::prelude::*;
use qkd_link::rate::{Playback, RateSource, Skr, Speed};
use qkd_link::stream::{CollectError, DrawError, End, KeyStream, StreamConfig};
use qkd_link::trace::{LinkState, Trace};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Octets that never repeat within a test: a counter, mixed.
fn random() -> impl FnMut(&mut [u8]) {
    let mut state = 0_u64;
    move |out: &mut [u8]| {
        for octets in out.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            octets.copy_from_slice(&mixed.to_be_bytes()[..octets.len()]);
        }
    }
}

fn config(max_key_count: u32, lag_of_b: Duration) -> StreamConfig {
    StreamConfig {
        key_size: KeySize::BITS_256,
        max_key_count,
        lag_of_b,
        collect_within: Duration::from_secs(10),
        test_pattern: None,
    }
}

fn stream(source: RateSource, speed: f64, config: StreamConfig) -> KeyStream {
    KeyStream::new(config, Playback::new(source, Speed::new(speed).expect("a speed")))
}

fn constant(bps: f64) -> RateSource {
    RateSource::Constant(rate(bps))
}

fn rate(bps: f64) -> Skr {
    Skr::new(bps).expect("a rate")
}

fn ids(keys: &[QkdKey]) -> Vec<KeyId> {
    keys.iter().map(|key| key.id).collect()
}

fn octets(keys: &[QkdKey]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.material.expose_secret().to_vec()).collect()
}

#[test]
fn whole_keys_come_at_the_rate_times_the_speed() {
    for (bps, speed, after, stored) in [
        (256.0, 1.0, MS(999), 0),
        (256.0, 1.0, MS(1000), 1),
        (256.0, 1.0, MS(2900), 2),
        (256.0, 10.0, MS(2900), 29),
        (128.0, 1000.0, MS(10), 5),
        (0.0, 1000.0, MS(3_600_000), 0),
    ] {
        let mut stream = stream(constant(bps), speed, config(1000, Duration::ZERO));
        stream.advance(after, &mut random());
        assert_eq!(stream.stored(End::A), stored, "{bps} bit/s at {speed} x after {after:?}");
        assert_eq!(stream.stored(End::B), stored);
    }
}

#[test]
fn a_trace_is_played_and_repeated() {
    let trace = Trace::parse("t_s,skr_bps,qber,state\n0,256,,GOOD\n2,0,0.2,DEAD\n4,2560,,GOOD\n").expect("a trace");
    let mut stream = stream(RateSource::Trace(trace), 2.0, config(1000, Duration::ZERO));
    // Trace time is twice the real time; a pass takes 6 s of it.
    for (after, stored, state) in [
        (MS(500), 1, LinkState::Good),
        (MS(1000), 2, LinkState::Dead),
        (MS(2000), 2, LinkState::Good),
        (MS(2500), 12, LinkState::Good),
        (MS(3000), 22, LinkState::Good),
        (MS(4500), 24, LinkState::Dead),
    ] {
        stream.advance(after, &mut random());
        assert_eq!((stream.stored(End::A), stream.condition().state), (stored, state), "after {after:?}");
    }
}

#[test]
fn a_full_store_stops_the_generation() {
    let mut stream = stream(constant(256.0), 1.0, config(5, Duration::ZERO));
    let mut random = random();
    stream.advance(MS(100_900), &mut random);
    assert_eq!(stream.stored(End::A), 5);
    stream.draw(End::A, 2, MS(100_900), &mut random).expect("enough");
    // What came while the store was full is lost, the begun key too.
    stream.advance(MS(101_800), &mut random);
    assert_eq!(stream.stored(End::A), 3);
    stream.advance(MS(101_900), &mut random);
    assert_eq!(stream.stored(End::A), 4);
    assert_eq!(stream.counters().made, 6);
}

#[test]
fn either_end_may_be_the_master_but_not_of_the_same_key() {
    let mut stream = stream(constant(256.0), 1.0, config(100, Duration::ZERO));
    let mut random = random();
    let now = MS(4000);
    let by_a = stream.draw(End::A, 2, now, &mut random).expect("enough");
    let by_b = stream.draw(End::B, 2, now, &mut random).expect("enough");
    let error = DrawError::NotEnough { asked: 1, stored: 0 };
    assert_eq!(stream.draw(End::A, 1, now, &mut random).expect_err("empty"), error);
    for (end, wrong) in [(End::A, &by_a), (End::B, &by_b)] {
        assert_eq!(stream.collect(end, &ids(wrong), now, &mut random).expect_err("its own key"), CollectError::DrawnHere);
    }
    for (end, keys) in [(End::A, &by_b), (End::B, &by_a)] {
        let collected = stream.collect(end, &ids(keys), now, &mut random).expect("drawn at the other end");
        assert_eq!((ids(&collected), octets(&collected)), (ids(keys), octets(keys)));
        assert_eq!(stream.collect(end, &ids(keys), now, &mut random).expect_err("collected"), CollectError::NotFound);
    }
}

#[test]
fn collecting_is_all_or_nothing() {
    let mut stream = stream(constant(256.0), 1.0, config(100, Duration::ZERO));
    let mut random = random();
    let drawn = ids(&stream.draw(End::A, 2, MS(2000), &mut random).expect("enough"));
    let unknown = KeyId::from_octets([7; 16]);
    for wanted in [vec![drawn[0], unknown], vec![drawn[0], drawn[0]]] {
        assert_eq!(stream.collect(End::B, &wanted, MS(2000), &mut random).expect_err("not all there"), CollectError::NotFound);
    }
    assert_eq!(stream.awaiting(End::B), 2);
    let reversed = [drawn[1], drawn[0]];
    let collected = stream.collect(End::B, &reversed, MS(2000), &mut random).expect("all there");
    assert_eq!(ids(&collected), reversed);
}

#[test]
fn drawn_keys_expire_when_not_collected() {
    let mut stream = stream(constant(256.0), 1.0, config(100, Duration::ZERO));
    let mut random = random();
    let early = ids(&stream.draw(End::A, 1, MS(5000), &mut random).expect("enough"));
    let late = ids(&stream.draw(End::A, 1, MS(5001), &mut random).expect("enough"));
    stream.collect(End::B, &late, MS(15_000), &mut random).expect("just in time");
    assert_eq!(stream.collect(End::B, &early, MS(15_000), &mut random).expect_err("too late"), CollectError::NotFound);
    assert_eq!((stream.awaiting(End::B), stream.counters().expired), (0, 1));
}

#[test]
fn end_b_sees_keys_after_the_lag() {
    let mut stream = stream(constant(256.0), 1.0, config(100, MS(1500)));
    let mut random = random();
    // Keys are complete at 1 s, 2 s and 3 s; one call makes them all.
    stream.advance(MS(3000), &mut random);
    assert_eq!((stream.stored(End::A), stream.stored(End::B)), (3, 1));
    let error = DrawError::NotEnough { asked: 2, stored: 1 };
    assert_eq!(stream.draw(End::B, 2, MS(3000), &mut random).expect_err("not there yet"), error);
    let drawn = ids(&stream.draw(End::A, 3, MS(3000), &mut random).expect("enough"));
    assert_eq!(stream.collect(End::B, &drawn, MS(4499), &mut random).expect_err("the third is late"), CollectError::NotFound);
    stream.collect(End::B, &drawn, MS(4500), &mut random).expect("all have arrived");
}

#[test]
fn the_store_for_the_other_end_is_bounded() {
    let mut stream = stream(constant(2560.0), 1.0, config(4, Duration::ZERO));
    let mut random = random();
    stream.draw(End::A, 3, MS(1000), &mut random).expect("enough");
    assert_eq!(stream.draw(End::A, 2, MS(2000), &mut random).expect_err("would be 5"), DrawError::PeerStoreFull);
    assert_eq!(stream.stored(End::A), 4, "nothing was drawn");
    stream.draw(End::B, 2, MS(2000), &mut random).expect("the other direction is free");
}

#[test]
fn the_rate_can_be_set_while_it_runs() {
    let mut stream = stream(constant(256.0), 1.0, config(100, Duration::ZERO));
    let mut random = random();
    stream.set_rate(Some(Skr::ZERO), MS(2000), &mut random);
    assert_eq!(stream.condition().state, LinkState::Dead);
    stream.advance(MS(9000), &mut random);
    assert_eq!(stream.stored(End::A), 2);
    stream.set_rate(Some(rate(512.0)), MS(10_000), &mut random);
    stream.set_rate(None, MS(11_000), &mut random);
    assert_eq!(stream.stored(End::A), 4);
    stream.advance(MS(12_000), &mut random);
    assert_eq!((stream.stored(End::A), stream.condition().skr), (5, rate(256.0)));
}

#[test]
fn time_that_goes_back_stands_still() {
    let mut stream = stream(constant(256.0), 1.0, config(100, Duration::ZERO));
    let mut random = random();
    for now in [MS(3000), MS(1000), MS(3000)] {
        stream.advance(now, &mut random);
        assert_eq!((stream.stored(End::A), stream.now()), (3, MS(3000)));
    }
    stream.advance(Duration::MAX, &mut random);
    assert_eq!(stream.stored(End::A), 100);
}

#[test]
fn test_patterns_are_in_the_keys_and_not_in_the_identifiers() {
    let pattern = "c0ffee".parse().expect("hexadecimal");
    let mut stream = stream(constant(256.0), 1.0, StreamConfig { test_pattern: Some(pattern), ..config(100, Duration::ZERO) });
    let keys = stream.draw(End::A, 2, MS(2000), &mut random()).expect("enough");
    for key in &keys {
        assert!(key.material.expose_secret().starts_with(&[0xc0, 0xff, 0xee, 0xc0]));
        assert!(!key.id.octets().windows(3).any(|octets| octets == [0xc0, 0xff, 0xee]));
    }
    assert_ne!(octets(&keys)[0], octets(&keys)[1]);
}

#[test]
fn what_was_collected_does_not_make_others_be_forgotten_or_kept() {
    // Enough keys that the list of expiries is tidied up.
    let mut stream = stream(constant(1e6), 1.0, config(5000, Duration::ZERO));
    let mut random = random();
    let left = ids(&stream.draw(End::A, 1, MS(2000), &mut random).expect("enough"));
    for _ in 0..4000 {
        let drawn = ids(&stream.draw(End::A, 1, MS(2000), &mut random).expect("enough"));
        stream.collect(End::B, &drawn, MS(2000), &mut random).expect("drawn at the other end");
    }
    stream.advance(MS(11_999), &mut random);
    assert_eq!((stream.awaiting(End::B), stream.counters().expired), (1, 0));
    stream.advance(MS(12_000), &mut random);
    assert_eq!((stream.awaiting(End::B), stream.counters().expired), (0, 1));
    assert_eq!(stream.collect(End::B, &left, MS(12_000), &mut random).expect_err("expired"), CollectError::NotFound);
}

#[test]
fn identifiers_have_the_form_of_random_uuids() {
    let mut stream = stream(constant(256e3), 1.0, config(100, Duration::ZERO));
    for id in ids(&stream.draw(End::A, 100, MS(1000), &mut random()).expect("enough")) {
        let text = id.to_string();
        assert_eq!(&text[14..15], "4", "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Draw(End, u32),
    /// Collects the keys at these places of the list of all that were ever drawn.
    Collect(End, Vec<prop::sample::Index>),
    SetRate(Option<u32>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = || prop_oneof![Just(End::A), Just(End::B)];
    let step = prop_oneof![
        (0u64..4000).prop_map(Step::Wait),
        (end(), 0u32..6).prop_map(|(end, number)| Step::Draw(end, number)),
        (end(), prop::collection::vec(any::<prop::sample::Index>(), 0..3)).prop_map(|(end, ids)| Step::Collect(end, ids)),
        prop::option::of(0u32..3000).prop_map(Step::SetRate),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn each_key_is_handed_out_once_at_either_end(steps in steps(), lag in 0u64..2000, speed in 1u32..20, max in 1u32..12) {
        let mut stream = stream(constant(300.0), f64::from(speed), config(max, MS(lag)));
        let mut random = random();
        let mut now = Duration::ZERO;
        let mut drawn: Vec<(KeyId, End)> = Vec::new();
        let mut secrets: HashMap<KeyId, Vec<u8>> = HashMap::new();
        let mut distinct: HashSet<Vec<u8>> = HashSet::new();
        let mut collected: HashSet<KeyId> = HashSet::new();
        for step in steps {
            match step {
                Step::Wait(ms) => now += MS(ms),
                Step::SetRate(bps) => stream.set_rate(bps.map(|bps| rate(f64::from(bps))), now, &mut random),
                Step::Draw(end, number) => {
                    stream.advance(now, &mut random);
                    let stored = stream.stored(end);
                    match stream.draw(end, number, now, &mut random) {
                        Ok(keys) => {
                            prop_assert_eq!(keys.len(), number as usize);
                            prop_assert_eq!(stream.stored(end), stored - number);
                            for (id, secret) in ids(&keys).into_iter().zip(octets(&keys)) {
                                prop_assert!(distinct.insert(secret.clone()), "the same key twice");
                                prop_assert!(secrets.insert(id, secret).is_none(), "the same identifier twice");
                                drawn.push((id, end));
                            }
                        }
                        Err(_) => prop_assert_eq!(stream.stored(end), stored),
                    }
                }
                Step::Collect(end, places) if !drawn.is_empty() => {
                    let wanted: Vec<(KeyId, End)> = places.iter().map(|place| *place.get(&drawn)).collect();
                    let wanted_ids: Vec<KeyId> = wanted.iter().map(|(id, _)| *id).collect();
                    stream.advance(now, &mut random);
                    let awaiting = stream.awaiting(end);
                    match stream.collect(end, &wanted_ids, now, &mut random) {
                        Ok(keys) => {
                            prop_assert_eq!(ids(&keys), wanted_ids);
                            for ((key, secret), (_, master)) in keys.iter().zip(octets(&keys)).zip(&wanted) {
                                prop_assert_eq!(master.other(), end, "collected where it was drawn");
                                prop_assert_eq!(&secrets[&key.id], &secret, "the ends differ");
                                prop_assert!(collected.insert(key.id), "collected twice");
                            }
                        }
                        Err(_) => prop_assert_eq!(stream.awaiting(end), awaiting),
                    }
                }
                Step::Collect(..) => {}
            }
            let counters = stream.counters();
            let stored = u64::from(stream.stored(End::A));
            let awaiting = (stream.awaiting(End::A) + stream.awaiting(End::B)) as u64;
            prop_assert_eq!(counters.made, stored + counters.drawn);
            prop_assert_eq!(counters.drawn, awaiting + counters.collected + counters.expired);
            prop_assert!(stored <= u64::from(max));
            prop_assert!(stream.stored(End::B) <= stream.stored(End::A));
        }
    }

    #[test]
    fn how_often_the_stream_is_advanced_makes_no_difference(
        waits in prop::collection::vec(1u64..5000, 1..40),
        lag in 0u64..2000,
    ) {
        // 1024 bit/s and whole milliseconds: no rounding hides a lost bit.
        let make = || stream(constant(1024.0), 1.0, config(1_000_000, MS(lag)));
        let (mut often, mut once) = (make(), make());
        let mut now = Duration::ZERO;
        for wait in waits {
            now += MS(wait);
            often.advance(now, &mut random());
        }
        once.advance(now, &mut random());
        let whole = now.as_millis() * 1024 / 1000 / 256;
        for (end, name) in [(End::A, "A"), (End::B, "B")] {
            prop_assert!(often.stored(end).abs_diff(once.stored(end)) <= 1, "{}", name);
        }
        prop_assert!(u128::from(often.stored(End::A)).abs_diff(whole) <= 1);
    }
}
