use std::collections::{BTreeMap, BTreeSet};

use itu_y3803::KeySize;
use proptest::prelude::*;
use subtle::ConstantTimeEq;

use super::*;

const SCHEMES: [Scheme; 6] = [
    Scheme::HopByHop(EndKey::FirstLink),
    Scheme::HopByHop(EndKey::Random),
    Scheme::ToDestination(EndKey::FirstLink),
    Scheme::ToDestination(EndKey::Random),
    Scheme::Central(EndKey::FirstLink),
    Scheme::Central(EndKey::Random),
];

fn key(hex: &str) -> KeyMaterial {
    let octets = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"));
    KeyMaterial::from_octets(octets.collect()).expect("whole octets")
}

fn relay(scheme: Scheme, hops: usize) -> Relay {
    Relay::new(scheme, u8::try_from(hops).ok().and_then(NonZeroU8::new).expect("a number of hops"))
}

/// All that happens in one relay.
struct Run {
    messages: Vec<(Node, Node, KeyMaterial)>,
    source: KeyMaterial,
    destination: KeyMaterial,
}

impl Run {
    fn new(scheme: Scheme, link_keys: &[KeyMaterial], random: &KeyMaterial) -> Self {
        let relay = relay(scheme, link_keys.len());
        let link_key = |hop: u8| link_keys[usize::from(hop) - 1].duplicate();
        let mut random = |out: &mut [u8]| out.copy_from_slice(random.expose_secret());
        let (source, first) = relay.source(link_key(1), &mut random);
        let mut first = first.map(|Masked(message)| message);
        let mut messages: Vec<(Node, Node, KeyMaterial)> = Vec::new();
        for (from, to) in relay.messages() {
            let heard = heard(&messages, from);
            let message = match from {
                Node::At(0) => first.take().expect("the source sends"),
                Node::At(at) => relay.intermediate(at, heard, link_key(at), link_key(at + 1)).expect("as expected").0,
                Node::Centre => relay.centre(heard).expect("as expected").0,
            };
            messages.push((from, to, message));
        }
        assert!(first.is_none(), "the source has something to send, but to nobody");
        let last = relay.hops.get();
        let destination = relay.destination(heard(&messages, Node::At(last)), link_key(last)).expect("as expected");
        Self { messages, source, destination }
    }
}

fn heard(messages: &[(Node, Node, KeyMaterial)], node: Node) -> Vec<(Node, Masked)> {
    let to_node = messages.iter().filter(|(_, to, _)| *to == node);
    to_node.map(|(from, _, message)| (*from, Masked(message.duplicate()))).collect()
}

const LINK_KEYS: [&str; 3] =
    ["d5f9ce49ed43b9d4a53c8e877a3c2b12", "9243d786ba404b7189ab1a8e810ebfbb", "db562c24ab8bb1bb664a0603d01879c2"];
const RANDOM: &str = "9abfd2db3b7a2b777e6d531b621619c4";

/// A row: scheme, messages in order, key.
type Row = (Scheme, &'static [(Node, Node, &'static str)], &'static str);

#[test]
fn vectors_on_a_path_of_three_hops() {
    use Node::{At, Centre};
    const A: Node = At(0);
    const B: Node = At(1);
    const C: Node = At(2);
    const D: Node = At(3);
    let rows: [Row; 6] = [
        (
            Scheme::HopByHop(EndKey::FirstLink),
            &[(B, C, "47ba19cf5703f2a52c979409fb3294a9"), (C, D, "0eafe26d46c8086fc3768884aa2452d0")],
            LINK_KEYS[0],
        ),
        (
            Scheme::HopByHop(EndKey::Random),
            &[
                (A, B, "4f461c92d63992a3db51dd9c182a32d6"),
                (B, C, "08fc055d813a6006f7c64995e318a67f"),
                (C, D, "41e9feff90f19acc18275518b20e6006"),
            ],
            RANDOM,
        ),
        (
            Scheme::ToDestination(EndKey::FirstLink),
            &[(B, D, "47ba19cf5703f2a52c979409fb3294a9"), (C, D, "4915fba211cbfacaefe11c8d5116c679")],
            LINK_KEYS[0],
        ),
        (
            Scheme::ToDestination(EndKey::Random),
            &[
                (A, D, "4f461c92d63992a3db51dd9c182a32d6"),
                (B, D, "47ba19cf5703f2a52c979409fb3294a9"),
                (C, D, "4915fba211cbfacaefe11c8d5116c679"),
            ],
            RANDOM,
        ),
        (
            Scheme::Central(EndKey::FirstLink),
            &[
                (B, Centre, "47ba19cf5703f2a52c979409fb3294a9"),
                (C, Centre, "4915fba211cbfacaefe11c8d5116c679"),
                (Centre, D, "0eafe26d46c8086fc3768884aa2452d0"),
            ],
            LINK_KEYS[0],
        ),
        (
            // What the centre sends is the key under the last link key, as node C sends it in R2.
            Scheme::Central(EndKey::Random),
            &[
                (A, Centre, "4f461c92d63992a3db51dd9c182a32d6"),
                (B, Centre, "47ba19cf5703f2a52c979409fb3294a9"),
                (C, Centre, "4915fba211cbfacaefe11c8d5116c679"),
                (Centre, D, "41e9feff90f19acc18275518b20e6006"),
            ],
            RANDOM,
        ),
    ];
    assert_eq!(rows.map(|(scheme, ..)| scheme), SCHEMES);
    for (scheme, messages, end_key) in rows {
        let run = Run::new(scheme, &LINK_KEYS.map(key), &key(RANDOM));
        let octets = |(from, to, message): &(Node, Node, KeyMaterial)| (*from, *to, message.expose_secret().to_vec());
        let expected = |&(from, to, hex): &(Node, Node, &str)| (from, to, key(hex).expose_secret().to_vec());
        let sent: Vec<_> = run.messages.iter().map(octets).collect();
        assert_eq!(sent, messages.iter().map(expected).collect::<Vec<_>>(), "{scheme:?}");
        for end in [run.source, run.destination] {
            assert_eq!(end.expose_secret(), key(end_key).expose_secret(), "{scheme:?}");
        }
    }
}

#[test]
fn the_default_is_a_random_key_hop_by_hop() {
    assert_eq!(Scheme::default(), Scheme::HopByHop(EndKey::Random));
    assert_eq!(EndKey::default(), EndKey::Random);
}

/// A view of a relay, as text.
type View<'a> = &'a dyn Fn(&[KeyMaterial], &Run) -> Vec<u8>;

/// How many keys fit to each thing seen, by all values of three link keys and a random number of one bit. Bits do not mix, so
/// this holds for every length.
fn keys_that_fit(scheme: Scheme, view: View<'_>) -> BTreeSet<usize> {
    let bit = |bits: u8, at: u8| KeyMaterial::new(vec![(bits >> at & 1) << 7], KeySize::MIN).expect("one bit");
    let mut seen: BTreeMap<Vec<u8>, BTreeMap<u8, usize>> = BTreeMap::new();
    for bits in 0..16 {
        let link_keys = [0, 1, 2].map(|at| bit(bits, at));
        let run = Run::new(scheme, &link_keys, &bit(bits, 3));
        *seen.entry(view(&link_keys, &run)).or_default().entry(run.source.expose_secret()[0]).or_default() += 1;
    }
    let even = |keys: &BTreeMap<u8, usize>| keys.values().collect::<BTreeSet<_>>().len() == 1;
    assert!(seen.values().all(even), "some of the key is told: {seen:?}");
    seen.values().map(BTreeMap::len).collect()
}

/// Y3803-9.3-03, Y3803-9.3-04: the table of the module's front page, exactly.
#[test]
fn who_learns_what() {
    let all = |_: &[KeyMaterial], run: &Run| run.messages.iter().map(|(.., message)| message.expose_secret()[0]).collect();
    let own = |node: Node, run: &Run| -> Vec<u8> {
        let own = run.messages.iter().filter(|(from, to, _)| *from == node || *to == node);
        own.map(|(.., message)| message.expose_secret()[0]).collect()
    };
    let keys = |at: usize, link_keys: &[KeyMaterial]| [at - 1, at].map(|hop| link_keys[hop].expose_secret()[0]);
    let (nothing, key) = (BTreeSet::from([2]), BTreeSet::from([1]));
    for scheme in SCHEMES {
        assert_eq!(keys_that_fit(scheme, &all), nothing, "{scheme:?}");
        for at in [1, 2] {
            let alone = |link_keys: &[KeyMaterial], run: &Run| [&keys(at, link_keys)[..], &own(Node::At(at as u8), run)].concat();
            let knows = match scheme {
                Scheme::HopByHop(_) => &key,
                _ if at == 1 && scheme.end_key() == EndKey::FirstLink => &key,
                _ => &nothing,
            };
            assert_eq!(keys_that_fit(scheme, &alone), *knows, "{scheme:?}, node {at}");
            let with_all = |link_keys: &[KeyMaterial], run: &Run| [&keys(at, link_keys)[..], &all(link_keys, run)].concat();
            assert_eq!(keys_that_fit(scheme, &with_all), key, "{scheme:?}, node {at}");
            if let Scheme::Central(_) = scheme {
                let with_centre =
                    |link_keys: &[KeyMaterial], run: &Run| [&keys(at, link_keys)[..], &own(Node::Centre, run)].concat();
                assert_eq!(keys_that_fit(scheme, &with_centre), key, "{scheme:?}, node {at}");
            }
        }
        assert_eq!(keys_that_fit(scheme, &|_, run| own(Node::Centre, run)), nothing, "{scheme:?}");
    }
}

#[test]
fn messages_that_are_missing_doubled_or_of_others_are_refused() {
    let message = || Masked(key(RANDOM));
    let link_key = || key(LINK_KEYS[0]);
    let relay_of = |scheme| relay(scheme, 3);
    for (scheme, senders, wanted) in [
        (SCHEMES[0], &[][..], RelayError::Missing(Node::At(2))),
        (SCHEMES[1], &[Node::At(1)], RelayError::Unexpected(Node::At(1))),
        (SCHEMES[2], &[Node::At(2), Node::At(2)], RelayError::Unexpected(Node::At(2))),
        (SCHEMES[2], &[Node::At(0), Node::At(1), Node::At(2)], RelayError::Unexpected(Node::At(0))),
        (SCHEMES[3], &[Node::At(1), Node::At(2)], RelayError::Missing(Node::At(0))),
        (SCHEMES[4], &[Node::At(2)], RelayError::Unexpected(Node::At(2))),
        (SCHEMES[5], &[Node::Centre, Node::Centre], RelayError::Unexpected(Node::Centre)),
    ] {
        let heard = senders.iter().map(|&from| (from, message()));
        assert_eq!(relay_of(scheme).destination(heard, link_key()).expect_err("refused"), wanted, "{scheme:?} {senders:?}");
    }
    let from_source = || [(Node::At(0), message())];
    let of_r1 = relay_of(SCHEMES[0]).intermediate(1, from_source(), link_key(), link_key());
    assert_eq!(of_r1.expect_err("refused"), RelayError::Unexpected(Node::At(0)));
    let of_r2 = relay_of(SCHEMES[1]).intermediate(1, [], link_key(), link_key());
    assert_eq!(of_r2.expect_err("refused"), RelayError::Missing(Node::At(0)));
    for at in [0, 3, 4] {
        let at_no_place = relay_of(SCHEMES[2]).intermediate(at, [], link_key(), link_key());
        assert_eq!(at_no_place.expect_err("refused"), RelayError::NoPart, "{at}");
    }
    for idle in [relay_of(SCHEMES[1]), relay(SCHEMES[4], 1)] {
        assert_eq!(idle.centre([]).expect_err("refused"), RelayError::NoPart);
    }
}

#[test]
fn unequal_lengths_are_refused_never_cut() {
    let link_key = || key(LINK_KEYS[0]);
    let bits = |bits| KeyMaterial::new(vec![0; 16], KeySize::from_bits(bits).expect("not zero")).expect("fits");
    for other in [key(&LINK_KEYS[0][2..]), key(&[LINK_KEYS[0], "00"].concat()), bits(127)] {
        let relay = relay(Scheme::default(), 2);
        let lengths = [
            relay.carry(other.duplicate(), &link_key()).err(),
            relay.destination([(Node::At(1), Masked(other.duplicate()))], link_key()).err(),
            relay.destination([(Node::At(1), Masked(link_key()))], other.duplicate()).err(),
            relay.intermediate(1, [(Node::At(0), Masked(link_key()))], link_key(), other.duplicate()).err(),
            relay.intermediate(1, [(Node::At(0), Masked(other))], link_key(), link_key()).err(),
        ];
        assert_eq!(lengths, [Some(RelayError::Lengths); 5]);
    }
}

#[test]
fn a_secret_that_is_there_already_is_carried_like_a_random_one() {
    let secret = key(RANDOM);
    let message = relay(Scheme::default(), 1).carry(key(LINK_KEYS[0]), &secret).expect("of one length");
    let arrived = relay(Scheme::default(), 1).destination([(Node::At(0), message)], key(LINK_KEYS[0])).expect("as expected");
    assert!(bool::from(arrived.ct_eq(&secret)));
    assert_eq!(relay(SCHEMES[0], 1).carry(key(LINK_KEYS[0]), &secret).expect_err("its key is the link's"), RelayError::NoPart);
}

proptest! {
    #[test]
    fn both_ends_have_one_key_in_every_scheme(hops in 1_usize..=10, bits in 1_u32..600, seed: u64) {
        let size = KeySize::from_bits(bits).expect("not zero");
        let mut state = seed;
        let mut draw = || KeyMaterial::generate(size, &mut |out: &mut [u8]| out.fill_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        }));
        let link_keys: Vec<_> = (0..hops).map(|_| draw()).collect();
        let random = draw();
        for scheme in SCHEMES {
            let run = Run::new(scheme, &link_keys, &random);
            prop_assert!(bool::from(run.source.ct_eq(&run.destination)), "{scheme:?}");
            let end_key = if scheme.end_key() == EndKey::Random { &random } else { &link_keys[0] };
            prop_assert!(bool::from(run.source.ct_eq(end_key)), "{scheme:?}");
            prop_assert!(run.messages.iter().all(|(.., message)| message.size() == size));
            let centre = matches!(scheme, Scheme::Central(_)) && run.messages.len() > 1;
            let without_source = usize::from(scheme.end_key() == EndKey::FirstLink);
            prop_assert_eq!(run.messages.len(), hops - without_source + usize::from(centre));
        }
    }
}
