//! One node among neighbours that the tests play: what they may not bring about, also where no other node of theirs would try.

mod relays;
mod shortage;
mod ways;

use std::time::Duration;

use itu_y3803::message::{Hello, KeyOffer, OfferAnswer, Proof, RelayAnnouncement, RelayReservation};
use itu_y3803::{KeyMaterial, KeySize, KmMessage, KmaKey, QkdKey, WallTime};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

use super::super::{Config, Entitlement, Event, Input, LinkConfig, Output};
use super::*;
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
use crate::policy::{Pattern, Policy, Rule, Terms, Ways, WhenShort};
use crate::store::{MemoryStore, Pool, StoredKey};

/// Of link keys here, and of what can be relayed under one.
const LINK_KEY_OCTETS: usize = 9 * 32;
const OCTETS: usize = LINK_KEY_OCTETS - TAG_KEY_OCTETS;
/// Neighbours, and far shares relayed key with this node.
const OTHERS: [&str; 4] = ["west", "east", "north", "far"];

fn km(id: &str) -> KmId {
    KmId::new(id).expect("valid")
}

fn path(nodes: &[&str]) -> Vec<KmId> {
    nodes.iter().map(|node| km(node)).collect()
}

fn link(to: &str) -> LinkId {
    LinkId::new(&format!("to {to}")).expect("valid")
}

fn two_of_two() -> Sharing {
    Sharing::new(2, 2).expect("possible")
}

/// The incarnation of another node.
fn life(of: &str) -> Incarnation {
    let number = OTHERS.iter().position(|other| *other == of).expect("one of them");
    Incarnation::from_octets([number as u8 + 1; 8])
}

struct Bench<R> {
    manager: KeyManager<MemoryStore, R>,
    now: Now,
    number: u64,
    /// The link key that a neighbour makes tags under, and the next place.
    tags: BTreeMap<String, (KeyId, Vec<u8>, u32)>,
    /// The octets of the link keys that this node may use.
    pads: BTreeMap<KeyId, Vec<u8>>,
    /// What came of the last key.
    last: Vec<Output>,
}

/// The pool of key that is relayed to or from another node.
fn pool(peer: &str, sharing: Sharing) -> LinkId {
    pool_name(&km("here"), &km(peer), &Ways::shared(sharing)).expect("short names")
}

/// Rules for nobody, each with other ways, and the first for all.
fn with_pools_for(ways: &[Ways]) -> Policy {
    let short = WhenShort::Wait(Duration::from_secs(2));
    let terms = |ways: &Ways| Terms { ways: ways.clone(), short, ..Terms::default() };
    let nobody = || Pattern::new("nobody").expect("valid");
    let rules =
        ways[1..].iter().enumerate().map(|(number, ways)| Rule::new(&number.to_string(), nobody(), nobody(), terms(ways)));
    Policy::new(rules.map(|rule| rule.expect("consistent")).collect(), terms(&ways[0])).expect("distinct names")
}

fn bench() -> Bench<impl RandomSource> {
    bench_with(|_| {})
}

fn bench_with(settings: impl FnOnce(&mut Config)) -> Bench<impl RandomSource> {
    let mut config = Config::new(km("here"));
    config.links = OTHERS[..3].iter().map(|peer| LinkConfig::new(link(peer), km(peer))).collect();
    config.distant = vec![km("far")];
    config.policy = Some(with_pools_for(&[Ways::default(), Ways::shared(two_of_two())]));
    config.qkd_keys_per_link_key = 9;
    settings(&mut config);
    let now = Now { instant: Instant::now(), wall: WallTime::from_millis(1_000_000) };
    let mut state = 0_u8;
    let counting = move |out: &mut [u8]| {
        out.fill_with(|| {
            state = state.wrapping_add(1);
            state
        });
    };
    let manager = KeyManager::open(config, MemoryStore::default(), counting, now).expect("settings that make sense");
    let mut bench = Bench { manager, now, number: 0, tags: BTreeMap::new(), pads: BTreeMap::new(), last: Vec::new() };
    for other in OTHERS {
        bench.input(Input::PeerUp { peer: km(other) });
        let id_secret = KeyMaterial::from_octets(vec![7; 32]).expect("whole octets");
        bench.hear(other, Body::Hello(Hello { id_secret }));
    }
    bench
}

impl<R: RandomSource> Bench<R> {
    fn input(&mut self, input: Input) -> Vec<Output> {
        self.manager.handle_input(self.now, input).expect("a store in memory does not fail");
        std::iter::from_fn(|| self.manager.poll_output().expect("a store in memory does not fail")).collect()
    }

    fn hear(&mut self, from: &str, body: Body) -> Vec<Output> {
        self.input(Input::Message { from: km(from), message: KmMessage { sender: life(from), body } })
    }

    fn after(&mut self, time: Duration) -> Vec<Output> {
        self.now = Now { instant: self.now.instant + time, wall: self.now.wall.after(time) };
        self.input(Input::Timeout)
    }

    fn soon(&self) -> WallTime {
        self.now.wall.after(Duration::from_secs(60))
    }

    fn qkd_keys(&mut self) -> Vec<QkdKey> {
        let key = |number: u64| QkdKey {
            id: KeyId::from_octets(u128::from(number).to_be_bytes()),
            material: KeyMaterial::from_octets(number.to_be_bytes().repeat(4)).expect("whole octets"),
        };
        self.number += 9;
        (self.number - 9..self.number).map(key).collect()
    }

    /// A new link key that this neighbour may use, and its octets.
    fn incoming(&mut self, from: &str) -> (KeyId, Vec<u8>) {
        let keys = self.qkd_keys();
        let octets = keys.iter().flat_map(|key| key.material.expose_secret().to_vec()).collect();
        let (key, expires) = (life(from).key_id(self.number), self.soon());
        let qkd_keys = keys.iter().map(|key| key.id).collect();
        let size = keys[0].material.size();
        let offer = KeyOffer { link: link(from), key, qkd_keys, size, expires, spent_below: life(from).key_id(0) };
        self.hear(from, Body::Offer(offer));
        self.input(Input::Fetched { link: link(from), key, keys });
        (key, octets)
    }

    /// So many link keys that this node may use with this neighbour.
    fn outgoing(&mut self, to: &str, number: usize) {
        for _ in 0..number {
            let keys = self.qkd_keys();
            let octets: Vec<u8> = keys.iter().flat_map(|key| key.material.expose_secret().to_vec()).collect();
            let outputs = self.input(Input::Drawn { link: link(to), keys });
            for body in sent(outputs, to) {
                if let Body::Offer(KeyOffer { key, .. }) = body {
                    self.pads.insert(key, octets.clone());
                    self.hear(to, Body::OfferAnswer(OfferAnswer { link: link(to), key, accepted: true }));
                }
            }
        }
    }

    /// A neighbour says this with a proof that is right.
    fn prove(&mut self, from: &str, relay: KeyId, step: RelayStep) -> Vec<Output> {
        if !self.tags.contains_key(from) {
            let (key, octets) = self.incoming(from);
            self.tags.insert(from.to_owned(), (key, octets, 0));
        }
        let (key, octets, next) = self.tags.get_mut(from).expect("just made");
        let (key, place) = (*key, *next);
        *next += 1;
        let tag = tag(octets, place, &words::step(life(from), &km(from), &km("here"), relay, &step));
        let proof = Some(Proof { link: link(from), key, place, tag });
        self.hear(from, Body::Relay(RelayMessage { relay, step, proof }))
    }

    fn announce(&mut self, key: KeyId, announcement: RelayAnnouncement) -> Vec<Output> {
        let step = RelayStep::Announce(announcement);
        self.hear("far", Body::Relay(RelayMessage { relay: key, step, proof: None }))
    }

    /// What far announces, if it does, of a key over one path.
    fn announcement(&self, paths: &[&[&str]]) -> RelayAnnouncement {
        let paths: Vec<_> = paths.iter().map(|nodes| path(nodes)).collect();
        let (needed, expires) = (paths.len() as u8, self.soon());
        let pool = pool("far", Sharing::new(needed, needed).expect("possible"));
        RelayAnnouncement { pool, needed, paths, octets: OCTETS as u32, expires, spent_below: life("far").key_id(0) }
    }

    /// What the last node before this one on `nodes` reserves, and the octets of its pad.
    fn reservation(&mut self, key: KeyId, nodes: &[&str]) -> (RelayReservation, Vec<u8>) {
        let hop = nodes.iter().rposition(|node| *node == "here").expect("on it");
        let from = nodes[hop - 1];
        let (pad, octets) = self.incoming(from);
        let reservation = RelayReservation {
            key,
            part: 1,
            needed: 1,
            of: 1,
            path: path(nodes),
            hop: hop as u8,
            octets: OCTETS as u32,
            expires: self.soon(),
            link: link(from),
            pad,
            spare: 0,
        };
        (reservation, octets)
    }

    /// A key by way of these nodes to this one; whether it arrived.
    fn relay(&mut self, key: KeyId, nodes: &[&str]) -> bool {
        let (reservation, pad) = self.reservation(key, nodes);
        self.relay_under(key, reservation, pad, 5)
    }

    fn relay_under(&mut self, key: KeyId, reservation: RelayReservation, pad: Vec<u8>, octet: u8) -> bool {
        let from = reservation.path[usize::from(reservation.hop) - 1].clone();
        let step = RelayStep::Reserve(reservation.clone());
        let context = words::step(life(from.as_str()), &from, &km("here"), key, &step);
        self.prove(from.as_str(), key, step);
        if let Some(next) = reservation.path.get(usize::from(reservation.hop) + 1) {
            self.prove(next.as_str(), key, RelayStep::Reserved);
        }
        let pad = KmaKey {
            paths: itu_y3803::Paths::default(),
            id: reservation.pad,
            peer: km("here"),
            link: reservation.link,
            material: KeyMaterial::from_octets(pad).expect("whole octets"),
            created: self.now.wall,
            expires: self.now.wall,
        };
        let sealed = Pad::new(pad).seal(&context, &material(octet)).expect("of one length");
        let step = RelayStep::Key { sealed: sealed.octets, tag: sealed.tag };
        let outputs = self.hear(from.as_str(), Body::Relay(RelayMessage { relay: key, step, proof: None }));
        let arrived = outputs.iter().any(|output| matches!(output, Output::Event(Event::Arrived { .. })));
        self.last = outputs;
        arrived
    }

    fn stored(&mut self, pool: Pool, id: KeyId) -> Option<KmaKey> {
        match self.manager.store.take(pool, id).expect("a store in memory does not fail") {
            Some(StoredKey::Incoming(key) | StoredKey::Outgoing(key)) => Some(key),
            _ => None,
        }
    }

    /// Relays from here to far by way of these neighbours, one part for each; what they are told first.
    fn start(&mut self, sharing: Sharing, by: &[&str]) -> Vec<(KeyId, RelayReservation)> {
        let pool = pool("far", sharing);
        let paths = by.iter().map(|by| path(&["here", by, "far"])).collect();
        let outputs = self.input(Input::Route { pool, paths });
        let told = |output: &Output| match output {
            Output::Send { message: KmMessage { body: Body::Relay(message), .. }, .. } => match &message.step {
                RelayStep::Reserve(reservation) => Some((message.relay, reservation.clone())),
                _ => None,
            },
            _ => None,
        };
        outputs.iter().filter_map(told).take(by.len()).collect()
    }

    fn level(&self, sharing: Sharing) -> usize {
        self.manager.link_level(&pool("far", sharing)).0
    }

    /// This neighbour comes back without its store.
    fn renew(&mut self, peer: &str) {
        let id_secret = KeyMaterial::from_octets(vec![8; 32]).expect("whole octets");
        let message = KmMessage {
            sender: Incarnation::from_octets([9, peer.len() as u8, peer.as_bytes()[0], 0, 0, 0, 0, 0]),
            body: Body::Hello(Hello { id_secret }),
        };
        self.input(Input::Message { from: km(peer), message });
    }

    /// A relay from west by way of this node to east has been reserved as far as here.
    fn passing(&mut self, number: u64) -> (KeyId, Vec<Output>) {
        let key = life("far").key_id(number);
        let (reservation, _) = self.reservation(key, &["far", "west", "here", "east"]);
        let outputs = self.prove("west", key, RelayStep::Reserve(reservation));
        (key, outputs)
    }
}

const FAR_TO_EAST: [&str; 4] = ["far", "west", "here", "east"];
const NORTH_TO_EAST: [&str; 3] = ["north", "here", "east"];

/// What is relayed, the same octet all over.
fn material(octet: u8) -> KeyMaterial {
    KeyMaterial::from_octets(vec![octet; OCTETS]).expect("whole octets")
}

fn tag(key: &[u8], place: u32, text: &[u8]) -> [u8; 16] {
    let key: &[u8; 32] = key[32 * place as usize..].first_chunk().expect("long enough");
    Poly1305::new(key.into()).compute_unpadded(text).into()
}

fn sent(outputs: Vec<Output>, to: &str) -> Vec<Body> {
    let body = |output| match output {
        Output::Send { to: peer, message } if peer.as_str() == to => Some(message.body),
        _ => None,
    };
    outputs.into_iter().filter_map(body).collect()
}

/// The steps of relays that this node says to another.
fn steps(outputs: Vec<Output>, to: &str) -> Vec<RelayStep> {
    let step = |body| if let Body::Relay(message) = body { Some(message.step) } else { None };
    sent(outputs, to).into_iter().filter_map(step).collect()
}

fn misbehaved(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Event(Event::Misbehaviour { .. })))
}

const WAY: [&str; 3] = ["far", "west", "here"];

/// Red and grey are at this node; red may share key with blue at east, by the link, of which two keys are for this node itself, or by relayed key.
fn bench_with_blue(relayed: u8) -> Bench<impl RandomSource> {
    let mut bench = bench_with(|config| {
        config.distant.push(km("east"));
        let home = |(id, at): (&str, &str)| (itu_y3803::ApplicationId::new(id).expect("valid"), km(at));
        config.applications = [("red", "here"), ("grey", "here"), ("blue", "east")].map(home).into();
        (config.link_low, config.link_floor) = (8, 2);
    });
    let pool = pool("east", Sharing::ONE);
    for number in 0..relayed {
        let key = KmaKey {
            id: KeyId::from_octets([number; 16]),
            peer: km("east"),
            link: pool.clone(),
            material: material(number),
            paths: itu_y3803::Paths::default(),
            created: bench.now.wall,
            expires: WallTime::NEVER,
        };
        bench.manager.links.get_mut(&pool).expect("of the settings").insert_outgoing(&key);
        bench.manager.put(StoredKey::Outgoing(key)).expect("a store in memory does not fail");
    }
    bench
}

impl<R: RandomSource> Bench<R> {
    /// Red asks for a key for blue. The link of the pad that it is bound under, if there is one.
    fn bind_for_blue(&mut self) -> Option<LinkId> {
        let [red, blue] = ["red", "blue"].map(|id| itu_y3803::ApplicationId::new(id).expect("valid"));
        let parties = itu_y3803::Parties::new(red, vec![blue]).expect("one slave");
        let (number, size) = (std::num::NonZeroU32::MIN, KeySize::BITS_256);
        bound_under(self.input(Input::Supply { order: crate::OrderId(1), parties, number, size }))
    }
}

fn bound_under(outputs: Vec<Output>) -> Option<LinkId> {
    sent(outputs, "east").into_iter().find_map(|body| match body {
        Body::SupplyNotification(told) => Some(told.link),
        _ => None,
    })
}
