//! What Status told at the beginning of a run.

use crate::json::Json;
use crate::lab::Answer;

/// Larger figures mean no limit to us, and would overflow what is reckoned from them.
const MOST: u64 = 1 << 32;

/// Limits, where Status gave them as non-negative integers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) key_size: Option<u64>,
    pub(crate) min_size: Option<u64>,
    pub(crate) max_size: Option<u64>,
    pub(crate) max_per_request: Option<u64>,
    pub(crate) max_additional: Option<u64>,
}

impl Limits {
    /// None of them, if the answer is an error.
    pub(crate) fn read(answer: &Answer) -> Self {
        let number = |name| {
            answer.succeeds().then_some(())?;
            let value = u64::try_from(answer.member(name).and_then(Json::integer)?).ok()?;
            Some(value.min(MOST))
        };
        Self {
            key_size: number("key_size"),
            min_size: number("min_key_size"),
            max_size: number("max_key_size"),
            max_per_request: number("max_key_per_request"),
            max_additional: number("max_SAE_ID_count"),
        }
    }
}
