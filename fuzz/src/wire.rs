//! What one KME reads from another.

use kme::kx::wire;

use crate::Outcome;
use crate::check::holds_no_text;

/// Frames of messages between KMEs. What was read and is written again is read alike, and written in the same octets.
pub fn kx_frame(input: &[u8]) -> Outcome {
    let read = wire::decode(input);
    match &read {
        Ok(messages) => {
            assert!(messages.len() <= wire::MAX_FRAME_MESSAGES);
            let frames = wire::encode(messages);
            assert!(frames.iter().all(|frame| frame.len() <= wire::MAX_FRAME_OCTETS));
            let again: Vec<_> = frames.iter().flat_map(|frame| wire::decode(frame).expect("refuses what it wrote")).collect();
            assert_eq!(format!("{again:?}"), format!("{messages:?}"));
            assert!(wire::encode(&again) == frames, "other frames at the second time");
        }
        Err(error) => holds_no_text(error, input),
    }
    Outcome::of(&read)
}
