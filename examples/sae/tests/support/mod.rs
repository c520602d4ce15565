//! A KME of few words, on a free port of the loopback interface, and the built program to call it with.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use etsi014::{Body, Call, Decoding, Key, KeyContainer, KeyId, KeyMaterial, KmeId, Limits, Parties, Rejection, Reply, SaeId};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use transport::identity::IdentitySource;
use transport::pki::{Leaf, Profile, write_pki};
use transport::server::{Handler, Peer, Server};
use transport::tls::{self, ServerTls, Trust};

/// The octet that the KME's `n`-th key consists of.
pub(crate) fn key_octet(n: u8) -> u8 {
    0xa0 + n
}

/// A KME `north` with SAEs `red` and `blue`, in a folder of its own.
pub(crate) struct World {
    folder: PathBuf,
    address: SocketAddr,
    kme: Arc<Kme>,
    _runtime: Runtime,
}

impl World {
    /// Makes certificates and starts the KME. `name` is that of the test.
    pub(crate) fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        let mut profiles = vec![Profile::new("north", Leaf::kme("north"))];
        profiles.extend(["red", "blue"].map(|id| Profile::new(id, Leaf::sae(id))));
        profiles.push(Profile::new("stranger", Leaf::sae("red")).signed_by_stranger());
        profiles.push(Profile::new("expired", Leaf::sae("red").expired()));
        let pki = folder.join("pki");
        write_pki(&pki, "test authority", &profiles).expect("certificates");
        write_pki(&folder.join("other"), "test authority", &[]).expect("another authority of the same name");

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let own =
            tls::Credentials { certificate: tls::Pem::file(pki.join("north.pem")), key: tls::Pem::file(pki.join("north.key")) };
        let trust = Trust::roots(tls::Pem::file(pki.join("ca.pem")));
        let config = tls::northbound_server(&own, &trust, &tls::Northbound::default()).expect("TLS settings");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let kme = Arc::new(Kme::default());
        let server = Server::new(kme.clone());
        runtime.spawn(server.serve_tls(listener, ServerTls::new(config), IdentitySource::sae_uri(), std::future::pending()));

        let world = Self { folder, address, kme, _runtime: runtime };
        let sae =
            |id: &str| serde_json::json!({ "kme": "north", "cert": format!("pki/{id}.pem"), "key": format!("pki/{id}.key") });
        let demo = serde_json::json!({
            "ca": "pki/ca.pem",
            "kmes": { "north": { "url": world.url() } },
            "saes": { "red": sae("red"), "blue": sae("blue"), "lost": { "kme": "west", "cert": "a", "key": "b" } },
            "pids": [1, 2, 3],
        });
        fs::write(world.folder.join("demo.json"), demo.to_string()).expect("demo.json");
        world
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// How many requests the KME has seen.
    pub(crate) fn requests(&self) -> usize {
        self.kme.requests.load(Ordering::Relaxed)
    }

    /// Runs the program with settings from the demonstration.
    pub(crate) fn run(&self, own: &str, arguments: &[&str]) -> Outcome {
        let demo = self.folder.display().to_string();
        run(&[&["--demo", &demo, "--as", own], arguments].concat(), &[])
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).expect("JSON")
    }

    /// The IDs in the JSON answer.
    pub(crate) fn ids(&self) -> Vec<String> {
        let json = self.json();
        let keys = json["keys"].as_array().expect("keys");
        keys.iter().map(|key| key["key_ID"].as_str().expect("an ID").to_owned()).collect()
    }
}

/// Runs the program with these arguments, and of the variables it knows only these.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sae"));
    for name in ["SAE_KME", "SAE_CA", "SAE_CERT", "SAE_KEY", "SAE_KME_ID", "SAE_TIMEOUT", "SAE_DEMO", "SAE_AS"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } =
        command.args(arguments).envs(variables.iter().copied()).output().expect("the program");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Answers from a map. A slave with a telling name gets the answer of a KME that does not keep to the standard.
#[derive(Default)]
struct Kme {
    requests: AtomicUsize,
    drawn: AtomicU8,
    keys: Mutex<HashMap<KeyId, Held>>,
}

struct Held {
    master: SaeId,
    slaves: Vec<SaeId>,
    material: KeyMaterial,
}

impl Handler for Kme {
    async fn call(&self, peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let slave = request.uri().path().split('/').nth(4).unwrap_or_default();
        if let Some(odd) = odd_answer(slave) {
            return odd;
        }
        let response = match &peer.identity {
            Ok(caller) => {
                let caller = SaeId::new(caller).expect("an SAE ID");
                etsi014::answer(&request, Decoding::Strict, |call| self.answer(&caller, call, slave == "few"))
            }
            Err(_) => Rejection::Unauthenticated.into_http(),
        };
        response.map(Body::into_bytes)
    }
}

impl Kme {
    fn answer(&self, caller: &SaeId, call: Call, one_fewer: bool) -> Result<Reply, Rejection> {
        let limits = Limits::default();
        match call {
            Call::GetStatus(call) => {
                let north = KmeId::new("north").expect("a KME ID");
                let parties = Parties { source_kme: north.clone(), target_kme: north, master: caller.clone(), slave: call.slave };
                Ok(Reply::Status(limits.status(parties, 7, 1000)))
            }
            Call::GetKey(call) => {
                if call.slave.as_str() == "nobody" {
                    return Err(Rejection::UnknownSae);
                }
                let order = limits.admit(caller, call)?;
                let number = order.number().get() - u32::from(one_fewer);
                let keys = (0..number).map(|_| {
                    let n = self.drawn.fetch_add(1, Ordering::Relaxed);
                    let id = KeyId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).expect("a UUID");
                    let material = KeyMaterial::from_octets(vec![key_octet(n); order.size().octets()]).expect("whole octets");
                    let held = Held { master: caller.clone(), slaves: order.slaves().to_vec(), material: material.duplicate() };
                    self.keys.lock().expect("no panic").insert(id, held);
                    Key::new(id, material)
                });
                Ok(Reply::Keys(keys.collect()))
            }
            Call::GetKeyWithKeyIds(call) => {
                let order = limits.admit_ids(caller, call)?;
                let mut held = self.keys.lock().expect("no panic");
                for id in order.ids() {
                    match held.get(id) {
                        Some(key) if key.slaves.contains(caller) && key.master == *order.master() => {}
                        Some(_) => return Err(Rejection::NotEntitled),
                        None => return Err(Rejection::KeysNotFound { ids: vec![*id] }),
                    }
                }
                let keys = order.ids().iter().filter_map(|id| held.remove(id).map(|key| Key::new(*id, key.material)));
                let mut container: KeyContainer = keys.collect();
                // in any order (014-A-35)
                container.keys.reverse();
                Ok(Reply::Keys(container))
            }
        }
    }
}

/// The octets of the key that the odd KME called `leaky` puts where it does not belong.
pub(crate) const LEAKED: &str = "LeakedLeakedLeakedLeakedLeakedLeakedLeakedI=";

fn odd_answer(slave: &str) -> Option<Response<Bytes>> {
    let answer = Response::builder();
    let json = "application/json";
    Some(
        match slave {
            "later" => answer.status(202).header("content-type", json).body("{}".into()),
            "moved" => answer.status(302).header("location", "https://127.0.0.1:1/").body(Bytes::new()),
            "page" => answer.header("content-type", "text/html").body("<html>keys</html>".into()),
            "typed" => answer.header("content-type", "text/plain").body(one_key().into()),
            "leaky" => answer.header("content-type", json).body(format!(r#"{{"keys":[{{"key_ID":"{LEAKED}"}}]}}"#).into()),
            "rude" => answer
                .status(503)
                .header("content-type", json)
                .body("{\"message\":\"no\\u001b[31m\\u0007\",\"details\":[{\"why\":\"\\u001b[2J\u{9b}31m\"}]}".into()),
            "mute" => answer.status(401).body(Bytes::new()),
            "wide" => answer.header("content-type", json).body(vec![b' '; 17 << 20].into()),
            _ => return None,
        }
        .expect("a response"),
    )
}

fn one_key() -> String {
    format!(r#"{{"keys":[{{"key_ID":"00000000-0000-4000-8000-0000000000ff","key":"{LEAKED}"}}]}}"#)
}
