//! The node: one thread that owns the engine, and the leases in front of it.
//!
//! Requests for keys are served from leases, without waiting for the engine's thread, as long as a lease
//! lasts; everything else is a command to that thread. It takes all commands that are waiting, feeds them to the engine, has
//! it commit once, and only then hands out the answers.

mod engine;
mod leases;
mod queue;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;

use itu_y3803::{ApplicationId, KeyId, KeySize, KmId, KmMessage, KsaKey, LinkId, Parties};
use relay_core::{Event, Input, KeyManager, Refusal};
use tokio::sync::oneshot;

use crate::config::Durability;
use crate::kx::Room;
use crate::random::Random;
use crate::store::AnyStore;

pub use leases::Shelf;

use engine::{Command, Engine};
use leases::Leases;

/// What the engine's thread does to the world: never blocks.
pub trait Effects: Send + 'static {
    /// Tells a neighbour.
    fn send(&mut self, to: &KmId, message: KmMessage);
    /// Asks the QKD module of a link for new keys.
    fn draw(&mut self, link: LinkId, number: u32, size: KeySize);
    /// Asks the QKD module of a link for keys that the other end drew.
    fn fetch(&mut self, link: LinkId, key: KeyId, qkd_keys: Vec<KeyId>);
    /// Counts and logs.
    fn event(&mut self, event: &Event);
    /// Notes how many inputs shared a commit.
    fn batch(&mut self, inputs: usize);
}

/// Access to the node, cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    commands: queue::Sender<Command>,
    leases: Arc<Leases>,
    durability: Durability,
}

/// Why an application gets no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node has stopped, or its store failed.
    #[error("the key store is not available")]
    Stopped,
}

/// What the engine holds for one link.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkLevel {
    /// Link keys that are ready.
    pub keys: usize,
    /// Octets of block that they can seal.
    pub octets: usize,
}

/// The engine's thread, to wait for its end.
#[derive(Debug)]
pub struct NodeThread(thread::JoinHandle<Result<(), EngineFailed>>);

/// The engine's thread ended because the store failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineFailed(String);

impl Node {
    /// Starts the thread. `effects` is made with a handle to the node, since most of them come back as inputs.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start<E: Effects>(
        manager: KeyManager<AnyStore, Random>,
        durability: Durability,
        effects: impl FnOnce(Self) -> E,
    ) -> std::io::Result<(Self, NodeThread)> {
        let (commands, queue) = queue::queue();
        let leases = Arc::new(Leases::new(manager.config().lease_octets));
        let node = Self { commands, leases: Arc::clone(&leases), durability };
        let effects = effects(node.clone());
        let engine = Engine::new(manager, queue, leases, effects);
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(move || engine.run())?;
        Ok((node, NodeThread(thread)))
    }

    /// Tells the engine what a neighbour said. The room is dropped when the engine is through with it.
    pub fn message(&self, from: KmId, message: KmMessage, room: Room) {
        // After the end nobody needs to know.
        let _ = self.commands.send(Command::Message { from, message, room });
    }

    /// Tells the engine what happened.
    pub fn input(&self, input: Input) {
        // After the end nobody needs to know.
        let _ = self.commands.send(Command::Input(input));
    }

    /// Where the keys of these parties come from; cheaper to keep than to ask for each time.
    #[must_use]
    pub fn shelf(&self, parties: Parties) -> Arc<Shelf> {
        self.leases.shelf(parties)
    }

    /// Keys for a master.
    ///
    /// # Errors
    /// [`NoKeys`]; none were spent.
    pub async fn supply(&self, shelf: &Arc<Shelf>, number: NonZeroU32, size: KeySize) -> Result<Vec<KsaKey>, NoKeys> {
        if self.durability == Durability::Lease {
            let (keys, low) = shelf.supply(number, size);
            if let Some(keys) = keys {
                if low {
                    let _ = self.commands.send(Command::Refill { shelf: Arc::clone(shelf) });
                }
                return Ok(keys);
            }
        }
        let (answer, answered) = oneshot::channel();
        let command = match self.durability {
            Durability::Strict => Command::Supply { parties: shelf.parties().clone(), number, size, answer },
            Durability::Lease => Command::Lease { shelf: Arc::clone(shelf), number, size, answer },
        };
        self.ask(command, answered).await?
    }

    /// Keys for a slave.
    ///
    /// # Errors
    /// [`NoKeys`]; none were spent.
    pub async fn collect(&self, slave: ApplicationId, master: ApplicationId, keys: Vec<KeyId>) -> Result<Vec<KsaKey>, NoKeys> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::Collect { slave, master, keys, answer }, answered).await?
    }

    /// How many keys of `size` could be supplied at once.
    ///
    /// # Errors
    /// [`NoKeys::Stopped`].
    pub async fn keys_ready(&self, shelf: &Shelf, size: KeySize) -> Result<usize, NoKeys> {
        let leased = shelf.keys_left(size);
        let (answer, answered) = oneshot::channel();
        Ok(leased + self.ask(Command::KeysReady { parties: shelf.parties().clone(), size, answer }, answered).await?)
    }

    /// What is held for each of these links, in their order.
    ///
    /// # Errors
    /// [`NoKeys::Stopped`].
    pub async fn link_levels(&self, links: Vec<LinkId>) -> Result<Vec<LinkLevel>, NoKeys> {
        let (answer, answered) = oneshot::channel();
        self.ask(Command::LinkLevels { links, answer }, answered).await
    }

    /// Ends the thread, after what is already in its queue.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }

    async fn ask<T>(&self, command: Command, answered: oneshot::Receiver<T>) -> Result<T, NoKeys> {
        self.commands.send(command).map_err(|_| NoKeys::Stopped)?;
        answered.await.map_err(|_| NoKeys::Stopped)
    }
}

impl NodeThread {
    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// [`EngineFailed`] when it ended because the store failed.
    pub fn join(self) -> Result<(), EngineFailed> {
        self.0.join().unwrap_or_else(|_| Err(EngineFailed("the engine's thread panicked".to_owned())))
    }
}
