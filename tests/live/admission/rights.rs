//! Rights: an Operation can do only what its author may also do without an Operation.

use std::sync::Arc;

use belay::api::OperationType;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    changes::{operation, refusal_message},
};

pub async fn an_operation_needs_the_right_to_make_the_same_change_in_the_spec(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    belay.allow("requester", &["create,get on operations"]);
    belay.allow(
        "scaler",
        &["create,get on operations", "update on agentpools/scale"],
    );
    belay.allow("deleter", &["create on operations", "delete on agentpools"]);
    let refusal = |user: &str, spec: &Value, needs: &str| {
        let (type_, on) = (&spec["type"].as_str(), spec["on"].as_str());
        let on = match on.expect("a name") {
            "demo" => "ManagedCluster demo".to_owned(),
            pool => format!("AgentPool {pool}"),
        };
        format!(
            "(Forbidden) User \"{user}\" cannot create an Operation of type {} on {on}: this needs the verb {needs} in API group belay.dev in the namespace \"{}\"",
            type_.expect("a type"),
            belay.namespace
        )
    };
    for (user, spec, needs) in [
        (
            "requester",
            json!({"type": "Stop", "on": "demo"}),
            "update on managedclusters",
        ),
        (
            "requester",
            json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.3"}),
            "update on managedclusters",
        ),
        (
            "requester",
            json!({"type": "Delete", "on": "demo"}),
            "delete on managedclusters",
        ),
        (
            "requester",
            json!({"type": "Reconcile", "on": "np1"}),
            "update on agentpools",
        ),
        (
            "requester",
            json!({"type": "Scale", "on": "np1", "count": 3}),
            "update on agentpools/scale or agentpools",
        ),
        (
            "scaler",
            json!({"type": "Stop", "on": "np1"}),
            "update on agentpools",
        ),
        (
            "scaler",
            json!({"type": "Delete", "on": "np1"}),
            "delete on agentpools",
        ),
        (
            "deleter",
            json!({"type": "Scale", "on": "np1", "count": 3}),
            "update on agentpools/scale or agentpools",
        ),
    ] {
        let created = belay.create_as(user, &operation("refused", spec.clone()));
        assert_eq!(refusal_message(created), refusal(user, &spec, needs));
        // A label that claims that Belay created the Operation makes no difference.
        let mut labelled: Value =
            serde_json::from_str(&operation("refused", spec.clone())).expect("an operation");
        labelled["metadata"]["labels"] = json!({"belay.dev/for-generation": "1"});
        let labelled = belay.create_as(user, &labelled.to_string());
        assert!(refusal_message(labelled).starts_with("(Forbidden) "));
    }
    let scale = operation(
        "by-scaler",
        json!({"type": "Scale", "on": "np1", "count": 2}),
    );
    belay.create_as("scaler", &scale).expect("scaler may scale");
    belay.succeeds("by-scaler").await;
    belay.lock_is_free().await;
    let delete = operation("by-deleter", json!({"type": "Delete", "on": "np1"}));
    belay
        .create_as("deleter", &delete)
        .expect("deleter may delete");
    belay.kubectl(&["wait", "--for=delete", "agentpool/np1", "--timeout=60s"]);
    // The Operation of a user who may edit is allowed.
    belay.grant("eve", "belay-editor");
    belay
        .create_as(
            "eve",
            &operation(
                "by-eve",
                json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.35.8"}),
            ),
        )
        .expect("eve may edit");
    belay.succeeds("by-eve").await;
    assert_eq!(
        belay.operations(OperationType::Upgrade, "demo").await.len(),
        1
    );
}

pub async fn only_belay_may_write_the_record_of_a_control_plane(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    for role in [
        "belay-viewer",
        "belay-editor",
        "belay-aborter",
        "belay-admin",
    ] {
        let (of, user) = (format!("--clusterrole={role}"), format!("--user={role}"));
        belay.kubectl(&["create", "rolebinding", role, &of, &user]);
        let may = |verb: &str| {
            let user = format!("--as={role}");
            let can_i = ["auth", "can-i", verb, "kwokcontrolplanes.belay.dev", &user];
            belay.try_kubectl(&can_i).is_ok()
        };
        // The authorizer reads roles from caches.
        if role == "belay-viewer" {
            belay
                .eventually("a viewer may read", || async { may("get") })
                .await;
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!may(verb), "{role} may {verb}");
        }
    }
}
