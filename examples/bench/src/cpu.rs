//! The CPU time of other processes, by thread name.

use std::collections::BTreeMap;
use std::fs;

/// Nanoseconds on a CPU so far, summed over the threads of the same name.
pub(crate) type CpuTimes = BTreeMap<String, u64>;

/// The CPU times of the threads of these processes; of what has ended, nothing.
pub(crate) fn of(processes: &[u32]) -> CpuTimes {
    let mut times = CpuTimes::new();
    for process in processes {
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks.flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let statistics = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let on_cpu = statistics.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            *times.entry(name.trim().to_owned()).or_default() += on_cpu.unwrap_or_default();
        }
    }
    times
}

/// What was added between two readings.
pub(crate) fn between(before: &CpuTimes, after: &CpuTimes) -> CpuTimes {
    let passed = |(name, &end): (&String, &u64)| (name.clone(), end.saturating_sub(before.get(name).copied().unwrap_or(0)));
    after.iter().map(passed).collect()
}
