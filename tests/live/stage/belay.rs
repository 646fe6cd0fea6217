//! The environment of a test: a namespace with its own operator, and what users see there.

use std::{
    ffi::OsStr,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ::belay::api::{
    AgentPool, AgentPoolStatus, ManagedCluster, ManagedClusterStatus, Operation, OperationError,
    OperationPhase, OperationStatus, OperationType, StepPhase, TargetKind,
};
use k8s_openapi::api::core::v1::{Event, Node};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testenv::Process;

use super::seen::Seen;
pub use super::world::World;

/// The longest wait for a state.
pub const PATIENCE: Duration = Duration::from_mins(5);
/// The same for kubectl, whose own timeout is 30 seconds.
pub const KUBECTL_PATIENCE: &str = "--timeout=5m";

/// The shortest and the longest pause between two checks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A namespace with its own operator.
pub struct Belay {
    pub world: Arc<World>,
    pub namespace: String,
    pub client: Client,
    operator: Mutex<Option<Process>>,
    pub seen: Seen,
}

impl Belay {
    /// Creates a namespace, and starts an operator for it.
    pub async fn start(world: &Arc<World>) -> Arc<Self> {
        let this = Self::start_without_operator(world).await;
        this.start_operator();
        this
    }

    /// Creates a namespace without an operator.
    pub async fn start_without_operator(world: &Arc<World>) -> Arc<Self> {
        let client = world.client().await;
        let namespace = world.new_namespace(&client).await;
        let seen = Seen::watch(&client, &namespace);
        Arc::new(Self {
            world: world.clone(),
            namespace,
            client,
            operator: Mutex::new(None),
            seen,
        })
    }

    /// Starts an operator for the namespace.
    pub fn start_operator(&self) {
        self.start_operator_with(&[]);
    }

    /// Starts an operator for the namespace with additional environment variables.
    pub fn start_operator_with(&self, more: &[(&str, &str)]) {
        let operator = self.operator(more).0;
        *self.operator.lock().expect("the operator") = Some(operator);
    }

    /// Starts an operator for the namespace with additional environment variables. Returns it and its log.
    pub fn operator(&self, more: &[(&str, &str)]) -> (Process, PathBuf) {
        let name = more.iter().find(|(key, _)| *key == "HOSTNAME");
        let name = name.map_or("belay", |(_, name)| name);
        let log = self
            .world
            .logs
            .join(format!("{name}-{}.log", self.namespace));
        let mut environment = vec![
            ("KUBECONFIG", self.world.kubeconfig.as_os_str()),
            ("BELAY_NAMESPACE", OsStr::new(&self.namespace)),
            ("RUST_LOG", OsStr::new("info,kube_runtime=warn,belay=debug")),
        ];
        // If a name occurs twice, the last value is used.
        environment.extend(more.iter().map(|(key, value)| (*key, OsStr::new(value))));
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        let operator = Process::start_with(program, &[], &environment, &log).expect("started");
        (operator, log)
    }

    fn log_file(&self) -> PathBuf {
        self.world
            .logs
            .join(format!("belay-{}.log", self.namespace))
    }

    /// Returns the log of the namespace's operators.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).expect("a log")
    }

    /// Kills the operator with SIGKILL.
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

    /// Runs kubectl in the namespace, and returns its output or its error.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.world
            .try_kubectl(&[&["-n", &self.namespace], args].concat())
    }

    pub async fn cluster(&self) -> ManagedCluster {
        self.api().get("demo").await.expect("the cluster")
    }

    pub async fn pool(&self, name: &str) -> AgentPool {
        self.api().get(name).await.expect("the pool")
    }

    pub async fn cluster_status(&self) -> ManagedClusterStatus {
        self.cluster().await.status.unwrap_or_default()
    }

    pub async fn pool_status(&self, name: &str) -> AgentPoolStatus {
        self.pool(name).await.status.unwrap_or_default()
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

    /// Returns the Operations of that type on that target, oldest first.
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

    /// Waits for the only Operation of that type on that target. Returns its name.
    pub async fn operation(&self, type_: OperationType, target: &str) -> String {
        let what = format!("there is an Operation of type {type_:?} on {target}");
        self.eventually(&what, || async {
            !self.operations(type_, target).await.is_empty()
        })
        .await;
        self.operations(type_, target).await[0].name_any()
    }

    /// Waits until there are `nth` Operations of that type on that target. Returns the name of the newest one.
    pub async fn nth_operation(&self, nth: usize, type_: OperationType, target: &str) -> String {
        let what = format!("there are {nth} Operations of type {type_:?} on {target}");
        self.eventually(&what, || async {
            self.operations(type_, target).await.len() == nth
        })
        .await;
        let operations = self.operations(type_, target).await;
        let is_finished = |operation: &&Operation| {
            let status = operation.status.as_ref();
            status.is_some_and(|status| status.phase.is_finished())
        };
        let newest = operations.iter().find(|operation| !is_finished(operation));
        newest.unwrap_or(&operations[nth - 1]).name_any()
    }

    /// Waits until an Operation has succeeded.
    pub async fn succeeds(&self, operation: &str) -> OperationStatus {
        self.is_in_phase(operation, OperationPhase::Succeeded).await
    }

    /// Waits until an Operation has failed. Returns its error.
    pub async fn fails(&self, operation: &str) -> OperationError {
        let status = self.is_in_phase(operation, OperationPhase::Failed).await;
        status.error.expect("an error")
    }

    /// Waits until an Operation is in that phase.
    pub async fn is_in_phase(&self, operation: &str, phase: OperationPhase) -> OperationStatus {
        let what = format!("{operation} is {phase:?}");
        self.eventually(&what, || async {
            let status = self.status(operation).await;
            assert!(
                status.phase == phase || !status.phase.is_finished(),
                "{operation} did not end as {phase:?}: {status:#?}"
            );
            status.phase == phase
        })
        .await;
        self.status(operation).await
    }

    /// Waits until an Operation is blocked.
    pub async fn is_blocked(&self, operation: &str) -> OperationStatus {
        let what = format!("{operation} is blocked");
        self.eventually(&what, || async {
            self.status(operation).await.blocked.is_some()
        })
        .await;
        self.status(operation).await
    }

    /// Waits until no operation holds the lock, and admission sees this too. An Operation holds the lock a little
    /// longer than its phase shows, and admission reads the lock from a cache.
    pub async fn lock_is_free(&self) {
        self.eventually("the lock is free", || async {
            self.cluster_status().await.operations.is_empty()
                && self.admission_allows_changes().await
        })
        .await;
    }

    /// Waits until an Operation creates this many nodes at once.
    pub async fn creates_nodes(&self, operation: &str, nodes: usize) {
        self.eventually(
            &format!("{operation} creates {nodes} nodes at once"),
            || async {
                let steps = self.status(operation).await.steps;
                let in_progress = steps
                    .iter()
                    .filter(|step| step.phase == StepPhase::InProgress);
                in_progress.count() == nodes
            },
        )
        .await;
    }

    /// Waits until the cluster's status shows no operation in flight.
    pub async fn lock_is_free_in_status(&self) {
        self.eventually("the lock is free", || async {
            self.cluster_status().await.operations.is_empty()
        })
        .await;
    }

    /// Waits until an Operation is canceled.
    pub async fn is_canceled(&self, operation: &str) -> OperationStatus {
        self.is_in_phase(operation, OperationPhase::Canceled).await
    }

    /// Whether admission finds no operation in flight on the cluster and its pools.
    async fn admission_allows_changes(&self) -> bool {
        let pools = self.api::<AgentPool>().list(&ListParams::default()).await;
        for pool in pools.expect("pools") {
            if pool.spec.cluster_name == "demo" && !self.admission_allows_pool_changes(&pool).await
            {
                return false;
            }
        }
        self.admission_allows_operation(TargetKind::ManagedCluster, "demo")
            .await
    }

    /// Whether admission finds no operation in flight on a pool. Asks with a scale and with an Operation, as dry runs.
    async fn admission_allows_pool_changes(&self, pool: &AgentPool) -> bool {
        let (name, pools) = (pool.name_any(), self.api::<AgentPool>());
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let scale = Patch::Merge(json!({"spec": {"replicas": pool.spec.count + 1}}));
        let scaled = pools.patch_scale(&name, &params, &scale).await;
        !is_refused_because_of_another(scaled)
            && self
                .admission_allows_operation(TargetKind::AgentPool, &name)
                .await
    }

    /// Whether admission allows an Operation on the target beside those in flight. It is a dry run.
    async fn admission_allows_operation(&self, kind: TargetKind, target: &str) -> bool {
        let spec = json!({"type": "Reconcile", "target": {"kind": kind, "name": target}});
        let operation = Operation::new("probe", serde_json::from_value(spec).expect("a spec"));
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let operations = self.api::<Operation>();
        !is_refused_because_of_another(operations.create(&params, &operation).await)
    }

    /// Waits until a pool matches its spec, its operation has released the lock, and admission sees this too.
    pub async fn pool_is_ready(&self, pool: &str) {
        let what = format!("pool {pool} is ready");
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
                && self.admission_allows_pool_changes(&pool).await
        })
        .await;
    }

    /// Waits until the operator has nothing to do. Before that, it may still write.
    pub async fn is_idle(&self) {
        let has_nothing_to_do = || {
            let log = self.log();
            let decided = log.lines().rfind(|line| line.contains("decided"));
            decided.is_some_and(|line| line.ends_with("actions=0"))
        };
        self.eventually("the operator is idle", || async { has_nothing_to_do() })
            .await;
    }

    /// Waits until no operation is in flight on a pool.
    pub async fn pool_is_idle(&self, pool: &str) {
        let what = format!("no operation is in flight on pool {pool}");
        self.eventually(&what, || async {
            let pool = self.pool(pool).await;
            let status = pool.status.unwrap_or_default();
            status.observed_generation == pool.metadata.generation && status.operation.is_none()
        })
        .await;
    }

    pub async fn cluster_is_ready(&self) {
        self.eventually("the cluster is ready", || async {
            let cluster = self.cluster().await;
            let status = cluster.status.unwrap_or_default();
            status.observed_generation == cluster.metadata.generation
                && is_true(&status.conditions, "Ready")
        })
        .await;
    }

    /// Waits until a statement is true. If it doesn't become true, the panic contains the statement. The pauses between
    /// the checks grow, because on a busy machine the checks themselves take time.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let started = Instant::now();
        while !holds().await {
            if started.elapsed() > PATIENCE {
                let state = self.kubectl(&["get", "mc,ap,op", "-o", "wide"]);
                panic!(
                    "{}: this did not become true: {what}\n{state}",
                    self.namespace
                );
            }
            let pause = (started.elapsed() / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the Events on an object, as `reason` and `note`.
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

    /// Returns the phases of an Operation that has ended, as a watch showed them.
    pub async fn phases(&self, operation: &str) -> Vec<OperationPhase> {
        let statuses = self.statuses(operation).await;
        let mut phases: Vec<_> = statuses.iter().map(|status| status.phase).collect();
        phases.dedup();
        phases
    }

    /// Returns all statuses of an Operation that has ended, as a watch showed them. Waits until the watch shows the
    /// end, which may be later than a GET of the Operation shows it.
    pub async fn statuses(&self, operation: &str) -> Vec<OperationStatus> {
        self.eventually(
            &format!("the watch shows the end of {operation}"),
            || async { self.seen.has_ended(operation) },
        )
        .await;
        self.seen.statuses(operation)
    }

    /// Checks the invariants that must hold in everything that the watch showed.
    pub fn check_history(&self) {
        self.seen.check();
    }
}

/// Whether admission refuses a request because of an operation in flight.
fn is_refused_because_of_another<T>(tried: kube::Result<T>) -> bool {
    match tried {
        Ok(_) => false,
        Err(kube::Error::Api(status)) => status.message.contains(" is in progress"),
        Err(error) => panic!("{error}"),
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

/// Whether a node is Ready.
pub fn is_node_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// Whether a node that has joined its pool is cordoned.
pub fn is_cordoned(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let is_new = node.annotations().contains_key("belay.dev/joining");
    !is_new && spec.and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// Returns the version that a node runs.
pub fn version(node: &Node) -> String {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    info.map(|info| info.kubelet_version.clone())
        .unwrap_or_default()
}
