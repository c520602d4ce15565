//! The gRPC service. Its frames are octets: tonic only carries them, [`wire`](super::wire) knows what is in them.

use prost::bytes::{Buf, BufMut};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use zeroize::Zeroizing;

/// A frame in wire form; wiped when dropped, for there may be a secret in it. The buffers of tonic, HTTP/2 and TLS between it
/// and the network are not.
pub(crate) type Frame = Zeroizing<Vec<u8>>;

/// Copies frames from and to tonic's buffers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(frame.len());
        out.put_slice(&frame);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, octets: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let mut frame = Zeroizing::new(vec![0; octets.remaining()]);
        octets.copy_to_slice(&mut frame);
        Ok(Some(frame))
    }
}

/// Client and server of the service, by `build.rs`.
pub(super) mod generated {
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, unused_qualifications, dead_code, clippy::all)]
    #![allow(clippy::use_self, clippy::unwrap_used)]
    include!(concat!(env!("OUT_DIR"), "/qkms.kx.v1.KeyManagement.rs"));
}
