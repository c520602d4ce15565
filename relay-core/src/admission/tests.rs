use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn supply(rate: u64, stored: u64) -> LinkSupply {
    LinkSupply { rate, life: HOUR, floor: 0, stored: vec![Stored { bits: stored, lasts: HOUR }] }
}

fn admission(now: Instant, links: &[(&'static str, LinkSupply)]) -> Admission<&'static str> {
    let mut admission = Admission::new(Settings::default()).expect("sensible");
    for (link, supply) in links {
        admission.measure(now, *link, supply.clone());
    }
    admission
}

fn takes(link: &'static str, bits: u64, every: Duration) -> Use<&'static str> {
    Use { link, bits, every }
}

fn refused(link: &'static str, test: Test) -> Result<(), Refused<&'static str>> {
    Err(Refused::Link { link, test })
}

#[test]
fn each_test_refuses_and_names_the_link() {
    let now = Instant::now();
    let seconds = Duration::from_secs;
    let rich = || supply(1_000_000, 1_000_000);
    // Lives for three seconds: what a request each ten takes has to be made in those before it.
    let short_lived = LinkSupply { rate: 1_000, life: seconds(3), ..supply(0, 9_000) };
    for (link, uses, found) in [
        (supply(1_000, 10_000), takes("b", 900, SECOND), Ok(())),
        (supply(1_000, 10_000), takes("b", 901, SECOND), refused("b", Test::Rate)),
        (supply(1_000, 9_000), takes("b", 9_000, seconds(10)), Ok(())),
        (supply(1_000, 8_999), takes("b", 9_000, seconds(10)), refused("b", Test::Burst)),
        (LinkSupply { floor: 1, ..supply(1_000, 9_000) }, takes("b", 9_000, seconds(10)), refused("b", Test::Burst)),
        (short_lived.clone(), takes("b", 9_000, seconds(10)), refused("b", Test::Expiry)),
        (short_lived, takes("b", 2_000, seconds(10)), Ok(())),
    ] {
        let mut admission = admission(now, &[("a", rich()), ("b", link.clone())]);
        let uses = vec![takes("a", 256, SECOND), uses];
        assert_eq!(admission.admit(now, SessionId(1), uses.clone()), found, "{uses:?} of {link:?}");
    }
}

#[test]
fn a_refusal_reserves_nothing() {
    let now = Instant::now();
    let mut admission = admission(now, &[("a", supply(1_000, 10_000)), ("b", supply(100, 10_000))]);
    let both = vec![takes("a", 256, SECOND), takes("b", 256, SECOND)];
    assert_eq!(admission.admit(now, SessionId(1), both), refused("b", Test::Rate));
    assert_eq!((admission.reserved_rate(&"a"), admission.poll_timeout()), (0, None));
    assert_eq!(admission.admit(now, SessionId(1), vec![takes("a", 900, SECOND)]), Ok(()));
}

#[test]
fn sessions_that_have_taken_nothing_yet_count() {
    let now = Instant::now();
    let mut admission = admission(now, &[("a", supply(1_000_000, 10_000))]);
    let burst = || vec![takes("a", 4_000, HOUR)];
    assert_eq!(admission.admit(now, SessionId(1), burst()), Ok(()));
    assert_eq!(admission.admit(now, SessionId(2), burst()), Ok(()));
    assert_eq!(admission.admit(now, SessionId(3), burst()), refused("a", Test::Burst));
    // Measured again once they have taken it: half a second later, when half a million bits more are there.
    let later = now + SECOND / 2;
    admission.measure(later, "a", supply(1_000_000, 502_000));
    assert_eq!(admission.admit(later, SessionId(3), burst()), Ok(()));
}

#[test]
fn requests_to_come_are_foreseen_from_when_each_session_started() {
    let now = Instant::now();
    let seconds = Duration::from_secs;
    let mut admission = admission(now, &[("a", supply(200, 1_500))]);
    assert_eq!(admission.admit(now, SessionId(1), vec![takes("a", 1_500, seconds(10))]), Ok(()));
    // 1400 bits are there after seven seconds. In three more the first session wants 1500, when 2000 are there.
    let later = now + seconds(7);
    admission.measure(later, "a", supply(200, 1_400));
    let once = |bits| vec![takes("a", bits, seconds(100))];
    assert_eq!(admission.admit(later, SessionId(2), once(501)), refused("a", Test::Burst));
    assert_eq!(admission.admit(later, SessionId(2), once(500)), Ok(()));
}

#[test]
fn a_link_used_twice_counts_twice() {
    let now = Instant::now();
    let mut admission = admission(now, &[("a", supply(1_000, 10_000))]);
    let twice = |bits| vec![takes("a", bits, SECOND), takes("a", bits, SECOND)];
    assert_eq!(admission.admit(now, SessionId(1), twice(451)), refused("a", Test::Rate));
    assert_eq!(admission.admit(now, SessionId(1), twice(450)), Ok(()));
    assert_eq!(admission.reserved_rate(&"a"), 900);
}

#[test]
fn close_and_the_end_of_the_lease_release() {
    let now = Instant::now();
    let mut admission = admission(now, &[("a", supply(1_000, 10_000))]);
    let all = || vec![takes("a", 900, SECOND)];
    assert_eq!(admission.admit(now, SessionId(1), all()), Ok(()));
    assert_eq!(admission.admit(now, SessionId(1), all()), Err(Refused::Known));
    assert_eq!(admission.admit(now, SessionId(2), all()), refused("a", Test::Rate));
    assert!(admission.close(SessionId(1)) && !admission.close(SessionId(1)));
    assert_eq!(admission.admit(now, SessionId(2), all()), Ok(()));

    let lease = Settings::default().lease;
    assert_eq!(admission.poll_timeout(), Some(now + lease));
    let renewed = now + lease / 2;
    assert!(admission.renew(renewed, SessionId(2)) && !admission.renew(renewed, SessionId(1)));
    assert_eq!(admission.expire(now + lease), []);
    let end = renewed + lease;
    assert_eq!(admission.expire(end), [SessionId(2)]);
    assert!(!admission.renew(end, SessionId(2)));
    assert_eq!((admission.reserved_rate(&"a"), admission.poll_timeout()), (0, None));
}

#[test]
fn nothing_is_admitted_on_what_is_not_known() {
    let now = Instant::now();
    let mut admission = admission(now, &[("a", supply(1_000, 1_000_000))]);
    assert_eq!(admission.admit(now, SessionId(1), vec![takes("b", 1, SECOND)]), Err(Refused::UnknownLink("b")));
    let one = || vec![takes("a", 1, SECOND)];
    for uses in [vec![], vec![takes("a", 0, SECOND)], vec![takes("a", 1, Duration::ZERO)]] {
        assert_eq!(admission.admit(now, SessionId(1), uses), Err(Refused::Use));
    }
    assert_eq!(admission.admit(now + Duration::from_secs(61), SessionId(1), one()), Err(Refused::Stale("a")));
    assert_eq!(admission.admit(now + Duration::from_secs(60), SessionId(1), one()), Ok(()));
    admission.settings.max_sessions = 1;
    assert_eq!(admission.admit(now + Duration::from_secs(60), SessionId(2), one()), Err(Refused::TooMany));
}

#[test]
fn settings_are_checked() {
    let usual = Settings::default;
    for settings in [
        Settings { slot: Duration::ZERO, ..usual() },
        Settings { slot: Duration::MAX, ..usual() },
        Settings { slots: 0, ..usual() },
        Settings { slots: MAX_SLOTS + 1, ..usual() },
        Settings { usable: 0, ..usual() },
        Settings { usable: 1_001, ..usual() },
        Settings { lease: Duration::ZERO, ..usual() },
        Settings { lease: Duration::MAX, ..usual() },
    ] {
        assert!(Admission::<u8>::new(settings).is_err(), "{settings:?}");
    }
}

#[test]
fn low_rates() {
    // 1000 - 1.64 * 100 / sqrt(100) = 983.6
    assert_eq!(low_rate(1_000, 100, 100, 164), 983);
    assert_eq!(low_rate(1_000, 0, 1, 164), 1_000);
    assert_eq!(low_rate(1_000, 100, 4, 200), 900);
    assert_eq!(low_rate(1_000, 100, 1, 2_000), 0);
    assert_eq!(low_rate(1_000, 100, 0, 164), 0, "without measurements nothing is known");
    assert_eq!(low_rate(u64::MAX, u64::MAX, 1, u32::MAX), 0);
}

#[test]
fn hostile_numbers_neither_overflow_nor_take_long() {
    let now = Instant::now();
    let nanosecond = Duration::from_nanos(1);
    let mut admission =
        Admission::new(Settings { slot: DAY, slots: MAX_SLOTS, usable: 1_000, ..Settings::default() }).expect("sensible");
    let endless = Stored { bits: u64::MAX, lasts: Duration::MAX };
    let most = LinkSupply { rate: u64::MAX, life: Duration::MAX, floor: u64::MAX, stored: vec![endless; 100] };
    admission.measure(now, "a", most);
    let uses = |every| vec![takes("a", u64::MAX, every); 20];
    assert_eq!(admission.admit(now, SessionId(u64::MAX), uses(nanosecond)), refused("a", Test::Rate));
    assert_eq!(admission.admit(now, SessionId(u64::MAX), uses(Duration::MAX)), Ok(()));
}

/// One request after the other in continuous time, key used oldest first: the definition.
fn never_short(supply: &LinkSupply, reserved: &[(u64, u64, u64)], end: u64) -> bool {
    let mut requests: Vec<_> = reserved
        .iter()
        .flat_map(|&(start, every, bits)| (start..end).step_by(every as usize).map(move |at| (at, bits)))
        .collect();
    requests.sort_unstable();
    let life = supply.life.as_millis() as u64;
    // One bit at a time: when it is there, and when it is too old.
    let stored = supply.stored.iter().flat_map(|one| vec![(0, one.lasts.as_millis() as u64); one.bits as usize]);
    let made = (1..=supply.rate * end / 1_000).map(|bit| (bit * 1_000).div_ceil(supply.rate)).map(|at| (at, at + life));
    let mut bits: Vec<_> = stored.chain(made).collect();
    bits.sort_by_key(|&(_, dies)| dies);
    requests.into_iter().all(|(at, wanted)| {
        bits.retain(|&(_, dies)| dies > at);
        let there: Vec<_> = (0..bits.len()).filter(|&bit| bits[bit].0 <= at).collect();
        let enough = there.len() as u64 >= wanted + supply.floor;
        if enough {
            for bit in there.into_iter().take(wanted as usize).rev() {
                bits.remove(bit);
            }
        }
        enough
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever the forecast passes, passes by the definition. Times are quarters of a second, half a slot, so that much happens
    /// right at the edges of slots.
    #[test]
    fn what_is_admitted_never_runs_short(
        rate in 1..60_u64, life in 2..20_u64, floor in 0..4_u64,
        stored in prop::collection::vec((0..40_u64, 0..36_u64), 0..3),
        sessions in prop::collection::vec((0..8_u64, 1..24_u64, 1..100_u64), 1..6),
    ) {
        let start = Instant::now();
        let quarters = |number: u64| Duration::from_millis(250 * number);
        let settings = Settings { slot: quarters(2), slots: 20, usable: 1_000, ..Settings::default() };
        let mut admission = Admission::new(settings).expect("sensible");
        let stored = stored.into_iter().map(|(bits, lasts)| Stored { bits, lasts: quarters(lasts) }).collect();
        let supply = LinkSupply { rate, life: quarters(life), floor, stored };
        admission.measure(start, "a", supply.clone());
        let mut admitted = Vec::new();
        let mut now = 0;
        for (id, (wait, every, percent)) in (0..).zip(sessions) {
            now += wait;
            // A part of what is made meanwhile
            let bits = (rate * every * percent).div_ceil(400);
            // Measured at the start only, and good for ten seconds
            if admission.admit(start + quarters(now), SessionId(id), vec![takes("a", bits, quarters(every))]).is_ok() {
                admitted.push((250 * now, 250 * every, bits));
            }
        }
        prop_assert!(never_short(&supply, &admitted, 10_000), "{admitted:?}");
    }
}
