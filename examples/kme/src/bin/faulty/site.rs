//! The laboratory: both KMEs and the QKD link between them, in this process.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kme::config::Config;
use kme::serve::{Door, ServeError, serve_with};
use qkd_link::RunningLink;
use qkd_link::rate::Skr;
use qkd_link::stream::End;
use serde_json::json;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use crate::cli::Failure;
use crate::control;
use crate::exchange::Asked;
use crate::fault::Fault;
use crate::front::{Kme, Pair, SAES, Side};

mod files;

pub(crate) use files::{MAX_KEYS, Settings};

/// Everything that runs.
pub(crate) struct Site {
    dir: PathBuf,
    link: RunningLink,
    laboratory: Arc<Laboratory>,
    control: JoinHandle<()>,
}

/// What hooks need.
pub(crate) struct Laboratory {
    pair: Arc<Pair>,
    configurations: [Config; 2],
    running: [Mutex<Option<Running>>; 2],
    /// Keys for a pair when the pools are full.
    full: u64,
    /// Where the link's rate is set.
    link_control: String,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Site {
    /// Starts everything, and waits until keys are there.
    pub(crate) async fn start(fault: &'static Fault, dir: PathBuf) -> Result<Self, Failure> {
        let mut settings = Settings::default();
        if let Some(change) = fault.settings {
            change(&mut settings);
        }
        fs::create_dir_all(&dir)?;
        let dir = dir.canonicalize()?;
        files::write_pki(&dir)?;
        let mut attempts = 0;
        let (link, laboratory) = loop {
            attempts += 1;
            match Self::start_at(&dir, fault, &settings).await {
                Ok(started) => break started,
                // Another process has taken a port meanwhile.
                Err(error) if is_taken(&*error) && attempts < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        };
        laboratory.fill().await?;
        let ports = laboratory.configurations.each_ref().map(|config| config.northbound.listen.port());
        fs::write(dir.join("qkdspec.toml"), files::qkdspec(&dir, &settings, ports)?)?;
        let control = control::listen(&dir, laboratory.clone()).await?;
        Ok(Self { dir, link, laboratory, control })
    }

    async fn start_at(dir: &Path, fault: &'static Fault, settings: &Settings) -> Result<(RunningLink, Arc<Laboratory>), Failure> {
        let ports = free_ports()?;
        let link = qkd_link::serve(files::link(dir)?).await?;
        let devices = [End::A, End::B].map(|end| link.address(end).port());
        let configuration = |side| files::kme(dir, settings, side, &ports, devices);
        let laboratory = Arc::new(Laboratory {
            pair: Pair::new(fault, dir.to_owned()),
            configurations: [configuration(Side::North)?, configuration(Side::South)?],
            running: Default::default(),
            full: settings.full,
            link_control: link.control_address().to_string(),
        });
        tokio::try_join!(laboratory.start(Side::North), laboratory.start(Side::South))?;
        Ok((link, laboratory))
    }

    /// The configuration for qkdspec.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.dir.join("qkdspec.toml")
    }

    /// Ends everything, in order.
    pub(crate) async fn stop(self) {
        self.control.abort();
        for side in Side::BOTH {
            let _ = self.laboratory.stop(side).await;
        }
        self.link.stop().await;
    }
}

impl Laboratory {
    fn kme(&self, side: Side) -> Kme {
        Kme { side, pair: self.pair.clone() }
    }

    /// Starts a KME, on the store and the ports it had before.
    async fn start(&self, side: Side) -> Result<(), Failure> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell_ready, ready) = oneshot::channel::<()>();
        let kme = self.kme(side);
        let mut deaths = self.pair.deaths.subscribe();
        let stopped = async move {
            tokio::select! {
                _ = stopped => {}
                Ok(()) = deaths.changed(), if side == Side::North => {}
            }
        };
        // Nobody waits for it any more if the KME has ended.
        let ready_now = move |_: &_| _ = tell_ready.send(());
        let serving = serve_with(self.configurations[side as usize].clone(), front(kme), ready_now, stopped);
        let mut ended = tokio::spawn(serving);
        tokio::select! {
            Ok(()) = ready => {}
            ended = &mut ended => {
                ended??;
                return Err("a KME has ended at once".into());
            }
        }
        *self.running[side as usize].lock().await = Some(Running { stop, ended });
        Ok(())
    }

    async fn stop(&self, side: Side) -> Result<(), Failure> {
        if let Some(running) = self.running[side as usize].lock().await.take() {
            drop(running.stop);
            running.ended.await??;
        }
        Ok(())
    }

    /// Waits until keys are there for all pairs of SAEs.
    async fn fill(&self) -> Result<(), Failure> {
        let until = Instant::now() + FILL_LIMIT;
        for (_, master, side) in SAES {
            for (_, slave, _) in SAES.iter().filter(|(_, slave, _)| *slave != master) {
                while self.stored(side, master, slave).await < self.full {
                    if Instant::now() > until {
                        return Err(format!("no keys for {master} and {slave} within {} s", FILL_LIMIT.as_secs()).into());
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        Ok(())
    }

    /// What Status of the reference tells.
    async fn stored(&self, side: Side, master: &str, slave: &str) -> u64 {
        let mut asked = Asked::post(master, slave, "status", &json!({}));
        asked.method = http::Method::GET;
        asked.body = bytes::Bytes::new();
        let said = self.kme(side).ask(&asked).await;
        said.json().and_then(|status| status["stored_key_count"].as_u64()).unwrap_or_default()
    }

    async fn set_rate(&self, rate: Option<Skr>) -> Result<(), Failure> {
        let control = self.link_control.clone();
        tokio::task::spawn_blocking(move || qkd_link::control::set_rate(&control, rate)).await??;
        Ok(())
    }

    /// Waits until the keys that are there stay as they are.
    async fn settle(&self) {
        let (mut before, mut same) = (0, 0);
        while same < 4 {
            let now = self.stored(Side::North, MASTER, SLAVE).await;
            same = if now == before { same + 1 } else { 0 };
            before = now;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }

    /// Does what a hook asks for.
    pub(crate) async fn perform(&self, hook: &str) -> Result<(), Failure> {
        match hook {
            "link_down" => {
                self.set_rate(Some(Skr::ZERO)).await?;
                self.settle().await;
            }
            "link_up" | "refill_a" => {
                self.set_rate(None).await?;
                self.fill().await?;
            }
            "drain_a" => {
                self.set_rate(Some(Skr::ZERO)).await?;
                self.settle().await;
                self.drain().await;
            }
            "restart_a" => {
                self.stop(Side::North).await?;
                self.pair.restarted();
                self.start(Side::North).await?;
                self.fill().await?;
            }
            "clock_forward" => tokio::time::sleep(files::LIFETIME).await,
            unknown => return Err(format!("{unknown} is no hook").into()),
        }
        Ok(())
    }

    /// Leaves a few keys, so that who takes full batches sees the last one fall short.
    async fn drain(&self) {
        let kme = self.kme(Side::North);
        // More than one full request, and no multiple of it where several keys can be asked for.
        let most = u64::from(self.configurations[0].northbound.keys.max_keys().get());
        let left_over = most + most / 3;
        // What the link has delivered already may still come in.
        let mut settled = false;
        loop {
            let stored = self.stored(Side::North, MASTER, SLAVE).await;
            let number = stored.saturating_sub(left_over).min(most);
            match number {
                0 if settled => return,
                0 => self.settle().await,
                _ if kme.draw(MASTER, SLAVE, &json!({ "number": number })).await.status != 200 => return,
                _ => {}
            }
            settled = number == 0;
        }
    }
}

/// Lets SAEs in by way of the fault.
fn front(kme: Kme) -> impl FnOnce(Door) -> std::pin::Pin<Box<dyn Future<Output = usize> + Send>> + Send {
    move |mut door: Door| {
        Box::pin(async move {
            kme.install(Some(door.service.clone()));
            let fault = kme.pair.fault;
            if let Some(change) = fault.door {
                change(&mut door, &kme);
            }
            let handler = Arc::new(kme.clone());
            let cut_off = match fault.front {
                Some(front) => front(door, handler).await,
                None => door.serve(handler).await,
            };
            kme.install(None);
            cut_off
        })
    }
}

const MASTER: &str = "red";
const SLAVE: &str = "blue";
const FILL_LIMIT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 5;

/// The ports that must be known before anybody listens, and stay free while a KME is down: outside the range from which the
/// system takes those of outgoing connections. Northbound and Kx of north, then of south.
fn free_ports() -> io::Result<[u16; 4]> {
    let lowest_of_the_system = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
        .max(12_000);
    let mut ports = [0; 4];
    // All are held until all are known, so that they differ.
    let mut held = Vec::new();
    for port in &mut ports {
        *port = loop {
            let mut octets = [0; 2];
            aws_lc_rs::rand::fill(&mut octets).map_err(|_| io::Error::other("no randomness"))?;
            let port = 10_000 + u16::from_be_bytes(octets) % (lowest_of_the_system - 10_000);
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                held.push(listener);
                break port;
            }
        };
    }
    Ok(ports)
}

fn is_taken(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ServeError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse)
}
