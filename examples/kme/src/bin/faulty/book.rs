//! What both KMEs have delivered: faults that give a key once more, or to somebody else, take it from here.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::front::Side;

/// A key that a master was given.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    /// As the reference encoded it.
    pub(crate) text: String,
    /// Its place among all keys, from 0.
    pub(crate) number: usize,
    pub(crate) at: Side,
    pub(crate) master: String,
    /// The slave of the path first.
    pub(crate) slaves: Vec<String>,
    /// Which call of Get key it was drawn by.
    pub(crate) batch: u64,
    pub(crate) since: Instant,
    /// Who has fetched it.
    pub(crate) taken: BTreeSet<String>,
}

/// All of them, by ID in lower case.
#[derive(Debug, Default)]
pub(crate) struct Book {
    keys: HashMap<String, Drawn>,
    order: Vec<String>,
    batches: u64,
    /// The last call of each pair.
    latest: HashMap<(String, String), u64>,
}

impl Book {
    pub(crate) fn draw(&mut self, at: Side, master: &str, slaves: &[String], keys: &[(String, String)]) {
        self.batches += 1;
        for slave in slaves {
            self.latest.insert((master.to_owned(), slave.clone()), self.batches);
        }
        for (id, text) in keys {
            let drawn = Drawn {
                text: text.clone(),
                number: self.order.len(),
                at,
                master: master.to_owned(),
                slaves: slaves.to_vec(),
                batch: self.batches,
                since: Instant::now(),
                taken: BTreeSet::new(),
            };
            self.order.push(id.to_ascii_lowercase());
            self.keys.insert(id.to_ascii_lowercase(), drawn);
        }
    }

    pub(crate) fn take(&mut self, slave: &str, ids: &[String]) {
        for id in ids {
            if let Some(drawn) = self.keys.get_mut(&id.to_ascii_lowercase()) {
                drawn.taken.insert(slave.to_owned());
            }
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Drawn> {
        self.keys.get(&id.to_ascii_lowercase())
    }

    /// The key drawn as the `number`th of all.
    pub(crate) fn at(&self, number: usize) -> Option<&Drawn> {
        self.order.get(number).and_then(|id| self.keys.get(id))
    }

    /// Keys of one call.
    pub(crate) fn batch(&self, batch: u64) -> Vec<String> {
        self.keys.iter().filter(|(_, drawn)| drawn.batch == batch).map(|(id, _)| id.clone()).collect()
    }

    /// The last call of that master for that slave.
    pub(crate) fn latest(&self, master: &str, slave: &str) -> u64 {
        self.latest.get(&(master.to_owned(), slave.to_owned())).copied().unwrap_or_default()
    }
}
