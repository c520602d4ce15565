//! The harness as a pair of KMEs: it listens at both ends, does one thing wrong at a time, and keeps a journal of what an
//! SAE does.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroize;

use crate::bounds::CONNECTIONS;
use crate::config::Side;
use crate::lab::lock;
use crate::secret::Vault;

mod hello;
mod journal;
mod kme;
mod old_tls;
mod pki;
mod scenario;
mod serve;
mod spoil;

pub(crate) use hello::First;
pub(crate) use journal::{Journal, Seen};
pub(crate) use kme::{Asked, decoded};
pub(crate) use old_tls::OldTls;
pub(crate) use pki::{Pki, kme_id};
pub(crate) use scenario::{Fault, SCENARIOS, Scenario, scenario, with};
pub(crate) use serve::{NO_HTTP, read as read_request};

use kme::Keys;

/// Where the pair listens, and what it is called there.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// In URLs.
    pub(crate) host: String,
    /// Other names and addresses of the same machine, for the certificates.
    pub(crate) hosts: Vec<String>,
    /// KME A and KME B; port 0 is any free one.
    pub(crate) listen: [SocketAddr; 2],
    /// Where plain HTTP is spoken; absent: any port beside KME A.
    pub(crate) listen_plain: Option<SocketAddr>,
}

/// See the module.
pub(crate) struct Player {
    shared: Arc<Shared>,
    addresses: [SocketAddr; 2],
    host: String,
    has_ipv6: bool,
}

struct Shared {
    pki: Arc<Pki>,
    vault: Arc<Vault>,
    /// Of fingerprints.
    salt: String,
    stage: Mutex<Arc<Stage>>,
    ended: AtomicBool,
    connections: AtomicUsize,
    /// Where plain HTTP is spoken: nobody should come.
    plain: SocketAddr,
    plain_url: String,
}

/// What is played between two changes of the scenario.
pub(crate) struct Stage {
    pub(crate) scenario: &'static Scenario,
    tls: [Arc<ServerConfig>; 2],
    old: Option<[CertificateDer<'static>; 2]>,
    keys: Mutex<Keys>,
    journal: Mutex<Journal>,
    over: AtomicBool,
}

impl Player {
    /// Listens at both ends.
    pub(crate) fn start(pki: Arc<Pki>, vault: Arc<Vault>, salt: &str, site: &Site) -> Result<Self, String> {
        let bind = |address: SocketAddr| TcpListener::bind(address).map_err(|error| format!("{address}: {error}"));
        let listeners = [bind(site.listen[0])?, bind(site.listen[1])?];
        let addresses = [address(&listeners[0])?, address(&listeners[1])?];
        // An SAE on another machine has to find it, too.
        let plain = bind(site.listen_plain.unwrap_or(SocketAddr::new(site.listen[0].ip(), 0)))?;
        let good = with(Fault::None);
        let stage = stage(&pki, good)?;
        let shared = Arc::new(Shared {
            pki,
            vault,
            salt: salt.to_owned(),
            stage: Mutex::new(Arc::new(stage)),
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            plain: address(&plain)?,
            plain_url: format!("http://{}", authority(&site.host, address(&plain)?.port())),
        });
        // The same ports for those who take `localhost` to be IPv6.
        let v6 = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).ok(),
            _ => None,
        };
        let others = [v6(&addresses[0]), v6(&addresses[1])];
        let has_ipv6 = addresses.iter().all(SocketAddr::is_ipv6) || others.iter().all(Option::is_some);
        let sides = [Side::A, Side::B];
        for (side, listener) in sides.into_iter().zip(listeners).chain(sides.into_iter().zip(others).filter_map(some)) {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.accept(&listener, move |shared, stage, tcp| serve::connection(shared, stage, side, tcp))
            });
        }
        let at_plain = shared.clone();
        thread::spawn(move || at_plain.accept(&plain, serve::plain));
        Ok(Self { shared, addresses, host: site.host.clone(), has_ipv6 })
    }

    /// Plays that scenario from now on, with empty stores and an empty journal.
    pub(crate) fn play(&self, scenario: &'static Scenario) -> Result<Arc<Stage>, String> {
        let next = Arc::new(stage(&self.shared.pki, scenario)?);
        let before = std::mem::replace(&mut *lock(&self.shared.stage), next.clone());
        before.over.store(true, Ordering::SeqCst);
        Ok(next)
    }

    /// Base URL of a KME, with that host, or the usual one.
    pub(crate) fn url(&self, side: Side, host: Option<&str>) -> String {
        format!("https://{}", authority(host.unwrap_or(&self.host), self.addresses[usize::from(side == Side::B)].port()))
    }

    /// Whether it can be reached by IPv6.
    pub(crate) fn has_ipv6(&self) -> bool {
        self.has_ipv6
    }

    /// Draws keys in the name of a master that the harness plays; gives their IDs.
    pub(crate) fn deposit(&self, stage: &Stage, number: u64) -> Vec<String> {
        let odd = stage.scenario.fault == Fault::OddUuids;
        let drawn = lock(&stage.keys).draw(number, 256, odd);
        drawn.iter().for_each(|key| self.shared.learn(&key.octets));
        drawn.into_iter().map(|key| key.id).collect()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        lock(&self.shared.stage).over.store(true, Ordering::SeqCst);
        for address in self.addresses.into_iter().chain([self.shared.plain]) {
            let own = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            let ips = if own.is_ipv4() { vec![own, IpAddr::V6(Ipv6Addr::LOCALHOST)] } else { vec![own] };
            // Wakes those who accept; who is not there needs no waking.
            ips.into_iter().for_each(|ip| {
                drop(TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), Duration::from_millis(200)));
            });
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener, serve: impl Fn(&Self, &Stage, TcpStream) + Copy + Send + 'static) {
        for tcp in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(tcp) = tcp else {
                // Out of descriptors, most likely.
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            let stage = lock(&self.stage).clone();
            if self.connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS {
                self.connections.fetch_sub(1, Ordering::SeqCst);
                lock(&stage.journal).turned_away();
                continue;
            }
            let shared = self.clone();
            thread::spawn(move || {
                serve(&shared, &stage, tcp);
                shared.connections.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    /// Remembers a key, so that it is found wherever it should not be.
    fn learn(&self, octets: &[u8]) {
        let mut text = Base64::encode_string(octets);
        self.vault.learn(text.as_bytes());
        text.zeroize();
    }
}

impl Stage {
    /// What was seen so far.
    pub(crate) fn journal(&self) -> Journal {
        lock(&self.journal).clone()
    }

    /// Looks at what was seen so far, and holds everybody up meanwhile.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Journal) -> T) -> T {
        look(&lock(&self.journal))
    }

    /// The fingerprint of a key as the master has it, if there is such a key.
    pub(crate) fn fingerprint(&self, id: &str, salt: &str) -> Option<String> {
        lock(&self.keys).find(id).map(|key| fingerprint(salt, &key.octets))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// HMAC-SHA-256 of a key under the run's salt, in hexadecimal digits: what an SAE prints instead of a key.
pub(crate) fn fingerprint(salt: &str, octets: &[u8]) -> String {
    crate::hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes()), octets).as_ref())
}

fn stage(pki: &Pki, scenario: &'static Scenario) -> Result<Stage, String> {
    let old = (scenario.fault == Fault::Tls11).then(|| Ok::<_, String>([pki.old(Side::A)?, pki.old(Side::B)?])).transpose()?;
    Ok(Stage {
        scenario,
        tls: [pki.server(Side::A, scenario.fault)?, pki.server(Side::B, scenario.fault)?],
        old,
        keys: Mutex::default(),
        journal: Mutex::default(),
        over: AtomicBool::new(false),
    })
}

/// Host and port, as in a URL.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn some<T>((side, listener): (Side, Option<T>)) -> Option<(Side, T)> {
    Some((side, listener?))
}

/// What is read from and written to.
trait Both: Read + Write {}
impl<T: Read + Write> Both for T {}

/// How long ago.
fn since(moment: Option<Instant>) -> u64 {
    moment.map_or(0, |moment| u64::try_from(moment.elapsed().as_millis()).unwrap_or(u64::MAX))
}
