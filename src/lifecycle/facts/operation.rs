//! An Operation: who asked for it, when it arrived, and its progress.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::{
    api::{
        BEGUN_BY_ANNOTATION, CancellationStatus, ENGINE_HANDLE_ANNOTATION, FOR_GENERATION_LABEL,
        NO_GENERATION, OPERATION_UID_LABEL, Operation as Object, OperationError, OperationPhase,
        OperationSpec, OperationStatus, TargetKind,
    },
    lifecycle::{
        managed_fields::writes_spec,
        plan::Plan,
        preflight::Preflight,
        snapshot::{Snapshot, Work},
    },
};

/// An Operation.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    /// The object.
    pub object: &'a Object,
    /// What it asks for.
    pub spec: &'a OperationSpec,
    /// Its name.
    pub name: &'a str,
    /// Its uid, which identifies it.
    pub uid: &'a str,
    /// Its status, as it was read.
    pub status: Cow<'a, OperationStatus>,
    /// Who asked for it.
    pub origin: Origin,
    /// Its place in the order in which Operations arrived.
    pub arrival: Arrival,
    /// The generation of its target's spec when it arrived. A later change of the spec is newer than the Operation.
    pub arrived_at: i64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it is in the lock, as the lock was read.
    pub holds_lock: bool,
    /// Whether it is a copy of an Operation that Belay already processed: made by a person, or restored by a backup
    /// tool.
    pub is_copy: bool,
    /// What it has to bring about.
    pub plan: PlanState,
    /// Its work, if any. None if the work only repeats a refusal to stop that the status already reports.
    pub work: Option<&'a Work>,
}

/// Who asked for an Operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A spec of that generation. Belay created the Operation.
    Spec(i64),
    /// A person, or a program other than Belay.
    Person,
    /// Somebody who began it at the engine, outside Belay. Belay created the Operation to follow it.
    Engine {
        /// The engine's name for it.
        handle: String,
        /// Who began it, if known.
        by: String,
    },
}

/// What is known about an Operation's plan.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanState {
    /// The Operation hasn't begun, or it has ended and its plan is no longer recorded.
    None,
    /// The Operation has begun, and this is what it has to bring about.
    Begun(Plan),
    /// The Operation has begun, but its plan can't be read.
    Unreadable(OperationError),
}

/// A place in the order of arrival: the resourceVersion when Belay first saw the Operation, which the API server
/// increases with each write. Without a resourceVersion (in a dry run) the Operation counts as the newest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(i64, Option<Timestamp>, String);

impl<'a> Operation<'a> {
    /// Returns the facts of an Operation.
    pub fn of(snapshot: &'a Snapshot, object: &'a Object) -> Self {
        let metadata = &object.metadata;
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let status = object
            .status
            .as_ref()
            .map_or_else(|| Cow::Owned(OperationStatus::default()), Cow::Borrowed);
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key));
        let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key));
        let origin = match (
            label(FOR_GENERATION_LABEL).map(String::as_str),
            annotation(ENGINE_HANDLE_ANNOTATION),
        ) {
            (Some(NO_GENERATION) | None, Some(handle)) => Origin::Engine {
                handle: handle.clone(),
                by: annotation(BEGUN_BY_ANNOTATION).cloned().unwrap_or_default(),
            },
            // A label that isn't a number wasn't written by Belay, so it matches no generation.
            (Some(generation), _) => Origin::Spec(generation.parse().unwrap_or(-1)),
            (None, None) => Origin::Person,
        };
        let plan = plan_of(&status);
        Self {
            object,
            spec: &object.spec,
            name: metadata.name.as_deref().unwrap_or_default(),
            uid,
            origin,
            arrival: Self::arrival(object, &status),
            arrived_at: status
                .target_generation
                .unwrap_or_else(|| generation_at_arrival(snapshot, object)),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            holds_lock: snapshot.lock().iter().any(|held| held.uid == uid),
            is_copy: label(OPERATION_UID_LABEL).is_some_and(|of| of != uid),
            plan,
            work: snapshot
                .work
                .get(uid)
                .filter(|work| !is_reported(work, &status)),
            status,
        }
    }

    fn arrival(object: &Object, status: &OperationStatus) -> Arrival {
        let metadata = &object.metadata;
        let version = metadata.resource_version.as_ref();
        let version = version.and_then(|version| version.parse().ok());
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let name = metadata.name.clone().unwrap_or_default();
        Arrival(
            status.arrival.or(version).unwrap_or(i64::MAX),
            created,
            name,
        )
    }

    /// Returns the first part of its place in the order of arrival, for its status. None in a dry run.
    pub fn arrival_number(&self) -> Option<i64> {
        (self.arrival.0 != i64::MAX).then_some(self.arrival.0)
    }

    /// Returns its phase.
    pub fn phase(&self) -> OperationPhase {
        self.status.phase
    }

    /// Whether Belay created it for a spec.
    pub fn is_from_spec(&self) -> bool {
        matches!(self.origin, Origin::Spec(_))
    }

    /// Whether a person asked for it, or a program other than Belay.
    pub fn is_asked(&self) -> bool {
        self.origin == Origin::Person
    }

    /// Returns the engine's handle, if somebody began it there outside Belay.
    pub fn begun_by_others(&self) -> Option<&String> {
        match &self.origin {
            Origin::Engine { handle, .. } => Some(handle),
            Origin::Spec(_) | Origin::Person => None,
        }
    }

    /// Returns who began it at the engine outside Belay, if known.
    pub fn begun_by(&self) -> Option<&String> {
        match &self.origin {
            Origin::Engine { by, .. } => Some(by).filter(|by| !by.is_empty()),
            Origin::Spec(_) | Origin::Person => None,
        }
    }

    /// Returns its plan once it has begun; after its end, what is recorded of the plan.
    pub fn begun(&self) -> Option<&Plan> {
        match &self.plan {
            PlanState::Begun(plan) => Some(plan),
            PlanState::None | PlanState::Unreadable(_) => None,
        }
    }

    /// Returns what will be in its way, as its running work has seen it. None if nobody has looked, or if the
    /// Operation isn't in progress.
    pub fn preflight(&self) -> Option<&'a Preflight> {
        let work = self
            .work
            .filter(|_| self.phase() == OperationPhase::InProgress)?;
        work.progress().preflight.as_ref()
    }

    /// Whether it came after `other`: it arrived later, or Belay created it for a later change of the spec.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Origin::Spec(made_for), Origin::Person) => *made_for > other.arrived_at,
            (Origin::Person, Origin::Spec(made_for)) => self.arrived_at >= *made_for,
            (Origin::Spec(a), Origin::Spec(b)) if a != b => a > b,
            (Origin::Spec(_), Origin::Spec(_) | Origin::Engine { .. })
            | (Origin::Person, Origin::Person | Origin::Engine { .. })
            | (Origin::Engine { .. }, _) => self.arrival > other.arrival,
        }
    }
}

/// Returns the generation of the target's spec at the arrival of an Operation that Belay sees for the first time. If
/// someone has written the spec since the Operation was created, it is the previous generation.
fn generation_at_arrival(snapshot: &Snapshot, operation: &Object) -> i64 {
    let target = &operation.spec.target;
    let metadata = match target.kind {
        TargetKind::ManagedCluster => Some(&snapshot.cluster.metadata),
        TargetKind::AgentPool => snapshot.pool(&target.name).map(|pool| &pool.metadata),
    };
    let Some(metadata) = metadata else { return 0 };
    let written = metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .filter(|entry| writes_spec(entry))
        .filter_map(|entry| entry.time.as_ref())
        .max();
    let created = operation.metadata.creation_timestamp.as_ref();
    let generation = metadata.generation.unwrap_or_default();
    match (written, created) {
        (Some(written), Some(created)) if written.0 > created.0 => generation - 1,
        _ => generation,
    }
}

/// Returns what is known about the plan. After an Operation has ended, its plan is kept until the end is recorded on
/// its targets. If the plan is lost, the ledger infers from the observed state what the Operation was about.
fn plan_of(status: &OperationStatus) -> PlanState {
    let kept = Plan::of_text(status.plan.as_deref());
    match status.phase {
        OperationPhase::Pending => PlanState::None,
        OperationPhase::InProgress | OperationPhase::Canceling => {
            kept.map_or_else(PlanState::Unreadable, PlanState::Begun)
        }
        OperationPhase::Succeeded | OperationPhase::Failed | OperationPhase::Canceled => {
            kept.map_or(PlanState::None, PlanState::Begun)
        }
    }
}

/// Whether the status already reports this refusal of the work to stop. The refusal doesn't answer a later abort.
fn is_reported(work: &Work, status: &OperationStatus) -> bool {
    let cancellation = status.cancellation.as_ref();
    let is_answered = status.phase == OperationPhase::InProgress
        && cancellation.is_some_and(|asked| asked.status == CancellationStatus::Failed);
    is_answered && matches!(work, Work::Refused(..))
}
