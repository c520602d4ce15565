//! A trusted node that lies about what it relays for others, for a while.
//!
//! Its engine is an honest one, so all that is promised of engines is held for it, too: what it does for applications of its own, and
//! where its bits are. Between the engine and the wire, messages about relays that come through are changed, kept back or made
//! up. The liar has its own link key, used or not, so what it says has tags that fit, and the next node has no reason not to take it.

mod relay;
mod tags;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use itu_y3803::message::Body;
use itu_y3803::{KeyId, KmId, KmMessage};
use relay_core::routing::LinkStatus;

use super::node::Node;
use super::{Settings, World, micros};
use crate::random::Random;
use relay::{Passing, Past};
use tags::TagKeys;

/// See the [module](self).
pub(super) struct Liar {
    node: usize,
    id: KmId,
    /// When it lies.
    span: std::ops::Range<u64>,
    /// No other number depends on it.
    random: Random,
    names: Vec<KmId>,
    tag_keys: TagKeys,
    passing: BTreeMap<KeyId, Passing>,
    past: Vec<Past>,
    told: BTreeMap<&'static str, u64>,
    /// Keys and blocks that something was said about, until one ends that hears it.
    about: BTreeSet<KeyId>,
    noticed: u64,
    /// Keys of which the destination has nothing, or other octets than the source.
    spoilt: BTreeSet<KeyId>,
    /// Keys as which other octets went on, whole, so that the destination cannot tell.
    altered: BTreeSet<KeyId>,
    /// Those that the source was told are there, by the tag that only they know who have the key.
    differing: BTreeSet<KeyId>,
    /// Blocks that were sent under these.
    blocks: BTreeSet<KeyId>,
}

impl Liar {
    /// One of the nodes that have others on two sides; `None` when there is none.
    pub(super) fn new(settings: &Settings, nodes: &[Node], neighbours: &[Vec<(usize, usize)>]) -> Option<Self> {
        let mut random = Random::new(settings.seed ^ 0x6c69_6573);
        let between: Vec<_> = (0..nodes.len()).filter(|&node| neighbours[node].len() > 1).collect();
        let node = *between.get(random.below(between.len() as u64) as usize)?;
        let time = micros(settings.load_ends);
        let from = random.below(time / 4);
        let span = from..from + time / 2 + random.below(time / 2);
        Some(Self {
            node,
            id: nodes[node].id.clone(),
            span,
            random,
            names: nodes.iter().map(|node| node.id.clone()).collect(),
            tag_keys: TagKeys::default(),
            passing: BTreeMap::new(),
            past: Vec::new(),
            told: BTreeMap::new(),
            about: BTreeSet::new(),
            noticed: 0,
            spoilt: BTreeSet::new(),
            altered: BTreeSet::new(),
            differing: BTreeSet::new(),
            blocks: BTreeSet::new(),
        })
    }

    pub(super) fn is(&self, node: usize) -> bool {
        self.node == node
    }

    fn tell(&mut self, lie: &'static str, about: Option<KeyId>) {
        *self.told.entry(lie).or_default() += 1;
        self.about.extend(about);
    }
}

impl World {
    /// What of a message goes out, and what beside it.
    pub(super) fn as_it_is_said(&mut self, node: usize, to: KmId, message: KmMessage) -> Vec<(KmId, KmMessage)> {
        let Some(liar) = &mut self.liar else { return vec![(to, message)] };
        if let Body::SupplyNotification(told) = &message.body
            && liar.differing.contains(&told.pad)
        {
            liar.blocks.insert(told.block);
            liar.about.insert(told.block);
        }
        if !liar.is(node) {
            return vec![(to, message)];
        }
        let before = liar.told.clone();
        let said = liar.says(self.now, &self.nodes[node].disk, to, message);
        if self.settings.story
            && let Some(liar) = self.liar.as_ref().filter(|liar| liar.told != before)
        {
            self.tell(|world| format!("{} has lied: {:?}", world.nodes[node].id, liar.told));
        }
        said
    }

    /// A link looks fuller or emptier, faster or slower than it is.
    pub(super) fn as_it_is_advertised(&mut self, node: usize, status: LinkStatus) -> LinkStatus {
        let now = self.now;
        let Some(liar) = self.liar.as_mut().filter(|liar| liar.is(node) && liar.span.contains(&now)) else { return status };
        self.report.advertised_falsely += 1;
        let (stored, rate) = (liar.random.below(2 * status.target), liar.random.below(2 * status.rate + 1_000));
        LinkStatus { stored, rate, ..status }
    }

    /// Some of what its router says to others does not go out.
    pub(super) fn is_kept_from_routers(&mut self, node: usize) -> bool {
        let now = self.now;
        let Some(liar) = self.liar.as_mut().filter(|liar| liar.is(node) && liar.span.contains(&now)) else { return false };
        let kept = liar.random.one_in(3);
        self.report.advertised_falsely += u64::from(kept);
        kept
    }

    /// What was said about a key or block had the consequence that it came to nothing.
    pub(super) fn notice_lie(&mut self, about: KeyId) {
        if let Some(liar) = &mut self.liar {
            liar.noticed += u64::from(liar.about.remove(&about));
        }
    }

    /// What did not go on arrives nowhere, nor what went on otherwise than its source has announced, nor a key with a part that is
    /// not right.
    pub(super) fn no_key_arrives_that_was_not_passed_on(&self, key: KeyId) {
        let Some(liar) = &self.liar else { return };
        assert!(!liar.spoilt.contains(&key) || liar.altered.contains(&key), "{key} arrives, which {} has spoilt", liar.id);
    }

    /// The source does not take for relayed what has not arrived as it was sent, unless somebody who knew it has said so.
    pub(super) fn no_key_is_relayed_that_was_lied_about(&self, key: KeyId) {
        let Some(liar) = &self.liar else { return };
        assert!(!liar.spoilt.contains(&key) || liar.differing.contains(&key), "{key} is relayed, which {} has spoilt", liar.id);
    }

    /// And even then nothing is supplied: with key that differs at the two ends, no block is bound.
    pub(super) fn no_block_is_bound_with_key_that_differs(&self, block: KeyId) {
        let Some(liar) = &self.liar else { return };
        assert!(!liar.blocks.contains(&block), "{block} is bound with key that {} has spoilt", liar.id);
    }

    pub(super) fn report_lies(&mut self) {
        if let Some(liar) = &mut self.liar {
            self.report.lies = std::mem::take(&mut liar.told);
            self.report.lies_noticed = liar.noticed;
        }
    }
}
