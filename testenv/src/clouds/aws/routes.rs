//! The routes of EKS.

use std::sync::{Arc, Mutex};

use axum::{
    Json,
    body::{Bytes, to_bytes},
    extract::{Request, State as Shared},
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    LONGEST, State,
    answers::Refusal,
    call::{Call, read, unknown},
    config, lock,
    pages::page,
    resources::{Id, Resources},
    update::Plan,
    versions,
};

/// Answers a request.
pub(super) async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let answer = lock(&state).admit_and_answer(&parts, &body);
    answer.map_or_else(Refusal::into_response, |body| Json(body).into_response())
}

/// A body without fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl State {
    fn admit_and_answer(&mut self, parts: &Parts, body: &Bytes) -> Result<Value, Refusal> {
        self.credentials.admit(parts, body, "eks")?;
        self.answer(&Call::of(parts, body)?)
    }

    /// Answers a request that was admitted.
    pub(super) fn answer(&mut self, call: &Call) -> Result<Value, Refusal> {
        self.settle();
        let path: Vec<_> = call.asked.path.split('/').collect();
        let (name, rest) = path.split_first().ok_or_else(unknown)?;
        if name.is_empty() {
            return page(call, "clusters", &self.resources.clusters());
        }
        let cluster = self.known(Id::cluster(name))?;
        match (&call.method, rest) {
            (&Method::GET, []) => Ok(json!({"cluster": self.resources.get(&cluster)})),
            (&Method::POST, ["updates"]) => self.begin(call, &cluster, versions::of_cluster),
            (&Method::GET, ["updates"]) => {
                let on = self.asked_of(call, cluster)?;
                page(call, "updateIds", &self.updates.ids(&on))
            }
            (&Method::GET, ["updates", id]) => {
                let on = self.asked_of(call, cluster)?;
                Ok(json!({"update": self.updates.get(&on, id)?.shown()}))
            }
            (&Method::POST, ["updates", id, "cancel-update"]) => self.cancel(call, &cluster, id),
            (&Method::GET, ["node-groups"]) => {
                let all = self.resources.nodegroups_of(&cluster);
                let names: Vec<_> = all.map(|id| id.name().to_owned()).collect();
                page(call, "nodegroups", &names)
            }
            (_, ["node-groups", name, rest @ ..]) => {
                let nodegroup = self.known(cluster.nodegroup(name))?;
                self.of_nodegroup(call, &nodegroup, rest)
            }
            _ => Err(unknown()),
        }
    }

    fn of_nodegroup(&mut self, call: &Call, id: &Id, rest: &[&str]) -> Result<Value, Refusal> {
        match (&call.method, rest) {
            (&Method::GET, []) => Ok(json!({"nodegroup": self.resources.get(id)})),
            (&Method::DELETE, []) => {
                self.begin(call, id, |_, _, _| Ok(Plan::deletion()))?;
                Ok(json!({"nodegroup": self.resources.get(id)}))
            }
            (&Method::POST, ["update-version"]) => self.begin(call, id, versions::of_nodegroup),
            (&Method::POST, ["update-config"]) => self.begin(call, id, config::of_nodegroup),
            _ => Err(unknown()),
        }
    }

    /// Returns the id if the cluster or the nodegroup exists.
    fn known(&self, id: Id) -> Result<Id, Refusal> {
        if self.resources.get(&id).is_some() {
            return Ok(id);
        }
        let kind = if id.is_nodegroup() {
            "node group"
        } else {
            "cluster"
        };
        let message = format!("No {kind} found for name: {}.", id.name());
        Err(Refusal::not_found(message).about(&id))
    }

    /// Returns the cluster or the nodegroup that a request for updates is about.
    fn asked_of(&self, call: &Call, cluster: Id) -> Result<Id, Refusal> {
        match call.query.get("nodegroupName") {
            Some(name) => self.known(cluster.nodegroup(name)),
            None => Ok(cluster),
        }
    }

    /// Starts the requested update, unless another update prevents it. A repeated request starts nothing new.
    fn begin(
        &mut self,
        call: &Call,
        id: &Id,
        plan: fn(&Resources, &Id, &Value) -> Result<Plan, Refusal>,
    ) -> Result<Value, Refusal> {
        if let Some(update) = self.updates.repeated(call)? {
            return Ok(json!({"update": update.shown()}));
        }
        let plan =
            plan(&self.resources, id, &call.asked.body).map_err(|refusal| refusal.about(id))?;
        if let Some(refusal) = self.updates.in_the_way_of(id, plan.kind) {
            return Err(refusal);
        }
        if ["CREATING", "UPDATING", "DELETING"].contains(&self.resources.text(id, "status")) {
            return Err(Refusal::busy(id));
        }
        let update = self.updates.begin(id, plan, call, &mut self.resources);
        Ok(json!({"update": update.shown()}))
    }

    fn cancel(&mut self, call: &Call, cluster: &Id, id: &str) -> Result<Value, Refusal> {
        let Nothing {} = read(&call.asked.body)?;
        let update = self.updates.get(cluster, id)?;
        update.cancel().map_err(|why| {
            let status = StatusCode::BAD_REQUEST;
            Refusal::new(status, "InvalidRequestException", why).about(cluster)
        })?;
        Ok(json!({"update": update.shown()}))
    }
}
