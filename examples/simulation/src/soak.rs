//! Many small random networks with all faults, each from its seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qkd_link::rate::{Playback, RateSource, Skr, Speed};

use itu_y3803::KmId;
use relay_core::LinkAuthentication;
use relay_core::policy::{Allowed, Authentication, Pattern, Policy, Rule, Terms, Ways, WhenShort};
use relay_core::shares::Sharing;

use crate::random::Random;
use crate::topology::{Link, Node, Topology};
use crate::world::{Faults, Load, Report, Settings, World, application_name};

/// The world of a seed: three to eight nodes in a ring, in a line or with chords, links of different rates, some load, and all
/// faults for twenty seconds; or just a node that lies.
#[must_use]
pub fn world(seed: u64, story: bool) -> World {
    let mut random = Random::new(seed);
    // Where there are ways enough, a key may need several of them.
    let (needed, of) = [(1, 1), (1, 1), (1, 1), (2, 2), (2, 2), (2, 3)][random.below(6) as usize];
    let topology = network(&mut random, if of == 3 { 8 } else { 3 });
    let faults = faults(seed);
    let liar = faults.liars;
    // Where key is short, hardly anything is relayed, and there is nothing to lie about.
    let more = if liar { 10.0 } else { 1.0 };
    let rate = |random: &mut Random| Skr::new(more * (200.0 + random.part() * 4_000.0)).expect("a rate");
    let rates =
        (0..topology.links.len()).map(|_| Playback::new(RateSource::Constant(rate(&mut random)), Speed::REAL_TIME)).collect();
    let mut load = if random.one_in(3) {
        Load::between_neighbours(&topology, 0.1 + random.part())
    } else {
        Load::between_all(&topology, 0.05 + random.part() / 5.0)
    };
    if liar {
        load = Load::between_all(&topology, 3.0 * load.keys_per_second);
    }
    let mut settings = Settings::new(random.number(), load);
    settings.key_manager.policy = policy(&mut random, &topology, Sharing::new(needed, of).expect("possible"), &settings);
    // A liar makes tags of one-time key.
    if random.one_in(4) && !liar {
        settings.authentication = LinkAuthentication::Hmac;
    }
    settings.faults = faults;
    settings.load_starts = Duration::from_secs(2);
    settings.load_ends = Duration::from_secs(20);
    settings.story = story;
    World::new(&topology, rates, settings)
}

/// In every fourth world a node lies, and in every other of these nothing else goes wrong, so that more is relayed to lie about. The
/// other worlds are as they were without liars.
fn faults(seed: u64) -> Faults {
    let others = if seed % 8 == 7 { Faults::none() } else { Faults::all() };
    Faults { liars: seed % 4 == 3, ..others }
}

/// Key for all is shared out like this; in some worlds, key for one application may not take just any way.
fn policy(random: &mut Random, topology: &Topology, sharing: Sharing, settings: &Settings) -> Option<Policy> {
    let of_all = Ways::shared(sharing);
    let mut node = || topology.nodes[random.below(topology.nodes.len() as u64) as usize].name.clone();
    let [slave, other] = [node(), node()];
    let km = || KmId::new(&other).expect("a short name");
    let ways = match random.below(10) {
        0 => Ways { nodes: Allowed::Except([km()].into()), ..of_all.clone() },
        1 => Ways { max_hops: Some(2), ..of_all.clone() },
        2 if sharing == Sharing::ONE => Ways { required_nodes: [km()].into(), ..of_all.clone() },
        3 => Ways { authentication: Authentication::Its, ..of_all.clone() },
        _ => of_all.clone(),
    };
    if ways == Ways::default() {
        return None;
    }
    let short = WhenShort::Wait(settings.key_manager.patience);
    let terms = |ways| Terms { ways, life: settings.key_manager.block_life, short, ..Terms::default() };
    let pattern = Pattern::new(&application_name(&slave)).expect("a short name");
    let rule = Rule::new("one slave", Pattern::any(), pattern, terms(ways)).expect("consistent");
    Some(Policy::new(vec![rule], terms(of_all)).expect("one rule"))
}

fn network(random: &mut Random, chords: u64) -> Topology {
    let nodes = 3 + random.below(6) as usize;
    let link = |a, b| Link { ends: [a, b], km: Some(10.0 + (7 * a + 5 * b) as f64) };
    let mut links: Vec<_> = (1..nodes).map(|node| link(node - 1, node)).collect();
    if !random.one_in(4) {
        links.push(link(0, nodes - 1));
    }
    for _ in 0..random.below(chords) {
        let (a, b) = (random.below(nodes as u64) as usize, random.below(nodes as u64) as usize);
        let (a, b) = (a.min(b), a.max(b));
        if a != b && !links.iter().any(|link| link.ends == [a, b]) {
            links.push(link(a, b));
        }
    }
    let nodes = (0..nodes).map(|node| Node { name: format!("n{node}"), place: None }).collect();
    let text = |text: &str| text.to_owned();
    Topology { name: text("soak"), about: text("random"), source: text("generated"), nodes, links }
}

/// A seed that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed} broke a promise: {what}")]
pub struct Broken {
    /// Which seed.
    pub seed: u64,
    /// Which promise.
    pub what: String,
}

/// Runs the worlds of `number` seeds from `from` on, on all processors; `progress` is told now and then how many are done.
///
/// # Errors
/// [`Broken`] for a seed that failed, the lowest of those that were found.
pub fn run(from: u64, number: u64, progress: impl Fn(u64) + Sync) -> Result<Report, Broken> {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let total = Mutex::new((Report::default(), None::<Broken>));
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= number {
                return;
            }
            let seed = from.wrapping_add(at);
            let ran = catch_unwind(AssertUnwindSafe(|| world(seed, false).run()));
            let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match ran {
                Ok(report) => total.0 += report,
                Err(panic) => {
                    next.store(number, Ordering::Relaxed);
                    let broken = Broken { seed, what: text_of(&*panic) };
                    if total.1.as_ref().is_none_or(|found| found.seed > seed) {
                        total.1 = Some(broken);
                    }
                }
            }
            drop(total);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let (report, broken) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    broken.map_or(Ok(report), Err)
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_hundred_seeds_keep_every_promise_and_meet_every_fault() {
        let seeds = if cfg!(debug_assertions) { 100 } else { 1_000 };
        let report = run(0, seeds, |_| {}).expect("all hold");
        // A simulation in which nothing happens proves nothing.
        for (what, number) in [
            ("supplied", report.supplied),
            ("relayed", report.relayed),
            ("relayed in parts", report.relayed_in_parts),
            ("not relayed", report.not_relayed.values().sum()),
            ("collected", report.collected),
            ("refused", report.refused),
            ("restricted", report.restricted),
            ("forbidden", report.forbidden),
            ("lost", report.lost),
            ("repeated", report.repeated),
            ("corrupted", report.corrupted),
            ("misbehaviour", report.misbehaviour),
            ("broken", report.broken),
            ("outages", report.outages),
            ("crashes", report.crashes),
            ("disks lost", report.disks_lost),
            ("disk failures", report.disk_failures),
            ("clock steps", report.clock_steps),
            ("lies", report.lies.values().sum()),
            ("lies that came to nothing", report.lies_noticed),
            ("false advertisements", report.advertised_falsely),
        ] {
            assert!(number > seeds / 10, "{what}: {number} in {seeds} seeds; {report:?}");
        }
        assert!(report.lies.len() >= if cfg!(debug_assertions) { 9 } else { 11 }, "some lies were not told: {:?}", report.lies);
        assert!(report.cut_off > 0 && report.lost_with_disk > 0, "{report:?}");
    }
}
