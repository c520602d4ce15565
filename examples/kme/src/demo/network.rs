//! The processes that serve: the QKD link and the two KMEs.

use std::io;
use std::net::TcpListener;

use super::files;
use super::folder::Folder;
use super::narrator::Narrator;
use super::process::{Server, Servers};
use super::{DemoError, Options};

/// The link and the KMEs, all ready.
#[derive(Debug)]
pub(super) struct Network {
    link_pid: Option<u32>,
    control: String,
    pub(super) north: KmeProcess,
    pub(super) south: KmeProcess,
}

impl Network {
    /// Writes the configuration and starts everything. Where ports were not given, others are tried if one is taken.
    pub(super) async fn start(
        options: &Options,
        folder: &Folder,
        narrator: &Narrator,
        servers: &mut Servers,
    ) -> Result<Self, DemoError> {
        let mut attempts_left = ATTEMPTS;
        loop {
            let ports = Ports::choose(options.base_port).map_err(DemoError::Ports)?;
            files::write_configuration(folder, options, &ports)?;
            attempts_left -= 1;
            match Self::start_at(options, folder, narrator, servers, &ports).await {
                Err(DemoError::Ended { name, status, log_tail }) if is_port_taken(&log_tail) => {
                    if let Some(port) = ports.taken(servers).await {
                        return Err(DemoError::PortTaken { port, log_tail });
                    }
                    if attempts_left == 0 {
                        return Err(DemoError::Ended { name, status, log_tail });
                    }
                }
                other => return other,
            }
        }
    }

    async fn start_at(
        options: &Options,
        folder: &Folder,
        narrator: &Narrator,
        servers: &mut Servers,
        ports: &Ports,
    ) -> Result<Self, DemoError> {
        // Of a former attempt: the folders of the KMEs must be free.
        servers.stop().await;
        let mut start = |name: &'static str, part: &[&str], stem: &str| {
            let log = folder.join("log").join(format!("{stem}.log"));
            let server = Server::start(name, part, folder.join(&format!("{stem}.toml")), log)?;
            let pid = server.pid();
            servers.add(server);
            Ok::<_, DemoError>(pid)
        };
        let link_pid = start("the QKD link", &["demo-link", "serve"], "link")?;
        let north = KmeProcess { id: "north", pid: start("KME north", &["serve"], "north")?, ports: ports.north };
        let south = KmeProcess { id: "south", pid: start("KME south", &["serve"], "south")?, ports: ports.south };
        servers.ready().await?;
        narrator.tell(&format!("the QKD link runs: {}", files::rate(options)));
        for kme in [&north, &south] {
            narrator.tell(&format!("KME {} serves at {} (process {})", kme.id, kme.url(), kme.pid.unwrap_or_default()));
        }
        Ok(Self { link_pid, control: format!("http://127.0.0.1:{}", ports.link_control), north, south })
    }

    /// The URL of the link's control.
    pub(super) fn link_control(&self) -> &str {
        &self.control
    }

    pub(super) fn link_pid(&self) -> Option<u32> {
        self.link_pid
    }
}

/// A KME's process.
#[derive(Debug)]
pub(super) struct KmeProcess {
    id: &'static str,
    pid: Option<u32>,
    ports: KmePorts,
}

impl KmeProcess {
    pub(super) fn id(&self) -> &'static str {
        self.id
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.northbound)
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    pub(super) fn kx(&self) -> String {
        format!("127.0.0.1:{}", self.ports.kx)
    }
}

/// All ports, chosen before anybody listens: the configuration tells each KME where the other is, and holds when one of them
/// is started again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) north: KmePorts,
    pub(super) south: KmePorts,
    pub(super) link_a: u16,
    pub(super) link_b: u16,
    pub(super) link_control: u16,
    /// Whether the northbound ports were given.
    given: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KmePorts {
    pub(super) northbound: u16,
    pub(super) kx: u16,
    pub(super) admin: u16,
}

impl Ports {
    fn choose(base_port: u16) -> io::Result<Self> {
        let [north_kx, south_kx, north_admin, south_admin, link_a, link_b, link_control, north, south] = free_ports()?;
        let given = base_port != 0;
        let (north, south) = if given { (base_port, base_port.saturating_add(1)) } else { (north, south) };
        Ok(Self {
            north: KmePorts { northbound: north, kx: north_kx, admin: north_admin },
            south: KmePorts { northbound: south, kx: south_kx, admin: south_admin },
            link_a,
            link_b,
            link_control,
            given,
        })
    }

    /// That of the ports that were given which is somebody else's.
    async fn taken(&self, servers: &mut Servers) -> Option<u16> {
        // So that none of them is ours.
        servers.stop().await;
        let given = [self.north.northbound, self.south.northbound].into_iter().filter(|_| self.given);
        given.into_iter().find(|&port| TcpListener::bind(("127.0.0.1", port)).is_err())
    }
}

const ATTEMPTS: u32 = 5;

/// Different ports that are free now. Somebody else may take one before it is used, hence the attempts.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until all are known, so that they differ.
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn is_port_taken(log_tail: &str) -> bool {
    log_tail.to_lowercase().contains("address already in use") || log_tail.contains("os error 10048")
}
