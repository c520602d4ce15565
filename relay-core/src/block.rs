//! Blocks: key material that is bound to its parties before anyone asks for a key.
//!
//! The key manager of the master holds a [`SupplyBlock`] and cuts keys from it in order; that of the slaves holds a
//! [`CollectBlock`] with the same octets and hands out each stretch once to each slave. Which stretch is told by the key's
//! identifier (see [`key_id`](crate::key_id)), so nothing needs to pass between the two when a key is supplied.

use std::sync::Arc;

use itu_y3803::{ApplicationId, Incarnation, KeyId, KeyMaterial, KeySize, KmId, KsaKey, Parties, Paths, SecrecyLabel, WallTime};

use crate::key_id::{BLOCK_NUMBERS, IdCipher, Place, UNIT_OCTETS};

/// What both ends know of a block beside its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Incarnation and number of the block at the master's key manager.
    pub id: KeyId,
    /// Who shares the keys in it.
    pub parties: Arc<Parties>,
    /// What its secrecy rests on.
    pub label: SecrecyLabel,
    /// Over which nodes the pads came that it was sent under.
    pub paths: Paths,
    /// When it was made.
    pub created: WallTime,
    /// When what is left of it is deleted, at both ends.
    pub expires: WallTime,
}

/// The master's side of a block.
#[derive(Debug)]
pub struct SupplyBlock {
    pub(crate) info: BlockInfo,
    /// The key managers that have the block for the slaves, in the order of the slaves.
    pub(crate) homes: Vec<KmId>,
    pub(crate) next: usize,
    pub(crate) material: KeyMaterial,
}

impl SupplyBlock {
    /// A block from which nothing has been supplied; `homes` are the key managers that have it for the slaves, in their order.
    #[must_use]
    pub fn new(info: BlockInfo, homes: Vec<KmId>, material: KeyMaterial) -> Self {
        Self { info, homes, next: 0, material }
    }

    /// What is known of it beside its octets.
    #[must_use]
    pub fn info(&self) -> &BlockInfo {
        &self.info
    }

    /// A second copy, for the store.
    pub(crate) fn duplicate(&self) -> Self {
        Self { info: self.info.clone(), homes: self.homes.clone(), next: self.next, material: self.material.duplicate() }
    }

    /// Octets that have not been supplied.
    #[must_use]
    pub fn octets_left(&self) -> usize {
        self.material.size().octets() - self.next
    }

    /// How many keys of `octets` octets can still be cut from it.
    #[must_use]
    pub fn keys_left(&self, octets: usize) -> usize {
        keys_in(self.octets_left(), octets)
    }

    /// Cuts the next key, wiping its octets here; `None` when too little is left.
    pub(crate) fn supply(&mut self, size: KeySize, ids: &IdCipher) -> Option<KsaKey> {
        let place = Place { block: block_number(self.info.id)?, start: self.next, octets: size.octets() };
        let stretch = place.start..place.start.checked_add(place.octets)?;
        let material = self.material.section(stretch.clone())?;
        let id = ids.identifier(place)?;
        self.material.wipe(stretch);
        self.next = (self.next + footprint(place.octets)).min(self.material.size().octets());
        Some(self.info.key(id, material))
    }
}

/// The slaves' side of a block.
#[derive(Debug)]
pub struct CollectBlock {
    pub(crate) info: BlockInfo,
    /// The tag it came with, by which the same message is known when it comes again; zeros if it was made here.
    pub(crate) tag: [u8; 16],
    pub(crate) material: KeyMaterial,
    pub(crate) collected: Collected,
}

/// What of a block its slaves have collected: for each slave, in order, one bit a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collected(pub(crate) Vec<Vec<u8>>);

impl CollectBlock {
    /// A block from which nothing has been collected.
    #[must_use]
    pub fn new(info: BlockInfo, tag: [u8; 16], material: KeyMaterial) -> Self {
        let collected = Collected::nothing(info.parties.slaves().len(), material.size().octets());
        Self { info, tag, material, collected }
    }

    /// What is known of it beside its octets.
    #[must_use]
    pub fn info(&self) -> &BlockInfo {
        &self.info
    }

    /// Hands the key at `place` to `slave`, once; wipes it here when it was the last slave to come for it.
    pub(crate) fn collect(&mut self, slave: &ApplicationId, place: Place, id: KeyId) -> Option<KsaKey> {
        let slave = self.info.parties.slaves().binary_search(slave).ok()?;
        if !self.collected.lacks(slave, place) {
            return None;
        }
        let material = self.material.section(place.start..place.start + place.octets)?;
        self.collected.add(slave, place);
        for unit in units(place).filter(|&unit| self.collected.by_all(unit)) {
            self.material.wipe(unit * UNIT_OCTETS..(unit + 1) * UNIT_OCTETS);
        }
        Some(self.info.key(id, material))
    }

    /// Whether every slave has collected all of it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        (0..self.material.size().octets().div_ceil(UNIT_OCTETS)).all(|unit| self.collected.by_all(unit))
    }
}

impl Collected {
    pub(crate) fn nothing(slaves: usize, block_octets: usize) -> Self {
        Self(vec![vec![0; bitmap_octets(block_octets)]; slaves])
    }

    /// Whether a slave has collected no part of this place.
    pub(crate) fn lacks(&self, slave: usize, place: Place) -> bool {
        self.0.get(slave).is_some_and(|bitmap| units(place).all(|unit| !bit(bitmap, unit)))
    }

    pub(crate) fn add(&mut self, slave: usize, place: Place) {
        if let Some(bitmap) = self.0.get_mut(slave) {
            for unit in units(place) {
                if let Some(octet) = bitmap.get_mut(unit / 8) {
                    *octet |= 1 << (unit % 8);
                }
            }
        }
    }

    /// How many of the octets of a block every slave has collected, counted in whole units.
    pub(crate) fn octets_by_all(&self, block_octets: usize) -> usize {
        (0..block_octets.div_ceil(UNIT_OCTETS)).filter(|&unit| self.by_all(unit)).count() * UNIT_OCTETS
    }

    fn by_all(&self, unit: usize) -> bool {
        self.0.iter().all(|bitmap| bit(bitmap, unit))
    }
}

impl BlockInfo {
    fn key(&self, id: KeyId, material: KeyMaterial) -> KsaKey {
        KsaKey { id, material, label: self.label, paths: self.paths.clone(), created: self.created, expires: self.expires }
    }
}

/// How many keys of `octets` octets can be cut from `left` octets.
pub(crate) fn keys_in(left: usize, octets: usize) -> usize {
    // The last one needs no padding behind it.
    if left < octets { 0 } else { (left - octets) / footprint(octets) + 1 }
}

/// Octets of a bitmap with one bit a unit.
pub(crate) fn bitmap_octets(block_octets: usize) -> usize {
    block_octets.div_ceil(UNIT_OCTETS).div_ceil(8)
}

pub(crate) fn block_number(id: KeyId) -> Option<u64> {
    Some(Incarnation::split(id).1).filter(|&number| number < BLOCK_NUMBERS)
}

fn footprint(octets: usize) -> usize {
    octets.next_multiple_of(UNIT_OCTETS)
}

fn units(place: Place) -> std::ops::Range<usize> {
    place.start / UNIT_OCTETS..(place.start + place.octets).div_ceil(UNIT_OCTETS)
}

fn bit(bitmap: &[u8], unit: usize) -> bool {
    bitmap.get(unit / 8).is_some_and(|octet| octet >> (unit % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str) -> ApplicationId {
        ApplicationId::new(id).expect("valid")
    }

    fn info(slaves: &[&str]) -> BlockInfo {
        BlockInfo {
            paths: Paths::default(),
            id: Incarnation::from_octets([1; 8]).key_id(5),
            parties: Arc::new(Parties::new(app("red"), slaves.iter().map(|id| app(id)).collect()).expect("distinct")),
            label: SecrecyLabel::ItsRelay,
            created: WallTime::from_millis(0),
            expires: WallTime::NEVER,
        }
    }

    fn homes() -> Vec<KmId> {
        vec![KmId::new("south").expect("valid")]
    }

    fn material(octets: u8) -> KeyMaterial {
        KeyMaterial::from_octets((1..=octets).collect()).expect("whole octets")
    }

    fn ids() -> IdCipher {
        IdCipher::new(&material(32)).expect("32 octets")
    }

    fn size(octets: usize) -> KeySize {
        KeySize::from_octets(octets).expect("not zero")
    }

    #[test]
    fn keys_are_cut_in_order_and_wiped() {
        let ids = ids();
        let mut block = SupplyBlock::new(info(&["blue"]), homes(), material(40));
        assert_eq!(block.keys_left(16), 2);
        let first = block.supply(size(16), &ids).expect("enough");
        let second = block.supply(size(9), &ids).expect("enough");
        assert_eq!(first.material.expose_secret(), (1..=16).collect::<Vec<u8>>());
        assert_eq!(second.material.expose_secret(), (17..=25).collect::<Vec<u8>>());
        assert_eq!(ids.place(second.id), Some(Place { block: 5, start: 16, octets: 9 }));
        // Nine octets take two units; the rest of the second one is not used for another key.
        assert_eq!(block.octets_left(), 8);
        assert!(block.supply(size(9), &ids).is_none());
        assert!(block.supply(size(8), &ids).is_some());
        assert!(block.supply(size(1), &ids).is_none());
        assert_eq!(&block.material.expose_secret()[..25], [0; 25]);
    }

    #[test]
    fn a_block_whose_length_is_no_whole_unit_is_used_to_the_end() {
        let ids = ids();
        let mut block = SupplyBlock::new(info(&["blue"]), homes(), material(13));
        assert_eq!((block.keys_left(13), block.keys_left(5), block.keys_left(14)), (1, 2, 0));
        assert!(block.supply(size(5), &ids).is_some());
        assert!(block.supply(size(5), &ids).is_some());
        assert_eq!(block.octets_left(), 0);
    }

    #[test]
    fn each_slave_collects_once_and_the_last_one_wipes() {
        let place = Place { block: 5, start: 8, octets: 16 };
        let id = ids().identifier(place).expect("in range");
        let mut block = CollectBlock::new(info(&["green", "blue"]), [0; 16], material(32));
        for slave in ["blue", "green"] {
            assert!(block.material.expose_secret()[8..24].iter().all(|&octet| octet != 0));
            let key = block.collect(&app(slave), place, id).expect("first time");
            assert_eq!(key.material.expose_secret(), (9..=24).collect::<Vec<u8>>());
            assert!(block.collect(&app(slave), place, id).is_none());
            // An overlapping stretch has been collected, too.
            assert!(block.collect(&app(slave), Place { start: 0, ..place }, id).is_none());
        }
        assert_eq!(&block.material.expose_secret()[8..24], [0; 16]);
        assert!(block.collect(&app("red"), Place { start: 24, octets: 8, block: 5 }, id).is_none());
        assert!(block.collect(&app("blue"), Place { start: 24, octets: 9, block: 5 }, id).is_none());
        assert!(!block.is_finished());
        for slave in ["blue", "green"] {
            for start in [0, 24] {
                assert!(block.collect(&app(slave), Place { start, octets: 8, block: 5 }, id).is_some());
            }
        }
        assert!(block.is_finished());
    }
}
