//! The three kinds of key data (digest 7.4), each its own type: what came from a QKD module cannot be supplied by mistake
//! (Y3803-10.1-01).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::id::{KeyId, KmId, LinkId};
use crate::key::KeyMaterial;
use crate::time::WallTime;

/// A key as a QKD module delivers it over Kq-1 (Y3803-9.1-01).
///
/// It is no key for an application (Y3803-10.1-01):
///
/// ```compile_fail
/// # fn supply(_: itu_y3803::KsaKey) {}
/// # fn by_mistake(key: itu_y3803::QkdKey) {
/// supply(key); // expected KsaKey, found QkdKey
/// # }
/// ```
#[derive(Debug)]
pub struct QkdKey {
    /// The identifier that both modules of the link give it.
    pub id: KeyId,
    /// The key.
    pub material: KeyMaterial,
}

/// Link key in the key management agent: shared with one neighbour, not yet used for anything.
#[derive(Debug)]
pub struct KmaKey {
    /// The same at both ends of the link.
    pub id: KeyId,
    /// The KM at the other end.
    pub peer: KmId,
    /// The link it came from (Y3803-9.1-05).
    pub link: LinkId,
    /// The key.
    pub material: KeyMaterial,
    /// Over which nodes it came, if it was relayed.
    pub paths: Paths,
    /// When the QKD keys in it were received.
    pub created: WallTime,
    /// When it is deleted if unused (Y3803-9.6-01).
    pub expires: WallTime,
}

impl KmaKey {
    /// Joins QKD keys, in order, to one KMA key (Y3803-8.1-01); `None` when there are none, or one has no whole octets.
    #[must_use]
    pub fn from_qkd_keys(
        id: KeyId,
        peer: KmId,
        link: LinkId,
        keys: impl IntoIterator<Item = QkdKey>,
        created: WallTime,
        expires: WallTime,
    ) -> Option<Self> {
        let material = KeyMaterial::join(keys.into_iter().map(|key| key.material))?;
        Some(Self { id, peer, link, material, paths: Paths::default(), created, expires })
    }
}

/// A key in the key supply agent, as it is supplied to an application over Ak.
#[derive(Debug)]
pub struct KsaKey {
    /// The identifier under which every entitled application gets the same key.
    pub id: KeyId,
    /// The key.
    pub material: KeyMaterial,
    /// What its secrecy rests on,
    pub label: SecrecyLabel,
    /// beside the trust in the nodes on these paths.
    pub paths: Paths,
    /// When it was made.
    pub created: WallTime,
    /// Until when the other applications can collect it.
    pub expires: WallTime,
}

/// The paths that a key took, each from its source to its destination, both included: one, or with a key in parts one for each
/// part. None when it passed no node between, or was stored by a release that did not keep them. A key for slaves at several key
/// managers has those to all of them at the master's, and at each slave's those that lead there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Paths(Arc<[Vec<KmId>]>);

impl Paths {
    /// Takes the nodes of each path.
    #[must_use]
    pub fn new(paths: Vec<Vec<KmId>>) -> Self {
        Self(paths.into())
    }

    /// Each path.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[KmId]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// The nodes that had the key, or a part of it, on its way.
    pub fn between(&self) -> impl Iterator<Item = &KmId> {
        self.iter().flat_map(|path| path.get(1..path.len().saturating_sub(1)).unwrap_or_default())
    }
}

impl FromIterator<Vec<KmId>> for Paths {
    fn from_iter<T: IntoIterator<Item = Vec<KmId>>>(paths: T) -> Self {
        Self(paths.into_iter().collect())
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What the secrecy of a key rests on, beside the trust in the nodes on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecrecyLabel {
    /// Carried under one-time pads of QKD key on every hop.
    ItsRelay,
    /// Carried under a cipher on at least one hop.
    Computational,
    /// A QKD key combined with a second key.
    Hybrid,
    /// Made and collected at the same node: carried nowhere.
    Local,
}

impl SecrecyLabel {
    /// Every label, for tables and decoders.
    pub const ALL: [Self; 4] = [Self::ItsRelay, Self::Computational, Self::Hybrid, Self::Local];

    /// Whether a key with this label will do where `least` is demanded: keys that rest on no computation stand above hybrid
    /// ones, and those above computational ones.
    #[must_use]
    pub const fn satisfies(self, least: Self) -> bool {
        self.rank() >= least.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Computational => 0,
            Self::Hybrid => 1,
            Self::ItsRelay | Self::Local => 2,
        }
    }

    /// The label as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ItsRelay => "its-relay",
            Self::Computational => "computational",
            Self::Hybrid => "hybrid",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for SecrecyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::SecrecyLabel::{self, Computational, Hybrid, ItsRelay, Local};

    #[test]
    fn no_label_stands_in_for_a_stronger_one() {
        for (least, enough) in [
            (Computational, &[ItsRelay, Computational, Hybrid, Local][..]),
            (Hybrid, &[ItsRelay, Hybrid, Local]),
            (ItsRelay, &[ItsRelay, Local]),
            (Local, &[ItsRelay, Local]),
        ] {
            for label in SecrecyLabel::ALL {
                assert_eq!(label.satisfies(least), enough.contains(&label), "{label} for {least}");
            }
        }
    }
}
