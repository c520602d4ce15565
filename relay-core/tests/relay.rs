//! Relay of key over trusted nodes: on a line and a ring of key managers, with one fault at each message in turn.
//!
//! After every step: no link key is spent twice, no pad hides two messages, no tag key makes two tags, a key has the same
//! octets at both its ends and is given once. In the end: an order is supplied, and its key is collected, unless a store was
//! lost.

mod relay_world;

use std::time::Duration;

use itu_y3803::Paths;
use relay_core::policy::{Policy, Terms, Ways, WhenShort};
use relay_core::shares::Sharing;
use relay_core::{Config, Misbehaviour, Refusal, Use};
use relay_world::{Answer, Fault, World, km};

const LINK_KEY_OCTETS: usize = 9 * 32;
const LINE: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 3)];
/// Two ways from 0 to 2.
const RING: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 3), (3, 0)];

fn key(world: &mut World, order: u64) -> itu_y3803::KeyId {
    match world.answer(order) {
        Some(Answer::Keys(keys)) => keys[0],
        other => panic!("order {order}: {other:?}; {:?}", world.failures),
    }
}

#[test]
fn a_key_is_relayed_over_trusted_nodes_and_is_equal_at_both_ends() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |_| {});
    world.run(1_000);
    let order = world.supply(0, 3);
    world.run(2_000);
    let given = key(&mut world, order);
    let order = world.collect(3, 0, given);
    assert_eq!(key(&mut world, order), given);
    // Both ends were told which way it took.
    assert_eq!(world.given[&given].1, Paths::new(vec![[0, 1, 2, 3].map(km).to_vec()]));
    assert_eq!(world.given[&given].1.between().cloned().collect::<Vec<_>>(), [1, 2].map(km));
    let order = world.collect(3, 0, given);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::NotFound { .. }))), "collected twice");
    assert!(world.paths.iter().all(|path| *path == [0, 1, 2, 3].map(km)), "{:?}", world.paths);
    assert_eq!((&world.failures[..], &world.misbehaviour[..]), (&[][..], &[][..]));
    // Of each hop one link key went into each relay.
    let relays = world.paths.len() * LINK_KEY_OCTETS;
    for node in 0..3 {
        // The pads of both ends are counted, each at its own.
        let expected = if node == 0 { relays } else { 2 * relays };
        assert_eq!(world.used[&(node, Use::Relay)], expected, "at {node}");
    }
}

#[test]
fn what_is_ready_is_supplied_without_a_relay() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |_| {});
    world.run(1_000);
    let first = world.supply(0, 3);
    world.run(3_000);
    key(&mut world, first);
    let messages = world.messages();
    let second = world.supply(0, 3);
    assert!(matches!(world.answer(second), Some(Answer::Keys(_))), "it had to wait");
    assert_eq!(world.messages(), messages);
}

#[test]
fn a_node_without_key_refuses_and_what_was_set_aside_is_free_again() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |_| {});
    // The last link never had any.
    world.left[2] = 0;
    world.run(1_000);
    let levels = [world.link_level(0, 0), world.link_level(1, 1)];
    let order = world.supply(0, 3);
    world.run(29_000);
    assert!(world.failures.len() > 3, "it tries again: {:?}", world.failures);
    assert!(world.failures.iter().all(|failure| failure.starts_with("n2: no link key")), "{:?}", world.failures);
    assert!(world.used.keys().all(|(_, on)| *on == Use::Authentication), "{:?}", world.used);
    // But for the keys of tags, nothing was lost. The link is filled up again only when it is below its low mark.
    let tags = |node| world.used.get(&(node, Use::Authentication)).copied().unwrap_or(0) / LINK_KEY_OCTETS;
    assert!(world.link_level(0, 0) + tags(0) >= levels[0], "{} of {levels:?}, {} of tags", world.link_level(0, 0), tags(0));
    assert!(world.link_level(1, 1) + tags(1) >= levels[1], "{} of {levels:?}, {} of tags", world.link_level(1, 1), tags(1));
    assert!(tags(0) <= 6, "{} link keys went into tags", tags(0));
    world.run(2_000);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::NotEnoughKeys))));
    world.left[2] = 10_000;
    // By then it has tried again.
    world.run(20_000);
    let order = world.supply(0, 3);
    world.run(5_000);
    key(&mut world, order);
}

/// What comes three at a time is a link key at once.
fn impatient(config: &mut Config) {
    config.join_within = Duration::from_millis(1);
}

#[test]
fn a_link_key_that_is_too_short_is_passed_over_for_the_next() {
    let mut world = World::new(4, &LINE, (0, Fault::None), impatient);
    world.meagre = [(0, 0), (1, 1)].into();
    world.run(1_000);
    assert!(world.link_level(0, 0) > 1 && world.link_level(1, 1) > 1, "short ones");
    world.meagre.clear();
    world.run(1_000);
    let order = world.supply(0, 3);
    world.run(2_000);
    key(&mut world, order);
    assert_eq!(world.failures, Vec::<String>::new());
}

#[test]
fn a_node_with_short_link_keys_only_says_so() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |config| {
        if config.id == km(1) {
            config.qkd_keys_per_link_key = 5;
        }
    });
    world.run(10_000);
    let before = world.link_level(1, 1);
    let order = world.supply(0, 3);
    world.run(31_000);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::NotEnoughKeys))));
    assert!(!world.failures.is_empty());
    let too_short = |failure: &String| failure.starts_with("n1: the link keys that are left for the next hop are too short");
    assert!(world.failures.iter().all(too_short), "{:?}", world.failures);
    assert_eq!(world.link_level(1, 1), before, "none was taken for that");
}

#[test]
fn without_a_way_the_refusal_says_so() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |_| {});
    world.closed.insert(1);
    world.run(1_000);
    let order = world.supply(0, 3);
    world.run(31_000);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::Unreachable))));
}

#[test]
fn a_link_that_runs_dry_is_gone_around() {
    let mut world = World::new(4, &RING, (0, Fault::None), |_| {});
    world.left[1] = 0;
    world.run(1_000);
    let order = world.supply(0, 2);
    world.run(5_000);
    key(&mut world, order);
    assert!(world.paths.iter().all(|path| *path == [0, 3, 2].map(km)), "{:?}", world.paths);
}

#[test]
fn neighbours_without_link_key_are_served_around_their_link() {
    let mut world = World::new(4, &RING, (0, Fault::None), |config| config.pool_high = 64);
    world.share_with_neighbours();
    world.run(1_000);
    for _ in 0..3 {
        let order = world.supply(0, 1);
        world.run(1_000);
        key(&mut world, order);
    }
    assert_eq!(world.paths, Vec::<Vec<itu_y3803::KmId>>::new(), "the link has key enough");
    world.left[0] = 0;
    for _ in 0..150 {
        let order = world.supply(0, 1);
        world.run(1_000);
        key(&mut world, order);
    }
    assert_eq!(world.link_level(0, 0), 0);
    assert!(world.paths.len() > 5 && world.paths.iter().all(|path| *path == [0, 3, 2, 1].map(km)), "{:?}", world.paths);
}

#[test]
fn neighbours_without_link_key_or_another_way_are_told_that_keys_are_too_few() {
    let mut world = World::new(4, &LINE, (0, Fault::None), |_| {});
    world.share_with_neighbours();
    world.left[0] = 0;
    let order = world.supply(0, 1);
    world.run(31_000);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::NotEnoughKeys))));
    assert_eq!(world.paths, Vec::<Vec<itu_y3803::KmId>>::new());
}

/// 0 and 4, and three ways between them.
const THREE_WAYS: [(usize, usize); 6] = [(0, 1), (1, 4), (0, 2), (2, 4), (0, 3), (3, 4)];

fn over_two_of_three(config: &mut Config) {
    let sharing = Sharing::new(2, 3).expect("possible");
    let terms = Terms { ways: Ways::shared(sharing), short: WhenShort::Wait(config.patience), ..Terms::default() };
    config.policy = Some(Policy::new(Vec::new(), terms).expect("consistent"));
}

#[test]
fn a_key_over_several_paths_needs_all_of_them_to_begin_with() {
    let mut world = World::new(5, &THREE_WAYS, (0, Fault::None), over_two_of_three);
    world.run(1_000);
    let order = world.supply(0, 4);
    world.run(3_000);
    let given = key(&mut world, order);
    let order = world.collect(4, 0, given);
    assert_eq!(key(&mut world, order), given);
    assert_eq!(world.given[&given].1.iter().len(), 3);
    for node in 1..4 {
        assert!(world.paths.contains(&[0, node, 4].map(km).to_vec()), "{:?}", world.paths);
    }
    let mut world = World::new(5, &THREE_WAYS, (0, Fault::None), over_two_of_three);
    world.closed.insert(2);
    world.run(1_000);
    let order = world.supply(0, 4);
    world.run(31_000);
    assert!(matches!(world.answer(order), Some(Answer::Refused(Refusal::Unreachable))), "two ways are not three");
}

#[test]
fn one_part_of_three_may_be_lost_or_changed_on_its_way() {
    for fault in [Fault::Lose, Fault::Change(1), Fault::Change(2)] {
        let mut kept = 0;
        let worlds = at_each_message(5, &THREE_WAYS, 4, fault, over_two_of_three);
        for world in &worlds {
            kept += usize::from(world.failures.is_empty());
        }
        assert!(kept > worlds.len() / 4, "{kept} of {}", worlds.len());
    }
}

/// One message after the other is hit by the fault; each time an order is to be supplied and collected in the end.
fn at_each_message(nodes: usize, links: &[(usize, usize)], to: usize, fault: Fault, settings: fn(&mut Config)) -> Vec<World> {
    let mut quiet = World::new(nodes, links, (0, Fault::None), settings);
    quiet.run(1_000);
    let begin = quiet.messages() + 1;
    let order = quiet.supply(0, to);
    quiet.run(3_000);
    key(&mut quiet, order);
    let end = quiet.messages();
    assert!(end > begin + 20, "{begin} to {end}: too few to tell anything");
    let world = |at| {
        let mut world = World::new(nodes, links, (at, fault), settings);
        world.run(1_000);
        let order = world.supply(0, to);
        world.run(31_000);
        match world.answer(order) {
            Some(Answer::Keys(keys)) => {
                let order = world.collect(to, 0, keys[0]);
                let collected = world.answer(order);
                let kept = matches!(collected, Some(Answer::Keys(_))) || fault == Fault::LoseStore;
                assert!(kept, "{fault:?} at message {at}: {collected:?}");
            }
            // The order went down with its node, and nobody was told of a key.
            None if matches!(fault, Fault::Crash | Fault::CrashAfterCommit | Fault::LoseStore) => {}
            other => panic!("{fault:?} at message {at}: {other:?}; {:?} {:?}", world.failures, world.misbehaviour),
        }
        // All goes on as before.
        let order = world.supply(0, to);
        world.run(31_000);
        let given = match world.answer(order) {
            Some(Answer::Keys(keys)) => keys[0],
            other => panic!("after {fault:?} at message {at}: {other:?}; {:?}", world.failures),
        };
        let order = world.collect(to, 0, given);
        assert!(matches!(world.answer(order), Some(Answer::Keys(_))), "after {fault:?} at message {at}");
        world
    };
    (begin..=end).map(world).collect()
}

#[test]
fn no_message_that_is_lost_late_or_repeated_breaks_a_promise() {
    for fault in [Fault::Lose, Fault::Delay, Fault::Repeat, Fault::RepeatLate] {
        for world in at_each_message(4, &LINE, 3, fault, |_| {}) {
            assert!(world.misbehaviour.iter().all(|what| *what == Misbehaviour::WrongTag), "{:?}", world.misbehaviour);
        }
    }
}

#[test]
fn who_forestalls_a_completion_does_not_end_the_relay() {
    let mut noticed = 0;
    for world in at_each_message(4, &LINE, 3, Fault::Forestall, |_| {}) {
        assert_eq!(world.failures, Vec::<String>::new());
        noticed += world.misbehaviour.len();
    }
    assert!(noticed >= 3, "{noticed}: at each of three hops");
}

#[test]
fn no_crash_breaks_a_promise() {
    for fault in [Fault::Crash, Fault::CrashAfterCommit, Fault::LoseStore] {
        at_each_message(4, &LINE, 3, fault, |_| {});
        at_each_message(4, &RING, 2, fault, |_| {});
    }
}

#[test]
fn no_change_on_the_way_breaks_a_promise() {
    let mut noticed = 0;
    for bit in (0..28).step_by(3).chain([2, 4, 8, 10, 14, 22]) {
        let worlds = at_each_message(4, &LINE, 3, Fault::Change(bit), |_| {});
        noticed += worlds.iter().filter(|world| !world.misbehaviour.is_empty() || !world.failures.is_empty()).count();
    }
    assert!(noticed > 100, "{noticed}");
}
