//! What goes on at clusters and pools: it takes its time, halts where a test holds it, and can be aborted.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    now,
    resources::{Id, Resources},
    work::{End, Pace, Work},
};

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    /// It was aborted, and comes to rest.
    Canceling,
    Succeeded,
    Canceled,
    Failed(String, String),
}

impl Status {
    /// As Azure writes it.
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
    /// What the resource's provisioning state says while it goes on, such as `Upgrading`.
    pub kind: &'static str,
    pub status: Status,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// For an abort: the operation that it stops. It ends, and succeeds, when that one has.
    pub aborts: Option<String>,
    /// The resource as it was before; null where there was none.
    before: Value,
    work: Work,
}

impl Operation {
    /// How far it is, between 0 and 1.
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
    /// How long one takes, and how long one takes to stop.
    pub fn takes(&mut self, operation: Duration, stop: Duration) {
        self.pace.set(operation, stop);
    }

    /// Those on resources of that name halt where they are, or go on.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        self.pace.hold(&name.to_ascii_lowercase(), is_held);
    }

    /// The next one on a resource of that name fails.
    pub fn fail_next(&mut self, name: &str, code: &str, message: &str) {
        let name = name.to_ascii_lowercase();
        self.pace.fail_next(&name, code, message);
    }

    /// None is known any more; what goes on is left as it is.
    pub fn forget(&mut self) {
        self.all.clear();
    }

    /// One by its id.
    pub fn get(&self, id: &str) -> Option<&Operation> {
        self.all.iter().find(|operation| operation.id == id)
    }

    /// The last one on a resource. An abort isn't one of them.
    pub fn latest(&self, on: &Id) -> Option<&Operation> {
        let mut all = self.all.iter().rev();
        all.find(|operation| operation.on == *on && operation.aborts.is_none())
    }

    /// What keeps a new one on a resource from beginning.
    pub fn in_the_way_of(&self, on: &Id) -> Option<&Operation> {
        self.all.iter().find(|operation| {
            !operation.status.is_over() && operation.aborts.is_none() && operation.on.excludes(on)
        })
    }

    /// Begins one. `before` is its resource as it was.
    pub fn begin(&mut self, on: &Id, kind: &'static str, before: Value) -> &Operation {
        self.add(on, kind, before, None)
    }

    /// Has what goes on at a resource stop; none where nothing does.
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

    /// Ends what has ended by now, at its resource as well.
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

    /// An operation as Azure shows it. With how far it is only by the preview of the API.
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

/// What the end of an operation leaves of its resource, and of a cluster's pools where they were part of it.
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

/// It runs the version that it was to run.
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

/// What was made or taken away until then stays so.
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
