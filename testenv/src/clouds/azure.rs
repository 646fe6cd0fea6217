//! A fake of the part of Azure that operates AKS clusters: Entra ID's tokens, and the Resource Manager's managed
//! clusters with their agent pools. It answers as the recordings of azure-cli's own tests of real AKS show
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
/// The version of the API that shows the progress of an operation.
pub const PREVIEW: &str = "2026-08-02-preview";

/// A fake of Azure. It stops when it is dropped.
pub struct FakeAzure {
    server: Server,
    state: Arc<Mutex<State>>,
    order: Order,
    exchanges: Exchanges,
}

/// The state of the fake.
struct State {
    /// The base URL of the fake.
    url: String,
    resources: resources::Resources,
    operations: operations::Operations,
    tokens: entra::Tokens,
    has_preview: bool,
}

impl FakeAzure {
    /// Starts a fake without clusters.
    ///
    /// # Errors
    /// If no server can be started.
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

    /// Returns the URL of the Resource Manager and Entra ID.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// Returns the certificate of the fake's authority, PEM.
    pub fn authority(&self) -> &str {
        &self.server.authority
    }

    /// Creates a cluster with this name in a resource group, with a control plane of a version and these pools.
    pub fn create(&self, group: &str, name: &str, version: &str, pools: &[Pool<'_>]) {
        lock(&self.state)
            .resources
            .create(group, name, version, pools);
    }

    /// Returns a cluster as the Resource Manager shows it; null if it doesn't exist.
    pub fn cluster(&self, group: &str, name: &str) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        let id = resources::Id::cluster(group, name);
        state.resources.shown(&id).unwrap_or_default()
    }

    /// Returns a pool as the Resource Manager shows it; null if it doesn't exist.
    pub fn pool(&self, group: &str, cluster: &str, name: &str) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        let id = resources::Id::cluster(group, cluster).pool(name);
        state.resources.shown(&id).unwrap_or_default()
    }

    /// Changes properties of a cluster or of a pool as another user would, with az or in the console.
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

    /// Sets how long each operation takes from now on, and how long an operation takes to stop.
    pub fn takes(&self, operation: Duration, stop: Duration) {
        lock(&self.state).operations.takes(operation, stop);
    }

    /// Pauses the operations on pools or clusters with this name, or lets them continue.
    pub fn hold(&self, name: &str, is_held: bool) {
        lock(&self.state).operations.hold(name, is_held);
    }

    /// Makes the next operation on a pool or a cluster with this name fail with this code and message.
    pub fn fail_next(&self, name: &str, code: &str, message: &str) {
        lock(&self.state).operations.fail_next(name, code, message);
    }

    /// Sets whether the preview of the API is registered for the subscription.
    pub fn set_preview(&self, has_preview: bool) {
        lock(&self.state).has_preview = has_preview;
    }

    /// Forgets the ids of all operations. What they changed stays.
    pub fn forget_operations(&self) {
        lock(&self.state).operations.forget();
    }

    /// Rejects all tokens that were issued so far.
    pub fn expire_tokens(&self) {
        lock(&self.state).tokens.expire();
    }

    /// Starts or ends an outage of the Resource Manager.
    pub fn fails(&self, outage: Option<Outage>) {
        self.order.set(outage);
    }

    /// Loses the answer to a later change, counted from 0 from now on. The change is made, but the client gets no
    /// answer.
    pub fn lose_answer(&self, change: usize) {
        self.exchanges.lose_answer(change);
    }

    /// Whether this answer was lost.
    pub fn has_lost_answer(&self) -> bool {
        self.exchanges.has_lost_answer()
    }

    /// Returns the requests so far, with their answers.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.all()
    }
}

impl State {
    /// Ends all work whose time is over.
    fn settle(&mut self) {
        self.operations.settle(&mut self.resources);
    }
}
