//! Link-state advertisements: what a key manager tells all others about its links and applications.

use std::sync::Arc;

use itu_y3803::id::InvalidId;
use itu_y3803::{ApplicationId, KmId, LinkId};

use crate::encoding::{Reader, Unreadable, Writer};
use crate::routing::metric::Cost;

/// First octets of what is authenticated, so that a tag made for something else never fits.
const DOMAIN: &[u8; 12] = b"qkms LSA v1\n";
/// The most octets of a [`Label`].
pub const MAX_LABEL_OCTETS: usize = 64;
/// Room for the signatures in use, post-quantum ones too.
pub const MAX_TAG_OCTETS: usize = 8_192;

/// Bounds on what peers can make this node keep.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Key managers in the network, 65,536 at most.
    pub originators: usize,
    /// Links in one advertisement.
    pub links: usize,
    /// Labels of one link.
    pub labels: usize,
    /// Applications in one advertisement.
    pub applications: usize,
    /// Octets of one message between neighbours; one advertisement has to fit in.
    pub message_octets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { originators: 16_384, links: 256, labels: 8, applications: 1_024, message_octets: 1 << 20 }
    }
}

/// Which of two advertisements of one originator is newer: the one of the later boot, then the one of the higher number.
///
/// There is no wall-clock time in it: a clock that is set back would make its node mute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Counts the starts of the originator, as far as it remembers them.
    pub boot: u64,
    /// Counts within a boot.
    pub sequence: u32,
}

impl Version {
    /// The one after this; `None` after the last. A full sequence carries over to the boot counter, so nothing needs to be
    /// flushed before numbers start again.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self { boot: self.boot.checked_add(1)?, sequence: 0 }),
        }
    }
}

/// A mark of a link that policy may ask for: a vendor, an owner, a relay scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// Checks and takes a label.
    ///
    /// # Errors
    /// [`InvalidId`] when the text is empty, longer than [`MAX_LABEL_OCTETS`], or has control characters.
    pub fn new(label: &str) -> Result<Self, InvalidId> {
        if label.is_empty() || label.len() > MAX_LABEL_OCTETS || label.chars().any(char::is_control) {
            return Err(InvalidId);
        }
        Ok(Self(label.into()))
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One end of a link, as advertised by this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkAdvert {
    /// The other end.
    pub neighbour: KmId,
    /// Which of the links to it.
    pub link: LinkId,
    /// What it costs to relay over it; `None` when it cannot be used.
    pub cost: Option<Cost>,
    /// How full the key pool is, 0 to [`FULL_CLASS`](crate::routing::suppression::FULL_CLASS).
    pub key_class: u8,
    /// Binary digits of the secret key rate in bit/s: one more for each doubling, 0 without key.
    pub rate_class: u8,
    /// Sorted, without duplicates.
    pub labels: Vec<Label>,
}

impl LinkAdvert {
    fn place(&self) -> (&KmId, &LinkId) {
        (&self.neighbour, &self.link)
    }
}

/// What one key manager says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsa {
    /// Who says it.
    pub origin: KmId,
    /// Which is newer.
    pub version: Version,
    /// The originator leaves the network; links and applications are empty.
    pub withdrawn: bool,
    /// Sorted by neighbour and link.
    pub links: Vec<LinkAdvert>,
    /// Applications served here, sorted. A hint where to ask; who may have a key is decided elsewhere.
    pub applications: Vec<ApplicationId>,
}

impl Lsa {
    /// The link of that name to that neighbour.
    #[must_use]
    pub fn link(&self, neighbour: &KmId, link: &LinkId) -> Option<&LinkAdvert> {
        self.links.binary_search_by(|advert| advert.place().cmp(&(neighbour, link))).ok().map(|at| &self.links[at])
    }

    /// The octets that are authenticated. Equal advertisements have equal octets.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 + 64 * self.links.len() + 32 * self.applications.len());
        out.0.extend_from_slice(DOMAIN);
        out.text(self.origin.as_str());
        out.number(self.version.boot);
        out.number(u64::from(self.version.sequence));
        out.octet(u8::from(self.withdrawn));
        out.number(self.links.len() as u64);
        for link in &self.links {
            out.text(link.neighbour.as_str());
            out.text(link.link.as_str());
            out.0.extend_from_slice(&link.cost.map_or(0, Cost::get).to_be_bytes());
            out.octet(link.key_class);
            out.octet(link.rate_class);
            out.octet(link.labels.len() as u8);
            link.labels.iter().for_each(|label| out.text(label.as_str()));
        }
        out.number(self.applications.len() as u64);
        self.applications.iter().for_each(|application| out.text(application.as_str()));
        std::mem::take(&mut *out.0)
    }

    /// Reads what [`to_octets`](Self::to_octets) wrote.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, and for more than the limits allow.
    pub fn from_octets(octets: &[u8], limits: &Limits) -> Result<Self, Malformed> {
        let mut octets = Reader(octets);
        let (origin, version) = header(&mut octets)?;
        let withdrawn = match octets.octet()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        // Vectors grow with what was read, not with the number that a peer wrote.
        let mut links: Vec<LinkAdvert> = Vec::new();
        for _ in 0..count(&mut octets, limits.links)? {
            let link = link(&mut octets, limits)?;
            if link.neighbour == origin || links.last().is_some_and(|last| last.place() >= link.place()) {
                return Err(Malformed);
            }
            links.push(link);
        }
        let mut applications = Vec::new();
        for _ in 0..count(&mut octets, limits.applications)? {
            let application = ApplicationId::new(octets.text()?).map_err(|_| Malformed)?;
            if applications.last().is_some_and(|last| *last >= application) {
                return Err(Malformed);
            }
            applications.push(application);
        }
        octets.end()?;
        if withdrawn && !(links.is_empty() && applications.is_empty()) {
            return Err(Malformed);
        }
        Ok(Self { origin, version, withdrawn, links, applications })
    }
}

/// Octets that are no message or advertisement, or one beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a routing message, or beyond its limits")]
pub struct Malformed;

impl From<Unreadable> for Malformed {
    fn from(_: Unreadable) -> Self {
        Self
    }
}

/// Origin and version alone, to drop what is known without reading the rest.
pub(super) fn peek(octets: &[u8]) -> Result<(KmId, Version), Malformed> {
    header(&mut Reader(octets))
}

fn header(octets: &mut Reader<'_>) -> Result<(KmId, Version), Malformed> {
    if &octets.array()? != DOMAIN {
        return Err(Malformed);
    }
    let origin = KmId::new(octets.text()?).map_err(|_| Malformed)?;
    let boot = octets.number()?;
    let sequence = u32::try_from(octets.number()?).map_err(|_| Malformed)?;
    Ok((origin, Version { boot, sequence }))
}

fn link(octets: &mut Reader<'_>, limits: &Limits) -> Result<LinkAdvert, Malformed> {
    let neighbour = KmId::new(octets.text()?).map_err(|_| Malformed)?;
    let link = LinkId::new(octets.text()?).map_err(|_| Malformed)?;
    let cost = Cost::new(u16::from_be_bytes(octets.array()?));
    let [key_class, rate_class, number] = octets.array()?;
    if key_class > super::suppression::FULL_CLASS || rate_class > 64 || usize::from(number) > limits.labels {
        return Err(Malformed);
    }
    let mut labels = Vec::new();
    for _ in 0..number {
        let label = Label::new(octets.text()?).map_err(|_| Malformed)?;
        if labels.last().is_some_and(|last| *last >= label) {
            return Err(Malformed);
        }
        labels.push(label);
    }
    Ok(LinkAdvert { neighbour, link, cost, key_class, rate_class, labels })
}

pub(super) fn count(octets: &mut Reader<'_>, limit: usize) -> Result<usize, Malformed> {
    usize::try_from(octets.number()?).ok().filter(|&number| number <= limit).ok_or(Malformed)
}

/// Authenticates advertisements end to end: whoever passes one on cannot change it. The engine holds no key.
pub trait LsaAuth {
    /// The tag or signature of this node over its own advertisement, at most [`MAX_TAG_OCTETS`].
    fn tag(&mut self, lsa: &[u8]) -> Vec<u8>;

    /// Whether `origin`, and nobody else, made this tag over these octets. No for an origin that is not of this network.
    fn verify(&mut self, origin: &KmId, lsa: &[u8], tag: &[u8]) -> bool;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lsa() -> Lsa {
        let link = |neighbour: &str, link: &str, cost| LinkAdvert {
            neighbour: KmId::new(neighbour).expect("valid"),
            link: LinkId::new(link).expect("valid"),
            cost: Cost::new(cost),
            key_class: 7,
            rate_class: 12,
            labels: vec![Label::new("R2").expect("valid"), Label::new("vendor a").expect("valid")],
        };
        Lsa {
            origin: KmId::new("north").expect("valid"),
            version: Version { boot: 3, sequence: 9 },
            withdrawn: false,
            links: vec![link("east", "fibre 1", 16), link("east", "fibre 2", 0), link("south", "fibre 1", 256)],
            applications: ["blue", "red"].map(|id| ApplicationId::new(id).expect("valid")).to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_has_one_form_only() {
        let octets = lsa().to_octets();
        assert_eq!(Lsa::from_octets(&octets, &Limits::default()), Ok(lsa()));
        for length in 0..octets.len() {
            assert_eq!(Lsa::from_octets(&octets[..length], &Limits::default()), Err(Malformed), "{length}");
        }
        assert_eq!(Lsa::from_octets(&[&octets[..], &[0]].concat(), &Limits::default()), Err(Malformed));
        let mut unsorted = lsa();
        unsorted.links.swap(0, 2);
        assert_eq!(Lsa::from_octets(&unsorted.to_octets(), &Limits::default()), Err(Malformed));
        let mut twice = lsa();
        twice.applications[1] = twice.applications[0].clone();
        assert_eq!(Lsa::from_octets(&twice.to_octets(), &Limits::default()), Err(Malformed));
    }

    #[test]
    fn more_than_the_limits_is_refused() {
        let octets = lsa().to_octets();
        for limits in [
            Limits { links: 2, ..Limits::default() },
            Limits { labels: 1, ..Limits::default() },
            Limits { applications: 1, ..Limits::default() },
        ] {
            assert_eq!(Lsa::from_octets(&octets, &limits), Err(Malformed), "{limits:?}");
        }
    }

    #[test]
    fn a_full_sequence_carries_over_to_the_boot_counter() {
        let last = Version { boot: 4, sequence: u32::MAX };
        let next = last.next().expect("there is one");
        assert!(next > last && next.boot == 5);
        assert_eq!(Version { boot: u64::MAX, sequence: u32::MAX }.next(), None);
    }

    proptest! {
        #[test]
        fn no_octets_panic_or_have_two_forms(octets: Vec<u8>, at in 0_usize..400, octet: u8) {
            let _ = Lsa::from_octets(&octets, &Limits::default());
            let _ = Lsa::from_octets(&[&DOMAIN[..], &octets].concat(), &Limits::default());
            let mut changed = lsa().to_octets();
            let at = at % changed.len();
            changed[at] = octet;
            if let Ok(read) = Lsa::from_octets(&changed, &Limits::default()) {
                prop_assert_eq!(read.to_octets(), changed);
            }
        }
    }
}
