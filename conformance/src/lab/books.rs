//! Budget and ledger: how many keys may be drawn, and what became of each that was.

use std::collections::{BTreeSet, HashMap};

use super::Request;
use crate::bounds;
use crate::config::Side;
use crate::ctx::Stop;
use crate::secret::Fingerprint;

/// Keys and bits that may still be asked for.
pub(crate) struct Budget {
    pub(crate) keys: u64,
    bits: u64,
    used_keys: u64,
    used_bits: u64,
    /// What the current case may use, and has.
    case: Option<(u64, u64)>,
    pub(crate) asked: u64,
    pub(crate) refused: u64,
}

impl Budget {
    pub(crate) fn new(keys: u64, bits: u64) -> Self {
        Self { keys, bits, used_keys: 0, used_bits: 0, case: None, asked: 0, refused: 0 }
    }

    pub(crate) fn left(&self) -> u64 {
        self.keys.saturating_sub(self.used_keys)
    }

    /// From now on no more than `worst` keys; without: no limit but the whole.
    pub(crate) fn enter_case(&mut self, worst: Option<u64>) {
        self.case = worst.map(|worst| (worst, 0));
    }

    /// Sets keys aside before a request is sent.
    pub(crate) fn reserve(&mut self, keys: u64, bits: u64) -> Result<(), Stop> {
        if keys > self.left() || bits > self.bits.saturating_sub(self.used_bits) {
            self.refused += 1;
            let bits = self.bits.saturating_sub(self.used_bits);
            let left = self.left();
            return Err(Stop::Inconclusive(format!(
                "budget: up to {keys} keys could be delivered, {left} are left, of {bits} bits"
            )));
        }
        if let Some((worst, used)) = &mut self.case {
            if used.saturating_add(keys) > *worst {
                return Err(Stop::Error(format!("the case asks for more than the {worst} keys it declares")));
            }
            *used += keys;
        }
        self.used_keys += keys;
        self.used_bits = self.used_bits.saturating_add(bits);
        self.asked += keys;
        Ok(())
    }

    /// Gives back what was set aside and not delivered. What a KME delivers beyond what it was asked for is its fault, and no
    /// way to use up the budget.
    pub(crate) fn settle(&mut self, reserved: (u64, u64), delivered: (u64, u64)) {
        let (keys, bits) = (delivered.0.min(reserved.0), delivered.1.min(reserved.1));
        self.used_keys -= (reserved.0 - keys).min(self.used_keys);
        self.used_bits -= (reserved.1 - bits).min(self.used_bits);
        if let Some((_, used)) = self.case.as_mut().filter(|_| keys == 0) {
            *used = used.saturating_sub(reserved.0);
        }
    }
}

/// A key that was delivered to a master.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) id: String,
    pub(crate) bits: u64,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) at: Side,
    pub(crate) master: String,
    /// SAE IDs of the slaves.
    pub(crate) slaves: Vec<String>,
    pub(crate) case: usize,
    /// Drawn by a request that is right, and nobody has asked for it since.
    pub(crate) plain: bool,
    pub(crate) time: String,
    /// SAEs that retrieved it.
    pub(crate) retrieved: BTreeSet<String>,
}

/// All keys of the run.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) drawn: Vec<Drawn>,
    by_id: HashMap<String, usize>,
    /// Keys delivered to masters, also those that are not listed.
    pub(crate) delivered: u64,
    /// Of the keys listed, those that were fetched with their IDs, however often.
    pub(crate) retrieved: u64,
}

impl Ledger {
    /// Enters a key, if there is room.
    pub(crate) fn draw(&mut self, key: Drawn) {
        self.delivered += 1;
        if self.drawn.len() < bounds::LEDGER {
            self.by_id.insert(key.id.to_ascii_lowercase(), self.drawn.len());
            self.drawn.push(key);
        }
    }

    /// Whether more keys were delivered than are listed.
    pub(crate) fn is_short(&self) -> bool {
        self.delivered > self.drawn.len() as u64
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Drawn> {
        self.by_id.get(&id.to_ascii_lowercase()).map(|index| &self.drawn[*index])
    }

    /// Takes note of keys that a request may be for.
    pub(crate) fn asked_for(&mut self, request: &Request) {
        let body = request.body.as_deref().unwrap_or_default();
        let text = request.target.clone() + " " + &String::from_utf8_lossy(&body[..body.len().min(bounds::HEAD)]);
        for id in text.split(|c: char| !c.is_ascii_hexdigit() && c != '-').filter(|id| id.len() >= 32) {
            if let Some(index) = self.by_id.get(&id.to_ascii_lowercase()) {
                self.drawn[*index].plain = false;
            }
        }
    }

    pub(crate) fn retrieve(&mut self, id: &str, sae: &str) {
        if let Some(index) = self.by_id.get(&id.to_ascii_lowercase()) {
            let by = &mut self.drawn[*index].retrieved;
            self.retrieved += u64::from(by.is_empty());
            by.insert(sae.to_owned());
        }
    }

    /// Keys of a case that nobody has fetched.
    pub(crate) fn left_behind(&self, case: Option<usize>) -> impl Iterator<Item = &Drawn> {
        self.drawn.iter().filter(move |key| key.retrieved.is_empty() && case.is_none_or(|case| case == key.case))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_exceed_the_budget_is_refused() {
        let mut budget = Budget::new(10, u64::MAX);
        assert!(budget.reserve(10, 0).is_ok());
        assert!(matches!(budget.reserve(1, 0), Err(Stop::Inconclusive(_))));
        budget.settle((10, 0), (3, 0));
        assert_eq!(budget.left(), 7);
        assert!(budget.reserve(7, 0).is_ok());
    }

    #[test]
    fn a_case_is_held_to_its_declaration() {
        let mut budget = Budget::new(10, u64::MAX);
        budget.enter_case(Some(2));
        assert!(budget.reserve(2, 0).is_ok());
        budget.settle((2, 0), (2, 0));
        assert!(matches!(budget.reserve(1, 0), Err(Stop::Error(_))));
    }

    #[test]
    fn a_key_that_is_fetched_twice_is_one_key() {
        let mut ledger = Ledger::default();
        for id in ["A", "b"] {
            ledger.draw(Drawn {
                id: id.to_owned(),
                bits: 256,
                fingerprint: None,
                at: Side::A,
                master: "red".to_owned(),
                slaves: vec!["blue".to_owned()],
                case: 0,
                plain: true,
                time: String::new(),
                retrieved: BTreeSet::new(),
            });
        }
        for (id, sae) in [("a", "red"), ("a", "blue"), ("A", "blue"), ("invented", "blue")] {
            ledger.retrieve(id, sae);
        }
        assert_eq!((ledger.retrieved, ledger.delivered), (1, 2));
        ledger.retrieve("b", "green");
        assert_eq!(ledger.retrieved, 2);
    }

    #[test]
    fn more_than_was_asked_for_costs_no_more() {
        let mut budget = Budget::new(10, 1000);
        assert!(budget.reserve(1, 256).is_ok());
        budget.settle((1, 256), (500, 1_000_000));
        assert_eq!(budget.left(), 9);
        assert!(budget.reserve(1, 744).is_ok());
        assert!(matches!(budget.reserve(1, 1), Err(Stop::Inconclusive(_))));
    }
}
