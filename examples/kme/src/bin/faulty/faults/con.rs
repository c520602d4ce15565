//! Many at once, and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::keys::{flipped, refused_though_drawn};
use crate::book::Drawn;
use crate::exchange::{Operation, Said};
use crate::fault::Fault;
use crate::front::{Side, lock};

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M151", "key index taken without lock: who asks meanwhile gets the same keys").around(|kme, asked| {
        Box::pin(async move {
            if asked.operation() != Operation::GetKey {
                return kme.ask(&asked).await;
            }
            let index = format!("{:?} {} {:?}", kme.side, asked.query(), asked.body);
            let (first, cell) = {
                let mut waiting = lock(&kme.pair.waiting);
                let cell = waiting.get(&index).cloned();
                let new = cell.is_none();
                let cell = cell.unwrap_or_default();
                waiting.insert(index.clone(), cell.clone());
                (new, cell)
            };
            let said = cell
                .get_or_init(|| async {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                    kme.ask(&asked).await
                })
                .await
                .clone();
            if first {
                lock(&kme.pair.waiting).remove(&index);
            }
            said
        })
    }),
    Fault::new("M152", "pairs shifted by one under load, that is, while both KMEs deliver").around(|kme, asked| {
        Box::pin(async move {
            if !matches!(asked.operation(), Operation::GetKey | Operation::GetKeyWithIds) {
                return kme.ask(&asked).await;
            }
            let _busy = Busy::begin(kme.pair.busy[kme.side as usize].clone());
            tokio::time::sleep(Duration::from_millis(15)).await;
            let loaded = kme.pair.busy[kme.side.other() as usize].load(Ordering::SeqCst) > 0;
            let mut said = kme.ask(&asked).await;
            if asked.operation() == Operation::GetKeyWithIds && loaded {
                said.edit_keys(|id, text| {
                    let number = kme.drawn(id).map_or(0, |drawn| drawn.number);
                    let before = number.checked_sub(1).and_then(|before| kme.book().at(before).map(|drawn| drawn.text.clone()));
                    *text = before.unwrap_or_else(|| flipped(text));
                });
            }
            said
        })
    }),
    Fault::new("M153", "pools of two masters overlap: within a second the second is given what the first was").response(
        |kme, asked, said| {
            said.edit_keys(|id, text| {
                let Some(drawn) = kme.drawn(id) else { return };
                let mut notes = kme.notes();
                let mine = format!("material of {id}");
                if asked.operation() == Operation::GetKey {
                    let shared = notes.pool.iter_mut().rev().find(|other| {
                        let fits = other.at == drawn.at && other.text.len() == drawn.text.len();
                        fits && other.since.elapsed() < Duration::from_secs(1) && !other.taken.contains(&drawn.master)
                    });
                    if let Some(shared) = shared {
                        shared.taken.insert(drawn.master.clone());
                        let shared = shared.text.clone();
                        notes.texts.insert(mine.clone(), shared);
                    } else {
                        let taken = [drawn.master.clone()].into();
                        notes.pool.push(Drawn { taken, ..drawn });
                    }
                }
                if let Some(shared) = notes.texts.get(&mine) {
                    text.clone_from(shared);
                }
            });
        },
    ),
    Fault::new("M154", "after restart keys are regenerated for stored IDs").around(|kme, asked| {
        Box::pin(async move {
            let mut said = kme.ask(&asked).await;
            let caller = asked.caller.clone().unwrap_or_default();
            let former = |id: &String| {
                let drawn = kme.drawn(id).filter(|drawn| drawn.at == Side::North && drawn.slaves.contains(&caller));
                drawn.filter(|drawn| kme.pair.restart().is_some_and(|restart| drawn.since < restart))
            };
            if refused_though_drawn(&kme, &asked, &said) {
                let untaken = |id: &String| former(id).filter(|drawn| !drawn.taken.contains(&caller));
                let keys: Option<Vec<_>> =
                    asked.ids().iter().map(|id| untaken(id).map(|drawn| (id.clone(), drawn.text))).collect();
                if let Some(keys) = keys {
                    kme.book().take(&caller, &asked.ids());
                    said = Said::container(&keys);
                }
            }
            if asked.operation() == Operation::GetKeyWithIds {
                said.edit_keys(|id, text| {
                    if former(id).is_some() {
                        *text = flipped(text);
                    }
                });
            }
            said
        })
    }),
];

/// A request under way.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn begin(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
