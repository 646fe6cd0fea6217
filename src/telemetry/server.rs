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

/// The health of the process.
#[derive(Clone)]
pub struct Health {
    telemetry: Telemetry,
    caches: Sources<IsSynced>,
}

type IsSynced = Box<dyn Fn() -> bool + Send + Sync>;

impl Health {
    /// Creates the health of a process that stands by.
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            telemetry,
            caches: Sources::default(),
        }
    }

    /// Makes readiness depend on these caches as well, until the returned value is dropped.
    pub fn follow(&self, is_synced: impl Fn() -> bool + Send + Sync + 'static) -> Source<IsSynced> {
        self.caches.add(Box::new(is_synced))
    }

    /// Returns why the process isn't ready. None if it is. A process that stands by is ready to lead.
    fn not_ready(&self) -> Option<String> {
        let is_synced = self.caches.all().iter().all(|is_synced| is_synced());
        (!is_synced).then(|| "the caches aren't complete yet".into())
    }

    /// Returns why the process must be restarted. None if it needn't be. Before the caches are synced, nothing is
    /// reconciled, and a restart doesn't help.
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
/// Returns an error if it can't listen on the address.
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
