//! New connections: TCP, handshake with both certificates, one request, and the end.

use std::time::{Duration, Instant};

use clap::Args;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::client::{Dialler, TargetArguments, get};
use crate::cpu;
use crate::failure::Failure;
use crate::load::{Measured, percentile};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// What to get on each connection.
    #[arg(long, default_value = "/")]
    path: String,
    /// Only X25519, instead of X25519MLKEM768.
    #[arg(long)]
    classical: bool,
    /// Connections under way at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Milliseconds before it counts.
    #[arg(long, default_value_t = 300)]
    warmup_ms: u64,
    /// Milliseconds that it counts.
    #[arg(long, default_value_t = 2000)]
    measure_ms: u64,
    /// Processes whose CPU time to report.
    #[arg(long)]
    watch: Vec<u32>,
}

/// Measures, and prints the outcome as one line of JSON.
pub(crate) async fn handshakes(arguments: &Arguments) -> Result<(), Failure> {
    let dialler = if arguments.classical { arguments.target.classical_dialler()? } else { arguments.target.dialler()? };
    let from = Instant::now() + Duration::from_millis(arguments.warmup_ms);
    let to = from + Duration::from_millis(arguments.measure_ms);
    let mut tasks = JoinSet::new();
    for _ in 0..arguments.connections {
        tasks.spawn(connect(dialler.clone(), get(&arguments.path), from, to));
    }
    sleep_until(from.into()).await;
    let before = cpu::of(&arguments.watch);
    sleep_until(to.into()).await;
    let after = cpu::of(&arguments.watch);

    let (mut times, mut refused) = (Vec::new(), 0);
    while let Some(task) = tasks.join_next().await {
        let (mine, refused_mine) = task.map_err(|error| Failure::other(error.to_string()))??;
        times.extend(mine);
        refused += refused_mine;
    }
    times.sort_unstable();
    let measured = Measured {
        requests: times.len() as u64,
        refused,
        seconds: (to - from).as_secs_f64(),
        p50_us: percentile(&times, 50),
        p99_us: percentile(&times, 99),
        slave_p50_us: 0.0,
        slave_p99_us: 0.0,
        server_cpu_ns: cpu::between(&before, &after),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

async fn connect(dialler: Dialler, request: Vec<u8>, from: Instant, to: Instant) -> Result<(Vec<u32>, u64), Failure> {
    let (mut times, mut refused) = (Vec::new(), 0);
    let mut began = Instant::now();
    while began < to {
        let mut connection = dialler.dial().await?;
        let status = connection.exchange(&request).await?.status;
        connection.reset()?;
        let ended = Instant::now();
        match status {
            200 if began >= from && ended <= to => times.push(u32::try_from((ended - began).as_nanos()).unwrap_or(u32::MAX)),
            200 => {}
            _ => refused += 1,
        }
        began = ended;
    }
    Ok((times, refused))
}
