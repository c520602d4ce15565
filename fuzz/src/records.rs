//! What is read from files: keys in a store, traces of the secret key rate.

use itu_y3803::KeyId;
use qkd_link::trace::Trace;
use relay_core::{Pool, StoredKey};

use crate::Outcome;
use crate::check::holds_no_text;

/// Keys in a store: an octet that picks the pool, 16 for the identifier, then the record.
pub fn stored_key(input: &[u8]) -> Outcome {
    let Some((pool, rest)) = input.split_first() else { return Outcome::Refused };
    let Some((id, record)) = rest.split_first_chunk() else { return Outcome::Refused };
    let pool = Pool::ALL[usize::from(*pool) % Pool::ALL.len()];
    let id = KeyId::from_octets(*id);
    let read = StoredKey::from_octets(pool, id, record);
    match &read {
        Ok(key) => {
            assert_eq!((key.pool(), key.id()), (pool, id));
            let written = key.to_octets();
            if written.first() == record.first() {
                assert!(written.as_slice() == record, "another record than was read");
            } else {
                // Of an earlier layout.
                let again = StoredKey::from_octets(pool, id, &written).expect("refuses what it wrote");
                assert!(again.to_octets() == written, "another record than was written");
            }
        }
        Err(error) => holds_no_text(error, input),
    }
    Outcome::of(&read)
}

/// Traces. One that is read and written again is the same trace, and plays back without a panic at any time.
pub fn trace(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    let read = Trace::parse(text);
    match &read {
        Ok(trace) => {
            let shown = trace.to_string();
            let again = Trace::parse(&shown).expect("refuses what it wrote");
            assert_eq!(&again, trace);
            assert_eq!(again.to_string(), shown);
            plays(trace);
        }
        Err(error) => {
            holds_no_text(error, input);
            assert!(error.line() <= 1 + input.len());
        }
    }
    Outcome::of(&read)
}

fn plays(trace: &Trace) {
    use std::time::Duration;
    let period = trace.period();
    let times = [Duration::ZERO, Duration::from_nanos(1), period / 2, period, period.saturating_mul(3), Duration::MAX];
    for pair in times.windows(2) {
        if let [from, to] = pair {
            let bits = trace.bits_between(*from, *to);
            assert!(bits >= 0.0 && !bits.is_nan(), "{bits} bits");
            assert!(trace.rate_at(*to).bps() >= 0.0);
        }
    }
    assert!(trace.mean_bps() >= 0.0);
}
