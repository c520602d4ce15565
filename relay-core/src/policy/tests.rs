use itu_y3803::LinkId;

use super::*;
use crate::routing::{Hop, Label};

fn application(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

fn node(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

fn label(label: &str) -> Label {
    Label::new(label).expect("valid")
}

fn rule(name: &str, master: &str, slave: &str, terms: Terms) -> Rule {
    let pattern = |pattern| Pattern::new(pattern).expect("valid");
    Rule::new(name, pattern(master), pattern(slave), terms).expect("consistent")
}

fn policy(terms: Terms) -> Policy {
    Policy::new(Vec::new(), terms).expect("consistent")
}

/// From the source over these nodes; links are named after where they lead.
fn path(nodes: &[&str]) -> Path {
    let hop = |to: &&str| Hop { link: LinkId::new(to).expect("valid"), to: node(to) };
    Path { hops: nodes.iter().map(hop).collect(), cost: 1 }
}

#[test]
fn the_first_rule_that_fits_both_ids_counts() {
    let rules = vec![
        rule("one pair", "red", "blue", Terms::default()),
        rule("from red", "red", "*", Terms::default()),
        rule("colours", "*e*", "*e*", Terms::default()),
    ];
    let policy = Policy::new(rules, Terms::default()).expect("consistent");
    for (master, slave, name) in [
        ("red", "blue", "one pair"),
        ("red", "grey", "from red"),
        ("blue", "red", "colours"),
        ("blue", "pink", "default"),
        ("pink", "blue", "default"),
    ] {
        assert_eq!(policy.decide(&application(master), &application(slave)).rule(), name, "{master} and {slave}");
    }
}

#[test]
fn another_slave_does_not_lead_round_a_rule() {
    let strict = Terms { smallest: KeySize::BITS_256, ..Terms::default() };
    let policy = Policy::new(vec![rule("strict", "red", "blue", strict)], Terms::default()).expect("consistent");
    let parties = Parties::new(application("red"), vec![application("grey"), application("blue")]).expect("distinct");
    let small = KeySize::from_bits(128).expect("not zero");
    let found: Vec<_> = policy.decide_each(&parties).map(|each| (each.rule(), each.check_size(small))).collect();
    assert_eq!(found, [("strict", Err(Breach::Size(small))), ("default", Ok(()))]);
}

#[test]
fn names_are_told_apart() {
    let twice = vec![rule("a", "x", "*", Terms::default()), rule("a", "y", "*", Terms::default())];
    assert!(Policy::new(twice, Terms::default()).is_err());
    assert!(Policy::new(vec![rule("default", "x", "*", Terms::default())], Terms::default()).is_err());
    assert!(Rule::new("", Pattern::any(), Pattern::any(), Terms::default()).is_err());
    assert!(Rule::new("two\nlines", Pattern::any(), Pattern::any(), Terms::default()).is_err());
}

#[test]
fn terms_that_contradict_each_other_make_no_rule() {
    let usual = Terms::default;
    let size = |bits| KeySize::from_bits(bits).expect("not zero");
    let hub = || BTreeSet::from([node("hub")]);
    for terms in [
        Terms { smallest: size(257), largest: size(256), ..usual() },
        Terms { life: Duration::ZERO, ..usual() },
        Terms { max_hops: Some(0), ..usual() },
        Terms { shares: Shares::Xor { paths: 1 }, ..usual() },
        Terms { shares: Shares::Threshold { needed: 1, paths: 3 }, ..usual() },
        Terms { shares: Shares::Threshold { needed: 4, paths: 3 }, ..usual() },
        Terms { nodes: Allowed::Except(hub()), required_nodes: hub(), ..usual() },
        Terms { nodes: Allowed::Only([node("other")].into()), required_nodes: hub(), ..usual() },
        Terms { shares: Shares::Xor { paths: 2 }, required_nodes: hub(), ..usual() },
        Terms { max_hops: Some(1), required_nodes: hub(), ..usual() },
        Terms { labels: Allowed::Except([label("a")].into()), required_labels: [label("a")].into(), ..usual() },
        Terms { labels: Allowed::Except([label(ITS_AUTHENTICATION)].into()), authentication: Authentication::Its, ..usual() },
        Terms { short: WhenShort::Hybrid, ..usual() },
        Terms { short: WhenShort::Wait(Duration::ZERO), ..usual() },
    ] {
        assert!(Policy::new(Vec::new(), terms.clone()).is_err(), "{terms:?}");
    }
    for terms in [
        usual(),
        Terms { secrecy: SecrecyLabel::Hybrid, short: WhenShort::Hybrid, ..usual() },
        Terms { nodes: Allowed::Only(hub()), required_nodes: hub(), max_hops: Some(2), ..usual() },
        Terms { labels: Allowed::Only([label("a")].into()), required_labels: [label("b")].into(), ..usual() },
        Terms { shares: Shares::Threshold { needed: 2, paths: 2 }, ..usual() },
    ] {
        assert!(Policy::new(Vec::new(), terms.clone()).is_ok(), "{terms:?}");
    }
}

#[test]
fn sizes_labels_and_life_are_as_demanded() {
    let size = |bits| KeySize::from_bits(bits).expect("not zero");
    let policy = policy(Terms {
        smallest: size(128),
        largest: size(256),
        life: Duration::from_secs(60),
        secrecy: SecrecyLabel::Hybrid,
        ..Terms::default()
    });
    let (red, blue) = (application("red"), application("blue"));
    let decision = policy.decide(&red, &blue);
    for (bits, allowed) in [(127, false), (128, true), (256, true), (257, false)] {
        assert_eq!(decision.check_size(size(bits)).is_ok(), allowed, "{bits} bits");
    }
    assert_eq!(decision.check_label(SecrecyLabel::ItsRelay), Ok(()));
    assert_eq!(decision.check_label(SecrecyLabel::Hybrid), Ok(()));
    assert_eq!(decision.check_label(SecrecyLabel::Computational), Err(Breach::Label(SecrecyLabel::Computational)));
    assert_eq!(decision.expires(WallTime::from_millis(5)), WallTime::from_millis(60_005));
}

#[test]
fn waiting_ends() {
    let (red, blue) = (application("red"), application("blue"));
    let seconds = Duration::from_secs;
    let wait = policy(Terms { short: WhenShort::Wait(seconds(2)), ..Terms::default() });
    let wait = wait.decide(&red, &blue);
    assert_eq!(wait.when_short(Duration::ZERO), Shortage::Wait(seconds(2)));
    assert_eq!(wait.when_short(seconds(2)), Shortage::Refuse);
    assert_eq!(wait.when_short(Duration::MAX), Shortage::Refuse);
    assert_eq!(policy(Terms::default()).decide(&red, &blue).when_short(Duration::ZERO), Shortage::Refuse);
    let hybrid = policy(Terms { secrecy: SecrecyLabel::Hybrid, short: WhenShort::Hybrid, ..Terms::default() });
    assert_eq!(hybrid.decide(&red, &blue).when_short(seconds(9)), Shortage::Hybrid);
}

#[test]
fn the_router_is_asked_for_no_more_than_is_demanded() {
    let (red, blue) = (application("red"), application("blue"));
    policy(Terms::default()).decide(&red, &blue).with_constraints(|constraints| {
        assert!(constraints.max_hops.is_none() && constraints.node.is_none() && constraints.link.is_none());
    });
    let terms = Terms { max_hops: Some(3), nodes: Allowed::Only([node("hub")].into()), ..Terms::default() };
    policy(terms).decide(&red, &blue).with_constraints(|constraints| {
        assert_eq!(constraints.max_hops, Some(3));
        let may = constraints.node.expect("nodes are constrained");
        assert!(may(&node("hub")) && !may(&node("other")));
    });
}

#[test]
fn links_have_the_labels_that_are_demanded() {
    let (red, blue) = (application("red"), application("blue"));
    let usual = Terms::default;
    let set = |labels: &[&str]| labels.iter().map(|text| label(text)).collect::<BTreeSet<_>>();
    for (terms, labels, allowed) in [
        (Terms { labels: Allowed::Only(set(&["a", "b"])), ..usual() }, &["b", "x"][..], true),
        (Terms { labels: Allowed::Only(set(&["a", "b"])), ..usual() }, &["x"], false),
        (Terms { labels: Allowed::Only(set(&["a", "b"])), ..usual() }, &[], false),
        (Terms { labels: Allowed::Except(set(&["a"])), ..usual() }, &["x"], true),
        (Terms { labels: Allowed::Except(set(&["a"])), ..usual() }, &["a", "x"], false),
        (Terms { required_labels: set(&["a", "b"]), ..usual() }, &["a"], false),
        (Terms { required_labels: set(&["a", "b"]), ..usual() }, &["a", "b", "x"], true),
        (Terms { authentication: Authentication::Its, ..usual() }, &["a"], false),
        (Terms { authentication: Authentication::Its, ..usual() }, &[ITS_AUTHENTICATION], true),
    ] {
        let advert = LinkAdvert {
            neighbour: node("hub"),
            link: LinkId::new("fibre").expect("valid"),
            cost: None,
            key_class: 0,
            rate_class: 0,
            labels: labels.iter().map(|text| label(text)).collect(),
        };
        let found = policy(terms).decide(&red, &blue).with_constraints(|to| to.link.expect("links are constrained")(&advert));
        assert_eq!(found, allowed, "{labels:?}");
    }
}

#[test]
fn paths_are_as_demanded() {
    let (red, blue) = (application("red"), application("blue"));
    let usual = Terms::default;
    let hub = || BTreeSet::from([node("hub")]);
    let two = || Terms { shares: Shares::Xor { paths: 2 }, ..usual() };
    for (terms, paths, found) in [
        (usual(), vec![path(&["hub", "end"])], Ok(())),
        (usual(), vec![], Err(Breach::Paths(0))),
        (usual(), vec![path(&["end"]), path(&["hub", "end"])], Err(Breach::Paths(2))),
        (Terms { max_hops: Some(1), ..usual() }, vec![path(&["hub", "end"])], Err(Breach::Hops(2))),
        (Terms { nodes: Allowed::Except(hub()), ..usual() }, vec![path(&["hub", "end"])], Err(Breach::Node(node("hub")))),
        (Terms { nodes: Allowed::Except(hub()), ..usual() }, vec![path(&["hub"])], Ok(())),
        (Terms { required_nodes: hub(), ..usual() }, vec![path(&["a", "end"])], Err(Breach::NotVia(node("hub")))),
        (Terms { required_nodes: hub(), ..usual() }, vec![path(&["a", "hub", "end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["b", "end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["b", "a", "end"])], Err(Breach::Meet(node("a")))),
        (two(), vec![path(&["end"]), path(&["end"])], Err(Breach::Meet(node("end")))),
    ] {
        assert_eq!(policy(terms).decide(&red, &blue).check_paths(&paths), found, "{paths:?}");
    }
}

#[test]
fn the_log_names_the_rule() {
    let terms = Terms {
        smallest: KeySize::BITS_256,
        largest: KeySize::BITS_256,
        shares: Shares::Threshold { needed: 2, paths: 3 },
        short: WhenShort::Wait(Duration::from_secs(2)),
        ..Terms::default()
    };
    let policy = Policy::new(vec![rule("banks", "bank-*", "*", terms)], Terms::default()).expect("consistent");
    assert_eq!(
        policy.decide(&application("bank-1"), &application("b\"")).to_string(),
        "rule \"banks\" for \"bank-1\" and \"b\\\"\": 256 to 256 bits, life 14400 s, at least its-relay, 2 of 3 paths, \
         waits 2000 ms when short"
    );
}
