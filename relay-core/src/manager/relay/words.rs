//! The octets that the tags of relays are made over (relay digest A.4, item 2).

use itu_y3803::message::{RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyMaterial, KmId};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

use super::COMPLETION_OCTETS;
use crate::encoding::Writer;

/// What a step says, with who says it to whom. The pad of a hop is sealed over what its reservation said.
pub(super) fn step(sender: Incarnation, from: &KmId, to: &KmId, relay: itu_y3803::KeyId, step: &RelayStep) -> Vec<u8> {
    let mut out = Writer::with_capacity(256);
    out.text("qkms relay 1");
    out.0.extend_from_slice(&sender.octets());
    out.text(from.as_str());
    out.text(to.as_str());
    out.0.extend_from_slice(&relay.octets());
    match step {
        RelayStep::Reserve(reservation) => {
            out.text("reserve R2");
            write_key(&mut out, reservation);
            out.octet(reservation.part);
            out.number(reservation.path.len() as u64);
            reservation.path.iter().for_each(|node| out.text(node.as_str()));
            out.octet(reservation.hop);
            out.text(reservation.link.as_str());
            out.0.extend_from_slice(&reservation.pad.octets());
            out.octet(reservation.spare);
        }
        RelayStep::Reserved => out.text("reserved"),
        RelayStep::Refused { at, reason } => {
            out.text("refused");
            out.text(at.as_str());
            out.text(reason.as_str());
        }
        // These have tags of their own.
        _ => {}
    }
    std::mem::take(&mut *out.0)
}

/// What source and destination know of a key, whatever path its parts took.
pub(super) fn key(reservation: &RelayReservation) -> Vec<u8> {
    let mut out = Writer::with_capacity(128);
    out.text("qkms relayed key 1");
    for end in [reservation.path.first(), reservation.path.last()].into_iter().flatten() {
        out.text(end.as_str());
    }
    write_key(&mut out, reservation);
    std::mem::take(&mut *out.0)
}

/// Made by the destination for the source, under key that both have from this relay alone.
pub(super) fn completion_tag(reservation: &RelayReservation, material: &KeyMaterial) -> Option<[u8; 16]> {
    let (rest, completion) = material.expose_secret().split_last_chunk::<COMPLETION_OCTETS>()?;
    let facts = key(reservation);
    let mut text = Writer::with_capacity(8 + facts.len() + rest.len());
    text.octets(&facts);
    text.octets(rest);
    Some(Poly1305::new(completion.into()).compute_unpadded(&text.0).into())
}

fn write_key(out: &mut Writer, reservation: &RelayReservation) {
    out.0.extend_from_slice(&reservation.key.octets());
    out.octet(reservation.needed);
    out.octet(reservation.of);
    out.number(u64::from(reservation.octets));
    out.number(reservation.expires.millis());
}

#[cfg(test)]
mod tests {
    use itu_y3803::{KeyId, LinkId, WallTime};

    use super::*;

    /// By a Poly1305 written from RFC 8439.
    #[test]
    fn vector_of_a_completion() {
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
        let secret = KeyMaterial::from_octets((0..100).collect()).expect("whole octets");
        let tag = completion_tag(&reservation, &secret).map(u128::from_be_bytes);
        assert_eq!(tag, Some(0x9cf6_ac23_ad28_bd7b_65a1_113c_806f_d4cc));
        let short = KeyMaterial::from_octets(vec![0; 31]).expect("whole octets");
        assert_eq!(completion_tag(&reservation, &short), None);
    }
}
