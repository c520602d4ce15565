//! A gRPC client that says anything.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use prost::bytes::{Buf, BufMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Endpoint, Uri};
use tonic::{Request, Status};

use crate::world::PATIENCE;

pub(crate) async fn say(config: Arc<ClientConfig>, address: SocketAddr, frame: Vec<u8>) -> Result<(), Status> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(config).connect(name, stream).await.expect("a handshake");
    let connector = Connector(Some(TokioIo::new(stream)));
    let channel = Endpoint::from_static("https://localhost").connect_with_connector(connector).await.expect("connects");
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("is ready");
    let frames = tokio_stream::StreamExt::chain(tokio_stream::once(frame), tokio_stream::pending());
    let path = PathAndQuery::from_static("/qkms.kx.v1.KeyManagement/Session");
    let mut responses = client.streaming(Request::new(frames), path, Raw).await?.into_inner();
    let end = tokio::time::timeout(PATIENCE, responses.message()).await.expect("ends");
    end.map(drop)
}

struct Connector(Option<TokioIo<TlsStream<TcpStream>>>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Ready<std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Ok(self.0.take().expect("connects once")))
    }
}

#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, octets: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        octets.advance(octets.remaining());
        Ok(Some(()))
    }
}
