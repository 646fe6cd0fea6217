//! The environment of the tests: a control plane with Cluster API and Belay, and adopted Clusters.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};
use testenv::{ClusterApi, ControlPlane};
use tokio::sync::Mutex;

use crate::{
    belay::Belay,
    machines::{self, has, has_lost_its_infrastructure, is_ready},
    rights,
    world::World,
};

/// The version of new Clusters.
pub const OLD: &str = "1.35.0";
/// The version of the upgrades.
pub const NEW: &str = "1.36.0";

pub struct Stage {
    // This field comes before the control plane, so that Cluster API stops first.
    pub cluster_api: Mutex<ClusterApi>,
    pub world: Arc<World>,
    /// A kubeconfig with exactly the rights that the chart gives an operator.
    kubeconfig: PathBuf,
}

impl Stage {
    /// Starts the environment.
    pub async fn start() -> Arc<Self> {
        let world = World::start().await;
        let (cluster_api, kubeconfig) = {
            let control_plane = world.control_plane.lock().await;
            let kubeconfig = with_rights_of_chart(&world, &control_plane).await;
            (ClusterApi::start(&control_plane).await, kubeconfig)
        };
        Arc::new(Self {
            kubeconfig,
            cluster_api: Mutex::new(cluster_api.unwrap_or_else(|error| panic!("{error}"))),
            world,
        })
    }

    /// Starts an operator with the chart's rights.
    pub fn start_operator(&self, belay: &Belay) {
        let kubeconfig = self.kubeconfig.display().to_string();
        belay.start_operator_with(&[("KUBECONFIG", &kubeconfig)]);
    }

    pub fn keep_logs(&self) {
        self.world.keep_logs();
    }

    /// Creates a Cluster `demo` with a control plane and two `MachineDeployments` of this many Machines, adopts it, and
    /// waits until it is Ready.
    pub async fn adopted(&self, machines: usize) -> Arc<Belay> {
        let belay = Belay::start_without_operator(&self.world).await;
        self.create_cluster(&belay, machines).await;
        self.start_operator(&belay);
        wait_until_adopted(&belay, &["md-0", "md-1"]).await;
        belay
    }

    /// Creates and adopts the same Cluster in the namespace of `belay`, and doesn't wait for Belay.
    pub async fn create_cluster(&self, belay: &Belay, machines: usize) {
        apply(belay, "examples/cluster-api/class.yaml", |text| text);
        let sized = |text: String| text.replace("replicas: 3}", &format!("replicas: {machines}}}"));
        apply(belay, "examples/cluster-api/cluster.yaml", sized);
        wait_for_machines(belay, 1 + 2 * machines).await;
        self.adopt(belay);
    }

    /// Creates a Cluster `demo` without a topology, with a control plane and a `MachineDeployment` of two Machines,
    /// adopts it, and waits until it is Ready.
    pub async fn standalone(&self) -> Arc<Belay> {
        let belay = Belay::start_without_operator(&self.world).await;
        apply(&belay, "examples/cluster-api/class.yaml", |text| text);
        apply(&belay, "tests/capi/fixtures/standalone.yaml", |text| text);
        wait_for_machines(&belay, 3).await;
        self.adopt(&belay);
        self.start_operator(&belay);
        wait_until_adopted(&belay, &["workers"]).await;
        belay
    }

    /// Adopts the Cluster.
    fn adopt(&self, belay: &Belay) {
        let manifests = plugin(belay, &["adopt", "cluster-api", "demo"]);
        let applied = self
            .world
            .kubectl_with(&["apply", "-n", &belay.namespace], &manifests);
        applied.unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }
}

/// Returns the kubeconfig of a service account with the rights of the chart with `clusterAPI.enabled`.
async fn with_rights_of_chart(world: &World, control_plane: &ControlPlane) -> PathBuf {
    let manifest = rights::of_chart(control_plane.dir());
    world.kubectl(&["create", "namespace", rights::NAMESPACE]);
    let applied = world.kubectl_with(&["apply", "-n", rights::NAMESPACE], &manifest);
    applied.unwrap_or_else(|error| panic!("{error}"));
    let granted = control_plane.kubeconfig_for_service_account(rights::NAMESPACE, rights::ACCOUNT);
    let kubeconfig = granted.await.expect("a token");
    let written = control_plane.write_kubeconfig(&kubeconfig, "operator");
    written.expect("written")
}

/// Waits until Belay reports the Cluster and its pools as Ready.
pub async fn wait_until_adopted(belay: &Belay, pools: &[&str]) {
    belay.cluster_is_ready().await;
    for pool in pools {
        belay.pool_is_ready(pool).await;
    }
}

/// Applies a file of the repository after a change to its text.
pub fn apply(belay: &Belay, file: &str, change: impl Fn(String) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(file).expect("a file");
    let applied = ["apply", "-n", &belay.namespace];
    let applied = belay.world.kubectl_with(&applied, &change(text));
    applied.unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until the Cluster is Available and all its Machines are Ready.
async fn wait_for_machines(belay: &Belay, machines: usize) {
    belay
        .eventually("the Cluster and its Machines are ready", || async {
            let all = machines_of(belay, None).await;
            for machine in all
                .iter()
                .filter(|machine| has_lost_its_infrastructure(machine))
            {
                let machines = api(belay, "Machine");
                let name = machine.name_any();
                let deleted = machines.delete(&name, &DeleteParams::default()).await;
                deleted.expect("deleted");
            }
            let cluster = api(belay, "Cluster").get("demo").await.expect("a Cluster");
            let ready = all.iter().filter(|machine| is_ready(machine));
            has(&cluster, "Available", "True") && ready.count() == machines
        })
        .await;
}

/// Waits until an Operation has started a change at Cluster API.
pub async fn has_started_at_cluster_api(belay: &Belay, operation: &str) {
    belay
        .eventually("a change at Cluster API has started", || async {
            let steps = belay.status(operation).await.steps;
            steps.iter().any(|step| step.handle.is_some())
        })
        .await;
}

/// Runs `kubectl belay` in the namespace.
pub fn plugin(belay: &Belay, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-belay"))
        .env("KUBECONFIG", &belay.world.kubeconfig)
        .args(["-n", &belay.namespace])
        .args(args)
        .output()
        .expect("runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the API of one of Cluster API's kinds.
pub fn api(belay: &Belay, kind: &str) -> Api<DynamicObject> {
    machines::api(belay.client.clone(), &belay.namespace, kind)
}

/// Returns the Machines of a pool; of the whole Cluster if `pool` is `None`.
pub async fn machines_of(belay: &Belay, pool: Option<&str>) -> Vec<DynamicObject> {
    let pool = pool.map(|pool| format!("topology.cluster.x-k8s.io/deployment-name={pool}"));
    let labels = ListParams::default().labels(&pool.unwrap_or_default());
    let machines = api(belay, "Machine").list(&labels).await;
    machines.expect("Machines").items
}

/// Returns the `MachineDeployment` of a pool.
pub async fn deployment(belay: &Belay, pool: &str) -> DynamicObject {
    let of_pool = format!("topology.cluster.x-k8s.io/deployment-name={pool}");
    let labels = ListParams::default().labels(&of_pool);
    let found = api(belay, "MachineDeployment").list(&labels).await;
    found.expect("listed").items.remove(0)
}

/// Returns the versions of Machines, sorted.
pub fn versions(machines: &[DynamicObject]) -> Vec<String> {
    let version = |machine: &DynamicObject| {
        let version = machine.data["spec"]["version"].as_str().unwrap_or_default();
        version.trim_start_matches('v').to_owned()
    };
    let mut versions: Vec<_> = machines.iter().map(version).collect();
    versions.sort();
    versions
}

/// Returns the names of Machines, sorted.
pub fn names(machines: &[DynamicObject]) -> Vec<String> {
    let mut names: Vec<_> = machines.iter().map(kube::ResourceExt::name_any).collect();
    names.sort();
    names
}
