//! Stored keys as octets, for stores that keep octets.
//!
//! The layout is versioned by its first octet; a store written by an older release stays readable. Numbers are big-endian,
//! texts and lists have their length before them.

use std::sync::Arc;

use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KmId, KmaKey, LinkId, Parties, Paths, SecrecyLabel, WallTime};
use zeroize::Zeroizing;

use crate::block::{BlockInfo, CollectBlock, Collected, SupplyBlock, bitmap_octets};
use crate::store::{Pool, StoredKey};

const VERSION: u8 = 2;
/// Without paths.
const FIRST_VERSION: u8 = 1;

/// Octets that are no stored key of this or an earlier release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store holds a record that cannot be read")]
pub struct Unreadable;

impl StoredKey {
    /// This key as octets, in a buffer that is wiped when dropped. Pool and identifier are not in it: a store keeps keys by
    /// them.
    #[must_use]
    pub fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::with_capacity(self.octets_at_most());
        out.octet(VERSION);
        match self {
            Self::Outgoing(key) | Self::Incoming(key) => {
                out.text(key.peer.as_str());
                out.text(key.link.as_str());
                out.number(key.created.millis());
                out.number(key.expires.millis());
                out.paths(&key.paths);
                out.octets(key.material.expose_secret());
            }
            Self::Supply(block) => {
                out.info(&block.info);
                block.homes.iter().for_each(|home| out.text(home.as_str()));
                out.number(block.next as u64);
                out.octets(block.material.expose_secret());
            }
            Self::Collect(block) => {
                out.info(&block.info);
                out.0.extend_from_slice(&block.tag);
                out.octets(block.material.expose_secret());
                block.collected.0.iter().for_each(|bitmap| out.octets(bitmap));
            }
        }
        out.0
    }

    /// Reads what [`to_octets`](Self::to_octets) wrote.
    ///
    /// # Errors
    /// [`Unreadable`] for anything else.
    pub fn from_octets(pool: Pool, id: KeyId, octets: &[u8]) -> Result<Self, Unreadable> {
        let mut octets = Reader(octets);
        let version = octets.octet()?;
        if !(FIRST_VERSION..=VERSION).contains(&version) {
            return Err(Unreadable);
        }
        let with_paths = version > FIRST_VERSION;
        let key = match pool {
            Pool::Outgoing => Self::Outgoing(octets.kma_key(id, with_paths)?),
            Pool::Incoming => Self::Incoming(octets.kma_key(id, with_paths)?),
            Pool::Supply => {
                let info = octets.info(id, with_paths)?;
                let mut home = || KmId::new(octets.text()?).map_err(|_| Unreadable);
                let homes = info.parties.slaves().iter().map(|_| home()).collect::<Result<_, _>>()?;
                let next = usize::try_from(octets.number()?).map_err(|_| Unreadable)?;
                let material = octets.material()?;
                if next > material.size().octets() {
                    return Err(Unreadable);
                }
                Self::Supply(SupplyBlock { info, homes, next, material })
            }
            Pool::Collect => {
                let info = octets.info(id, with_paths)?;
                let tag = octets.array()?;
                let material = octets.material()?;
                let wanted = bitmap_octets(material.size().octets());
                let mut bitmap = || octets.octets().and_then(|bits| (bits.len() == wanted).then_some(bits).ok_or(Unreadable));
                let collected = info.parties.slaves().iter().map(|_| bitmap().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
                Self::Collect(CollectBlock { info, tag, material, collected: Collected(collected) })
            }
        };
        octets.end().map(|()| key)
    }

    fn octets_at_most(&self) -> usize {
        let info = |info: &BlockInfo| {
            let slaves: usize = info.parties.slaves().iter().map(|slave| slave.as_str().len() + 4).sum();
            32 + info.parties.master().as_str().len() + slaves + path_octets(&info.paths)
        };
        32 + match self {
            Self::Outgoing(key) | Self::Incoming(key) => {
                let texts = key.peer.as_str().len() + key.link.as_str().len();
                24 + texts + path_octets(&key.paths) + key.material.size().octets()
            }
            Self::Supply(block) => {
                let homes: usize = block.homes.iter().map(|home| home.as_str().len() + 4).sum();
                info(&block.info) + homes + 12 + block.material.size().octets()
            }
            Self::Collect(block) => {
                let bitmaps: usize = block.collected.0.iter().map(|bitmap| bitmap.len() + 4).sum();
                info(&block.info) + 20 + block.material.size().octets() + bitmaps
            }
        }
    }
}

/// Writes into one buffer of sufficient capacity: a buffer that grew would leave octets behind unwiped.
pub(crate) struct Writer(pub(crate) Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn with_capacity(octets: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(octets)))
    }

    pub(crate) fn octet(&mut self, octet: u8) {
        self.0.push(octet);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(&(octets.len() as u32).to_be_bytes());
        self.0.extend_from_slice(octets);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.octets(text.as_bytes());
    }

    fn info(&mut self, info: &BlockInfo) {
        self.text(info.parties.master().as_str());
        self.octet(info.parties.slaves().len() as u8);
        info.parties.slaves().iter().for_each(|slave| self.text(slave.as_str()));
        self.octet(label_number(info.label));
        self.number(info.created.millis());
        self.number(info.expires.millis());
        self.paths(&info.paths);
    }

    /// A block for many key managers has many paths, none of more nodes than a message can name.
    fn paths(&mut self, paths: &Paths) {
        self.0.extend_from_slice(&(paths.iter().len() as u32).to_be_bytes());
        for path in paths.iter() {
            self.octet(path.len() as u8);
            path.iter().for_each(|node| self.text(node.as_str()));
        }
    }
}

pub(crate) fn path_octets(paths: &Paths) -> usize {
    4 + paths.iter().map(|path| 1 + path.iter().map(|node| 4 + node.as_str().len()).sum::<usize>()).sum::<usize>()
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn octet(&mut self) -> Result<u8, Unreadable> {
        self.array().map(|[octet]| octet)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Unreadable)?;
        let (octets, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(octets)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Unreadable> {
        str::from_utf8(self.octets()?).map_err(|_| Unreadable)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn incarnation(&mut self) -> Result<Incarnation, Unreadable> {
        self.array().map(Incarnation::from_octets)
    }

    pub(crate) fn material(&mut self) -> Result<KeyMaterial, Unreadable> {
        KeyMaterial::from_octets(self.octets()?.to_vec()).map_err(|_| Unreadable)
    }

    pub(crate) fn end(&self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }

    fn time(&mut self) -> Result<WallTime, Unreadable> {
        self.number().map(WallTime::from_millis)
    }

    fn paths(&mut self) -> Result<Paths, Unreadable> {
        let mut paths = Vec::new();
        let number = u32::from_be_bytes(self.array()?);
        for _ in 0..number {
            let nodes = self.octet()?;
            paths.push((0..nodes).map(|_| KmId::new(self.text()?).map_err(|_| Unreadable)).collect::<Result<_, _>>()?);
        }
        Ok(Paths::new(paths))
    }

    fn kma_key(&mut self, id: KeyId, with_paths: bool) -> Result<KmaKey, Unreadable> {
        Ok(KmaKey {
            id,
            peer: KmId::new(self.text()?).map_err(|_| Unreadable)?,
            link: LinkId::new(self.text()?).map_err(|_| Unreadable)?,
            created: self.time()?,
            expires: self.time()?,
            paths: if with_paths { self.paths()? } else { Paths::default() },
            material: self.material()?,
        })
    }

    fn info(&mut self, id: KeyId, with_paths: bool) -> Result<BlockInfo, Unreadable> {
        let mut application = || ApplicationId::new(self.text()?).map_err(|_| Unreadable);
        let master = application()?;
        let number = self.octet()?;
        let mut application = || ApplicationId::new(self.text()?).map_err(|_| Unreadable);
        let slaves = (0..number).map(|_| application()).collect::<Result<Vec<_>, _>>()?;
        // What else is in the record is in their order.
        if !slaves.is_sorted() {
            return Err(Unreadable);
        }
        Ok(BlockInfo {
            id,
            parties: Arc::new(Parties::new(master, slaves).ok_or(Unreadable)?),
            label: label(self.octet()?)?,
            created: self.time()?,
            expires: self.time()?,
            paths: if with_paths { self.paths()? } else { Paths::default() },
        })
    }
}

fn label_number(label: SecrecyLabel) -> u8 {
    SecrecyLabel::ALL.iter().position(|&other| other == label).unwrap_or_default() as u8
}

fn label(number: u8) -> Result<SecrecyLabel, Unreadable> {
    SecrecyLabel::ALL.get(usize::from(number)).copied().ok_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn app(id: &str) -> ApplicationId {
        ApplicationId::new(id).expect("valid")
    }

    fn homes() -> Vec<KmId> {
        ["south", "west"].map(|home| KmId::new(home).expect("valid")).to_vec()
    }

    fn paths() -> Paths {
        Paths::new(vec![homes(), vec![homes().remove(0); 3]])
    }

    fn keys() -> Vec<StoredKey> {
        let material = || KeyMaterial::from_octets((0..=255).collect()).expect("whole octets");
        let kma = || KmaKey {
            id: KeyId::from_octets([7; 16]),
            peer: KmId::new("south").expect("valid"),
            link: LinkId::new("north-south").expect("valid"),
            material: material(),
            paths: paths(),
            created: WallTime::from_millis(1),
            expires: WallTime::from_millis(2),
        };
        let info = || BlockInfo {
            id: KeyId::from_octets([7; 16]),
            parties: Arc::new(Parties::new(app("red"), vec![app("green"), app("blüe")]).expect("distinct")),
            label: SecrecyLabel::Local,
            paths: paths(),
            created: WallTime::from_millis(3),
            expires: WallTime::NEVER,
        };
        let mut collected = CollectBlock::new(info(), [9; 16], material());
        collected.collected.0[1][3] = 0x55;
        vec![
            StoredKey::Outgoing(kma()),
            StoredKey::Incoming(kma()),
            StoredKey::Supply(SupplyBlock { info: info(), homes: homes(), next: 64, material: material() }),
            StoredKey::Collect(collected),
        ]
    }

    #[test]
    fn what_is_written_is_read_again_without_growing_the_buffer() {
        for key in keys() {
            let octets = key.to_octets();
            assert!(octets.capacity() <= key.octets_at_most(), "grew: {key:?}");
            let read = StoredKey::from_octets(key.pool(), key.id(), &octets).expect("just written");
            assert_eq!(format!("{read:?}"), format!("{key:?}"));
            assert_eq!(read.to_octets(), octets);
        }
    }

    #[test]
    fn a_block_for_very_many_key_managers_is_read_again() {
        let mut key = keys().remove(2);
        if let StoredKey::Supply(block) = &mut key {
            block.info.paths = (0..512).map(|_| homes()).collect();
        }
        let octets = key.to_octets();
        assert!(octets.capacity() <= key.octets_at_most());
        let read = StoredKey::from_octets(key.pool(), key.id(), &octets).expect("just written");
        assert_eq!(format!("{read:?}"), format!("{key:?}"));
    }

    #[test]
    fn records_of_the_first_version_are_read_as_of_no_path() {
        for key in keys() {
            let octets = key.to_octets();
            let written = (0..octets.len()).find(|&at| octets[at..].starts_with(&[0, 0, 0, 2, 2, 0, 0, 0, 5]));
            let at = written.expect("the paths are in it");
            let mut first = [&octets[..at], &octets[at + path_octets(&paths())..]].concat();
            first[0] = FIRST_VERSION;
            let read = StoredKey::from_octets(key.pool(), key.id(), &first).expect("as it was written then");
            let of_no_path = format!("{key:?}").replace(&format!("{:?}", paths()), "[]");
            assert_eq!(format!("{read:?}"), of_no_path);
        }
    }

    #[test]
    fn cut_and_lengthened_records_are_refused() {
        for key in keys() {
            let octets = key.to_octets();
            for length in 0..octets.len() {
                assert!(StoredKey::from_octets(key.pool(), key.id(), &octets[..length]).is_err(), "{length}");
            }
            let longer = [&octets[..], &[0]].concat();
            assert!(StoredKey::from_octets(key.pool(), key.id(), &longer).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets: Vec<u8>, at in 0_usize..400, octet: u8) {
            for key in keys() {
                let _ = StoredKey::from_octets(key.pool(), key.id(), &octets);
                let mut changed = key.to_octets();
                let at = at % changed.len();
                changed[at] = octet;
                let _ = StoredKey::from_octets(key.pool(), key.id(), &changed);
            }
        }
    }
}
