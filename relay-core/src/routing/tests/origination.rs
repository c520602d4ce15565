//! What this node says of itself, and when.

use super::*;

#[test]
fn own_advertisement_from_before_a_restart_is_outbid() {
    let mut bench = Bench::new(&["a"]);
    let mut before = lsa("here", 7, &[("a", 16)]);
    before.version.boot = 3;
    bench.flood("a", &before);
    assert_eq!(bench.own().version, Version { boot: 3, sequence: 8 });
    assert_eq!(bench.own().links, [], "what it says is what is true now");
    assert_eq!(bench.sent("a"), sent(&[("here", 8)]));
    assert!(bench.others.contains(&Output::Boot(3)), "to be remembered");
    bench.flood("a", &before);
    assert_eq!(bench.own().version.sequence, 8, "once");
}

#[test]
fn own_advertisement_that_others_have_dropped_for_its_age_is_outbid() {
    let mut bench = Bench::new(&["a"]);
    let mut before = lsa("here", 7, &[("a", 16)]);
    before.version.boot = 3;
    let mut forged = flooded(&before, 3_600);
    forged.tag[0] ^= 1;
    bench.hear("a", &Message::Flood(vec![forged]));
    assert_eq!(bench.own().version, Version { boot: 0, sequence: 1 }, "nobody drives the number up that never was");
    bench.hear("a", &Message::Flood(vec![flooded(&before, 3_600)]));
    assert_eq!(bench.own().version, Version { boot: 3, sequence: 8 });
    assert!(bench.others.contains(&Output::Boot(3)), "to be remembered");
}

#[test]
fn own_advertisement_of_the_same_version_and_other_octets_is_outbid() {
    let mut bench = Bench::new(&["a"]);
    let before = lsa("here", 1, &[("a", 16)]);
    assert!(before.to_octets() > bench.own().to_octets());
    bench.flood("a", &before);
    assert_eq!(bench.own().version, Version { boot: 0, sequence: 2 });
}

#[test]
fn a_boot_that_is_remembered_is_newer_than_all_before() {
    let mut bench = Bench::with(Config { boot: 4, ..Config::new(km("here")) }, &["a"]);
    let mut before = lsa("here", u32::MAX, &[]);
    before.version.boot = 3;
    bench.flood("a", &before);
    assert_eq!(bench.own().version, Version { boot: 4, sequence: 1 });
    assert_eq!(bench.sent("a"), sent(&[("here", 1)]));
}

#[test]
fn own_advertisement_that_others_made_is_not_believed() {
    let mut bench = Bench::new(&["a"]);
    let mut forged = flooded(&lsa("here", 7, &[]), 0);
    forged.tag[0] ^= 1;
    bench.hear("a", &Message::Flood(vec![forged]));
    assert_eq!(bench.own().version.sequence, 1);
}

#[test]
fn constant_inputs_cause_nothing_but_refresh() {
    let mut bench = Bench::new(&["a"]);
    bench.link("a", "1", status(60));
    bench.seconds(10);
    bench.acknowledge_own("a");
    let before = bench.own().version.sequence;
    let mut told = Vec::new();
    for second in 0..7_200_u64 {
        bench.link("a", "1", status(60 + second % 3));
        bench.seconds(1);
        if bench.own().version.sequence > before + told.len() as u32 {
            told.push(second);
            bench.acknowledge_own("a");
        }
    }
    assert!((3..=5).contains(&told.len()), "{told:?}");
    assert!(told.windows(2).all(|pair| (1_350..=1_801).contains(&(pair[1] - pair[0]))), "{told:?}");
}

#[test]
fn min_interval_of_five_seconds_but_not_for_outages() {
    let mut bench = Bench::new(&["a", "b"]);
    let sequence = |bench: &Bench| bench.own().version.sequence;
    bench.link("a", "1", status(100));
    bench.link("b", "1", status(100));
    bench.seconds(10);
    let before = sequence(&bench);
    bench.link("a", "1", status(50));
    assert_eq!(sequence(&bench), before + 1);
    bench.seconds(1);
    bench.link("a", "1", status(10));
    bench.link("b", "1", status(10));
    bench.ms(3_900);
    assert_eq!(sequence(&bench), before + 1, "not yet");
    bench.ms(100);
    assert_eq!(sequence(&bench), before + 2, "both changes in one");

    bench.link("a", "1", LinkStatus { up: false, ..status(10) });
    assert_eq!(sequence(&bench), before + 3, "at once");
    assert_eq!(bench.own().links[0].cost, None);
    bench.input(Input::PeerDown { peer: km("b") });
    assert_eq!(sequence(&bench), before + 4, "no messages pass: no relay");
    assert_eq!(bench.own().links[1].cost, None);
}

#[test]
fn many_outages_at_once_are_told_three_times_and_then_each_second() {
    let names: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let mut bench = Bench::new(&["a"]);
    for name in &names {
        bench.link("a", name, status(100));
    }
    bench.seconds(60);
    let before = bench.own().version.sequence;
    for name in &names {
        bench.link("a", name, LinkStatus { up: false, ..status(0) });
        bench.ms(10);
    }
    assert_eq!(bench.own().version.sequence, before + 3);
    bench.seconds(1);
    assert_eq!(bench.own().version.sequence, before + 4);
    assert!(bench.own().links.iter().all(|link| link.cost.is_none()));
    bench.seconds(10);
    assert_eq!(bench.own().version.sequence, before + 4);
}

#[test]
fn a_step_is_told_at_most_twice() {
    let mut bench = Bench::new(&["a"]);
    bench.link("a", "1", status(100));
    bench.seconds(30);
    let before = bench.own().version.sequence;
    for _ in 0..60 {
        bench.link("a", "1", status(20));
        bench.seconds(1);
    }
    assert!((1..=2).contains(&(bench.own().version.sequence - before)));
}

#[test]
fn a_flapping_link_is_damped_and_comes_back() {
    let mut bench = Bench::new(&["a"]);
    bench.link("a", "1", status(100));
    bench.seconds(600);
    let before = bench.own().version.sequence;
    for second in 0..30_u64 {
        bench.link("a", "1", LinkStatus { up: second % 2 == 1, ..status(100) });
        bench.seconds(1);
    }
    assert_eq!(bench.own().version.sequence, before + 3);
    assert_eq!(bench.own().links[0].cost, None);
    bench.seconds(120);
    assert!(bench.own().links[0].cost.is_some(), "on its timer");
}

#[test]
fn withdrawn_is_told_and_links_are_gone() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.link("a", "1", status(100));
    bench.acknowledge_own("a");
    bench.acknowledge_own("b");
    bench.said.clear();
    let sequence = bench.own().version.sequence;
    bench.input(Input::Withdraw);
    assert_eq!(bench.find("here"), None);
    assert_eq!(bench.sent("b"), sent(&[("here", sequence + 1)]));
    assert!(!bench.node.is_settled());
    let entry = bench.node.database.get(&km("here")).expect("kept, to be told to who comes back").header();
    for peer in ["a", "b"] {
        bench.hear(peer, &Message::Ack(vec![entry.clone()]));
    }
    assert!(bench.node.is_settled());
    bench.link("a", "1", status(10));
    bench.seconds(3_000);
    assert_eq!(bench.find("here"), None, "for good");
}

#[test]
fn withdrawal_of_another_stays_against_what_was_said_before() {
    let mut bench = Bench::new(&["a", "b"]);
    let withdrawn = Lsa { withdrawn: true, ..lsa("far", 6, &[]) };
    bench.flood("a", &withdrawn);
    assert_eq!(bench.sent("b"), sent(&[("far", 6)]));
    // b comes from a part of the network that was cut off
    bench.flood("b", &lsa("far", 5, &[]));
    assert_eq!(bench.find("far"), None);
    assert_eq!(bench.sent("b"), sent(&[("far", 6)]).into_iter().skip(1).collect::<Vec<_>>(), "it is under way already");
    bench.flood("a", &lsa("far", 7, &[]));
    assert_eq!(bench.sequence("far"), Some(7), "it is back");
}
