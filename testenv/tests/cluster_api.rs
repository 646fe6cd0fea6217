//! Cluster API's controllers make a cluster in memory, and a controller comes back that was killed.

use std::time::Instant;

use testenv::{ClusterApi, Component, ControlPlane, cluster_api::Controller};

const FIXTURES: [&str; 2] = [
    "../examples/cluster-api/class.yaml",
    "tests/fixtures/cluster-fast.yaml",
];
const SCALE: &str = r#"[{"op": "replace", "path": "/spec/topology/workers/machineDeployments/0/replicas", "value": 6}]"#;

/// Runs kubectl in the namespace of the fixtures, and gives what it printed.
fn kubectl(control_plane: &ControlPlane, args: &[&str]) -> String {
    let mut kubectl = control_plane.kubectl().expect("kubectl");
    let output = kubectl.args(["--namespace=fast"]).args(args).output();
    let output = output.expect("runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wait_for_cluster(control_plane: &ControlPlane, what: &str) {
    let condition = format!("--for={what}");
    let args = ["wait", &condition, "cluster/f1", "--timeout=5m"];
    kubectl(control_plane, &args);
}

// One test, since there can be only one instance in a network namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_becomes_available_and_a_controller_that_was_killed_comes_back() {
    let mut began = Instant::now();
    let mut report = |what: &str| {
        eprintln!("{what} in {:.1} s", began.elapsed().as_secs_f64());
        began = Instant::now();
    };
    let control_plane = ControlPlane::builder()
        .without(Component::Scheduler)
        .without(Component::Kwok)
        .start()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    report("a control plane started");
    let mut cluster_api = ClusterApi::start(&control_plane)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    report("Cluster API started");

    let refusal = ClusterApi::start(&control_plane).await.err();
    let refusal = refusal.expect("a second one started").to_string();
    assert!(refusal.contains("port 19000 is taken"), "{refusal}");

    kubectl(&control_plane, &["create", "namespace", "fast"]);
    for file in FIXTURES {
        let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        kubectl(&control_plane, &["apply", "-f", &file]);
    }
    wait_for_cluster(&control_plane, "condition=Available");
    for (part, replicas) in [("controlPlane", 1), ("workers", 5)] {
        let what = format!("jsonpath={{.status.{part}.availableReplicas}}={replicas}");
        wait_for_cluster(&control_plane, &what);
    }
    let machines = kubectl(&control_plane, &["get", "machines", "-o", "name"]);
    assert_eq!(machines.lines().count(), 6, "{machines}");
    report("a cluster of 1 + 5 machines became available");

    let pid = cluster_api.pid(Controller::Core);
    cluster_api.kill(Controller::Core);
    assert_eq!(cluster_api.pid(Controller::Core), None);
    let again = cluster_api.start_again(Controller::Core).await;
    again.unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(cluster_api.pid(Controller::Core), pid);
    report("the core started again");
    kubectl(
        &control_plane,
        &["patch", "cluster/f1", "--type=json", "-p", SCALE],
    );
    wait_for_cluster(
        &control_plane,
        "jsonpath={.status.workers.availableReplicas}=6",
    );
    report("a sixth worker became available");
}
