//! What a liar says of a relay that comes through it.

use itu_y3803::message::{Body, Proof, RelayMessage, RelayRefusal, RelayReservation, RelayStep};
use itu_y3803::{Incarnation, KeyId, KmId, KmMessage, WallTime};
use relay_core::pad::Sealed;

use super::super::disk::Disk;
use super::tags::Voice;
use super::{Liar, words};

/// A relay between others, as the engine sent it on.
pub(super) struct Passing {
    lie: Lie,
    reservation: RelayReservation,
    /// As the next node was told.
    told: RelayReservation,
    /// What was relayed.
    key: Vec<u8>,
    /// All that was said.
    said: Vec<(KmId, RelayMessage)>,
    /// An old one that is tried again beside it.
    again: Option<(KeyId, RelayReservation, Vec<u8>)>,
}

/// One that is over, with what was relayed.
pub(super) struct Past {
    relay: KeyId,
    reservation: RelayReservation,
    key: Vec<u8>,
    said: Vec<(KmId, RelayMessage)>,
}

/// What is done to a relay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    Honest,
    /// Nothing of it is passed on.
    Silent,
    /// All further nodes are said to be ready, though they were not asked.
    ReservedUnasked,
    /// It is refused though all were ready, or said to be ready though it was refused, or refused elsewhere for another reason.
    Refused,
    /// The next node is told of another relay.
    Reservation,
    /// Other key goes on.
    Key,
    /// Other key goes on, and the source is told of the right one that it has arrived.
    KeyConfirmed,
    /// The key does not go on, and the source is told that it has arrived.
    Kept,
    /// The same, by a tag that is made up.
    KeptMadeUp,
    /// An old relay is tried again beside it.
    Again,
}

impl Lie {
    const ALL: [Self; 9] = [
        Self::Silent,
        Self::ReservedUnasked,
        Self::Refused,
        Self::Reservation,
        Self::Key,
        Self::KeyConfirmed,
        Self::Kept,
        Self::KeptMadeUp,
        Self::Again,
    ];
}

type Said = Vec<(KmId, KmMessage)>;

impl Liar {
    /// What is said instead of what the engine says.
    pub(super) fn says(&mut self, now: u64, disk: &Disk, to: KmId, message: KmMessage) -> Said {
        let KmMessage { sender, body: Body::Relay(message) } = message else { return vec![(to, message)] };
        let id = self.id.clone();
        let voice = Voice { id: &id, sender, disk };
        voice.check(&to, &message);
        if message.proof.as_ref().is_some_and(|proof| !self.tag_keys.note(&to, proof)) {
            return Vec::new();
        }
        if let RelayStep::Reserve(reservation) = &message.step
            && reservation.hop > 1
        {
            let lie = if self.span.contains(&now) { self.choose(reservation) } else { Lie::Honest };
            let (reservation, told) = (reservation.clone(), reservation.clone());
            let passing = Passing { lie, reservation, told, key: Vec::new(), said: Vec::new(), again: None };
            self.passing.insert(message.relay, passing);
        }
        let Some(mut passing) = self.passing.remove(&message.relay) else { return vec![voice.message(&to, message)] };
        let relay = message.relay;
        let said = self.says_of(&voice, &mut passing, &to, message);
        self.passing.insert(relay, passing);
        said
    }

    fn choose(&mut self, reservation: &RelayReservation) -> Lie {
        if self.random.one_in(3) {
            return Lie::Honest;
        }
        match Lie::ALL[self.random.below(Lie::ALL.len() as u64) as usize] {
            // Who sees one part of several cannot tell that the key has come.
            Lie::KeyConfirmed if reservation.of > 1 => Lie::Key,
            Lie::Kept if reservation.of > 1 => Lie::KeptMadeUp,
            lie => lie,
        }
    }

    fn says_of(&mut self, voice: &Voice<'_>, passing: &mut Passing, to: &KmId, message: RelayMessage) -> Said {
        let RelayMessage { relay, step, proof } = message.clone();
        if let RelayStep::Key { sealed, tag } = &step {
            let sealed = Sealed { octets: sealed.clone(), tag: *tag };
            passing.key = voice.open(to, relay, &passing.reservation, sealed).unwrap_or_default();
        }
        let lied = match (passing.lie, step, proof) {
            (Lie::Silent, RelayStep::Reserve(_), _) => {
                self.spoil("passes nothing on", passing);
                Some(Vec::new())
            }
            (Lie::Silent, ..) => Some(Vec::new()),
            (Lie::ReservedUnasked, RelayStep::Reserve(_), _) => self.reserved_unasked(voice, passing, relay),
            (Lie::Refused, RelayStep::Refused { .. }, Some(proof)) if self.random.one_in(2) => {
                self.spoil("says Reserved though it was refused", passing);
                voice.say_instead(to, relay, RelayStep::Reserved, proof).map(|said| vec![said])
            }
            (Lie::Refused, RelayStep::Reserved | RelayStep::Refused { .. }, Some(proof)) => {
                self.refused(voice, passing, to, relay, proof)
            }
            (Lie::Reservation, RelayStep::Reserve(_), Some(proof)) => self.reservation(voice, passing, to, relay, proof),
            (Lie::Reservation, RelayStep::Key { .. }, _) => {
                let step = voice.seal(to, relay, &passing.told, &passing.key);
                step.map(|step| vec![voice.unproved(to, relay, step)])
            }
            (Lie::Key, RelayStep::Key { .. }, _) => {
                let key = self.other_key(passing);
                self.spoil("passes other key on", passing);
                self.altered.extend((passing.reservation.of == 1).then_some(passing.reservation.key));
                let step = voice.seal(to, relay, &passing.reservation, &key);
                step.map(|step| vec![voice.unproved(to, relay, step)])
            }
            (Lie::KeyConfirmed, RelayStep::Key { .. }, _) => {
                let mut key = passing.key.clone();
                // The key of the tag of a block, or the first octet that it hides: what follows may stay unused.
                self.change(&mut key, words::TAG_KEY_OCTETS + 1);
                self.spoil("passes other key on and confirms the right one", passing);
                self.altered.insert(passing.reservation.key);
                self.differing.insert(passing.reservation.key);
                let step = voice.seal(to, relay, &passing.reservation, &key);
                step.map(|step| vec![voice.unproved(to, relay, step)])
            }
            (Lie::KeyConfirmed, RelayStep::Complete { .. }, _) => confirm(voice, passing, relay),
            (Lie::Kept, RelayStep::Key { .. }, _) => {
                self.spoil("keeps the key and confirms it", passing);
                self.differing.insert(passing.reservation.key);
                confirm(voice, passing, relay)
            }
            (Lie::KeptMadeUp, RelayStep::Key { .. }, _) => {
                self.spoil("keeps the key and makes a confirmation up", passing);
                let tag = u128::from(self.random.number()).to_be_bytes();
                Some(vec![voice.unproved(before(passing), relay, RelayStep::Complete { tag })])
            }
            (Lie::Again, RelayStep::Reserve(_), _) => Some(self.again(voice, passing, to, &message)),
            (Lie::Again, RelayStep::Key { .. }, _) => Some(self.key_again(voice, passing, to, &message)),
            _ => None,
        };
        if passing.lie == Lie::Honest {
            passing.said.push((to.clone(), message.clone()));
            if matches!(message.step, RelayStep::Complete { .. }) && !passing.key.is_empty() {
                let Passing { reservation, key, said, .. } = passing;
                self.past.push(Past { relay, reservation: reservation.clone(), key: key.clone(), said: std::mem::take(said) });
            }
        }
        lied.unwrap_or_else(|| vec![voice.message(to, message)])
    }

    /// A lie after which the key cannot come to be, unless other parts do.
    fn spoil(&mut self, lie: &'static str, passing: &Passing) {
        let RelayReservation { key, needed, of, .. } = passing.reservation;
        self.tell(lie, Some(key));
        if needed == of {
            self.spoilt.insert(key);
        }
    }

    fn reserved_unasked(&mut self, voice: &Voice<'_>, passing: &Passing, relay: KeyId) -> Option<Said> {
        let said = self.tag_keys.say(voice, before(passing), relay, RelayStep::Reserved)?;
        self.spoil("says Reserved and has not asked", passing);
        Some(vec![said])
    }

    fn refused(&mut self, voice: &Voice<'_>, passing: &Passing, to: &KmId, relay: KeyId, proof: Proof) -> Option<Said> {
        let at = self.names[self.random.below(self.names.len() as u64) as usize].clone();
        let reason = RelayRefusal::ALL[self.random.below(RelayRefusal::ALL.len() as u64) as usize];
        self.spoil("refuses somewhere, for some reason", passing);
        voice.say_instead(to, relay, RelayStep::Refused { at, reason }, proof).map(|said| vec![said])
    }

    fn reservation(&mut self, voice: &Voice<'_>, passing: &mut Passing, to: &KmId, relay: KeyId, proof: Proof) -> Option<Said> {
        let told = &mut passing.told;
        let some = self.random.number();
        let other = self.names[some as usize % self.names.len()].clone();
        let sooner = told.expires.millis() - 1 - some % 100_000;
        match self.random.below(8) {
            0 => told.octets -= 1 + (some % 16) as u32,
            1 => told.expires = WallTime::from_millis(sooner),
            2 if told.path.len() > usize::from(told.hop) + 1 => drop(told.path.pop()),
            2 | 3 if !told.path.contains(&other) => told.path.push(other),
            2 | 3 => told.hop += 1,
            4 => told.path[0] = other,
            5 => told.part += 1,
            6 => {
                told.key = another(told.key, 1 + some % 3);
                // Of one that was announced in the same millisecond, its destination cannot tell that it is not this one.
                self.altered.insert(told.key);
            }
            _ => {
                // Who waits less comes later, or before those who have less: the key comes, or not.
                told.spare = some as u8;
                self.tell("says that the source has other key left", None);
                return voice.say_instead(to, relay, RelayStep::Reserve(told.clone()), proof).map(|said| vec![said]);
            }
        }
        let step = RelayStep::Reserve(told.clone());
        if *told != passing.reservation {
            self.spoil("asks the next node for something else", passing);
        }
        voice.say_instead(to, relay, step, proof).map(|said| vec![said])
    }

    /// One bit is changed, or all of them are; or it is key that was relayed before.
    fn other_key(&mut self, passing: &Passing) -> Vec<u8> {
        let mut key = passing.key.clone();
        let (which, octets) = (self.random.below(3), key.len());
        match self.past.last() {
            Some(past) if which == 0 => {
                key.clone_from(&past.key);
                key.resize(octets, 0);
            }
            _ if which == 1 => key.iter_mut().for_each(|octet| *octet = self.random.number() as u8),
            _ => self.change(&mut key, octets),
        }
        key
    }

    /// Changes a bit in one of the first octets; no bit that Poly1305 takes no notice of, for then nothing differs.
    fn change(&mut self, key: &mut [u8], first: usize) {
        let at = self.random.below(first.min(key.len()) as u64) as usize;
        if let Some(octet) = key.get_mut(at) {
            *octet ^= 0b100;
        }
    }

    /// All that was said about an old relay, as it was said; and the relay under its old name or one that is yet to come, with tags and
    /// perhaps a pad that are new.
    fn again(&mut self, voice: &Voice<'_>, passing: &mut Passing, to: &KmId, message: &RelayMessage) -> Said {
        let mut said = vec![voice.message(to, message.clone())];
        let next = |past: &&Past| past.reservation.path.get(usize::from(past.reservation.hop)) == Some(to);
        let Some(past) = self.past.iter().rev().find(next) else { return said };
        said.extend(past.said.iter().map(|(to, message)| voice.message(to, message.clone())));
        let (relay, key, mut reservation) = (past.relay, past.key.clone(), past.reservation.clone());
        let ahead = self.random.below(4);
        let relay = another(relay, ahead);
        reservation.key = another(reservation.key, ahead);
        self.altered.insert(reservation.key);
        if self.random.one_in(2)
            && let Some(pad) = voice.disk.youngest_of(&reservation.link)
        {
            reservation.pad = pad;
        }
        said.extend(self.tag_keys.say(voice, to, relay, RelayStep::Reserve(reservation.clone())));
        self.tell("says again what it said before", None);
        passing.again = Some((relay, reservation, key));
        said
    }

    fn key_again(&mut self, voice: &Voice<'_>, passing: &Passing, to: &KmId, message: &RelayMessage) -> Said {
        let mut said = vec![voice.message(to, message.clone())];
        if let Some((relay, reservation, key)) = &passing.again {
            let step = voice.seal(to, *relay, reservation, key);
            said.extend(step.map(|step| voice.unproved(to, *relay, step)));
        }
        said
    }
}

/// The node that it came from.
fn before(passing: &Passing) -> &KmId {
    &passing.reservation.path[usize::from(passing.reservation.hop) - 2]
}

fn confirm(voice: &Voice<'_>, passing: &Passing, relay: KeyId) -> Option<Said> {
    let tag = words::completion_tag(&passing.reservation, &passing.key)?;
    Some(vec![voice.unproved(before(passing), relay, RelayStep::Complete { tag })])
}

/// The name that the same node gives so many names later.
fn another(id: KeyId, later: u64) -> KeyId {
    let (life, number) = Incarnation::split(id);
    life.key_id(number + later)
}
