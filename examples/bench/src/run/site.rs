//! The folder of a run, its certificates, and the servers with their settings.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use transport::pki::{Leaf, Profile, write_pki};

use super::process::{CLIENT_CORE, SERVER_CORE, Server};
use crate::failure::Failure;

/// Where a run keeps its files.
#[derive(Debug)]
pub(super) struct Site {
    folder: PathBuf,
}

/// What distinguishes one KME from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kme<'a> {
    /// Its KME ID.
    pub(super) id: &'a str,
    /// The name of its folder.
    pub(super) folder: &'a str,
    pub(super) store: Store,
    /// Lines of the section `[pool]`.
    pub(super) pool: &'a str,
    pub(super) neighbour: Option<Neighbour<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Lease,
    Strict,
}

impl<'a> Kme<'a> {
    /// A KME that serves all SAEs there are.
    pub(super) fn alone(folder: &'a str, store: Store, pool: &'a str) -> Self {
        Self { id: "north", folder, store, pool, neighbour: None }
    }
}

/// The other of two KMEs, with its link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbour<'a> {
    pub(super) id: &'a str,
    pub(super) own_kx: SocketAddr,
    pub(super) kx: SocketAddr,
    pub(super) module: SocketAddr,
}

impl Site {
    /// Empties the folder and writes certificates.
    pub(super) fn new(folder: &Path) -> Result<Self, Failure> {
        // Stores and certificates of former runs.
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let mut profiles = Profile::demonstration();
        profiles.extend(["link-a", "link-b"].map(|id| Profile::new(id, Leaf::kme(id))));
        write_pki(&folder.join("pki"), "Benchmark authority", &profiles)?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    pub(super) fn start_hello(&self) -> Result<Server, Failure> {
        let arguments: [OsString; 3] = ["hello".into(), "--pki".into(), self.pki().into()];
        Server::start(SERVER_CORE, &std::env::current_exe()?, &arguments)
    }

    pub(super) fn start_kme(&self, kme: &Kme<'_>) -> Result<Server, Failure> {
        let config = self.folder.join(format!("{}.toml", kme.folder));
        fs::write(&config, self.kme_config(kme))?;
        let arguments: [OsString; 4] = ["serve".into(), "--config".into(), config.into(), "--exit-with-parent".into()];
        Server::start(SERVER_CORE, &beside("kme")?, &arguments)
    }

    /// A link between `north` and `south` that has always more key than is drawn.
    pub(super) fn start_link(&self, a: SocketAddr, b: SocketAddr) -> Result<Server, Failure> {
        let mut text = String::from("constant_bps = 2e8\nmax_key_count = 200000\nmax_key_per_request = 1024\n");
        text += "control = \"127.0.0.1:0\"\n";
        for (end, address, kme) in [("a", a, "north"), ("b", b, "south")] {
            let (own, ca) = (self.own(&format!("link-{end}")), self.pki().join("ca.pem"));
            let _ = writeln!(
                text,
                "[{end}]\nlisten = \"{address}\"\ndevice_id = \"link-{end}\"\nkme_id = \"{kme}\"\n{own}ca = {ca:?}"
            );
        }
        let config = self.folder.join("link.toml");
        fs::write(&config, text)?;
        let arguments: [OsString; 4] = ["serve".into(), "--config".into(), config.into(), "--exit-with-parent".into()];
        Server::start(CLIENT_CORE, &beside("qkd-link")?, &arguments)
    }

    fn kme_config(&self, kme: &Kme<'_>) -> String {
        let Kme { id, folder, pool, .. } = kme;
        let northbound = self.tls(id, "client_ca");
        let store = match kme.store {
            Store::Memory => "kind = \"memory\"",
            Store::Lease => "durability = \"lease\"",
            Store::Strict => "durability = \"strict\"",
        };
        let folder = self.folder.join("data").join(folder);
        let mut text = format!(
            "[kme]\nid = \"{id}\"\ndata_dir = {folder:?}\n\
             [northbound]\nlisten = \"127.0.0.1:0\"\n{northbound}\
             [store]\n{store}\n[pool]\n{pool}\n\
             [quota]\nrequests_per_second = 1e9\nkeys_per_second = 1e9\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[audit]\nfile = \"audit.jsonl\"\n[log]\nlevel = \"warn\"\n"
        );
        let home_of_blue = if kme.neighbour.is_some() { "south" } else { "north" };
        for (sae, home) in [("red", "north"), ("blue", home_of_blue)] {
            let _ = writeln!(text, "[[sae]]\nid = \"{sae}\"\nkme = \"{home}\"");
        }
        if let Some(Neighbour { id: other, own_kx, kx, module }) = kme.neighbour {
            let tls = self.tls(id, "ca");
            let device = if *id == "north" { "link-a" } else { "link-b" };
            let _ = writeln!(
                text,
                "[kx]\nlisten = \"{own_kx}\"\n{tls}[[peer]]\nid = \"{other}\"\naddress = \"{kx}\"\n\
                 [[link]]\nid = \"north-south\"\npeer = \"{other}\"\n[link.module]\nurl = \"https://{module}\"\nkme_id = \"{device}\"\n{tls}"
            );
        }
        text
    }

    /// The lines for an own certificate, and for whom to trust.
    fn tls(&self, stem: &str, authorities: &str) -> String {
        let (ca, crl) = (self.pki().join("ca.pem"), self.pki().join("crl.pem"));
        format!("{}{authorities} = [{ca:?}]\ncrl = [{crl:?}]\n", self.own(stem))
    }

    fn own(&self, stem: &str) -> String {
        let file = |extension: &str| self.pki().join(format!("{stem}.{extension}"));
        format!("certificate = {:?}\nkey = {:?}\n", file("pem"), file("key"))
    }
}

/// Ports that were free just now.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], Failure> {
    // All are held until the last is found, so that none is found twice.
    let listeners = (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().map_err(|_| Failure::other("there are no free ports"))
}

/// A program of this workspace: Cargo puts them side by side.
fn beside(program: &str) -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name(program))
}
