//! Whose rights count: an Operation does nothing that its author couldn't do without one.

use std::sync::Arc;

use belay::api::OperationType;
use serde_json::{Value, json};

use crate::stage::{
    belay::{Belay, World},
    doors::{operation, told},
};

impl Belay {
    /// Grants a user verbs on resources, each rule as `VERBS on RESOURCES`.
    pub fn allow(&self, user: &str, rules: &[&str]) {
        for (nth, rule) in rules.iter().enumerate() {
            let (verbs, resources) = rule.split_once(" on ").expect("verbs on resources");
            let resources = resources.split(',').map(|resource| {
                let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
                let sub = if sub.is_empty() {
                    ""
                } else {
                    &format!("/{sub}")
                };
                format!("{resource}.belay.dev{sub}")
            });
            let resources = resources.collect::<Vec<_>>().join(",");
            let name = format!("{user}-{nth}");
            let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
            self.kubectl(&["create", "role", &name, &verbs, &resources]);
            let (role, user) = (format!("--role={name}"), format!("--user={user}"));
            self.kubectl(&["create", "rolebinding", &name, &role, &user]);
        }
    }

    /// Creates the objects of a manifest as a user.
    pub fn create_as(&self, user: &str, manifest: &str) -> Result<String, String> {
        let user = format!("--as={user}");
        let create = ["-n", &self.namespace, &user, "create"];
        self.world.kubectl_with(&create, manifest)
    }
}

pub async fn an_operation_needs_the_right_to_make_the_same_change_in_the_spec(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    belay.allow("asker", &["create,get on operations"]);
    belay.allow(
        "scaler",
        &["create,get on operations", "update on agentpools/scale"],
    );
    belay.allow("deleter", &["create on operations", "delete on agentpools"]);
    let refusal = |user: &str, asked: &Value, needs: &str| {
        let (type_, on) = (&asked["type"].as_str(), asked["on"].as_str());
        let on = match on.expect("a name") {
            "demo" => "ManagedCluster demo".to_owned(),
            pool => format!("AgentPool {pool}"),
        };
        format!(
            "(Forbidden) User \"{user}\" cannot ask for type {} on {on}: that needs the verb {needs} in API group belay.dev in the namespace \"{}\"",
            type_.expect("a type"),
            belay.namespace
        )
    };
    for (user, asked, needs) in [
        (
            "asker",
            json!({"type": "Stop", "on": "demo"}),
            "update on managedclusters",
        ),
        (
            "asker",
            json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.36.3"}),
            "update on managedclusters",
        ),
        (
            "asker",
            json!({"type": "Delete", "on": "demo"}),
            "delete on managedclusters",
        ),
        (
            "asker",
            json!({"type": "Reconcile", "on": "np1"}),
            "update on agentpools",
        ),
        (
            "asker",
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
        let created = belay.create_as(user, &operation("refused", asked.clone()));
        assert_eq!(told(created), refusal(user, &asked, needs));
        // A label that claims that Belay made the Operation doesn't help.
        let mut labelled: Value =
            serde_json::from_str(&operation("refused", asked.clone())).expect("an operation");
        labelled["metadata"]["labels"] = json!({"belay.dev/for-generation": "1"});
        let labelled = belay.create_as(user, &labelled.to_string());
        assert!(told(labelled).starts_with("(Forbidden) "));
    }
    let scale = operation(
        "by-scaler",
        json!({"type": "Scale", "on": "np1", "count": 2}),
    );
    belay.create_as("scaler", &scale).expect("may scale");
    belay.succeeds("by-scaler").await;
    belay.lock_is_free().await;
    let delete = operation("by-deleter", json!({"type": "Delete", "on": "np1"}));
    belay.create_as("deleter", &delete).expect("may delete");
    belay.kubectl(&["wait", "--for=delete", "agentpool/np1", "--timeout=60s"]);
    // An edit by a user who may edit, and the Operation that Belay makes from it, pass as before.
    belay.grant("eve", "belay-editor");
    belay
        .create_as(
            "eve",
            &operation(
                "by-eve",
                json!({"type": "Upgrade", "on": "demo", "kubernetesVersion": "1.35.8"}),
            ),
        )
        .expect("may edit");
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
            let asked = ["auth", "can-i", verb, "kwokcontrolplanes.belay.dev", &user];
            belay.try_kubectl(&asked).is_ok()
        };
        // The authorizer reads roles from caches.
        if role == "belay-viewer" {
            belay
                .eventually("lets a viewer read", || async { may("get") })
                .await;
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!may(verb), "{role} may {verb}");
        }
    }
}
