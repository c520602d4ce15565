//! What one node does by itself.

use std::num::NonZeroU32;

use itu_y3803::message::{Hello, KeyOffer};
use itu_y3803::{Incarnation, KeyMaterial, KmMessage, QkdKey};

use super::*;
use crate::MemoryStore;

fn now() -> Now {
    Now { instant: Instant::now(), wall: WallTime::from_millis(0) }
}

fn counting() -> impl RandomSource {
    let mut state = 0_u8;
    move |out: &mut [u8]| {
        out.fill_with(|| {
            state = state.wrapping_add(1);
            state
        });
    }
}

/// A master and a slave at one node, with blocks of 32 octets.
fn manager(numbers_below: u64) -> KeyManager<MemoryStore, impl RandomSource> {
    let mut random = counting();
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

/// A node with a QKD link to a neighbour that has greeted it; link keys of five QKD keys.
struct Bench<R> {
    manager: KeyManager<MemoryStore, R>,
    now: Now,
    neighbour: KmId,
    link: LinkId,
    drawn: u128,
}

impl<R: RandomSource> Bench<R> {
    fn input(&mut self, input: Input) -> Vec<Output> {
        self.manager.handle_input(self.now, input).expect("a store in memory does not fail");
        std::iter::from_fn(|| self.manager.poll_output().expect("a store in memory does not fail")).collect()
    }

    /// The module gives so many keys more.
    fn drawn(&mut self, number: u128) -> Vec<Output> {
        let ids = self.drawn..self.drawn + number;
        self.drawn = ids.end;
        let material = || KeyMaterial::from_octets(vec![1; 32]).expect("whole octets");
        let key = |id: u128| QkdKey { id: KeyId::from_octets(id.to_be_bytes()), material: material() };
        self.input(Input::Drawn { link: self.link.clone(), keys: ids.map(key).collect() })
    }

    fn after(&mut self, time: Duration) -> Vec<Output> {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall.after(time) };
        self.input(Input::Timeout)
    }
}

fn bench() -> Bench<impl RandomSource> {
    let (neighbour, link) = (KmId::new("south").expect("valid"), LinkId::new("fibre").expect("valid"));
    let mut config = Config::new(KmId::new("north").expect("valid"));
    config.links = vec![LinkConfig::new(link.clone(), neighbour.clone())];
    (config.qkd_keys_per_link_key, config.draw_limit, config.link_low, config.link_high) = (5, 17, 3, 6);
    // Offers wait for their answer, and are said once.
    (config.give_up, config.repeat) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let now = now();
    let manager = KeyManager::open(config, MemoryStore::default(), counting(), now).expect("settings that make sense");
    let mut bench = Bench { manager, now, neighbour: neighbour.clone(), link, drawn: 0 };
    bench.input(Input::PeerUp { peer: neighbour.clone() });
    let id_secret = KeyMaterial::from_octets(vec![7; 32]).expect("whole octets");
    let message = KmMessage { sender: Incarnation::from_octets([9; 8]), body: Body::Hello(Hello { id_secret }) };
    bench.input(Input::Message { from: neighbour, message });
    bench
}

fn offers(outputs: &[Output]) -> Vec<&KeyOffer> {
    let offer = |output| match output {
        &Output::Send { message: KmMessage { body: Body::Offer(ref offer), .. }, .. } => Some(offer),
        _ => None,
    };
    outputs.iter().filter_map(offer).collect()
}

fn asked_for(outputs: &[Output]) -> Vec<u32> {
    let number = |output: &Output| if let Output::Draw { number, .. } = output { Some(*number) } else { None };
    outputs.iter().filter_map(number).collect()
}

fn qkd_keys(ids: std::ops::Range<u128>) -> Vec<KeyId> {
    ids.map(|id| KeyId::from_octets(id.to_be_bytes())).collect()
}

#[test]
fn qkd_keys_that_come_one_at_a_time_all_become_link_key() {
    let mut bench = bench();
    let mut joined = Vec::new();
    for key in 0..15 {
        let outputs = bench.drawn(1);
        let offers = offers(&outputs);
        assert_eq!(offers.len(), usize::from(key % 5 == 4), "after key {key}");
        joined.extend(offers.iter().flat_map(|offer| offer.qkd_keys.clone()));
        bench.after(Duration::from_millis(200));
    }
    assert_eq!(joined, qkd_keys(0..15));
}

#[test]
fn what_is_left_of_a_draw_comes_first_in_the_next() {
    let mut bench = bench();
    let outputs = bench.drawn(13);
    assert_eq!(offers(&outputs).iter().map(|offer| offer.qkd_keys.len()).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(asked_for(&outputs), [12], "three link keys at once, less what is left");
    let outputs = bench.drawn(12);
    assert_eq!(offers(&outputs)[0].qkd_keys, qkd_keys(10..15));
    assert_eq!(offers(&outputs).len(), 3);
    assert_eq!(asked_for(&outputs), [5], "nothing is left");
}

#[test]
fn what_no_more_comes_to_is_offered_as_a_shorter_link_key() {
    let mut bench = bench();
    bench.drawn(1);
    let outputs = bench.after(bench.manager.config.join_within);
    assert!(offers(&outputs).is_empty(), "nothing would be left beside the tag");
    let outputs = bench.drawn(1);
    assert_eq!(offers(&outputs)[0].qkd_keys, qkd_keys(0..2), "the first has waited long enough");
    bench.drawn(3);
    let join_within = bench.manager.config.join_within;
    assert!(bench.manager.poll_timeout().is_some_and(|due| due <= bench.now.instant + join_within));
    assert!(offers(&bench.after(join_within / 2)).is_empty());
    // The neighbour is not there to hear of it.
    let peer = bench.neighbour.clone();
    bench.input(Input::PeerDown { peer: peer.clone() });
    assert!(offers(&bench.after(join_within)).is_empty());
    let mut outputs = bench.input(Input::PeerUp { peer });
    outputs.extend(bench.after(Duration::ZERO));
    let offered: Vec<_> = offers(&outputs).into_iter().map(|offer| offer.qkd_keys.clone()).collect();
    assert!(offered.contains(&qkd_keys(2..5)), "{offered:?}");
}

/// North has red and ruby; east, which is far, has blue and grey.
fn far_from_east() -> Config {
    let [north, south, east] = ["north", "south", "east"].map(|id| KmId::new(id).expect("valid"));
    let mut config = Config::new(north.clone());
    config.links = vec![LinkConfig::new(LinkId::new("fibre").expect("valid"), south)];
    config.distant = vec![east.clone()];
    config.applications = [("red", &north), ("ruby", &north), ("blue", &east), ("grey", &east)]
        .map(|(id, home)| (ApplicationId::new(id).expect("valid"), home.clone()))
        .into();
    config
}

#[test]
fn settings_under_which_some_key_never_comes_are_refused() {
    assert_eq!(far_from_east().check(), Ok(()));
    let refused = |change: fn(&mut Config)| {
        let mut config = far_from_east();
        change(&mut config);
        config.check().expect_err("makes no sense").to_string()
    };
    assert_eq!(
        refused(|config| config.distant.push(config.distant[0].clone())),
        "distant has a key manager twice, or one with too long a name"
    );
    assert_eq!(refused(|config| config.distant.push(config.id.clone())), "distant has this node itself");
    assert_eq!(refused(|config| config.links.push(config.links[0].clone())), "links has a link twice");
    let labels: fn(&mut Config) = |config| {
        let label = |number: u8| crate::routing::Label::new(&format!("label {number}")).expect("valid");
        config.links[0].labels = (0..8).map(label).collect();
    };
    assert!(refused(labels).starts_with("a link has more labels"));
    assert_eq!(refused(|config| config.relay_high = config.max_incoming + 1), "relay_high is above max_incoming");
    assert!(refused(|config| config.qkd_keys_per_link_key = 3).contains("too small for a key of distant"));
    let large: fn(&mut Config) = |config| {
        config.qkd_key_size = KeySize::from_octets(8).expect("not zero");
        (config.qkd_keys_per_link_key, config.draw_limit) = (1_025, 2_000);
    };
    assert!(refused(large).contains("at most 1024 QKD keys"), "the neighbour takes no such offer");
}

#[test]
fn a_link_says_itself_how_it_is_authenticated() {
    let label = |text: &str| crate::routing::Label::new(text).expect("valid");
    let link = |authentication| LinkConfig {
        labels: ["leased", "auth-its"].map(label).to_vec(),
        authentication,
        ..LinkConfig::new(LinkId::new("fibre").expect("valid"), KmId::new("south").expect("valid"))
    };
    assert_eq!(link(LinkAuthentication::OneTime).all_labels(), ["auth-its", "leased"].map(label));
    assert_eq!(link(LinkAuthentication::Hmac).all_labels(), ["leased"].map(label));
}
