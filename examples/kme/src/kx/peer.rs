//! A neighbour: its queue and its counters.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use itu_y3803::message::Body;
use itu_y3803::{KmId, KmMessage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The most messages that wait for one neighbour.
const QUEUE_MESSAGES: usize = 4096;
/// The most octets of sealed key that wait for one neighbour.
const QUEUE_OCTETS: usize = 16 << 20;
/// The most octets of a neighbour's messages that wait here. Then its session is not read, and HTTP/2 holds it back.
const INBOX_OCTETS: u32 = 16 << 20;
/// What a message takes beside its octets on the wire.
const MESSAGE_OCTETS: usize = 512;

/// What is counted for a neighbour.
#[derive(Debug, Default)]
pub struct PeerCounters {
    up: AtomicBool,
    sessions: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    octets_in: AtomicU64,
    octets_out: AtomicU64,
    dropped: AtomicU64,
    unreadable: AtomicU64,
    group: Mutex<Option<&'static str>>,
}

impl PeerCounters {
    /// Whether the neighbour can be spoken to now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Sessions that this KME opened.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Messages received.
    #[must_use]
    pub fn messages_in(&self) -> u64 {
        self.messages_in.load(Ordering::Relaxed)
    }

    /// Messages given to the connection.
    #[must_use]
    pub fn messages_out(&self) -> u64 {
        self.messages_out.load(Ordering::Relaxed)
    }

    /// Octets of the frames received.
    #[must_use]
    pub fn octets_in(&self) -> u64 {
        self.octets_in.load(Ordering::Relaxed)
    }

    /// Octets of the frames given to the connection.
    #[must_use]
    pub fn octets_out(&self) -> u64 {
        self.octets_out.load(Ordering::Relaxed)
    }

    /// Messages dropped, as the neighbour was not up, or too much was queued.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Frames that could not be read; each ended a session.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// The key exchange group of the last connection that this KME dialled.
    #[must_use]
    pub fn group(&self) -> Option<&'static str> {
        *self.group.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A neighbour, as all tasks see it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: KmId,
    queue: mpsc::Sender<KmMessage>,
    queued_octets: AtomicUsize,
    inbox: Arc<Semaphore>,
    counters: PeerCounters,
}

/// The room that a neighbour's messages take until they are dealt with; given back when the last message of their frame drops
/// it.
#[derive(Clone, Debug)]
pub struct Room {
    _octets: Arc<OwnedSemaphorePermit>,
}

impl Peer {
    pub(super) fn new(id: KmId) -> (Self, Queue) {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let inbox = Arc::new(Semaphore::new(INBOX_OCTETS as usize));
        let peer = Self { id, queue, queued_octets: AtomicUsize::new(0), inbox, counters: PeerCounters::default() };
        (peer, Queue(messages))
    }

    pub(super) fn counters(&self) -> &PeerCounters {
        &self.counters
    }

    pub(super) fn send(&self, message: KmMessage) -> bool {
        let weight = weight(&message);
        let before = self.queued_octets.fetch_add(weight, Ordering::Relaxed);
        let sent = self.counters.is_up() && before + weight <= QUEUE_OCTETS && self.queue.try_send(message).is_ok();
        if !sent {
            self.queued_octets.fetch_sub(weight, Ordering::Relaxed);
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Waits for room for the messages of a frame. `None` never comes: nobody closes the inbox.
    pub(super) async fn room(&self, messages: usize, octets: usize) -> Option<Room> {
        let octets = u32::try_from(octets + messages * MESSAGE_OCTETS).unwrap_or(u32::MAX).min(INBOX_OCTETS);
        let permit = self.inbox.clone().acquire_many_owned(octets).await.ok()?;
        Some(Room { _octets: Arc::new(permit) })
    }

    pub(super) fn up(&self, group: &'static str) {
        *self.counters.group.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(group);
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        self.counters.up.store(true, Ordering::Release);
    }

    pub(super) fn down(&self) {
        self.counters.up.store(false, Ordering::Release);
    }

    pub(super) fn sent(&self, messages: usize, octets: usize) {
        self.counters.messages_out.fetch_add(messages as u64, Ordering::Relaxed);
        self.counters.octets_out.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(super) fn received(&self, messages: usize, octets: usize) {
        self.counters.messages_in.fetch_add(messages as u64, Ordering::Relaxed);
        self.counters.octets_in.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(super) fn unreadable(&self) {
        self.counters.unreadable.fetch_add(1, Ordering::Relaxed);
    }
}

/// The receiving end of the queue for a neighbour.
pub(super) struct Queue(mpsc::Receiver<KmMessage>);

impl Queue {
    /// Waits for messages and moves up to `limit` of them; none is lost when the wait is given up.
    pub(super) async fn take(&mut self, peer: &Peer, messages: &mut Vec<KmMessage>, limit: usize) {
        self.0.recv_many(messages, limit).await;
        let weight = messages.iter().map(weight).sum();
        peer.queued_octets.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Drops what is queued.
    pub(super) fn clear(&mut self, peer: &Peer) {
        while let Ok(message) = self.0.try_recv() {
            peer.queued_octets.fetch_sub(weight(&message), Ordering::Relaxed);
            peer.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn weight(message: &KmMessage) -> usize {
    match &message.body {
        Body::SupplyNotification(notification) => notification.sealed.len(),
        _ => 0,
    }
}
