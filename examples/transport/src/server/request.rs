//! From a request head to a response: the path every request takes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::activity::Activity;
use super::{Event, Handler, Limits, Observer, Peer, TimeLimit};

/// What all requests of one connection share.
pub(super) struct Session<H> {
    pub(super) handler: Arc<H>,
    pub(super) peer: Peer,
    pub(super) limits: Arc<Limits>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) activity: Arc<Activity>,
}

/// A request under way, for its connection's [`Activity`].
pub(super) struct Turn<H>(Arc<Session<H>>);

impl<H> Turn<H> {
    pub(super) fn begin(session: Arc<Session<H>>) -> Self {
        session.activity.begin();
        Self(session)
    }
}

impl<H> Drop for Turn<H> {
    fn drop(&mut self) {
        self.0.activity.end();
    }
}

pub(super) fn respond<H: Handler>(
    turn: Turn<H>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> {
    let (parts, body) = request.into_parts();
    async move {
        let session = &*turn.0;
        let http2 = parts.version == Version::HTTP_2;
        let body = if body.is_end_stream() {
            Bytes::new()
        } else {
            // Boxed, to keep this future small: it is moved for every request, with a body or without.
            match Box::pin(session.collect(&parts, body)).await {
                Ok(body) => body,
                Err(response) => return Ok(response.map(Full::new)),
            }
        };
        let mut response = session.handler.call(&session.peer, Request::from_parts(parts, body)).await;
        // HTTP/2 has no such field, but other means to say it.
        if http2 && response.headers_mut().remove(CONNECTION).is_some_and(|value| value == "close") {
            session.activity.make_last();
        }
        Ok(response.map(Full::new))
    }
}

impl<H: Handler> Session<H> {
    /// The whole body, or the response that says why not.
    async fn collect(&self, parts: &Parts, body: Incoming) -> Result<Bytes, Response<Bytes>> {
        let most = self.limits.body_octets.saturating_add(DISCARD_OCTETS);
        let discard = if parts.headers.contains_key(EXPECT) { 0 } else { most };
        let mut too_large = false;
        let collected = {
            let mut collecting = pin!(collect(body, self.limits.body_octets, discard, &mut too_large));
            // Mostly the body has come with the head, and a timer would cost more than reading it.
            match poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await {
                Poll::Ready(collected) => Ok(collected),
                Poll::Pending => Box::pin(timeout(self.limits.body, collecting)).await,
            }
        };
        let (mut response, reusable) = match collected {
            Ok(Ok(body)) => return Ok(body),
            Ok(Err(Uncollected::TooLarge { discarded })) => {
                self.observer.observe(&Event::BodyTooLarge { peer: &self.peer });
                (self.handler.too_large(&self.peer), discarded)
            }
            // Slow, too; but it would be refused at any speed.
            Err(_) if too_large => {
                self.observer.observe(&Event::BodyTooLarge { peer: &self.peer });
                (self.handler.too_large(&self.peer), false)
            }
            Ok(Err(Uncollected::Broken)) => (status_only(StatusCode::BAD_REQUEST), false),
            Err(_) => {
                self.observer.observe(&Event::TimedOut { peer: &self.peer, limit: TimeLimit::Body });
                (self.handler.too_slow(&self.peer), false)
            }
        };
        if !reusable && parts.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Err(response)
    }
}

pub(super) fn status_only(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// How much more than is allowed of a body that is too large is still read, so that its sender gets to see the response: closing a connection
/// with unread octets resets it, and the response may be lost.
const DISCARD_OCTETS: usize = 1024 * 1024;

enum Uncollected {
    /// More than allowed; `discarded` when the rest was read and thrown away.
    TooLarge { discarded: bool },
    /// The peer went away, or does not keep to the protocol.
    Broken,
}

/// The whole body, if it has at most `max` octets; `too_large` as soon as it is known to have more. Memory grows with what has
/// arrived, never with what was announced.
async fn collect(mut body: Incoming, max: usize, mut discard: usize, too_large: &mut bool) -> Result<Bytes, Uncollected> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    *too_large = announced > max;
    if *too_large && announced > discard {
        return Err(Uncollected::TooLarge { discarded: false });
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Uncollected::Broken)?.into_data() else { continue };
        let held = first.len() + joined.len();
        if *too_large || data.len() > max - held {
            (*too_large, first, joined) = (true, Bytes::new(), BytesMut::new());
            match discard.checked_sub(data.len()) {
                Some(left) => discard = left,
                None => return Err(Uncollected::TooLarge { discarded: false }),
            }
        } else if held == 0 {
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
    }
    match *too_large {
        true => Err(Uncollected::TooLarge { discarded: true }),
        false if joined.is_empty() => Ok(first),
        false => Ok(joined.freeze()),
    }
}
