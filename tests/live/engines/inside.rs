//! The inside of a cloud's cluster. The tests' own control plane stands in for it: it has a node of a node pool that is
//! being drained, and on this node a pod that a budget protects.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use crate::stage::belay::Belay;

/// The Secret with the cluster's kubeconfig.
const KUBECONFIG: &str = "inside";

/// Creates the Secret with this kubeconfig, and references it in the cluster's provider.
pub async fn give_kubeconfig(belay: &Belay, provider: &str, kubeconfig: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KUBECONFIG},
        "stringData": {"kubeconfig": kubeconfig}});
    belay.apply(&secret);
    let reference = json!({"provider": {provider: {"kubeconfigSecret": KUBECONFIG}}});
    belay.set_cluster(reference).await;
}

/// Returns a kubeconfig of the tests' own control plane.
pub fn kubeconfig(belay: &Belay) -> String {
    std::fs::read_to_string(&belay.world.kubeconfig).expect("a kubeconfig")
}

/// Creates two nodes with this label. The first one is new. The second one is being drained and has a pod that a budget
/// protects.
pub async fn create_blocked_drain(belay: &Belay, label: (&str, &str)) {
    let drained = node_name(belay, 1);
    for (number, version) in [(0, "v1.34.1"), (1, "v1.33.4")] {
        let name = node_name(belay, number);
        let spec = json!({"unschedulable": name == drained});
        let labels = json!({label.0: label.1});
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels}, "spec": spec});
        belay.apply(&node);
        let status = json!({"status": {"nodeInfo": {"kubeletVersion": version}}}).to_string();
        let patch = [
            "patch",
            "node",
            &name,
            "--subresource=status",
            "-p",
            &status,
        ];
        belay.kubectl(&patch);
    }
    let container = json!({"name": "web", "image": "none"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "labels": {"app": "web"}},
        "spec": {"nodeName": drained, "containers": [container]}});
    belay.apply(&pod);
    // A pod that hasn't started is evicted without asking its budget.
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {"phase": "Running", "conditions": [ready]}}).to_string();
    let patch = [
        "patch",
        "pod",
        "web-0",
        "--subresource=status",
        "-p",
        &status,
    ];
    belay.kubectl(&patch);
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"}, "spec": spec});
    belay.apply(&budget);
    belay
        .eventually("Kubernetes has counted the budget", || async {
            let budget = belay.api::<PodDisruptionBudget>().get("web").await;
            let status = budget.expect("the budget").status;
            status.is_some_and(|status| status.observed_generation.is_some())
        })
        .await;
}

/// Waits until an Operation is blocked by the budget. Checks the message, and that the budget was reported before.
pub async fn is_blocked_by_budget(belay: &Belay, operation: &str) {
    let namespace = &belay.namespace;
    let blocked = belay.is_blocked(operation).await.blocked.expect("a block");
    assert_eq!(blocked.reason, "PodDisruptionBudget");
    assert_eq!(
        blocked.message,
        format!("eviction of {namespace}/web-0 would violate PodDisruptionBudget {namespace}/web")
    );
    let preflight = belay.preflight(operation).await;
    assert_eq!(preflight.reason, "BudgetsInTheWay");
    let budget = format!("PodDisruptionBudget {namespace}/web (minAvailable 1)");
    assert!(preflight.message.contains(&budget), "{}", preflight.message);
}

/// Deletes the nodes.
pub fn delete_nodes(belay: &Belay) {
    for number in 0..2 {
        belay.kubectl(&["delete", "node", &node_name(belay, number), "--wait=false"]);
    }
}

fn node_name(belay: &Belay, number: usize) -> String {
    format!("{}-inside-{number}", belay.namespace)
}
