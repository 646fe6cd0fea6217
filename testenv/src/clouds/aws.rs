//! A fake of the part of AWS that operates EKS clusters: EKS itself with its clusters, nodegroups and updates, and STS
//! and EKS Pod Identity, which issue credentials. It answers as the published API and AWS's user guide describe. Where
//! the texts of real EKS refusals are known, it uses them.

mod answers;
mod call;
mod config;
mod credentials;
mod pages;
mod pod_identity;
mod resources;
mod routes;
mod signature;
mod sts;
mod update;
mod updates;
mod versions;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router, middleware,
    routing::{get, post},
};
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

pub use resources::Nodegroup;

/// The region of all clusters.
pub const REGION: &str = "eu-west-1";
/// The account of all clusters.
pub const ACCOUNT: &str = "123456789012";
/// The long-lived access key of a user who may operate all clusters.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE0FAKE";
/// The secret of that key.
pub const SECRET_KEY: &str = "not-so-secret";
/// The role that a web identity token may assume.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/belay";
/// The `Authorization` header that EKS Pod Identity accepts.
pub const POD_IDENTITY_TOKEN: &str = "a.pod.identity.token";

/// A fake of AWS. It stops when it is dropped.
pub struct FakeAws {
    server: Server,
    state: Arc<Mutex<State>>,
    order: Order,
    exchanges: Exchanges,
}

/// The state of the fake.
#[derive(Default)]
struct State {
    resources: resources::Resources,
    updates: updates::Updates,
    credentials: credentials::Credentials,
}

impl FakeAws {
    /// Starts a fake without clusters.
    ///
    /// # Errors
    /// If no server can be started.
    pub async fn start() -> Result<Self, Error> {
        let (order, exchanges) = (Order::default(), Exchanges::default());
        let state = Arc::new(Mutex::new(State::default()));
        let outage = middleware::from_fn_with_state(order.clone(), outage::answer);
        let eks = Router::new().fallback(routes::answer).layer(outage);
        let keep = middleware::from_fn_with_state(exchanges.clone(), exchanges::keep);
        let all = Router::new()
            .route("/", post(sts::answer))
            .route("/v1/credentials", get(pod_identity::answer))
            .fallback_service(eks.with_state(state.clone()))
            .with_state(state.clone())
            .layer(middleware::map_response(answers::with_id))
            .layer(keep);
        Ok(Self {
            server: Server::start(|_| all).await?,
            state,
            order,
            exchanges,
        })
    }

    /// Returns the URL of EKS, STS and EKS Pod Identity.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// Returns the certificate of the fake's authority, PEM.
    pub fn authority(&self) -> &str {
        &self.server.authority
    }

    /// Creates a cluster with this name, with a control plane of a version and nodegroups of the same version.
    /// `is_auto` means EKS Auto Mode.
    pub fn create(&self, name: &str, version: &str, is_auto: bool, nodegroups: &[Nodegroup<'_>]) {
        lock(&self.state)
            .resources
            .create(name, version, is_auto, nodegroups);
    }

    /// Returns a cluster as EKS shows it; null if it doesn't exist.
    pub fn cluster(&self, name: &str) -> Value {
        self.shown(&resources::Id::cluster(name))
    }

    /// Returns a nodegroup as EKS shows it; null if it doesn't exist.
    pub fn nodegroup(&self, cluster: &str, name: &str) -> Value {
        self.shown(&resources::Id::cluster(cluster).nodegroup(name))
    }

    fn shown(&self, id: &resources::Id) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        state.resources.get(id).cloned().unwrap_or_default()
    }

    /// Requests a change as another user would, with the console or the aws command. `path` is below `/clusters/`, such
    /// as `demo/updates`. Returns the body of the answer, also if EKS refuses.
    pub fn somebody_asks(&self, path: &str, body: &Value) -> Value {
        let answer = lock(&self.state).answer(&call::Call::post(path, body));
        answer.unwrap_or_else(|refusal| refusal.body())
    }

    /// Sets fields of a nodegroup at once, without an update. Null removes a field.
    pub fn set_nodegroup(&self, cluster: &str, name: &str, fields: &Value) {
        let id = resources::Id::cluster(cluster).nodegroup(name);
        let mut state = lock(&self.state);
        state.settle();
        state.resources.set(&id, fields);
    }

    /// Sets how long each update takes from now on, and how long an update takes to stop.
    pub fn takes(&self, update: Duration, cancel: Duration) {
        lock(&self.state).updates.takes(update, cancel);
    }

    /// Pauses the updates of nodegroups or clusters with this name, or lets them continue.
    pub fn hold(&self, name: &str, is_held: bool) {
        lock(&self.state).updates.hold(name, is_held);
    }

    /// Makes the next update of a nodegroup or a cluster with this name fail with this code and message.
    pub fn fail_next(&self, name: &str, code: &str, message: &str) {
        lock(&self.state).updates.fail_next(name, code, message);
    }

    /// Ends the phase of a cluster's rollback in which its nodes roll back. From now on the control plane itself rolls
    /// back: the rollback can't be cancelled, and a pending cancellation fails.
    pub fn nodes_are_back(&self, cluster: &str) {
        let mut state = lock(&self.state);
        state.settle();
        let State {
            updates, resources, ..
        } = &mut *state;
        updates.nodes_are_back(cluster, resources);
    }

    /// Forgets the ids of all updates. What they changed stays, and what they still change goes on.
    pub fn forget_updates(&self) {
        lock(&self.state).updates.forget();
    }

    /// Expires all session credentials that were issued.
    pub fn expire_tokens(&self) {
        lock(&self.state).credentials.expire();
    }

    /// Starts or ends an outage of EKS. STS and EKS Pod Identity go on.
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
        self.updates.settle(&mut self.resources);
    }
}
