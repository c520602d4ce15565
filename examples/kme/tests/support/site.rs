//! The two KMEs and their link.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tempfile::TempDir;
use transport::pki::{Leaf, Profile, write_pki};

use super::process::Process;
use super::random::Seeded;
use super::sae::Sae;

/// The SAEs and their KMEs. White and black are for tests that want a pair of their own.
const DIRECTORY: [(&str, Kme); 6] = [
    ("red", Kme::North),
    ("white", Kme::North),
    ("blue", Kme::South),
    ("green", Kme::South),
    ("grey", Kme::South),
    ("black", Kme::South),
];

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kme {
    North,
    South,
}

impl Kme {
    pub(crate) const BOTH: [Self; 2] = [Self::North, Self::South];

    pub(crate) fn of(sae: &str) -> Self {
        let (_, kme) = DIRECTORY.iter().find(|(id, _)| *id == sae).expect("an SAE of the directory");
        *kme
    }

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::North => "north",
            Self::South => "south",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::North => Self::South,
            Self::South => Self::North,
        }
    }
}

/// What differs between tests.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) durability: &'static str,
    pub(crate) link_bps: u64,
    /// Further lines of `[northbound]`, `[pool]` and `[quota]`, at both KMEs.
    pub(crate) northbound: &'static str,
    pub(crate) pool: &'static str,
    pub(crate) quota: &'static str,
    /// Makes the link's keys recognisable, in hexadecimal.
    pub(crate) link_pattern: Option<&'static str>,
    /// `RUST_LOG` of the processes.
    pub(crate) rust_log: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { durability: "lease", link_bps: 4_000_000, northbound: "", pool: "", quota: "", link_pattern: None, rust_log: None }
    }
}

/// Everything that runs, and its folder.
#[derive(Debug)]
pub(crate) struct Site {
    // In this order, for they are dropped so.
    kmes: [Mutex<Option<Process>>; 2],
    link: Process,
    ports: Ports,
    settings: Settings,
    folder: TempDir,
}

impl Site {
    /// Starts everything and waits until it is ready.
    pub(crate) fn start(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_certificates(&folder.path().join("pki"));
        let ports = Ports::choose();
        let path = folder.path();
        write(path, "link.toml", &link(&settings, &ports));
        for kme in Kme::BOTH {
            write(path, &format!("{}.toml", kme.id()), &configuration(kme, &settings, &ports));
        }
        let mut arguments = vec!["demo-link", "serve"];
        arguments.extend(settings.link_pattern.iter().flat_map(|pattern| ["--test-pattern", pattern]));
        let log = |name: &str| path.join(format!("{name}.log"));
        let link = Process::spawn(&arguments, &path.join("link.toml"), &log("link"), settings.rust_log);
        assert!(link.is_ready(), "the link: {}", link.log_tail());
        let site = Self { kmes: [Mutex::default(), Mutex::default()], link, ports, settings, folder };
        Kme::BOTH.iter().for_each(|&kme| site.spawn_kme(kme));
        Kme::BOTH.iter().for_each(|&kme| site.await_kme(kme));
        site
    }

    /// One with the usual settings, for all tests of the file that run at the same time.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Site>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let site = Arc::new(Self::start(Settings::default()));
            *shared = Arc::downgrade(&site);
            site
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a KME, on the store and the ports it had before.
    pub(crate) fn spawn_kme(&self, kme: Kme) {
        let config = self.folder().join(format!("{}.toml", kme.id()));
        let process = Process::spawn(&["serve"], &config, &self.log_of(kme), self.settings.rust_log);
        assert!(self.slot(kme).replace(process).is_none(), "it was not running");
    }

    /// Waits until it is ready. It must be: a port outside the range that the system gives out stays free.
    pub(crate) fn await_kme(&self, kme: Kme) {
        let slot = self.slot(kme);
        let process = slot.as_ref().expect("it was started");
        assert!(process.is_ready(), "KME {} has ended: {}", kme.id(), process.log_tail());
    }

    /// Ends a KME without notice.
    pub(crate) fn kill_kme(&self, kme: Kme) {
        self.slot(kme).take().expect("it was started").kill();
    }

    /// Ends a KME in order.
    pub(crate) fn stop_kme(&self, kme: Kme) {
        let process = self.slot(kme).take().expect("it was started");
        let log_tail = process.log_tail();
        let status = process.stop();
        assert!(status.success(), "KME {} stops: {status} {log_tail}", kme.id());
    }

    pub(crate) fn pid(&self, kme: Kme) -> u32 {
        self.slot(kme).as_ref().expect("it was started").pid()
    }

    /// Whether it serves on, as it should.
    pub(crate) fn is_running(&self, kme: Kme) -> bool {
        self.slot(kme).as_mut().is_some_and(|process| !process.has_ended())
    }

    pub(crate) fn port(&self, kme: Kme) -> u16 {
        self.ports.of(kme).northbound
    }

    pub(crate) fn kx_port(&self, kme: Kme) -> u16 {
        self.ports.of(kme).kx
    }

    pub(crate) fn admin(&self, kme: Kme) -> String {
        format!("127.0.0.1:{}", self.ports.of(kme).admin)
    }

    /// What the port for operators answers: status and body.
    pub(crate) fn ask_admin(&self, kme: Kme, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin(kme)).expect("the port for operators");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    pub(crate) fn data(&self, kme: Kme) -> PathBuf {
        self.folder().join("data").join(kme.id())
    }

    pub(crate) fn log_of(&self, kme: Kme) -> PathBuf {
        self.folder().join(format!("{}.log", kme.id()))
    }

    pub(crate) fn audit(&self, kme: Kme) -> String {
        fs::read_to_string(self.data(kme).join("audit.jsonl")).expect("an audit log")
    }

    /// An SAE of the directory, towards its KME.
    pub(crate) fn sae(&self, id: &'static str) -> Sae {
        Sae::new(&self.folder().join("pki"), Some(id), id, self.port(Kme::of(id)))
    }

    /// A client with any certificate of the folder, or none, at any KME.
    pub(crate) fn client(&self, stem: Option<&str>, kme: Kme) -> Sae {
        Sae::new(&self.folder().join("pki"), stem, stem.unwrap_or("nobody"), self.port(kme))
    }

    /// Sets the rate of the link in bits per second; `None`: as in the beginning.
    pub(crate) fn set_link_rate(&self, bps: Option<f64>) {
        let rate = bps.map(|bps| qkd_link::rate::Skr::new(bps).expect("a rate"));
        qkd_link::control::set_rate(&format!("127.0.0.1:{}", self.ports.link_control), rate).expect("set");
    }

    fn slot(&self, kme: Kme) -> MutexGuard<'_, Option<Process>> {
        // A panic of another test while it waited for the process changes nothing.
        self.kmes[kme as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    north: KmePorts,
    south: KmePorts,
    link_a: u16,
    link_b: u16,
    link_control: u16,
}

#[derive(Clone, Copy, Debug)]
struct KmePorts {
    northbound: u16,
    kx: u16,
    admin: u16,
}

impl Ports {
    /// Ports that are free now and stay so while a KME is down: outside the range from which the system takes the ports of
    /// outgoing connections.
    fn choose() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let mut random = Seeded::new(u64::from(std::process::id()) << 32 ^ now.as_nanos() as u64);
        // Held until all are known, and never given twice in this process.
        static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
        let mut given = GIVEN.lock().expect("no panic");
        let lowest_of_the_system = lowest_outgoing_port().unwrap_or(32_768).max(12_000);
        let mut port = || loop {
            let port = 10_000 + random.below(u64::from(lowest_of_the_system - 10_000)) as u16;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
                return port;
            }
        };
        let mut kme = || KmePorts { northbound: port(), kx: port(), admin: port() };
        let (north, south) = (kme(), kme());
        Self { north, south, link_a: port(), link_b: port(), link_control: port() }
    }

    fn of(&self, kme: Kme) -> &KmePorts {
        match kme {
            Kme::North => &self.north,
            Kme::South => &self.south,
        }
    }
}

fn lowest_outgoing_port() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

/// Good certificates, and ones in the name of red that are refused.
fn write_certificates(folder: &Path) {
    let mut profiles = Profile::demonstration();
    profiles.extend(["link-a", "link-b"].map(|id| Profile::new(id, Leaf::kme(id))));
    profiles.extend(["white", "black", "unenrolled"].map(|id| Profile::new(id, Leaf::sae(id))));
    profiles.extend(Profile::refused("red"));
    write_pki(folder, "test authority", &profiles).expect("certificates");
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap_or_else(|error: io::Error| panic!("{name}: {error}"));
}

fn configuration(kme: Kme, settings: &Settings, ports: &Ports) -> String {
    let (own, peer) = (ports.of(kme), ports.of(kme.other()));
    let (device, device_port) = match kme {
        Kme::North => ("link-a", ports.link_a),
        Kme::South => ("link-b", ports.link_b),
    };
    let directory: String =
        DIRECTORY.iter().map(|(sae, kme)| format!("[[sae]]\nid = \"{sae}\"\nkme = \"{}\"\n", kme.id())).collect();
    format!(
        r#"
[kme]
id = "{id}"
data_dir = "data/{id}"

[northbound]
listen = "127.0.0.1:{northbound}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
client_ca = "pki/ca.pem"
crl = "pki/crl.pem"
{northbound_more}

[kx]
listen = "127.0.0.1:{kx}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
ca = "pki/ca.pem"
crl = "pki/crl.pem"

[[peer]]
id = "{peer_id}"
address = "127.0.0.1:{peer_kx}"

[[link]]
id = "north-south"
peer = "{peer_id}"

[link.module]
url = "https://127.0.0.1:{device_port}"
certificate = "pki/{id}.pem"
key = "pki/{id}.key"
ca = "pki/ca.pem"
kme_id = "{device}"

{directory}
[store]
kind = "redb"
durability = "{durability}"

[pool]
{pool}

[quota]
{quota}

[admin]
listen = "127.0.0.1:{admin}"

[audit]
file = "audit.jsonl"
"#,
        id = kme.id(),
        peer_id = kme.other().id(),
        northbound = own.northbound,
        kx = own.kx,
        admin = own.admin,
        peer_kx = peer.kx,
        northbound_more = settings.northbound,
        durability = settings.durability,
        pool = settings.pool,
        quota = settings.quota,
    )
}

fn link(settings: &Settings, ports: &Ports) -> String {
    let end = |end: &str, port: u16, device: &str, kme: &str| {
        format!(
            "\n[{end}]\nlisten = \"127.0.0.1:{port}\"\ndevice_id = \"{device}\"\nkme_id = \"{kme}\"\n\
             certificate = \"pki/{device}.pem\"\nkey = \"pki/{device}.key\"\nca = \"pki/ca.pem\"\n"
        )
    };
    format!(
        "constant_bps = {}.0\ncontrol = \"127.0.0.1:{}\"\n{}{}",
        settings.link_bps,
        ports.link_control,
        end("a", ports.link_a, "link-a", "north"),
        end("b", ports.link_b, "link-b", "south"),
    )
}
