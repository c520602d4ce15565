//! A growing buffer that leaves nothing behind.

use bytes::Bytes;
use zeroize::{Zeroize, Zeroizing};

/// A vector that wipes the old storage whenever it moves to a larger one.
#[derive(Default)]
pub(super) struct WipedBuffer(Zeroizing<Vec<u8>>);

impl WipedBuffer {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends `data`, and wipes it where nothing else refers to its storage.
    pub(super) fn push(&mut self, data: Bytes) {
        let needed = self.0.len() + data.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(&data);
        if let Ok(mut data) = data.try_into_mut() {
            data.as_mut().zeroize();
        }
    }

    pub(super) fn into_inner(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_keeps_contents_and_moves_as_a_whole() {
        let mut buffer = WipedBuffer::default();
        let mut expected = Vec::new();
        for round in 0..200_u8 {
            let part = vec![round; usize::from(round)];
            let fits = buffer.0.capacity() - buffer.len() >= part.len();
            let storage = buffer.0.as_ptr();
            buffer.push(Bytes::from(part.clone()));
            expected.extend(part);
            assert!(!fits || buffer.0.as_ptr() == storage, "moved without need");
            assert_eq!(*buffer.0, expected);
        }
    }
}
