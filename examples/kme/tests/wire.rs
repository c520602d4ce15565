//! Messages between KMEs as octets.

use itu_y3803::message::{
    Body, Hello, KeyOffer, KmMessage, MAX_OFFERED_KEYS, MAX_SEALED_OCTETS, MAX_SLAVES, OfferAnswer, Parties, SupplyNotification,
    SupplyResponse,
};
use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KeySize, LinkId, SecrecyLabel, WallTime};
use kme::kx::wire::{self, FRAME_MESSAGES, FRAME_OCTETS, MAX_FRAME_MESSAGES, MAX_FRAME_OCTETS, WireError};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn messages_round_trip(messages in vec(any_message(), 0..20)) {
        let frames = wire::encode(&messages);
        let decoded: Vec<_> = frames.iter().flat_map(|frame| wire::decode(frame).expect("own frames can be read")).collect();
        prop_assert_eq!(texts(&decoded), texts(&messages));
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..300)) {
        let _ = wire::decode(&octets);
    }

    #[test]
    fn damaged_frames_do_not_panic(
        messages in vec(any_message(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = wire::encode(&messages).remove(0).to_vec();
        for (at, octet) in changes {
            let at = at.index(frame.len());
            frame[at] = octet;
        }
        let _ = wire::decode(&frame);
        let _ = wire::decode(&frame[..cut.index(frame.len())]);
    }
}

#[test]
fn frames_keep_to_the_limits_and_the_order() {
    let small = |number| message(Body::SupplyResponse(SupplyResponse { block: key_id(number), accepted: true }));
    let large = |number| message(Body::SupplyNotification(notification(number, &["blue"], MAX_SEALED_OCTETS)));
    let cases: [(Vec<_>, usize); 4] = [
        (Vec::new(), 0),
        ((0..FRAME_MESSAGES as u64).map(small).collect(), 1),
        ((0..FRAME_MESSAGES as u64 + 1).map(small).collect(), 2),
        ((0..20).map(large).collect(), 2),
    ];
    for (messages, wanted) in cases {
        let frames = wire::encode(&messages);
        assert_eq!(frames.len(), wanted);
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_OCTETS));
        let decoded: Vec<_> = frames.iter().flat_map(|frame| wire::decode(frame).expect("can be read")).collect();
        assert_eq!(texts(&decoded), texts(&messages));
    }
}

#[test]
fn the_largest_messages_pass() {
    let id = "x".repeat(512);
    let slaves: Vec<_> = (0..MAX_SLAVES).map(|number| format!("{number:0>512}")).collect();
    let slaves: Vec<_> = slaves.iter().map(String::as_str).collect();
    let mut notification = notification(1, &slaves, MAX_SEALED_OCTETS);
    notification.link = LinkId::new(&id).expect("valid");
    let mut offer = offer(MAX_OFFERED_KEYS);
    offer.link = LinkId::new(&id).expect("valid");
    for body in [Body::SupplyNotification(notification), Body::Offer(offer)] {
        let messages = [message(body)];
        let decoded = wire::decode(&wire::encode(&messages)[0]).expect("can be read");
        assert_eq!(texts(&decoded), texts(&messages));
    }
}

#[test]
fn impossible_fields_are_refused() {
    let mut empty = notification(1, &["blue"], 1);
    empty.sealed.clear();
    let mut long = notification(1, &["blue"], 1);
    long.sealed = vec![0; MAX_SEALED_OCTETS + 1];
    let secret = |octets: usize| KeyMaterial::from_octets(vec![1; octets]).expect("whole octets");
    for (body, field) in [
        (Body::SupplyNotification(empty), "length of sealed key"),
        (Body::SupplyNotification(long), "length of sealed key"),
        (Body::Offer(offer(0)), "list of QKD keys"),
        (Body::Offer(offer(MAX_OFFERED_KEYS + 1)), "list of QKD keys"),
        (Body::Hello(Hello { id_secret: secret(31) }), "secret of identifiers"),
        (Body::Hello(Hello { id_secret: secret(33) }), "secret of identifiers"),
    ] {
        let frame = wire::encode(&[message(body)]).remove(0);
        assert_eq!(wire::decode(&frame).expect_err(field), WireError::Field(field));
    }
}

/// Frames by hand: field numbers and types as `proto/kx.proto` has them.
#[test]
fn vectors() {
    let accepted = || [bytes(1, &[7; 16]), vec![2 << 3, 1]].concat();
    let answer = |fields: &[Vec<u8>]| frame(&[bytes(4, &fields.concat())]);
    let notification = |slaves: &[&str], label: u8, tag: usize| {
        let slaves: Vec<_> = slaves.iter().flat_map(|slave| bytes(3, slave.as_bytes())).collect();
        let fields = [
            bytes(1, &[1; 16]),
            bytes(2, b"red"),
            slaves,
            vec![4 << 3, label],
            bytes(7, b"link"),
            bytes(8, &[2; 16]),
            bytes(9, b"sealed"),
            bytes(10, &vec![3; tag]),
        ];
        frame(&[bytes(5, &fields.concat())])
    };
    let one = Ok(1);
    let field = |name| Err(WireError::Field(name));
    let cases: Vec<(&str, Vec<u8>, Result<usize, WireError>)> = vec![
        ("empty frame", Vec::new(), Ok(0)),
        ("response", frame(&[bytes(6, &accepted())]), one),
        ("two messages", [frame(&[bytes(6, &accepted())]), frame(&[bytes(6, &accepted())])].concat(), Ok(2)),
        ("body of unknown kind", frame(&[bytes(99, b"from the future")]), Ok(0)),
        ("no body", frame(&[]), Ok(0)),
        ("unknown field in a message", frame(&[bytes(6, &accepted()), bytes(98, b"new")]), one),
        ("unknown field in a frame", [bytes(3, b"new"), frame(&[bytes(6, &accepted())])].concat(), one),
        ("block of 15 octets", frame(&[bytes(6, &bytes(1, &[7; 15]))]), field("key identifier")),
        ("no block", frame(&[bytes(6, &[2 << 3, 1])]), field("key identifier")),
        ("answer", answer(&[bytes(1, b"link"), bytes(2, &[1; 16])]), one),
        ("link with a control character", answer(&[bytes(1, b"a\nb"), bytes(2, &[1; 16])]), field("link")),
        ("link too long", answer(&[bytes(1, &[b'x'; 513]), bytes(2, &[1; 16])]), field("link")),
        ("link that is no text", answer(&[bytes(1, &[0xff]), bytes(2, &[1; 16])]), Err(WireError::Malformed)),
        ("offer without a size", frame(&[bytes(3, &offer_fields(16, None))]), field("key size")),
        ("offer", frame(&[bytes(3, &offer_fields(16, Some(8)))]), one),
        ("offer with half an identifier", frame(&[bytes(3, &offer_fields(24, Some(8)))]), field("list of QKD keys")),
        ("notification", notification(&["blue", "green"], 1, 16), one),
        ("no slave", notification(&[], 1, 16), field("list of slaves")),
        ("a slave twice", notification(&["blue", "blue"], 1, 16), field("list of slaves")),
        ("too many slaves", notification(&["x"; MAX_SLAVES + 1], 1, 16), field("list of slaves")),
        ("slave without a name", notification(&[""], 1, 16), field("application")),
        ("no label", notification(&["blue"], 0, 16), field("secrecy label")),
        ("unknown label", notification(&["blue"], 77, 16), field("secrecy label")),
        ("short tag", notification(&["blue"], 1, 15), field("tag")),
        ("frame cut off", vec![1 << 3 | 2, 5, 0], Err(WireError::Malformed)),
        ("not length-delimited", vec![1 << 3, 5], Err(WireError::Malformed)),
        ("length beyond everything", [vec![1 << 3 | 2], vec![0xff; 9], vec![1]].concat(), Err(WireError::Malformed)),
        ("key beyond everything", vec![0xff; 11], Err(WireError::Malformed)),
        ("as many messages as allowed", [1 << 3 | 2, 0].repeat(MAX_FRAME_MESSAGES), Ok(0)),
        ("too many messages", [1 << 3 | 2, 0].repeat(MAX_FRAME_MESSAGES + 1), Err(WireError::TooLong)),
        ("message too long", frame(&[bytes(99, &vec![0; 128 << 10])]), Err(WireError::TooLong)),
        ("frame too long", bytes(3, &vec![0; MAX_FRAME_OCTETS]), Err(WireError::TooLong)),
    ];
    for (name, octets, wanted) in cases {
        assert_eq!(wire::decode(&octets).map(|messages| messages.len()), wanted, "{name}");
    }
}

fn offer_fields(qkd_octets: usize, size: Option<u8>) -> Vec<u8> {
    let size = size.map(|size| vec![4 << 3, size]).unwrap_or_default();
    let keys = vec![1; qkd_octets];
    [bytes(1, b"link"), bytes(2, &[1; 16]), bytes(3, &keys), size, bytes(6, &[0; 16])].concat()
}

fn frame(fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(1, &fields.concat())
}

/// A length-delimited field.
fn bytes(number: u64, octets: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(octets.len() as u64), octets.to_vec()].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

/// Every field as text; the secret of a hello, which has none, as its octets.
fn texts(messages: &[KmMessage]) -> Vec<String> {
    let text = |message: &KmMessage| match &message.body {
        Body::Hello(hello) => format!("{:?} {:?}", message.sender, hello.id_secret.expose_secret()),
        body => format!("{:?} {body:?}", message.sender),
    };
    messages.iter().map(text).collect()
}

fn message(body: Body) -> KmMessage {
    KmMessage { sender: Incarnation::from_octets([9; 8]), body }
}

fn key_id(number: u64) -> KeyId {
    Incarnation::from_octets([8; 8]).key_id(number)
}

fn offer(keys: usize) -> KeyOffer {
    KeyOffer {
        link: LinkId::new("north-south").expect("valid"),
        key: key_id(1),
        qkd_keys: (0..keys as u64).map(key_id).collect(),
        size: KeySize::BITS_256,
        expires: WallTime::NEVER,
        spent_below: key_id(0),
    }
}

fn notification(number: u64, slaves: &[&str], octets: usize) -> SupplyNotification {
    let application = |id: &&str| ApplicationId::new(id).expect("valid");
    SupplyNotification {
        block: key_id(number),
        parties: Parties::new(application(&"red"), slaves.iter().map(application).collect()).expect("distinct"),
        label: SecrecyLabel::ItsRelay,
        created: WallTime::from_millis(1),
        expires: WallTime::from_millis(2),
        link: LinkId::new("north-south").expect("valid"),
        pad: key_id(3),
        sealed: vec![5; octets],
        tag: [6; 16],
    }
}

fn any_message() -> impl Strategy<Value = KmMessage> {
    (any::<[u8; 8]>(), any_body()).prop_map(|(sender, body)| KmMessage { sender: Incarnation::from_octets(sender), body })
}

fn any_body() -> impl Strategy<Value = Body> {
    let id = || any::<[u8; 16]>().prop_map(KeyId::from_octets);
    let text = || "[^\\p{Cc}]{1,40}";
    let link = || text().prop_map(|text| LinkId::new(&text).expect("valid"));
    let time = || any::<u64>().prop_map(WallTime::from_millis);
    let size = (1_u32..).prop_map(|bits| KeySize::from_bits(bits).expect("not zero"));
    let hello =
        any::<[u8; 32]>().prop_map(|octets| Hello { id_secret: KeyMaterial::from_octets(octets.to_vec()).expect("whole") });
    let offer =
        (link(), id(), vec(id(), 1..40), size, time(), id()).prop_map(|(link, key, qkd_keys, size, expires, spent_below)| {
            KeyOffer { link, key, qkd_keys, size, expires, spent_below }
        });
    let answer = (link(), id(), any::<bool>()).prop_map(|(link, key, accepted)| OfferAnswer { link, key, accepted });
    let parties = (text(), prop::collection::btree_set(text(), 1..6)).prop_map(|(master, slaves)| {
        let application = |id: &String| ApplicationId::new(id).expect("valid");
        Parties::new(application(&master), slaves.iter().map(application).collect()).expect("distinct")
    });
    let label = prop::sample::select(SecrecyLabel::ALL.to_vec());
    let notification = (id(), parties, label, (time(), time()), link(), id(), vec(any::<u8>(), 1..200), any::<[u8; 16]>())
        .prop_map(|(block, parties, label, (created, expires), link, pad, sealed, tag)| SupplyNotification {
            block,
            parties,
            label,
            created,
            expires,
            link,
            pad,
            sealed,
            tag,
        });
    let response = (id(), any::<bool>()).prop_map(|(block, accepted)| SupplyResponse { block, accepted });
    prop_oneof![
        hello.prop_map(Body::Hello),
        offer.prop_map(Body::Offer),
        answer.prop_map(Body::OfferAnswer),
        notification.prop_map(Body::SupplyNotification),
        response.prop_map(Body::SupplyResponse),
    ]
}
