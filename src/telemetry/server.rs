//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::{
    Telemetry,
    sources::{Source, Sources},
};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the process is well.
#[derive(Clone)]
pub struct Health {
    telemetry: Telemetry,
    caches: Sources<IsSynced>,
}

type IsSynced = Box<dyn Fn() -> bool + Send + Sync>;

impl Health {
    /// That of a process that stands by.
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            telemetry,
            caches: Sources::default(),
        }
    }

    /// It is ready only where these caches are synced too, until what is returned is dropped.
    pub fn follow(&self, is_synced: impl Fn() -> bool + Send + Sync + 'static) -> Source<IsSynced> {
        self.caches.add(Box::new(is_synced))
    }

    /// Why it isn't ready, where it isn't. One that stands by is ready to lead.
    fn not_ready(&self) -> Option<String> {
        let is_synced = self.caches.all().iter().all(|is_synced| is_synced());
        (!is_synced).then(|| "the first look at the cluster isn't complete".into())
    }

    /// Why it must be started anew, where it must. Before the caches are synced nothing is reconciled, and
    /// a start helps nobody.
    fn not_live(&self) -> Option<String> {
        match self.not_ready() {
            Some(_) => None,
            None => self.telemetry.queue.stuck(),
        }
    }
}

/// Serves until the process ends.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn serve(address: SocketAddr, health: Health) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving /metrics, /healthz and /readyz");
    axum::serve(listener, router(health)).await
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route(
            "/healthz",
            get(async |State(health): State<Health>| answer(health.not_live())),
        )
        .route(
            "/readyz",
            get(async |State(health): State<Health>| answer(health.not_ready())),
        )
        .with_state(health)
}

async fn metrics(State(health): State<Health>) -> Response {
    match health.telemetry.encoded() {
        Ok(text) => ([(header::CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn answer(why_not: Option<String>) -> Response {
    match why_not {
        None => "ok".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}
