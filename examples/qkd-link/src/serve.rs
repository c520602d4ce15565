//! A link as servers: both ends on HTTPS, the control on plain HTTP.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etsi014::{Body, Rejection};
use http::{Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use transport::server::{Handler, Limits, Peer, Server};
use transport::stop::StopSignals;
use transport::tls::{self, Credentials, Northbound, Pem, ServerTls, TlsError, Trust};

use crate::config::{Config, ConfigError, EndConfig};
use crate::control;
use crate::device::Device;
use crate::link::Link;
use crate::random::NoRandomness;
use crate::rate::Playback;
use crate::stream::End;

/// When [`run`] ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At SIGTERM or ctrl-c.
    Signal,
    /// At SIGTERM or ctrl-c, or when standard input closes: hence when the process that holds its other end is gone.
    SignalOrStdinCloses,
}

/// Serves a link in a runtime of its own: [`run`] for callers that are not asynchronous.
///
/// # Errors
/// As [`run`].
pub fn run_blocking(config: Config, until: Until) -> Result<(), LinkError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(LinkError::Runtime)?.block_on(run(config, until))
}

/// Serves a link, writes a line of JSON with the chosen ports to standard output, and ends as `until` says.
///
/// The line is `{"event":"ready","port_a":…,"port_b":…,"port_control":…}`.
///
/// # Errors
/// [`LinkError`] when the link cannot start, or fails.
pub async fn run(config: Config, until: Until) -> Result<(), LinkError> {
    if config.stream.test_pattern.is_some() {
        eprintln!("qkd-link: warning: the keys are a test pattern and NOT SECRET");
    }
    // Before the ready line, so that a signal sent because of it is not lost.
    let stop = StopSignals::new(until == Until::SignalOrStdinCloses).map_err(LinkError::Runtime)?;
    let mut running = serve(config).await?;
    let ports = serde_json::json!({
        "event": "ready",
        "port_a": running.address(End::A).port(),
        "port_b": running.address(End::B).port(),
        "port_control": running.control_address().port(),
    });
    writeln!(io::stdout().lock(), "{ports}").map_err(LinkError::Output)?;
    tokio::select! {
        () = stop.received() => {
            running.stop().await;
            Ok(())
        }
        () = running.ended() => Err(LinkError::Ended),
    }
}

/// Starts a link and its servers in the present tokio runtime.
///
/// # Errors
/// [`LinkError`] when it cannot start.
pub async fn serve(config: Config) -> Result<RunningLink, LinkError> {
    config.check()?;
    let tls_a = server_tls(&config.a)?;
    let tls_b = server_tls(&config.b)?;
    let (listener_a, address_a) = listen(config.a.listen).await?;
    let (listener_b, address_b) = listen(config.b.listen).await?;
    let (listener_control, address_control) = listen(config.control).await?;

    let playback = Playback::new(config.rate.clone(), config.speed);
    let link = Arc::new(Link::start(config.stream.clone(), playback)?);
    let stop = watch::Sender::new(false);
    let mut tasks = JoinSet::new();
    for (end, listener, tls) in [(End::A, listener_a, tls_a), (End::B, listener_b, tls_b)] {
        let device = Device::new(link.clone(), end, &config)?;
        let server = Server::new(Arc::new(DeviceHandler(device)));
        let (identity, stopped) = (config.identity.clone(), stopped(stop.subscribe()));
        tasks.spawn(async move {
            server.serve_tls(listener, tls, identity, stopped).await;
        });
    }
    let control = Server::new(Arc::new(ControlHandler(link.clone()))).limits(Limits {
        connections: 64,
        body_octets: control::MAX_BODY_OCTETS,
        ..Limits::default()
    });
    let control_stopped = stopped(stop.subscribe());
    tasks.spawn(async move {
        control.serve_plain(listener_control, control_stopped).await;
    });
    tasks.spawn(tick(link.clone(), stop.subscribe()));
    Ok(RunningLink { link, address_a, address_b, address_control, stop, tasks })
}

/// A link with its servers. Dropping it ends them at once.
#[derive(Debug)]
pub struct RunningLink {
    link: Arc<Link>,
    address_a: SocketAddr,
    address_b: SocketAddr,
    address_control: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl RunningLink {
    /// Where the device of an end listens.
    #[must_use]
    pub fn address(&self, end: End) -> SocketAddr {
        match end {
            End::A => self.address_a,
            End::B => self.address_b,
        }
    }

    /// Where the control listens.
    #[must_use]
    pub fn control_address(&self) -> SocketAddr {
        self.address_control
    }

    /// The link itself.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Waits until one of the servers ends, which it does by itself only when it failed.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }

    /// Takes no further connections, lets requests in flight finish, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Why a link cannot start, or does not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
    /// There is no randomness for keys.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The runtime or its signals cannot be set up.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The ready line cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    /// A server has failed.
    #[error("a server of the link has failed")]
    Ended,
}

/// How often keys are made when nobody asks. Shorter than any lag worth setting.
const TICK: Duration = Duration::from_millis(20);

struct DeviceHandler(Device);

impl Handler for DeviceHandler {
    async fn call(&self, peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        self.0.answer(peer.identity.as_deref().ok(), &request).map(Body::into_bytes)
    }

    fn too_large(&self, _peer: &Peer) -> Response<Bytes> {
        Rejection::PayloadTooLarge.into_http().map(Body::into_bytes)
    }
}

struct ControlHandler(Arc<Link>);

impl Handler for ControlHandler {
    async fn call(&self, _peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        control::answer(&self.0, &request)
    }

    fn too_large(&self, _peer: &Peer) -> Response<Bytes> {
        control::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
    }
}

fn server_tls(end: &EndConfig) -> Result<ServerTls, TlsError> {
    let own = Credentials { certificate: Pem::file(&end.certificate), key: Pem::file(&end.key) };
    let trust = Trust::roots(Pem::file(&end.ca));
    Ok(ServerTls::new(tls::northbound_server(&own, &trust, &Northbound::default())?))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), LinkError> {
    let listen_error = |error| LinkError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let chosen = listener.local_addr().map_err(listen_error)?;
    Ok((listener, chosen))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the link was dropped, which stops it as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn tick(link: Arc<Link>, stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ticking = async {
        loop {
            ticks.tick().await;
            link.tick();
        }
    };
    tokio::select! {
        () = stopped(stop) => {}
        () = ticking => {}
    }
}
