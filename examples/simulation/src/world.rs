//! A network of nodes in virtual time, on one queue of events.
//!
//! Each node has a key manager and a router, the engines of `relay-core`, over a disk that survives crashes. QKD links give
//! both ends the same keys at the rate that is played; messages take their time; applications ask for keys; things go wrong.
//! What must hold whatever happens is in `world/checks.rs`, each promise a function.
//!
//! ```
//! use std::time::Duration;
//!
//! use qkd_link::rate::Skr;
//! use simulation::rates;
//! use simulation::topology::Topology;
//! use simulation::world::{Load, Settings, World};
//!
//! let ring = Topology::named("poliqi-ring-5")?;
//! let mut settings = Settings::new(1, Load::between_neighbours(&ring, 0.5));
//! settings.load_ends = Duration::from_secs(90);
//! let report = World::new(&ring, rates::constant(&ring, Skr::new(2_000.0)?), settings).run();
//! assert!(report.supplied > 100 && report.refused == 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checks;
mod disk;
mod faults;
mod ledger;
mod liar;
mod link;
mod load;
mod node;
mod report;
mod wires;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use itu_y3803::{KeyId, KeyState, KmId, LinkId, WallTime};
use qkd_link::rate::{Playback, Skr};
use relay_core::routing::Path;
use relay_core::{Config, LinkAuthentication, Now, Pool};

pub use faults::Faults;
pub use ledger::Bits;
pub use link::LinkReport;
pub use load::Load;
pub(crate) use node::application_name;
pub use report::{Report, Samples};

use crate::random::Random;
use crate::rates::Outage;
use crate::topology::Topology;
use liar::Liar;
use link::Link;
use load::{Given, Order};
use node::Node;
use wires::Envelope;

const MICROS: u64 = 1_000_000;
/// The wall time at which the world begins, in milliseconds.
const EPOCH: u64 = 1_700_000_000_000;

/// How a world is made and for how long it lasts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// What applications want.
    pub load: Load,
    /// How all links authenticate what is said about relays.
    pub authentication: LinkAuthentication,
    /// What goes wrong at random, as long as applications ask.
    pub faults: Faults,
    /// Failures of QKD links that are planned.
    pub outages: Vec<Outage>,
    /// Settings of all key managers, but for what differs from node to node.
    pub key_manager: Config,
    /// Since when applications ask for keys: pools fill before.
    pub load_starts: Duration,
    /// Until when they do.
    pub load_ends: Duration,
    /// How long the world lasts after that, without faults, so that all that was begun can end.
    pub settle: Duration,
    /// How often the state of the links is sampled.
    pub sample_every: Option<Duration>,
    /// The master's and the slave's node of a pair that is looked at more closely.
    pub watch: Option<(usize, usize)>,
    /// Prints what happens.
    pub story: bool,
}

impl Settings {
    /// A world of two minutes without faults, of small blocks so that slow links have something to do.
    #[must_use]
    pub fn new(seed: u64, load: Load) -> Self {
        // The name is replaced for each node.
        let mut key_manager = Config::new(KmId::new("template").expect("valid"));
        key_manager.qkd_keys_per_link_key = 5;
        key_manager.draw_limit = 20;
        key_manager.max_pools_per_master = 1_024;
        (key_manager.link_low, key_manager.link_high) = (12, 16);
        (key_manager.pool_low, key_manager.pool_high) = (256, 512);
        Self {
            seed,
            load,
            authentication: LinkAuthentication::OneTime,
            faults: Faults::none(),
            outages: Vec::new(),
            key_manager,
            load_starts: Duration::from_secs(30),
            load_ends: Duration::from_secs(120),
            settle: Duration::from_secs(30),
            sample_every: None,
            watch: None,
            story: false,
        }
    }
}

/// A step to come.
enum Step {
    Deliver { from: usize, to: usize, connection: Option<u64>, envelope: Envelope },
    Draw { node: usize, life: u32, link: usize, number: u32 },
    Fetch { node: usize, life: u32, link: usize, key: KeyId, qkd_keys: Vec<KeyId> },
    Route { node: usize, life: u32, pool: LinkId, paths: Vec<Vec<KmId>> },
    Meet { a: usize, b: usize },
    Ask { pair: usize },
    Collect { key: KeyId },
    Fault,
    SetRate { link: usize, rate: Option<Skr> },
    Connect { link: usize },
    Start { node: usize },
    KeyManagerTimer { node: usize },
    RouterTimer { node: usize },
    Second,
    Sample,
}

/// See the [module](self).
pub struct World {
    settings: Settings,
    random: Random,
    /// In virtual microseconds.
    now: u64,
    base: Instant,
    queue: BinaryHeap<Reverse<Entry>>,
    counter: u64,
    nodes: Vec<Node>,
    numbers: BTreeMap<KmId, usize>,
    links: Vec<Link>,
    link_numbers: BTreeMap<LinkId, usize>,
    /// The neighbours and links of each node.
    neighbours: Vec<Vec<(usize, usize)>>,
    /// Between which nodes messages pass, lower number first, and since which event.
    connections: BTreeMap<(usize, usize), u64>,
    orders: BTreeMap<u64, Order>,
    given: BTreeMap<KeyId, Given>,
    /// Which keys which application was given, by its node.
    delivered: HashSet<(KeyId, usize)>,
    /// What was said under each pad.
    pads: HashMap<KeyId, Vec<u8>>,
    /// Which pad a node has set aside for which relay.
    set_aside: HashMap<(usize, KeyId), KeyId>,
    /// Which tag a node has made with which place of which link key.
    tags: HashMap<(KeyId, u32), [u8; 16]>,
    /// In which state each end of each link key is.
    link_keys: HashMap<(usize, Pool, KeyId), KeyState>,
    /// Until when a node gave keys that are lost at another, with its disk: by who gave and who lost.
    lost_until: BTreeMap<(usize, usize), u64>,
    liar: Option<Liar>,
    report: Report,
    samples: Samples,
}

/// An entry of the queue; those of one time in the order in which they were made.
struct Entry {
    at: (u64, u64),
    step: Step,
}

impl World {
    /// A world at its beginning: all nodes are down, and start at once. One playback for each link of the network.
    ///
    /// # Panics
    /// When there are fewer playbacks than links.
    #[must_use]
    pub fn new(topology: &Topology, rates: Vec<Playback>, settings: Settings) -> Self {
        assert_eq!(rates.len(), topology.links.len(), "one rate for each link");
        let mut random = Random::new(settings.seed);
        let names: Vec<_> = (0..topology.links.len()).map(|link| topology.link_name(link)).collect();
        let links: Vec<_> = (topology.links.iter().zip(&names).zip(rates))
            .map(|((link, name), rate)| Link::new(link, name, rate, random.branch()))
            .collect();
        let nodes: Vec<_> = topology.nodes.iter().map(|node| Node::new(&node.name)).collect();
        let neighbours = topology.neighbours(crate::topology::Cut::Nothing);
        let mut world = Self {
            liar: settings.faults.liars.then(|| Liar::new(&settings, &nodes, &neighbours)).flatten(),
            now: 0,
            base: Instant::now(),
            queue: BinaryHeap::new(),
            counter: 0,
            numbers: nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect(),
            nodes,
            link_numbers: links.iter().enumerate().map(|(at, link)| (link.id.clone(), at)).collect(),
            links,
            neighbours,
            connections: BTreeMap::new(),
            orders: BTreeMap::new(),
            given: BTreeMap::new(),
            delivered: HashSet::new(),
            pads: HashMap::new(),
            set_aside: HashMap::new(),
            tags: HashMap::new(),
            link_keys: HashMap::new(),
            lost_until: BTreeMap::new(),
            report: Report::default(),
            samples: Samples::new(names),
            random,
            settings,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            self.after(0, Step::Start { node });
        }
        self.after(MICROS, Step::Second);
        if let Some(every) = self.settings.sample_every {
            self.after(micros(every), Step::Sample);
        }
        if self.settings.faults.any_but_liars() {
            self.after(MICROS, Step::Fault);
        }
        for outage in self.settings.outages.clone() {
            let link = outage.link;
            self.after(micros(outage.from), Step::SetRate { link, rate: Some(Skr::ZERO) });
            if let Some(until) = outage.until {
                self.after(micros(until), Step::SetRate { link, rate: None });
            }
        }
        self.plan_load();
    }

    /// Runs to the end, and says what happened.
    ///
    /// # Panics
    /// When a promise is broken: the message says which.
    pub fn run(self) -> Report {
        self.run_sampled().0
    }

    /// As [`run`](Self::run), with the samples.
    ///
    /// # Panics
    /// As `run`.
    pub fn run_sampled(mut self) -> (Report, Samples) {
        let end = micros(self.settings.load_ends + self.settings.settle);
        while let Some(Reverse(Entry { at: (at, _), step })) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.report.events += 1;
            self.step(step);
        }
        self.check_at_the_end();
        self.report_lies();
        self.now = end;
        self.report.links = self.links();
        (self.report, self.samples)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Deliver { from, to, connection, envelope } => self.deliver(from, to, connection, envelope),
            Step::Draw { node, life, link, number } => self.draw(node, life, link, number),
            Step::Fetch { node, life, link, key, qkd_keys } => self.fetch(node, life, link, key, &qkd_keys),
            Step::Route { node, life, pool, paths } if life == self.nodes[node].life => {
                self.feed_key_manager(node, relay_core::Input::Route { pool, paths });
            }
            Step::Route { .. } => {}
            Step::Meet { a, b } => self.meet(a, b),
            Step::Ask { pair } => self.ask(pair),
            Step::Collect { key } => self.collect(key),
            Step::Fault => self.fault(),
            Step::SetRate { link, rate } => {
                self.tell(|world| format!("{} has the rate {rate:?}", world.links[link].id));
                let now = self.elapsed();
                self.links[link].set_rate(rate, now);
            }
            Step::Connect { link } => self.connect(link),
            Step::Start { node } => self.start(node),
            Step::KeyManagerTimer { node } => self.key_manager_timer(node),
            Step::RouterTimer { node } => self.router_timer(node),
            Step::Second => self.second(),
            Step::Sample => self.sample(),
        }
    }

    /// What every node does every second, and what is looked at.
    fn second(&mut self) {
        self.after(MICROS, Step::Second);
        self.links.iter_mut().for_each(Link::observe_use);
        for node in 0..self.nodes.len() {
            self.tell_router_of_links(node);
            self.feed_key_manager(node, relay_core::Input::Timeout);
        }
        self.check_every_second();
    }

    fn sample(&mut self) {
        if let Some(every) = self.settings.sample_every {
            self.after(micros(every), Step::Sample);
        }
        let watched = self.settings.watch.map(|(a, b)| {
            let route = self.route(a, b);
            // To ask may be to choose.
            let nodes = |path: &Path| std::iter::once(a).chain(path.hops.iter().map(|hop| self.numbers[&hop.to])).collect();
            self.samples.routes.extend(route.iter().map(|path| (self.now as f64 / MICROS as f64, nodes(path))));
            let cost = route.map(|path| f64::from(path.cost));
            (self.keys_ready(a, b), cost)
        });
        let stored: Vec<_> = (0..self.links.len())
            .map(|link| self.links[link].ends.iter().map(|&node| self.stored_bits(node, link)).sum::<u64>())
            .collect();
        self.samples.take(self.now, &stored, watched, &self.report);
    }

    /// Which way the router of a node sends key at this time.
    pub fn route(&mut self, from: usize, to: usize) -> Option<Path> {
        let now = self.instant();
        let to = self.nodes[to].id.clone();
        self.nodes[from].route(now, &to)
    }

    /// What has happened so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Where the bits of each link are now.
    pub fn links(&mut self) -> Vec<LinkReport> {
        let now = self.elapsed();
        self.links.iter_mut().map(|link| link.report(now)).collect()
    }

    /// How many bits of key all masters together have ready, relayed key included.
    #[must_use]
    pub fn bits_ready(&self) -> u64 {
        let ready = |&(master, slave): &(usize, usize)| self.bits_ready_for(master, slave);
        self.settings.load.pairs.iter().map(ready).sum()
    }

    /// The rate of a link is overridden from now on, or is again what it would be.
    pub fn override_rate(&mut self, link: usize, rate: Option<Skr>) {
        self.step(Step::SetRate { link, rate });
    }

    /// Runs until a time, for a look in between.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_until(&mut self, time: Duration) {
        while self.queue.peek().is_some_and(|Reverse(entry)| entry.at.0 <= micros(time)) {
            let Some(Reverse(Entry { at: (at, _), step })) = self.queue.pop() else { break };
            self.now = at;
            self.report.events += 1;
            self.step(step);
        }
    }

    /// Whether applications still ask and things still go wrong.
    fn is_busy(&self) -> bool {
        self.now < micros(self.settings.load_ends)
    }

    fn after(&mut self, wait: u64, step: Step) {
        let at = (self.now + wait, self.number());
        self.queue.push(Reverse(Entry { at, step }));
    }

    /// A number that no other event or order has.
    fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    fn instant(&self) -> Instant {
        self.base + self.elapsed()
    }

    fn time(&self, node: usize) -> Now {
        let wall = (EPOCH + self.now / 1_000).saturating_add_signed(self.nodes[node].clock_ahead);
        Now { instant: self.instant(), wall: WallTime::from_millis(wall) }
    }

    fn tell(&self, what: impl FnOnce(&Self) -> String) {
        if self.settings.story {
            let told = writeln!(std::io::stdout(), "{:12.6} s  {}", self.now as f64 / MICROS as f64, what(self));
            if told.is_err() {
                // Whoever reads has read enough.
                std::process::exit(0);
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.settings.seed).field("now", &self.now).finish_non_exhaustive()
    }
}
