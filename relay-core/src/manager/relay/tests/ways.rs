//! Ways that policy demands: at both ends, and whatever the other end and the router say.

use std::sync::Arc;

use itu_y3803::message::SupplyNotification;
use itu_y3803::{ApplicationId, Parties, Paths, SecrecyLabel};

use super::*;
use crate::block::{BlockInfo, SupplyBlock};
use crate::manager::LinkAuthentication;
use crate::policy::Allowed;
use crate::routing::Label;

fn not_over(node: &str) -> Ways {
    Ways { nodes: Allowed::Except([km(node)].into()), ..Ways::default() }
}

fn app(id: &str) -> ApplicationId {
    ApplicationId::new(id).expect("valid")
}

/// Red is here, blue at east, and green is far.
fn bench_under(ways: impl Into<Vec<Ways>>, settings: impl FnOnce(&mut Config)) -> Bench<impl RandomSource> {
    bench_with(|config| {
        config.policy = Some(with_pools_for(&ways.into()));
        config.applications = [("red", "here"), ("blue", "east"), ("green", "far")].map(|(id, at)| (app(id), km(at))).into();
        settings(config);
    })
}

fn complaint(outputs: &[Output]) -> Option<Misbehaviour> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::Misbehaviour { what, .. }) => Some(*what),
        _ => None,
    })
}

impl<R: RandomSource> Bench<R> {
    /// A block from there for red, under this key; the tag is not right, which is seen last.
    fn hear_of_block(&mut self, from: &str, master: &str, link: LinkId, pad: KeyId) -> Vec<Output> {
        let told = SupplyNotification {
            block: life(from).key_id(2),
            parties: Parties::new(app(master), vec![app("red")]).expect("distinct"),
            label: SecrecyLabel::ItsRelay,
            created: self.now.wall,
            expires: self.soon(),
            link,
            pad,
            sealed: vec![0; 64],
            tag: [1; 16],
        };
        self.hear(from, Body::SupplyNotification(told))
    }
}

#[test]
fn key_for_a_pool_is_announced_over_ways_that_are_its_own() {
    let ways = [Ways::default(), not_over("west")];
    let pool = pool_name(&km("here"), &km("far"), &ways[1]).expect("short names");
    for (way, found) in [(&["far", "east", "here"][..], None), (&["far", "west", "here"], Some(Misbehaviour::WayNotAllowed))] {
        let mut bench = bench_under(ways.clone(), |_| {});
        let announcement = RelayAnnouncement { pool: pool.clone(), ..bench.announcement(&[way]) };
        assert_eq!(complaint(&bench.announce(life("far").key_id(1_000), announcement)), found, "{way:?}");
    }
    // Of nobody's pool, or another's.
    let mut bench = bench_under(ways.clone(), |_| {});
    for other in [link("far"), link("east"), pool_name(&km("here"), &km("far"), &not_over("east")).expect("short names")] {
        let announcement = RelayAnnouncement { pool: other, ..bench.announcement(&[&WAY]) };
        assert_eq!(complaint(&bench.announce(life("far").key_id(1_000), announcement)), Some(Misbehaviour::ForeignLink));
    }
}

#[test]
fn a_key_that_is_announced_for_a_second_pool_stays_that_of_the_first() {
    let ways = [Ways::default(), not_over("east")];
    let mut bench = bench_under(ways.clone(), |_| {});
    let key = life("far").key_id(1_000);
    bench.announce(key, bench.announcement(&[&WAY]));
    let pool = pool_name(&km("here"), &km("far"), &ways[1]).expect("short names");
    bench.announce(key, RelayAnnouncement { pool, ..bench.announcement(&[&WAY]) });
    assert!(bench.relay(key, &WAY));
    let pool = pool_name(&km("here"), &km("far"), &ways[1]).expect("short names");
    bench.announce(key, RelayAnnouncement { pool, ..bench.announcement(&[&WAY]) });
    assert!(!bench.relay(key, &WAY), "it has come already");
    assert_eq!(bench.stored(Pool::Incoming, key).map(|key| key.link), Some(super::pool("far", Sharing::ONE)));
}

#[test]
fn a_block_under_key_that_took_another_way_than_the_rules_here_demand_is_not_taken() {
    for (ways, found) in [
        (Ways::default(), Misbehaviour::WrongTag),
        (not_over("west"), Misbehaviour::WrongTag),
        (Ways { required_nodes: [km("west")].into(), ..Ways::default() }, Misbehaviour::WayNotAllowed),
        (
            Ways { required_labels: [Label::new("own fibre").expect("valid")].into(), ..Ways::default() },
            Misbehaviour::WayNotAllowed,
        ),
    ] {
        let mut bench = bench_under([ways.clone()], |_| {});
        let (pad, _) = bench.incoming("east");
        let outputs = bench.hear_of_block("east", "blue", link("east"), pad);
        assert_eq!(complaint(&outputs), Some(found), "{ways:?}: {outputs:?}");
    }
}

#[test]
fn a_block_under_relayed_key_is_taken_when_its_pool_keeps_to_the_rules_here() {
    let (mild, strict) = (Ways { max_hops: Some(3), ..Ways::default() }, Ways { max_hops: Some(2), ..Ways::default() });
    for (here, of_pool, found) in [
        (&mild, &mild, Misbehaviour::WrongTag),
        (&mild, &strict, Misbehaviour::WrongTag),
        (&strict, &mild, Misbehaviour::WayNotAllowed),
    ] {
        let mut bench = bench_under([here.clone(), of_pool.clone()], |_| {});
        let pool = pool_name(&km("here"), &km("far"), of_pool).expect("short names");
        let (key, before) = (life("far").key_id(1_000), bench.announcement(&[&WAY]));
        bench.announce(key, RelayAnnouncement { pool: pool.clone(), ..before });
        assert!(bench.relay(key, &WAY));
        let outputs = bench.hear_of_block("far", "green", pool, key);
        assert_eq!(complaint(&outputs), Some(found), "{of_pool:?} where {here:?} is demanded: {outputs:?}");
    }
}

#[test]
fn nothing_is_relayed_over_a_link_of_this_node_that_a_rule_forbids() {
    let leased = Label::new("leased").expect("valid");
    let ways = Ways { labels: Allowed::Except([leased.clone()].into()), ..Ways::default() };
    let pool = pool_name(&km("here"), &km("far"), &ways).expect("short names");
    for (by, goes) in [("west", false), ("east", true)] {
        let mut bench = bench_under([ways.clone()], |config| config.links[0].labels = vec![leased.clone()]);
        bench.outgoing(by, 4);
        let outputs = bench.input(Input::Route { pool: pool.clone(), paths: vec![path(&["here", by, "far"])] });
        let reserved = steps(outputs, by).iter().any(|step| matches!(step, RelayStep::Reserve(_)));
        assert_eq!(reserved, goes && bench.manager.links[&pool].relayed.is_some(), "{by}");
        assert_eq!(bench.manager.links[&pool].is_unreachable(), !goes, "{by}");
        // Nor taken from there.
        let announcement = RelayAnnouncement { pool: pool.clone(), ..bench.announcement(&[&["far", by, "here"]]) };
        let complaint = complaint(&bench.announce(life("far").key_id(1_000), announcement));
        assert_eq!(complaint, (!goes).then_some(Misbehaviour::WayNotAllowed), "{by}");
    }
}

#[test]
fn what_is_ready_goes_when_a_node_that_its_key_passed_is_not_trusted_any_more() {
    let parties = Parties::new(app("red"), vec![app("green")]).expect("distinct");
    for (ways, ready) in [(Ways::default(), true), (not_over("east"), true), (not_over("west"), false)] {
        let bench = bench_under([ways.clone()], |_| {});
        let (mut store, now) = (MemoryStore::default(), bench.now);
        let info = BlockInfo {
            id: life("west").key_id(2),
            parties: Arc::new(parties.clone()),
            label: SecrecyLabel::ItsRelay,
            paths: Paths::new(vec![path(&["here", "west", "far"])]),
            created: now.wall,
            expires: WallTime::NEVER,
        };
        let block = SupplyBlock { info, homes: vec![km("far")], next: 0, material: material(1) };
        store.put(StoredKey::Supply(block)).expect("a store in memory does not fail");
        store.commit().expect("a store in memory does not fail");
        let random = |out: &mut [u8]| out.fill(7);
        let manager = KeyManager::open(bench.manager.config.clone(), store, random, now).expect("as before");
        assert_eq!(manager.keys_ready(&parties, KeySize::BITS_256) > 0, ready, "{ways:?}");
    }
}

#[test]
fn a_key_for_many_tags_that_nobody_answers_to_is_replaced() {
    let mut bench = bench_under([Ways::default()], |config| config.links[0].authentication = LinkAuthentication::Hmac);
    bench.outgoing("west", 8);
    let mut keys = Vec::new();
    for _ in 0..4 {
        bench.start(Sharing::ONE, &["west"]);
        let link = &bench.manager.links[&link("west")];
        keys.push(link.tag_keys.begun(None).expect("it was used"));
        // Its copy may be another one; then the neighbour says nothing.
        bench.after(bench.manager.config.give_up * 7);
    }
    keys.dedup();
    assert_eq!(keys.len(), 4, "{keys:?}");
}
