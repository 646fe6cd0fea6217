//! The operations on clusters and pools: they take time, a test can pause them, and they can be aborted.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    now,
    resources::{Id, Resources},
    work::{End, Pace, Work},
};

/// The status of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    /// It was aborted and is stopping.
    Canceling,
    Succeeded,
    Canceled,
    Failed(String, String),
}

impl Status {
    /// Returns the status as Azure writes it.
    pub fn text(&self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Canceling => "Canceling",
            Self::Succeeded => "Succeeded",
            Self::Canceled => "Canceled",
            Self::Failed(..) => "Failed",
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Canceled | Self::Failed(..))
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub id: String,
    pub on: Id,
    /// The resource's provisioning state during the operation, such as `Upgrading`.
    pub kind: &'static str,
    pub status: Status,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// For an abort: the id of the operation that it stops. The abort succeeds when that operation has ended.
    pub aborts: Option<String>,
    /// The resource before the operation; null if it didn't exist.
    before: Value,
    work: Work,
}

impl Operation {
    /// Returns the progress, between 0 and 1.
    pub fn done(&self, takes: Duration) -> f64 {
        if self.status == Status::Succeeded {
            return 1.0;
        }
        (self.work.worked().as_secs_f64() / takes.as_secs_f64()).min(0.99)
    }
}

/// All operations.
#[derive(Default)]
pub(super) struct Operations {
    all: Vec<Operation>,
    begun: u64,
    pace: Pace,
}

impl Operations {
    /// Sets how long an operation takes, and how long an operation takes to stop.
    pub fn takes(&mut self, operation: Duration, stop: Duration) {
        self.pace.set(operation, stop);
    }

    /// Pauses the operations on resources with this name, or lets them continue.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        self.pace.hold(&name.to_ascii_lowercase(), is_held);
    }

    /// Makes the next operation on a resource with this name fail.
    pub fn fail_next(&mut self, name: &str, code: &str, message: &str) {
        let name = name.to_ascii_lowercase();
        self.pace.fail_next(&name, code, message);
    }

    /// Forgets all operations. Their resources stay as they are.
    pub fn forget(&mut self) {
        self.all.clear();
    }

    /// Returns an operation by its id.
    pub fn get(&self, id: &str) -> Option<&Operation> {
        self.all.iter().find(|operation| operation.id == id)
    }

    /// Returns the last operation on a resource. Aborts don't count.
    pub fn latest(&self, on: &Id) -> Option<&Operation> {
        let mut all = self.all.iter().rev();
        all.find(|operation| operation.on == *on && operation.aborts.is_none())
    }

    /// Returns the operation that prevents a new operation on a resource.
    pub fn in_the_way_of(&self, on: &Id) -> Option<&Operation> {
        self.all.iter().find(|operation| {
            !operation.status.is_over() && operation.aborts.is_none() && operation.on.excludes(on)
        })
    }

    /// Starts an operation. `before` is the resource before it.
    pub fn begin(&mut self, on: &Id, kind: &'static str, before: Value) -> &Operation {
        self.add(on, kind, before, None)
    }

    /// Stops the operation in progress on a resource; `None` if there is none.
    pub fn abort(&mut self, on: &Id) -> Option<&Operation> {
        let mut all = self.all.iter_mut();
        let stopped = all.find(|operation| {
            operation.on == *on && !operation.status.is_over() && operation.aborts.is_none()
        })?;
        if stopped.status == Status::InProgress {
            stopped.status = Status::Canceling;
            stopped.work.stop();
        }
        let stopped = stopped.id.clone();
        Some(self.add(on, "Canceling", Value::Null, Some(stopped)))
    }

    fn add(
        &mut self,
        on: &Id,
        kind: &'static str,
        before: Value,
        aborts: Option<String>,
    ) -> &Operation {
        self.begun += 1;
        let at = self.all.len();
        self.all.push(Operation {
            id: format!("00000000-0000-0000-0000-{:012}", self.begun),
            on: on.clone(),
            kind,
            status: Status::InProgress,
            started: now(),
            ended: None,
            aborts,
            before,
            work: Work::default(),
        });
        &self.all[at]
    }

    /// Ends the operations whose time is over, and updates their resources.
    pub fn settle(&mut self, resources: &mut Resources) {
        let passed = self.pace.passed();
        for operation in &mut self.all {
            if operation.status.is_over() || operation.aborts.is_some() {
                continue;
            }
            let name = operation.on.name();
            let end = self.pace.advance(&mut operation.work, name, passed);
            let Some(end) = end else { continue };
            operation.status = match end {
                End::Done => Status::Succeeded,
                End::Stopped => Status::Canceled,
                End::Failed(code, message) => Status::Failed(code, message),
            };
            operation.ended = Some(now());
            finish(resources, operation, self.pace.takes());
        }
        let over = self.all.iter().filter(|one| one.status.is_over());
        let over: BTreeSet<_> = over.map(|one| one.id.clone()).collect();
        for operation in &mut self.all {
            let has_stopped = operation
                .aborts
                .as_ref()
                .is_some_and(|one| over.contains(one));
            if has_stopped && !operation.status.is_over() {
                operation.status = Status::Succeeded;
                operation.ended = Some(now());
            }
        }
    }

    /// Returns an operation as Azure shows it. Only the preview of the API shows the progress.
    pub fn shown(&self, operation: &Operation, with_progress: bool) -> Value {
        let mut shown = json!({"id": format!("{}/operations/{}", operation.on.path(), operation.id),
            "name": operation.id, "status": operation.status.text(), "startTime": operation.started.to_string()});
        if let Some(ended) = operation.ended {
            shown["endTime"] = json!(ended.to_string());
        }
        if let Status::Failed(code, message) = &operation.status {
            shown["error"] = json!({"code": code, "message": message});
        }
        if with_progress {
            let percent = (operation.done(self.pace.takes()) * 1000.0).round() / 10.0;
            shown["percentComplete"] = json!(percent);
            shown["resourceId"] = json!(operation.on.path());
        }
        shown
    }
}

/// Updates a resource at the end of an operation, and a cluster's pools if they were part of it.
fn finish(resources: &mut Resources, operation: &Operation, takes: Duration) {
    let on = &operation.on;
    let pools: Vec<_> = resources.pools_of(on).map(|(id, _)| id.clone()).collect();
    match (&operation.status, operation.kind) {
        (Status::Succeeded, "Deleting") => return resources.remove(on),
        (Status::Succeeded, kind) => {
            succeed(resources, on);
            for pool in pools {
                match kind {
                    "Stopping" => resources.set(&pool, "powerState", json!({"code": "Stopped"})),
                    "Starting" => resources.set(&pool, "powerState", json!({"code": "Running"})),
                    _ => succeed(resources, &pool),
                }
            }
            match kind {
                "Stopping" => resources.set(on, "powerState", json!({"code": "Stopped"})),
                "Starting" => resources.set(on, "powerState", json!({"code": "Running"})),
                _ => {}
            }
        }
        _ => stop_half_way(resources, operation, takes),
    }
    let state = match operation.status {
        Status::Failed(..) => "Failed",
        Status::Canceled => "Canceled",
        _ => "Succeeded",
    };
    resources.set(on, "provisioningState", json!(state));
}

/// Sets the current version to the desired version.
fn succeed(resources: &mut Resources, id: &Id) {
    let (wanted, current) = if id.is_pool() {
        ("/orchestratorVersion", "currentOrchestratorVersion")
    } else {
        ("/kubernetesVersion", "currentKubernetesVersion")
    };
    let version = resources.text(id, wanted).map(ToOwned::to_owned);
    if let Some(version) = version {
        resources.set(id, current, json!(version));
    }
}

/// Stops a change of the count halfway: nodes that were added or removed by then stay so.
fn stop_half_way(resources: &mut Resources, operation: &Operation, takes: Duration) {
    let count = |resource: &Value| resource["properties"]["count"].as_u64();
    let wanted = resources.get(&operation.on).and_then(count);
    if let (Some(before), Some(wanted)) = (count(&operation.before), wanted) {
        let worked = operation.work.worked().min(takes).as_millis();
        let moved = u128::from(wanted.abs_diff(before)) * worked / takes.as_millis().max(1);
        let moved = u64::try_from(moved).unwrap_or_default();
        let reached = if wanted > before {
            before + moved
        } else {
            before - moved
        };
        resources.set(&operation.on, "count", json!(reached));
    }
}
