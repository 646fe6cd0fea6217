//! What the tests stand on: a namespace with an operator of its own, and what a user does there.

use std::{
    ffi::OsStr,
    future::Future,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ::belay::api::{
    AgentPool, ManagedCluster, Operation, OperationInFlight, OperationPhase, OperationStatus,
    OperationType, TargetKind,
};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use testenv::{ControlPlane, Process};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_mins(3);

/// The control plane of all tests.
pub struct World {
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
    pub handle: tokio::runtime::Handle,
    namespaces: AtomicUsize,
}

impl World {
    /// Makes Belay's kinds known to the control plane.
    pub fn new(control_plane: ControlPlane, handle: tokio::runtime::Handle) -> Self {
        let kubeconfig = control_plane.dir().join("admin.kubeconfig");
        let this = Self {
            control_plane,
            kubeconfig,
            handle,
            namespaces: AtomicUsize::new(0),
        };
        this.kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")]);
        for crd in ["managedclusters", "agentpools", "operations"] {
            let crd = format!("crd/{crd}.belay.dev");
            this.kubectl(&["wait", "--for=condition=Established", &crd]);
        }
        // Discovery comes a moment later.
        let began = Instant::now();
        while this.try_kubectl(&["explain", "operation"]).is_err() {
            assert!(began.elapsed() < PATIENCE, "never explains operations");
        }
        this.kubectl(&[
            "apply",
            "-f",
            concat!(env!("CARGO_MANIFEST_DIR"), "/policies"),
        ]);
        this.wait_for_policies();
        this
    }

    /// Waits until the API server judges by the policies: by the last of them, and by the one that stamps.
    fn wait_for_policies(&self) {
        let cluster = "{apiVersion: belay.dev/v1alpha1, kind: ManagedCluster, metadata: {name: probe, annotations: {belay.dev/abort: x}}, spec: {kubernetesVersion: 1.35.7, provider: {kwok: {}}}}";
        let pool = "{apiVersion: belay.dev/v1alpha1, kind: AgentPool, metadata: {name: probe}, spec: {clusterName: probe, count: 1, kubernetesVersion: 1.36.3}}";
        let apply = ["apply", "--server-side", "-o", "yaml"];
        let try_it = [&apply[..], &["--dry-run=server"]].concat();
        let began = Instant::now();
        loop {
            let stamped = self.kubectl_with(&try_it, cluster).is_ok_and(|made| {
                made.contains(::belay::api::ABORT_REQUESTED_BY_ANNOTATION)
                    && self.kubectl_with(&apply, cluster).is_ok()
            });
            let refused = self.kubectl_with(&try_it, pool).err();
            if stamped && refused.is_some_and(|why| why.contains("can't be newer")) {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "the policies never took hold");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kubectl(&["delete", "managedcluster", "probe"]);
    }

    /// Runs kubectl on a manifest.
    pub fn kubectl_with(&self, args: &[&str], manifest: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(manifest.as_bytes()).expect("written");
        let path = file.path().display().to_string();
        self.try_kubectl(&[args, &["-f", &path]].concat())
    }

    /// Runs kubectl and gives what it printed, where it succeeded.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args)
            .unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    /// Runs kubectl and gives what it printed, or its error.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let output = self
            .control_plane
            .kubectl()
            .expect("kubectl")
            .args(args)
            .output()
            .expect("runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub async fn client(&self) -> Client {
        let mut config = self
            .control_plane
            .config(&self.control_plane.kubeconfig_admin())
            .await
            .expect("a configuration");
        config.default_retry = false;
        Client::try_from(config).expect("a client")
    }

    /// Copies the logs to where they outlive the control plane.
    pub fn keep_logs(&self) {
        let kept = std::env::temp_dir().join(format!("belay-test-logs-{}", std::process::id()));
        let copied = Command::new("cp")
            .arg("-r")
            .arg(self.control_plane.logs_dir())
            .arg(&kept)
            .status();
        if copied.is_ok_and(|status| status.success()) {
            eprintln!(
                "the logs of the control plane and of each operator are in {}",
                kept.display()
            );
        }
    }
}

/// A namespace with an operator of its own.
pub struct Belay {
    pub world: Arc<World>,
    pub namespace: String,
    pub client: Client,
    operator: Mutex<Option<Process>>,
    history: Arc<Mutex<History>>,
}

/// Everything that a watcher saw, in order.
#[derive(Default)]
struct History {
    operations: Vec<(String, OperationStatus)>,
    locks: Vec<(String, Vec<OperationInFlight>)>,
}

impl Belay {
    /// A new namespace, and an operator in it.
    pub async fn start(world: &Arc<World>) -> Arc<Self> {
        let this = Self::start_without_operator(world).await;
        this.start_operator();
        this
    }

    /// A new namespace where no operator runs yet.
    pub async fn start_without_operator(world: &Arc<World>) -> Arc<Self> {
        let number = world.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("team-{number}");
        world.kubectl(&["create", "namespace", &namespace]);
        let client = world.client().await;
        let history = Arc::new(Mutex::new(History::default()));
        let this = Arc::new(Self {
            world: world.clone(),
            namespace,
            client,
            operator: Mutex::new(None),
            history,
        });
        this.record();
        this
    }

    /// Records what a watcher sees, for [`Belay::check_history`].
    fn record(&self) {
        let operations = watcher(self.api::<Operation>(), watcher::Config::default())
            .default_backoff()
            .applied_objects();
        let history = self.history.clone();
        tokio::spawn(async move {
            let mut operations = std::pin::pin!(operations);
            while let Some(event) = operations.next().await {
                if let Ok(operation) = event {
                    let status = operation.status.clone().unwrap_or_default();
                    history
                        .lock()
                        .expect("history")
                        .operations
                        .push((operation.name_any(), status));
                }
            }
        });
        let clusters = watcher(self.api::<ManagedCluster>(), watcher::Config::default())
            .default_backoff()
            .applied_objects();
        let history = self.history.clone();
        tokio::spawn(async move {
            let mut clusters = std::pin::pin!(clusters);
            while let Some(event) = clusters.next().await {
                if let Ok(cluster) = event {
                    let lock = cluster.status.clone().unwrap_or_default().operations;
                    history
                        .lock()
                        .expect("history")
                        .locks
                        .push((cluster.name_any(), lock));
                }
            }
        });
    }

    /// Starts an operator for the namespace.
    pub fn start_operator(&self) {
        let operator = self.operator(&[]).0;
        *self.operator.lock().expect("the operator") = Some(operator);
    }

    /// Starts an operator for the namespace with more in its environment; gives it and its log.
    pub fn operator(&self, more: &[(&str, &str)]) -> (Process, PathBuf) {
        let name = more.iter().find(|(key, _)| *key == "HOSTNAME");
        let name = name.map_or("belay", |(_, name)| name);
        let log = format!("{name}-{}.log", self.namespace);
        let log = self.world.control_plane.logs_dir().join(log);
        let mut environment = vec![
            ("KUBECONFIG", self.world.kubeconfig.as_os_str()),
            ("BELAY_NAMESPACE", OsStr::new(&self.namespace)),
            ("RUST_LOG", OsStr::new("info,kube_runtime=warn,belay=debug")),
        ];
        environment.extend(more.iter().map(|(key, value)| (*key, OsStr::new(value))));
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        let operator = Process::start_with(program, &[], &environment, &log).expect("started");
        (operator, log)
    }

    fn log_file(&self) -> PathBuf {
        let logs = self.world.control_plane.logs_dir();
        logs.join(format!("belay-{}.log", self.namespace))
    }

    /// What the operators of the namespace have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).expect("a log")
    }

    /// Kills the operator by SIGKILL.
    pub fn kill_operator(&self) {
        *self.operator.lock().expect("the operator") = None;
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.world
            .kubectl(&[&["-n", &self.namespace], args].concat())
    }

    /// Runs kubectl in the namespace, and gives its error where it fails.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.world
            .try_kubectl(&[&["-n", &self.namespace], args].concat())
    }

    /// Makes a cluster whose nodes come up in that many milliseconds.
    pub async fn create_cluster(&self, provisioning_milliseconds: u32) {
        let cluster = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": "ManagedCluster", "metadata": {"name": "demo"},
            "spec": {
                "kubernetesVersion": "1.35.7",
                "provider": {"kwok": {"nodeProvisioningTime": format!("{provisioning_milliseconds}ms")}},
            },
        });
        let cluster = serde_json::from_value(cluster).expect("a cluster");
        self.api::<ManagedCluster>()
            .create(&PostParams::default(), &cluster)
            .await
            .expect("created");
    }

    /// Makes a User pool of the cluster.
    pub async fn create_pool(&self, name: &str, count: usize) {
        let pool = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": "AgentPool", "metadata": {"name": name},
            "spec": {"clusterName": "demo", "count": count},
        });
        let pool = serde_json::from_value(pool).expect("a pool");
        self.api::<AgentPool>()
            .create(&PostParams::default(), &pool)
            .await
            .expect("created");
    }

    /// A cluster with one pool `np1`, ready.
    pub async fn ready_cluster(&self, provisioning_milliseconds: u32, count: usize) {
        self.create_cluster(provisioning_milliseconds).await;
        self.create_pool("np1", count).await;
        self.pool_is_ready("np1").await;
    }

    /// A Deployment of that many pods on the pool's nodes, and a PDB that keeps `min_available` of them.
    pub async fn create_workload(&self, pods: usize, min_available: usize) {
        let labels = json!({"app": "web"});
        let template = json!({
            "metadata": {"labels": labels},
            "spec": {
                "nodeSelector": {"belay.dev/namespace": self.namespace},
                "topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname", "maxSkew": 1,
                    "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}],
                "containers": [{"name": "web", "image": "web:1"}],
            },
        });
        let deployment = json!({"metadata": {"name": "web"}, "spec": {
            "replicas": pods, "selector": {"matchLabels": labels}, "template": template}});
        let budget = json!({"metadata": {"name": "web"}, "spec": {
            "minAvailable": min_available, "selector": {"matchLabels": labels}}});
        let params = PostParams::default();
        let deployment = serde_json::from_value(deployment).expect("a deployment");
        self.api::<k8s_openapi::api::apps::v1::Deployment>()
            .create(&params, &deployment)
            .await
            .expect("created");
        let budget = serde_json::from_value(budget).expect("a budget");
        let budgets = self.api::<k8s_openapi::api::policy::v1::PodDisruptionBudget>();
        budgets.create(&params, &budget).await.expect("created");
        let is_healthy = || async {
            let status = budgets.get("web").await.expect("the budget").status;
            status.is_some_and(|status| status.current_healthy == i32::try_from(pods).ok())
        };
        self.eventually("has a healthy workload", is_healthy).await;
    }

    /// Changes what the PDB keeps.
    pub async fn keep_available(&self, min_available: usize) {
        let patch = Patch::Merge(json!({"spec": {"minAvailable": min_available}}));
        let budgets = self.api::<k8s_openapi::api::policy::v1::PodDisruptionBudget>();
        budgets
            .patch("web", &PatchParams::default(), &patch)
            .await
            .expect("patched");
    }

    pub async fn set_version(&self, version: &str) {
        let patch = Patch::Merge(json!({"spec": {"kubernetesVersion": version}}));
        self.api::<ManagedCluster>()
            .patch("demo", &PatchParams::default(), &patch)
            .await
            .expect("patched");
    }

    pub async fn set_count(&self, pool: &str, count: usize) {
        let patch = Patch::Merge(json!({"spec": {"count": count}}));
        self.api::<AgentPool>()
            .patch(pool, &PatchParams::default(), &patch)
            .await
            .expect("patched");
    }

    /// Asks for the abort of an Operation.
    pub async fn abort(&self, operation: &str, reason: &str) {
        self.try_abort(operation, reason).await.expect("patched");
    }

    /// Asks for the abort of an Operation that may have ended.
    pub async fn try_abort(&self, operation: &str, reason: &str) -> kube::Result<Operation> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"belay.dev/abort": reason}}}));
        let operations = self.api::<Operation>();
        operations
            .patch(operation, &PatchParams::default(), &patch)
            .await
    }

    /// Creates an Operation of type Reconcile, once the API server has seen, too, that the lock is free.
    pub async fn reconcile(&self, kind: TargetKind, target: &str, name: &str) {
        let operation = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name},
            "spec": {"type": "Reconcile", "target": {"kind": kind, "name": target}},
        });
        let operation: Operation = serde_json::from_value(operation).expect("an operation");
        let operations = self.api::<Operation>();
        let is_admitted = || async {
            let created = operations.create(&PostParams::default(), &operation).await;
            match created {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.code == 403 => false,
                Err(error) => panic!("{error}"),
            }
        };
        self.eventually("admits a Reconcile", is_admitted).await;
    }

    pub async fn cluster(&self) -> ManagedCluster {
        self.api().get("demo").await.expect("the cluster")
    }

    pub async fn pool(&self, name: &str) -> AgentPool {
        self.api().get(name).await.expect("the pool")
    }

    pub async fn status(&self, operation: &str) -> OperationStatus {
        self.api::<Operation>()
            .get(operation)
            .await
            .expect("the operation")
            .status
            .unwrap_or_default()
    }

    pub async fn nodes(&self) -> Vec<Node> {
        let ours = ListParams::default().labels(&format!("belay.dev/namespace={}", self.namespace));
        Api::<Node>::all(self.client.clone())
            .list(&ours)
            .await
            .expect("nodes")
            .items
    }

    /// The Operations of that type on that target, oldest first.
    pub async fn operations(&self, type_: OperationType, target: &str) -> Vec<Operation> {
        let list = self
            .api::<Operation>()
            .list(&ListParams::default())
            .await
            .expect("operations");
        let mut operations: Vec<Operation> = list
            .items
            .into_iter()
            .filter(|op| op.spec.type_ == type_ && op.spec.target.name == target)
            .collect();
        operations.sort_by_key(|operation| operation.metadata.creation_timestamp.clone());
        operations
    }

    /// The only Operation of that type on that target, once there is one.
    pub async fn operation(&self, type_: OperationType, target: &str) -> String {
        let what = format!("has an operation {type_:?} on {target}");
        self.eventually(&what, || async {
            !self.operations(type_, target).await.is_empty()
        })
        .await;
        self.operations(type_, target).await[0].name_any()
    }

    /// Waits until an Operation is in that phase.
    pub async fn is_in_phase(&self, operation: &str, phase: OperationPhase) -> OperationStatus {
        let what = format!("has {operation} in phase {phase:?}");
        self.eventually(&what, || async {
            self.status(operation).await.phase == phase
        })
        .await;
        self.status(operation).await
    }

    /// Waits until something stands in an Operation's way.
    pub async fn is_blocked(&self, operation: &str) -> OperationStatus {
        let what = format!("has {operation} blocked");
        self.eventually(&what, || async {
            self.status(operation).await.blocked.is_some()
        })
        .await;
        self.status(operation).await
    }

    /// Waits until nothing holds the lock: it is held a moment longer than an Operation's phase tells.
    pub async fn lock_is_free(&self) {
        self.eventually("has its lock free", || async {
            let status = self.cluster().await.status.unwrap_or_default();
            status.operations.is_empty()
        })
        .await;
    }

    /// Waits until a pool is as its spec says, and its operation has given the lock back.
    pub async fn pool_is_ready(&self, pool: &str) {
        let what = format!("has pool {pool} ready");
        self.eventually(&what, || async {
            let pool = self.pool(pool).await;
            let status = pool.status.clone().unwrap_or_default();
            let cluster = self.api::<ManagedCluster>();
            let cluster = cluster.get_opt(&pool.spec.cluster_name).await;
            let cluster = cluster
                .expect("an answer")
                .and_then(|cluster| cluster.status);
            let mut held = cluster.iter().flat_map(|status| &status.operations);
            status.observed_generation == pool.metadata.generation
                && is_true(&status.conditions, "Ready")
                && !held.any(|held| held.target.name == pool.name_any())
        })
        .await;
    }

    pub async fn cluster_is_ready(&self) {
        self.eventually("has the cluster ready", || async {
            let cluster = self.cluster().await;
            let status = cluster.status.unwrap_or_default();
            status.observed_generation == cluster.metadata.generation
                && is_true(&status.conditions, "Ready")
        })
        .await;
    }

    /// Waits until it is so, and says what was waited for where it never is.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, is_so: impl Fn() -> F) {
        let began = Instant::now();
        while !is_so().await {
            if began.elapsed() > PATIENCE {
                let state = self.kubectl(&["get", "mc,ap,op", "-o", "wide"]);
                panic!("{} never {what}:\n{state}", self.namespace);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The Events on an object, as `reason` and `note`.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let on = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let list = self.api::<Event>().list(&on).await.expect("events");
        list.items
            .into_iter()
            .map(|event| {
                (
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default(),
                )
            })
            .collect()
    }

    /// The phases that an Operation went through, as a watcher saw them.
    pub fn phases(&self, operation: &str) -> Vec<OperationPhase> {
        let history = self.history.lock().expect("history");
        let mut phases: Vec<_> = history
            .operations
            .iter()
            .filter(|(name, _)| name == operation)
            .map(|(_, status)| status.phase)
            .collect();
        phases.dedup();
        phases
    }

    /// Checks what must hold in all that a watcher saw: percent never goes down and is 100 only at
    /// success, what has ended stays so, after Canceling nothing new begins, and no two operations that
    /// exclude each other hold the lock.
    pub fn check_history(&self) {
        let history = self.history.lock().expect("history");
        let mut last = std::collections::BTreeMap::<&str, &OperationStatus>::new();
        for (name, status) in &history.operations {
            assert_eq!(
                status.percent_complete == 100,
                status.phase == OperationPhase::Succeeded,
                "{name}: {status:?}"
            );
            if let Some(before) = last.insert(name, status) {
                check_transition(name, before, status);
            }
        }
        for (name, lock) in &history.locks {
            let whole = lock
                .iter()
                .filter(|held| held.target.kind == TargetKind::ManagedCluster)
                .count();
            let mut targets: Vec<_> = lock.iter().map(|held| &held.target.name).collect();
            targets.sort();
            targets.dedup();
            assert!(
                lock.len() <= 1 || (whole == 0 && targets.len() == lock.len()),
                "{name}: {lock:?}"
            );
        }
    }
}

fn check_transition(name: &str, before: &OperationStatus, after: &OperationStatus) {
    use OperationPhase::{Canceled, Canceling, Failed, InProgress, Pending, Succeeded};
    assert!(
        after.percent_complete >= before.percent_complete,
        "{name}: percent went down"
    );
    let legal = match before.phase {
        Pending => matches!(after.phase, Pending | InProgress | Canceled | Failed),
        InProgress => matches!(after.phase, InProgress | Canceling | Succeeded | Failed),
        Canceling => matches!(after.phase, Canceling | Canceled | Succeeded | Failed),
        ended => after.phase == ended,
    };
    assert!(legal, "{name}: {:?} to {:?}", before.phase, after.phase);
    if before.phase == Canceling {
        let begun = |status: &OperationStatus| {
            use ::belay::api::StepPhase::{Pending, Skipped};
            status
                .steps
                .iter()
                .filter(|step| !matches!(step.phase, Pending | Skipped))
                .count()
        };
        if after.phase != Succeeded {
            assert!(
                begun(after) <= begun(before),
                "{name}: a step began after Canceling"
            );
        }
    }
}

/// Whether a condition is True.
pub fn is_true(
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    type_: &str,
) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether no new pods come to a node.
pub fn is_cordoned(node: &Node) -> bool {
    node.spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false)
}

/// What a node runs.
pub fn version(node: &Node) -> String {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    info.map(|info| info.kubelet_version.clone())
        .unwrap_or_default()
}
