//! What is taken, passed on, acknowledged, repeated and dropped.

use super::*;

#[test]
fn newer_is_the_later_boot_then_the_higher_sequence() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.flood("a", &lsa("far", 5, &[]));
    bench.flood("a", &lsa("far", 4, &[]));
    assert_eq!(bench.sequence("far"), Some(5));
    assert_eq!(bench.sent("b"), sent(&[("far", 5)]));
    assert_eq!(bench.sent("a"), sent(&[("far", 5)]), "who has an older one is told the newer");

    let mut rebooted = lsa("far", 1, &[]);
    rebooted.version.boot = 1;
    bench.flood("a", &rebooted);
    assert_eq!(bench.find("far"), Some(rebooted));
    bench.flood("a", &lsa("far", 6, &[]));
    assert_eq!(bench.sequence("far"), Some(1), "of an earlier boot");
}

#[test]
fn of_equal_versions_all_choose_the_same() {
    let pair = [lsa("far", 5, &[("x", 16)]), lsa("far", 5, &[("y", 16)])];
    let chosen = [[0, 1], [1, 0]].map(|order| {
        let mut bench = Bench::new(&["a"]);
        order.iter().for_each(|&at| bench.flood("a", &pair[at]));
        bench.find("far")
    });
    assert_eq!(chosen[0], chosen[1]);
}

#[test]
fn only_what_is_new_is_passed_on_and_not_to_where_it_came_from() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    bench.flood("a", &lsa("far", 5, &[]));
    for (peer, passed) in [("a", 0), ("b", 1), ("c", 1)] {
        assert_eq!(bench.sent(peer).len(), passed, "{peer}");
    }
    for from in ["a", "b", "c", "a"] {
        bench.flood(from, &lsa("far", 5, &[]));
    }
    for peer in ["a", "b", "c"] {
        assert_eq!(bench.sent(peer), [], "{peer}");
    }
}

#[test]
fn what_is_not_acknowledged_is_repeated_ever_more_slowly_until_it_is() {
    let mut bench = Bench::new(&["a", "b"]);
    let far = lsa("far", 5, &[]);
    bench.flood("a", &far);
    assert_eq!(bench.acks("a"), 1);
    let mut repeated = Vec::new();
    for second in 0..20 {
        if !bench.sent("b").is_empty() {
            repeated.push(second);
        }
        bench.seconds(1);
    }
    assert_eq!(repeated, [0, 1, 3, 7, 11, 15, 19]);
    assert!(!bench.node.is_settled());
    bench.hear("b", &Message::Ack(vec![header(&lsa("far", 4, &[]))]));
    assert!(!bench.node.is_settled(), "of an older one");
    bench.hear("b", &Message::Ack(vec![header(&far)]));
    assert!(bench.node.is_settled());
    bench.said.clear();
    bench.seconds(20);
    assert_eq!(bench.sent("b"), []);
}

#[test]
fn a_repeated_one_is_acknowledged_again() {
    let mut bench = Bench::new(&["a"]);
    for _ in 0..3 {
        bench.flood("a", &lsa("far", 5, &[]));
        assert_eq!(bench.acks("a"), 1, "the former acknowledgement may be lost");
    }
}

#[test]
fn what_a_neighbour_sends_itself_needs_no_acknowledgement_from_it() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.flood("a", &lsa("far", 5, &[]));
    bench.sent("b");
    bench.flood("b", &lsa("far", 5, &[]));
    assert_eq!(bench.acks("b"), 0);
    assert!(bench.node.is_settled());
}

#[test]
fn max_age_what_is_not_refreshed_is_dropped_and_nothing_older_is_taken_after() {
    let mut bench = Bench::new(&["a"]);
    bench.flood("a", &lsa("far", 5, &[]));
    bench.seconds(3_597);
    assert_eq!(bench.sequence("far"), Some(5));
    bench.seconds(3);
    assert_eq!(bench.sequence("far"), None);
    bench.flood("a", &lsa("far", 4, &[]));
    assert_eq!(bench.sequence("far"), None, "replayed");
    bench.flood("a", &lsa("far", 5, &[]));
    assert_eq!(bench.sequence("far"), Some(5), "a neighbour has it younger");
}

/// What was sent to a neighbour as too old, by originator and sequence.
fn told_too_old(bench: &Bench, to: &str) -> Vec<(String, u32)> {
    let flooded = bench.said.iter().filter(|(peer, _)| peer == to).flat_map(|(_, message)| match message {
        Message::Flood(flooded) => flooded.clone(),
        _ => Vec::new(),
    });
    let too_old = flooded.filter(|one| one.age == MAX_AGE).map(|one| peek(&one.octets).expect("own messages are read"));
    too_old.map(|(origin, version)| (origin.as_str().to_owned(), version.sequence)).collect()
}

#[test]
fn who_says_something_older_than_what_was_dropped_is_told_what_that_was() {
    let mut bench = Bench::new(&["a", "b"]);
    let mut last = lsa("far", 5, &[]);
    last.version.boot = 3;
    bench.flood("a", &last);
    bench.seconds(3_600);
    bench.said.clear();
    // It has lost its memory.
    bench.flood("a", &lsa("far", 1, &[]));
    assert_eq!((bench.find("far"), bench.acks("a")), (None, 1));
    assert_eq!((told_too_old(&bench, "a"), told_too_old(&bench, "b")), (sent(&[("far", 5)]), vec![]));
    bench.said.clear();
    bench.seconds(60);
    assert_eq!(told_too_old(&bench, "a"), [], "once for each time");
    for _ in 0..100 {
        bench.flood("a", &lsa("far", 1, &[]));
    }
    assert_eq!(told_too_old(&bench, "a"), sent(&[("far", 5)]), "a long answer to short messages, once a second");
    bench.said.clear();
    bench.seconds(1);
    bench.flood("a", &lsa("far", 1, &[]));
    assert_eq!(told_too_old(&bench, "a"), sent(&[("far", 5)]));
    last.version.sequence = 6;
    bench.flood("a", &last);
    assert_eq!(bench.sequence("far"), Some(6), "it has outbid that");
}

#[test]
fn what_a_neighbour_dropped_for_its_age_ends_what_is_older_and_is_passed_on() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    let mut last = lsa("far", 5, &[]);
    last.version.boot = 3;
    let mut forged = flooded(&last, 3_600);
    forged.tag[0] ^= 1;
    bench.flood("a", &lsa("far", 1, &[]));
    bench.hear("b", &Message::Flood(vec![forged]));
    assert_eq!(bench.sequence("far"), Some(1));
    bench.said.clear();
    bench.hear("b", &Message::Flood(vec![flooded(&last, 3_600)]));
    assert_eq!(bench.find("far"), None);
    let told = ["a", "b", "c"].map(|peer| told_too_old(&bench, peer));
    assert_eq!(told, [sent(&[("far", 5)]), vec![], sent(&[("far", 5)])]);
    bench.said.clear();
    bench.hear("c", &Message::Flood(vec![flooded(&last, 3_600)]));
    assert!(["a", "b", "c"].iter().all(|peer| told_too_old(&bench, peer).is_empty()), "it does not go round");
    bench.flood("c", &last);
    assert_eq!(bench.sequence("far"), Some(5), "a neighbour has it younger");
}

#[test]
fn max_age_counts_the_time_at_other_nodes_and_a_second_for_each_way() {
    let mut bench = Bench::new(&["a", "b"]);
    bench.hear("a", &Message::Flood(vec![flooded(&lsa("far", 5, &[]), 3_000)]));
    let passed = bench.said.iter().find_map(|(to, message)| match message {
        Message::Flood(flooded) if to == "b" => Some(flooded[0].age.as_secs()),
        _ => None,
    });
    assert_eq!(passed, Some(3_002));
    bench.seconds(598);
    assert_eq!(bench.sequence("far"), Some(5));
    bench.seconds(1);
    assert_eq!(bench.sequence("far"), None);
    bench.hear("a", &Message::Flood(vec![flooded(&lsa("old", 5, &[]), 3_599)]));
    assert_eq!((bench.sequence("old"), bench.acks("a")), (None, 2), "too old to begin with: acknowledged, so it ends");
}

#[test]
fn min_arrival_four_at_once_then_one_a_second_and_the_rest_comes_again() {
    let mut bench = Bench::new(&["a"]);
    for sequence in 1..=6 {
        bench.flood("a", &lsa("far", sequence, &[]));
    }
    assert_eq!((bench.sequence("far"), bench.acks("a")), (Some(4), 4));
    bench.seconds(1);
    bench.flood("a", &lsa("far", 6, &[]));
    assert_eq!((bench.sequence("far"), bench.acks("a")), (Some(6), 1));
    bench.flood("a", &lsa("other", 1, &[]));
    assert_eq!(bench.sequence("other"), Some(1), "originators do not share the limit");
}

#[test]
fn what_the_originator_did_not_make_is_dropped_and_not_passed_on() {
    let mut bench = Bench::new(&["a", "b"]);
    let mut forged = flooded(&lsa("far", 5, &[]), 0);
    forged.tag[0] ^= 1;
    bench.hear("a", &Message::Flood(vec![forged]));
    let mut changed = flooded(&lsa("far", 5, &[("x", 16)]), 0);
    let at = changed.octets.len() - 20;
    changed.octets[at] ^= 1;
    bench.hear("a", &Message::Flood(vec![changed]));
    assert_eq!((bench.sequence("far"), bench.acks("a"), bench.sent("b")), (None, 0, vec![]));
    assert!(bench.others.contains(&Output::Misbehaved { from: km("a"), what: Misbehaviour::Forged }));
    bench.flood("a", &lsa("far", 5, &[]));
    assert_eq!(bench.sequence("far"), Some(5), "forgeries do not use up the right to arrive");
}

#[test]
fn what_was_dropped_longest_ago_is_forgotten_first() {
    let limits = Limits { originators: 2, ..Limits::default() };
    let mut bench = Bench::with(Config { limits, ..Config::new(km("here")) }, &["a"]);
    for origin in ["z", "y", "x"] {
        bench.flood("a", &lsa(origin, 5, &[]));
        bench.seconds(3_600);
        assert_eq!(bench.sequence(origin), None);
    }
    // There is room for two that are gone.
    for (origin, sequence) in [("y", None), ("x", None), ("z", Some(4))] {
        bench.flood("a", &lsa(origin, 4, &[]));
        assert_eq!(bench.sequence(origin), sequence, "{origin}");
    }
}

#[test]
fn no_more_originators_than_there_is_room_for() {
    let limits = Limits { originators: 3, ..Limits::default() };
    let mut bench = Bench::with(Config { limits, ..Config::new(km("here")) }, &["a"]);
    for origin in ["x", "y", "z"] {
        bench.flood("a", &lsa(origin, 1, &[]));
    }
    assert_eq!(bench.node.advertisements().count(), 3);
    assert!(bench.others.contains(&Output::Misbehaved { from: km("a"), what: Misbehaviour::TooMany }));
    bench.flood("a", &lsa("y", 2, &[]));
    assert_eq!(bench.sequence("y"), Some(2), "who is known is still heard");
}

#[test]
fn strangers_and_nonsense_change_nothing() {
    let mut bench = Bench::new(&["a"]);
    bench.flood("stranger", &lsa("far", 5, &[]));
    bench.input(Input::Message { from: km("a"), octets: vec![1, 9, 9] });
    assert_eq!((bench.sequence("far"), bench.acks("stranger")), (None, 0));
    assert_eq!(bench.others, [Output::Misbehaved { from: km("a"), what: Misbehaviour::Malformed }]);
}

#[test]
fn database_exchange_says_what_is_here_and_sends_what_is_missing_there() {
    let mut bench = Bench::new(&["a"]);
    for origin in ["x", "y", "z"] {
        bench.flood("a", &lsa(origin, 3, &[]));
    }
    bench.input(Input::PeerUp { peer: km("b") });
    let digest = bench.said.iter().find_map(|(to, message)| match message {
        Message::Digest(digest) if to == "b" => Some(digest.clone()),
        _ => None,
    });
    assert!(digest.is_some(), "asked on connecting");

    // b has nothing yet: here tells all it has, and hears that b has nothing of it but an older z
    bench.said.clear();
    bench.hear("b", &Message::Digest(Box::new([0; lsdb::BUCKETS])));
    let said = bench.said.iter().find_map(|(to, message)| match message {
        Message::Headers(buckets) if to == "b" => Some(buckets.clone()),
        _ => None,
    });
    let said = said.expect("an answer");
    assert_eq!(said.iter().map(|(_, headers)| headers.len()).sum::<usize>(), 4, "with its own");
    let theirs = said
        .iter()
        .map(|(bucket, headers)| {
            let old = headers.iter().filter(|header| header.origin == km("z")).map(|_| header(&lsa("z", 2, &[])));
            (*bucket, old.collect())
        })
        .collect();
    bench.hear("b", &Message::Headers(theirs));
    let mut got = bench.sent("b");
    got.sort();
    assert_eq!(got, sent(&[("here", 1), ("x", 3), ("y", 3), ("z", 3)]));

    // a has the same: nothing to say
    bench.said.clear();
    let digest = Box::new(*bench.node.database.digest());
    bench.hear("a", &Message::Digest(digest));
    assert!(bench.said.contains(&("a".to_owned(), Message::Headers(Vec::new()))), "{:?}", bench.said);
}

#[test]
fn databases_are_compared_until_they_are_equal_then_seldom() {
    let mut bench = Bench::new(&["a"]);
    let digests = |bench: &mut Bench| {
        let number = bench.said.iter().filter(|(_, message)| matches!(message, Message::Digest(_))).count();
        bench.said.clear();
        number
    };
    bench.seconds(20);
    assert!((5..=7).contains(&digests(&mut bench)), "no answer: every 4 s");
    bench.hear("a", &Message::Headers(Vec::new()));
    bench.seconds(29);
    assert_eq!(digests(&mut bench), 0);
    bench.ms(1_500);
    assert_eq!(digests(&mut bench), 1);
}

#[test]
fn digests_that_come_too_fast_are_answered_together() {
    let mut bench = Bench::new(&["a"]);
    bench.said.clear();
    for _ in 0..100 {
        bench.hear("a", &Message::Digest(Box::new([0; lsdb::BUCKETS])));
        bench.ms(1);
    }
    bench.seconds(1);
    let answers = bench.said.iter().filter(|(_, message)| matches!(message, Message::Headers(_))).count();
    assert_eq!(answers, 2);
}
