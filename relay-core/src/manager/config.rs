//! The settings of a key manager.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use itu_y3803::message::MAX_OFFERED_KEYS;
use itu_y3803::{ApplicationId, KeySize, KmId, LinkId};

use super::relay::{overhead, pool_name};
use crate::key_id::MAX_BLOCK_OCTETS;
use crate::pad::TAG_KEY_OCTETS;
use crate::policy::{ITS_AUTHENTICATION, Policy, Ways};
use crate::routing::{Label, Limits};

/// The longest life of a block: what a neighbour wants kept for longer is refused.
pub(super) const MAX_BLOCK_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The settings of one key manager. Start from [`Config::new`] and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// This node's key manager.
    pub id: KmId,
    /// The QKD links of this node; several may lead to one neighbour.
    pub links: Vec<LinkConfig>,
    /// Key managers that this node shares relayed key with: those that no link of it leads to, and neighbours, for as long as the
    /// links to them run low and make no key. Each needs an authenticated connection with this node, as a neighbour does
    /// ([`Input::PeerUp`](crate::Input::PeerUp)).
    pub distant: Vec<KmId>,
    /// On which terms applications share key. Without any, all sizes are allowed, orders wait for `patience`, and blocks are kept for
    /// `block_life`, and key takes any one path. A stricter policy holds for blocks that are bound from then on; those
    /// over nodes that it forbids are burnt at the start. Of relayed key there is a pool for all rules that demand the same
    /// [`Ways`](crate::policy::Ways). All key managers should have the same policy: as long as the other end has no such rule, relays for
    /// that pool fail, and what does not keep to its rules it does not take. From a lease keys of any size can be had; whoever does that asks
    /// the policy itself.
    pub policy: Option<Policy>,
    /// What pairs of key managers, the one that makes a key and the one that it is for, may take of the link key that leads on from
    /// here, to each neighbour. All others come by how little they have left. Names are those that the neighbours say.
    pub entitlements: HashMap<(KmId, KmId), Entitlement>,
    /// Which key manager serves which application, of the whole network.
    pub applications: HashMap<ApplicationId, KmId>,
    /// The size of the keys that QKD modules deliver; 256 bits.
    pub qkd_key_size: KeySize,
    /// How many QKD keys are joined to one link key; 33, which makes blocks of 1024 octets from 256-bit keys.
    pub qkd_keys_per_link_key: u32,
    /// The most QKD keys asked for at once; 99.
    pub draw_limit: u32,
    /// A link with fewer link keys than this, ready or on their way, is filled up to `link_high`; 16. While somebody waits for key who
    /// has less of it than others, these leave up to three quarters of so many.
    pub link_low: usize,
    /// See `link_low`; 32.
    pub link_high: usize,
    /// A link with no more link keys than this, ready to be used, does not relay: they are left for key of this node's own and for
    /// tags; 2.
    pub link_floor: usize,
    /// A pool of relayed key that was wanted within `idle` and has fewer keys than this, ready or on their way, is filled up to
    /// `relay_high`; 4.
    pub relay_low: usize,
    /// See `relay_low`; 8.
    pub relay_high: usize,
    /// The most relays for one pool that are under way at once; 4.
    pub relays_at_once: usize,
    /// The most relays of a neighbour's, or coming through it, that pads are set aside for, and the most that are over and may be said
    /// to be complete once more; 256.
    pub max_passing: usize,
    /// Parties with less key ready than this many octets are filled up to `pool_high`; 8 KiB. Those that were not announced
    /// ([`Input::Prepare`](crate::Input::Prepare)) have no more ready than they have used.
    pub pool_low: usize,
    /// See `pool_low`; 16 KiB.
    pub pool_high: usize,
    /// The most octets held ready for one set of parties, when a request wants more than `pool_high`; 256 KiB.
    pub pool_limit: usize,
    /// The most sets of parties that key is held for; 4096.
    pub max_pools: usize,
    /// The most of those that one master may have; 256.
    pub max_pools_per_master: usize,
    /// How many octets a lease has if they are there; 16 KiB.
    pub lease_octets: usize,
    /// The length of blocks that stay at this node; 8 KiB.
    pub local_block_octets: usize,
    /// How long link key is kept if unused; 24 h.
    pub link_key_life: Duration,
    /// How long a block is kept; 4 h.
    pub block_life: Duration,
    /// A key is supplied to the master only when its slaves have at least this long to collect it; 1 h.
    pub collect_time: Duration,
    /// How far the clocks of two neighbours may differ; 60 s.
    pub clock_skew: Duration,
    /// Key is held ready for parties that asked for some within this time, or were prepared; 10 min.
    pub idle: Duration,
    /// What a neighbour did not answer is said again after this time; 1 s.
    pub repeat: Duration,
    /// What a neighbour did not answer in this time is burnt; 10 s.
    pub give_up: Duration,
    /// How long an order waits for key before it is refused; 2 s.
    pub patience: Duration,
    /// How long to wait before asking a QKD module again that had nothing; 200 ms.
    pub draw_pause: Duration,
    /// QKD keys that are too few for a link key wait for more; after this time they make a shorter one; 5 min.
    pub join_within: Duration,
    /// The most link keys of a neighbour's that are held for one link; 256.
    pub max_incoming: usize,
    /// The most octets that are held for collection of blocks from one neighbour, and of this node's own: those that not all slaves
    /// have collected, and 128 for each block; 256 MiB.
    pub max_collectable: usize,
}

/// A QKD link of this node.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The name that both ends have for it.
    pub id: LinkId,
    /// The key manager at the other end.
    pub peer: KmId,
    /// What policy may ask for; the same at both ends, or one uses what the other does not take.
    pub labels: Vec<Label>,
    /// How what is said about relays is authenticated; the same at both ends, or nothing is relayed over this link.
    pub authentication: LinkAuthentication,
}

impl LinkConfig {
    /// A link without labels, and with tags of one-time key.
    #[must_use]
    pub const fn new(id: LinkId, peer: KmId) -> Self {
        Self { id, peer, labels: Vec::new(), authentication: LinkAuthentication::OneTime }
    }

    /// The labels that the router advertises: also the one of how this link is [authenticated](ITS_AUTHENTICATION).
    #[must_use]
    pub fn all_labels(&self) -> Vec<Label> {
        let its = (self.authentication == LinkAuthentication::OneTime).then(|| Label::new(ITS_AUTHENTICATION).ok()).flatten();
        let others = self.labels.iter().filter(|label| label.as_str() != ITS_AUTHENTICATION).cloned();
        its.into_iter().chain(others).collect()
    }
}

/// How neighbours authenticate what they say to each other about relays. Relayed key itself has a one-time tag in any case, and what
/// is kept secret rests on no computation in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkAuthentication {
    /// Poly1305, with 32 octets of link key for each tag: a forgery succeeds by chance only.
    #[default]
    OneTime,
    /// HMAC-SHA-256, with one link key for thousands of tags of 16 octets: for links with little key. Who can break it can hinder
    /// relays and waste pads, but learns no key.
    Hmac,
}

/// What a pair of key managers may take of the link key to a neighbour. Rates are those of the last minute.
#[derive(Clone, Copy, Debug)]
pub struct Entitlement {
    /// As long as it has taken less than this, in bit/s, it comes before all others, however full its pool is; 0.
    pub guaranteed: u64,
    /// It takes no more than this, in bit/s; no limit.
    pub highest: u64,
}

impl Default for Entitlement {
    fn default() -> Self {
        Self { guaranteed: 0, highest: u64::MAX }
    }
}

impl Config {
    /// Usual settings for a node without links and applications.
    #[must_use]
    pub fn new(id: KmId) -> Self {
        Self {
            id,
            links: Vec::new(),
            distant: Vec::new(),
            policy: None,
            entitlements: HashMap::new(),
            applications: HashMap::new(),
            qkd_key_size: KeySize::BITS_256,
            qkd_keys_per_link_key: 33,
            draw_limit: 99,
            link_low: 16,
            link_high: 32,
            link_floor: 2,
            relay_low: 4,
            relay_high: 8,
            relays_at_once: 4,
            max_passing: 256,
            pool_low: 8 << 10,
            pool_high: 16 << 10,
            pool_limit: 256 << 10,
            max_pools: 4096,
            max_pools_per_master: 256,
            lease_octets: 16 << 10,
            local_block_octets: 8 << 10,
            link_key_life: Duration::from_secs(24 * 3600),
            block_life: Duration::from_secs(4 * 3600),
            collect_time: Duration::from_secs(3600),
            clock_skew: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            repeat: Duration::from_secs(1),
            give_up: Duration::from_secs(10),
            patience: Duration::from_secs(2),
            draw_pause: Duration::from_millis(200),
            join_within: Duration::from_secs(300),
            max_incoming: 256,
            max_collectable: 256 << 20,
        }
    }

    /// The pools of relayed key: with each distant key manager, one for all rules that demand the same ways.
    pub(super) fn pools(&self) -> impl Iterator<Item = (&KmId, Arc<Ways>)> {
        let demanded: BTreeSet<_> =
            self.policy.iter().flat_map(Policy::terms).map(|terms| Arc::new(terms.ways.clone())).collect();
        let ways = if demanded.is_empty() { BTreeSet::from([Arc::default()]) } else { demanded };
        self.distant.iter().flat_map(move |peer| ways.clone().into_iter().map(move |ways| (peer, ways)))
    }

    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first that does not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let block = (self.qkd_keys_per_link_key as usize * self.qkd_key_size.octets()).saturating_sub(TAG_KEY_OCTETS);
        let peers_are_others = self.links.iter().all(|link| link.peer != self.id);
        let pools: BTreeSet<_> = self.pools().filter_map(|(peer, ways)| pool_name(&self.id, peer, &ways)).collect();
        let terms = || self.policy.iter().flat_map(Policy::terms);
        let few_labels = |link: &LinkConfig| link.all_labels().len() <= Limits::default().labels;
        let link_names: BTreeSet<_> = self.links.iter().map(|link| &link.id).collect();
        let relays_fit = |(_, ways): (&KmId, Arc<Ways>)| block > overhead(ways.sharing) + TAG_KEY_OCTETS;
        for (holds, problem) in [
            (self.qkd_key_size.bits().is_multiple_of(8), "qkd_key_size is not a multiple of 8"),
            (block > 0, "qkd_keys_per_link_key is too small: nothing is left beside the key of the tag"),
            (block <= MAX_BLOCK_OCTETS, "qkd_keys_per_link_key is too large: a block has at most 64 KiB"),
            (
                self.qkd_keys_per_link_key as usize <= MAX_OFFERED_KEYS,
                "qkd_keys_per_link_key is too large: an offer has at most 1024 QKD keys",
            ),
            (self.draw_limit >= self.qkd_keys_per_link_key, "draw_limit is below qkd_keys_per_link_key"),
            (self.link_low <= self.link_high && self.link_high > 0, "link_low is above link_high, or link_high is 0"),
            (self.pool_low <= self.pool_high && self.pool_high > 0, "pool_low is above pool_high, or pool_high is 0"),
            (self.pool_high <= self.pool_limit, "pool_high is above pool_limit"),
            ((1..=MAX_BLOCK_OCTETS).contains(&self.local_block_octets), "local_block_octets is not 1 to 64 KiB"),
            (self.block_life <= MAX_BLOCK_LIFE, "block_life is above 30 days"),
            (self.collect_time < self.block_life, "collect_time is not below block_life"),
            (self.clock_skew * 2 <= self.collect_time, "collect_time is below twice clock_skew: slaves would come too late"),
            (self.clock_skew < self.link_key_life, "clock_skew is not below link_key_life"),
            (self.link_high <= self.max_incoming, "link_high is above max_incoming"),
            (self.distant.is_empty() || self.relay_high <= self.max_incoming, "relay_high is above max_incoming"),
            (peers_are_others, "a link leads to this node itself"),
            (link_names.len() == self.links.len(), "links has a link twice"),
            (
                self.links.iter().all(few_labels),
                "a link has more labels than can be told: 8, with the one of how it is authenticated",
            ),
            (!self.distant.contains(&self.id), "distant has this node itself"),
            (pools.len() == self.pools().count(), "distant has a key manager twice, or one with too long a name"),
            (self.pools().all(relays_fit), "qkd_keys_per_link_key is too small for a key of distant to be relayed under"),
            (self.links.iter().all(|link| !pools.contains(&link.id)), "a link has the name of a pool of relayed key"),
            (self.relay_low <= self.relay_high && self.relay_high > 0, "relay_low is above relay_high, or relay_high is 0"),
            (
                self.entitlements.values().all(|entitlement| entitlement.guaranteed <= entitlement.highest),
                "entitlements has a guaranteed rate above the highest",
            ),
            (terms().all(|terms| terms.life > self.collect_time), "policy has a life of keys that is not above collect_time"),
            (self.relays_at_once > 0, "relays_at_once is 0"),
        ] {
            if !holds {
                return Err(InvalidConfig(problem));
            }
        }
        Ok(())
    }
}

/// Settings that make no sense together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(&'static str);
