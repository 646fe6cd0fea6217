//! A fake of Azure, as much of it as operates AKS clusters: Entra ID's tokens, and the Resource Manager's managed
//! clusters with their agent pools. It answers as the recordings of azure-cli's own tests of real AKS have it
//! (`test_aks_abort.yaml`, `test_aks_nodepool_abort.yaml`), and refuses what AKS is documented to refuse.

mod answers;
mod call;
mod entra;
mod operations;
mod resources;
mod routes;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, middleware};
use serde_json::Value;

use super::{
    LONGEST,
    exchanges::{self, Exchange, Exchanges},
    lock, now,
    outage::{self, Order, Outage},
    server::Server,
    work,
};
use crate::Error;

pub use entra::{CLIENT, SECRET, TENANT};
pub use resources::Pool;

/// The subscription of all clusters.
pub const SUBSCRIPTION: &str = "00000000-1111-2222-3333-444444444444";
/// The newest stable version of the API.
pub const STABLE: &str = "2026-08-01";
/// An older stable version of the API, which az uses.
const OLDER: &str = "2026-06-01";
/// The version of the API that shows how far an operation is.
pub const PREVIEW: &str = "2026-08-02-preview";

/// A fake of Azure, which ends with its owner.
pub struct FakeAzure {
    server: Server,
    state: Arc<Mutex<State>>,
    order: Order,
    exchanges: Exchanges,
}

/// What there is.
struct State {
    /// Where all of it is reached.
    url: String,
    resources: resources::Resources,
    operations: operations::Operations,
    tokens: entra::Tokens,
    has_preview: bool,
}

impl FakeAzure {
    /// Starts one without clusters.
    ///
    /// # Errors
    /// Where no server can be started.
    pub async fn start() -> Result<Self, Error> {
        let (order, exchanges) = (Order::default(), Exchanges::default());
        let state = Arc::new(Mutex::new(State {
            url: String::new(),
            resources: resources::Resources::default(),
            operations: operations::Operations::default(),
            tokens: entra::Tokens::default(),
            has_preview: true,
        }));
        let server = Server::start(|url| {
            url.clone_into(&mut lock(&state).url);
            let arm = Router::new()
                .fallback(routes::answer)
                .layer(middleware::from_fn_with_state(
                    order.clone(),
                    outage::answer,
                ));
            entra::routes()
                .fallback_service(arm.with_state(state.clone()))
                .with_state(state.clone())
                .layer(middleware::from_fn_with_state(
                    exchanges.clone(),
                    exchanges::keep,
                ))
        });
        Ok(Self {
            server: server.await?,
            state,
            order,
            exchanges,
        })
    }

    /// Where the Resource Manager and Entra ID are reached.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// The certificate of its authority, PEM.
    pub fn authority(&self) -> &str {
        &self.server.authority
    }

    /// Makes a cluster of that name in a resource group, with a control plane of a version and these pools.
    pub fn create(&self, group: &str, name: &str, version: &str, pools: &[Pool<'_>]) {
        lock(&self.state)
            .resources
            .create(group, name, version, pools);
    }

    /// A cluster as the Resource Manager shows it; null where there is none.
    pub fn cluster(&self, group: &str, name: &str) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        let id = resources::Id::cluster(group, name);
        state.resources.shown(&id).unwrap_or_default()
    }

    /// A pool as the Resource Manager shows it; null where there is none.
    pub fn pool(&self, group: &str, cluster: &str, name: &str) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        let id = resources::Id::cluster(group, cluster).pool(name);
        state.resources.shown(&id).unwrap_or_default()
    }

    /// Somebody else changes these properties of a cluster, or of one of its pools: by az, or in the console.
    pub fn somebody_changes(
        &self,
        group: &str,
        cluster: &str,
        pool: Option<&str>,
        changes: &Value,
    ) {
        let mut state = lock(&self.state);
        state.settle();
        let id = resources::Id::cluster(group, cluster);
        let id = pool.map_or_else(|| id.clone(), |pool| id.pool(pool));
        let mut body = state.resources.shown(&id).unwrap_or_default();
        for (property, value) in changes.as_object().into_iter().flatten() {
            body["properties"][property] = value.clone();
        }
        state.put(&call::Call::put(&id, body), &id);
    }

    /// How long each operation takes from now on, and how long one takes to stop.
    pub fn takes(&self, operation: Duration, stop: Duration) {
        lock(&self.state).operations.takes(operation, stop);
    }

    /// Operations on pools of that name, or on clusters of that name, halt where they are, or go on.
    pub fn hold(&self, name: &str, is_held: bool) {
        lock(&self.state).operations.hold(name, is_held);
    }

    /// The next operation on a pool or a cluster of that name fails with this code and this message.
    pub fn fail_next(&self, name: &str, code: &str, message: &str) {
        lock(&self.state).operations.fail_next(name, code, message);
    }

    /// Whether the preview of the API is registered for the subscription.
    pub fn set_preview(&self, has_preview: bool) {
        lock(&self.state).has_preview = has_preview;
    }

    /// No operation is known any more by its id; what they changed stays.
    pub fn forget_operations(&self) {
        lock(&self.state).operations.forget();
    }

    /// The tokens that were given are no longer taken.
    pub fn expire_tokens(&self) {
        lock(&self.state).tokens.expire();
    }

    /// Begins an outage of the Resource Manager, or ends it.
    pub fn fails(&self, outage: Option<Outage>) {
        self.order.set(outage);
    }

    /// The answer to that change from now on, counted from 0, is lost: what it asks for is done, and nobody hears of it.
    pub fn lose_answer(&self, change: usize) {
        self.exchanges.lose_answer(change);
    }

    /// Whether that answer was lost.
    pub fn has_lost_answer(&self) -> bool {
        self.exchanges.has_lost_answer()
    }

    /// What it was asked for so far, and what it answered.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.all()
    }
}

impl State {
    /// Brings what has ended by now to its end.
    fn settle(&mut self) {
        self.operations.settle(&mut self.resources);
    }
}
