//! `/metrics`, `/healthz` and `/readyz`.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::Telemetry;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the process is well.
#[derive(Clone)]
pub struct Health {
    telemetry: Telemetry,
    caches: Caches,
}

type IsSynced = Box<dyn Fn() -> bool + Send + Sync>;
type Caches = Arc<OnceLock<IsSynced>>;

impl Health {
    /// That of a process that stands by.
    pub fn new(telemetry: Telemetry) -> Self {
        Self {
            telemetry,
            caches: Caches::default(),
        }
    }

    /// From now on it is ready where the caches are synced.
    pub fn follow(&self, is_synced: impl Fn() -> bool + Send + Sync + 'static) {
        // A process leads once.
        let _ = self.caches.set(Box::new(is_synced));
    }

    /// Why it isn't ready, where it isn't. One that stands by is ready to lead.
    fn not_ready(&self) -> Option<String> {
        let is_synced = self.caches.get().is_none_or(|is_synced| is_synced());
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
