//! HTTP bodies that may hold keys.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

/// The body of a request or response, in one buffer that is wiped when dropped.
///
/// A transport turns it into [`Bytes`] for sending, which wipes it after the last use, and gathers a received body with
/// [`extend_from_slice`](Self::extend_from_slice), which leaves no copy behind when the buffer grows. How much a peer may send is for
/// the transport to limit.
#[derive(Default)]
pub struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// A body without octets.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// An empty body with room for this many octets.
    #[must_use]
    pub fn with_capacity(octets: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(octets)))
    }

    /// Appends octets. When the buffer is too small, a larger one takes its place and the old one is wiped.
    pub fn extend_from_slice(&mut self, octets: &[u8]) {
        let needed = self.0.len().saturating_add(octets.len());
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(self.0.capacity().saturating_mul(2))));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(octets);
    }

    /// Whether there are no octets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Hands the buffer over without copying; it is wiped when the last clone of the [`Bytes`] is dropped.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.is_empty() { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<Zeroizing<Vec<u8>>> for Body {
    fn from(octets: Zeroizing<Vec<u8>>) -> Self {
        Self(octets)
    }
}

impl From<Body> for Bytes {
    fn from(body: Body) -> Self {
        body.into_bytes()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} octets)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_chunks_in_order() {
        let mut body = Body::with_capacity(1);
        for chunk in [&b"{\"ke"[..], b"", b"ys\":[", b"]}"] {
            body.extend_from_slice(chunk);
        }
        assert_eq!(body.as_ref(), b"{\"keys\":[]}");
        assert_eq!(body.into_bytes(), "{\"keys\":[]}");
    }

    #[test]
    fn debug_tells_the_length_only() {
        assert_eq!(format!("{:?}", Body::from(b"secret".to_vec())), "Body(6 octets)");
    }
}
