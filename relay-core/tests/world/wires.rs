//! Between the nodes: messages, and QKD modules.

use itu_y3803::message::Body;
use itu_y3803::{KeyId, KeyMaterial, KmMessage, QkdKey};

use relay_core::Input;

use super::settings::km;
use super::{Step, World};

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, message: KmMessage) {
        self.nodes[from].incarnation = Some(message.sender);
        if let Body::SupplyNotification(told) = &message.body {
            self.made.entry((from, told.created)).or_insert(self.now);
            let mut octets = told.sealed.clone();
            octets.extend(told.tag);
            match self.pads.get(&told.pad) {
                Some(former) => assert_eq!(*former, octets, "pad {} hides two messages", told.pad),
                None => {
                    self.report.pads += 1;
                    self.pads.insert(told.pad, octets);
                }
            }
            // While a block is on its way.
            if self.faults.clocks && self.random.one_in(100) {
                let soon = self.random.below(3);
                self.after(soon, Step::SetClock { node: from });
            }
            if self.random.one_in(4) {
                self.said = Some((from, to, again(&message)));
            }
        }
        if let Body::Offer(offer) = &message.body {
            for qkd_key in &offer.qkd_keys {
                let link_key = *self.joined.entry(*qkd_key).or_insert(offer.key);
                assert_eq!(link_key, offer.key, "{qkd_key} is part of two link keys");
            }
        }
        if let Body::SupplyResponse(response) = &message.body
            && self.forged == Some(response.block)
        {
            assert!(!response.accepted, "{} is accepted under another tag", response.block);
            self.report.forged += 1;
        }
        let faulty = self.faults.messages && !self.settling();
        let copies = match self.random.below(20) {
            0 if faulty => 0,
            1 | 2 if faulty => 2,
            _ => 1,
        };
        if copies == 0 || !self.nodes[from].connected[to] {
            self.report.lost += 1;
            return;
        }
        let more = (1..copies).map(|_| again(&message)).collect::<Vec<_>>();
        for message in more.into_iter().chain([message]) {
            let late = faulty && self.random.one_in(8);
            let delay = if late { self.random.below(1_500) } else { 1 + self.random.below(5) };
            let id = self.next_number();
            self.messages.insert(id, (from, message));
            self.after(delay, Step::Deliver { to, message: id });
        }
    }

    /// A neighbour whose store was put back to what it was would say something else of a block that is known.
    pub(super) fn forge(&mut self) {
        let Some((from, to, mut message)) = self.said.take() else { return };
        let Body::SupplyNotification(told) = &mut message.body else { return };
        // Another bit than that by which modules disagree: in the key of the tag, the one would make up for the other.
        told.tag[self.now as usize % 16] ^= 0x10;
        self.handle(to);
        if self.nodes[to].manager.is_some() {
            self.forged = Some(told.block);
            self.nodes[to].inbox.push(Input::Message { from: km(from), message });
            self.handle(to);
            self.forged = None;
        }
    }

    pub(super) fn draw(&mut self, number: u32) -> Vec<QkdKey> {
        if self.faults.modules && !self.settling() && self.random.one_in(4) {
            return Vec::new();
        }
        // Slow modules have fewer than were asked for.
        let slow = self.faults.modules && self.random.one_in(3);
        let number = if slow { self.random.below(u64::from(number) + 1) as u32 } else { number };
        (0..number)
            .map(|_| {
                let id = KeyId::from_octets(self.random.octets());
                let octets = [self.random.octets(), self.random.octets()].concat();
                self.modules.insert(id, octets.clone());
                qkd_key(id, octets)
            })
            .collect()
    }

    pub(super) fn fetch(&mut self, node: usize, key: KeyId) -> Vec<QkdKey> {
        let wanted = self.fetches.remove(&(node, key)).unwrap_or_default();
        if self.faults.modules && !self.settling() && self.random.one_in(20) {
            return Vec::new();
        }
        // There are modules that give out a key again and again, although they must not (014-5.4-05).
        let forgetful = self.faults.modules && self.seed.is_multiple_of(2);
        let modules = &mut self.modules;
        let mut give = |id| if forgetful { modules.get(&id).cloned() } else { modules.remove(&id) };
        let mut keys: Vec<_> = wanted.into_iter().filter_map(|id| Some(qkd_key(id, give(id)?))).collect();
        // Modules that disagree: the two ends must notice.
        if self.faults.modules && !self.settling() && self.random.one_in(20) && !keys.is_empty() {
            let at = self.random.below(keys.len() as u64) as usize;
            let mut octets = keys[at].material.expose_secret().to_vec();
            octets[17] ^= 1;
            keys[at] = qkd_key(keys[at].id, octets);
        }
        keys
    }
}

fn again(message: &KmMessage) -> KmMessage {
    let body = match &message.body {
        Body::Hello(hello) => Body::Hello(hello.clone()),
        Body::Offer(offer) => Body::Offer(offer.clone()),
        Body::OfferAnswer(answer) => Body::OfferAnswer(answer.clone()),
        Body::SupplyNotification(told) => Body::SupplyNotification(told.clone()),
        Body::SupplyResponse(response) => Body::SupplyResponse(response.clone()),
        _ => unreachable!("all messages are listed"),
    };
    KmMessage { sender: message.sender, body }
}

fn qkd_key(id: KeyId, octets: Vec<u8>) -> QkdKey {
    QkdKey { id, material: KeyMaterial::from_octets(octets).expect("whole octets") }
}
