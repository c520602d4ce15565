//! Facts about the machine, for the report.

use std::fs;
use std::process::Command;

use super::process::{CLIENT_CORE, SERVER_CORE, machine_allows_nice};

pub(super) fn facts(rounds: usize, measure_ms: u64) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let nice = if machine_allows_nice() { ", at nice -10" } else { "" };
    vec![
        format!("Machine: {}, {cores} cores, Linux {kernel}, {}", cpu_model(), compiler()),
        format!("Servers on core {SERVER_CORE}; load client and emulated QKD link on core {CLIENT_CORE}{nice}; loopback"),
        format!("Autogroup (with autogroups, nice counts within one only): {}", read("/proc/self/autogroup")),
        format!("{rounds} rounds of {measure_ms} ms; load average before: {load}"),
    ]
}

fn cpu_model() -> String {
    let line =
        |line: &str| line.strip_prefix("model name").and_then(|rest| rest.split_once(": ")).map(|(_, name)| name.to_owned());
    read("/proc/cpuinfo").lines().find_map(line).unwrap_or_else(|| "unknown CPU".to_owned())
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split(" (").next().unwrap_or_default().trim().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
