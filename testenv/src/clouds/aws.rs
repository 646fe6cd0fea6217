//! A fake of AWS, as much of it as operates EKS clusters: EKS itself with its clusters, nodegroups and updates, and
//! STS and EKS Pod Identity, which give credentials. It answers as the API is published and AWS's user guide has it,
//! and refuses in words that others had from real EKS, where they are known.

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
/// The long-lived key of who may operate all clusters.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE0FAKE";
/// The secret of that key.
pub const SECRET_KEY: &str = "not-so-secret";
/// The role that a token of a web identity may assume.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/belay";
/// The header `Authorization` that EKS Pod Identity takes.
pub const POD_IDENTITY_TOKEN: &str = "a.pod.identity.token";

/// A fake of AWS, which ends with its owner.
pub struct FakeAws {
    server: Server,
    state: Arc<Mutex<State>>,
    order: Order,
    exchanges: Exchanges,
}

/// What there is.
#[derive(Default)]
struct State {
    resources: resources::Resources,
    updates: updates::Updates,
    credentials: credentials::Credentials,
}

impl FakeAws {
    /// Starts one without clusters.
    ///
    /// # Errors
    /// Where no server can be started.
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

    /// Where EKS, STS and EKS Pod Identity are reached.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// The certificate of its authority, PEM.
    pub fn authority(&self) -> &str {
        &self.server.authority
    }

    /// Makes a cluster of that name, with a control plane of a version and nodegroups of the same; `is_auto` for EKS
    /// Auto Mode.
    pub fn create(&self, name: &str, version: &str, is_auto: bool, nodegroups: &[Nodegroup<'_>]) {
        lock(&self.state)
            .resources
            .create(name, version, is_auto, nodegroups);
    }

    /// A cluster as EKS shows it; null where there is none.
    pub fn cluster(&self, name: &str) -> Value {
        self.shown(&resources::Id::cluster(name))
    }

    /// A nodegroup as EKS shows it; null where there is none.
    pub fn nodegroup(&self, cluster: &str, name: &str) -> Value {
        self.shown(&resources::Id::cluster(cluster).nodegroup(name))
    }

    fn shown(&self, id: &resources::Id) -> Value {
        let mut state = lock(&self.state);
        state.settle();
        state.resources.get(id).cloned().unwrap_or_default()
    }

    /// Somebody else asks for a change, by the console or the aws command: a path below `/clusters/`, such as
    /// `demo/updates`, and a body. The answer's body, also where EKS refuses.
    pub fn somebody_asks(&self, path: &str, body: &Value) -> Value {
        let answer = lock(&self.state).answer(&call::Call::post(path, body));
        answer.unwrap_or_else(|refusal| refusal.body())
    }

    /// Sets fields of a nodegroup at once, without an update; null takes one away.
    pub fn set_nodegroup(&self, cluster: &str, name: &str, fields: &Value) {
        let id = resources::Id::cluster(cluster).nodegroup(name);
        let mut state = lock(&self.state);
        state.settle();
        state.resources.set(&id, fields);
    }

    /// How long each update takes from now on, and how long one takes to stop.
    pub fn takes(&self, update: Duration, cancel: Duration) {
        lock(&self.state).updates.takes(update, cancel);
    }

    /// Updates on nodegroups of that name, or on clusters of that name, halt where they are, or go on.
    pub fn hold(&self, name: &str, is_held: bool) {
        lock(&self.state).updates.hold(name, is_held);
    }

    /// The next update on a nodegroup or a cluster of that name fails with this code and this message.
    pub fn fail_next(&self, name: &str, code: &str, message: &str) {
        lock(&self.state).updates.fail_next(name, code, message);
    }

    /// From now on a rollback of that cluster has left the phase in which its nodes roll back: the control plane's own
    /// has begun, so it can't be cancelled, and one that is being cancelled isn't.
    pub fn nodes_are_back(&self, cluster: &str) {
        let mut state = lock(&self.state);
        state.settle();
        let State {
            updates, resources, ..
        } = &mut *state;
        updates.nodes_are_back(cluster, resources);
    }

    /// No update is known any more by its id; what they changed, and what they still will change, stays.
    pub fn forget_updates(&self) {
        lock(&self.state).updates.forget();
    }

    /// The credentials of sessions that were given are no longer taken.
    pub fn expire_tokens(&self) {
        lock(&self.state).credentials.expire();
    }

    /// Begins an outage of EKS, or ends it. STS and EKS Pod Identity go on.
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
        self.updates.settle(&mut self.resources);
    }
}
