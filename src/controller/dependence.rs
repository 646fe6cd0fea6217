//! Which actions of a pass depend on which others. A write that failed holds back the actions that must come after it,
//! and no others.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use crate::{
    api::{OperationStatus, OperationTarget, TargetKind},
    lifecycle::{Action, ObjectId, Snapshot},
};

/// What has failed in a pass so far.
#[derive(Default)]
pub struct Failures {
    /// Objects whose write failed, and may succeed when Belay decides on it again.
    failed: BTreeSet<ObjectId>,
    /// Objects whose writes somebody refuses repeatedly. Other actions that depend on them don't wait.
    refused: BTreeSet<ObjectId>,
    /// Targets that couldn't get the finalizer. No work begins on them.
    unkept: BTreeSet<ObjectId>,
    /// The status of an Operation that has begun couldn't be written. Its targets and the lock stay as that status
    /// describes them.
    has_unwritten: bool,
    /// An Operation that replaces an ending one couldn't be created.
    holds_ends_back: bool,
}

impl Failures {
    /// Notes that an action failed, and whether somebody refuses it repeatedly.
    pub fn note(&mut self, action: &Action, is_lasting: bool) {
        if !is_lasting || matches!(action, Action::WriteOperationStatus { .. }) {
            self.note_undone(action);
        }
        if let Action::AddFinalizer(id) = action {
            self.unkept.insert(id.clone());
        }
        match object_of(action) {
            Some(id) if is_lasting => drop(self.refused.insert(id)),
            Some(id) => drop(self.failed.insert(id)),
            None => self.holds_ends_back |= matches!(action, Action::CreateOperation(_)),
        }
    }

    /// Notes that an action wasn't done, because another action failed or because it failed itself.
    pub fn note_undone(&mut self, action: &Action) {
        match action {
            Action::WriteOperationStatus { status, .. } => {
                self.has_unwritten |= status.start_time.is_some();
            }
            Action::WritePoolStatus { .. } | Action::WriteClusterStatus(_) => {
                self.failed.extend(object_of(action));
            }
            _ => {}
        }
    }

    /// Whether everything that must be written before an action has been written.
    pub fn allow(&self, action: &Action, snapshot: &Snapshot) -> bool {
        match action {
            Action::AddFinalizer(id) | Action::Label { id, .. } => !self.has(id),
            Action::AdoptPool(name) => !self.has(&ObjectId::Pool(name.clone())),
            // What ended is written to its targets first.
            Action::RemoveFinalizer(id) => !self.has(id) && !self.has_target(),
            Action::WriteOperationStatus { name, status } => {
                let is_held_back = (status.phase.is_finished() && self.holds_ends_back)
                    || (ended_unbegun(status) && self.has_target());
                !is_held_back && !self.has(&ObjectId::Operation(name.clone()))
            }
            // If somebody refuses another write to the pool, its status says so.
            Action::WritePoolStatus { name, .. } => {
                // A pool shows an operation only after the lock is written.
                let has_lock = !self.failed.contains(&ObjectId::Cluster);
                let pool = ObjectId::Pool(name.clone());
                has_lock && !self.has_unwritten && !self.failed.contains(&pool)
            }
            // The lock is released only after the Operation's end is written and the pools show the end.
            Action::WriteClusterStatus(_) => !self.has_unwritten && !self.has_target(),
            Action::DeletePool(_) | Action::DeleteOperation(_) => !self.has_target(),
            Action::CreateOperation(operation) => {
                !self.has_target() && self.is_kept(&operation.spec.target)
            }
            Action::StopWork { uid, .. } | Action::ChangeSpec { uid, .. } => {
                !self.has_operation(uid, snapshot)
            }
            Action::StartWork { job, .. } => {
                let operation = snapshot.operation_of_uid(&job.uid);
                let is_kept = operation.is_none_or(|it| self.is_kept(&it.spec.target));
                !self.has_operation(&job.uid, snapshot) && !self.has_target() && is_kept
            }
            Action::Publish(note) => !self.has(&ObjectId::Operation(note.operation.clone())),
            Action::ForgetWork { .. } | Action::LookForOperation { .. } | Action::Mend { .. } => {
                true
            }
        }
    }

    fn has(&self, id: &ObjectId) -> bool {
        self.failed.contains(id) || self.refused.contains(id)
    }

    fn has_operation(&self, uid: &str, snapshot: &Snapshot) -> bool {
        let operation = snapshot.operation_of_uid(uid);
        operation.is_some_and(|it| self.has(&ObjectId::Operation(it.name_any())))
    }

    /// Whether a write of the cluster or of a pool failed that may still succeed.
    fn has_target(&self) -> bool {
        let is_target = |id: &ObjectId| !matches!(id, ObjectId::Operation(_));
        self.failed.iter().any(is_target)
    }

    /// Whether a target and its cluster have the finalizer that keeps them until the work on them has ended.
    fn is_kept(&self, target: &OperationTarget) -> bool {
        let id = match target.kind {
            TargetKind::ManagedCluster => ObjectId::Cluster,
            TargetKind::AgentPool => ObjectId::Pool(target.name.clone()),
        };
        !self.unkept.contains(&id) && !self.unkept.contains(&ObjectId::Cluster)
    }
}

/// Whether an Operation ends that never began.
fn ended_unbegun(status: &OperationStatus) -> bool {
    status.phase.is_finished() && status.start_time.is_none()
}

/// Returns the object that an action writes. None for actions whose failure isn't tracked by object.
pub fn object_of(action: &Action) -> Option<ObjectId> {
    match action {
        Action::AddFinalizer(id) | Action::RemoveFinalizer(id) | Action::Label { id, .. } => {
            Some(id.clone())
        }
        Action::AdoptPool(name)
        | Action::DeletePool(name)
        | Action::WritePoolStatus { name, .. } => Some(ObjectId::Pool(name.clone())),
        Action::DeleteOperation(name) | Action::WriteOperationStatus { name, .. } => {
            Some(ObjectId::Operation(name.clone()))
        }
        Action::WriteClusterStatus(_) => Some(ObjectId::Cluster),
        Action::ChangeSpec { .. }
        | Action::CreateOperation(_)
        | Action::StopWork { .. }
        | Action::StartWork { .. }
        | Action::ForgetWork { .. }
        | Action::LookForOperation { .. }
        | Action::Mend { .. }
        | Action::Publish(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{ManagedCluster, Operation, OperationPhase},
        lifecycle::Observation,
        machinery::clock,
        provider::NodeByNode,
    };

    fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).expect("an object")
    }

    /// A cluster with an Operation on it, and one on its pool.
    fn snapshot() -> Snapshot {
        let operation = |name: &str, kind: &str, target: &str| {
            Arc::new(of::<Operation>(json!({
                "metadata": {"name": name, "namespace": "team", "uid": name},
                "spec": {"type": "Reconcile", "target": {"kind": kind, "name": target}},
            })))
        };
        let cluster = of::<ManagedCluster>(json!({
            "metadata": {"name": "demo", "namespace": "team", "uid": "demo"},
            "spec": {"kubernetesVersion": "1.36.3", "provider": {"kwok": {}}},
        }));
        let operations = vec![
            operation("of-cluster", "ManagedCluster", "demo"),
            operation("of-pool", "AgentPool", "np1"),
        ];
        let observed = Observation::default();
        Snapshot::new(
            Arc::new(cluster),
            Vec::new(),
            operations,
            observed,
            &NodeByNode,
        )
    }

    fn status(name: &str, phase: OperationPhase, has_begun: bool) -> Action {
        Action::WriteOperationStatus {
            name: name.into(),
            status: Box::new(OperationStatus {
                phase,
                start_time: has_begun.then(|| Time(clock::now())),
                ..OperationStatus::default()
            }),
        }
    }

    fn pool(name: &str) -> Action {
        Action::WritePoolStatus {
            name: name.into(),
            status: Box::default(),
        }
    }

    fn cluster() -> Action {
        Action::WriteClusterStatus(Box::default())
    }

    /// Whether an action may be done once another has failed.
    fn may(action: &Action, after: &Action, is_lasting: bool) -> bool {
        let mut failures = Failures::default();
        failures.note(after, is_lasting);
        failures.allow(action, &snapshot())
    }

    #[test]
    fn the_lock_is_not_released_for_an_operation_whose_end_is_not_written() {
        let end = status("of-pool", OperationPhase::Succeeded, true);
        for is_lasting in [false, true] {
            assert!(!may(&pool("np1"), &end, is_lasting));
            assert!(!may(&cluster(), &end, is_lasting));
        }
        let waits = status("of-pool", OperationPhase::Pending, false);
        assert!(may(&cluster(), &waits, false), "it holds no lock");
    }

    #[test]
    fn an_action_waits_while_an_action_that_it_depends_on_is_held_back() {
        let mut failures = Failures::default();
        failures.note(
            &Action::AddFinalizer(ObjectId::Operation("of-pool".into())),
            false,
        );
        let begins = status("of-pool", OperationPhase::InProgress, true);
        assert!(!failures.allow(&begins, &snapshot()));
        failures.note_undone(&begins);
        assert!(!failures.allow(&cluster(), &snapshot()));
        let lets_go = Action::RemoveFinalizer(ObjectId::Operation("of-cluster".into()));
        assert!(failures.allow(&lets_go, &snapshot()));
        failures.note_undone(&cluster());
        assert!(!failures.allow(&lets_go, &snapshot()), "it isn't kept");
    }

    #[test]
    fn a_pool_that_cannot_be_kept_holds_back_only_new_operations_on_it() {
        let keep = Action::AddFinalizer(ObjectId::Pool("np1".into()));
        for (action, expected) in [
            (cluster(), true),
            (pool("np1"), true),
            (pool("np2"), true),
            (status("of-pool", OperationPhase::Canceling, true), true),
            (
                Action::CreateOperation(Box::new(snapshot().operations[0].as_ref().clone())),
                true,
            ),
            (
                Action::CreateOperation(Box::new(snapshot().operations[1].as_ref().clone())),
                false,
            ),
        ] {
            assert_eq!(may(&action, &keep, true), expected, "{action:?}");
        }
    }

    #[test]
    fn the_lock_waits_for_a_pool_whose_write_may_still_succeed() {
        assert!(!may(&cluster(), &pool("np1"), false));
        assert!(may(&cluster(), &pool("np1"), true));
        assert!(may(&pool("np2"), &pool("np1"), false));
    }

    #[test]
    fn a_pools_status_is_not_written_if_the_lock_was_not_taken() {
        assert!(!may(&pool("np1"), &cluster(), false));
    }

    #[test]
    fn an_operation_ends_only_after_its_replacement_was_created() {
        let created = Action::CreateOperation(Box::new(snapshot().operations[0].as_ref().clone()));
        let ends = status("of-pool", OperationPhase::Failed, true);
        assert!(!may(&ends, &created, false));
        let stops = status("of-pool", OperationPhase::Canceling, true);
        assert!(may(&stops, &created, false));
    }
}
