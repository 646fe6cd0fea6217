//! Other people's webhooks that are away: the API server refuses the requests that they must allow, with its own
//! message.

use std::sync::Arc;

use belay::api::{OperationStatus, OperationType};
use serde_json::{Value, json};

use super::{
    belay::{Belay, World, is_cordoned, version},
    guard::Guard,
};

/// The API server's message when a webhook doesn't answer.
const WORDS: &str = "failed calling webhook \"away.example.com\"";

impl Belay {
    fn webhook(&self) -> String {
        format!("away-{}", self.namespace)
    }

    /// Makes a webhook that is away responsible for objects that match `ours`.
    async fn ask_webhook(&self, rule: Value, ours: &str, try_it: &[&str]) {
        let webhook = json!({"name": "away.example.com", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, "rules": [rule],
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "matchConditions": [{"name": "ours", "expression": ours}]});
        self.apply(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.webhook()}, "webhooks": [webhook]}));
        self.eventually("asks the webhook", || async {
            let tried = self.try_kubectl(try_it);
            tried.is_err_and(|error| error.contains(WORDS))
        })
        .await;
    }

    fn webhook_is_gone(&self) {
        let name = self.webhook();
        self.kubectl(&["delete", "validatingwebhookconfiguration", &name]);
    }

    /// Waits until an Operation reports a block with the API server's message.
    async fn is_blocked_by_webhook(&self, operation: &str) -> OperationStatus {
        self.eventually("reports the webhook", || async {
            let blocked = self.status(operation).await.blocked;
            blocked.is_some_and(|blocked| blocked.message.contains(WORDS))
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
    let of_us = format!("{node}.metadata.?labels[?'belay.dev/namespace'].orValue('')");
    let ours = format!("{of_us} == '{}'", belay.namespace);
    let name = belay.nodes().await[0].metadata.name.clone();
    let name = name.expect("a name");
    let try_it = ["annotate", "node", &name, "tried=yes", "--dry-run=server"];
    belay.ask_webhook(rule, &ours, &try_it).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked_by_webhook(&upgrade).await;
    belay.abort(&upgrade, "the webhook is away").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free().await;
    guard.check(0, 2, 2);
    // The next change waits for the webhook, and is made once the webhook is gone.
    belay.set_count("np1", 3).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked_by_webhook(&scale).await;
    belay.webhook_is_gone();
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
    let try_it = ["create", "--raw", &path, "-f", &file];
    belay.ask_webhook(rule, &ours, &try_it).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.is_blocked_by_webhook(&upgrade).await;
    belay.abort(&upgrade, "the webhook is away").await;
    belay.is_canceled(&upgrade).await;
    belay.lock_is_free().await;
    assert!(!belay.nodes().await.iter().any(is_cordoned));
    guard.check(2, 2, 3);
    belay
        .reconcile(belay::api::TargetKind::ManagedCluster, "demo", "go-on")
        .await;
    belay.is_blocked_by_webhook("go-on").await;
    belay.webhook_is_gone();
    belay.succeeds("go-on").await;
    let nodes = belay.nodes().await;
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| version(node) == "v1.36.3"));
    guard.check(1, 2, 3);
    belay.check_history();
}
