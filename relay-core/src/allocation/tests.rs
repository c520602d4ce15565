use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn service() -> Service {
    Service::new(NonZeroU32::new(256).expect("not zero"))
}

fn allocator(floor: u64, services: &[(&'static str, Service)]) -> Allocator<&'static str> {
    let mut allocator = Allocator::new(SECOND, floor).expect("a second will do");
    for (name, service) in services {
        allocator.insert(*name, *service).expect("consistent");
    }
    allocator
}

/// All that they can get.
fn all(names: &[&'static str]) -> BTreeMap<&'static str, u64> {
    names.iter().map(|name| (*name, u64::MAX)).collect()
}

fn of(allotments: &Allotments<&'static str>) -> Vec<(&'static str, u64)> {
    allotments.iter().map(|allotment| (allotment.service, allotment.bits)).collect()
}

#[test]
fn the_rest_is_shared_by_weight() {
    let heavy = Service { weight: NonZeroU32::new(3).expect("not zero"), ..service() };
    let mut allocator = allocator(0, &[("heavy", heavy), ("light", service())]);
    let wanted = all(&["heavy", "light"]);
    assert_eq!(of(allocator.allot(1, 8 * 256, &wanted).expect("next")), [("heavy", 6 * 256), ("light", 2 * 256)]);
    // One key a cycle: three in four go to the heavy one.
    let mut keys = BTreeMap::new();
    for cycle in 2..402 {
        for (name, bits) in of(allocator.allot(cycle, 256, &wanted).expect("next")) {
            *keys.entry(name).or_insert(0) += bits / 256;
        }
    }
    assert_eq!(keys, BTreeMap::from([("heavy", 300), ("light", 100)]));
}

#[test]
fn a_low_priority_gets_its_guaranteed_rate_when_that_can_be() {
    let greedy = Service { guaranteed: 10 * 256, priority: 0, weight: NonZeroU32::MAX, ..service() };
    let modest = Service { guaranteed: 2 * 256, priority: 9, ..service() };
    let mut allocator = allocator(0, &[("greedy", greedy), ("modest", modest)]);
    let wanted = all(&["greedy", "modest"]);
    assert_eq!(of(allocator.allot(1, 12 * 256, &wanted).expect("next")), [("greedy", 10 * 256), ("modest", 2 * 256)]);
    // Not enough for both: by priority, and what is owed is made up for later, a key at most.
    assert_eq!(of(allocator.allot(2, 11 * 256, &wanted).expect("next")), [("greedy", 10 * 256), ("modest", 256)]);
    assert_eq!(of(allocator.allot(3, 9 * 256, &wanted).expect("next")), [("greedy", 9 * 256), ("modest", 0)]);
    assert_eq!(of(allocator.allot(4, 20 * 256, &wanted).expect("next")), [("greedy", 17 * 256), ("modest", 3 * 256)]);
}

#[test]
fn a_slow_guaranteed_rate_adds_up_to_keys() {
    // A quarter of a key a second, against one whose keys are so small that it can take everything else.
    let slow = Service { guaranteed: 64, priority: 1, ..service() };
    let fine = Service { weight: NonZeroU32::MAX, ..Service::new(NonZeroU32::MIN) };
    let mut allocator = allocator(0, &[("slow", slow), ("fine", fine)]);
    let wanted = all(&["slow", "fine"]);
    let mut slow = 0;
    for cycle in 1..=400 {
        let allotments = allocator.allot(cycle, 300, &wanted).expect("next");
        assert_eq!(allotments.total(), 300, "nothing lies idle");
        slow += allotments.of(&"slow");
    }
    assert!((99 * 256..=101 * 256).contains(&slow), "{slow} bits");
}

#[test]
fn who_got_less_than_its_highest_rate_makes_up_for_a_burst_of_it() {
    let capped = Service { highest: 512, burst: 1_024, ..service() };
    let mut allocator = allocator(0, &[("capped", capped)]);
    let none = BTreeMap::new();
    let wanted = all(&["capped"]);
    let mut bits = |cycle, wanted: &BTreeMap<_, _>| allocator.allot(cycle, 1 << 20, wanted).expect("next").total();
    assert_eq!(bits(1, &wanted), 1_536);
    assert_eq!(bits(2, &wanted), 512);
    assert_eq!((bits(3, &none), bits(4, &none), bits(5, &none)), (0, 0, 0));
    assert_eq!(bits(6, &wanted), 1_536);
}

#[test]
fn a_cycle_is_allotted_once() {
    let mut allocator = allocator(0, &[("a", Service { highest: 512, ..service() })]);
    let wanted = all(&["a"]);
    let first = allocator.allot(7, 1_024, &wanted).expect("next").clone();
    assert_eq!(first.total(), 512);
    assert_eq!(allocator.allot(7, 0, &BTreeMap::new()).expect("again"), &first);
    assert_eq!(allocator.allot(6, 1_024, &wanted), Err(CycleIsOver { asked: 6, last: 7 }));
    assert_eq!(allocator.allot(u64::MAX, 1_024, &wanted).expect("later").total(), 512, "cycles left out bring nothing");
}

#[test]
fn what_is_given_back_can_be_had_again() {
    let capped = Service { guaranteed: 512, highest: 512, burst: 512, ..service() };
    let mut allocator = allocator(0, &[("a", capped)]);
    let wanted = all(&["a"]);
    assert_eq!(allocator.allot(1, 4_096, &wanted).expect("next").total(), 1_024, "with the burst");
    allocator.give_back(0, &"a", 256);
    allocator.give_back(1, &"b", 256);
    allocator.give_back(1, &"a", 256);
    assert_eq!(allocator.allot(1, 0, &wanted).expect("again").total(), 768);
    assert_eq!(allocator.allot(2, 4_096, &wanted).expect("next").total(), 768);
    allocator.give_back(2, &"a", u64::MAX);
    assert_eq!(allocator.allot(3, 4_096, &wanted).expect("next").total(), 1_024, "what was given back, but no more than a burst");
}

#[test]
fn turns_go_round() {
    let first = Service { priority: 0, highest: 512, ..service() };
    let mut allocator = allocator(0, &[("b", service()), ("a", service()), ("z", first)]);
    let allotments = allocator.allot(1, 8 * 256, &all(&["a", "b", "z"])).expect("next");
    assert_eq!(allotments.turns().copied().collect::<String>(), "zabzabab");
    let mut fine = Allocator::new(SECOND, 0).expect("a second will do");
    fine.insert("a", Service::new(NonZeroU32::MIN)).expect("consistent");
    let allotments = fine.allot(1, u64::MAX, &all(&["a"])).expect("next");
    assert_eq!((allotments.total(), allotments.turns().take(3).count()), (u64::MAX, 3), "turns are not counted out beforehand");
}

#[test]
fn services_and_cycles_that_cannot_be_are_refused() {
    let mut allocator = allocator(0, &[]);
    let rates = Service { guaranteed: 2, highest: 1, ..service() };
    assert_eq!(allocator.insert("a", rates), Err(InvalidService::Rates));
    let never = Service { highest: 155, burst: 100, ..service() };
    assert_eq!(allocator.insert("a", never), Err(InvalidService::NeverAKey));
    assert_eq!(allocator.insert("a", Service { highest: 156, ..never }), Ok(()));
    for (cycle, valid) in [(Duration::ZERO, false), (Duration::from_nanos(1), true), (MAX_CYCLE, true), (Duration::MAX, false)] {
        assert_eq!(Allocator::<u8>::new(cycle, 0).is_some(), valid, "{cycle:?}");
    }
}

#[test]
fn services_come_and_go() {
    let mut allocator = allocator(0, &[("a", service())]);
    let wanted = all(&["a", "b"]);
    assert_eq!(of(allocator.allot(1, 1_024, &wanted).expect("next")), [("a", 1_024)]);
    allocator.insert("b", service()).expect("consistent");
    assert_eq!(of(allocator.allot(1, 1_024, &wanted).expect("again")), [("a", 1_024)]);
    assert_eq!(of(allocator.allot(2, 1_024, &wanted).expect("next")), [("a", 512), ("b", 512)]);
    allocator.remove(&"a");
    allocator.insert("b", Service { highest: 256, ..service() }).expect("consistent");
    assert_eq!(of(allocator.allot(3, 1_024, &wanted).expect("next")), [("b", 256)]);
}

fn any_amount() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_000_u64, any::<u64>(), Just(u64::MAX)]
}

prop_compose! {
    fn any_service()(
        rates in [any_amount(), any_amount()], priority in 0..3_u8,
        weight in prop_oneof![1..5_u32, Just(u32::MAX)], chunk in prop_oneof![1..600_u32, Just(u32::MAX)], burst in any_amount(),
    ) -> Service {
        let [guaranteed, highest] = if rates[0] <= rates[1] { rates } else { [rates[1], rates[0]] };
        let nonzero = |number| NonZeroU32::new(number).expect("from 1 on");
        Service { guaranteed, highest, priority, weight: nonzero(weight), chunk: nonzero(chunk), burst }
    }
}

proptest! {
    #[test]
    fn no_more_than_there_is_and_each_may_have_and_nothing_idle(
        services in prop::collection::vec(any_service(), 0..6),
        floor in any_amount(),
        milliseconds in prop_oneof![1..2_000_u64, Just(3_600_000)],
        cycles in prop::collection::vec((any_amount(), prop::collection::vec(any_amount(), 6)), 1..8),
    ) {
        let mut allocator = Allocator::new(Duration::from_millis(milliseconds), floor).expect("within an hour");
        let mut taken = BTreeMap::new();
        for (name, service) in services.into_iter().enumerate() {
            if allocator.insert(name, service).is_ok() {
                taken.insert(name, (service, 0_u128));
            }
        }
        for (number, (available, wanted)) in (1_u64..).zip(cycles) {
            let wanted: BTreeMap<_, _> = wanted.into_iter().enumerate().collect();
            let allotments = allocator.allot(number, available, &wanted).expect("next").clone();
            let usable = available.saturating_sub(floor);
            let sum: u128 = allotments.iter().map(|allotment| u128::from(allotment.bits)).sum();
            prop_assert!(sum <= u128::from(usable));
            let idle = usable - allotments.total();
            let saving = allocator.accounts.values().any(|account| {
                let chunk = account.service.chunk.get();
                account.deficit >= i64::from(chunk) && u64::from(chunk) > idle
            });
            for allotment in allotments.iter() {
                let (service, got) = taken.get_mut(&allotment.service).expect("inserted");
                let chunk = u64::from(service.chunk.get());
                *got += u128::from(allotment.bits);
                prop_assert!(allotment.bits % chunk == 0 && allotment.guaranteed <= allotment.bits);
                prop_assert!(allotment.bits <= wanted[&allotment.service]);
                // The cap of a cycle, and of all together
                let cap = |cycles: u64| {
                    u128::from(service.highest) * u128::from(milliseconds) * u128::from(cycles) / 1_000 + u128::from(service.burst)
                };
                prop_assert!(u128::from(allotment.bits) <= cap(1) && *got <= cap(number));
                // Nothing lies idle that it could have had
                let allowed = bits(allocator.accounts[&allotment.service].allowed);
                let room = (wanted[&allotment.service] - allotment.bits).min(allowed);
                prop_assert!(room.min(idle) < chunk || saving, "{room} of {idle} idle bits");
            }
        }
    }

    #[test]
    fn equal_services_are_never_a_key_apart(
        equal in any_service(), others in prop::collection::vec(any_service(), 0..4),
        cycles in prop::collection::vec((0..20_000_u64, any_amount()), 1..100),
    ) {
        let mut allocator = Allocator::new(SECOND, 0).expect("a second will do");
        prop_assume!(allocator.insert(10, equal).is_ok() && allocator.insert(20, equal).is_ok());
        for (name, other) in others.into_iter().enumerate() {
            let _ = allocator.insert(name * 5 + 1, other);
        }
        for (number, (available, wanted)) in (1..).zip(cycles) {
            let wanted = (0..=20).map(|name| (name, if name % 10 == 0 { u64::MAX } else { wanted })).collect();
            let allotments = allocator.allot(number, available, &wanted).expect("next");
            let apart = allotments.of(&10).abs_diff(allotments.of(&20));
            prop_assert!(apart <= u64::from(equal.chunk.get()), "cycle {}: {} bits apart", number, apart);
        }
    }

    /// When the guaranteed rates together are no more than what there is, each gets its own in the long run.
    #[test]
    fn guaranteed_rates_are_kept_when_they_can_be(
        services in prop::collection::vec((0..2_000_u64, 1..600_u32, 0..3_u8, 1..5_u32), 1..6), spare in 0..2_000_u64,
    ) {
        let mut allocator = Allocator::new(SECOND, 0).expect("a second will do");
        let nonzero = |number| NonZeroU32::new(number).expect("from 1 on");
        for (name, &(guaranteed, chunk, priority, weight)) in services.iter().enumerate() {
            let service = Service { guaranteed, priority, weight: nonzero(weight), ..Service::new(nonzero(chunk)) };
            allocator.insert(name, service).expect("consistent");
        }
        let largest = services.iter().map(|&(_, chunk, ..)| u64::from(chunk)).max().unwrap_or(0);
        let rate = services.iter().map(|&(guaranteed, ..)| guaranteed).sum::<u64>() + spare;
        let wanted = (0..services.len()).map(|name| (name, u64::MAX)).collect();
        let (mut pool, mut got) = (largest, vec![0; services.len()]);
        for number in 1..=200 {
            pool += rate;
            let allotments = allocator.allot(number, pool, &wanted).expect("next");
            pool -= allotments.total();
            for allotment in allotments.iter() {
                got[allotment.service] += allotment.bits;
            }
        }
        for (name, &(guaranteed, ..)) in services.iter().enumerate() {
            prop_assert!(got[name] + 2 * largest >= 200 * guaranteed, "{name}: {} of {}", got[name], 200 * guaranteed);
        }
    }
}
