//! What a fault is: what it is called, and where it is planted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use kme::serve::Door;

use crate::exchange::{Asked, Said};
use crate::front::Kme;
use crate::site::Settings;

/// A deviation. What is not set is as in the reference.
pub(crate) struct Fault {
    pub(crate) id: &'static str,
    /// The deviation in a line.
    pub(crate) what: &'static str,
    pub(crate) settings: Option<fn(&mut Settings)>,
    pub(crate) door: Option<fn(&mut Door, &Kme)>,
    pub(crate) front: Option<Front>,
    pub(crate) request: Option<fn(&Kme, &mut Asked)>,
    pub(crate) around: Option<fn(Kme, Asked) -> Answer>,
    pub(crate) response: Option<fn(&Kme, &Asked, &mut Said)>,
}

/// An answer that is being made.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Said> + Send>>;

/// Serves in another way than the HTTPS server of the reference.
pub(crate) type Front = fn(Door, Arc<Kme>) -> Pin<Box<dyn Future<Output = usize> + Send>>;

impl Fault {
    pub(crate) const fn new(id: &'static str, what: &'static str) -> Self {
        Self { id, what, settings: None, door: None, front: None, request: None, around: None, response: None }
    }

    /// `mutant`, `variant` or `hostile`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.id.as_bytes().first() {
            Some(b'B') => "variant",
            Some(b'H') => "hostile",
            _ => "mutant",
        }
    }

    /// Other settings of the KMEs, or other claims about them.
    pub(crate) const fn settings(mut self, change: fn(&mut Settings)) -> Self {
        self.settings = Some(change);
        self
    }

    /// Another TLS configuration or other limits of connections.
    pub(crate) const fn door(mut self, change: fn(&mut Door, &Kme)) -> Self {
        self.door = Some(change);
        self
    }

    /// Another server altogether.
    pub(crate) const fn front(mut self, front: Front) -> Self {
        self.front = Some(front);
        self
    }

    /// Changes what the reference sees of a request.
    pub(crate) const fn request(mut self, change: fn(&Kme, &mut Asked)) -> Self {
        self.request = Some(change);
        self
    }

    /// Answers in place of the reference, which it may ask as often and as whom it likes.
    pub(crate) const fn around(mut self, answer: fn(Kme, Asked) -> Answer) -> Self {
        self.around = Some(answer);
        self
    }

    /// Changes what the reference answers.
    pub(crate) const fn response(mut self, change: fn(&Kme, &Asked, &mut Said)) -> Self {
        self.response = Some(change);
        self
    }
}
