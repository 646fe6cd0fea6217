//! Belay's account writes only Belay's nodes, and only Belay writes its labels and marks on them.

use std::sync::Arc;

use belay::api::OperationType;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testenv::{Component, ControlPlane};

use super::{
    acts::KWOK,
    belay::{Belay, World},
    doors::told,
};

/// The rights of the user's role in all namespaces.
const EDITS_NODES: &str = r#"[{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "create", "update", "patch", "delete"]}]"#;
/// The same, with the right by which the policies recognise Belay.
const OPERATES_NODES: &str = r#"[{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "create", "update", "patch", "delete"]},
    {"apiGroups": ["belay.dev"], "resources": ["nodes"], "verbs": ["operate"]}]"#;

impl Belay {
    /// Creates a user with rights in all namespaces. Returns the user's name.
    fn user_of_nodes(&self, name: &str, rules: &str) -> String {
        let user = format!("{name}-{}", self.namespace);
        let rules: Value = serde_json::from_str(rules).expect("rules");
        let rbac = "rbac.authorization.k8s.io";
        self.apply(
            &json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
            "metadata": {"name": user}, "rules": rules}),
        );
        self.apply(
            &json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}]}),
        );
        user
    }

    /// Grants a user the verb by which Belay is recognised in the namespace.
    fn let_operate(&self, user: &str) {
        let rbac = "rbac.authorization.k8s.io";
        self.apply(&json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role",
            "metadata": {"name": user, "namespace": self.namespace},
            "rules": [{"apiGroups": ["belay.dev"], "resources": ["managedclusters"], "verbs": ["operate"]}]}));
        self.apply(
            &json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": self.namespace},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": user},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}]}),
        );
    }

    fn create_node_as(&self, user: &str, name: &str, labels: &Value) -> Result<String, String> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        let create = [
            "--as",
            user,
            "create",
            "--field-manager=belay",
            "--dry-run=server",
        ];
        self.world.kubectl_with(&create, &node.to_string())
    }
}

pub async fn the_account_of_belay_writes_only_nodes_that_carry_its_labels(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let ours = belay.nodes().await[0].name_any();
    let plain = format!("plain-{}", belay.namespace);
    belay.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": plain}}));
    let operator = belay.user_of_nodes("operator", OPERATES_NODES);
    let refusal = |node: &str| {
        format!(
            "(Forbidden) User \"{operator}\" runs Belay and cannot write node {node}: it may write only nodes with the labels belay.dev/cluster and belay.dev/namespace, may not change these labels, and needs the verb operate on managedclusters in the namespace that the label names"
        )
    };
    let tries = |args: &[&str]| {
        let dry = ["--field-manager=belay", "--dry-run=server"];
        belay.try_as(&operator, &[args, &dry].concat())
    };
    let deletes =
        |node: &str| belay.try_as(&operator, &["delete", "node", node, "--dry-run=server"]);
    let label = ["label", "node", &ours, "team=a"];
    let stranger = tries(&label);
    assert_eq!(told(stranger), refusal(&ours), "not of its namespaces");
    belay.let_operate(&operator);
    belay
        .eventually("lets the operator write its node", || async {
            tries(&label).is_ok()
        })
        .await;
    deletes(&ours).expect("its node");
    assert_eq!(told(deletes(&plain)), refusal(&plain));
    let (cluster, namespace) = (
        "belay.dev/cluster=demo",
        format!("belay.dev/namespace={}", belay.namespace),
    );
    for change in [
        &["label", "node", &plain, "team=a"][..],
        &["annotate", "node", &plain, "belay.dev/made-by=me"],
        &["label", "node", &plain, cluster, &namespace],
        &["taint", "node", &plain, "a=b:NoExecute"],
        &[
            "patch",
            "node",
            &plain,
            "--subresource=status",
            "-p",
            r#"{"status": {"phase": "Running"}}"#,
        ],
    ] {
        assert_eq!(told(tries(change)), refusal(&plain), "{change:?}");
    }
    for change in ["belay.dev/cluster-", "belay.dev/namespace=default"] {
        let change = ["label", "node", &ours, "--overwrite", change];
        assert_eq!(told(tries(&change)), refusal(&ours), "{change:?}");
    }
    let labelled =
        |namespace: &str| json!({"belay.dev/cluster": "demo", "belay.dev/namespace": namespace});
    let made = format!("made-{}", belay.namespace);
    for labels in [
        json!({}),
        json!({"belay.dev/namespace": belay.namespace}),
        labelled("default"),
    ] {
        let created = belay.create_node_as(&operator, &made, &labels);
        assert_eq!(told(created), refusal(&made), "{labels}");
    }
    let created = belay.create_node_as(&operator, &made, &labelled(&belay.namespace));
    created.expect("a node of its own");
    // An administrator may do everything, including what needs the verb operate.
    belay.kubectl(&["delete", "node", &plain]);
}

pub async fn belay_alone_changes_its_labels_and_marks_of_a_node(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let node = belay.nodes().await[0].name_any();
    let eve = belay.user_of_nodes("eve", EDITS_NODES);
    for (verb, what, change) in [
        ("label", "belay.dev/cluster", "=other"),
        ("label", "belay.dev/cluster", "-"),
        ("label", "belay.dev/agentpool", "-"),
        ("label", "belay.dev/anything", "=x"),
        ("annotate", "belay.dev/made-by", "=me"),
        ("annotate", "belay.dev/made-by", "-"),
        ("annotate", "belay.dev/drained-by", "=me"),
        ("annotate", "belay.dev/drained-for", "=1"),
        ("annotate", "belay.dev/was-cordoned", "=true"),
        ("annotate", "belay.dev/joining", "=true"),
        ("annotate", "belay.dev/settings", "={}"),
    ] {
        let kind = if verb == "label" {
            "label"
        } else {
            "annotation"
        };
        let refusal = format!("(Forbidden) only Belay may set the {kind} {what}");
        let change = [
            verb,
            "node",
            &node,
            "--overwrite",
            &format!("{what}{change}"),
        ];
        assert_eq!(told(belay.try_as(&eve, &change)), refusal);
        assert_eq!(told(belay.try_kubectl(&change)), refusal, "whoever asks");
        let by_name = [&change[..], &["--field-manager=belay"]].concat();
        assert_eq!(told(belay.try_as(&eve, &by_name)), refusal);
    }
    let labels = json!({"belay.dev/cluster": "demo"});
    let created = belay.create_node_as(&eve, "forged", &labels);
    assert_eq!(
        told(created),
        "(Forbidden) only Belay may set the label belay.dev/cluster"
    );
    for change in [
        &["label", "node", &node, "team=a"][..],
        &["annotate", "node", &node, "example.com/note=a"],
        &["taint", "node", &node, "a=b:NoSchedule"],
        &[
            "patch",
            "node",
            &node,
            "-p",
            r#"{"spec": {"unschedulable": true}}"#,
        ],
        &["delete", "node", &node],
    ] {
        let change = [change, &["--dry-run=server"]].concat();
        belay.try_as(&eve, &change).expect("others pass");
    }
}

impl Belay {
    /// Creates a pod for the nodes of the namespace without any tolerations.
    async fn create_plain_pod(&self, name: &str) {
        let pod = json!({"metadata": {"name": name},
            "spec": {"nodeSelector": {"belay.dev/namespace": self.namespace}, "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "main:1"}]}});
        let pod = serde_json::from_value(pod).expect("a pod");
        let (pods, params) = (self.api::<Pod>(), PostParams::default());
        pods.create(&params, &pod).await.expect("created");
    }

    /// Returns the scheduler's reason why it found no node for a pod.
    async fn why_unscheduled(&self, name: &str) -> Option<String> {
        let status = self.api::<Pod>().get(name).await.expect("the pod").status?;
        let conditions = status.conditions.unwrap_or_default();
        let of_scheduler = conditions
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        of_scheduler?.message
    }
}

fn is_tainted(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.is_some_and(|taints| {
        taints.iter().any(|taint| {
            taint.key == KWOK
                && taint.value.as_deref() == Some("fake")
                && taint.effect == "NoSchedule"
        })
    })
}

pub async fn a_pod_without_a_toleration_is_not_scheduled_to_a_kwok_node(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.create_plain_pod("plain").await;
    belay
        .eventually("reports the taint", || async {
            let why = belay.why_unscheduled("plain").await.unwrap_or_default();
            why.contains("untolerated taint")
        })
        .await;
    belay.create_workload(1, 1).await;
    // The pool's own taints change beside Belay's taint.
    let taints = json!([{"key": "team", "value": "a", "effect": "PreferNoSchedule"}]);
    for taints in [taints, json!([])] {
        belay.set_pool("np1", json!({"nodeTaints": taints})).await;
        belay.pool_is_ready("np1").await;
        belay.lock_is_free().await;
        assert!(belay.nodes().await.iter().all(is_tainted));
    }
}

pub async fn taint_false_leaves_the_taint_out_of_new_nodes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let old = belay.nodes().await[0].name_any();
    belay
        .set_cluster(json!({"provider": {"kwok": {"taint": false}}}))
        .await;
    belay.set_count("np1", 2).await;
    belay
        .eventually("has a second node", || async {
            belay.nodes().await.len() == 2
        })
        .await;
    belay.pool_is_ready("np1").await;
    for node in belay.nodes().await {
        assert_eq!(
            is_tainted(&node),
            node.name_any() == old,
            "old nodes keep it"
        );
    }
    belay.create_plain_pod("plain").await;
    belay
        .eventually("runs the pod", || async {
            let status = belay.api::<Pod>().get("plain").await.expect("it").status;
            status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
        })
        .await;
}

pub async fn a_kwok_that_takes_leases_keeps_nodes_alive_too(_: Arc<World>) {
    // As kwok's own manifests and chart configure it.
    let builder = ControlPlane::builder().arg(Component::Kwok, "--node-lease-duration-seconds=40");
    let own = World::of(builder.start().await.expect("a control plane"));
    let belay = Belay::start(&own).await;
    belay.ready_cluster(0, 2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    let leases = Api::<Lease>::namespaced(belay.client.clone(), "kube-node-lease");
    let leases = leases.list(&ListParams::default()).await.expect("leases");
    assert!(!leases.items.is_empty(), "it takes leases");
}
