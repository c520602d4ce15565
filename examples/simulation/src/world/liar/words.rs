//! The octets that tags of relays are made over, and the tags. A node that lies is a node with key: what it says has tags that fit.
//!
//! Written anew, as the engine tells nobody how it does this. That both say the same is held at each message that a liar changes.

use itu_y3803::message::{RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyId, KmId, KmaKey};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

pub(super) const TAG_KEY_OCTETS: usize = 32;

/// What a step says, with who says it to whom.
pub(super) fn step(sender: Incarnation, from: &KmId, to: &KmId, relay: KeyId, step: &RelayStep) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, "qkms relay 1");
    out.extend(sender.octets());
    text(&mut out, from.as_str());
    text(&mut out, to.as_str());
    out.extend(relay.octets());
    match step {
        RelayStep::Reserve(reservation) => {
            text(&mut out, "reserve R2");
            key(&mut out, reservation);
            out.push(reservation.part);
            number(&mut out, reservation.path.len() as u64);
            reservation.path.iter().for_each(|node| text(&mut out, node.as_str()));
            out.push(reservation.hop);
            text(&mut out, reservation.link.as_str());
            out.extend(reservation.pad.octets());
            out.push(reservation.spare);
        }
        RelayStep::Reserved => text(&mut out, "reserved"),
        RelayStep::Refused { at, reason } => {
            text(&mut out, "refused");
            text(&mut out, at.as_str());
            text(&mut out, reason.as_str());
        }
        _ => {}
    }
    out
}

/// The tag of one place of a link key.
pub(super) fn tag(key: &KmaKey, place: u32, message: &[u8]) -> Option<[u8; 16]> {
    let start = place as usize * TAG_KEY_OCTETS;
    let key = key.material.expose_secret().get(start..)?.first_chunk::<TAG_KEY_OCTETS>()?;
    Some(Poly1305::new(key.into()).compute_unpadded(message).into())
}

/// What a destination that has the key tells its source.
pub(super) fn completion_tag(reservation: &RelayReservation, relayed: &[u8]) -> Option<[u8; 16]> {
    let (rest, completion) = relayed.split_last_chunk::<TAG_KEY_OCTETS>()?;
    let (mut facts, mut message) = (Vec::new(), Vec::new());
    text(&mut facts, "qkms relayed key 1");
    for end in [reservation.path.first(), reservation.path.last()].into_iter().flatten() {
        text(&mut facts, end.as_str());
    }
    key(&mut facts, reservation);
    octets(&mut message, &facts);
    octets(&mut message, rest);
    Some(Poly1305::new(completion.into()).compute_unpadded(&message).into())
}

fn key(out: &mut Vec<u8>, reservation: &RelayReservation) {
    out.extend(reservation.key.octets());
    out.extend([reservation.needed, reservation.of]);
    number(out, u64::from(reservation.octets));
    number(out, reservation.expires.millis());
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    octets(out, text.as_bytes());
}

fn octets(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend((octets.len() as u32).to_be_bytes());
    out.extend(octets);
}

#[cfg(test)]
mod tests {
    use itu_y3803::{LinkId, WallTime};

    use super::*;

    /// The vector of the engine.
    #[test]
    fn a_completion_is_that_of_the_engine() {
        let reservation = RelayReservation {
            key: KeyId::from_octets([7; 16]),
            part: 1,
            needed: 2,
            of: 3,
            path: ["north", "middle", "south"].map(|node| KmId::new(node).expect("valid")).into(),
            hop: 1,
            octets: 100,
            expires: WallTime::from_millis(5_000),
            link: LinkId::new("link").expect("valid"),
            pad: KeyId::from_octets([8; 16]),
            spare: 0,
        };
        let tag = completion_tag(&reservation, &(0..100).collect::<Vec<_>>()).map(u128::from_be_bytes);
        assert_eq!(tag, Some(0x9cf6_ac23_ad28_bd7b_65a1_113c_806f_d4cc));
    }
}
