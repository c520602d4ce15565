//! Messages between key managers as octets: protobuf, as `proto/kx.proto` has it.

use itu_y3803::message::{Body, MAX_OFFERED_KEYS, MAX_SEALED_OCTETS, MAX_SLAVES};
use itu_y3803::message::{Hello, KeyOffer, KmMessage, OfferAnswer, Parties, SupplyNotification, SupplyResponse};
use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KeySize, LinkId, SecrecyLabel, WallTime};
use prost::Message as _;
use zeroize::{Zeroize, Zeroizing};

/// The most messages in one frame that is received.
pub const MAX_FRAME_MESSAGES: usize = 1024;
/// The most octets of one frame that is received.
pub const MAX_FRAME_OCTETS: usize = 4 << 20;
/// The most octets of one message.
pub const MAX_MESSAGE_OCTETS: usize = 128 << 10;
/// The most messages put into one frame.
pub const FRAME_MESSAGES: usize = 256;
/// The most octets put into one frame.
pub const FRAME_OCTETS: usize = 1 << 20;

/// The messages as frames, in order: as few as the limits of a frame allow.
///
/// A message that this version has no wire form for is left out.
#[must_use]
pub fn encode(messages: &[KmMessage]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut frames = Vec::new();
    let mut frame = proto::Frame::default();
    let mut octets = 0;
    for message in messages.iter().filter_map(to_proto) {
        let length = message.encoded_len() + FIELD_OVERHEAD;
        if frame.messages.len() == FRAME_MESSAGES || octets + length > FRAME_OCTETS {
            frames.push(encode_frame(&std::mem::take(&mut frame)));
            octets = 0;
        }
        octets += length;
        frame.messages.push(message);
    }
    if !frame.messages.is_empty() {
        frames.push(encode_frame(&frame));
    }
    frames
}

/// The messages in a frame, without those whose body is of a kind unknown to this version.
///
/// # Errors
/// [`WireError`] when anything in the frame is not as it should be; then nothing of it counts.
pub fn decode(mut frame: &[u8]) -> Result<Vec<KmMessage>, WireError> {
    if frame.len() > MAX_FRAME_OCTETS {
        return Err(WireError::TooLong);
    }
    // Taken apart by hand: a small frame could hold a million empty messages.
    let mut messages = Vec::new();
    let mut number = 0;
    while !frame.is_empty() {
        let key = prost::decode_length_delimiter(&mut frame).map_err(|_| WireError::Malformed)?;
        let length = prost::decode_length_delimiter(&mut frame).map_err(|_| WireError::Malformed)?;
        let (field, rest) = frame.split_at_checked(length).ok_or(WireError::Malformed)?;
        frame = rest;
        match key {
            MESSAGES_KEY => {
                number += 1;
                if number > MAX_FRAME_MESSAGES || field.len() > MAX_MESSAGE_OCTETS {
                    return Err(WireError::TooLong);
                }
                let message = proto::Message::decode(field).map_err(|_| WireError::Malformed)?;
                messages.extend(from_proto(message)?);
            }
            _ if key & 7 == LENGTH_DELIMITED => {}
            _ => return Err(WireError::Malformed),
        }
    }
    Ok(messages)
}

/// What is wrong with a frame. Nothing of the frame is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// No protobuf, or of another kind.
    #[error("a frame is not what it should be in protobuf")]
    Malformed,
    /// More octets or messages than allowed.
    #[error("a frame or a message in it is too long")]
    TooLong,
    /// A field with a value that it cannot have.
    #[error("a message has an impossible {0}")]
    Field(&'static str),
}

#[allow(missing_debug_implementations, missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, clippy::use_self)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/qkms.kx.v1.rs"));
}

const LENGTH_DELIMITED: usize = 2;
/// Field 1, length-delimited.
const MESSAGES_KEY: usize = 1 << 3 | LENGTH_DELIMITED;
/// Octets of key and length before a message in a frame.
const FIELD_OVERHEAD: usize = 5;
const ID_SECRET_OCTETS: usize = 32;

impl Drop for proto::Hello {
    fn drop(&mut self) {
        self.id_secret.zeroize();
    }
}

fn encode_frame(frame: &proto::Frame) -> Zeroizing<Vec<u8>> {
    // The capacity is exact: a buffer that grew would leave octets behind.
    Zeroizing::new(frame.encode_to_vec())
}

fn to_proto(message: &KmMessage) -> Option<proto::Message> {
    use proto::message::Body as Out;
    let body = match &message.body {
        Body::Hello(hello) => Out::Hello(proto::Hello { id_secret: hello.id_secret.expose_secret().to_vec() }),
        Body::Offer(offer) => Out::Offer(proto::KeyOffer {
            link: offer.link.as_str().to_owned(),
            key: id_octets(offer.key),
            qkd_keys: offer.qkd_keys.iter().flat_map(|id| id.octets()).collect(),
            size: offer.size.bits(),
            expires: offer.expires.millis(),
            spent_below: id_octets(offer.spent_below),
        }),
        Body::OfferAnswer(answer) => Out::OfferAnswer(proto::OfferAnswer {
            link: answer.link.as_str().to_owned(),
            key: id_octets(answer.key),
            accepted: answer.accepted,
        }),
        Body::SupplyNotification(notification) => Out::SupplyNotification(proto::SupplyNotification {
            block: id_octets(notification.block),
            master: notification.parties.master().as_str().to_owned(),
            slaves: notification.parties.slaves().iter().map(|slave| slave.as_str().to_owned()).collect(),
            label: label_to_proto(notification.label)?.into(),
            created: notification.created.millis(),
            expires: notification.expires.millis(),
            link: notification.link.as_str().to_owned(),
            pad: id_octets(notification.pad),
            sealed: notification.sealed.clone(),
            tag: notification.tag.to_vec(),
        }),
        Body::SupplyResponse(response) => {
            Out::SupplyResponse(proto::SupplyResponse { block: id_octets(response.block), accepted: response.accepted })
        }
        _ => return None,
    };
    Some(proto::Message { sender: u64::from_be_bytes(message.sender.octets()), body: Some(body) })
}

/// `None` for a body of unknown kind.
fn from_proto(message: proto::Message) -> Result<Option<KmMessage>, WireError> {
    use proto::message::Body as In;
    let Some(body) = message.body else { return Ok(None) };
    let body = match body {
        In::Hello(mut hello) => {
            if hello.id_secret.len() != ID_SECRET_OCTETS {
                return Err(WireError::Field("secret of identifiers"));
            }
            let octets = std::mem::take(&mut hello.id_secret);
            let id_secret = KeyMaterial::from_octets(octets).map_err(|_| WireError::Field("secret of identifiers"))?;
            Body::Hello(Hello { id_secret })
        }
        In::Offer(offer) => Body::Offer(KeyOffer {
            link: link(&offer.link)?,
            key: key_id(&offer.key)?,
            qkd_keys: key_ids(&offer.qkd_keys)?,
            size: KeySize::from_bits(offer.size).ok_or(WireError::Field("key size"))?,
            expires: WallTime::from_millis(offer.expires),
            spent_below: key_id(&offer.spent_below)?,
        }),
        In::OfferAnswer(answer) => {
            Body::OfferAnswer(OfferAnswer { link: link(&answer.link)?, key: key_id(&answer.key)?, accepted: answer.accepted })
        }
        In::SupplyNotification(notification) => Body::SupplyNotification(SupplyNotification {
            block: key_id(&notification.block)?,
            parties: parties(&notification.master, &notification.slaves)?,
            label: label_from_proto(notification.label())?,
            created: WallTime::from_millis(notification.created),
            expires: WallTime::from_millis(notification.expires),
            link: link(&notification.link)?,
            pad: key_id(&notification.pad)?,
            tag: notification.tag.as_slice().try_into().map_err(|_| WireError::Field("tag"))?,
            sealed: sealed(notification.sealed)?,
        }),
        In::SupplyResponse(response) => {
            Body::SupplyResponse(SupplyResponse { block: key_id(&response.block)?, accepted: response.accepted })
        }
    };
    Ok(Some(KmMessage { sender: Incarnation::from_octets(message.sender.to_be_bytes()), body }))
}

fn id_octets(id: KeyId) -> Vec<u8> {
    id.octets().to_vec()
}

fn key_id(octets: &[u8]) -> Result<KeyId, WireError> {
    octets.try_into().map(KeyId::from_octets).map_err(|_| WireError::Field("key identifier"))
}

fn key_ids(octets: &[u8]) -> Result<Vec<KeyId>, WireError> {
    let (ids, rest) = octets.as_chunks::<16>();
    if !rest.is_empty() || !(1..=MAX_OFFERED_KEYS).contains(&ids.len()) {
        return Err(WireError::Field("list of QKD keys"));
    }
    Ok(ids.iter().copied().map(KeyId::from_octets).collect())
}

fn link(text: &str) -> Result<LinkId, WireError> {
    LinkId::new(text).map_err(|_| WireError::Field("link"))
}

fn parties(master: &str, slaves: &[String]) -> Result<Parties, WireError> {
    let application = |text: &str| ApplicationId::new(text).map_err(|_| WireError::Field("application"));
    if slaves.len() > MAX_SLAVES {
        return Err(WireError::Field("list of slaves"));
    }
    let slaves = slaves.iter().map(|slave| application(slave)).collect::<Result<_, _>>()?;
    Parties::new(application(master)?, slaves).ok_or(WireError::Field("list of slaves"))
}

fn sealed(octets: Vec<u8>) -> Result<Vec<u8>, WireError> {
    if (1..=MAX_SEALED_OCTETS).contains(&octets.len()) { Ok(octets) } else { Err(WireError::Field("length of sealed key")) }
}

fn label_to_proto(label: SecrecyLabel) -> Option<proto::SecrecyLabel> {
    Some(match label {
        SecrecyLabel::ItsRelay => proto::SecrecyLabel::ItsRelay,
        SecrecyLabel::Computational => proto::SecrecyLabel::Computational,
        SecrecyLabel::Hybrid => proto::SecrecyLabel::Hybrid,
        SecrecyLabel::Local => proto::SecrecyLabel::Local,
        _ => return None,
    })
}

fn label_from_proto(label: proto::SecrecyLabel) -> Result<SecrecyLabel, WireError> {
    match label {
        proto::SecrecyLabel::ItsRelay => Ok(SecrecyLabel::ItsRelay),
        proto::SecrecyLabel::Computational => Ok(SecrecyLabel::Computational),
        proto::SecrecyLabel::Hybrid => Ok(SecrecyLabel::Hybrid),
        proto::SecrecyLabel::Local => Ok(SecrecyLabel::Local),
        // Also what this version does not know.
        proto::SecrecyLabel::Unspecified => Err(WireError::Field("secrecy label")),
    }
}
