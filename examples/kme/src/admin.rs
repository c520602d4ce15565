//! The port for operators, on loopback: `/metrics`, `/healthz`, `/openapi.json`.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use itu_y3803::LinkId;
use transport::server::{Handler, Peer};

use crate::kx::{Kx, PeerCounters};
use crate::metrics::{Current, Metrics};
use crate::node::Node;
use crate::store::StoreCounters;

/// Answers operators.
#[derive(Debug)]
pub struct Admin {
    node: Node,
    metrics: Metrics,
    links: Vec<LinkId>,
    kx: Option<Kx>,
    store: Option<Arc<StoreCounters>>,
    openapi: Bytes,
}

impl Admin {
    /// Over these sources.
    #[must_use]
    pub fn new(
        node: Node,
        metrics: Metrics,
        links: Vec<LinkId>,
        kx: Option<Kx>,
        store: Option<Arc<StoreCounters>>,
        limits: &etsi014::Limits,
    ) -> Self {
        Self { node, metrics, links, kx, store, openapi: etsi014::openapi::openapi_json(limits).into() }
    }

    async fn current(&self) -> Option<Current> {
        let levels = self.node.link_levels(self.links.clone()).await.ok()?;
        let links = self.links.iter().map(LinkId::to_string).zip(levels).collect();
        let commits = self.store.as_ref().map(|store| (store.commits(), store.total_commit())).unwrap_or_default();
        let kx = self.kx.iter().flat_map(Kx::peers).map(|(peer, counters)| (peer.to_string(), figures(counters))).collect();
        Some(Current { links, kx, commits })
    }
}

impl Handler for Admin {
    async fn call(&self, _peer: &Peer, request: Request<Bytes>) -> Response<Bytes> {
        if request.method() != Method::GET {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Bytes::from_static(b"only GET\n"));
        }
        match request.uri().path() {
            "/metrics" => match self.current().await {
                Some(current) => answer(
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    self.metrics.text(&current).into(),
                ),
                None => stopped(),
            },
            // The engine's thread answers, or it is not well.
            "/healthz" => match self.node.link_levels(Vec::new()).await {
                Ok(_) => answer(StatusCode::OK, "text/plain", Bytes::from_static(b"ok\n")),
                Err(_) => stopped(),
            },
            "/openapi.json" => answer(StatusCode::OK, "application/json", self.openapi.clone()),
            _ => answer(StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"/metrics, /healthz or /openapi.json\n")),
        }
    }
}

fn figures(counters: &PeerCounters) -> Vec<(&'static str, u64)> {
    vec![
        ("up", u64::from(counters.is_up())),
        ("sessions", counters.sessions()),
        ("messages_in", counters.messages_in()),
        ("messages_out", counters.messages_out()),
        ("octets_in", counters.octets_in()),
        ("octets_out", counters.octets_out()),
        ("dropped", counters.dropped()),
        ("unreadable", counters.unreadable()),
    ]
}

fn stopped() -> Response<Bytes> {
    answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain", Bytes::from_static(b"the engine has stopped\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
