//! What a key manager keeps about itself and its neighbours beside keys.

use std::collections::BTreeMap;

use itu_y3803::{Incarnation, KeyId, KeyMaterial, KeySize, KmId, LinkId, RandomSource, WallTime};
use zeroize::Zeroizing;

use crate::encoding::{Reader, Unreadable, Writer};
use crate::key_id::{ID_SECRET_OCTETS, IdCipher};

const VERSION: u8 = 1;

pub(super) struct Notes {
    pub(super) incarnation: Incarnation,
    pub(super) id_secret: KeyMaterial,
    /// Numbers from here on were never used.
    pub(super) numbers_below: u64,
    /// What this node's wall clock has shown, roughly: whether it was set back while the node was down.
    pub(super) clock: WallTime,
    pub(super) peers: BTreeMap<KmId, PeerNotes>,
    /// The highest link key that was offered on a link by the current incarnation of its other end. Lower ones have had their
    /// chance: without this, an offer that is repeated late could bring a used pad back.
    pub(super) offered: BTreeMap<LinkId, KeyId>,
}

/// The incarnations of a neighbour, the current one last.
#[derive(Default)]
pub(super) struct PeerNotes {
    pub(super) lives: Vec<(Incarnation, KeyMaterial)>,
}

impl Notes {
    pub(super) fn first(random: &mut dyn RandomSource) -> Self {
        let mut incarnation = [0; 8];
        random.fill(&mut incarnation);
        let secret_size = KeySize::from_octets(ID_SECRET_OCTETS).expect("not zero");
        Self {
            incarnation: Incarnation::from_octets(incarnation),
            id_secret: KeyMaterial::generate(secret_size, random),
            numbers_below: 0,
            clock: WallTime::default(),
            peers: BTreeMap::new(),
            offered: BTreeMap::new(),
        }
    }

    pub(super) fn id_cipher(&self) -> IdCipher {
        IdCipher::new(&self.id_secret).expect("drawn, or read, with the right length")
    }

    pub(super) fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let peers: usize = self.peers.iter().map(|(id, peer)| 16 + id.as_str().len() + 48 * peer.lives.len()).sum();
        let offered: usize = self.offered.keys().map(|link| 24 + link.as_str().len()).sum();
        let mut out = Writer::with_capacity(88 + peers + offered);
        out.octet(VERSION);
        out.0.extend_from_slice(&self.incarnation.octets());
        out.octets(self.id_secret.expose_secret());
        out.number(self.numbers_below);
        out.number(self.clock.millis());
        out.number(self.peers.len() as u64);
        for (id, peer) in &self.peers {
            out.text(id.as_str());
            out.number(peer.lives.len() as u64);
            for (incarnation, secret) in &peer.lives {
                out.0.extend_from_slice(&incarnation.octets());
                out.octets(secret.expose_secret());
            }
        }
        out.number(self.offered.len() as u64);
        for (link, key) in &self.offered {
            out.text(link.as_str());
            out.0.extend_from_slice(&key.octets());
        }
        out.0
    }

    pub(super) fn from_octets(octets: &[u8]) -> Result<Self, Unreadable> {
        let mut octets = Reader(octets);
        if octets.octet()? != VERSION {
            return Err(Unreadable);
        }
        let incarnation = octets.incarnation()?;
        let id_secret = read_secret(&mut octets)?;
        let numbers_below = octets.number()?;
        let clock = octets.number().map(WallTime::from_millis)?;
        let mut peers = BTreeMap::new();
        for _ in 0..octets.number()? {
            let id = KmId::new(octets.text()?).map_err(|_| Unreadable)?;
            let mut peer = PeerNotes::default();
            for _ in 0..octets.number()? {
                peer.lives.push((octets.incarnation()?, read_secret(&mut octets)?));
            }
            peers.insert(id, peer);
        }
        let mut offered = BTreeMap::new();
        for _ in 0..octets.number()? {
            let link = LinkId::new(octets.text()?).map_err(|_| Unreadable)?;
            offered.insert(link, octets.array().map(KeyId::from_octets)?);
        }
        octets.end()?;
        Ok(Self { incarnation, id_secret, numbers_below, clock, peers, offered })
    }
}

fn read_secret(octets: &mut Reader<'_>) -> Result<KeyMaterial, Unreadable> {
    let secret = octets.material()?;
    if IdCipher::new(&secret).is_some() { Ok(secret) } else { Err(Unreadable) }
}
