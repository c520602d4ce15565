//! Settings that are right each by itself, but not together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use relay_core::pad::TAG_KEY_OCTETS;

use super::Config;
use super::reader::{Document, Wrong, closest};
use crate::quota::capacity;

/// Notes what does not go together.
pub(super) fn check(config: &Config, document: &mut Document<'_>) {
    names_are_used_once(config, document);
    names_are_known(config, document);
    ports_differ(config, document);
    keys_fit_the_pools(config, document);
    requests_fit_the_quota(config, document);
}

fn names_are_used_once(config: &Config, document: &mut Document<'_>) {
    unique(document, "peer", "peer", config.peers.iter().map(|peer| &peer.id));
    unique(document, "link", "link", config.links.iter().map(|link| &link.id));
    unique(document, "sae", "SAE", config.saes.iter().map(|sae| &sae.id));
}

fn names_are_known(config: &Config, document: &mut Document<'_>) {
    let own = &config.kme.km;
    let peers: Vec<&str> = config.peers.iter().map(|peer| peer.id.as_str()).collect();
    for (index, peer) in config.peers.iter().enumerate() {
        let name = format!("peer[{index}].id");
        if peer.id == *own {
            document.note(
                &name,
                Wrong::new(format!("the peer `{own}` is this KME itself"), "write the other KME's ID, or change [kme] id"),
            );
        } else if !config.links.iter().any(|link| link.peer == peer.id) {
            let fix = format!("add [[link]] with peer = \"{}\"", peer.id);
            document.note(&name, Wrong::new(format!("no link leads to the peer `{}`", peer.id), fix));
        }
    }
    for (index, link) in config.links.iter().enumerate() {
        if !peers.contains(&link.peer.as_str()) {
            let wrong = Wrong::new(
                format!("the link `{}` leads to `{}`, which is no peer", link.id, link.peer),
                known_or(&link.peer, &peers),
            );
            document.note(&format!("link[{index}].peer"), wrong);
        }
    }
    for (index, sae) in config.saes.iter().enumerate() {
        if sae.kme != *own && !peers.contains(&sae.kme.as_str()) {
            let mut known = peers.clone();
            known.push(own.as_str());
            let wrong =
                Wrong::new(format!("the SAE `{}` is served by an unknown KME `{}`", sae.id, sae.kme), known_or(&sae.kme, &known));
            document.note(&format!("sae[{index}].kme"), wrong);
        }
    }
    if config.kx.is_none() && !config.peers.is_empty() {
        let fix = "add the section [kx] with `listen`, `certificate`, `key` and `ca`";
        document.note("peer", Wrong::new("there are peers, but no section [kx] to meet them", fix));
    }
}

fn known_or(unknown: &itu_y3803::KmId, known: &[&str]) -> String {
    match closest(unknown.as_str(), known) {
        Some(close) => format!("did you mean \"{close}\"?"),
        None => format!("add [[peer]] with id = \"{unknown}\""),
    }
}

fn ports_differ(config: &Config, document: &mut Document<'_>) {
    let doors: Vec<(&str, SocketAddr)> = [
        Some(("northbound", config.northbound.listen)),
        config.kx.as_ref().map(|kx| ("kx", kx.listen)),
        config.admin.map(|admin| ("admin", admin.listen)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for (index, (section, address)) in doors.iter().enumerate() {
        if let Some((other, _)) = doors[..index].iter().find(|(_, other)| clash(*address, *other)) {
            let wrong = Wrong::new(
                format!("[{section}] and [{other}] both listen at port {}", address.port()),
                "give one of them another port",
            );
            document.note(&format!("{section}.listen"), wrong);
        }
    }
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (any || one.ip() == other.ip())
}

/// A key is cut from one block, and all keys of one request are held ready together.
fn keys_fit_the_pools(config: &Config, document: &mut Document<'_>) {
    let engine = &config.engine;
    if let Err(error) = engine.check() {
        let message = error.to_string();
        let named = message.split(' ').next().map(|key| format!("pool.{key}")).filter(|name| document.has(name));
        document.note(
            named.as_deref().unwrap_or("pool"),
            Wrong::new(message, "change one of the two, or remove it to get the usual value"),
        );
        return;
    }
    let largest = config.northbound.keys.max_size().octets();
    let from_links = engine.qkd_keys_per_link_key as usize * engine.qkd_key_size.octets() - TAG_KEY_OCTETS;
    let smallest_block =
        if config.links.is_empty() { engine.local_block_octets } else { from_links.min(engine.local_block_octets) };
    if largest > smallest_block {
        let message = format!("a key of max_key_size, {largest} octets, does not fit a block of {smallest_block} octets");
        let fix = format!("write max_key_size = {} at the most, or larger blocks in [pool]", 8 * smallest_block);
        document.note("northbound.max_key_size", Wrong::new(message, fix));
    }
    let most = largest.saturating_mul(config.northbound.keys.max_keys().get() as usize);
    if most > engine.pool_limit {
        let message = format!("the largest request, {most} octets, is more than pool_limit, {} octets", engine.pool_limit);
        let fix = format!("write pool_limit = {most} in [pool], or lower max_keys_per_request or max_key_size");
        let named = ["northbound.max_keys_per_request", "northbound.max_key_size", "pool.pool_limit"];
        let name = named.into_iter().find(|name| document.has(name)).unwrap_or("northbound");
        document.note(name, Wrong::new(message, fix));
    }
}

/// What is refused with "not now" must be possible at some time.
fn requests_fit_the_quota(config: &Config, document: &mut Document<'_>) {
    let Some(rate) = config.quota.keys_per_second else { return };
    let most = config.northbound.keys.max_keys().get();
    let at_once = capacity(rate, config.quota.burst_seconds).floor();
    if at_once < f64::from(most) {
        let message = format!("a request for {most} keys can never be had: keys_per_second times burst_seconds is {at_once}");
        let seconds = (f64::from(most) / rate).ceil();
        let fix = format!("write burst_seconds = {seconds} or more, or max_keys_per_request = {at_once}");
        let named = ["quota.burst_seconds", "quota.keys_per_second"];
        document.note(named.into_iter().find(|name| document.has(name)).unwrap_or("quota"), Wrong::new(message, fix));
    }
}

fn unique<'c, T: Eq + Hash + std::fmt::Display + 'c>(
    document: &mut Document<'_>,
    list: &str,
    what: &str,
    ids: impl Iterator<Item = &'c T>,
) {
    let mut seen = HashMap::new();
    for (index, id) in ids.enumerate() {
        let first = *seen.entry(id).or_insert(index);
        if first != index {
            let fix = format!("remove this [[{list}]] or the one in line {}", document.line(&format!("{list}[{first}].id")));
            document.note(&format!("{list}[{index}].id"), Wrong::new(format!("the {what} `{id}` is named twice"), fix));
        }
    }
}
