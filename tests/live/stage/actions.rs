//! What users do in a test's namespace.

use std::time::{Duration, Instant};

use belay::api::{AgentPool, Aspect, ManagedCluster, Operation, TargetKind};
use futures::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Node},
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams, WatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::belay::{Belay, is_cordoned, is_node_ready};

/// The key of the taint on nodes of the provider kwok.
pub const KWOK: &str = "kwok.x-k8s.io/node";

impl Belay {
    /// Creates a cluster whose nodes come up in this many milliseconds.
    pub async fn create_cluster(&self, provisioning_milliseconds: u32) {
        let time = format!("{provisioning_milliseconds}ms");
        self.create_cluster_with(json!({"provider": {"kwok": {"nodeProvisioningTime": time}}}))
            .await;
    }

    /// Creates a cluster with these settings; the version is 1.35.7 unless they name another one.
    pub async fn create_cluster_with(&self, settings: Value) {
        let spec = merged(json!({"kubernetesVersion": "1.35.7"}), settings);
        self.create_object::<ManagedCluster>("demo", spec).await;
    }

    /// Creates a User pool of the cluster.
    pub async fn create_pool(&self, name: &str, count: usize) {
        self.create_pool_with(name, json!({"count": count})).await;
    }

    /// Creates a pool of the cluster with these settings.
    pub async fn create_pool_with(&self, name: &str, settings: Value) {
        let spec = merged(json!({"clusterName": "demo"}), settings);
        self.create_object::<AgentPool>(name, spec).await;
    }

    /// Creates a cluster with one pool `np1`, and waits until the pool is ready.
    pub async fn ready_cluster(&self, provisioning_milliseconds: u32, count: usize) {
        self.create_cluster(provisioning_milliseconds).await;
        self.create_pool("np1", count).await;
        self.pool_is_ready("np1").await;
    }

    /// Creates a ready cluster with one pool `np1`, and a workload whose budget allows no eviction. Each drain is
    /// blocked.
    pub async fn cluster_with_blocked_drains(&self, count: usize) {
        self.ready_cluster(0, count).await;
        self.create_workload(count, count).await;
    }

    /// Creates a Deployment with this many pods on the pool's nodes, and a PDB with this `minAvailable`.
    pub async fn create_workload(&self, pods: usize, min_available: usize) {
        let accepts_pods = |node: &Node| {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
            taints.is_none_or(|taints| taints.iter().all(|taint| taint.key == KWOK))
        };
        self.eventually("all nodes accept pods", || async {
            self.nodes().await.iter().all(accepts_pods)
        })
        .await;
        let labels = json!({"app": "web"});
        let template = json!({
            "metadata": {"labels": labels},
            "spec": {
                "nodeSelector": {"belay.dev/namespace": self.namespace},
                "tolerations": [{"key": KWOK, "operator": "Exists"}],
                "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1,
                    "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "Honor", "labelSelector": {"matchLabels": labels}}],
                "containers": [{"name": "web", "image": "web:1"}],
            },
        });
        self.create_object::<Deployment>(
            "web",
            json!({"replicas": pods, "selector": {"matchLabels": labels}, "template": template}),
        )
        .await;
        self.create_object::<PodDisruptionBudget>(
            "web",
            json!({"minAvailable": min_available, "selector": {"matchLabels": labels}}),
        )
        .await;
        self.workload_is_healthy(pods).await;
    }

    /// Waits until the workload's PDB counts this many healthy pods.
    pub async fn workload_is_healthy(&self, pods: usize) {
        self.budget_counts("web", pods).await;
    }

    /// Waits until the status of a PDB counts this many healthy pods.
    pub async fn budget_counts(&self, budget: &str, pods: usize) {
        let budgets = self.api::<PodDisruptionBudget>();
        let is_healthy = || async {
            let budget = budgets.get(budget).await.expect("the budget");
            let status = budget.status.unwrap_or_default();
            status.current_healthy == i32::try_from(pods).ok()
                && status.observed_generation == budget.metadata.generation
        };
        let what = format!("the budget {budget} counts {pods} healthy pods");
        self.eventually(&what, is_healthy).await;
    }

    /// Changes the PDB's minAvailable.
    pub async fn set_min_available(&self, min_available: usize) {
        self.merge::<PodDisruptionBudget>("web", json!({"spec": {"minAvailable": min_available}}))
            .await;
    }

    pub async fn set_version(&self, version: &str) {
        self.set_cluster(json!({"kubernetesVersion": version}))
            .await;
    }

    pub async fn set_count(&self, pool: &str, count: usize) {
        self.set_pool(pool, json!({"count": count})).await;
    }

    /// Changes the cluster's spec.
    pub async fn set_cluster(&self, spec: Value) {
        self.merge::<ManagedCluster>("demo", json!({"spec": spec}))
            .await;
    }

    /// Changes a pool's spec.
    pub async fn set_pool(&self, pool: &str, spec: Value) {
        self.merge::<AgentPool>(pool, json!({"spec": spec})).await;
    }

    /// Sets how long machines and changes of the control plane take from now on.
    pub async fn set_provisioning_time(&self, time: &str) {
        self.set_cluster(json!({"provider": {"kwok": {"nodeProvisioningTime": time}}}))
            .await;
    }

    /// Requests the abort of an Operation.
    pub async fn abort(&self, operation: &str, reason: &str) {
        self.try_abort(operation, reason).await.expect("patched");
    }

    /// Requests the abort of an Operation that may have ended.
    pub async fn try_abort(&self, operation: &str, reason: &str) -> kube::Result<Operation> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"belay.dev/abort": reason}}}));
        let operations = self.api::<Operation>();
        operations
            .patch(operation, &PatchParams::default(), &patch)
            .await
    }

    pub async fn annotate<K: NamespacedKind>(&self, name: &str, annotations: Value) {
        self.merge::<K>(name, json!({"metadata": {"annotations": annotations}}))
            .await;
    }

    /// Creates an Operation on the cluster.
    pub async fn create_operation_on_cluster(&self, name: &str, type_: &str, parameters: Value) {
        let target = json!({"kind": "ManagedCluster", "name": "demo"});
        let spec = merged(json!({"type": type_, "target": target}), parameters);
        self.create_object::<Operation>(name, spec).await;
    }

    /// Creates an Operation on a pool.
    pub async fn create_operation_on_pool(
        &self,
        name: &str,
        pool: &str,
        type_: &str,
        parameters: Value,
    ) {
        let target = json!({"kind": "AgentPool", "name": pool});
        let spec = merged(json!({"type": type_, "target": target}), parameters);
        self.create_object::<Operation>(name, spec).await;
    }

    /// Creates an Operation of type Reconcile. Retries until admission also sees that the lock is free.
    pub async fn reconcile(&self, kind: TargetKind, target: &str, name: &str) {
        let spec = json!({"type": "Reconcile", "target": {"kind": kind, "name": target}});
        let operation = Operation::new(name, serde_json::from_value(spec).expect("a spec"));
        let operations = self.api::<Operation>();
        let is_created = || async {
            let created = operations.create(&PostParams::default(), &operation).await;
            match created {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.code == 403 => false,
                Err(error) => panic!("{error}"),
            }
        };
        self.eventually("admission allows a Reconcile", is_created)
            .await;
    }

    /// Runs `kubectl apply` on an object.
    pub fn apply(&self, object: &Value) {
        self.apply_manifests(&object.to_string());
    }

    /// Applies manifests in the namespace.
    pub fn apply_manifests(&self, manifests: &str) {
        let args = ["apply", "-n", &self.namespace];
        let applied = self.world.kubectl_with(&args, manifests);
        applied.unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// Waits until new objects get a creation time that is this many seconds after the object's. Creation times are
    /// whole seconds.
    pub async fn wait_until_later(&self, than: &impl Resource, seconds: i64) {
        let made = than.meta().creation_timestamp.clone().expect("a time").0;
        let is_later = || async { self.now().await.0.as_second() >= made.as_second() + seconds };
        self.eventually("it is late enough", is_later).await;
    }

    /// Returns the API server's time.
    async fn now(&self) -> Time {
        let mut probe = ConfigMap::default();
        probe.metadata.name = Some("time-probe".into());
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let probe = self.api::<ConfigMap>().create(&dry_run, &probe).await;
        let made = probe.expect("a dry run").metadata.creation_timestamp;
        made.expect("a time")
    }

    /// Deletes the workload's pods on nodes that are being drained. No budget prevents a deletion. The drains in
    /// progress end; the next drain is blocked again.
    pub async fn delete_blocking_pods(&self) {
        let draining = self.nodes().await.into_iter().filter(is_cordoned);
        for node in draining {
            let on_node = format!("spec.nodeName={}", node.name_any());
            let delete = ["delete", "pods", "-l", "app=web", "--wait=false"];
            self.kubectl(&[&delete[..], &["--field-selector", &on_node]].concat());
        }
    }

    /// Returns how long this many sequential writes take now. A watch must show each write before the next one.
    pub async fn duration_of_writes(&self, writes: usize) -> Duration {
        let maps = self.api::<ConfigMap>();
        let mut map = ConfigMap::default();
        map.metadata.name = Some("write-probe".into());
        let created = maps.create(&PostParams::default(), &map).await;
        let version = created.expect("created").resource_version();
        let of_map = WatchParams::default().fields("metadata.name=write-probe");
        let changes = maps.watch(&of_map, &version.expect("a version")).await;
        let mut changes = std::pin::pin!(changes.expect("a watch"));
        let (params, started) = (PatchParams::default(), Instant::now());
        for number in 0..writes {
            let patch = Patch::Merge(json!({"data": {"number": number.to_string()}}));
            let written = maps.patch("write-probe", &params, &patch).await;
            written.expect("patched");
            changes.next().await.expect("a change").expect("a change");
        }
        started.elapsed()
    }

    /// Simulates that a node's kubelet dies: the node is no longer Ready.
    pub async fn break_node(&self, node: &str) {
        let nodes = Api::<Node>::all(self.client.clone());
        let params = PatchParams::default();
        let without_kubelet = json!({"metadata": {"annotations": {"kwok.x-k8s.io/node": "ended"}}});
        let patched = nodes
            .patch(node, &params, &Patch::Merge(without_kubelet))
            .await;
        patched.expect("patched");
        let condition = json!({"type": "Ready", "status": "False", "reason": "KubeletDead",
            "message": "the kubelet died", "lastTransitionTime": self.now().await});
        let unready = json!({"status": {"conditions": [condition]}});
        self.eventually("the node is not Ready", || async {
            let patch = Patch::Strategic(&unready);
            let patched = nodes.patch_status(node, &params, &patch).await;
            patched.expect("patched");
            let node = nodes.get(node).await.expect("the node");
            !is_node_ready(&node)
        })
        .await;
    }

    /// Starts a node's kubelet again.
    pub async fn recover_node(&self, node: &str) {
        let nodes = Api::<Node>::all(self.client.clone());
        let with_kubelet = json!({"metadata": {"annotations": {"kwok.x-k8s.io/node": "fake"}}});
        let patched = nodes
            .patch(node, &PatchParams::default(), &Patch::Merge(with_kubelet))
            .await;
        patched.expect("patched");
    }

    /// Creates an object. Retries until admission allows it.
    pub async fn create_object<K: NamespacedKind>(&self, name: &str, spec: Value) {
        let object = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name},
            "spec": spec,
        });
        let object = serde_json::from_value(object).expect("an object");
        let (api, params) = (self.api::<K>(), PostParams::default());
        self.retry_until_admitted(|| async { api.create(&params, &object).await.map(|_| ()) })
            .await;
    }

    async fn merge<K: NamespacedKind>(&self, name: &str, patch: Value) {
        let (api, params) = (self.api::<K>(), PatchParams::default());
        let patch = Patch::Merge(patch);
        self.retry_until_admitted(|| async { api.patch(name, &params, &patch).await.map(|_| ()) })
            .await;
    }

    /// Retries a request until it is admitted. Admission reads a cache, so it may still refuse a request because of an
    /// operation that has just released the lock. An API server that has just started may refuse it because it doesn't
    /// know Belay's kinds yet.
    async fn retry_until_admitted<F: Future<Output = kube::Result<()>>>(
        &self,
        request: impl Fn() -> F,
    ) {
        while let Err(error) = request().await {
            let message = error.to_string();
            let held = self.cluster_status().await.operations;
            let mut have_ended = true;
            for held in held.iter().filter(|held| message.contains(&held.name)) {
                have_ended &= self.has_ended(&held.name).await;
            }
            // The refusal because of a start or a stop doesn't name the operation.
            let states = ["State(Starting)", "State(Stopping)"];
            let power_change_has_ended =
                held.is_empty() && states.iter().any(|state| message.contains(state));
            let server_has_just_started =
                message.contains("failed to find resource referenced by paramKind");
            assert!(
                message.contains(" is in progress") && have_ended
                    || power_change_has_ended
                    || server_has_just_started,
                "{message}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a pool's status puts this aspect on hold.
    pub async fn pool_holds(&self, pool: &str, aspect: Aspect) {
        self.eventually(
            &format!("the status of {pool} holds {aspect:?}"),
            || async {
                let hold = self.pool_status(pool).await.hold;
                hold.is_some_and(|hold| hold.aspects.contains(&aspect))
            },
        )
        .await;
    }

    /// Whether an Operation has ended or was deleted.
    async fn has_ended(&self, operation: &str) -> bool {
        let found = self.api::<Operation>().get_opt(operation).await;
        let status = found.expect("an answer").map(|found| found.status);
        status.is_none_or(|status| status.unwrap_or_default().phase.is_finished())
    }
}

/// A namespaced kind that users create.
pub trait NamespacedKind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
}

impl<K> NamespacedKind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
{
}

/// Returns `base` with the members of `more`.
fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
    base
}
