//! What this node says of itself, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use itu_y3803::{ApplicationId, KmId, LinkId};

use crate::routing::lsa::{Label, LinkAdvert, Lsa, Version};
use crate::routing::metric::{LinkStatus, Metric};
use crate::routing::suppression::{Suppressor, Verdict, cost};

/// An advertisement is repeated after this time, or up to a quarter earlier, so that nodes do not act together.
pub const REFRESH: Duration = Duration::from_secs(1_800);
/// Least time between advertisements, but for what is urgent; up to a quarter longer.
const INTERVAL: Duration = Duration::from_secs(5);
/// Urgent ones at once; then one a second, so that receivers take them all.
const URGENT_BURST: u32 = 3;
const URGENT: Duration = Duration::from_secs(1);

/// One end of a link, here.
#[derive(Debug)]
pub(super) struct OwnLink {
    pub(super) status: LinkStatus,
    pub(super) labels: Vec<Label>,
    suppressor: Suppressor,
    rate_class: u8,
}

#[derive(Debug)]
pub(super) struct Own {
    id: KmId,
    pub(super) links: BTreeMap<(KmId, LinkId), OwnLink>,
    pub(super) applications: BTreeSet<ApplicationId>,
    /// Of the last advertisement.
    pub(super) version: Version,
    /// To be said again whatever it is.
    pub(super) forced: bool,
    pub(super) withdrawn: bool,
    /// What was said last, but for the version.
    said: Option<(Vec<LinkAdvert>, Vec<ApplicationId>)>,
    refresh: Option<Instant>,
    ordinary_after: Option<Instant>,
    /// When the next one would be on time, if they came evenly.
    urgent_next: Option<Instant>,
    /// When to look again.
    pub(super) wake: Option<Instant>,
}

impl Own {
    pub(super) fn new(id: KmId, boot: u64, now: Instant) -> Self {
        Self {
            id,
            links: BTreeMap::new(),
            applications: BTreeSet::new(),
            version: Version { boot, sequence: 0 },
            forced: true,
            withdrawn: false,
            said: None,
            refresh: None,
            ordinary_after: None,
            urgent_next: None,
            wake: Some(now),
        }
    }

    pub(super) fn set_link(&mut self, place: (KmId, LinkId), status: LinkStatus, labels: Vec<Label>) {
        match self.links.get_mut(&place) {
            Some(link) => (link.status, link.labels) = (status, labels),
            None => {
                let link = OwnLink { status, labels, suppressor: Suppressor::default(), rate_class: 0 };
                self.links.insert(place, link);
            }
        }
    }

    /// The next advertisement, if it is time for one. `connected` tells to which neighbours messages pass; `jitter` is 0 to
    /// 65,535.
    pub(super) fn next(
        &mut self,
        now: Instant,
        metric: &impl Metric,
        connected: impl Fn(&KmId) -> bool,
        jitter: u16,
    ) -> Option<Lsa> {
        self.wake = None;
        let refresh = !self.withdrawn && self.refresh.is_some_and(|refresh| refresh <= now);
        let mut urgent = self.forced;
        let mut again = Vec::new();
        let mut levels = Vec::new();
        for ((neighbour, _), link) in &self.links {
            let seen = connected(neighbour).then(|| metric.fill(&link.status)).flatten();
            levels.push(match link.suppressor.judge(now, seen) {
                Verdict::Same => link.suppressor.advertised(),
                Verdict::Ordinary(level) => level,
                Verdict::Urgent(level) => {
                    urgent = true;
                    level
                }
                Verdict::Damped(until) => {
                    again.push(until);
                    None
                }
            });
        }
        let said = self.content(metric, &levels);
        let due = if self.said.as_ref() != Some(&said) || self.forced || refresh {
            let paced = self.urgent_next.and_then(|next| next.checked_sub(URGENT * (URGENT_BURST - 1))).unwrap_or(now);
            let ordinary = self.ordinary_after.filter(|_| !urgent).unwrap_or(now);
            paced.max(ordinary)
        } else {
            // nothing to be said before
            self.wake = again.into_iter().chain(self.refresh.filter(|_| !self.withdrawn)).min();
            return None;
        };
        if due > now {
            self.wake = Some(again.into_iter().fold(due, Instant::min));
            return None;
        }
        let version = self.version.next()?;
        for (link, (level, advert)) in self.links.values_mut().zip(levels.into_iter().zip(&said.0)) {
            link.suppressor.advertise(now, level);
            link.rate_class = advert.rate_class;
        }
        let quarter = |time: Duration| time / 4 * u32::from(jitter) / u32::from(u16::MAX);
        self.version = version;
        self.forced = false;
        self.refresh = Some(now + REFRESH - quarter(REFRESH));
        self.ordinary_after = Some(now + INTERVAL + quarter(INTERVAL));
        self.urgent_next = Some(self.urgent_next.unwrap_or(now).max(now) + URGENT);
        self.wake = again.into_iter().chain(self.refresh.filter(|_| !self.withdrawn)).min();
        let (links, applications) = self.said.insert(said).clone();
        Some(Lsa { origin: self.id.clone(), version, withdrawn: self.withdrawn, links, applications })
    }

    fn content(&self, metric: &impl Metric, levels: &[Option<u8>]) -> (Vec<LinkAdvert>, Vec<ApplicationId>) {
        if self.withdrawn {
            return (Vec::new(), Vec::new());
        }
        let links = self.links.iter().zip(levels).map(|(((neighbour, name), link), level)| LinkAdvert {
            neighbour: neighbour.clone(),
            link: name.clone(),
            cost: level.map(|level| cost(metric, level)),
            key_class: level.unwrap_or(0),
            rate_class: link.rate_class(),
            labels: link.labels.clone(),
        });
        (links.collect(), self.applications.iter().cloned().collect())
    }
}

impl OwnLink {
    /// The class that was told, unless the rate has at least doubled or halved since.
    fn rate_class(&self) -> u8 {
        let class = (u64::BITS - self.status.rate.leading_zeros()) as u8;
        if class.abs_diff(self.rate_class) < 2 && (class == 0) == (self.rate_class == 0) { self.rate_class } else { class }
    }
}
