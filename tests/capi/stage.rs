//! What the tests stand on: a control plane with Cluster API and Belay, and Clusters that are adopted.

use std::{path::Path, process::Command, sync::Arc};

use kube::{
    Api,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use testenv::ClusterApi;

use crate::{belay::Belay, world::World};

/// What the Clusters run when they are made.
pub const OLD: &str = "1.35.0";
/// What they go up to.
pub const NEW: &str = "1.36.0";

pub struct Stage {
    // Before the control plane, so that it ends first.
    _cluster_api: ClusterApi,
    pub world: Arc<World>,
}

impl Stage {
    /// Starts all of it.
    pub async fn set() -> Arc<Self> {
        let world = World::start().await;
        let cluster_api = {
            let control_plane = world.control_plane.lock().await;
            ClusterApi::start(&control_plane).await
        };
        Arc::new(Self {
            _cluster_api: cluster_api.unwrap_or_else(|error| panic!("{error}")),
            world,
        })
    }

    pub fn keep_logs(&self) {
        self.world.keep_logs();
    }

    /// A Cluster `demo` with a control plane and two `MachineDeployments` of so many Machines, adopted and Ready.
    pub async fn adopted(&self, machines: usize) -> Arc<Belay> {
        let belay = Belay::start_without_operator(&self.world).await;
        apply(&belay, "class.yaml", |text| text);
        let sized = |text: String| text.replace("replicas: 3}", &format!("replicas: {machines}}}"));
        apply(&belay, "cluster.yaml", sized);
        has_machines(&belay, 1 + 2 * machines).await;
        self.adopt(&belay, &["md-0", "md-1"]).await;
        belay
    }

    /// A Cluster `demo` without a topology, with a control plane and a `MachineDeployment` of two Machines, adopted
    /// and Ready.
    pub async fn standalone(&self) -> Arc<Belay> {
        let belay = Belay::start_without_operator(&self.world).await;
        apply(&belay, "class.yaml", |text| text);
        apply(&belay, "standalone.yaml", |text| text);
        has_machines(&belay, 3).await;
        self.adopt(&belay, &["workers"]).await;
        belay
    }

    /// Takes the Cluster under Belay's operations.
    async fn adopt(&self, belay: &Arc<Belay>, pools: &[&str]) {
        let manifests = plugin(belay, &["adopt", "cluster-api", "demo"]);
        let applied = self
            .world
            .kubectl_with(&["apply", "-n", &belay.namespace], &manifests);
        applied.unwrap_or_else(|error| panic!("{error}\n{manifests}"));
        belay.start_operator();
        belay.cluster_is_ready().await;
        for pool in pools {
            belay.pool_is_ready(pool).await;
        }
    }
}

/// Applies an example, changed.
fn apply(belay: &Belay, example: &str, change: impl Fn(String) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster-api");
    let text = std::fs::read_to_string(folder.join(example)).expect("an example");
    let applied = ["apply", "-n", &belay.namespace];
    let applied = belay.world.kubectl_with(&applied, &change(text));
    applied.unwrap_or_else(|error| panic!("{error}"));
}

/// Waits until the Cluster is Available and all its Machines are Ready.
async fn has_machines(belay: &Belay, machines: usize) {
    let cluster = "cluster.cluster.x-k8s.io/demo";
    let available = ["wait", "--for=condition=Available", cluster];
    belay.kubectl(&[&available[..], &["--timeout=5m"]].concat());
    belay
        .eventually("has all Machines of its Cluster", || async {
            let running = machines_of(belay, None).await;
            let running = running.iter().filter(|machine| is_ready(machine));
            running.count() == machines
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

/// The objects of one of Cluster API's kinds.
pub fn api(belay: &Belay, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind);
    let kind = ApiResource::from_gvk(&kind);
    Api::namespaced_with(belay.client.clone(), &belay.namespace, &kind)
}

/// The Machines of a pool; of all of the Cluster where it is none.
pub async fn machines_of(belay: &Belay, pool: Option<&str>) -> Vec<DynamicObject> {
    let pool = pool.map(|pool| format!("topology.cluster.x-k8s.io/deployment-name={pool}"));
    let labels = ListParams::default().labels(&pool.unwrap_or_default());
    let machines = api(belay, "Machine").list(&labels).await;
    machines.expect("Machines").items
}

/// The `MachineDeployment` of a pool.
pub async fn deployment(belay: &Belay, pool: &str) -> DynamicObject {
    let of_pool = format!("topology.cluster.x-k8s.io/deployment-name={pool}");
    let labels = ListParams::default().labels(&of_pool);
    let found = api(belay, "MachineDeployment").list(&labels).await;
    found.expect("listed").items.remove(0)
}

/// Whether a Machine is Ready.
pub fn is_ready(machine: &DynamicObject) -> bool {
    let conditions = machine.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What Machines run, sorted.
pub fn versions(machines: &[DynamicObject]) -> Vec<String> {
    let version = |machine: &DynamicObject| {
        let version = machine.data["spec"]["version"].as_str().unwrap_or_default();
        version.trim_start_matches('v').to_owned()
    };
    let mut versions: Vec<_> = machines.iter().map(version).collect();
    versions.sort();
    versions
}

/// The names of Machines, sorted.
pub fn names(machines: &[DynamicObject]) -> Vec<String> {
    let mut names: Vec<_> = machines.iter().map(kube::ResourceExt::name_any).collect();
    names.sort();
    names
}
