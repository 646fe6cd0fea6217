//! Who may abort, and whom Belay records as the requester.

use std::{collections::BTreeMap, sync::Arc};

use belay::api::{
    ABORT_REQUESTED_BY_ANNOTATION, AgentPool, ManagedCluster, Operation, OperationPhase,
};
use kube::{Resource, ResourceExt as _};
use serde_json::json;

use crate::stage::{
    belay::{Belay, World},
    changes::{operation, refusal_message},
};

impl Belay {
    /// Returns the recorded requester of an abort by `user`: nobody if the API server cannot record requesters.
    fn recorded_requester<'a>(&self, user: &'a str) -> &'a str {
        if self.world.can_record_requester() {
            user
        } else {
            ""
        }
    }

    fn requester_of(object: &impl Resource) -> Option<&str> {
        let by = object.annotations().get(ABORT_REQUESTED_BY_ANNOTATION);
        by.map(String::as_str)
    }
}

/// Creates a cluster with a Scale of np1 that a disruption budget blocks.
async fn with_scale_in_flight(world: &Arc<World>) -> (Arc<Belay>, String) {
    let belay = Belay::start(world).await;
    let scale = belay.blocked_scale().await;
    (belay, scale)
}

pub async fn an_editor_may_not_abort(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    belay.grant("eve", "belay-editor");
    let refusal = |resource: &str| {
        format!(
            "(Forbidden) User \"eve\" cannot abort: this needs the verb update on {resource}/abort in API group belay.dev in the namespace \"{}\"",
            belay.namespace
        )
    };
    for (what, resource) in [
        (format!("operation/{scale}"), "operations"),
        ("agentpool/np1".to_owned(), "agentpools"),
        ("managedcluster/demo".to_owned(), "managedclusters"),
    ] {
        let annotate = ["annotate", &what, "belay.dev/abort=mine"];
        assert_eq!(
            refusal_message(belay.try_as("eve", &annotate)),
            refusal(resource)
        );
    }
    // Deleting an Operation in flight, or creating one with the annotation, is an abort too.
    let delete = ["delete", "operation", &scale, "--wait=false"];
    assert_eq!(
        refusal_message(belay.try_as("eve", &delete)),
        refusal("operations")
    );
    let mut with_abort: serde_json::Value = serde_json::from_str(&operation(
        "with-abort",
        json!({"type": "Reconcile", "on": "np2"}),
    ))
    .expect("an operation");
    with_abort["metadata"]["annotations"] = json!({"belay.dev/abort": "at once"});
    let create = ["-n", &belay.namespace, "--as=eve", "create"];
    let created = world.kubectl_with(&create, &with_abort.to_string());
    assert_eq!(refusal_message(created), refusal("operations"));
    let status = belay.status(&scale).await;
    assert_eq!(status.phase, OperationPhase::InProgress);
    belay
        .try_as("eve", &["scale", "agentpool", "np2", "--replicas=1"])
        .expect("eve may edit");
    belay.pool_is_ready("np2").await;
}

pub async fn an_owner_that_does_not_exist_cannot_be_used_to_abort(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    belay.grant("eve", "belay-editor");
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"});
    let patch = json!({"metadata": {"ownerReferences": [owner]}}).to_string();
    let patch = ["patch", "operation", &scale, "--type=merge", "-p", &patch];
    let message = refusal_message(belay.try_as("eve", &patch));
    assert!(
        message.contains("the verb update on operations/abort"),
        "{message}"
    );
    // Belay itself sets the owners of Operations, and has no right to abort.
    belay.allow(
        "operator",
        &["patch,get on operations", "operate on managedclusters"],
    );
    let by_belay = [&patch[..], &["--field-manager=belay", "--dry-run=server"]].concat();
    belay.try_as("operator", &by_belay).expect("Belay may");
    let status = belay.status(&scale).await;
    assert_eq!(status.phase, OperationPhase::InProgress);
}

pub async fn an_abort_with_a_too_long_reason_or_an_unknown_policy_is_refused(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    let kinds = [
        format!("operation/{scale}"),
        "agentpool/np1".to_owned(),
        "managedcluster/demo".to_owned(),
    ];
    let (short, long) = ("\u{e9}".repeat(1024), "\u{e9}".repeat(1025));
    for what in &kinds {
        let annotate = |note: &str| belay.try_kubectl(&["annotate", what, note]);
        assert_eq!(
            refusal_message(annotate(&format!("belay.dev/abort={long}"))),
            "(InvalidParameter) annotation belay.dev/abort has 1025 characters: write a reason of at most 1024"
        );
        for (policy, written) in [("Later", "Later"), ("after-step", "after-step"), ("", "")] {
            assert_eq!(
                refusal_message(annotate(&format!("belay.dev/abort-policy={policy}"))),
                format!(
                    "(InvalidParameter) annotation belay.dev/abort-policy is \"{written}\": write Now or AfterStep"
                )
            );
        }
    }
    assert_eq!(belay.status(&scale).await.phase, OperationPhase::InProgress);
    let both = [
        "annotate",
        &kinds[0],
        &format!("belay.dev/abort={short}"),
        "belay.dev/abort-policy=Now",
    ];
    belay.kubectl(&both);
    belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    // An editor may remove an existing request; an accepted abort stays accepted.
    belay.grant("eve", "belay-editor");
    let remove = ["annotate", &kinds[0], "belay.dev/abort-"];
    belay.try_as("eve", &remove).expect("eve may remove it");
}

pub async fn an_aborter_needs_no_right_to_edit(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    belay.grant("anna", "belay-aborter");
    for spec in ["managedcluster/demo", "agentpool/np1"] {
        let patch = ["patch", spec, "--type=merge", "-p", r#"{"spec":{}}"#];
        let error = belay.try_as("anna", &patch).expect_err("anna may not edit");
        assert!(error.contains("cannot patch resource"), "{error}");
    }
    let what = format!("operation/{scale}");
    let annotate = ["annotate", &what, "belay.dev/abort=it is blocked"];
    belay.try_as("anna", &annotate).expect("anna may abort");
    let status = belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(
        (
            cancellation.requested_by.as_str(),
            cancellation.reason.as_str()
        ),
        (belay.recorded_requester("anna"), "it is blocked")
    );
    belay.check_history();
}

pub async fn an_admin_may_abort_on_the_target(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    belay.grant("carol", "belay-admin");
    let annotate = ["annotate", "agentpool/np1", "belay.dev/abort=enough"];
    belay.try_as("carol", &annotate).expect("carol may abort");
    let status = belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.requested_by, belay.recorded_requester("carol"));
}

pub async fn a_user_cannot_abort_in_another_users_name(world: Arc<World>) {
    let (belay, scale) = with_scale_in_flight(&world).await;
    let what = format!("operation/{scale}");
    let by = |who: &str| format!("{ABORT_REQUESTED_BY_ANNOTATION}={who}");
    if !world.can_record_requester() {
        let annotated = belay.try_kubectl(&["annotate", &what, "belay.dev/abort=x", &by("eve")]);
        let refusal = format!(
            "(Forbidden) only the API server may set the annotation {ABORT_REQUESTED_BY_ANNOTATION}"
        );
        assert_eq!(refusal_message(annotated), refusal);
        return;
    }
    // Without an abort, no requester is recorded.
    belay.kubectl(&["annotate", &what, &by("eve")]);
    let operation = || async {
        let operations = belay.api::<Operation>();
        operations.get(&scale).await.expect("the operation")
    };
    assert_eq!(Belay::requester_of(&operation().await), None);
    let abort = ["annotate", &what, "belay.dev/abort=x", &by("eve")];
    belay.kubectl(&abort);
    assert_eq!(Belay::requester_of(&operation().await), Some("admin"));
    for change in [by("eve"), format!("{ABORT_REQUESTED_BY_ANNOTATION}-")] {
        belay.kubectl(&["annotate", &what, "--overwrite", &change]);
        assert_eq!(Belay::requester_of(&operation().await), Some("admin"));
    }
    let status = belay.is_in_phase(&scale, OperationPhase::Canceled).await;
    let cancellation = status.cancellation.expect("a cancellation");
    assert_eq!(cancellation.requested_by, "admin");
    // The same holds for the other kinds that can have the annotation, and at their creation.
    for kind in ["ManagedCluster", "AgentPool"] {
        let spec = match kind {
            "AgentPool" => json!({"clusterName": "demo", "count": 0}),
            _ => json!({"kubernetesVersion": "1.35.7", "provider": {"kwok": {}}}),
        };
        let annotations = BTreeMap::from([
            ("belay.dev/abort", "set at creation"),
            (ABORT_REQUESTED_BY_ANNOTATION, "eve"),
        ]);
        let manifest = json!({
            "apiVersion": "belay.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "with-abort", "annotations": annotations}, "spec": spec,
        });
        belay.create(&manifest.to_string()).expect("created");
    }
    let cluster: ManagedCluster = belay.api().get("with-abort").await.expect("the cluster");
    let pool: AgentPool = belay.api().get("with-abort").await.expect("the pool");
    assert_eq!(Belay::requester_of(&cluster), Some("admin"));
    assert_eq!(Belay::requester_of(&pool), Some("admin"));
}

pub async fn belays_roles_aggregate_into_those_of_kubernetes(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let can = |user: &str, verb: &str, resource: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let resource = format!("{resource}.belay.dev");
        let subresource = format!("--subresource={subresource}");
        let can_i = ["auth", "can-i", verb, &resource, &subresource];
        let answer = belay.try_as(user, &can_i);
        answer.is_ok_and(|answer| answer.trim() == "yes")
    };
    for role in ["view", "edit", "admin", "belay-viewer", "belay-editor"] {
        belay.grant(role, role);
    }
    belay
        .eventually("the roles are aggregated", || async {
            can("view", "get", "operations")
                && can("edit", "patch", "managedclusters")
                && can("edit", "update", "operations/abort")
                && can("admin", "update", "agentpools/abort")
        })
        .await;
    for (user, verb, resource) in [
        ("view", "patch", "managedclusters"),
        ("view", "update", "operations/abort"),
        ("belay-viewer", "create", "operations"),
        ("belay-editor", "update", "operations/abort"),
        ("admin", "operate", "managedclusters"),
        ("admin", "patch", "managedclusters/status"),
    ] {
        assert!(!can(user, verb, resource), "{user} can {verb} {resource}");
    }
    assert!(can("belay-editor", "patch", "agentpools/scale"));
}
