//! Carries out the actions of a pass. Every write carries the resourceVersion that it was decided on, so a decision on
//! an old view writes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PostParams},
    core::Status,
    runtime::reflector::ObjectRef,
};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::Span;

use crate::{
    api::{
        AgentPool, CLUSTER_LABEL, FINALIZER, FOLLOWS_CLUSTER_LABEL, ManagedCluster,
        OPERATION_UID_LABEL, Operation, OperationSpec, OperationTarget, OperationType, TargetKind,
    },
    lifecycle::{Action, ObjectId, Snapshot},
    machinery::{delete_params, patch_params, post_params},
    telemetry::log,
};

use super::{
    Context, ReconcileError,
    dependence::object_of,
    mending,
    ours::Ours,
    patches::{self, finalizers_of_others},
    refusals::Part,
    terminating,
};

/// How long one write may take. A write without an answer by then may have been done or not, so Belay decides on it
/// again.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a pass waits for one write. An abort may come in the meantime, and must be taken up.
pub const PATIENCE: Duration = Duration::from_millis(800);

/// The pass starts to wait at most this long before the write starts.
const MARGIN: Duration = Duration::from_millis(100);

/// The writes of one pass.
pub struct Writes {
    context: Arc<Context>,
    snapshot: Snapshot,
    namespace: String,
    /// The resourceVersions of objects after this pass's own writes.
    versions: Mutex<HashMap<ObjectId, Option<String>>>,
}

impl Writes {
    /// Creates writes that were decided on `snapshot`.
    pub fn new(context: Arc<Context>, snapshot: Snapshot) -> Self {
        let namespace = snapshot.cluster.namespace().unwrap_or_default();
        Self {
            context,
            snapshot,
            namespace,
            versions: Mutex::default(),
        }
    }

    /// Returns the snapshot that these writes were decided on.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Carries out one action. While a write to an object isn't answered, nothing else is written to the object. A
    /// refusal is remembered for the object's status.
    ///
    /// # Errors
    /// Returns the reason if the action wasn't done.
    pub async fn act(&self, action: Action) -> Result<(), ReconcileError> {
        let uid = object_of(&action).and_then(|id| self.uid(&id));
        let Some(uid) = uid else {
            return self.bounded(action).await;
        };
        let part = Part::of(&action);
        let Some(writing) = self.context.writing.begin(&uid) else {
            return Err(ReconcileError::NoAnswer);
        };
        let began = Instant::now();
        let turn = self.context.turns.wait_for(&action).await;
        let done = self.bounded(action).await;
        drop((writing, turn));
        if began.elapsed() + MARGIN >= PATIENCE {
            // The pass may have stopped waiting for it.
            self.context
                .wake(&ObjectRef::from_obj(self.snapshot.cluster.as_ref()));
        }
        match &done {
            Ok(()) => self.context.refusals.forget(&uid, part),
            Err(error) if error.is_refusal() => {
                self.context.refusals.note(&uid, part, error.to_string());
            }
            Err(_) => {}
        }
        done
    }

    async fn bounded(&self, action: Action) -> Result<(), ReconcileError> {
        let acted = tokio::time::timeout(TIMEOUT, self.carry_out(action)).await;
        acted.map_err(|_| ReconcileError::NoAnswer)?
    }

    /// Whether writes to the object of an action were already refused before this pass.
    pub fn was_refused(&self, action: &Action) -> bool {
        let uid = object_of(action).and_then(|id| self.uid(&id));
        uid.is_some_and(|uid| self.snapshot.refused_writes.contains_key(&uid))
    }

    fn uid(&self, id: &ObjectId) -> Option<String> {
        match id {
            ObjectId::Cluster => self.snapshot.cluster.uid(),
            ObjectId::Pool(name) => self.snapshot.pool(name)?.uid(),
            ObjectId::Operation(name) => self.snapshot.operation(name)?.uid(),
        }
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<ObjectId, Option<String>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry_out(&self, action: Action) -> Result<(), ReconcileError> {
        match action {
            Action::AddFinalizer(id) => self.set_finalizer(id, true).await,
            Action::RemoveFinalizer(id) => self.set_finalizer(id, false).await,
            Action::AdoptPool(name) => self.adopt(name).await,
            Action::Label { id, label, has } => self.label(id, label, has).await,
            Action::DeletePool(name) => self.delete_pool(&name).await,
            Action::DeleteOperation(name) => self.delete_operation(&name).await,
            Action::ChangeSpec { uid, change } => {
                let context = &self.context;
                context
                    .specs
                    .change(&context.client, &self.snapshot, &uid, &change)
                    .await
            }
            Action::CreateOperation(operation) => self.create(*operation).await,
            Action::WriteOperationStatus { name, status } => {
                self.span(&name).in_scope(|| {
                    let blocked = status.blocked.as_ref().map(|blocked| &blocked.message);
                    tracing::info!(phase = ?status.phase, percent = status.percent_complete, blocked, "status");
                });
                let before = self.snapshot.operation(&name);
                self.write_status::<Operation>(ObjectId::Operation(name.clone()), &*status)
                    .await?;
                if let Some(before) = before {
                    self.context.telemetry.wrote(before, &status);
                }
                Ok(())
            }
            Action::WritePoolStatus { name, status } => {
                self.write_status::<AgentPool>(ObjectId::Pool(name), &*status)
                    .await
            }
            Action::WriteClusterStatus(status) => {
                self.write_status::<ManagedCluster>(ObjectId::Cluster, &*status)
                    .await
            }
            Action::StopWork { uid, stop } => {
                self.context.workers.stop(&uid, stop);
                Ok(())
            }
            Action::StartWork { job, stop } => {
                let provider = self
                    .context
                    .providers
                    .of(&job.provider)
                    .ok_or(ReconcileError::NoProvider)?;
                self.context.workers.start(provider, *job, stop);
                Ok(())
            }
            Action::ForgetWork { uid } => {
                self.context.workers.forget(&uid);
                Ok(())
            }
            Action::LookForOperation { name, uid } => self.look_for(&name, &uid).await,
            Action::Mend { uids } => {
                mending::mend(&self.context, &self.snapshot.cluster, uids);
                Ok(())
            }
            Action::Publish(note) => {
                self.context.events.publish(&self.snapshot, note);
                Ok(())
            }
        }
    }

    fn api<K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>>(
        &self,
    ) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.namespace)
    }

    /// Returns the span for log lines about an action. It names the Operation if the action writes one.
    pub fn span_of(&self, action: &Action) -> Span {
        match object_of(action) {
            Some(ObjectId::Operation(name)) => self.span(&name),
            _ => Span::current(),
        }
    }

    fn span(&self, operation: &str) -> Span {
        let cluster = self.snapshot.cluster.name_any();
        log::operation(operation, &self.namespace, &cluster)
    }

    /// Returns the object's name, and the resourceVersion that the next write to it carries.
    fn target(&self, id: &ObjectId) -> (String, Option<String>) {
        let snapshot = &self.snapshot;
        let (name, version) = match id {
            ObjectId::Cluster => (
                snapshot.cluster.name_any(),
                snapshot.cluster.resource_version(),
            ),
            ObjectId::Pool(name) => (
                name.clone(),
                snapshot.pool(name).and_then(ResourceVersioned::version),
            ),
            ObjectId::Operation(name) => (
                name.clone(),
                snapshot
                    .operation(name)
                    .and_then(ResourceVersioned::version),
            ),
        };
        (name, self.versions().get(id).cloned().unwrap_or(version))
    }

    async fn write_status<K>(
        &self,
        id: ObjectId,
        status: &impl Serialize,
    ) -> Result<(), ReconcileError>
    where
        K: Ours,
    {
        let (name, version) = self.target(&id);
        let patch = patches::status(version.as_deref(), status);
        let written = self
            .api::<K>()
            .patch_status(&name, &patch_params(), &patch)
            .await?;
        self.wrote(id, written);
        Ok(())
    }

    /// Notes the answer to a write. The next decision uses it, even if no watch has shown it yet.
    fn wrote<K: Ours>(&self, id: ObjectId, object: K) {
        self.context.seen.wrote(&object);
        self.versions().insert(id, object.resource_version());
        K::index(&self.context.stores).put(object);
    }

    async fn label(&self, id: ObjectId, label: &str, has: bool) -> Result<(), ReconcileError> {
        let metadata = json!({"labels": {label: has.then_some("true")}});
        match id {
            ObjectId::Cluster => self.patch_metadata::<ManagedCluster>(id, metadata).await,
            ObjectId::Pool(_) => self.patch_metadata::<AgentPool>(id, metadata).await,
            ObjectId::Operation(_) => self.patch_metadata::<Operation>(id, metadata).await,
        }
    }

    async fn set_finalizer(&self, id: ObjectId, keep: bool) -> Result<(), ReconcileError> {
        match id {
            ObjectId::Cluster => self.patch_finalizers::<ManagedCluster>(id, keep).await,
            ObjectId::Pool(_) => self.patch_finalizers::<AgentPool>(id, keep).await,
            ObjectId::Operation(_) => self.patch_finalizers::<Operation>(id, keep).await,
        }
    }

    async fn patch_finalizers<K: Ours>(
        &self,
        id: ObjectId,
        keep: bool,
    ) -> Result<(), ReconcileError> {
        let snapshot = &self.snapshot;
        let mut finalizers = match &id {
            ObjectId::Cluster => finalizers_of_others(snapshot.cluster.as_ref()),
            ObjectId::Pool(name) => snapshot
                .pool(name)
                .map(finalizers_of_others)
                .unwrap_or_default(),
            ObjectId::Operation(name) => snapshot
                .operation(name)
                .map(finalizers_of_others)
                .unwrap_or_default(),
        };
        if keep {
            finalizers.push(FINALIZER.to_owned());
        }
        let mut metadata = match &id {
            ObjectId::Operation(name) if keep => {
                let uid = self.snapshot.operation(name).and_then(ResourceExt::uid);
                let cluster = self.snapshot.cluster.name_any();
                // Whoever created the Operation may have written any label.
                json!({"labels": {OPERATION_UID_LABEL: uid, CLUSTER_LABEL: cluster}})
            }
            ObjectId::Pool(name) if keep => self.adopted(name),
            _ => json!({}),
        };
        metadata["finalizers"] = json!(finalizers);
        self.patch_metadata::<K>(id, metadata).await
    }

    async fn adopt(&self, name: String) -> Result<(), ReconcileError> {
        let metadata = self.adopted(&name);
        self.patch_metadata::<AgentPool>(ObjectId::Pool(name), metadata)
            .await
    }

    /// Returns the owner reference and the label that make a pool belong to its cluster.
    fn adopted(&self, name: &str) -> Value {
        let cluster = &self.snapshot.cluster;
        let owner = json!({
            "apiVersion": ManagedCluster::api_version(&()),
            "kind": ManagedCluster::kind(&()),
            "name": cluster.name_any(),
            "uid": cluster.uid(),
        });
        let pool = self.snapshot.pool(name);
        let mut owners = json!(pool.map(ResourceExt::owner_references).unwrap_or_default());
        if let Some(owners) = owners.as_array_mut() {
            owners.retain(|other| {
                other["kind"] != owner["kind"] || other["apiVersion"] != owner["apiVersion"]
            });
            owners.push(owner);
        }
        let labels = json!({CLUSTER_LABEL: cluster.name_any(), FOLLOWS_CLUSTER_LABEL: null});
        json!({"ownerReferences": owners, "labels": labels})
    }

    /// Merges metadata into an object, at the version that it was decided on. Others write metadata too, so it isn't
    /// replaced.
    async fn patch_metadata<K: Ours>(
        &self,
        id: ObjectId,
        mut metadata: Value,
    ) -> Result<(), ReconcileError> {
        let (name, version) = self.target(&id);
        metadata["resourceVersion"] = json!(version);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let written = self.api::<K>().patch(&name, &patch_params(), &patch).await;
        match written {
            Ok(object) => self.wrote(id, object),
            // The removal of the last finalizer may be answered this way, because the object is deleted with it.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn delete_pool(&self, name: &str) -> Result<(), ReconcileError> {
        let uid = self.snapshot.pool(name).and_then(ResourceExt::uid);
        self.delete::<AgentPool>(name, uid).await
    }

    async fn delete_operation(&self, name: &str) -> Result<(), ReconcileError> {
        let uid = self.snapshot.operation(name).and_then(ResourceExt::uid);
        self.delete::<Operation>(name, uid).await
    }

    async fn delete<K: Ours>(&self, name: &str, uid: Option<String>) -> Result<(), ReconcileError> {
        let params = delete_params(uid);
        match self.api::<K>().delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the API server whether an Operation exists, because a store may lag behind. A running Operation must not
    /// lose its lock.
    async fn look_for(&self, name: &str, uid: &str) -> Result<(), ReconcileError> {
        // A list of this one Operation reads the newest state, and needs no rights beyond those of the watch.
        let of_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.api::<Operation>().list(&of_name).await?.items;
        if found
            .iter()
            .any(|operation| operation.uid().as_deref() == Some(uid))
        {
            return Err(ReconcileError::Stale);
        }
        tracing::warn!(
            operation = name,
            uid,
            "an Operation in flight no longer exists"
        );
        self.context.gone.note(uid);
        Err(ReconcileError::Refused)
    }

    /// Notes whether the namespace is being deleted. It tries a creation in a dry run, which needs no additional
    /// rights.
    ///
    /// # Errors
    /// [`ReconcileError::Refused`] if it is being deleted. Then Belay has to decide again.
    pub async fn look_at_namespace(&self) -> Result<(), ReconcileError> {
        let spec = OperationSpec {
            type_: OperationType::Reconcile,
            target: OperationTarget {
                kind: TargetKind::ManagedCluster,
                name: self.snapshot.cluster.name_any(),
            },
            kubernetes_version: None,
            count: None,
            timeout: None,
        };
        let params = PostParams {
            dry_run: true,
            ..post_params()
        };
        let probe = Operation::new("is-the-namespace-being-deleted", spec);
        let operations = self.api::<Operation>();
        let tried = tokio::time::timeout(TIMEOUT, operations.create(&params, &probe)).await;
        let tried = tried.map_err(|_| ReconcileError::NoAnswer)?;
        match tried {
            Err(kube::Error::Api(status)) if self.is_terminating(&status) => {
                Err(ReconcileError::Refused)
            }
            _ => Ok(()),
        }
    }

    /// Whether a refused creation means that no Operation can be created any more. If so, this is noted.
    fn is_terminating(&self, refusal: &Status) -> bool {
        let cluster = &self.snapshot.cluster;
        let is_terminating = terminating::for_ever(refusal, cluster);
        if is_terminating {
            let uid = cluster.uid().unwrap_or_default();
            self.context.terminating.note(&uid);
        }
        is_terminating
    }

    async fn create(&self, operation: Operation) -> Result<(), ReconcileError> {
        let name = operation.name_any();
        let operations = self.api::<Operation>();
        match operations.create(&post_params(), &operation).await {
            Ok(_) => {
                let cluster = ObjectRef::from_obj(self.snapshot.cluster.as_ref());
                self.context.created.note(cluster, name.clone());
                let spec = &operation.spec;
                self.span(&name).in_scope(
                    || tracing::info!(type = ?spec.type_, target_name = spec.target.name, "created"),
                );
            }
            // The Operation was created before, and the store doesn't show it yet.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if self.is_terminating(&status) => {
                return Err(ReconcileError::Refused);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

trait ResourceVersioned {
    fn version(&self) -> Option<String>;
}
impl<K: Resource> ResourceVersioned for K {
    fn version(&self) -> Option<String> {
        self.resource_version()
    }
}
