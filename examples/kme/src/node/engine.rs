//! The engine's thread.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use itu_y3803::{ApplicationId, KeyId, KeySize, KmId, KmMessage, KsaKey, LinkId, Parties};
use relay_core::{Input, KeyManager, Now, OrderId, Output, Refusal, Stopped};
use tokio::sync::oneshot;

use super::leases::{Leases, Shelf};
use super::queue::Receiver;
use super::{Effects, EngineFailed, LinkLevel, NoKeys};
use crate::kx::Room;
use crate::random::Random;
use crate::store::{AnyStore, StoreError};
use crate::wall_now;

/// The most commands that share a commit.
const MAX_BATCH: usize = 1024;
/// How often expiry is looked after when nothing else happens.
const IDLE: Duration = Duration::from_secs(1);

pub(super) type Keys = Result<Vec<KsaKey>, NoKeys>;

pub(super) enum Command {
    Input(Input),
    Message { from: KmId, message: KmMessage, room: Room },
    Supply { parties: Parties, number: NonZeroU32, size: KeySize, answer: oneshot::Sender<Keys> },
    Lease { shelf: Arc<Shelf>, number: NonZeroU32, size: KeySize, answer: oneshot::Sender<Keys> },
    Refill { shelf: Arc<Shelf> },
    Collect { slave: ApplicationId, master: ApplicationId, keys: Vec<KeyId>, answer: oneshot::Sender<Keys> },
    KeysReady { parties: Parties, size: KeySize, answer: oneshot::Sender<usize> },
    LinkLevels { links: Vec<LinkId>, answer: oneshot::Sender<Vec<LinkLevel>> },
    Stop,
}

/// Who waits for the outcome of an order.
enum Waiting {
    Keys(oneshot::Sender<Keys>),
    FromLease { shelf: Arc<Shelf>, number: NonZeroU32, size: KeySize, answer: oneshot::Sender<Keys> },
    Refill(Arc<Shelf>),
}

pub(super) struct Engine<E> {
    manager: KeyManager<AnyStore, Random>,
    queue: Receiver<Command>,
    leases: Arc<Leases>,
    effects: E,
    waiting: HashMap<OrderId, Waiting>,
    next_order: u64,
    last_timeout: Instant,
}

impl<E: Effects> Engine<E> {
    pub(super) fn new(manager: KeyManager<AnyStore, Random>, queue: Receiver<Command>, leases: Arc<Leases>, effects: E) -> Self {
        let last_timeout = Instant::now();
        Self { manager, queue, leases, effects, waiting: HashMap::new(), next_order: 0, last_timeout }
    }

    pub(super) fn run(mut self) -> Result<(), EngineFailed> {
        let ended = self.run_to_end();
        // After a failure of the store nothing more is promised, also not from leases.
        self.leases.close();
        ended
    }

    fn run_to_end(&mut self) -> Result<(), EngineFailed> {
        let mut commands = Vec::new();
        loop {
            let due = self.manager.poll_timeout().unwrap_or(self.last_timeout + IDLE).min(self.last_timeout + IDLE);
            self.queue.take(due, &mut commands);
            let mut rest = commands.drain(..).peekable();
            // At least once, for what time alone makes due.
            loop {
                let goes_on = self.batch(&mut rest, due).map_err(|stopped| EngineFailed(stopped.to_string()))?;
                if !goes_on {
                    return self.give_back().map_err(|stopped| EngineFailed(stopped.to_string()));
                }
                if rest.peek().is_none() {
                    break;
                }
            }
        }
    }

    /// Handles what is waiting, commits once, and lets the outputs out.
    fn batch(&mut self, commands: &mut impl Iterator<Item = Command>, due: Instant) -> Result<bool, Stopped<StoreError>> {
        let now = Now { instant: Instant::now(), wall: wall_now() };
        let mut inputs = 0;
        let mut goes_on = true;
        if due <= now.instant {
            self.last_timeout = now.instant;
            self.manager.handle_input(now, Input::Timeout)?;
            self.leases.sweep();
        }
        for command in commands.take(MAX_BATCH) {
            goes_on = self.command(now, command)?;
            inputs += 1;
            if !goes_on {
                break;
            }
        }
        while let Some(output) = self.manager.poll_output()? {
            self.output(output);
        }
        self.effects.batch(inputs);
        Ok(goes_on)
    }

    /// A stop in good order burns no lease.
    fn give_back(&mut self) -> Result<(), Stopped<StoreError>> {
        let now = Now { instant: Instant::now(), wall: wall_now() };
        for lease in self.leases.take_all() {
            self.manager.handle_input(now, Input::GiveBack { lease })?;
        }
        while let Some(output) = self.manager.poll_output()? {
            self.output(output);
        }
        Ok(())
    }

    fn command(&mut self, now: Now, command: Command) -> Result<bool, Stopped<StoreError>> {
        let input = match command {
            Command::Input(input) => input,
            Command::Message { from, message, room: _room } => Input::Message { from, message },
            Command::Supply { answer, .. } if answer.is_closed() => return Ok(true),
            Command::Supply { parties, number, size, answer } => {
                let order = self.order(Waiting::Keys(answer));
                Input::Supply { order, parties, number, size }
            }
            Command::Lease { shelf, number, size, answer } => {
                if answer.is_closed() {
                    return Ok(true);
                }
                // While this waited in the queue, a lease for others of the same parties may have come.
                if let (Some(keys), low) = shelf.supply(number, size) {
                    let _ = answer.send(Ok(keys));
                    return if low { self.command(now, Command::Refill { shelf }) } else { Ok(true) };
                }
                let parties = shelf.parties().clone();
                let order = self.order(Waiting::FromLease { shelf, number, size, answer });
                Input::Lease { order, parties, number, size }
            }
            Command::Refill { shelf } => {
                let parties = shelf.parties().clone();
                let order = self.order(Waiting::Refill(shelf));
                Input::Lease { order, parties, number: NonZeroU32::MIN, size: KeySize::BITS_256 }
            }
            Command::Collect { slave, master, keys, answer } => {
                let order = self.order(Waiting::Keys(answer));
                Input::Collect { order, slave, master, keys }
            }
            Command::KeysReady { parties, size, answer } => {
                let _ = answer.send(self.manager.keys_ready(&parties, size));
                return Ok(true);
            }
            Command::LinkLevels { links, answer } => {
                let level = |link: &LinkId| {
                    let (keys, octets) = self.manager.link_level(link);
                    LinkLevel { keys, octets }
                };
                let _ = answer.send(links.iter().map(level).collect());
                return Ok(true);
            }
            Command::Stop => return Ok(false),
        };
        self.manager.handle_input(now, input)?;
        Ok(true)
    }

    fn order(&mut self, waiting: Waiting) -> OrderId {
        self.next_order += 1;
        let order = OrderId(self.next_order);
        self.waiting.insert(order, waiting);
        order
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Send { to, message } => self.effects.send(&to, message),
            Output::Draw { link, number, size } => self.effects.draw(link, number, size),
            Output::Fetch { link, key, qkd_keys } => self.effects.fetch(link, key, qkd_keys),
            Output::Supplied { order, keys } => {
                if let Some(Waiting::Keys(answer)) = self.waiting.remove(&order) {
                    // Whoever has gone meanwhile does not get them, and nobody else does.
                    let _ = answer.send(Ok(keys));
                }
            }
            Output::Leased { order, mut lease } => match self.waiting.remove(&order) {
                // Whoever has gone meanwhile leaves it to the others of the same parties.
                Some(Waiting::FromLease { shelf, answer, .. }) if answer.is_closed() => shelf.add(lease),
                Some(Waiting::FromLease { shelf, number, size, answer }) => {
                    let keys = lease.supply(wall_now(), number, size).ok_or(NoKeys::Refused(Refusal::NotEnoughKeys));
                    shelf.add(lease);
                    let _ = answer.send(keys);
                }
                Some(Waiting::Refill(shelf)) => shelf.add(lease),
                Some(Waiting::Keys(_)) | None => {}
            },
            Output::Refused { order, reason } => match self.waiting.remove(&order) {
                Some(Waiting::Keys(answer) | Waiting::FromLease { answer, .. }) => {
                    let _ = answer.send(Err(NoKeys::Refused(reason)));
                }
                Some(Waiting::Refill(shelf)) => shelf.not_refilled(),
                None => {}
            },
            Output::Revoked { parties } => self.leases.revoke(&parties),
            Output::Event(event) => self.effects.event(&event),
            // A later release of the engine may want more; nothing is lost by not doing it.
            _ => {}
        }
    }
}
