//! Networks of routing engines on one event queue, from a seed: messages are lost, late, repeated, reordered, corrupted; links and
//! connections fail and come back; nodes crash and restart, with their boot counter or without; clocks differ and drift.
//!
//! After the last advertisement that anybody makes, all databases of a connected part are equal within diameter x hop delay plus
//! 1 s plus retransmission. In the end: nothing is flooded any more, no route leads over a dead link or node, everything that is
//! connected is reachable, and distances are those that petgraph finds.
//!
//! What it is known to catch, by breaking the code once: a lower sequence is accepted; what is known is passed on again (it never
//! ends); an advertisement of one's own from before a restart is not outbid; nothing is repeated; databases are not exchanged on
//! connecting; a link counts that only one end advertises, or at the better cost; a route is kept over a dead link, or not held
//! at all; always the first of equal paths is taken.
//!
//! `SEEDS=100000 cargo test --release -p qkms-relay-core --test routing_simulation -- --nocapture` runs so many; `SEED=17` runs one and tells
//! its story.

mod routing_world;

use std::time::Duration;

use relay_core::routing::{FillMetric, HopCount, LinkStatus, Route};
use routing_world::{NOBEL_GERMANY, World, km};

#[test]
fn after_any_faults_all_agree_and_no_route_is_dead() {
    if let Some(seed) = number("SEED") {
        println!("{:?}", World::random(seed, true).run());
        return;
    }
    let seeds = number("SEEDS").unwrap_or(if cfg!(debug_assertions) { 500 } else { 5_000 });
    let mut total = routing_world::Report::default();
    for seed in 0..seeds {
        match std::panic::catch_unwind(|| World::random(seed, false).run()) {
            Ok(report) => total += report,
            Err(_) => {
                panic!("seed {seed} failed; repeat with SEED={seed} cargo test -p qkms-relay-core --test routing_simulation")
            }
        }
    }
    println!("{seeds} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    for often in
        [total.crashes, total.forgetful, total.withdrawn, total.cuts, total.lost, total.repeated, total.corrupted, total.routes]
    {
        assert!(often > seeds / 2, "{total:?}");
    }
}

/// Nobel-Germany, the numbers as computed with networkx and by linear programme from the same graph.
#[test]
fn nobel_germany_has_the_known_distances_and_disjoint_pairs() {
    let mut world = World::of(&NOBEL_GERMANY, HopCount, 1);
    world.run_for(Duration::from_secs(20));
    let (mut hops, mut of_pairs, mut equal_cost) = (0, 0, 0);
    let names = world.names();
    for from in 0..names.len() {
        for to in from + 1..names.len() {
            let paths = world.good_paths(from, &names[to], 100);
            hops += paths[0].hops.len();
            equal_cost += paths.len();
            let pair = world.disjoint_pair(from, &names[to]);
            assert_eq!(pair.len(), 2, "{} {}", names[from], names[to]);
            of_pairs += pair.iter().map(|path| path.hops.len()).sum::<usize>();
            assert!(pair[0].between().all(|node| pair[1].between().all(|other| node != other)));
        }
    }
    assert_eq!((hops, of_pairs), (367, 950));
    assert!(equal_cost > 136, "there are ties: {equal_cost}");
}

#[test]
fn a_cut_on_the_way_from_berlin_to_frankfurt_moves_the_route_in_milliseconds() {
    let mut world = World::of(&NOBEL_GERMANY, FillMetric::default(), 2);
    world.run_for(Duration::from_secs(60));
    let via = |world: &mut World<FillMetric>| world.route("berlin", "frankfurt").hops[0].to.clone();
    let before = via(&mut world);
    assert!([km("hannover"), km("leipzig")].contains(&before));
    // the far link of the way: Berlin hears of it
    let floods = world.report().floods;
    world.cut(before.as_str(), "frankfurt");
    // three hops of 50 ms at most, and 50 ms until routes are computed
    world.run_for(Duration::from_millis(250));
    let after = via(&mut world);
    assert!(after != before && [km("hannover"), km("leipzig")].contains(&after), "{after}");
    world.run_for(Duration::from_secs(30));
    assert_eq!(via(&mut world), after, "and stays");
    // two advertisements, each over 26 links in both directions at most
    assert!(world.report().floods - floods <= 2 * 52, "{}", world.report().floods - floods);
}

#[test]
fn parts_that_were_cut_off_come_to_agree_when_they_meet() {
    // two triangles and a bridge
    let links = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "x"), ("x", "y"), ("y", "z"), ("z", "x")];
    let mut world = World::of(&links, FillMetric::default(), 3);
    world.run_for(Duration::from_secs(30));
    world.cut("c", "x");
    world.cut("a", "b");
    world.set_fill("y", "z", 30);
    world.run_for(Duration::from_secs(120));
    assert!(matches!(world.any_route("a", "z"), Route::Unreachable(_)));
    world.restore("c", "x");
    // the exchange over the bridge, and two hops more
    world.run_for(Duration::from_secs(2));
    world.assert_agreed();
    assert_eq!(world.route("a", "z").hops.len(), 3);
}

#[test]
fn constant_inputs_cause_no_advertisement_and_no_flooding_but_refresh() {
    let mut world = World::of(&NOBEL_GERMANY, FillMetric::default(), 4);
    world.run_for(Duration::from_secs(60));
    let before = world.report();
    world.run_for(Duration::from_secs(1_200));
    let after = world.report();
    assert_eq!((after.originated, after.floods), (before.originated, before.floods));
    // digests and their answers, every 30 s in both directions of 26 links
    assert!(after.messages - before.messages <= 2 * 52 * 41, "{}", after.messages - before.messages);
    world.run_for(Duration::from_secs(1_800));
    let refreshed = world.report().originated - after.originated;
    assert!((17..=2 * 17).contains(&refreshed), "{refreshed}");
    world.assert_agreed();
}

/// Two disjoint equal paths, demand 1.5 times the key rate of one: one switch per hold time at most, each path its share.
#[test]
fn oscillation_of_two_equal_paths_is_bounded_and_even() {
    let rate = 10_000;
    let mut world = World::of(&[("a", "c"), ("c", "b"), ("a", "d"), ("d", "b")], FillMetric::default(), 5);
    world.run_for(Duration::from_secs(20));
    // key enough for two minutes of demand
    let target: u64 = 2 * 60 * rate;
    let mut stored = [target; 2];
    let mut used = [0_u64; 2];
    let mut share = [0_u64; 2];
    let mut switches = Vec::new();
    let mut last = None;
    let seconds = 6 * 3_600;
    for second in 0..seconds {
        let path = world.route("a", "b");
        let which = usize::from(path.hops[0].to == km("d"));
        if last.replace(which).is_some_and(|last| last != which) {
            switches.push(second);
        }
        share[which] += 1;
        for (at, via) in ["c", "d"].into_iter().enumerate() {
            let demand = if at == which { rate * 3 / 2 } else { 0 };
            stored[at] = (stored[at] + rate).saturating_sub(demand).min(target);
            used[at] = (used[at] * 9 + demand) / 10;
            for end in ["a", "b"] {
                let status = LinkStatus {
                    up: true,
                    stored: stored[at],
                    target,
                    floor: 0,
                    rate,
                    consumption: used[at],
                    authentication: true,
                };
                world.set_status(end, via, status);
            }
        }
        world.run_for(Duration::from_secs(1));
    }
    println!("{} switches in {seconds} s, shares {share:?}", switches.len());
    assert!(switches.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{switches:?}");
    assert!(share.iter().all(|share| (40..=60).contains(&(share * 100 / seconds))), "{share:?}");
    assert!(switches.len() > 10, "it does share");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}
