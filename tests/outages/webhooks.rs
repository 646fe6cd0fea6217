//! Unreachable webhooks of others: the API server refuses the requests that they must allow, with its own message.

use std::sync::Arc;

use belay::api::{OperationStatus, OperationType};
use serde_json::{Value, json};

use super::{
    belay::{Belay, World, is_cordoned, version},
    guard::Guard,
};

/// The API server's message when a webhook doesn't answer.
const MESSAGE: &str = "failed calling webhook \"unreachable.example.com\"";

impl Belay {
    fn webhook(&self) -> String {
        format!("unreachable-{}", self.namespace)
    }

    /// Installs an unreachable webhook for objects that match `ours`. Waits until the refusal of `probe` shows its
    /// effect.
    async fn install_unreachable_webhook(&self, rule: Value, ours: &str, probe: &[&str]) {
        let webhook = json!({"name": "unreachable.example.com", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "rules": [rule],
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "matchConditions": [{"name": "ours", "expression": ours}]});
        self.apply(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.webhook()}, "webhooks": [webhook]}));
        self.eventually("the API server calls the webhook", || async {
            let tried = self.try_kubectl(probe);
            tried.is_err_and(|error| error.contains(MESSAGE))
        })
        .await;
    }

    fn delete_webhook(&self) {
        let name = self.webhook();
        self.kubectl(&["delete", "validatingwebhookconfiguration", &name]);
    }

    /// Waits until an Operation reports a block with the API server's message.
    async fn is_blocked_by_webhook(&self, operation: &str) -> OperationStatus {
        self.eventually("the Operation is blocked by the webhook", || async {
            let blocked = self.status(operation).await.blocked;
            blocked.is_some_and(|blocked| blocked.message.contains(MESSAGE))
        })
        .await;
        self.status(operation).await
    }
}

pub async fn an_unreachable_webhook_for_nodes_is_reported_and_an_abort_ends(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    let guard = Guard::watch(&belay, 2, 0).await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["nodes"]});
    let node = "(request.operation == 'DELETE' ? oldObject : object)";
    let namespace = format!("{node}.metadata.?labels[?'belay.dev/namespace'].orValue('')");
    let ours = format!("{namespace} == '{}'", belay.namespace);
    let name = belay.nodes().await[0].metadata.name.clone();
    let name = name.expect("a name");
    let probe = ["annotate", "node", &name, "probe=yes", "--dry-run=server"];
    belay.install_unreachable_webhook(rule, &ours, &probe).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked_by_webhook(&upgrade).await;
    belay.abort(&upgrade, "the webhook is unreachable").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free().await;
    guard.check(0, 2, 2);
    // The next change is blocked too, and continues when the webhook is deleted.
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked_by_webhook(&scale).await;
    belay.delete_webhook();
    let status = belay.succeeds(&scale).await;
    assert_eq!((status.blocked, status.error), (None, None));
    assert_eq!(belay.nodes().await.len(), 3);
    guard.check(0, 2, 3);
    belay.check_history();
}

pub async fn an_unreachable_webhook_for_evictions_is_reported_and_an_abort_ends(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    belay.create_workload(2, 1).await;
    let guard = Guard::watch(&belay, 2, 2).await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]});
    let ours = format!("request.namespace == '{}'", belay.namespace);
    let pod = belay.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}/eviction?dryRun=All",
        belay.namespace
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": belay.namespace}});
    std::fs::write(file.path(), eviction.to_string()).expect("written");
    let file = file.path().display().to_string();
    let probe = ["create", "--raw", &path, "-f", &file];
    belay.install_unreachable_webhook(rule, &ours, &probe).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked_by_webhook(&upgrade).await;
    belay.abort(&upgrade, "the webhook is unreachable").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free().await;
    assert!(!belay.nodes().await.iter().any(is_cordoned));
    guard.check(2, 2, 3);
    belay
        .reconcile(belay::api::TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.is_blocked_by_webhook("continue").await;
    belay.delete_webhook();
    belay.succeeds("continue").await;
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    guard.check(1, 2, 3);
    belay.check_history();
}
