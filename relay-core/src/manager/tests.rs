//! What one node does by itself.

use itu_y3803::Incarnation;

use super::*;
use crate::MemoryStore;

fn now() -> Now {
    Now { instant: Instant::now(), wall: WallTime::from_millis(0) }
}

/// A master and a slave at one node, with blocks of 32 octets.
fn manager(numbers_below: u64) -> KeyManager<MemoryStore, impl RandomSource> {
    let mut state = 0_u8;
    let mut random = move |out: &mut [u8]| {
        out.fill_with(|| {
            state = state.wrapping_add(1);
            state
        });
    };
    let mut notes = Notes::first(&mut random);
    notes.numbers_below = numbers_below;
    let mut store = MemoryStore::default();
    store.save_notes(&notes.to_octets()).expect("a store in memory does not fail");
    let here = KmId::new("north").expect("valid");
    let mut config = Config::new(here.clone());
    config.applications = ["red", "grey"].map(|id| (ApplicationId::new(id).expect("valid"), here.clone())).into();
    (config.local_block_octets, config.pool_low, config.pool_high) = (32, 512, 1024);
    KeyManager::open(config, store, random, now()).expect("settings that make sense")
}

fn parties() -> Parties {
    let [red, grey] = ["red", "grey"].map(|id| ApplicationId::new(id).expect("valid"));
    Parties::new(red, vec![grey]).expect("one slave")
}

fn one_key() -> Input {
    Input::Supply { order: OrderId(1), parties: parties(), number: NonZeroU32::MIN, size: KeySize::BITS_256 }
}

/// Feeds one input and sees what comes out.
fn outputs(manager: &mut KeyManager<MemoryStore, impl RandomSource>, input: Input) -> Vec<Output> {
    manager.handle_input(now(), input).expect("a store in memory does not fail");
    std::iter::from_fn(|| manager.poll_output().expect("a store in memory does not fail")).collect()
}

fn bound(outputs: &[Output]) -> Vec<u64> {
    let number = |output: &Output| match output {
        Output::Event(Event::Bound { block, .. }) => Some(Incarnation::split(*block).1),
        _ => None,
    };
    outputs.iter().filter_map(number).collect()
}

#[test]
fn the_end_of_the_numbers_is_announced_and_no_number_is_used_twice() {
    let mut manager = manager(BLOCK_NUMBERS - 4);
    let outputs = outputs(&mut manager, one_key());
    assert!(outputs.iter().any(|output| matches!(output, Output::Event(Event::NumbersRunLow { .. }))));
    assert!(outputs.iter().any(|output| matches!(output, Output::Supplied { .. })));
    // The odd ones: these have slaves here.
    assert_eq!(bound(&outputs), [BLOCK_NUMBERS - 3, BLOCK_NUMBERS - 1]);
}

#[test]
fn what_is_held_ready_grows_with_use() {
    let mut manager = manager(0);
    let mut blocks = Vec::new();
    for _ in 0..40 {
        blocks.push(bound(&outputs(&mut manager, one_key())).len());
    }
    assert!(blocks[0] <= 4, "{blocks:?}");
    assert!(manager.keys_ready(&parties(), KeySize::BITS_256) >= 16, "{blocks:?}");
}

#[test]
fn for_parties_that_are_announced_all_is_made_ready_at_once() {
    let mut manager = manager(0);
    assert_eq!(bound(&outputs(&mut manager, Input::Prepare { parties: parties() })).len(), 1024 / 32);
}

#[test]
fn what_was_collected_leaves_room_for_more() {
    let mut manager = manager(0);
    (manager.config.local_block_octets, manager.config.max_collectable) = (1024, 4000);
    // 16 octets of each block are too few for another key.
    let size = KeySize::from_octets(48).expect("not zero");
    for order in 0..150 {
        let input = Input::Supply { order: OrderId(1), parties: parties(), number: NonZeroU32::MIN, size };
        let supplied = outputs(&mut manager, input).into_iter().find_map(|output| match output {
            Output::Supplied { keys, .. } => keys.into_iter().next(),
            _ => None,
        });
        let key = supplied.unwrap_or_else(|| panic!("no room after {order} keys")).id;
        let (master, slave) = (parties().master().clone(), parties().slaves()[0].clone());
        outputs(&mut manager, Input::Collect { order: OrderId(2), slave, master, keys: vec![key] });
    }
}

#[test]
fn a_lease_that_is_given_back_is_supplied_later() {
    let mut manager = manager(0);
    let size = KeySize::BITS_256;
    let number = NonZeroU32::new(3).expect("not zero");
    let order = |order| Input::Lease { order: OrderId(order), parties: parties(), number, size };
    let lease = |outputs: Vec<Output>| {
        outputs.into_iter().find_map(|output| match output {
            Output::Leased { lease, .. } => Some(lease),
            _ => None,
        })
    };
    let mut first = lease(outputs(&mut manager, order(1))).expect("key of this node's own");
    let given = first.supply(now().wall, NonZeroU32::MIN, size).expect("enough");
    let left = first.keys_left(size, usize::MAX);
    let before = manager.keys_ready(&parties(), size);
    outputs(&mut manager, Input::GiveBack { lease: first });
    assert_eq!(manager.keys_ready(&parties(), size), before + left);
    // Not from a lease that has been revoked.
    let second = lease(outputs(&mut manager, order(2))).expect("it was given back");
    manager.burn_supply(|_| true).expect("a store in memory does not fail");
    outputs(&mut manager, Input::Timeout);
    let before = manager.keys_ready(&parties(), size);
    outputs(&mut manager, Input::GiveBack { lease: second });
    assert_eq!(manager.keys_ready(&parties(), size), before);
    assert_eq!(given.len(), 1);
}
