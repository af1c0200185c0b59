//! The ports themselves: bound early so that a taken port fails the start, served until the node stops.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::front::{self, Gate};
use super::page::page;
use crate::error::chain;

/// The text format of Prometheus.
const METRICS_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often an idle connection is asked whether its other end still lives.
const KEEPALIVE_EVERY: std::time::Duration = std::time::Duration::from_secs(15);

/// How long it may take to say so. A client that is busy for a while is not dead.
const KEEPALIVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

/// Bytes of one stream, and of a whole connection, that may be on their way or wait to be read. Half of the latter is also
/// what the HTTP/2 library allows for the overhead of small parts that wait, at up to 256 bytes for each; beyond that it ends
/// the connection. So a stream full of the smallest messages must fit.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The bound ports of a node.
#[derive(Debug)]
pub struct Ports {
    /// For clients.
    pub api: TcpListener,
    /// For peers.
    pub peer: TcpListener,
}

impl Ports {
    /// Binds both ports.
    pub async fn bind(api: SocketAddr, peer: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            api: listen(api, "clients").await?,
            peer: listen(peer, "peers").await?,
        })
    }
}

async fn listen(address: SocketAddr, whom: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen for {whom} on {address}"))
}

/// Serves `routes` on `listener` until `stopping`, then finishes what was begun.
pub async fn serve(listener: TcpListener, routes: Routes, stopping: CancellationToken) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            stopping.cancelled().await;
        })
        .await
        .with_context(|| format!("serving {address} failed"))
}

/// The clients' routes: `services`, gRPC health and reflection, and the web pages.
pub fn public_routes(services: Routes, gate: Gate) -> anyhow::Result<Routes> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(covey_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Clients from before 2023 know the second one only.
    let services = services
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(behind_front(services, gate))
}

/// Routes of which every request gets a caller, a deadline, a span, and is counted.
pub fn behind_front(services: Routes, gate: Gate) -> Routes {
    let pages = axum::Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics_page))
        .with_state(gate.clone());
    let router = services
        .into_axum_router()
        .layer(from_fn_with_state(gate, front::admit));
    Routes::from(router.merge(pages))
}

async fn metrics_page(State(gate): State<Gate>) -> Response {
    gate.membership.observe();
    match gate.context.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, METRICS_FORMAT)], text).into_response(),
        Err(failure) => (StatusCode::INTERNAL_SERVER_ERROR, chain(&failure)).into_response(),
    }
}
