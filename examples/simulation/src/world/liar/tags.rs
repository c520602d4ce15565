//! The tags of a liar: under its own link key, in places that its engine has used for what is not said, or has not used yet.

use std::collections::{BTreeMap, BTreeSet};

use itu_y3803::message::{Body, Proof, RelayMessage, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyId, KeyMaterial, KmId, KmMessage, LinkId};
use relay_core::Pad;
use relay_core::pad::Sealed;

use super::super::disk::Disk;
use super::words;

/// Who says something, with the copies of its link keys.
pub(super) struct Voice<'a> {
    pub(super) id: &'a KmId,
    pub(super) sender: Incarnation,
    pub(super) disk: &'a Disk,
}

/// The link key that the engine makes tags with, for each neighbour.
#[derive(Default)]
pub(super) struct TagKeys(BTreeMap<KmId, TagKey>);

struct TagKey {
    link: LinkId,
    key: KeyId,
    /// The first place that the engine has not used.
    next: u32,
    /// Those that it has not used, but the liar has.
    own: BTreeSet<u32>,
}

impl TagKeys {
    /// The engine has made a proof. `false` when the liar was there before: two tags of one place would give its key away.
    pub(super) fn note(&mut self, to: &KmId, proof: &Proof) -> bool {
        let (link, key) = (proof.link.clone(), proof.key);
        let known = self.0.entry(to.clone()).or_insert_with(|| TagKey { link: link.clone(), key, next: 0, own: BTreeSet::new() });
        if known.key != key {
            *known = TagKey { link, key, next: 0, own: BTreeSet::new() };
        }
        known.next = proof.place + 1;
        !known.own.contains(&proof.place)
    }

    /// The last place that is free.
    fn place(&mut self, to: &KmId, disk: &Disk) -> Option<Proof> {
        let known = self.0.get_mut(to)?;
        let octets = disk.copy_of(known.key)?.material.size().octets();
        let places = known.next..(octets / words::TAG_KEY_OCTETS) as u32;
        let place = places.rev().find(|place| !known.own.contains(place))?;
        known.own.insert(place);
        Some(Proof { link: known.link.clone(), key: known.key, place, tag: [0; 16] })
    }

    /// A step that the engine has not said.
    pub(super) fn say(&mut self, voice: &Voice<'_>, to: &KmId, relay: KeyId, step: RelayStep) -> Option<(KmId, KmMessage)> {
        let proof = self.place(to, voice.disk)?;
        voice.say_instead(to, relay, step, proof)
    }
}

impl Voice<'_> {
    pub(super) fn unproved(&self, to: &KmId, relay: KeyId, step: RelayStep) -> (KmId, KmMessage) {
        self.message(to, RelayMessage { relay, step, proof: None })
    }

    pub(super) fn message(&self, to: &KmId, message: RelayMessage) -> (KmId, KmMessage) {
        (to.clone(), KmMessage { sender: self.sender, body: Body::Relay(message) })
    }

    /// A step in the place of the one that the engine has made this proof for.
    pub(super) fn say_instead(&self, to: &KmId, relay: KeyId, step: RelayStep, proof: Proof) -> Option<(KmId, KmMessage)> {
        let text = words::step(self.sender, self.id, to, relay, &step);
        let tag = words::tag(&self.disk.copy_of(proof.key)?, proof.place, &text)?;
        Some(self.message(to, RelayMessage { relay, step, proof: Some(Proof { tag, ..proof }) }))
    }

    /// The engine's proof is what is made here, too.
    pub(super) fn check(&self, to: &KmId, message: &RelayMessage) {
        let Some(proof) = &message.proof else { return };
        let text = words::step(self.sender, self.id, to, message.relay, &message.step);
        let tag = self.disk.copy_of(proof.key).and_then(|key| words::tag(&key, proof.place, &text));
        assert_eq!(tag, Some(proof.tag), "the words of the engine are not these any more");
    }

    /// What the engine has sealed for the next node.
    pub(super) fn open(&self, to: &KmId, relay: KeyId, reservation: &RelayReservation, sealed: Sealed) -> Option<Vec<u8>> {
        let pad = Pad::new(self.disk.copy_of(reservation.pad)?).shortened_to(sealed.octets.len()).ok()?;
        let opened = pad.open(&self.context(to, relay, reservation), &sealed);
        Some(opened.expect("the words of the engine are not these any more").expose_secret().to_vec())
    }

    /// Key under the pad of this reservation, cut or lengthened as it says.
    pub(super) fn seal(&self, to: &KmId, relay: KeyId, reservation: &RelayReservation, key: &[u8]) -> Option<RelayStep> {
        let mut key = key.to_vec();
        key.resize(reservation.octets as usize, 0);
        let key = KeyMaterial::from_octets(key).ok()?;
        let pad = Pad::new(self.disk.copy_of(reservation.pad)?).shortened_to(reservation.octets as usize).ok()?;
        let sealed = pad.seal(&self.context(to, relay, reservation), &key).ok()?;
        Some(RelayStep::Key { sealed: sealed.octets, tag: sealed.tag })
    }

    fn context(&self, to: &KmId, relay: KeyId, reservation: &RelayReservation) -> Vec<u8> {
        words::step(self.sender, self.id, to, relay, &RelayStep::Reserve(reservation.clone()))
    }
}
