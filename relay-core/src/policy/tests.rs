use itu_y3803::LinkId;

use super::*;
use crate::routing::{Constraints, Label, LinkAdvert};
use crate::shares::Sharing;

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

/// From the source over these nodes.
fn path(nodes: &[&str]) -> Vec<KmId> {
    std::iter::once(&"start").chain(nodes).map(|id| node(id)).collect()
}

fn shared(needed: u8, of: u8) -> Sharing {
    Sharing::new(needed, of).expect("possible")
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
    for terms in [
        Terms { smallest: size(257), largest: size(256), ..usual() },
        Terms { life: Duration::ZERO, ..usual() },
        Terms { short: WhenShort::Hybrid, ..usual() },
        Terms { short: WhenShort::Wait(Duration::ZERO), ..usual() },
    ] {
        assert!(Policy::new(Vec::new(), terms.clone()).is_err(), "{terms:?}");
    }
    let any = Ways::default;
    let hub = || BTreeSet::from([node("hub")]);
    for ways in [
        Ways { max_hops: Some(0), ..any() },
        Ways::shared(shared(1, 2)),
        Ways::shared(shared(1, 3)),
        Ways { nodes: Allowed::Except(hub()), required_nodes: hub(), ..any() },
        Ways { nodes: Allowed::Only([node("other")].into()), required_nodes: hub(), ..any() },
        Ways { sharing: shared(2, 2), required_nodes: hub(), ..any() },
        Ways { max_hops: Some(1), required_nodes: hub(), ..any() },
        Ways { labels: Allowed::Except([label("a")].into()), required_labels: [label("a")].into(), ..any() },
        Ways { labels: Allowed::Except([label(ITS_AUTHENTICATION)].into()), authentication: Authentication::Its, ..any() },
    ] {
        assert!(Policy::new(Vec::new(), Terms { ways: ways.clone(), ..usual() }).is_err(), "{ways:?}");
    }
    let hybrid = Terms { secrecy: SecrecyLabel::Hybrid, short: WhenShort::Hybrid, ..usual() };
    for terms in [usual(), hybrid] {
        assert!(Policy::new(Vec::new(), terms.clone()).is_ok(), "{terms:?}");
    }
    for ways in [
        Ways { nodes: Allowed::Only(hub()), required_nodes: hub(), max_hops: Some(2), ..any() },
        Ways { labels: Allowed::Only([label("a")].into()), required_labels: [label("b")].into(), ..any() },
        Ways::shared(shared(2, 2)),
    ] {
        assert!(Policy::new(Vec::new(), Terms { ways: ways.clone(), ..usual() }).is_ok(), "{ways:?}");
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
    Ways::default()
        .with_constraints(|constraints| assert_eq!(format!("{constraints:?}"), format!("{:?}", Constraints::default())));
    let hub = || BTreeSet::from([node("hub")]);
    let ways = Ways { max_hops: Some(3), nodes: Allowed::Only(hub()), required_nodes: hub(), ..Ways::default() };
    ways.with_constraints(|constraints| {
        assert_eq!((constraints.max_hops, constraints.via), (Some(3), Some(&hub())));
        let may = constraints.node.expect("nodes are constrained");
        assert!(may(&node("hub")) && !may(&node("other")));
        assert!(constraints.link.is_none());
    });
}

#[test]
fn links_have_the_labels_that_are_demanded() {
    let any = Ways::default;
    let set = |labels: &[&str]| labels.iter().map(|text| label(text)).collect::<BTreeSet<_>>();
    for (ways, labels, allowed) in [
        (Ways { labels: Allowed::Only(set(&["a", "b"])), ..any() }, &["b", "x"][..], true),
        (Ways { labels: Allowed::Only(set(&["a", "b"])), ..any() }, &["x"], false),
        (Ways { labels: Allowed::Only(set(&["a", "b"])), ..any() }, &[], false),
        (Ways { labels: Allowed::Except(set(&["a"])), ..any() }, &["x"], true),
        (Ways { labels: Allowed::Except(set(&["a"])), ..any() }, &["a", "x"], false),
        (Ways { required_labels: set(&["a", "b"]), ..any() }, &["a"], false),
        (Ways { required_labels: set(&["a", "b"]), ..any() }, &["a", "b", "x"], true),
        (Ways { authentication: Authentication::Its, ..any() }, &["a"], false),
        (Ways { authentication: Authentication::Its, ..any() }, &[ITS_AUTHENTICATION], true),
    ] {
        let advert = LinkAdvert {
            neighbour: node("hub"),
            link: LinkId::new("fibre").expect("valid"),
            cost: None,
            key_class: 0,
            rate_class: 0,
            labels: labels.iter().map(|text| label(text)).collect(),
        };
        let found = ways.with_constraints(|to| to.link.expect("links are constrained")(&advert));
        assert_eq!(found, allowed, "{labels:?}");
        assert_eq!(ways.allow_direct(&advert.labels), allowed, "{labels:?}");
    }
    assert!(!Ways { required_nodes: [node("hub")].into(), ..any() }.allow_direct(&[]), "no node is on a link");
}

#[test]
fn paths_are_as_demanded() {
    let any = Ways::default;
    let hub = || BTreeSet::from([node("hub")]);
    let two = || Ways::shared(shared(2, 2));
    for (ways, paths, found) in [
        (any(), vec![path(&["hub", "end"])], Ok(())),
        (any(), vec![], Err(Breach::Paths(0))),
        (any(), vec![path(&[])], Err(Breach::Hops(0))),
        (any(), vec![path(&["end"]), path(&["hub", "end"])], Err(Breach::Paths(2))),
        (Ways { max_hops: Some(1), ..any() }, vec![path(&["hub", "end"])], Err(Breach::Hops(2))),
        (Ways { nodes: Allowed::Except(hub()), ..any() }, vec![path(&["hub", "end"])], Err(Breach::Node(node("hub")))),
        (Ways { nodes: Allowed::Except(hub()), ..any() }, vec![path(&["hub"])], Ok(())),
        (Ways { required_nodes: hub(), ..any() }, vec![path(&["a", "end"])], Err(Breach::NotVia(node("hub")))),
        (Ways { required_nodes: hub(), ..any() }, vec![path(&["a", "hub", "end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["b", "end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["end"])], Ok(())),
        (two(), vec![path(&["a", "end"]), path(&["b", "a", "end"])], Err(Breach::Meet(node("a")))),
        (two(), vec![path(&["end"]), path(&["end"])], Err(Breach::Meet(node("end")))),
    ] {
        assert_eq!(ways.check_paths(&paths), found, "{paths:?}");
    }
}

/// Ways, each of which differs from the first in one thing.
fn all_kinds_of_ways() -> Vec<Ways> {
    let any = Ways::default;
    let nodes = |ids: &[&str]| ids.iter().map(|id| node(id)).collect::<BTreeSet<_>>();
    let labels = |texts: &[&str]| texts.iter().map(|text| label(text)).collect::<BTreeSet<_>>();
    vec![
        any(),
        Ways { max_hops: Some(2), ..any() },
        Ways { max_hops: Some(3), ..any() },
        Ways { nodes: Allowed::Only(nodes(&["a"])), ..any() },
        Ways { nodes: Allowed::Only(nodes(&["a", "b"])), ..any() },
        Ways { nodes: Allowed::Except(nodes(&["a"])), ..any() },
        Ways { nodes: Allowed::Except(nodes(&["a", "b"])), ..any() },
        Ways { required_nodes: nodes(&["a"]), ..any() },
        Ways { required_nodes: nodes(&["a", "b"]), ..any() },
        Ways { required_nodes: nodes(&["ab"]), ..any() },
        Ways { labels: Allowed::Only(labels(&["a"])), ..any() },
        Ways { labels: Allowed::Only(labels(&["a", "b"])), ..any() },
        Ways { labels: Allowed::Except(labels(&["a"])), ..any() },
        Ways { labels: Allowed::Except(labels(&["a", "b"])), ..any() },
        Ways { required_labels: labels(&["a"]), ..any() },
        Ways { required_labels: labels(&["a", "b"]), ..any() },
        Ways { authentication: Authentication::Its, ..any() },
    ]
}

#[test]
fn what_keeps_to_a_rule_keeps_to_milder_ones() {
    let kinds = all_kinds_of_ways();
    let covered: Vec<(usize, usize)> = (1..kinds.len())
        .flat_map(|at| (1..kinds.len()).map(move |other| (at, other)))
        .filter(|&(at, other)| at != other && kinds[at].cover(&kinds[other]))
        .collect();
    assert_eq!(covered, [(1, 2), (3, 4), (6, 5), (8, 7), (10, 11), (13, 12), (15, 14)]);
    for ways in &kinds {
        assert!(ways.cover(ways) && ways.cover(&Ways::default()), "{ways:?}");
        assert!(*ways == Ways::default() || !Ways::default().cover(ways), "{ways:?}");
    }
    let sharings = [(1, 1), (2, 2), (2, 3), (3, 3)].map(|(needed, of)| Ways::shared(shared(needed, of)));
    let covered: Vec<(usize, usize)> = (0..4)
        .flat_map(|at| (0..4).map(move |other| (at, other)))
        .filter(|&(at, other)| at != other && sharings[at].cover(&sharings[other]))
        .collect();
    assert_eq!(covered, [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)], "3 of 3 do not bear a path that fails, as 2 of 3 do");
}

#[test]
fn ways_have_one_name_each() {
    let kinds = all_kinds_of_ways();
    let names: BTreeSet<_> = kinds.iter().map(Ways::name).collect();
    assert_eq!(names.len(), kinds.len());
    assert_eq!(Ways::shared(shared(2, 3)).name(), None, "it is said beside the name");
    // The first 16 octets of SHA-256, computed by another program from the layout: the other end may be of another release.
    let name = kinds[3].name().expect("they are restricted");
    assert_eq!(name, "28abc30ee1ee4ed63138e2a74679d029");
}

#[test]
fn the_log_names_the_rule() {
    let terms = Terms {
        smallest: KeySize::BITS_256,
        largest: KeySize::BITS_256,
        ways: Ways::shared(shared(2, 3)),
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
