//! Section `[pool]`: how much key is kept ready, for how long, and how patient the engine is.

use itu_y3803::KeySize;
use relay_core::Config as Engine;

use super::Kme;
use super::reader::{Document, Section, Wrong};
use super::value;

/// Starts from the engine's usual settings. Links and applications come from elsewhere.
pub(super) fn read<'a>(document: &mut Document<'a>, section: Option<Section<'a>>, kme: Option<&Kme>) -> Option<Engine> {
    // Without a name for this KME the section is read for its mistakes only.
    let id = kme.map(|kme| kme.km.clone()).or_else(|| "unknown".parse().ok())?;
    let mut engine = Engine::new(id);
    let Some(mut section) = section else { return Some(engine) };

    if let Some(bits) = section.optional(document, "qkd_key_size", value::u32_in(8, 1 << 16)) {
        match KeySize::from_bits(bits) {
            Some(size) if bits.is_multiple_of(8) => engine.qkd_key_size = size,
            _ => document.note(
                "pool.qkd_key_size",
                Wrong::new("`qkd_key_size` is no multiple of 8", "write a number of bits that is, as 256"),
            ),
        }
    }
    for (key, setting) in [("qkd_keys_per_link_key", &mut engine.qkd_keys_per_link_key), ("draw_limit", &mut engine.draw_limit)] {
        *setting = section.optional(document, key, value::u32_in(1, 1024)).unwrap_or(*setting);
    }
    for (key, setting) in [
        ("link_low", &mut engine.link_low),
        ("link_high", &mut engine.link_high),
        ("pool_low", &mut engine.pool_low),
        ("pool_high", &mut engine.pool_high),
        ("pool_limit", &mut engine.pool_limit),
        ("max_pools", &mut engine.max_pools),
        ("lease_octets", &mut engine.lease_octets),
        ("local_block_octets", &mut engine.local_block_octets),
        ("max_incoming", &mut engine.max_incoming),
        ("max_collectable", &mut engine.max_collectable),
    ] {
        *setting = section.optional(document, key, value::usize_in(0, 1 << 31)).unwrap_or(*setting);
    }
    for (key, setting) in [
        ("link_key_life", &mut engine.link_key_life),
        ("block_life", &mut engine.block_life),
        ("collect_time", &mut engine.collect_time),
        ("clock_skew", &mut engine.clock_skew),
        ("idle", &mut engine.idle),
        ("repeat", &mut engine.repeat),
        ("give_up", &mut engine.give_up),
        ("patience", &mut engine.patience),
        ("draw_pause", &mut engine.draw_pause),
        ("join_within", &mut engine.join_within),
    ] {
        *setting = section.optional(document, key, value::duration).unwrap_or(*setting);
    }
    section.finish(document);
    Some(engine)
}
