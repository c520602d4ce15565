//! A node: its disk, and while it runs its key manager and its router.

use std::time::Instant;

use itu_y3803::{ApplicationId, Incarnation, KeyId, KmId, Parties};
use relay_core::routing::{self, Constraints, FillMetric, LinkStates, LinkStatus, Path, Route, Router};
use relay_core::{Config, Input, KeyManager, LinkConfig, Now, Output, Stopped};

use super::disk::{Disk, DiskStore, Failed};
use super::link::QKD_KEY;
use super::wires::Envelope;
use super::{MICROS, Step, World};
use crate::auth::SharedSecret;
use crate::random::Random;

/// How fast a QKD module answers, in microseconds at the most.
const MODULE_ANSWERS: u64 = 20_000;

/// What the application of a node is called.
pub(crate) fn application_name(node: &str) -> String {
    format!("app-{node}")
}

pub(super) struct Node {
    pub(super) id: KmId,
    /// Of its one application.
    pub(super) application: ApplicationId,
    pub(super) disk: Disk,
    /// `None` while it is down.
    pub(super) engines: Option<Engines>,
    /// Counts its ends.
    pub(super) life: u32,
    /// By how much its clock is ahead of the true time, in milliseconds.
    pub(super) clock_ahead: i64,
    /// The incarnation of its key manager that was seen last.
    pub(super) incarnation: Option<Incarnation>,
}

pub(super) struct Engines {
    key_manager: KeyManager<DiskStore, Random>,
    router: LinkStates<FillMetric, SharedSecret, Random>,
    /// When each wants to be called.
    timers: [Option<u64>; 2],
}

impl Node {
    pub(super) fn new(name: &str) -> Self {
        Self {
            id: KmId::new(name).expect("the names of nodes were checked"),
            application: ApplicationId::new(&application_name(name)).expect("the names of nodes are short"),
            disk: Disk::default(),
            engines: None,
            life: 0,
            clock_ahead: 0,
            incarnation: None,
        }
    }

    pub(super) fn route(&mut self, now: Instant, to: &KmId) -> Option<Path> {
        match self.engines.as_mut()?.router.route(now, to, &Constraints::default()) {
            Route::Path(path) => Some(path),
            _ => None,
        }
    }
}

impl Engines {
    pub(super) fn take_in(&mut self, now: Now, input: Input) -> Result<(), Stopped<Failed>> {
        self.key_manager.handle_input(now, input)
    }
}

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].engines.is_some() {
            return;
        }
        self.tell(|world| format!("{} starts", world.nodes[node].id));
        let now = self.time(node);
        let config = self.config(node);
        let disk = self.nodes[node].disk.clone();
        if self.liar.as_ref().is_some_and(|liar| liar.is(node)) {
            disk.keep_copies();
        }
        disk.set_boot(disk.boot() + 1);
        let [for_keys, for_routes] = [(); 2].map(|()| self.random.branch());
        let key_manager = KeyManager::open(config, disk.open(), for_keys, now).expect("the settings fit, and the disk reads");
        let id = self.nodes[node].id.clone();
        let router_config = routing::Config { boot: disk.boot(), ..routing::Config::new(id.clone()) };
        let router = LinkStates::new(router_config, FillMetric::default(), SharedSecret::new(&id), for_routes, now.instant);
        self.nodes[node].engines = Some(Engines { key_manager, router, timers: [None; 2] });
        for (_, link) in self.neighbours[node].clone() {
            let soon = self.random.below(50_000);
            self.after(soon, Step::Connect { link });
        }
        self.meet_distant(node);
        self.prepare_pairs_of(node);
        self.tell_router_of_links(node);
    }

    fn config(&self, node: usize) -> Config {
        let mut config = self.settings.key_manager.clone();
        config.id = self.nodes[node].id.clone();
        config.qkd_key_size = QKD_KEY;
        // Also where this node has no masters that want it: the other end has the pool.
        config.distant = self.sharers_of(node).into_iter().map(|peer| self.nodes[peer].id.clone()).collect();
        config.links = self.neighbours[node].iter().map(|&(peer, link)| self.link_config(peer, link)).collect();
        config.applications = self.nodes.iter().map(|node| (node.application.clone(), node.id.clone())).collect();
        config
    }

    fn link_config(&self, peer: usize, link: usize) -> LinkConfig {
        LinkConfig {
            authentication: self.settings.authentication,
            ..LinkConfig::new(self.links[link].id.clone(), self.nodes[peer].id.clone())
        }
    }

    /// The process is gone, and with it all that is not on the disk.
    pub(super) fn stop(&mut self, node: usize) {
        self.nodes[node].engines = None;
        self.nodes[node].life += 1;
        let on_disk = self.link_keys_on_disk(node);
        for (_, link) in self.neighbours[node].clone() {
            self.links[link].ledger.crashed(node, &on_disk, QKD_KEY.bits().into());
            self.disconnect(link);
        }
        self.part_from_distant(node);
        self.forget_link_key_states(node);
        self.end_orders_at(node);
    }

    /// Tells the key manager something, and does what it says.
    pub(super) fn feed_key_manager(&mut self, node: usize, input: Input) {
        let now = self.time(node);
        let Some(engines) = &mut self.nodes[node].engines else { return };
        if engines.take_in(now, input).is_err() {
            return self.disk_failed(node);
        }
        if self.crashes_before_the_commit() {
            return self.crash(node);
        }
        let mut outputs = Vec::new();
        loop {
            let Some(engines) = &mut self.nodes[node].engines else { return };
            match engines.key_manager.poll_output() {
                Ok(Some(output)) => outputs.push(output),
                Ok(None) => break,
                Err(_) => return self.disk_failed(node),
            }
        }
        for output in outputs {
            self.key_manager_says(node, output);
        }
        let due = self.nodes[node].engines.as_ref().and_then(|engines| engines.key_manager.poll_timeout());
        self.set_timer(node, 0, due);
    }

    fn key_manager_says(&mut self, node: usize, output: Output) {
        let life = self.nodes[node].life;
        match output {
            Output::Send { to, message } => {
                self.nodes[node].incarnation = Some(message.sender);
                self.no_pad_hides_two_messages(node, &message.body);
                if let Some(link) = self.link_of(&message.body) {
                    self.links[link].ledger.said(node, &message.body);
                }
                for (to, message) in self.as_it_is_said(node, to, message) {
                    let to = self.numbers[&to];
                    self.send(node, to, Envelope::KeyManager(Box::new(message)));
                }
            }
            Output::Draw { link, number, .. } => {
                let (link, wait) = (self.link_numbers[&link], self.random.below(MODULE_ANSWERS));
                self.after(wait, Step::Draw { node, life, link, number });
            }
            Output::Fetch { link, key, qkd_keys } => {
                let (link, wait) = (self.link_numbers[&link], self.random.below(MODULE_ANSWERS));
                self.after(wait, Step::Fetch { node, life, link, key, qkd_keys });
            }
            Output::RouteWanted { pool, to, ways, avoid } => {
                let now = self.instant();
                let engines = self.nodes[node].engines.as_mut();
                let paths = engines.map(|engines| engines.router.paths(now, &to, &ways, &avoid)).unwrap_or_default();
                if self.settings.watch == Some((node, self.numbers[&to])) {
                    let routes = paths.iter().map(|path| path.iter().map(|id| self.numbers[id]).collect());
                    self.samples.routes.extend(routes.map(|path| (self.now as f64 / MICROS as f64, path)));
                }
                self.after(0, Step::Route { node, life, pool, paths });
            }
            Output::Supplied { order, keys } => self.supplied(node, order, keys),
            Output::Refused { order, reason } => self.refused(node, order, &reason),
            Output::Event(event) => self.event(node, event),
            // Nobody here leases.
            _ => {}
        }
    }

    pub(super) fn draw(&mut self, node: usize, life: u32, link: usize, number: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.elapsed();
        let per_link_key = self.settings.key_manager.qkd_keys_per_link_key;
        let keys = self.links[link].draw(node, number, per_link_key, now);
        let id = self.links[link].id.clone();
        self.feed_key_manager(node, Input::Drawn { link: id, keys });
    }

    pub(super) fn fetch(&mut self, node: usize, life: u32, link: usize, key: KeyId, qkd_keys: &[KeyId]) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.elapsed();
        let keys = self.links[link].fetch(node, qkd_keys, now);
        let id = self.links[link].id.clone();
        self.feed_key_manager(node, Input::Fetched { link: id, key, keys });
    }

    /// Tells the router something, and does what it says.
    pub(super) fn feed_router(&mut self, node: usize, input: routing::Input) {
        let now = self.instant();
        let Some(Engines { router, .. }) = &mut self.nodes[node].engines else { return };
        router.handle_input(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = router.poll_output() {
            outputs.push(output);
        }
        let due = router.poll_timeout();
        for output in outputs {
            match output {
                routing::Output::Send { .. } if self.is_kept_from_routers(node) => {}
                routing::Output::Send { to, octets } => {
                    let to = self.numbers[&to];
                    self.send(node, to, Envelope::Router(octets));
                }
                routing::Output::Routes => self.report.route_changes += 1,
                routing::Output::Boot(boot) => self.nodes[node].disk.set_boot(boot),
                routing::Output::Misbehaved { .. } => self.only_faults_look_like_misbehaviour(node),
                _ => {}
            }
        }
        self.set_timer(node, 1, due);
    }

    /// How full the links of a node are, and how fast.
    pub(super) fn tell_router_of_links(&mut self, node: usize) {
        let now = self.elapsed();
        for (peer, link) in self.neighbours[node].clone() {
            let rate = self.links[link].rate(now);
            let stored = self.stored_bits(node, link);
            let config = &self.settings.key_manager;
            let link_key = u64::from(config.qkd_keys_per_link_key * QKD_KEY.bits());
            let status = LinkStatus {
                up: self.is_connected(node, peer),
                stored,
                target: config.link_high as u64 * link_key,
                floor: link_key,
                rate,
                consumption: self.links[link].consumption(),
                authentication: true,
            };
            let status = self.as_it_is_advertised(node, status);
            let config = self.link_config(peer, link);
            let labels = config.all_labels();
            let (neighbour, link) = (config.peer, config.id);
            self.feed_router(node, routing::Input::Link { neighbour, link, status, labels });
        }
    }

    pub(super) fn stored_bits(&self, node: usize, link: usize) -> u64 {
        let engines = self.nodes[node].engines.as_ref();
        engines.map_or(0, |engines| 8 * engines.key_manager.link_level(&self.links[link].id).1 as u64)
    }

    /// How many keys a master could be given at once: those ready, and those that pools of relayed key and links give.
    pub(super) fn keys_ready(&self, master: usize, slave: usize) -> usize {
        let Some((keys, engines)) = self.ready(master, slave) else { return 0 };
        keys + engines.key_manager.level_to(&self.nodes[slave].id) / self.settings.load.size.octets()
    }

    /// The same in bits, without the key of links, which is not for this pair alone.
    pub(super) fn bits_ready_for(&self, master: usize, slave: usize) -> u64 {
        let Some((keys, engines)) = self.ready(master, slave) else { return 0 };
        let of_links = self.neighbours[master].iter().filter(|(peer, _)| *peer == slave);
        let of_links: usize = of_links.map(|&(_, link)| engines.key_manager.link_level(&self.links[link].id).1).sum();
        let relayed = engines.key_manager.level_to(&self.nodes[slave].id) - of_links;
        (8 * relayed) as u64 + keys as u64 * u64::from(self.settings.load.size.bits())
    }

    fn ready(&self, master: usize, slave: usize) -> Option<(usize, &Engines)> {
        let engines = self.nodes[master].engines.as_ref()?;
        let [a, b] = [master, slave].map(|node| self.nodes[node].application.clone());
        let parties = Parties::new(a, vec![b])?;
        Some((engines.key_manager.keys_ready(&parties, self.settings.load.size), engines))
    }

    fn set_timer(&mut self, node: usize, which: usize, due: Option<Instant>) {
        let Some(due) = due else { return };
        // Not before the instant, which is finer than the clock of the world.
        let at = (due.saturating_duration_since(self.base).as_nanos().div_ceil(1_000) as u64).max(self.now + 1);
        let Some(engines) = &mut self.nodes[node].engines else { return };
        let timer = &mut engines.timers[which];
        if timer.is_none_or(|timer| timer > at || timer <= self.now) {
            *timer = Some(at);
            let step = if which == 0 { Step::KeyManagerTimer { node } } else { Step::RouterTimer { node } };
            self.after(at - self.now, step);
        }
    }

    fn is_due(&mut self, node: usize, which: usize) -> bool {
        let now = self.now;
        let Some(engines) = &mut self.nodes[node].engines else { return false };
        engines.timers[which].take_if(|timer| *timer == now).is_some()
    }

    pub(super) fn key_manager_timer(&mut self, node: usize) {
        if self.is_due(node, 0) {
            self.feed_key_manager(node, Input::Timeout);
        }
    }

    pub(super) fn router_timer(&mut self, node: usize) {
        if self.is_due(node, 1) {
            self.feed_router(node, routing::Input::Timeout);
        }
    }
}
