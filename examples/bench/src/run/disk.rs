//! What the disk itself takes for one durable write.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::statistics::median;
use crate::failure::Failure;

/// Median microseconds of 32 octets appended and synced (`fdatasync`).
pub(super) fn sync_us(folder: &Path) -> Result<f64, Failure> {
    const TIMES: usize = 400;
    let path = folder.join("sync-probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        file.write_all(&[0x5a; 32])?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    Ok(median(times))
}
