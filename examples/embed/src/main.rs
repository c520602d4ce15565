//! ETSI GS QKD 014 in a hyper server of your own.
//!
//! ```sh
//! cargo run -p embed
//! curl -H 'SAE: red' http://127.0.0.1:8080/api/v1/keys/blue/enc_keys
//! curl -H 'SAE: blue' 'http://127.0.0.1:8080/api/v1/keys/red/dec_keys?key_ID=PASTE_THE_ID'
//! ```
//!
//! To keep it short, a header says who calls, and keys live in memory. A KME has mutual TLS and takes the SAE ID from the client
//! certificate (014-4-09), and keeps its promises through a crash: the reference KME in `examples/kme` does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex};

use etsi014::{
    Body, Call, Decoding, GetStatus, Key, KeyContainer, KeyId, KeyMaterial, KmeId, Limits, Parties, Rejection, Reply, SaeId,
    answer,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// No request of the API needs more; a body is read no further.
const MAX_BODY_OCTETS: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("serving http://{}", listener.local_addr()?);
    serve(listener, Arc::new(Kme::new()?)).await
}

async fn serve(listener: TcpListener, kme: Arc<Kme>) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let kme = Arc::clone(&kme);
        let service = service_fn(move |request| {
            let kme = Arc::clone(&kme);
            async move { Ok::<_, Infallible>(respond(&kme, request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// From hyper to `etsi014` and back.
async fn respond(kme: &Kme, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, incoming) = request.into_parts();
    let caller = parts.headers.get("sae").and_then(|id| id.to_str().ok()).and_then(|id| SaeId::new(id).ok());
    let response = match (caller, Limited::new(incoming, MAX_BODY_OCTETS).collect().await) {
        (None, _) => Rejection::Unauthenticated.into_http(),
        (_, Err(_)) => Rejection::PayloadTooLarge.into_http(),
        (Some(caller), Ok(body)) => {
            answer(&Request::from_parts(parts, body.to_bytes()), Decoding::Lenient, |call| kme.handle(&caller, call))
        }
    };
    // The body goes out from a buffer that is wiped after it was sent.
    response.map(Body::into_bytes).map(Full::new)
}

/// A KME whose SAEs all share it.
struct Kme {
    id: KmeId,
    limits: Limits,
    keys: Mutex<HashMap<KeyId, Supplied>>,
}

/// A key that waits for its slave.
struct Supplied {
    master: SaeId,
    slaves: Vec<SaeId>,
    material: KeyMaterial,
}

impl Kme {
    fn new() -> Result<Self, Box<dyn Error>> {
        // One slave for a key: it is forgotten when the first has it.
        let limits = Limits::default().with_max_additional_slaves(0);
        Ok(Self { id: KmeId::new("here")?, limits, keys: Mutex::default() })
    }

    fn handle(&self, caller: &SaeId, call: Call) -> Result<Reply, Rejection> {
        let mut keys = self.keys.lock().map_err(|_| Rejection::unavailable("the KME has a fault"))?;
        match call {
            Call::GetStatus(GetStatus { slave }) => {
                let (source_kme, target_kme) = (self.id.clone(), self.id.clone());
                let parties = Parties { source_kme, target_kme, master: caller.clone(), slave };
                Ok(Reply::Status(self.limits.status(parties, 1000, 1000)))
            }
            Call::GetKey(call) => {
                let order = self.limits.admit(caller, call)?;
                let mut delivered = KeyContainer::default();
                for _ in 0..order.number().get() {
                    let mut id = [0; 16];
                    getrandom::fill(&mut id).map_err(|_| Rejection::unavailable("no randomness"))?;
                    let id = KeyId::from_octets(id);
                    let mut failed = false;
                    let material = KeyMaterial::generate(order.size(), &mut |octets: &mut [u8]| {
                        failed |= getrandom::fill(octets).is_err();
                    });
                    if failed {
                        return Err(Rejection::unavailable("no randomness"));
                    }
                    delivered.keys.push(Key::new(id, material.duplicate()));
                    keys.insert(id, Supplied { master: order.master().clone(), slaves: order.slaves().to_vec(), material });
                }
                Ok(Reply::Keys(delivered))
            }
            Call::GetKeyWithKeyIds(call) => {
                let order = self.limits.admit_ids(caller, call)?;
                let missing = || Rejection::KeysNotFound { ids: order.ids().to_vec() };
                for id in order.ids() {
                    let key = keys.get(id).ok_or_else(missing)?;
                    if !key.slaves.contains(caller) {
                        return Err(Rejection::NotEntitled);
                    }
                    if key.master != *order.master() {
                        return Err(missing());
                    }
                }
                let taken = order.ids().iter().filter_map(|id| Some(Key::new(*id, keys.remove(id)?.material)));
                Ok(Reply::Keys(taken.collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_slave_gets_the_key_of_the_master_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = serve(listener, Arc::new(Kme::new().expect("valid")));
        let client = async {
            let get = async |sae: &str, path: &str| {
                let mut stream = TcpStream::connect(address).await.expect("it listens");
                let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nsae: {sae}\r\nconnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.expect("sent");
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.expect("an answer");
                let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
                (head.get(9..12).expect("a status").to_owned(), body.to_owned())
            };
            let (status, drawn) = get("red", "/api/v1/keys/blue/enc_keys").await;
            assert_eq!(status, "200");
            let id = drawn.split("\"key_ID\":\"").nth(1).and_then(|rest| rest.get(..36)).expect("an ID");
            let path = format!("/api/v1/keys/red/dec_keys?key_ID={id}");
            assert_eq!(get("green", &path).await.0, "401");
            assert_eq!(get("blue", &path).await, ("200".to_owned(), drawn.clone()));
            assert_eq!(get("blue", &path).await.0, "400");
        };
        tokio::select! {
            ended = server => panic!("the server ended: {ended:?}"),
            () = client => {}
        }
    }
}
