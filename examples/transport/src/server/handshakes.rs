//! The handshakes under way.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::slots::site;

/// The handshakes under way, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    by_age: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    address: SocketAddr,
    /// Dropped to end the handshake.
    _end: oneshot::Sender<Infallible>,
}

impl Handshakes {
    /// Lets one more begin. If there are `most` already, another one ends.
    pub(super) fn begin(&self, address: SocketAddr, most: usize) -> Handshake {
        let (end, ended) = oneshot::channel();
        let mut under_way = self.lock();
        if under_way.by_age.len() >= most {
            under_way.make_room();
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.by_age.insert(number, Entry { address, _end: end });
        Handshake { handshakes: self.clone(), number, ended }
    }

    /// Ends one.
    pub(super) fn make_room(&self) {
        self.lock().make_room();
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Ends the oldest of the address that has the most.
    fn make_room(&mut self) {
        let mut by_site: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (&number, entry) in &self.by_age {
            by_site.entry(site(entry.address.ip())).or_insert((0, number)).0 += 1;
        }
        // Of several such addresses, the one that came first.
        let chosen = by_site.into_values().max_by_key(|&(number, oldest)| (number, std::cmp::Reverse(oldest)));
        if let Some((_, oldest)) = chosen {
            self.by_age.remove(&oldest);
        }
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Handshake {
    handshakes: Handshakes,
    number: u64,
    ended: oneshot::Receiver<Infallible>,
}

impl Handshake {
    /// Completes when the handshake has to make room.
    pub(super) async fn evicted(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_the_most_makes_room_and_the_oldest_first() {
        let handshakes = Handshakes::default();
        let begin = |address: &str| handshakes.begin(address.parse().expect("an address"), 4);
        let mut others = begin("192.0.2.9:1");
        let mut flood: Vec<_> = (0..6).map(|port| begin(&format!("192.0.2.1:{port}"))).collect();
        let gone = |handshake: &mut Handshake| handshake.ended.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(!gone(&mut others), "it is alone from there");
        assert_eq!(flood.iter_mut().map(gone).collect::<Vec<_>>(), [true, true, true, false, false, false]);
        handshakes.make_room();
        assert!(gone(&mut flood[3]) && !gone(&mut others));
        drop(flood);
        drop(others);
        assert!(handshakes.lock().by_age.is_empty());
    }
}
