//! Belay's account may write only Belay's nodes, and only Belay may write its labels and annotations on them.

use std::sync::Arc;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    changes::refusal_message,
};

/// The rights of a user who edits nodes.
const EDITS_NODES: &str = r#"[{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "create", "update", "patch", "delete"]}]"#;
/// The same rights, and the verb by which the policies recognise Belay.
const OPERATES_NODES: &str = r#"[{"apiGroups": [""], "resources": ["nodes", "nodes/status"], "verbs": ["get", "create", "update", "patch", "delete"]},
    {"apiGroups": ["belay.dev"], "resources": ["nodes"], "verbs": ["operate"]}]"#;

impl Belay {
    /// Creates a user with cluster-wide rights. Returns the user's name.
    fn create_node_user(&self, name: &str, rules: &str) -> String {
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

    /// Grants a user the verb by which the policies recognise Belay in the namespace.
    fn grant_operate(&self, user: &str) {
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

pub async fn belays_account_may_write_only_nodes_with_its_labels(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let ours = belay.nodes().await[0].name_any();
    let plain = format!("plain-{}", belay.namespace);
    belay.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": plain}}));
    let operator = belay.create_node_user("operator", OPERATES_NODES);
    let refusal = |node: &str| {
        format!(
            "(Forbidden) User \"{operator}\" runs Belay and cannot write node {node}: it may write only nodes with the labels belay.dev/cluster and belay.dev/namespace, may not change these labels, and needs the verb operate on managedclusters in the namespace that the label names"
        )
    };
    let try_change = |args: &[&str]| {
        let dry = ["--field-manager=belay", "--dry-run=server"];
        belay.try_as(&operator, &[args, &dry].concat())
    };
    let try_delete =
        |node: &str| belay.try_as(&operator, &["delete", "node", node, "--dry-run=server"]);
    let label = ["label", "node", &ours, "team=a"];
    let without_operate = try_change(&label);
    assert_eq!(
        refusal_message(without_operate),
        refusal(&ours),
        "the operator has no rights in this namespace"
    );
    belay.grant_operate(&operator);
    belay
        .eventually("the operator may write its node", || async {
            try_change(&label).is_ok()
        })
        .await;
    try_delete(&ours).expect("its node");
    assert_eq!(refusal_message(try_delete(&plain)), refusal(&plain));
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
        assert_eq!(
            refusal_message(try_change(change)),
            refusal(&plain),
            "{change:?}"
        );
    }
    for change in ["belay.dev/cluster-", "belay.dev/namespace=default"] {
        let change = ["label", "node", &ours, "--overwrite", change];
        assert_eq!(
            refusal_message(try_change(&change)),
            refusal(&ours),
            "{change:?}"
        );
    }
    let labelled =
        |namespace: &str| json!({"belay.dev/cluster": "demo", "belay.dev/namespace": namespace});
    let new = format!("new-{}", belay.namespace);
    for labels in [
        json!({}),
        json!({"belay.dev/namespace": belay.namespace}),
        labelled("default"),
    ] {
        let created = belay.create_node_as(&operator, &new, &labels);
        assert_eq!(refusal_message(created), refusal(&new), "{labels}");
    }
    let created = belay.create_node_as(&operator, &new, &labelled(&belay.namespace));
    created.expect("a node of its own");
    // An administrator has the verb operate, like all verbs.
    belay.kubectl(&["delete", "node", &plain]);
}

pub async fn only_belay_may_change_its_labels_and_annotations_on_a_node(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    let node = belay.nodes().await[0].name_any();
    let eve = belay.create_node_user("eve", EDITS_NODES);
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
        assert_eq!(refusal_message(belay.try_as(&eve, &change)), refusal);
        assert_eq!(
            refusal_message(belay.try_kubectl(&change)),
            refusal,
            "also for an administrator"
        );
        let by_name = [&change[..], &["--field-manager=belay"]].concat();
        assert_eq!(refusal_message(belay.try_as(&eve, &by_name)), refusal);
    }
    let labels = json!({"belay.dev/cluster": "demo"});
    let created = belay.create_node_as(&eve, "forged", &labels);
    assert_eq!(
        refusal_message(created),
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
        belay
            .try_as(&eve, &change)
            .expect("other changes are allowed");
    }
}
