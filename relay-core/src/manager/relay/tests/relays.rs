//! Relays from here, over here and to here.

use super::*;

#[test]
fn what_was_announced_arrives_and_its_pad_and_the_key_of_its_completion_are_gone() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    let (reservation, pad) = bench.reservation(key, &WAY);
    let pad_id = reservation.pad;
    assert!(bench.relay_under(key, reservation, pad, 5));
    assert!(bench.stored(Pool::Incoming, pad_id).is_none(), "after a crash it would be good for another message");
    let tag_key = bench.tags["west"].0;
    assert!(bench.stored(Pool::Incoming, tag_key).is_none(), "its tags would be taken a second time");
    let stored = bench.stored(Pool::Incoming, key).expect("it has arrived");
    assert_eq!(stored.material.expose_secret(), &material(5).expose_secret()[..OCTETS - COMPLETION_OCTETS]);
}

#[test]
fn what_its_source_did_not_announce_is_not_taken() {
    let mut bench = bench();
    assert!(!bench.relay(life("far").key_id(1), &WAY));
}

#[test]
fn a_key_is_taken_once_however_often_it_is_announced() {
    let mut bench = bench();
    let (first, second) = (life("far").key_id(1), life("far").key_id(2));
    bench.announce(second, bench.announcement(&[&WAY]));
    assert!(bench.relay(second, &WAY));
    for key in [first, second] {
        bench.announce(key, bench.announcement(&[&WAY]));
        assert!(!bench.relay(key, &WAY), "it had its chance");
    }
}

#[test]
fn a_key_comes_only_the_way_that_was_announced() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    assert!(!bench.relay(key, &["far", "north", "west", "here"]));
    assert!(!bench.relay(key, &["far", "north", "here"]));
}

#[test]
fn paths_with_a_node_twice_are_no_paths() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let around: [&str; 5] = ["far", "west", "north", "west", "here"];
    assert!(misbehaved(&bench.announce(key, bench.announcement(&[&around]))));
    assert!(!bench.relay(key, &around));
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let key = life("far").key_id(2);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east", "north", "east"]);
    let outputs = bench.prove("west", key, RelayStep::Reserve(reservation));
    assert!(steps(outputs, "east").is_empty(), "it does not go on");
    for (nodes, goes) in [(&["here", "west", "north", "west", "far"][..], false), (&["here", "west", "far"][..], true)] {
        let pool = pool("far", Sharing::ONE);
        let outputs = bench.input(Input::Route { pool, paths: vec![path(nodes)] });
        assert_eq!(!steps(outputs, "far").is_empty(), goes, "{nodes:?}");
        bench.after(Duration::from_secs(30));
    }
}

#[test]
fn paths_that_meet_between_their_ends_are_not_taken_for_two() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    assert!(misbehaved(&bench.announce(key, bench.announcement(&[&WAY, &WAY]))));
    assert!(!misbehaved(&bench.announce(key, bench.announcement(&[&WAY, &["far", "east", "here"]]))));
    bench.outgoing("west", 8);
    bench.outgoing("east", 8);
    for (second, goes) in [("west", false), ("east", true)] {
        let pool = pool("far", two_of_two());
        let paths = ["west", second].map(|by| path(&["here", by, "far"])).to_vec();
        let outputs = bench.input(Input::Route { pool, paths });
        assert_eq!(!steps(outputs, "far").is_empty(), goes, "by {second}");
        bench.after(Duration::from_secs(30));
    }
}

#[test]
fn what_has_expired_on_the_way_is_not_taken() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let mut late = bench.announcement(&[&WAY]);
    late.expires = bench.now.wall;
    bench.announce(key, late.clone());
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = late.expires;
    assert!(!bench.relay_under(key, reservation, pad, 5), "before it was announced");

    let key = life("far").key_id(2);
    let mut short = bench.announcement(&[&WAY]);
    short.expires = bench.now.wall.after(Duration::from_secs(1));
    bench.announce(key, short.clone());
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = short.expires;
    bench.after(Duration::from_secs(2));
    assert!(!bench.relay_under(key, reservation, pad, 5), "between announcement and arrival");
}

#[test]
fn no_relayed_key_is_kept_for_ever_whatever_its_source_says() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let mut announcement = bench.announcement(&[&WAY]);
    announcement.expires = WallTime::NEVER;
    bench.announce(key, announcement);
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = WallTime::NEVER;
    assert!(bench.relay_under(key, reservation, pad, 5));
    let config = bench.manager.config();
    let longest = config.link_key_life + config.clock_skew;
    bench.after(longest - Duration::from_secs(1));
    let outputs = bench.after(Duration::from_secs(1));
    let expired = |output: &Output| matches!(output, Output::Event(Event::Expired { id, .. }) if *id == key);
    assert!(outputs.iter().any(expired), "{outputs:?}");
}

#[test]
fn what_the_source_will_not_use_any_more_is_burnt() {
    let mut bench = bench();
    let [first, second, third] = [1, 2, 3].map(|number| life("far").key_id(number));
    for key in [first, second] {
        bench.announce(key, bench.announcement(&[&WAY]));
        assert!(bench.relay(key, &WAY));
    }
    let mut announcement = bench.announcement(&[&WAY]);
    announcement.spent_below = second;
    bench.announce(third, announcement);
    assert!(bench.stored(Pool::Incoming, first).is_none());
    assert!(bench.stored(Pool::Incoming, second).is_some());
}

#[test]
fn a_relay_goes_on_to_the_next_node_and_only_that_one_answers_for_it() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let (relay, outputs) = bench.passing(1);
    assert!(matches!(steps(outputs, "east")[..], [RelayStep::Reserve(_)]));
    for said in [RelayStep::Reserved, RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey }] {
        let outputs = bench.prove("north", relay, said);
        assert!(steps(outputs, "west").is_empty(), "north has no part in it");
    }
    let outputs = bench.prove("east", relay, RelayStep::Reserved);
    assert!(matches!(steps(outputs, "west")[..], [RelayStep::Reserved]));
}

#[test]
fn names_of_relays_are_for_their_source_to_give() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    for relay in [bench.manager.notes.incarnation.key_id(1), life("west").key_id(1)] {
        let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
        let outputs = bench.prove("west", relay, RelayStep::Reserve(reservation));
        assert!(steps(outputs, "east").is_empty(), "{relay}");
    }
}

#[test]
fn one_neighbour_cannot_take_all_pads_of_another() {
    let mut bench = bench_with(|config| config.max_passing = 2);
    bench.outgoing("east", 12);
    bench.outgoing("west", 3);
    let went_on = (1..=4).filter(|number| !steps(bench.passing(*number).1, "east").is_empty()).count();
    assert_eq!(went_on, 2);
}

#[test]
fn who_has_no_key_burns_none_with_tags_that_do_not_fit() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let (tag_key, octets) = bench.incoming("west");
    let step = RelayStep::Reserve(reservation);
    let proof = Proof { link: link("west"), key: tag_key, place: 0, tag: [0; 16] };
    let forged = RelayMessage { relay: key, step: step.clone(), proof: Some(proof) };
    let outputs = bench.hear("west", Body::Relay(forged));
    assert!(misbehaved(&outputs) && steps(outputs, "east").is_empty());
    bench.tags.insert("west".to_owned(), (tag_key, octets, 0));
    let outputs = bench.prove("west", key, step);
    assert!(!steps(outputs, "east").is_empty(), "the key is there for who has it");
}

#[test]
fn a_step_without_a_proof_or_with_a_wrong_one_is_not_taken() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let reserve = RelayStep::Reserve(reservation);
    let refused = RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey };
    let (relay, _) = bench.passing(2);
    for (from, back, relay, step) in
        [("west", "east", key, reserve), ("east", "west", relay, RelayStep::Reserved), ("east", "west", relay, refused)]
    {
        let (tag_key, _) = bench.incoming(from);
        let wrong = Proof { link: link(from), key: tag_key, place: 0, tag: [0; 16] };
        for proof in [None, Some(wrong)] {
            let outputs = bench.hear(from, Body::Relay(RelayMessage { relay, step: step.clone(), proof }));
            assert!(misbehaved(&outputs), "{step:?}");
            assert!(steps(outputs, back).is_empty(), "{step:?}");
        }
    }
}

#[test]
fn a_key_that_was_changed_on_its_way_goes_no_further() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    for nodes in [&WAY[..], &["far", "west", "here", "east"]] {
        let (reservation, mut pad) = bench.reservation(key, nodes);
        // As if the octet of the message under it had been changed.
        pad[TAG_KEY_OCTETS] ^= 1;
        let relay = if nodes.len() == 3 { key } else { life("far").key_id(2) };
        let reservation = RelayReservation { key: relay, ..reservation };
        assert!(!bench.relay_under(relay, reservation, pad, 5));
        let outputs = std::mem::take(&mut bench.last);
        assert!(misbehaved(&outputs));
        assert!(steps(outputs, "east").is_empty(), "it goes on");
    }
}

#[test]
fn a_proof_is_taken_once() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let step = RelayStep::Reserve(reservation);
    assert!(!misbehaved(&bench.prove("west", key, step.clone())));
    bench.tags.get_mut("west").expect("used").2 = 0;
    assert!(misbehaved(&bench.prove("west", key, step)));
}

#[test]
fn what_was_said_in_a_former_life_counts_no_more() {
    let mut bench = bench();
    let fetches = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Fetch { .. }));
    let qkd_keys: Vec<_> = bench.qkd_keys().iter().map(|key| key.id).collect();
    let (first, size) = (life("west").key_id(0), KeySize::BITS_256);
    let offer = KeyOffer {
        link: link("west"),
        key: life("west").key_id(1_000),
        qkd_keys,
        size,
        expires: bench.soon(),
        spent_below: first,
    };
    assert!(fetches(&bench.hear("west", Body::Offer(offer.clone()))));
    bench.renew("west");
    assert!(!fetches(&bench.hear("west", Body::Offer(offer))));
}

#[test]
fn a_relayed_key_is_used_when_its_destination_has_shown_that_it_has_it_and_not_before() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    let (relay, reservation) = bench.start(Sharing::ONE, &["west"]).remove(0);
    let outputs = bench.prove("west", relay, RelayStep::Reserved);
    let [RelayStep::Key { sealed, tag }] = &steps(outputs, "west")[..] else { panic!("all is reserved") };
    assert_eq!(bench.level(Sharing::ONE), 0, "it is under way");
    let incarnation = bench.manager.notes.incarnation;
    let context = words::step(incarnation, &km("here"), &km("west"), relay, &RelayStep::Reserve(reservation.clone()));
    let pad = KmaKey {
        paths: itu_y3803::Paths::default(),
        id: reservation.pad,
        peer: km("here"),
        link: link("west"),
        material: KeyMaterial::from_octets(bench.pads[&reservation.pad].clone()).expect("whole octets"),
        created: bench.now.wall,
        expires: bench.now.wall,
    };
    let secret = Pad::new(pad).open(&context, &Sealed { octets: sealed.clone(), tag: *tag }).expect("under this pad");
    let tag = words::completion_tag(&reservation, &secret).expect("long enough");
    for (tag, level) in [([0; 16], 0), (tag, 1)] {
        bench.hear("west", Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
        assert_eq!(bench.level(Sharing::ONE), level);
    }
    let pool = pool("far", Sharing::ONE);
    bench.outgoing("west", 3);
    let outputs = bench.input(Input::Route { pool, paths: vec![path(&["here", "west", "far"])] });
    let [RelayStep::Announce(announcement), ..] = &steps(outputs, "far")[..] else { panic!("more is wanted") };
    assert_eq!(announcement.spent_below, relay, "it is not used yet");
}

#[test]
fn a_pad_that_was_sent_does_not_come_back_and_one_that_was_not_does() {
    for used in [false, true] {
        let mut bench = bench();
        bench.outgoing("west", 6);
        bench.outgoing("east", 6);
        let (relay, first) = bench.start(Sharing::ONE, &["west"]).remove(0);
        if used {
            bench.prove("west", relay, RelayStep::Reserved);
        }
        bench.prove("west", relay, RelayStep::Refused { at: km("west"), reason: RelayRefusal::NoKey });
        assert_eq!(bench.stored(Pool::Outgoing, first.pad).is_none(), used);

        let key = life("far").key_id(1);
        let (reservation, pad) = bench.reservation(key, &["far", "west", "here", "east"]);
        let onward = if used {
            bench.relay_under(key, reservation, pad, 5);
            assert!(bench.last.iter().any(|output| matches!(output, Output::Event(Event::Spent { pool: Pool::Outgoing, .. }))));
            bench.manager.relays.passing[&key].onward().expect("it goes on").pad
        } else {
            bench.prove("west", key, RelayStep::Reserve(reservation));
            bench.manager.relays.passing[&key].onward().expect("it goes on").pad
        };
        bench.prove("east", key, RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey });
        assert_eq!(bench.stored(Pool::Outgoing, onward).is_none(), used);
    }
}

#[test]
fn no_part_goes_before_all_are_reserved() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let parts = bench.start(two_of_two(), &["west", "east"]);
    let outputs = bench.prove("west", parts[0].0, RelayStep::Reserved);
    assert!(steps(outputs, "west").is_empty());
    let outputs = bench.prove("east", parts[1].0, RelayStep::Reserved);
    assert!(matches!(steps(outputs, "west")[..], [RelayStep::Key { .. }]));
}

#[test]
fn what_a_neighbour_has_lost_is_burnt_here_also_what_is_set_aside() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let (relay, _) = bench.passing(1);
    let onward = bench.manager.relays.passing[&relay].onward().expect("it goes on").pad;
    bench.renew("east");
    let (_, first) = bench.start(Sharing::ONE, &["west"]).remove(0);
    bench.renew("west");
    for peer in ["east", "west"] {
        assert_eq!(bench.manager.link_level(&link(peer)).0, 0, "with {peer}");
    }
    for pad in [onward, first.pad] {
        assert!(bench.stored(Pool::Outgoing, pad).is_none());
    }
}

#[test]
fn the_last_link_keys_are_left_for_key_of_this_nodes_own() {
    let mut bench = bench();
    bench.outgoing("east", 2);
    assert_eq!(bench.manager.config().link_floor, 2);
    assert!(steps(bench.passing(1).1, "east").is_empty());
    bench.outgoing("east", 1);
    assert!(!steps(bench.passing(2).1, "east").is_empty());
}

#[test]
fn no_pad_is_taken_that_the_next_node_may_have_deleted_by_its_clock() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    let config = bench.manager.config();
    let late = config.link_key_life - config.clock_skew;
    for (time, there) in [(Duration::ZERO, true), (late - Duration::from_millis(1), true), (late, false)] {
        let now = Now { instant: bench.now.instant + time, wall: bench.now.wall.after(time) };
        assert_eq!(bench.manager.choose_link_key(now, &km("east"), 0, 1).is_some(), there, "after {time:?}");
    }
}

#[test]
fn after_a_new_connection_tags_are_made_under_new_key() {
    let mut bench = bench();
    bench.outgoing("east", 8);
    let tag_key = |outputs: Vec<Output>| {
        let proof = |body| if let Body::Relay(message) = body { message.proof } else { None };
        sent(outputs, "east").into_iter().find_map(proof).expect("it goes on").key
    };
    let [first, second] = [1, 2].map(|number| tag_key(bench.passing(number).1));
    assert_eq!(first, second);
    bench.input(Input::PeerUp { peer: km("east") });
    assert_ne!(tag_key(bench.passing(3).1), second, "east may have been started anew");
}

/// Every fact that the two ends of a hop, or of a relay, have to agree on.
#[test]
fn tags_are_made_over_all_that_is_said() {
    let reservation = RelayReservation {
        key: life("far").key_id(1),
        part: 1,
        needed: 1,
        of: 2,
        path: path(&WAY),
        hop: 2,
        octets: 64,
        expires: WallTime::from_millis(1),
        link: link("west"),
        pad: life("west").key_id(1),
        spare: 0,
    };
    let changed = |change: fn(&mut RelayReservation)| {
        let mut changed = reservation.clone();
        change(&mut changed);
        changed
    };
    let of_the_key = [
        changed(|said| said.key = life("far").key_id(2)),
        changed(|said| said.needed = 2),
        changed(|said| said.of = 3),
        changed(|said| said.octets = 65),
        changed(|said| said.expires = WallTime::from_millis(2)),
        changed(|said| said.path[0] = km("north")),
        changed(|said| said.path[2] = km("north")),
    ];
    let of_the_hop = [
        changed(|said| said.part = 2),
        changed(|said| said.path[1] = km("north")),
        changed(|said| said.hop = 1),
        changed(|said| said.link = link("north")),
        changed(|said| said.pad = life("west").key_id(2)),
    ];
    let (west, here, relay) = (km("west"), km("here"), life("far").key_id(1));
    let said =
        |reservation: &RelayReservation| words::step(life("west"), &west, &here, relay, &RelayStep::Reserve(reservation.clone()));
    let mut texts: Vec<_> = of_the_hop.iter().chain(&of_the_key).map(said).collect();
    texts.push(said(&reservation));
    let refused = |at, reason| RelayStep::Refused { at, reason };
    for (sender, from, to, relay, step) in [
        (life("west"), &west, &here, relay, RelayStep::Reserved),
        (life("east"), &west, &here, relay, RelayStep::Reserved),
        (life("west"), &here, &here, relay, RelayStep::Reserved),
        (life("west"), &west, &west, relay, RelayStep::Reserved),
        (life("west"), &west, &here, life("far").key_id(2), RelayStep::Reserved),
        (life("west"), &west, &here, relay, refused(km("here"), RelayRefusal::NoKey)),
        (life("west"), &west, &here, relay, refused(km("west"), RelayRefusal::NoKey)),
        (life("west"), &west, &here, relay, refused(km("here"), RelayRefusal::Late)),
    ] {
        texts.push(words::step(sender, from, to, relay, &step));
    }
    for (at, text) in texts.iter().enumerate() {
        assert!(!texts[..at].contains(text), "{at}");
    }
    let tag = |reservation: &RelayReservation, octet: u8| {
        let material = KeyMaterial::from_octets([vec![octet; 32], vec![7; COMPLETION_OCTETS]].concat()).expect("whole octets");
        words::completion_tag(reservation, &material).expect("long enough")
    };
    assert_ne!(tag(&reservation, 1), tag(&reservation, 2), "another key has arrived");
    assert!(of_the_key.iter().all(|other| tag(other, 1) != tag(&reservation, 1)));
    assert!(of_the_hop.iter().all(|other| tag(other, 1) == tag(&reservation, 1)), "whatever way it took");
}

#[test]
fn a_reservation_is_taken_as_it_was_said_to_this_node_and_not_otherwise() {
    let changes: [fn(&mut RelayReservation); 11] = [
        |said| said.key = life("far").key_id(77),
        |said| said.part = 2,
        |said| said.needed = 2,
        |said| said.of = 2,
        |said| said.path = path(&["far", "west", "here", "north", "east"]),
        |said| said.hop = 1,
        |said| said.octets -= 1,
        |said| said.expires = said.expires.after(Duration::from_millis(1)),
        |said| said.link = link("north"),
        |said| said.pad = life("west").key_id(77),
        |said| said.spare = 1,
    ];
    for at in 0..=changes.len() + 1 {
        let mut bench = bench();
        bench.outgoing("east", 6);
        bench.outgoing("north", 6);
        let relay = life("far").key_id(1);
        let (reservation, _) = bench.reservation(relay, &FAR_TO_EAST);
        let mut said = reservation.clone();
        if let Some(change) = changes.get(at) {
            change(&mut said);
            assert_ne!(said, reservation);
        }
        // The last but one is as it was said; the last was said to another node.
        let to = if at > changes.len() { "north" } else { "here" };
        let (key, octets) = bench.incoming("west");
        let text = words::step(life("west"), &km("west"), &km(to), relay, &RelayStep::Reserve(reservation));
        let proof = Some(Proof { link: link("west"), key, place: 0, tag: tag(&octets, 0, &text) });
        let step = RelayStep::Reserve(said);
        let outputs = bench.hear("west", Body::Relay(RelayMessage { relay, step, proof }));
        assert_eq!(bench.manager.relays.passing.len(), usize::from(at == changes.len()), "change {at}");
        assert_eq!(misbehaved(&outputs), at != changes.len(), "change {at}");
    }
}

#[test]
fn what_has_expired_has_left_the_store_used_or_not_and_whatever_became_of_its_other_end() {
    let mut bench = bench_with_blue(0);
    bench.outgoing("east", 6);
    let pads: Vec<_> = bench.pads.keys().copied().collect();
    // Its neighbour never says another word of this one.
    let (incoming, _) = bench.incoming("east");
    let mut order = |slave: &str| {
        let [red, slave] = ["red", slave].map(|id| itu_y3803::ApplicationId::new(id).expect("valid"));
        let parties = itu_y3803::Parties::new(red, vec![slave]).expect("one slave");
        let (number, size) = (std::num::NonZeroU32::MIN, KeySize::BITS_256);
        bench.input(Input::Supply { order: crate::OrderId(1), parties, number, size })
    };
    // With a copy for grey, who never comes for the rest of it.
    let bound = |output| if let Output::Event(Event::Bound { block, .. }) = output { Some(block) } else { None };
    let local = order("grey").into_iter().find_map(bound).expect("it takes no link key");
    let told = |body| if let Body::SupplyNotification(told) = body { Some(told.block) } else { None };
    let block = sent(order("blue"), "east").into_iter().find_map(told).expect("a block is bound");
    bench.hear("east", Body::SupplyResponse(itu_y3803::message::SupplyResponse { block, accepted: true }));
    let in_store = |bench: &mut Bench<_>| {
        let mut places: Vec<_> = pads.iter().map(|&pad| (Pool::Outgoing, pad)).collect();
        places.extend([(Pool::Incoming, incoming), (Pool::Supply, block), (Pool::Supply, local), (Pool::Collect, local)]);
        let store = &mut bench.manager.store;
        let mut there = Vec::new();
        for (pool, id) in places {
            if let Some(key) = store.take(pool, id).expect("a store in memory does not fail") {
                store.put(key).expect("a store in memory does not fail");
                there.push(pool);
            }
        }
        there
    };
    let before = in_store(&mut bench);
    for pool in Pool::ALL {
        assert!(before.contains(&pool), "{before:?}");
    }
    let life = bench.manager.config().link_key_life.max(bench.manager.config().block_life);
    bench.after(life + Duration::from_millis(1));
    assert_eq!(in_store(&mut bench), []);
}
