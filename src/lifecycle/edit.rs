//! Changes to a snapshot in memory, as the API server would make them to the objects.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::api::{
    AgentPool, FINALIZER, OPERATION_UID_LABEL, Operation, OperationTarget, TargetKind,
};

use super::{
    observed::NodeView,
    snapshot::{ObjectId, Snapshot},
};

impl Snapshot {
    /// Returns the pool of that name for a change.
    pub(super) fn pool_mut(&mut self, name: &str) -> Option<&mut AgentPool> {
        let mut pools = self.pools.iter_mut();
        pools
            .find(|pool| pool.metadata.name.as_deref() == Some(name))
            .map(Arc::make_mut)
    }

    /// Returns the Operation of that name for a change.
    pub(super) fn operation_mut(&mut self, name: &str) -> Option<&mut Operation> {
        let mut operations = self.operations.iter_mut();
        operations
            .find(|operation| operation.metadata.name.as_deref() == Some(name))
            .map(Arc::make_mut)
    }

    /// Returns the metadata of an object for a change.
    pub(super) fn metadata_mut(&mut self, id: &ObjectId) -> Option<&mut ObjectMeta> {
        match id {
            ObjectId::Cluster => Some(&mut Arc::make_mut(&mut self.cluster).metadata),
            ObjectId::Pool(name) => Some(&mut self.pool_mut(name)?.metadata),
            ObjectId::Operation(name) => Some(&mut self.operation_mut(name)?.metadata),
        }
    }

    /// Adds the finalizer to an object, or removes it.
    pub(super) fn set_finalizer(&mut self, id: &ObjectId, is_kept: bool) {
        if let Some(metadata) = self.metadata_mut(id) {
            metadata.finalizers = is_kept.then(|| vec![FINALIZER.to_owned()]);
            if let (ObjectId::Operation(_), true) = (id, is_kept) {
                let uid = metadata.uid.clone().unwrap_or_default();
                let labels = metadata.labels.get_or_insert_default();
                labels.insert(OPERATION_UID_LABEL.to_owned(), uid);
            }
        }
        if let (ObjectId::Pool(pool), true) = (id, is_kept) {
            self.adopt(pool);
        }
    }

    /// Removes nodes from the work of these Operations, given by uid.
    pub(super) fn mend(&mut self, uids: &BTreeSet<String>) {
        for nodes in self.observed.nodes.values_mut() {
            leave_nothing_half_done(nodes, uids);
        }
    }

    /// Makes the cluster a pool's owner.
    pub(super) fn adopt(&mut self, pool: &str) {
        let owner = self.cluster.owner_ref(&());
        if let Some(pool) = self.pool_mut(pool) {
            pool.metadata.owner_references = owner.map(|owner| vec![owner]);
        }
    }

    /// Adds a label to an object, or removes it.
    pub(super) fn label(&mut self, id: &ObjectId, label: &str, has: bool) {
        let Some(metadata) = self.metadata_mut(id) else {
            return;
        };
        let labels = metadata.labels.get_or_insert_default();
        if has {
            labels.insert(label.into(), "true".into());
        } else {
            labels.remove(label);
        }
    }

    /// Writes fields into the spec of a target.
    pub(super) fn change_spec(&mut self, target: &OperationTarget, fields: &Value) {
        match target.kind {
            TargetKind::ManagedCluster => {
                let cluster = Arc::make_mut(&mut self.cluster);
                merge(&mut cluster.spec, fields);
            }
            TargetKind::AgentPool => {
                if let Some(pool) = self.pool_mut(&target.name) {
                    merge(&mut pool.spec, fields);
                }
            }
        }
    }

    /// Removes a pool or an Operation that is being deleted and has no finalizer of Belay. Returns whether nothing
    /// keeps the object any longer.
    pub(super) fn remove_if_let_go(&mut self, id: &ObjectId) -> bool {
        let is_let_go = self.metadata_mut(id).is_some_and(|metadata| {
            metadata.deletion_timestamp.is_some() && !crate::api::is_kept(metadata)
        });
        if is_let_go {
            match id {
                ObjectId::Cluster => {}
                ObjectId::Pool(name) => self.pools.retain(|pool| pool.name_any() != *name),
                ObjectId::Operation(name) => self
                    .operations
                    .retain(|operation| operation.name_any() != *name),
            }
        }
        is_let_go
    }
}

/// Returns the id of the object that a target names.
pub(super) fn id_of(target: &OperationTarget) -> ObjectId {
    match target.kind {
        TargetKind::ManagedCluster => ObjectId::Cluster,
        TargetKind::AgentPool => ObjectId::Pool(target.name.clone()),
    }
}

/// Removes nodes from the work of these Operations, given by uid: nodes that hadn't joined their pool are removed,
/// and nodes that were drained take pods again.
pub(crate) fn leave_nothing_half_done(nodes: &mut Vec<NodeView>, uids: &BTreeSet<String>) {
    let is_of = |by: &Option<String>| by.as_ref().is_some_and(|uid| uids.contains(uid));
    nodes.retain(|node| !(node.joining && is_of(&node.made_by)));
    for node in nodes.iter_mut().filter(|node| is_of(&node.drained_by)) {
        node.drained_by = None;
        node.cordoned = false;
    }
}

/// Overwrites fields of a spec. A result that isn't a valid spec is dropped.
fn merge<T: Serialize + DeserializeOwned>(spec: &mut T, fields: &Value) {
    let mut merged = json!(spec);
    if let (Some(into), Some(fields)) = (merged.as_object_mut(), fields.as_object()) {
        into.extend(fields.clone());
    }
    if let Ok(changed) = serde_json::from_value(merged) {
        *spec = changed;
    }
}
