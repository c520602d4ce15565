//! One node among neighbours that the tests play: what they may not bring about, also where no other node of theirs would try.

use std::time::Duration;

use itu_y3803::message::{Hello, KeyOffer, OfferAnswer, Proof, RelayAnnouncement, RelayReservation};
use itu_y3803::{KeyMaterial, KeySize, KmMessage, KmaKey, QkdKey, WallTime};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

use super::super::{Config, Distant, Entitlement, Event, Input, LinkConfig, Output};
use super::*;
use crate::pad::{Pad, Sealed, TAG_KEY_OCTETS};
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

fn bench() -> Bench<impl RandomSource> {
    bench_with(|_| {})
}

fn bench_with(settings: impl FnOnce(&mut Config)) -> Bench<impl RandomSource> {
    let mut config = Config::new(km("here"));
    config.links = OTHERS[..3].iter().map(|peer| LinkConfig { id: link(peer), peer: km(peer) }).collect();
    config.distant = [Sharing::ONE, two_of_two()].map(|sharing| Distant { peer: km("far"), sharing }).to_vec();
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
        RelayAnnouncement { needed, paths, octets: OCTETS as u32, expires, spent_below: life("far").key_id(0) }
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
        let pool = pool_name(&km("here"), &km("far"), sharing).expect("short names");
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
        let pool = pool_name(&km("here"), &km("far"), sharing).expect("short names");
        self.manager.link_level(&pool).0
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

impl<R: RandomSource> Bench<R> {
    /// Whether a pad is set aside for a relay over here, whose source has so much left.
    fn sets_aside(&mut self, number: u64, nodes: &[&str], spare: u8) -> bool {
        let key = life(nodes[0]).key_id(1_000 + number);
        let (reservation, _) = self.reservation(key, nodes);
        let from = reservation.path[usize::from(reservation.hop) - 1].clone();
        let outputs = self.prove(from.as_str(), key, RelayStep::Reserve(RelayReservation { spare, ..reservation }));
        let told = steps(outputs, "east").iter().any(|step| matches!(step, RelayStep::Reserve(_)));
        assert_eq!(told, self.manager.relays.passing.contains_key(&key));
        told
    }
}

impl<R: RandomSource> Bench<R> {
    /// Whether a relay over here goes on to east with its pad.
    fn goes_on(&mut self, number: u64, nodes: &[&str], spare: u8) -> bool {
        let key = life(nodes[0]).key_id(1_000 + number);
        let (reservation, pad) = self.reservation(key, nodes);
        self.relay_under(key, RelayReservation { spare, ..reservation }, pad, 5);
        steps(std::mem::take(&mut self.last), "east").iter().any(|step| matches!(step, RelayStep::Key { .. }))
    }
}

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

#[test]
fn what_was_announced_arrives_and_its_pad_and_the_key_of_its_completion_are_gone() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    let (reservation, pad) = bench.reservation(key, &WAY);
    let pad_id = reservation.pad;
    assert!(bench.relay_under(key, reservation, pad, 5));
    assert!(bench.stored(Pool::Incoming, pad_id).is_none(), "after a crash it would be good for another message");
    let tag_key = bench.tags["west"].0;
    assert!(bench.stored(Pool::Incoming, tag_key).is_none(), "its tags would be taken a second time");
    let stored = bench.stored(Pool::Incoming, key).expect("it has arrived");
    assert_eq!(stored.material.expose_secret(), &material(5).expose_secret()[..OCTETS - COMPLETION_OCTETS]);
}

#[test]
fn what_its_source_did_not_announce_is_not_taken() {
    let mut bench = bench();
    assert!(!bench.relay(life("far").key_id(1), &WAY));
}

#[test]
fn a_key_is_taken_once_however_often_it_is_announced() {
    let mut bench = bench();
    let (first, second) = (life("far").key_id(1), life("far").key_id(2));
    bench.announce(second, bench.announcement(&[&WAY]));
    assert!(bench.relay(second, &WAY));
    for key in [first, second] {
        bench.announce(key, bench.announcement(&[&WAY]));
        assert!(!bench.relay(key, &WAY), "it had its chance");
    }
}

#[test]
fn a_key_comes_only_the_way_that_was_announced() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    assert!(!bench.relay(key, &["far", "north", "west", "here"]));
    assert!(!bench.relay(key, &["far", "north", "here"]));
}

#[test]
fn paths_with_a_node_twice_are_no_paths() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let around: [&str; 5] = ["far", "west", "north", "west", "here"];
    assert!(misbehaved(&bench.announce(key, bench.announcement(&[&around]))));
    assert!(!bench.relay(key, &around));
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let key = life("far").key_id(2);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east", "north", "east"]);
    let outputs = bench.prove("west", key, RelayStep::Reserve(reservation));
    assert!(steps(outputs, "east").is_empty(), "it does not go on");
    for (nodes, goes) in [(&["here", "west", "north", "west", "far"][..], false), (&["here", "west", "far"][..], true)] {
        let pool = pool_name(&km("here"), &km("far"), Sharing::ONE).expect("short names");
        let outputs = bench.input(Input::Route { pool, paths: vec![path(nodes)] });
        assert_eq!(!steps(outputs, "far").is_empty(), goes, "{nodes:?}");
        bench.after(Duration::from_secs(30));
    }
}

#[test]
fn paths_that_meet_between_their_ends_are_not_taken_for_two() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    assert!(misbehaved(&bench.announce(key, bench.announcement(&[&WAY, &WAY]))));
    assert!(!misbehaved(&bench.announce(key, bench.announcement(&[&WAY, &["far", "east", "here"]]))));
    bench.outgoing("west", 8);
    bench.outgoing("east", 8);
    for (second, goes) in [("west", false), ("east", true)] {
        let pool = pool_name(&km("here"), &km("far"), two_of_two()).expect("short names");
        let paths = ["west", second].map(|by| path(&["here", by, "far"])).to_vec();
        let outputs = bench.input(Input::Route { pool, paths });
        assert_eq!(!steps(outputs, "far").is_empty(), goes, "by {second}");
        bench.after(Duration::from_secs(30));
    }
}

#[test]
fn what_has_expired_on_the_way_is_not_taken() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let mut late = bench.announcement(&[&WAY]);
    late.expires = bench.now.wall;
    bench.announce(key, late.clone());
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = late.expires;
    assert!(!bench.relay_under(key, reservation, pad, 5), "before it was announced");

    let key = life("far").key_id(2);
    let mut short = bench.announcement(&[&WAY]);
    short.expires = bench.now.wall.after(Duration::from_secs(1));
    bench.announce(key, short.clone());
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = short.expires;
    bench.after(Duration::from_secs(2));
    assert!(!bench.relay_under(key, reservation, pad, 5), "between announcement and arrival");
}

#[test]
fn no_relayed_key_is_kept_for_ever_whatever_its_source_says() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let mut announcement = bench.announcement(&[&WAY]);
    announcement.expires = WallTime::NEVER;
    bench.announce(key, announcement);
    let (mut reservation, pad) = bench.reservation(key, &WAY);
    reservation.expires = WallTime::NEVER;
    assert!(bench.relay_under(key, reservation, pad, 5));
    let config = bench.manager.config();
    let longest = config.link_key_life + config.clock_skew;
    bench.after(longest - Duration::from_secs(1));
    let outputs = bench.after(Duration::from_secs(1));
    let expired = |output: &Output| matches!(output, Output::Event(Event::Expired { id, .. }) if *id == key);
    assert!(outputs.iter().any(expired), "{outputs:?}");
}

#[test]
fn what_the_source_will_not_use_any_more_is_burnt() {
    let mut bench = bench();
    let [first, second, third] = [1, 2, 3].map(|number| life("far").key_id(number));
    for key in [first, second] {
        bench.announce(key, bench.announcement(&[&WAY]));
        assert!(bench.relay(key, &WAY));
    }
    let mut announcement = bench.announcement(&[&WAY]);
    announcement.spent_below = second;
    bench.announce(third, announcement);
    assert!(bench.stored(Pool::Incoming, first).is_none());
    assert!(bench.stored(Pool::Incoming, second).is_some());
}

#[test]
fn a_relay_goes_on_to_the_next_node_and_only_that_one_answers_for_it() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let (relay, outputs) = bench.passing(1);
    assert!(matches!(steps(outputs, "east")[..], [RelayStep::Reserve(_)]));
    for said in [RelayStep::Reserved, RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey }] {
        let outputs = bench.prove("north", relay, said);
        assert!(steps(outputs, "west").is_empty(), "north has no part in it");
    }
    let outputs = bench.prove("east", relay, RelayStep::Reserved);
    assert!(matches!(steps(outputs, "west")[..], [RelayStep::Reserved]));
}

#[test]
fn names_of_relays_are_for_their_source_to_give() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    for relay in [bench.manager.notes.incarnation.key_id(1), life("west").key_id(1)] {
        let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
        let outputs = bench.prove("west", relay, RelayStep::Reserve(reservation));
        assert!(steps(outputs, "east").is_empty(), "{relay}");
    }
}

#[test]
fn one_neighbour_cannot_take_all_pads_of_another() {
    let mut bench = bench_with(|config| config.max_passing = 2);
    bench.outgoing("east", 12);
    bench.outgoing("west", 3);
    let went_on = (1..=4).filter(|number| !steps(bench.passing(*number).1, "east").is_empty()).count();
    assert_eq!(went_on, 2);
}

#[test]
fn who_has_no_key_burns_none_with_tags_that_do_not_fit() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let (tag_key, octets) = bench.incoming("west");
    let step = RelayStep::Reserve(reservation);
    let proof = Proof { link: link("west"), key: tag_key, place: 0, tag: [0; 16] };
    let forged = RelayMessage { relay: key, step: step.clone(), proof: Some(proof) };
    let outputs = bench.hear("west", Body::Relay(forged));
    assert!(misbehaved(&outputs) && steps(outputs, "east").is_empty());
    bench.tags.insert("west".to_owned(), (tag_key, octets, 0));
    let outputs = bench.prove("west", key, step);
    assert!(!steps(outputs, "east").is_empty(), "the key is there for who has it");
}

#[test]
fn a_step_without_a_proof_or_with_a_wrong_one_is_not_taken() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let reserve = RelayStep::Reserve(reservation);
    let refused = RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey };
    let (relay, _) = bench.passing(2);
    for (from, back, relay, step) in
        [("west", "east", key, reserve), ("east", "west", relay, RelayStep::Reserved), ("east", "west", relay, refused)]
    {
        let (tag_key, _) = bench.incoming(from);
        let wrong = Proof { link: link(from), key: tag_key, place: 0, tag: [0; 16] };
        for proof in [None, Some(wrong)] {
            let outputs = bench.hear(from, Body::Relay(RelayMessage { relay, step: step.clone(), proof }));
            assert!(misbehaved(&outputs), "{step:?}");
            assert!(steps(outputs, back).is_empty(), "{step:?}");
        }
    }
}

#[test]
fn a_key_that_was_changed_on_its_way_goes_no_further() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    bench.outgoing("west", 3);
    let key = life("far").key_id(1);
    bench.announce(key, bench.announcement(&[&WAY]));
    for nodes in [&WAY[..], &["far", "west", "here", "east"]] {
        let (reservation, mut pad) = bench.reservation(key, nodes);
        // As if the octet of the message under it had been changed.
        pad[TAG_KEY_OCTETS] ^= 1;
        let relay = if nodes.len() == 3 { key } else { life("far").key_id(2) };
        let reservation = RelayReservation { key: relay, ..reservation };
        assert!(!bench.relay_under(relay, reservation, pad, 5));
        let outputs = std::mem::take(&mut bench.last);
        assert!(misbehaved(&outputs));
        assert!(steps(outputs, "east").is_empty(), "it goes on");
    }
}

#[test]
fn a_proof_is_taken_once() {
    let mut bench = bench();
    let key = life("far").key_id(1);
    let (reservation, _) = bench.reservation(key, &["far", "west", "here", "east"]);
    let step = RelayStep::Reserve(reservation);
    assert!(!misbehaved(&bench.prove("west", key, step.clone())));
    bench.tags.get_mut("west").expect("used").2 = 0;
    assert!(misbehaved(&bench.prove("west", key, step)));
}

#[test]
fn what_was_said_in_a_former_life_counts_no_more() {
    let mut bench = bench();
    let fetches = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Fetch { .. }));
    let qkd_keys: Vec<_> = bench.qkd_keys().iter().map(|key| key.id).collect();
    let (first, size) = (life("west").key_id(0), KeySize::BITS_256);
    let offer = KeyOffer {
        link: link("west"),
        key: life("west").key_id(1_000),
        qkd_keys,
        size,
        expires: bench.soon(),
        spent_below: first,
    };
    assert!(fetches(&bench.hear("west", Body::Offer(offer.clone()))));
    bench.renew("west");
    assert!(!fetches(&bench.hear("west", Body::Offer(offer))));
}

#[test]
fn a_relayed_key_is_used_when_its_destination_has_shown_that_it_has_it_and_not_before() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    let (relay, reservation) = bench.start(Sharing::ONE, &["west"]).remove(0);
    let outputs = bench.prove("west", relay, RelayStep::Reserved);
    let [RelayStep::Key { sealed, tag }] = &steps(outputs, "west")[..] else { panic!("all is reserved") };
    assert_eq!(bench.level(Sharing::ONE), 0, "it is under way");
    let incarnation = bench.manager.notes.incarnation;
    let context = words::step(incarnation, &km("here"), &km("west"), relay, &RelayStep::Reserve(reservation.clone()));
    let pad = KmaKey {
        paths: itu_y3803::Paths::default(),
        id: reservation.pad,
        peer: km("here"),
        link: link("west"),
        material: KeyMaterial::from_octets(bench.pads[&reservation.pad].clone()).expect("whole octets"),
        created: bench.now.wall,
        expires: bench.now.wall,
    };
    let secret = Pad::new(pad).open(&context, &Sealed { octets: sealed.clone(), tag: *tag }).expect("under this pad");
    let tag = words::completion_tag(&reservation, &secret).expect("long enough");
    for (tag, level) in [([0; 16], 0), (tag, 1)] {
        bench.hear("west", Body::Relay(RelayMessage { relay, step: RelayStep::Complete { tag }, proof: None }));
        assert_eq!(bench.level(Sharing::ONE), level);
    }
    let pool = pool_name(&km("here"), &km("far"), Sharing::ONE).expect("short names");
    bench.outgoing("west", 3);
    let outputs = bench.input(Input::Route { pool, paths: vec![path(&["here", "west", "far"])] });
    let [RelayStep::Announce(announcement), ..] = &steps(outputs, "far")[..] else { panic!("more is wanted") };
    assert_eq!(announcement.spent_below, relay, "it is not used yet");
}

#[test]
fn a_pad_that_was_sent_does_not_come_back_and_one_that_was_not_does() {
    for used in [false, true] {
        let mut bench = bench();
        bench.outgoing("west", 6);
        bench.outgoing("east", 6);
        let (relay, first) = bench.start(Sharing::ONE, &["west"]).remove(0);
        if used {
            bench.prove("west", relay, RelayStep::Reserved);
        }
        bench.prove("west", relay, RelayStep::Refused { at: km("west"), reason: RelayRefusal::NoKey });
        assert_eq!(bench.stored(Pool::Outgoing, first.pad).is_none(), used);

        let key = life("far").key_id(1);
        let (reservation, pad) = bench.reservation(key, &["far", "west", "here", "east"]);
        let onward = if used {
            bench.relay_under(key, reservation, pad, 5);
            assert!(bench.last.iter().any(|output| matches!(output, Output::Event(Event::Spent { pool: Pool::Outgoing, .. }))));
            bench.manager.relays.passing[&key].onward().expect("it goes on").pad
        } else {
            bench.prove("west", key, RelayStep::Reserve(reservation));
            bench.manager.relays.passing[&key].onward().expect("it goes on").pad
        };
        bench.prove("east", key, RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey });
        assert_eq!(bench.stored(Pool::Outgoing, onward).is_none(), used);
    }
}

#[test]
fn no_part_goes_before_all_are_reserved() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let parts = bench.start(two_of_two(), &["west", "east"]);
    let outputs = bench.prove("west", parts[0].0, RelayStep::Reserved);
    assert!(steps(outputs, "west").is_empty());
    let outputs = bench.prove("east", parts[1].0, RelayStep::Reserved);
    assert!(matches!(steps(outputs, "west")[..], [RelayStep::Key { .. }]));
}

#[test]
fn what_a_neighbour_has_lost_is_burnt_here_also_what_is_set_aside() {
    let mut bench = bench();
    bench.outgoing("west", 6);
    bench.outgoing("east", 6);
    let (relay, _) = bench.passing(1);
    let onward = bench.manager.relays.passing[&relay].onward().expect("it goes on").pad;
    bench.renew("east");
    let (_, first) = bench.start(Sharing::ONE, &["west"]).remove(0);
    bench.renew("west");
    for peer in ["east", "west"] {
        assert_eq!(bench.manager.link_level(&link(peer)).0, 0, "with {peer}");
    }
    for pad in [onward, first.pad] {
        assert!(bench.stored(Pool::Outgoing, pad).is_none());
    }
}

#[test]
fn the_last_link_keys_are_left_for_key_of_this_nodes_own() {
    let mut bench = bench();
    bench.outgoing("east", 2);
    assert_eq!(bench.manager.config().link_floor, 2);
    assert!(steps(bench.passing(1).1, "east").is_empty());
    bench.outgoing("east", 1);
    assert!(!steps(bench.passing(2).1, "east").is_empty());
}

#[test]
fn no_pad_is_taken_that_the_next_node_may_have_deleted_by_its_clock() {
    let mut bench = bench();
    bench.outgoing("east", 6);
    let config = bench.manager.config();
    let late = config.link_key_life - config.clock_skew;
    for (time, there) in [(Duration::ZERO, true), (late - Duration::from_millis(1), true), (late, false)] {
        let now = Now { instant: bench.now.instant + time, wall: bench.now.wall.after(time) };
        assert_eq!(bench.manager.choose_link_key(now, &km("east"), 0, 1).is_some(), there, "after {time:?}");
    }
}

/// Red at this node may share key with blue at east, by the link, of which two keys are for this node itself, or by relayed key.
fn bench_with_blue(relayed: u8) -> Bench<impl RandomSource> {
    let mut bench = bench_with(|config| {
        config.distant.push(Distant { peer: km("east"), sharing: Sharing::ONE });
        let home = |(id, at): (&str, &str)| (itu_y3803::ApplicationId::new(id).expect("valid"), km(at));
        config.applications = [("red", "here"), ("blue", "east")].map(home).into();
        (config.link_low, config.link_floor) = (8, 2);
    });
    let pool = pool_name(&km("here"), &km("east"), Sharing::ONE).expect("short names");
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

#[test]
fn key_of_a_link_is_preferred_to_relayed_key() {
    let mut bench = bench_with_blue(3);
    bench.outgoing("east", 1);
    assert_eq!(bench.bind_for_blue(), Some(link("east")));
}

#[test]
fn who_leaves_key_of_a_link_to_others_takes_relayed_key_instead() {
    let mut bench = bench_with_blue(3);
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert_eq!(bench.bind_for_blue(), pool_name(&km("here"), &km("east"), Sharing::ONE));
}

#[test]
fn what_a_link_keeps_for_its_own_use_is_used_when_it_makes_no_more() {
    let mut bench = bench_with_blue(0);
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert_eq!(bench.bind_for_blue(), None, "the link may soon have one for those who have less");
    let give_up = bench.manager.config().give_up;
    assert_eq!(bound_under(bench.after(give_up)), Some(link("east")));
}

#[test]
fn a_relay_that_failed_further_on_keeps_its_place() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 4);
    assert!(bench.sets_aside(1, &FAR_TO_EAST, 10));
    bench.prove("east", life("far").key_id(1_001), RelayStep::Refused { at: km("east"), reason: RelayRefusal::NoKey });
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "far has less, and will come again");
    assert!(bench.sets_aside(2, &FAR_TO_EAST, 10));
}

#[test]
fn what_one_neighbour_says_of_a_pair_does_not_change_what_another_said() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    let through_north = ["far", "north", "here", "east"];
    assert!(!bench.sets_aside(2, &through_north, 255));
    bench.outgoing("east", 5);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "far waits all the same");
}

#[test]
fn nothing_is_left_to_who_has_had_the_most_it_may() {
    let capped = Entitlement { guaranteed: 0, highest: 0 };
    let mut bench = bench_with(|config| {
        (config.link_low, config.link_floor) = (8, 2);
        config.entitlements = [((km("far"), km("east")), capped)].into();
    });
    bench.outgoing("east", 7);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    assert!(bench.sets_aside(1, &NORTH_TO_EAST, 255));
}

#[test]
fn after_a_new_connection_tags_are_made_under_new_key() {
    let mut bench = bench();
    bench.outgoing("east", 8);
    let tag_key = |outputs: Vec<Output>| {
        let proof = |body| if let Body::Relay(message) = body { message.proof } else { None };
        sent(outputs, "east").into_iter().find_map(proof).expect("it goes on").key
    };
    let [first, second] = [1, 2].map(|number| tag_key(bench.passing(number).1));
    assert_eq!(first, second);
    bench.input(Input::PeerUp { peer: km("east") });
    assert_ne!(tag_key(bench.passing(3).1), second, "east may have been started anew");
}

/// Every fact that the two ends of a hop, or of a relay, have to agree on.
#[test]
fn tags_are_made_over_all_that_is_said() {
    let reservation = RelayReservation {
        key: life("far").key_id(1),
        part: 1,
        needed: 1,
        of: 2,
        path: path(&WAY),
        hop: 2,
        octets: 64,
        expires: WallTime::from_millis(1),
        link: link("west"),
        pad: life("west").key_id(1),
        spare: 0,
    };
    let changed = |change: fn(&mut RelayReservation)| {
        let mut changed = reservation.clone();
        change(&mut changed);
        changed
    };
    let of_the_key = [
        changed(|said| said.key = life("far").key_id(2)),
        changed(|said| said.needed = 2),
        changed(|said| said.of = 3),
        changed(|said| said.octets = 65),
        changed(|said| said.expires = WallTime::from_millis(2)),
        changed(|said| said.path[0] = km("north")),
        changed(|said| said.path[2] = km("north")),
    ];
    let of_the_hop = [
        changed(|said| said.part = 2),
        changed(|said| said.path[1] = km("north")),
        changed(|said| said.hop = 1),
        changed(|said| said.link = link("north")),
        changed(|said| said.pad = life("west").key_id(2)),
    ];
    let (west, here, relay) = (km("west"), km("here"), life("far").key_id(1));
    let said =
        |reservation: &RelayReservation| words::step(life("west"), &west, &here, relay, &RelayStep::Reserve(reservation.clone()));
    let mut texts: Vec<_> = of_the_hop.iter().chain(&of_the_key).map(said).collect();
    texts.push(said(&reservation));
    let refused = |at, reason| RelayStep::Refused { at, reason };
    for (sender, from, to, relay, step) in [
        (life("west"), &west, &here, relay, RelayStep::Reserved),
        (life("east"), &west, &here, relay, RelayStep::Reserved),
        (life("west"), &here, &here, relay, RelayStep::Reserved),
        (life("west"), &west, &west, relay, RelayStep::Reserved),
        (life("west"), &west, &here, life("far").key_id(2), RelayStep::Reserved),
        (life("west"), &west, &here, relay, refused(km("here"), RelayRefusal::NoKey)),
        (life("west"), &west, &here, relay, refused(km("west"), RelayRefusal::NoKey)),
        (life("west"), &west, &here, relay, refused(km("here"), RelayRefusal::Late)),
    ] {
        texts.push(words::step(sender, from, to, relay, &step));
    }
    for (at, text) in texts.iter().enumerate() {
        assert!(!texts[..at].contains(text), "{at}");
    }
    let tag = |reservation: &RelayReservation, octet: u8| {
        let material = KeyMaterial::from_octets([vec![octet; 32], vec![7; COMPLETION_OCTETS]].concat()).expect("whole octets");
        words::completion_tag(reservation, &material).expect("long enough")
    };
    assert_ne!(tag(&reservation, 1), tag(&reservation, 2), "another key has arrived");
    assert!(of_the_key.iter().all(|other| tag(other, 1) != tag(&reservation, 1)));
    assert!(of_the_hop.iter().all(|other| tag(other, 1) == tag(&reservation, 1)), "whatever way it took");
}

#[test]
fn link_key_that_is_short_is_left_to_those_who_have_less() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 10), "these are for this node itself");
    // One more will be for tags.
    bench.outgoing("east", 6);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255), "others have nothing and wait");
    assert!(bench.sets_aside(2, &FAR_TO_EAST, 10), "it is for these");
    assert!(bench.sets_aside(2, &NORTH_TO_EAST, 255), "now nobody waits who has less");
    assert!(bench.sets_aside(3, &FAR_TO_EAST, 10));
    assert!(bench.sets_aside(3, &NORTH_TO_EAST, 255));
    assert!(bench.sets_aside(4, &NORTH_TO_EAST, 255));
    assert!(!bench.sets_aside(5, &NORTH_TO_EAST, 255), "there is no more");
    assert!(!bench.sets_aside(5, &FAR_TO_EAST, 10));
}

#[test]
fn nothing_is_left_to_who_does_not_come_again() {
    let mut bench = bench_with(|config| (config.link_low, config.link_floor) = (8, 2));
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    bench.outgoing("east", 5);
    assert!(!bench.sets_aside(1, &NORTH_TO_EAST, 255));
    bench.after(Duration::from_secs(19));
    assert!(!bench.sets_aside(2, &NORTH_TO_EAST, 255));
    bench.after(Duration::from_secs(2));
    assert!(bench.sets_aside(3, &NORTH_TO_EAST, 255));
}

#[test]
fn who_is_entitled_to_a_rate_comes_first_and_gets_no_more_than_the_highest() {
    let pair = |a: &str, b: &str| (km(a), km(b));
    // A link key has 2,304 bits: one in a minute is 36 bit/s of what is remembered.
    let guaranteed = Entitlement { guaranteed: 40, highest: 80 };
    let mut bench = bench_with(|config| {
        (config.link_low, config.link_floor) = (8, 2);
        config.entitlements = [(pair("north", "east"), guaranteed)].into();
    });
    bench.outgoing("east", 2);
    assert!(!bench.sets_aside(1, &FAR_TO_EAST, 0));
    bench.outgoing("east", 5);
    assert!(bench.goes_on(1, &NORTH_TO_EAST, 255), "guaranteed, whoever waits");
    assert!(bench.goes_on(2, &NORTH_TO_EAST, 255));
    assert!(!bench.sets_aside(3, &NORTH_TO_EAST, 255), "it had its rate, and others have less");
    assert!(bench.goes_on(2, &FAR_TO_EAST, 0));
    bench.outgoing("east", 9);
    assert!(bench.goes_on(4, &NORTH_TO_EAST, 0));
    assert!(!bench.sets_aside(5, &NORTH_TO_EAST, 0), "no more than the highest, however much there is");
    bench.after(Duration::from_secs(60));
    assert!(bench.sets_aside(6, &NORTH_TO_EAST, 0), "it is forgotten");
}

#[test]
fn a_reservation_is_taken_as_it_was_said_to_this_node_and_not_otherwise() {
    let changes: [fn(&mut RelayReservation); 11] = [
        |said| said.key = life("far").key_id(77),
        |said| said.part = 2,
        |said| said.needed = 2,
        |said| said.of = 2,
        |said| said.path = path(&["far", "west", "here", "north", "east"]),
        |said| said.hop = 1,
        |said| said.octets -= 1,
        |said| said.expires = said.expires.after(Duration::from_millis(1)),
        |said| said.link = link("north"),
        |said| said.pad = life("west").key_id(77),
        |said| said.spare = 1,
    ];
    for at in 0..=changes.len() + 1 {
        let mut bench = bench();
        bench.outgoing("east", 6);
        bench.outgoing("north", 6);
        let relay = life("far").key_id(1);
        let (reservation, _) = bench.reservation(relay, &FAR_TO_EAST);
        let mut said = reservation.clone();
        if let Some(change) = changes.get(at) {
            change(&mut said);
            assert_ne!(said, reservation);
        }
        // The last but one is as it was said; the last was said to another node.
        let to = if at > changes.len() { "north" } else { "here" };
        let (key, octets) = bench.incoming("west");
        let text = words::step(life("west"), &km("west"), &km(to), relay, &RelayStep::Reserve(reservation));
        let proof = Some(Proof { link: link("west"), key, place: 0, tag: tag(&octets, 0, &text) });
        let step = RelayStep::Reserve(said);
        let outputs = bench.hear("west", Body::Relay(RelayMessage { relay, step, proof }));
        assert_eq!(bench.manager.relays.passing.len(), usize::from(at == changes.len()), "change {at}");
        assert_eq!(misbehaved(&outputs), at != changes.len(), "change {at}");
    }
}

#[test]
fn what_has_expired_has_left_the_store_used_or_not_and_whatever_became_of_its_other_end() {
    let mut bench = bench_with_blue(0);
    bench.outgoing("east", 6);
    let pads: Vec<_> = bench.pads.keys().copied().collect();
    // Its neighbour never says another word of this one.
    let (incoming, _) = bench.incoming("east");
    let [red, blue] = ["red", "blue"].map(|id| itu_y3803::ApplicationId::new(id).expect("valid"));
    let parties = itu_y3803::Parties::new(red, vec![blue]).expect("one slave");
    let (number, size) = (std::num::NonZeroU32::MIN, KeySize::BITS_256);
    let outputs = bench.input(Input::Supply { order: crate::OrderId(1), parties, number, size });
    let told = sent(outputs, "east")
        .into_iter()
        .find_map(|body| if let Body::SupplyNotification(told) = body { Some(told) } else { None });
    let block = told.expect("a block is bound").block;
    bench.hear("east", Body::SupplyResponse(itu_y3803::message::SupplyResponse { block, accepted: true }));
    let in_store = |bench: &mut Bench<_>| {
        let mut places: Vec<_> = pads.iter().map(|&pad| (Pool::Outgoing, pad)).collect();
        places.extend([(Pool::Incoming, incoming), (Pool::Supply, block)]);
        let store = &mut bench.manager.store;
        let mut there = Vec::new();
        for (pool, id) in places {
            if let Some(key) = store.take(pool, id).expect("a store in memory does not fail") {
                store.put(key).expect("a store in memory does not fail");
                there.push(pool);
            }
        }
        there
    };
    let before = in_store(&mut bench);
    for pool in [Pool::Outgoing, Pool::Incoming, Pool::Supply] {
        assert!(before.contains(&pool), "{before:?}");
    }
    let life = bench.manager.config().link_key_life.max(bench.manager.config().block_life);
    bench.after(life + Duration::from_millis(1));
    assert_eq!(in_store(&mut bench), []);
}
