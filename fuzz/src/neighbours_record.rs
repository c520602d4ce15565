//! Who asked for what, who got what, and whether that was right.

use std::collections::{HashMap, HashSet};

use itu_y3803::{ApplicationId, KeyId, KeySize, KsaKey, Parties};
use relay_core::OrderId;

/// Everything supplied so far.
#[derive(Default)]
pub(crate) struct Record {
    open: HashMap<OrderId, Order>,
    /// In the order of supply.
    ids: Vec<KeyId>,
    keys: HashMap<KeyId, (Parties, KsaKey)>,
    collected: HashSet<(KeyId, ApplicationId)>,
}

enum Order {
    Supply { parties: Parties, number: usize, size: KeySize },
    Collect { slave: ApplicationId, master: ApplicationId, keys: Vec<KeyId> },
}

impl Record {
    pub(crate) fn asks_to_supply(&mut self, order: OrderId, parties: &Parties, number: usize, size: KeySize) {
        self.open.insert(order, Order::Supply { parties: parties.clone(), number, size });
    }

    pub(crate) fn asks_to_collect(&mut self, order: OrderId, slave: &ApplicationId, master: &ApplicationId, keys: &[KeyId]) {
        self.open.insert(order, Order::Collect { slave: slave.clone(), master: master.clone(), keys: keys.to_vec() });
    }

    /// A key that was supplied, perhaps with the one after it, perhaps with a made-up identifier; and the master of the first.
    pub(crate) fn keys_to_ask_for(&self, choice: usize) -> Option<(ApplicationId, Vec<KeyId>)> {
        let first = *self.ids.get(choice % self.ids.len().max(1))?;
        let mut ids = vec![first];
        match choice % 5 {
            3 => ids.extend(self.ids.iter().skip_while(|id| **id != first).nth(1)),
            4 => ids.push(KeyId::from_octets([choice as u8; 16])),
            _ => {}
        }
        let (parties, _) = self.keys.get(&first)?;
        Some((parties.master().clone(), ids))
    }

    pub(crate) fn refused(&mut self, order: OrderId) {
        assert!(self.open.remove(&order).is_some(), "an answer to no open order");
    }

    pub(crate) fn supplied(&mut self, order: OrderId, got: Vec<KsaKey>) {
        match self.open.remove(&order).expect("an answer to no open order") {
            Order::Supply { parties, number, size } => {
                assert_eq!(got.len(), number);
                for key in got {
                    assert_eq!(key.material.size(), size);
                    self.ids.push(key.id);
                    assert!(self.keys.insert(key.id, (parties.clone(), key)).is_none(), "a key is supplied twice");
                }
            }
            Order::Collect { slave, master, keys } => {
                assert!(got.iter().map(|key| key.id).eq(keys), "other keys than asked for");
                for key in got {
                    let (parties, of_master) = self.keys.get(&key.id).expect("a key that no master has");
                    assert!(parties.master() == &master && parties.slaves().contains(&slave), "a key for others");
                    assert!(key.material.expose_secret() == of_master.material.expose_secret(), "master and slave differ");
                    assert!(self.collected.insert((key.id, slave.clone())), "a key is collected twice");
                }
            }
        }
    }

    /// How many keys slaves have collected.
    pub(crate) fn collected(&self) -> usize {
        self.collected.len()
    }
}

#[cfg(test)]
mod tests {
    use itu_y3803::{KeyMaterial, SecrecyLabel, WallTime};

    use super::*;

    fn key(octet: u8) -> KsaKey {
        KsaKey {
            paths: itu_y3803::Paths::default(),
            id: KeyId::from_octets([1; 16]),
            material: KeyMaterial::from_octets(vec![octet; 32]).expect("whole octets"),
            label: SecrecyLabel::ItsRelay,
            created: WallTime::from_millis(0),
            expires: WallTime::NEVER,
        }
    }

    fn app(id: &str) -> ApplicationId {
        ApplicationId::new(id).expect("an identifier")
    }

    /// Red has a key for blue, and these slaves ask for it and get this.
    fn collected(by: &[(&str, u8)]) -> usize {
        let mut record = Record::default();
        let parties = Parties::new(app("red"), vec![app("blue")]).expect("one slave");
        record.asks_to_supply(OrderId(0), &parties, 1, KeySize::BITS_256);
        record.supplied(OrderId(0), vec![key(7)]);
        for (order, (slave, octet)) in (1..).zip(by) {
            record.asks_to_collect(OrderId(order), &app(slave), &app("red"), &[key(7).id]);
            record.supplied(OrderId(order), vec![key(*octet)]);
        }
        record.collected()
    }

    #[test]
    fn the_right_key_for_the_right_slave_passes() {
        assert_eq!(collected(&[("blue", 7)]), 1);
    }

    #[test]
    #[should_panic(expected = "master and slave differ")]
    fn another_key_does_not_pass() {
        collected(&[("blue", 8)]);
    }

    #[test]
    #[should_panic(expected = "a key for others")]
    fn another_slave_does_not_pass() {
        collected(&[("green", 7)]);
    }

    #[test]
    #[should_panic(expected = "a key is collected twice")]
    fn a_second_time_does_not_pass() {
        collected(&[("blue", 7), ("blue", 7)]);
    }
}
