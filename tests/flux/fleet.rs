//! A repository with the examples, and the namespace that Flux applies it to.

use std::{
    fs,
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use belay::api::{AgentPool, ManagedCluster, Operation, OperationPhase, OperationType};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use super::{
    machines,
    repository::Repository,
    stage::{PATIENCE, Stage},
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
/// The clusters of all waves, as files of the repository.
const IN_WAVES: [&str; 3] = [
    "wave-1/dev/cluster.yaml",
    "wave-2/eu/cluster.yaml",
    "wave-2/us/cluster.yaml",
];
/// Pods run on nodes of the namespace's own cluster.
const KUSTOMIZATION: &str = r#"
patches:
- target: {kind: Deployment}
  patch: '[{"op": "add", "path": "/spec/template/spec/nodeSelector/belay.dev~1namespace", "value": "NAMESPACE"}]'
resources:
"#;

/// A repository, Flux's two objects for it, and their results.
pub struct Fleet {
    pub stage: Arc<Stage>,
    pub namespace: String,
    repository: Repository,
    requests: AtomicUsize,
}

impl Fleet {
    /// Creates a repository with a cluster and its pools, which Flux applies to a namespace.
    pub async fn start(stage: &Arc<Stage>) -> Self {
        Self::of(stage, &["cluster.yaml", "pools.yaml"]).await
    }

    /// Does the same with a workload whose budget allows no eviction.
    pub async fn with_protected_workload(stage: &Arc<Stage>) -> Self {
        Self::of(stage, &["cluster.yaml", "pools.yaml", "workload.yaml"]).await
    }

    async fn of(stage: &Arc<Stage>, manifests: &[&str]) -> Self {
        Self::with(stage, "quickstart", manifests).await
    }

    /// Creates a repository with a cluster in the first wave and two in the second, which Flux applies to a namespace.
    pub async fn in_waves(stage: &Arc<Stage>) -> Self {
        let this = Self::new(stage);
        for manifest in IN_WAVES {
            let example = format!("waves/fleet/{manifest}");
            this.repository.copy(&example, manifest);
        }
        let revision = this.commit();
        this.apply_to_flux("waves/flux.yaml");
        this.wave_is_ready_at("wave-2", &revision).await;
        this
    }

    fn new(stage: &Arc<Stage>) -> Self {
        let namespace = stage.new_namespace();
        Self {
            stage: stage.clone(),
            repository: Repository::create(stage.repository(&namespace)),
            requests: AtomicUsize::new(0),
            namespace,
        }
    }

    /// Creates a repository with manifests of one folder of the examples, which Flux applies to a namespace.
    pub async fn with(stage: &Arc<Stage>, folder: &str, manifests: &[&str]) -> Self {
        let this = Self::new(stage);
        let kustomization = KUSTOMIZATION.replace("NAMESPACE", &this.namespace);
        for manifest in manifests {
            let example = format!("{folder}/{manifest}");
            this.repository.copy(&example, manifest);
        }
        let resources = format!("{kustomization}- {}\n", manifests.join("\n- "));
        this.repository.write("kustomization.yaml", &resources);
        let revision = this.commit();
        this.apply_to_flux("flux.yaml");
        this.is_ready_at(&revision).await;
        this
    }

    /// Makes Flux watch the repository as in an example.
    fn apply_to_flux(&self, example: &str) {
        let example = fs::read_to_string(Path::new(EXAMPLES).join(example)).expect("the example");
        let url = format!("{}/{}", self.stage.git, self.repository.path());
        let manifest = example
            .replace("https://git.example.com/fleet.git", &url)
            .replace("team-a", &self.namespace)
            .replace("retryInterval: 30s", "retryInterval: 2s");
        self.stage.kubectl(&["apply", "-f", "-"], &manifest);
    }

    /// Commits all changes. Returns the revision in Flux's notation.
    fn commit(&self) -> String {
        revision(&self.repository.commit())
    }

    /// Replaces a text in a file, commits it, and makes Flux fetch it. Returns the revision.
    pub fn change(&self, file: &str, from: &str, to: &str) -> String {
        self.repository.replace(file, from, to);
        let revision = self.commit();
        self.request("gitrepository", "fleet");
        revision
    }

    /// Upgrades the clusters of all waves by one commit, and makes Flux fetch it. Returns the revision.
    pub fn upgrade_all_waves(&self) -> String {
        for manifest in IN_WAVES {
            self.repository.replace(manifest, "1.35.7", "1.36.3");
        }
        let revision = self.commit();
        self.request("gitrepository", "fleet");
        revision
    }

    /// Commits another manifest, and makes Flux fetch it. Returns the revision.
    pub fn add(&self, file: &str, text: &str) -> String {
        self.repository.write(file, text);
        let resources = "\nresources:\n";
        let more = format!("{resources}- {file}\n");
        self.change("kustomization.yaml", resources, &more)
    }

    /// Reverts the last commit with another commit.
    pub fn revert(&self) -> String {
        let reverted = self.repository.revert();
        self.request("gitrepository", "fleet");
        revision(&reverted)
    }

    /// Requests a reconcile like `flux reconcile`. Returns the token.
    fn request(&self, kind: &str, name: &str) -> String {
        let token = self.requests.fetch_add(1, Ordering::Relaxed).to_string();
        let annotation = format!("reconcile.fluxcd.io/requestedAt={token}");
        self.kubectl(&["annotate", "--overwrite", kind, name, &annotation]);
        token
    }

    /// Makes Flux reconcile once more, and waits until it is done.
    pub async fn reconcile(&self) {
        self.reconcile_wave("fleet").await;
    }

    /// Does the same with the Kustomization of a wave. Returns it.
    pub async fn reconcile_wave(&self, wave: &str) -> Flux {
        let token = self.request("kustomization", wave);
        self.until_wave(wave, "Flux has reconciled again", |flux| {
            flux["status"]["lastHandledReconcileAt"] == token
        })
        .await
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let within = ["--namespace", &self.namespace];
        self.stage.kubectl(&[&within, args].concat(), "")
    }

    /// Returns a Kustomization with Flux's status.
    pub async fn flux(&self, name: &str) -> Flux {
        let kind = GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization");
        let kind = ApiResource::from_gvk(&kind);
        let api = Api::<DynamicObject>::namespaced_with(
            self.stage.client.clone(),
            &self.namespace,
            &kind,
        );
        Flux(api.get(name).await.expect("the Kustomization").data)
    }

    /// Waits until a statement about Flux's status is true. Returns this status, because Flux may change it soon after.
    pub async fn until(&self, what: &str, is_true: impl Fn(&Flux) -> bool) -> Flux {
        self.until_wave("fleet", what, is_true).await
    }

    /// Does the same with the Kustomization of a wave.
    pub async fn until_wave(
        &self,
        wave: &str,
        what: &str,
        is_true: impl Fn(&Flux) -> bool,
    ) -> Flux {
        let found = Mutex::new(None);
        self.eventually(what, || async {
            let flux = self.flux(wave).await;
            let is_true = is_true(&flux);
            *found.lock().expect("the status") = Some(flux);
            is_true
        })
        .await;
        let found = found.into_inner().expect("the status");
        found.expect("a status")
    }

    /// Waits until Flux reports that a revision is applied and ready.
    pub async fn is_ready_at(&self, revision: &str) {
        self.wave_is_ready_at("fleet", revision).await;
    }

    /// Does the same with the Kustomization of a wave.
    pub async fn wave_is_ready_at(&self, wave: &str, revision: &str) {
        self.until_wave(wave, "Flux reports Ready", |flux| {
            flux["status"]["lastAppliedRevision"] == revision && flux.has_condition("Ready", "True")
        })
        .await;
    }

    /// Waits until a statement is true. If it doesn't become true, the panic contains the statement.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, is_true: impl Fn() -> F) {
        let started = Instant::now();
        while !is_true().await {
            if started.elapsed() > PATIENCE {
                let seen =
                    self.kubectl(&["get", "gitrepository,kustomization,mc,ap,op", "-o", "wide"]);
                panic!(
                    "{}: this did not become true: {what}\n{seen}",
                    self.namespace
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.stage.client.clone(), &self.namespace)
    }

    pub async fn cluster(&self) -> ManagedCluster {
        self.api().get("demo").await.expect("the cluster")
    }

    pub async fn pool(&self, name: &str) -> AgentPool {
        self.api().get(name).await.expect("the pool")
    }

    /// Returns the Operations of a type, oldest first.
    pub async fn operations(&self, type_: OperationType) -> Vec<Operation> {
        let list = self.api().list(&ListParams::default()).await;
        let mut all: Vec<Operation> = list.expect("operations").items;
        all.retain(|operation| operation.spec.type_ == type_);
        all.sort_by_key(|operation| operation.metadata.creation_timestamp.clone());
        all
    }

    /// Waits until there is exactly one Operation of a type, and it is in this phase. Returns its name.
    pub async fn operation(&self, type_: OperationType, phase: OperationPhase) -> String {
        let what = format!("there is one Operation of type {type_:?}, and it is {phase:?}");
        let is_in_phase = |operation: &Operation| phase_of(operation) == phase;
        self.eventually(&what, || async {
            matches!(self.operations(type_).await.as_slice(), [operation] if is_in_phase(operation))
        })
        .await;
        self.operations(type_).await[0].name_any()
    }

    /// Upgrades the cluster by a commit, and waits until the budget blocks the upgrade. Returns the revision and the
    /// Operation.
    pub async fn blocked_upgrade(&self) -> (String, String) {
        let revision = self.change("cluster.yaml", "1.35.7", "1.36.3");
        let upgrade = self
            .operation(OperationType::Upgrade, OperationPhase::InProgress)
            .await;
        self.is_blocked(&upgrade).await;
        (revision, upgrade)
    }

    /// Waits until something blocks an Operation.
    pub async fn is_blocked(&self, operation: &str) {
        self.eventually("the Operation is blocked", || async {
            let operation: Operation = self.api().get(operation).await.expect("the operation");
            let status = operation.status.unwrap_or_default();
            status.blocked.is_some()
        })
        .await;
    }

    /// Aborts an Operation, and waits until the abort is complete.
    pub async fn abort(&self, operation: &str) {
        self.kubectl(&[
            "annotate",
            "operation",
            operation,
            "belay.dev/abort=stuck on a PDB",
        ]);
        self.eventually("the Operation is Canceled", || async {
            let operation: Operation = self.api().get(operation).await.expect("the operation");
            phase_of(&operation) == OperationPhase::Canceled
        })
        .await;
    }

    /// Returns the objects of one of Cluster API's kinds.
    pub async fn of_cluster_api(&self, kind: &str) -> Vec<DynamicObject> {
        let api = machines::api(self.stage.client.clone(), &self.namespace, kind);
        let list = api.list(&ListParams::default()).await;
        list.expect("objects of Cluster API").items
    }

    /// Returns the versions of the cluster's nodes.
    pub async fn versions(&self) -> Vec<String> {
        let ours = ListParams::default().labels(&format!("belay.dev/namespace={}", self.namespace));
        let nodes = Api::<Node>::all(self.stage.client.clone())
            .list(&ours)
            .await;
        let version = |node: Node| {
            let version = node.status?.node_info?.kubelet_version;
            Some(version.trim_start_matches('v').to_owned())
        };
        let nodes = nodes.expect("nodes").into_iter();
        nodes.filter_map(version).collect()
    }
}

/// Returns a commit in Flux's notation.
pub fn revision(commit: &str) -> String {
    format!("main@sha1:{commit}")
}

/// Returns the phase of an Operation.
pub fn phase_of(operation: &Operation) -> OperationPhase {
    let status = operation.status.as_ref();
    status.map(|status| status.phase).unwrap_or_default()
}

/// A Kustomization.
#[derive(Debug)]
pub struct Flux(Value);

impl std::ops::Index<&str> for Flux {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.0[field]
    }
}

impl Flux {
    pub fn condition(&self, type_: &str) -> Option<&Value> {
        let conditions = self.0["status"]["conditions"].as_array()?;
        conditions
            .iter()
            .find(|condition| condition["type"] == type_)
    }

    /// Whether a condition has this status.
    pub fn has_condition(&self, type_: &str, status: &str) -> bool {
        let has_status = |condition: &Value| condition["status"] == status;
        self.condition(type_).is_some_and(has_status)
    }

    /// Returns the reason and the message of its condition Ready.
    pub fn ready_reason_and_message(&self) -> (String, String) {
        let ready = self.condition("Ready").expect("a condition");
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }
}
