//! Routes from advertisements.

use std::collections::BTreeSet;

use itu_y3803::ApplicationId;
use proptest::prelude::*;

use super::*;

impl Bench {
    fn route(&mut self, to: &str) -> Route {
        self.node.route(self.now, &km(to), &Constraints::default())
    }

    fn first_hop_and_cost(&mut self, to: &str, constraints: &Constraints<'_>) -> (String, u32) {
        let Route::Path(path) = self.node.route(self.now, &km(to), constraints) else { panic!("reachable") };
        (path.hops[0].to.as_str().to_owned(), path.cost)
    }

    fn cost(&mut self, to: &str) -> Option<u32> {
        match self.route(to) {
            Route::Path(path) => Some(path.cost),
            _ => None,
        }
    }

    /// Tells what all nodes of a network say, links named `1`; `here` is one of them.
    fn network(links: &[(&str, &str, u16)]) -> Self {
        let mut names = BTreeSet::new();
        let mut all = Vec::new();
        for &(a, b, cost) in links {
            names.extend([a, b]);
            all.extend([(a, b, cost), (b, a, cost)]);
        }
        let of = |name: &str| -> Vec<_> { all.iter().filter(|link| link.0 == name).map(|link| (link.1, link.2)).collect() };
        let peers: Vec<_> = of("here").into_iter().map(|(peer, _)| peer).collect();
        // routes at once, whatever happened before
        let delays = SpfDelays { long: Duration::from_millis(50), ..SpfDelays::default() };
        let mut bench = Self::with(Config { delays, ..Config::new(km("here")) }, &peers);
        for (peer, _) in of("here") {
            bench.link(peer, "1", status(100));
        }
        for name in names.into_iter().filter(|&name| name != "here") {
            bench.flood(peers[0], &lsa(name, 1, &of(name)));
        }
        bench.seconds(6);
        bench
    }
}

#[test]
fn both_ends_have_to_advertise_a_link_and_the_worse_cost_counts() {
    let mut bench = Bench::new(&["a"]);
    bench.link("a", "1", status(100));
    bench.flood("a", &lsa("a", 1, &[]));
    bench.flood("a", &lsa("b", 1, &[("a", 16)]));
    bench.seconds(6);
    assert_eq!(bench.route("a"), Route::Unreachable(NoRoute::NoPath), "only this end");
    bench.flood("a", &lsa("a", 2, &[("here", 40)]));
    bench.seconds(6);
    assert_eq!(bench.cost("a"), Some(40));
    assert_eq!(bench.route("b"), Route::Unreachable(NoRoute::NoPath), "only the far end");
    bench.flood("a", &lsa("a", 3, &[("here", 40), ("b", 100)]));
    bench.seconds(6);
    assert_eq!(bench.cost("b"), Some(140));
    bench.flood("a", &lsa("b", 2, &[("a", 0)]));
    bench.seconds(6);
    assert_eq!(bench.route("b"), Route::Unreachable(NoRoute::NoPath), "not usable, says the far end");
}

#[test]
fn of_several_links_to_a_neighbour_the_best_is_taken() {
    let mut bench = Bench::new(&["a"]);
    bench.link("a", "1", status(100));
    bench.link("a", "2", status(100));
    let mut there = lsa("a", 1, &[("here", 100)]);
    there.links.push(advert("here", "2", 50));
    bench.flood("a", &there);
    bench.seconds(6);
    let Route::Path(path) = bench.route("a") else { panic!("reachable") };
    assert_eq!((path.hops[0].link.as_str(), path.cost), ("2", 50));
    bench.link("a", "2", LinkStatus { up: false, ..status(0) });
    bench.seconds(6);
    let Route::Path(path) = bench.route("a") else { panic!("reachable") };
    assert_eq!((path.hops[0].link.as_str(), path.cost), ("1", 100));
}

#[test]
fn unreachable_is_refused_with_a_reason() {
    let mut bench = Bench::network(&[("here", "a", 16), ("a", "b", 16), ("c", "d", 16)]);
    assert_eq!(bench.route("nobody"), Route::Unreachable(NoRoute::Unknown));
    assert_eq!(bench.route("c"), Route::Unreachable(NoRoute::NoPath));
    let near = Constraints { max_hops: Some(1), ..Constraints::default() };
    assert_eq!(bench.node.route(bench.now, &km("b"), &near), Route::Unreachable(NoRoute::Constraints));
    assert_eq!(bench.route("here"), Route::Path(Path { hops: Vec::new(), cost: 0 }));
}

#[test]
fn constraints_on_hops_nodes_and_links_are_kept() {
    let ring = [("here", "a", 16), ("a", "b", 16), ("b", "far", 16), ("here", "c", 16), ("c", "far", 100)];
    let mut bench = Bench::network(&ring);
    let mut hops = |constraints: &Constraints<'_>| match bench.node.route(bench.now, &km("far"), constraints) {
        Route::Path(path) => path.hops.iter().map(|hop| hop.to.as_str().to_owned()).collect(),
        _ => vec![],
    };
    assert_eq!(hops(&Constraints::default()), ["a", "b", "far"]);
    assert_eq!(hops(&Constraints { max_hops: Some(2), ..Constraints::default() }), ["c", "far"]);
    let not_b = |node: &KmId| *node != km("b") && *node != km("far");
    assert_eq!(hops(&Constraints { node: Some(&not_b), ..Constraints::default() }), ["c", "far"], "the ends are not asked for");
    for (via, found) in
        [(&["c"][..], &["c", "far"][..]), (&["b"], &["a", "b", "far"]), (&["a", "b"], &["a", "b", "far"]), (&["a", "c"], &[])]
    {
        let via = via.iter().map(|node| km(node)).collect();
        assert_eq!(hops(&Constraints { via: Some(&via), ..Constraints::default() }), found, "{via:?}");
    }
    let cheap = |link: &LinkAdvert| link.cost < Cost::new(50) && link.neighbour != km("b");
    assert_eq!(hops(&Constraints { link: Some(&cheap), ..Constraints::default() }), Vec::<String>::new());
}

#[test]
fn of_several_links_between_two_nodes_all_have_to_be_as_wanted() {
    let mut bench = Bench::network(&[("here", "a", 16), ("a", "far", 16), ("here", "b", 16), ("b", "far", 100)]);
    let good = |link: &LinkAdvert| link.link != self::link("2");
    let wanted = Constraints { link: Some(&good), ..Constraints::default() };
    assert_eq!(bench.first_hop_and_cost("far", &wanted), ("a".to_owned(), 32));
    // A relay may take key of either.
    let mut both = lsa("a", 2, &[("here", 16), ("far", 16)]);
    both.links.insert(1, LinkAdvert { cost: None, ..advert("far", "2", 16) });
    bench.flood("a", &both);
    bench.seconds(20);
    assert_eq!(bench.first_hop_and_cost("far", &wanted), ("b".to_owned(), 116));
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), ("a".to_owned(), 32));
}

#[test]
fn a_link_with_more_labels_than_can_be_said_is_not_used() {
    for (labels, usable) in [(8, true), (9, false)] {
        let mut bench = Bench::network(&[("here", "a", 16)]);
        let labels = (0..labels).map(|number| Label::new(&format!("label {number}")).expect("valid")).collect();
        bench.input(Input::Link { neighbour: km("a"), link: link("1"), status: status(100), labels });
        bench.seconds(20);
        assert_eq!(matches!(bench.route("a"), Route::Path(_)), usable);
    }
}

#[test]
fn a_new_route_is_held_until_it_breaks_whatever_others_cost() {
    let mut bench = Bench::network(&[("here", "a", 16), ("a", "far", 16), ("here", "b", 16), ("b", "far", 16)]);
    let (used, _) = bench.first_hop_and_cost("far", &Constraints::default());
    let other = if used == "a" { "b" } else { "a" };
    bench.flood("a", &lsa(&used, 2, &[("here", 16), ("far", 100)]));
    bench.seconds(9);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), (used.clone(), 116));
    bench.seconds(1);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), (other.to_owned(), 32));
    bench.flood("a", &lsa(other, 2, &[("here", 16)]));
    bench.seconds(1);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), (used, 116), "broken");
}

#[test]
fn a_route_that_is_no_longer_new_is_left_when_another_is_much_better() {
    let mut bench = Bench::network(&[("here", "a", 16), ("a", "far", 16), ("here", "b", 16), ("b", "far", 80)]);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), ("a".to_owned(), 32));
    bench.seconds(13);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), ("a".to_owned(), 32), "chosen again");
    bench.flood("a", &lsa("a", 2, &[("here", 16), ("far", 99)]));
    bench.seconds(1);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), ("a".to_owned(), 115), "not 20 % more than 96");
    bench.flood("a", &lsa("a", 3, &[("here", 16), ("far", 100)]));
    bench.seconds(1);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()), ("b".to_owned(), 96), "116 is");
}

#[test]
fn a_way_around_a_hop_is_held_when_the_hop_is_free_again() {
    let mut bench = Bench::network(&[("here", "a", 16), ("a", "far", 16), ("here", "b", 16), ("b", "far", 17)]);
    let not_a = |_: &KmId, to: &KmId| *to != km("a");
    let around = Constraints { hop: Some(&not_a), ..Constraints::default() };
    assert_eq!(bench.first_hop_and_cost("far", &around).0, "b");
    bench.flood("a", &lsa("b", 2, &[("here", 16), ("far", 50)]));
    bench.seconds(9);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()).0, "b");
    bench.seconds(4);
    assert_eq!(bench.first_hop_and_cost("far", &Constraints::default()).0, "a");
}

#[test]
fn applications_are_found_where_they_are_said_to_be() {
    let mut bench = Bench::new(&["a"]);
    let red = ApplicationId::new("red").expect("valid");
    for (origin, sequence, serves) in [("a", 1, true), ("b", 1, true), ("a", 2, false)] {
        let applications = if serves { vec![red.clone()] } else { vec![] };
        bench.flood("a", &Lsa { applications, ..lsa(origin, sequence, &[]) });
    }
    assert_eq!(bench.node.homes(&red).collect::<Vec<_>>(), [&km("b")]);
    bench.input(Input::Applications([red.clone()].into()));
    bench.seconds(10);
    assert_eq!(bench.node.homes(&red).count(), 2);
    assert_eq!(bench.own().applications, [red]);
}

#[test]
fn a_static_table_is_a_router_too() {
    let hop = |to: &str| Hop { link: link("1"), to: km(to) };
    let mut table = StaticTable::default();
    table.add(Path { hops: vec![hop("a"), hop("far")], cost: 2 });
    table.add(Path { hops: vec![hop("b"), hop("c"), hop("far")], cost: 3 });
    let now = Instant::now();
    let mut cost = |constraints: &Constraints<'_>| match table.route(now, &km("far"), constraints) {
        Route::Path(path) => Ok(path.cost),
        Route::Unreachable(why) => Err(why),
        Route::Pending => unreachable!("it is all here"),
    };
    let (not_a, not_c) = (|node: &KmId| *node != km("a"), |node: &KmId| !["a", "c"].contains(&node.as_str()));
    assert_eq!(cost(&Constraints::default()), Ok(2));
    assert_eq!(cost(&Constraints { node: Some(&not_a), ..Constraints::default() }), Ok(3));
    assert_eq!(cost(&Constraints { node: Some(&not_c), ..Constraints::default() }), Err(NoRoute::Constraints));
    assert_eq!(table.route(now, &km("b"), &Constraints::default()), Route::Unreachable(NoRoute::Unknown));
}

/// All simple paths, by trying.
fn all_paths(links: &[(usize, usize, u16)], to: usize) -> Vec<(u32, Vec<usize>)> {
    let mut found = Vec::new();
    let mut open = vec![(0, vec![0])];
    while let Some((cost, nodes)) = open.pop() {
        let at = *nodes.last().expect("begins at 0");
        if at == to {
            found.push((cost, nodes));
            continue;
        }
        for &(a, b, step) in links {
            for (from, next) in [(a, b), (b, a)] {
                if from == at && !nodes.contains(&next) {
                    open.push((cost + u32::from(step), [&nodes[..], &[next]].concat()));
                }
            }
        }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn paths_are_those_that_trying_all_finds(
        drawn in prop::collection::vec((0_usize..7, 0_usize..7, 16_u16..40), 4..14),
        hops in 1_usize..6,
        forbidden in 1_usize..7,
    ) {
        const NAMES: [&str; 7] = ["here", "a", "b", "c", "d", "e", "f"];
        let mut links: Vec<(usize, usize, u16)> = vec![(0, 1, 16)];
        for (a, b, cost) in drawn {
            if a != b && !links.iter().any(|&(c, d, _)| (a, b) == (c, d) || (a, b) == (d, c)) {
                links.push((a, b, cost));
            }
        }
        let named: Vec<_> = links.iter().map(|&(a, b, cost)| (NAMES[a], NAMES[b], cost)).collect();
        let bench = Bench::network(&named);
        let may = |node: &KmId| node.as_str() != NAMES[forbidden];
        for (to, name) in NAMES.iter().enumerate().skip(1) {
            let all = all_paths(&links, to);
            for constraints in [
                Constraints::default(),
                Constraints { max_hops: Some(hops), ..Constraints::default() },
                Constraints { node: Some(&may), ..Constraints::default() },
                Constraints { max_hops: Some(hops), node: Some(&may), ..Constraints::default() },
            ] {
                let between = |nodes: &[usize]| nodes[1..nodes.len() - 1].contains(&forbidden);
                let allowed: Vec<_> = all
                    .iter()
                    .filter(|(_, nodes)| constraints.max_hops.is_none_or(|most| nodes.len() - 1 <= most))
                    .filter(|(_, nodes)| constraints.node.is_none() || !between(nodes))
                    .collect();
                let best = allowed.first().map_or(0, |path| path.0);
                let good: Vec<_> = allowed.iter().map(|path| path.0).filter(|cost| cost * 100 <= best * 110).collect();
                let found: Vec<_> =
                    bench.node.good_paths(&km(name), 1_000, &constraints).iter().map(|path| path.cost).collect();
                prop_assert_eq!(&found, &good, "{:?} to {} in {:?}", constraints, to, links);
            }
            // two paths without a common node
            let mut pair = None;
            for (at, (cost, nodes)) in all.iter().enumerate() {
                for (other_cost, other) in &all[at + 1..] {
                    if !nodes[1..nodes.len() - 1].iter().any(|node| other.contains(node)) {
                        pair = Some(pair.unwrap_or(u32::MAX).min(cost + other_cost));
                    }
                }
            }
            let found = bench.node.disjoint_paths(&km(name), 2, &Constraints::default());
            prop_assert_eq!(found.len(), if pair.is_some() { 2 } else { usize::from(!all.is_empty()) });
            if let Some(pair) = pair {
                prop_assert_eq!(found.iter().map(|path| path.cost).sum::<u32>(), pair, "to {} in {:?}", to, links);
            }
        }
    }
}
