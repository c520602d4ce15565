//! Whole networks: what is promised without faults, and with all of them.

#![allow(missing_docs)]

use std::time::Duration;

use qkd_link::rate::Skr;
use qkd_link::synthetic::Class;
use simulation::rates::{self, Outage};
use simulation::topology::Topology;
use simulation::world::{Faults, Load, Report, Settings, World};

fn germany() -> Topology {
    Topology::named("nobel-germany").expect("comes with the program")
}

fn run(topology: &Topology, bps: f64, settings: Settings) -> Report {
    World::new(topology, rates::constant(topology, Skr::new(bps).expect("a rate")), settings).run()
}

#[test]
fn neighbours_are_served_at_four_fifths_of_what_the_links_make() {
    let topology = germany();
    // Two directions of 256 bits on each link, and a fifth of each pad for its tag.
    let bps = 2_000.0;
    let keys_per_second = 0.8 * bps * (4.0 / 5.0) / 256.0 / 2.0;
    let report = run(&topology, bps, Settings::new(1, Load::between_neighbours(&topology, keys_per_second)));
    assert_eq!((report.refused, report.cut_off, report.misbehaviour), (0, 0, 0), "{report:?}");
    let wanted = keys_per_second * 52.0 * 90.0;
    assert!((report.supplied as f64 - wanted).abs() < 0.05 * wanted, "{} of {wanted}", report.supplied);
    assert_eq!(report.collected, report.supplied);
    assert!(report.forbidden > 100);
}

#[test]
fn more_than_the_links_make_is_refused_and_no_more_is_given() {
    let topology = Topology::named("poliqi-ring-5").expect("comes with the program");
    let bps = 320.0;
    let report = run(&topology, bps, Settings::new(2, Load::between_neighbours(&topology, 2.0)));
    assert!(report.refused > 100, "{report:?}");
    let made: u64 = report.links.iter().map(|link| link.made).sum();
    assert!(report.supplied_bits < made, "{report:?}");
    // What is not given lies in pools or is the tags' part.
    assert!(report.supplied_bits as f64 > 0.5 * made as f64, "{} of {made}", report.supplied_bits);
}

#[test]
fn a_link_without_rate_runs_dry_is_gone_around_and_recovers() {
    let topology = Topology::named("poliqi-ring-5").expect("comes with the program");
    let mut settings = Settings::new(3, Load::between_neighbours(&topology, 2.0));
    settings.load_ends = Duration::from_secs(300);
    settings.outages = vec![Outage { link: 0, from: Duration::from_secs(60), until: Some(Duration::from_secs(180)) }];
    settings.sample_every = Some(Duration::from_secs(10));
    let world = World::new(&topology, rates::constant(&topology, Skr::new(3_000.0).expect("a rate")), settings);
    let (report, samples) = world.run_sampled();
    assert!(report.refused == 0 && report.relayed > 20, "{report:?}");
    let stored_at = |link: usize, second: f64| {
        let at = samples.seconds.iter().position(|&at| at == second).expect("sampled");
        samples.stored[link].1[at]
    };
    assert!(stored_at(0, 50.0) > 10_000.0 && stored_at(0, 170.0) < 2_000.0 && stored_at(0, 290.0) > 10_000.0, "{samples:?}");
    assert!(stored_at(1, 170.0) > 10_000.0, "the others are not concerned");
}

#[test]
fn routes_go_round_a_link_that_makes_no_key() {
    let topology = germany();
    let number = |name: &str| topology.nodes.iter().position(|node| node.name == name).expect("there");
    let (berlin, frankfurt) = (number("berlin"), number("frankfurt"));
    let over = |world: &mut World| -> Vec<String> {
        let path = world.route(berlin, frankfurt).expect("reachable");
        path.hops.iter().map(|hop| hop.to.as_str().to_owned()).collect()
    };
    let through = |node: &str| -> Vec<usize> {
        let node = number(node);
        (0..topology.links.len()).filter(|&link| topology.links[link].ends.contains(&node)).collect()
    };
    let mut settings = Settings::new(4, Load::between_neighbours(&topology, 0.5));
    // Hannover is starved from the first minute on.
    let outage = |link| Outage { link, from: Duration::from_secs(60), until: None };
    settings.outages = through("hannover").into_iter().map(outage).collect();
    settings.load_ends = Duration::from_secs(600);
    let mut world = World::new(&topology, rates::constant(&topology, Skr::new(2_000.0).expect("a rate")), settings);
    world.run_until(Duration::from_secs(50));
    let before = over(&mut world);
    assert!(before.len() == 2 && before[1] == "frankfurt", "{before:?}");
    world.run_until(Duration::from_secs(400));
    assert_eq!(over(&mut world), ["leipzig", "frankfurt"]);
}

#[test]
fn synthetic_rates_serve_too() {
    let topology = germany();
    let rates = rates::synthetic(&topology, Class::Slow, 0.2, 1.0, 5).expect("in reach");
    let report = World::new(&topology, rates, Settings::new(5, Load::between_neighbours(&topology, 0.2))).run();
    assert!(report.supplied > 900 && report.collected == report.supplied, "{report:?}");
}

#[test]
fn a_node_that_lies_is_found_out_and_gone_around() {
    let topology = Topology::named("poliqi-ring-5").expect("comes with the program");
    let mut settings = Settings::new(8, Load::between_all(&topology, 4.0));
    settings.faults = Faults { liars: true, ..Faults::none() };
    let report = run(&topology, 100_000.0, settings);
    let lies: u64 = report.lies.values().sum();
    assert!(lies > 30 && report.lies_noticed > lies / 2, "{report:?}");
    assert!(report.relayed > 10 * lies && report.supplied > 20 * report.refused, "{report:?}");
    assert_eq!(report.collected, report.supplied);
}

#[test]
fn a_seed_tells_the_same_story() {
    let topology = germany();
    let report = |seed| {
        let mut settings = Settings::new(seed, Load::between_neighbours(&topology, 0.5));
        settings.faults = Faults::all();
        settings.load_starts = Duration::from_secs(2);
        settings.load_ends = Duration::from_secs(20);
        format!("{:?}", run(&topology, 2_000.0, settings))
    };
    assert_eq!(report(6), report(6));
    assert_ne!(report(6), report(7));
}
