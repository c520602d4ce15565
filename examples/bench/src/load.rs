//! The load client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::client::{Connection, Dialler, TargetArguments, get, post};
use crate::cpu::{self, CpuTimes};
use crate::failure::Failure;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// What to ask for.
    #[arg(long, value_enum)]
    work: Work,
    /// The slave SAE.
    #[arg(long, default_value = "blue")]
    slave: String,
    /// How many keys in one request.
    #[arg(long, default_value_t = 1)]
    number: u32,
    /// Where the slave collects, if not at the same server.
    #[arg(long)]
    slave_address: Option<SocketAddr>,
    /// Connections; with `pairs`, so many at either end.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Connections that are opened besides and then say nothing.
    #[arg(long, default_value_t = 0)]
    silent: usize,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// `GET /`.
    Hello,
    /// Get key.
    Enc,
    /// Get key as master, then get key with key IDs as slave.
    Pairs,
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Answers with status 200.
    pub(crate) requests: u64,
    /// Other answers.
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    /// Of every request.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of the slave's requests, if there are any.
    pub(crate) slave_p50_us: f64,
    pub(crate) slave_p99_us: f64,
    /// Nanoseconds of CPU, by the names of the threads of the processes watched.
    pub(crate) server_cpu_ns: CpuTimes,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Microseconds of the servers' CPU for one request.
    pub(crate) fn server_us(&self) -> f64 {
        self.server_cpu_ns.values().sum::<u64>() as f64 / 1000.0 / self.requests.max(1) as f64
    }
}

/// Measures, and prints the outcome as one line of JSON.
pub(crate) async fn load(arguments: &Arguments) -> Result<(), Failure> {
    let dialler = arguments.target.dialler()?;
    let slave = TargetArguments {
        address: arguments.slave_address.unwrap_or(arguments.target.address),
        sae: arguments.slave.clone(),
        ..arguments.target.clone()
    };
    let slave_dialler = (arguments.work == Work::Pairs).then(|| slave.dialler()).transpose()?;
    let mut silent = Vec::new();
    for _ in 0..arguments.silent {
        silent.push(dialler.dial_tcp().await?);
    }
    let mut workers = Vec::new();
    for _ in 0..arguments.connections {
        workers.push(Worker::new(arguments, &dialler, slave_dialler.as_ref()).await?);
    }

    let from = Instant::now() + Duration::from_millis(arguments.warmup_ms);
    let to = from + Duration::from_millis(arguments.measure_ms);
    let mut tasks: JoinSet<Result<Counts, Failure>> = workers.into_iter().map(|worker| worker.run(from, to)).collect();
    sleep_until(from.into()).await;
    let before = cpu::of(&arguments.watch);
    sleep_until(to.into()).await;
    let after = cpu::of(&arguments.watch);

    let mut all = Counts::default();
    while let Some(task) = tasks.join_next().await {
        all.add(task.map_err(|error| Failure::other(error.to_string()))??);
    }
    all.times.sort_unstable();
    all.slave_times.sort_unstable();
    let measured = Measured {
        requests: (all.times.len() + all.slave_times.len()) as u64,
        refused: all.refused,
        seconds: (to - from).as_secs_f64(),
        p50_us: percentile(&all.times, 50),
        p99_us: percentile(&all.times, 99),
        slave_p50_us: percentile(&all.slave_times, 50),
        slave_p99_us: percentile(&all.slave_times, 99),
        server_cpu_ns: cpu::between(&before, &after),
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// In microseconds; 0 for nothing.
pub(crate) fn percentile(sorted_ns: &[u32], percent: usize) -> f64 {
    let index = (sorted_ns.len() * percent / 100).min(sorted_ns.len().saturating_sub(1));
    sorted_ns.get(index).map_or(0.0, |&ns| f64::from(ns) / 1000.0)
}

#[derive(Default)]
struct Counts {
    /// Nanoseconds of each request that was answered with 200 within the time that counts.
    times: Vec<u32>,
    slave_times: Vec<u32>,
    refused: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.slave_times.extend(other.slave_times);
        self.refused += other.refused;
    }
}

struct Worker {
    master: Connection,
    request: Vec<u8>,
    slave: Option<Collector>,
}

impl Worker {
    async fn new(arguments: &Arguments, dialler: &Dialler, slave: Option<&Dialler>) -> Result<Self, Failure> {
        let Arguments { number, slave: name, .. } = arguments;
        let request = match arguments.work {
            Work::Hello => get("/"),
            Work::Enc | Work::Pairs => {
                post(&format!("/api/v1/keys/{name}/enc_keys"), &format!("{{\"number\":{number},\"size\":256}}"))
            }
        };
        let slave = match slave {
            Some(slave) => Some(Collector::new(slave.dial().await?, &arguments.target.sae)?),
            None => None,
        };
        Ok(Self { master: dialler.dial().await?, request, slave })
    }

    async fn run(mut self, from: Instant, to: Instant) -> Result<Counts, Failure> {
        let mut counts = Counts { times: Vec::with_capacity(1 << 16), ..Counts::default() };
        let mut began = Instant::now();
        while began < to {
            let answer = self.master.exchange(&self.request).await?;
            let ended = Instant::now();
            let counted = began >= from && ended <= to;
            match answer.status {
                200 if counted => counts.times.push(nanoseconds(ended - began)),
                200 => {}
                _ => counts.refused += 1,
            }
            if let Some(slave) = &mut self.slave
                && answer.status == 200
            {
                let status = slave.collect(answer.body).await?;
                let collected = Instant::now();
                match status {
                    200 if ended >= from && collected <= to => counts.slave_times.push(nanoseconds(collected - ended)),
                    200 => {}
                    _ => counts.refused += 1,
                }
                began = collected;
            } else {
                began = ended;
            }
        }
        Ok(counts)
    }
}

fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

/// The slave's side of a pair.
struct Collector {
    connection: Connection,
    request: Vec<u8>,
    /// Where the ID goes.
    place: std::ops::Range<usize>,
}

impl Collector {
    fn new(connection: Connection, master: &str) -> Result<Self, Failure> {
        const ANY: &str = "00000000-0000-0000-0000-000000000000";
        let body = format!("{{\"key_IDs\":[{{\"key_ID\":\"{ANY}\"}}]}}");
        let request = post(&format!("/api/v1/keys/{master}/dec_keys"), &body);
        let start = find(&request, ANY.as_bytes()).ok_or_else(|| Failure::other("the request has no place for an ID"))?;
        Ok(Self { connection, request, place: start..start + ANY.len() })
    }

    /// Asks for the first key of a container.
    async fn collect(&mut self, container: &[u8]) -> Result<u16, Failure> {
        const NAME: &[u8] = b"\"key_ID\":\"";
        let start = find(container, NAME).map(|at| at + NAME.len());
        let id = start.and_then(|start| container.get(start..start + self.place.len()));
        let (Some(id), Some(place)) = (id, self.request.get_mut(self.place.clone())) else {
            return Err(Failure::other("the answer has no key ID"));
        };
        place.copy_from_slice(id);
        Ok(self.connection.exchange(&self.request).await?.status)
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times: Vec<u32> = (1..=100).map(|time| time * 1000).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (51.0, 100.0));
        assert_eq!((percentile(&[7000], 99), percentile(&[], 50)), (7.0, 0.0));
    }
}
