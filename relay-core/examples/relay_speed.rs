//! Relay: what a pad costs, and what keys cost over a line of trusted nodes.
//!
//! `cargo run --release -p qkms-relay-core --example relay_speed`
//!
//! The first table is real time of one thread, medians over rounds, as ratios to copying as many octets and to Poly1305 alone. The
//! second runs the engines of all nodes of a line in one thread, over stores in memory, with every message between two nodes, be
//! they neighbours or not, taking the same time: octets, link key and latency follow from the protocol and are the same in each run.
//! What the lines do not have is what a node has beside its engine: a disk, TLS, encoding.

use std::hint::black_box;
use std::time::{Duration, Instant};

use itu_y3803::{KeyId, KeyMaterial, KmId, KmaKey, LinkId, WallTime};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use relay_core::Pad;
use relay_core::pad::TAG_KEY_OCTETS;

#[path = "relay_speed/line.rs"]
mod line;

fn main() {
    println!("One hop of one message: pad made and wiped, key hidden, tag over 200 octets of context and the key.\n");
    println!("{:>7} {:>10} {:>10} {:>10} {:>12} {:>12}", "octets", "seal ns", "per key ns", "x memcpy", "x poly1305", "keys/s");
    for octets in [32, 1_024, 8_128] {
        let mut rounds: Vec<_> = (0..9).map(|_| pads(octets)).collect();
        let median = |rounds: &mut Vec<[f64; 3]>, of: fn(&[f64; 3]) -> f64| {
            rounds.sort_by(|a, b| of(a).total_cmp(&of(b)));
            of(&rounds[rounds.len() / 2])
        };
        let seal = median(&mut rounds, |[_, _, seal]| *seal);
        let copies = median(&mut rounds, |[copy, _, seal]| seal / copy);
        let tags = median(&mut rounds, |[_, tag, seal]| seal / tag);
        let keys = octets as f64 / 32.0;
        println!("{octets:>7} {seal:>10.0} {:>10.1} {copies:>10.1} {tags:>12.2} {:>12.0}", seal / keys, 1e9 * keys / seal);
    }

    println!("\nKeys of 256 bits from one end of a line to the other, 254 of them in one relayed block.\n");
    println!(
        "{:>5} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "hops", "keys/s", "inputs/s", "relays", "blocks", "offers", "link key", "on demand", "from pool"
    );
    let lines: Vec<_> = [1, 2, 3, 4, 8].map(|hops| (hops, line::measure(hops))).into();
    for (hops, line) in &lines {
        let keys = line.keys as f64;
        let each = |octets: u64| octets as f64 / keys / f64::from(*hops) / 32.0;
        println!(
            "{hops:>5} {:>9.0} {:>10.0} {:>9.3}x {:>9.3}x {:>9.3}x {:>9.3}x {:>10} {:>10}",
            keys / line.took.as_secs_f64(),
            line.inputs as f64 / line.took.as_secs_f64(),
            each(line.relayed),
            each(line.bound),
            each(line.offered),
            each(line.spent),
            line.on_demand,
            line.from_pool,
        );
    }
    println!(
        "\nKeys and inputs: of all engines together on one core, with the line around them. Relays, blocks, offers: octets of the"
    );
    println!(
        "fields of messages about each; and link key spent, tags and all: in parts of the key, for each hop. On demand, from pool:"
    );
    println!("how many times what a message takes passed between a request and its answer.");
}

/// Nanoseconds of copying, of a tag alone, and of sealing.
fn pads(octets: usize) -> [f64; 3] {
    const RUNS: u32 = 2_000;
    let peer = KmId::new("south").expect("valid");
    let link = LinkId::new("north to south").expect("valid");
    let material = |octets: usize| KeyMaterial::from_octets(vec![0x5a; octets]).expect("not empty");
    let context = [7; 200];
    let key = material(octets);
    let time = WallTime::from_millis(0);
    let pad = |_| KmaKey {
        paths: itu_y3803::Paths::default(),
        id: KeyId::from_octets([1; 16]),
        peer: peer.clone(),
        link: link.clone(),
        material: material(TAG_KEY_OCTETS + octets),
        created: time,
        expires: time,
    };
    let mut pads: Vec<_> = (0..RUNS).map(pad).collect();
    let seal = mean(RUNS, || {
        let pad = Pad::new(pads.pop().expect("as many as runs"));
        black_box(pad.seal(&context, &key)).expect("as long as the key");
    });
    let mut out = vec![0; octets];
    let copy = mean(100 * RUNS, || {
        black_box(&mut out).copy_from_slice(black_box(key.expose_secret()));
    });
    let text = vec![3; octets + context.len()];
    let tag = mean(RUNS, || {
        black_box(Poly1305::new(black_box(&[9; 32]).into()).compute_unpadded(black_box(&text)));
    });
    [copy, tag, seal].map(|time| time.as_secs_f64() * 1e9)
}

fn mean(runs: u32, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..runs).for_each(|_| work());
    start.elapsed() / runs
}
