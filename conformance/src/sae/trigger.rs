//! Asks an SAE over HTTP to do something.

use std::time::{Duration, Instant};

use super::bench::filled;
use crate::wire::{BaseUrl, Stream, WireError, read_response};

/// Reads the address of a trigger; placeholders may be in its path and query.
pub(super) fn parse(template: &str) -> Result<(BaseUrl, String), String> {
    let (address, query) = match template.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (template, String::new()),
    };
    if !address.starts_with("http://") {
        return Err(format!("`{template}` does not begin with http://: it is called inside the laboratory, and told no secret"));
    }
    Ok((BaseUrl::parse(address)?, query))
}

/// GETs the URL with its placeholders filled.
pub(super) fn call(template: &str, environment: &[(&'static str, String)], timeout: Duration) -> Result<(), String> {
    let (url, query) = parse(&filled(template, environment))?;
    let deadline = Instant::now() + timeout;
    let path = if url.prefix.is_empty() { "/" } else { &url.prefix };
    let request = format!("GET {path}{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", url.authority());
    let failed = |error: WireError| format!("the trigger {url} does not work: {error}");
    let mut stream = Stream::plain(&url, deadline).map_err(failed)?;
    stream.write(request.as_bytes(), deadline).map_err(failed)?;
    let answer = read_response(&mut stream, &mut Vec::new(), false, deadline).map_err(failed)?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("the trigger {url} answered {status}")),
    }
}
