//! Who is given link key that is short.

use super::*;

impl<R: RandomSource> Bench<R> {
    /// Whether a pad is set aside for a relay over here, whose source has so much left.
    fn sets_aside(&mut self, number: u64, nodes: &[&str], spare: u8) -> bool {
        let key = life(nodes[0]).key_id(1_000 + number);
        let (reservation, _) = self.reservation(key, nodes);
        let from = reservation.path[usize::from(reservation.hop) - 1].clone();
        let outputs = self.prove(from.as_str(), key, RelayStep::Reserve(RelayReservation { spare, ..reservation }));
        let told = steps(outputs, "east").iter().any(|step| matches!(step, RelayStep::Reserve(_)));
        assert_eq!(told, self.manager.relays.passing.contains_key(&key));
        told
    }
}

impl<R: RandomSource> Bench<R> {
    /// Whether a relay over here goes on to east with its pad.
    fn goes_on(&mut self, number: u64, nodes: &[&str], spare: u8) -> bool {
        let key = life(nodes[0]).key_id(1_000 + number);
        let (reservation, pad) = self.reservation(key, nodes);
        self.relay_under(key, RelayReservation { spare, ..reservation }, pad, 5);
        steps(std::mem::take(&mut self.last), "east").iter().any(|step| matches!(step, RelayStep::Key { .. }))
    }
}

#[test]
fn key_of_a_link_is_preferred_to_relayed_key() {
    let mut bench = bench_with_blue(3);
    bench.outgoing("east", 1);
    assert_eq!(bench.bind_for_blue(), Some(link("east")));
}

#[test]
fn who_leaves_key_of_a_link_to_others_takes_relayed_key_instead() {
    let mut bench = bench_with_blue(3);
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert_eq!(bench.bind_for_blue(), Some(pool("east", Sharing::ONE)));
}

#[test]
fn key_that_took_other_ways_than_a_rule_demands_is_left_alone() {
    let around = Ways { nodes: crate::policy::Allowed::Except([km("north")].into()), ..Ways::default() };
    for (of_blue, bound) in [(Ways::default(), true), (around, false)] {
        let mut bench = bench_with_blue(3);
        bench.manager.config.policy = Some(with_pools_for(&[of_blue]));
        assert_eq!(bench.bind_for_blue().is_some(), bound);
    }
}

#[test]
fn what_a_link_keeps_for_its_own_use_is_used_when_it_makes_no_more() {
    let mut bench = bench_with_blue(0);
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert_eq!(bench.bind_for_blue(), None, "the link may soon have one for those who have less");
    let give_up = bench.manager.config().give_up;
    assert_eq!(bound_under(bench.after(give_up)), Some(link("east")));
}

#[test]
fn a_relay_that_failed_further_on_keeps_its_place() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 4);
    assert!(bench.sets_aside(1, &FAR_TO_EAST, 10));
    bench.prove("east", life("far").key_id(1_001), RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey });
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "far has less, and will come again");
    assert!(bench.sets_aside(2, &FAR_TO_EAST, 10));
}

#[test]
fn what_one_neighbour_says_of_a_pair_does_not_change_what_another_said() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    let through_north = ["far", "north", "here", "east"];
    assert!(!bench.sets_aside(2, &through_north, 255));
    bench.outgoing("east", 5);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "far waits all the same");
}

#[test]
fn nothing_is_left_to_who_has_had_the_most_it_may() {
    let capped = Entitlement { guaranteed: 0, highest: 0 };
    let mut bench = bench_with(|config| {
        (config.link_low, config.link_floor) = (8, 2);
        config.entitlements = [((km("far"), km("east")), capped)].into();
    });
    bench.outgoing("east", 7);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert!(bench.sets_aside(1, &NORTH_TO_EAST, 255));
}

#[test]
fn link_key_that_is_short_is_left_to_those_who_have_less() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 10), "these are for this node itself");
    // One more will be for tags.
    bench.outgoing("east", 6);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "others have nothing and wait");
    assert!(bench.sets_aside(2, &FAR_TO_EAST, 10), "it is for these");
    assert!(bench.sets_aside(2, &NORTH_TO_EAST, 255), "now nobody waits who has less");
    assert!(bench.sets_aside(3, &FAR_TO_EAST, 10));
    assert!(bench.sets_aside(3, &NORTH_TO_EAST, 255));
    assert!(bench.sets_aside(4, &NORTH_TO_EAST, 255));
    assert!(!bench.sets_aside(5, &NORTH_TO_EAST, 255), "there is no more");
    assert!(!bench.sets_aside(5, &FAR_TO_EAST, 10));
}

#[test]
fn nothing_is_left_to_who_does_not_come_again() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    bench.outgoing("east", 5);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255));
    bench.after(Duration::from_secs(19));
    assert!(!bench.sets_aside(2, &NORTH_TO_EAST, 255));
    bench.after(Duration::from_secs(2));
    assert!(bench.sets_aside(3, &NORTH_TO_EAST, 255));
}

#[test]
fn who_is_entitled_to_a_rate_comes_first_and_gets_no_more_than_the_highest() {
    let pair = |a: &str, b: &str| (km(a), km(b));
    // A link key has 2,304 bits: one in a minute is 36 bit/s of what is remembered.
    let guaranteed = Entitlement { guaranteed: 40, highest: 80 };
    let mut bench = bench_with(|config| {
        (config.link_low, config.link_floor) = (8, 2);
        config.entitlements = [(pair("north", "east"), guaranteed)].into();
    });
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    bench.outgoing("east", 5);
    assert!(bench.goes_on(1, &NORTH_TO_EAST, 255), "guaranteed, whoever waits");
    assert!(bench.goes_on(2, &NORTH_TO_EAST, 255));
    assert!(!bench.sets_aside(3, &NORTH_TO_EAST, 255), "it had its rate, and others have less");
    assert!(bench.goes_on(2, &FAR_TO_EAST, 0));
    bench.outgoing("east", 9);
    assert!(bench.goes_on(4, &NORTH_TO_EAST, 0));
    assert!(!bench.sets_aside(5, &NORTH_TO_EAST, 0), "no more than the highest, however much there is");
    bench.after(Duration::from_secs(60));
    assert!(bench.sets_aside(6, &NORTH_TO_EAST, 0), "it is forgotten");
}
