//! The routes of the Resource Manager.

use std::sync::{Arc, Mutex};

use axum::{
    extract::{Request, State as Shared},
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    OLDER, PREVIEW, STABLE, State,
    answers::{begun, found, not_found, refusal, signature},
    call::{Call, Target},
    lock,
    resources::{Id, tag},
};

/// Answers a request.
pub(super) async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, request: Request) -> Response {
    let Some(call) = Call::of(request).await else {
        return refusal(
            StatusCode::BAD_REQUEST,
            "InvalidRequestContent",
            "The request content was invalid.",
        );
    };
    let mut state = lock(&state);
    state.settle();
    if let Some(refused) = state.unauthorized(&call) {
        return refused;
    }
    match &call.target {
        Target::Operation { kind, id } => state.of_operation(&call, kind, id),
        Target::Resource(id, rest) => {
            let rest: Vec<_> = rest.iter().map(String::as_str).collect();
            state.of_resource(&call, id, &rest)
        }
        Target::Unknown => not_found("?"),
    }
}

impl State {
    fn unauthorized(&self, call: &Call) -> Option<Response> {
        let token = call.token.as_deref();
        let is_known = token.is_some_and(|token| self.tokens.takes(token));
        (!is_known).then(|| {
            refusal(
                StatusCode::UNAUTHORIZED,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            )
        })
    }

    /// Answers with an operation, by the URL that the client got when it started the operation.
    fn of_operation(&self, call: &Call, kind: &str, id: &str) -> Response {
        let is_signed = signature(id).split('&').all(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or_default();
            call.query.get(key).is_some_and(|given| given == value)
        });
        if !is_signed {
            return refusal(
                StatusCode::FORBIDDEN,
                "AuthorizationFailed",
                "The operation's URL is not signed.",
            );
        }
        let Some(operation) = self.operations.get(id) else {
            return refusal(
                StatusCode::NOT_FOUND,
                "NotFound",
                "The entity was not found.",
            );
        };
        match kind {
            "operations" => found(self.operations.shown(operation, false)),
            _ if operation.status.is_over() => StatusCode::NO_CONTENT.into_response(),
            _ => StatusCode::ACCEPTED.into_response(),
        }
    }

    fn of_resource(&mut self, call: &Call, id: &Id, rest: &[&str]) -> Response {
        let is_preview = call.version() == PREVIEW && self.has_preview;
        if ![STABLE, OLDER].contains(&call.version()) && !is_preview {
            let message = format!(
                "No registered resource provider found for location 'westeurope' and API version '{}' for type 'managedClusters'.",
                call.version()
            );
            return refusal(
                StatusCode::BAD_REQUEST,
                "NoRegisteredProviderFound",
                &message,
            );
        }
        let exists = self.resources.get(id).is_some();
        let is_new_pool = id.is_pool()
            && call.method == Method::PUT
            && self.resources.get(&id.of_cluster()).is_some();
        if !exists && !is_new_pool {
            return not_found(&id.path());
        }
        match (&call.method, rest) {
            (&Method::GET, []) => found(self.resources.shown(id).unwrap_or_default()),
            (&Method::GET, ["agentpools"]) => {
                let pools = self.resources.pools_of(id).map(|(_, pool)| pool.clone());
                found(json!({"value": pools.collect::<Vec<_>>()}))
            }
            (&Method::GET, ["operations", which]) => self.progress(id, which, is_preview),
            (&Method::PUT, []) => self.put(call, id),
            (&Method::DELETE, []) if id.is_pool() => {
                self.change(call, id, "Deleting", StatusCode::ACCEPTED)
            }
            (&Method::POST, ["stop"]) if !id.is_pool() => {
                self.change(call, id, "Stopping", StatusCode::ACCEPTED)
            }
            (&Method::POST, ["start"]) if !id.is_pool() => {
                self.change(call, id, "Starting", StatusCode::ACCEPTED)
            }
            (&Method::POST, ["abort"]) => self.abort(id),
            _ => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "This isn't part of the fake.",
            ),
        }
    }

    /// Answers with the progress of an operation, which only the preview of the API shows.
    fn progress(&self, id: &Id, which: &str, is_preview: bool) -> Response {
        let operation = match which {
            "latest" => self.operations.latest(id),
            which => self.operations.get(which),
        };
        match operation {
            Some(operation) if is_preview => found(self.operations.shown(operation, true)),
            _ => refusal(
                StatusCode::NOT_FOUND,
                "NotFound",
                "The operation was not found.",
            ),
        }
    }

    /// Writes a resource.
    pub(super) fn put(&mut self, call: &Call, id: &Id) -> Response {
        if let Some(refused) = self.invalid(call, id) {
            return refused;
        }
        let kind = self.kind_of(id, &call.body);
        self.change(call, id, kind, StatusCode::OK)
    }

    /// Returns the kind of operation that a PUT starts.
    fn kind_of(&self, id: &Id, body: &Value) -> &'static str {
        let Some(before) = self.resources.get(id) else {
            return "Creating";
        };
        let (wanted, now) = (&body["properties"], &before["properties"]);
        let differs =
            |wants: &str, has: &str| !wanted[wants].is_null() && wanted[wants] != now[has];
        let power = wanted["powerState"]["code"].as_str().unwrap_or("Running");
        if id.is_pool() && now["powerState"]["code"] != power {
            return if power == "Stopped" {
                "Stopping"
            } else {
                "Starting"
            };
        }
        let is_upgrade = differs("kubernetesVersion", "currentKubernetesVersion")
            || differs("orchestratorVersion", "currentOrchestratorVersion");
        if is_upgrade {
            "Upgrading"
        } else if differs("count", "count") {
            "Scaling"
        } else {
            "Updating"
        }
    }

    /// Returns the refusal if AKS doesn't accept the body.
    fn invalid(&self, call: &Call, id: &Id) -> Option<Response> {
        let bad = |code: &str, message: &str| Some(refusal(StatusCode::BAD_REQUEST, code, message));
        let properties = &call.body["properties"];
        if !properties.is_object() {
            return bad(
                "InvalidRequestContent",
                "The request content was invalid: properties are required.",
            );
        }
        let tag_now = self.resources.get(id).and_then(tag);
        if call
            .if_match
            .as_deref()
            .is_some_and(|given| Some(given) != tag_now)
        {
            return Some(refusal(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "The etag does not match.",
            ));
        }
        if !id.is_pool() {
            return None;
        }
        let runs = self
            .resources
            .text(&id.of_cluster(), "/currentKubernetesVersion")?;
        let wanted = properties["orchestratorVersion"].as_str().unwrap_or(runs);
        if is_newer(wanted, runs) {
            let message = format!(
                "Node pool version {wanted} and control plane version {runs} are incompatible."
            );
            return bad("NodePoolMcVersionIncompatible", &message);
        }
        let stops = properties["powerState"]["code"] == "Stopped";
        (stops && properties["mode"] == "System").then(|| {
            refusal(
                StatusCode::BAD_REQUEST,
                "OperationNotAllowed",
                "Stopping a System node pool is not allowed.",
            )
        })
    }

    /// Starts an operation, unless another operation prevents it.
    fn change(&mut self, call: &Call, id: &Id, kind: &'static str, status: StatusCode) -> Response {
        if let Some(other) = self.operations.in_the_way_of(id) {
            let message = format!(
                "Operation is not allowed: Another operation ({} - {}) is in progress, please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for more details",
                other.on.name(),
                other.kind
            );
            return refusal(StatusCode::CONFLICT, "OperationNotAllowed", &message);
        }
        let before = self.resources.get(id).cloned().unwrap_or_default();
        if call.method == Method::PUT {
            self.resources.put(id, &call.body);
        }
        self.resources.set(id, "provisioningState", json!(kind));
        let begun_as = self.operations.begin(id, kind, before).id.clone();
        let body = (status == StatusCode::OK).then(|| self.resources.shown(id).unwrap_or_default());
        begun(&self.url, &begun_as, status, body)
    }

    /// Aborts the operation in progress. The answer has the resource before the abort, and the abort's own operation,
    /// which will succeed.
    fn abort(&mut self, id: &Id) -> Response {
        let before = self.resources.shown(id).unwrap_or_default();
        let Some(abort) = self.operations.abort(id) else {
            return refusal(
                StatusCode::CONFLICT,
                "Conflict",
                "There is no operation to abort: the operation has completed.",
            );
        };
        let abort = abort.id.clone();
        self.resources
            .set(id, "provisioningState", json!("Canceling"));
        begun(&self.url, &abort, StatusCode::ACCEPTED, Some(before))
    }
}

/// Whether a version is newer than another one.
fn is_newer(version: &str, than: &str) -> bool {
    let numbers = |version: &str| -> Vec<u32> {
        let numbers = version.split('.');
        numbers
            .map(|number| number.parse().unwrap_or_default())
            .collect()
    };
    numbers(version) > numbers(than)
}
