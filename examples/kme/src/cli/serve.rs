//! `kme serve`: a KME in a runtime of its own, until it is told to stop.

use std::io::{self, Write};

use serde_json::json;
use tokio::runtime::Builder;
use transport::stop::StopSignals;

use super::{Done, ServeArguments};
use crate::config::Config;
use crate::serve::Ready;

pub(super) fn serve(arguments: &ServeArguments) -> Done {
    let config = Config::load(&arguments.config)?;
    crate::logging::start(&config.log);
    // On a single core, threads that steal work from each other only cost.
    let mut runtime = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        // Before the ready line, so that a signal sent because of it is not lost.
        let stop = StopSignals::new(arguments.exit_with_parent)?;
        Ok(crate::serve::serve(config, print_ready, stop.received()).await?)
    })
}

fn print_ready(ready: &Ready) {
    let line = json!({
        "ready": true,
        "northbound": ready.northbound.to_string(),
        "kx": ready.kx.map(|address| address.to_string()),
        "admin": ready.admin.map(|address| address.to_string()),
    });
    let mut out = io::stdout().lock();
    // Who started this KME without reading along does not miss it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
