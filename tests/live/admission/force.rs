//! Who may force an operation, and what admission refuses.

use std::sync::Arc;

use belay::api::{FORCE_REQUESTED_BY_ANNOTATION, ForceStatus, Operation};
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    operations::force::in_seconds,
    stage::{
        belay::{Belay, World},
        changes::{operation, refusal_message},
    },
};

const ANNOTATION: &str = "belay.dev/force-until";

fn until(seconds: i64) -> String {
    format!("{ANNOTATION}={}", in_seconds(seconds))
}

pub async fn only_who_has_the_right_may_force_and_an_editor_may_end_it(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    for (user, role) in [
        ("eve", "belay-editor"),
        ("anna", "belay-aborter"),
        ("frank", "belay-forcer"),
    ] {
        belay.grant(user, role);
    }
    let what = format!("operation/{upgrade}");
    let refusal = |user: &str| {
        format!(
            "(Forbidden) User \"{user}\" cannot force an operation: this needs the verb update on operations/force in API group belay.dev in the namespace \"{}\"",
            belay.namespace
        )
    };
    for user in ["eve", "anna"] {
        let annotated = belay.try_as(user, &["annotate", &what, &until(3600)]);
        assert_eq!(refusal_message(annotated), refusal(user));
    }
    // Creating an Operation with the annotation needs the right as well. Nothing else refuses this one.
    let forced = operation("forced", json!({"type": "Reconcile", "on": "other"}));
    let mut forced: serde_json::Value = serde_json::from_str(&forced).expect("an operation");
    forced["metadata"]["annotations"] = json!({ANNOTATION: in_seconds(3600)});
    let created = belay.create_as("eve", &forced.to_string());
    let message = refusal_message(created);
    assert!(message.contains("operations/force"), "{message}");
    belay
        .try_as("frank", &["annotate", &what, &until(3600)])
        .expect("frank may force");
    let force = || async { belay.status(&upgrade).await.force };
    belay
        .eventually("the force is in effect", || async {
            let force = force().await;
            force.is_some_and(|force| force.status == ForceStatus::InEffect)
        })
        .await;
    let by = force().await.expect("a force").requested_by;
    assert_eq!(by, belay_records(&world, "frank"));
    // An editor may not change the time, and may end the force.
    let change = ["annotate", &what, "--overwrite", &until(1800)];
    assert_eq!(
        refusal_message(belay.try_as("eve", &change)),
        refusal("eve")
    );
    let remove = format!("{ANNOTATION}-");
    belay
        .try_as("eve", &["annotate", &what, &remove])
        .expect("eve may end it");
    belay
        .eventually("the force has ended", || async {
            let force = force().await;
            force.is_some_and(|force| force.status == ForceStatus::Ended)
        })
        .await;
}

/// Returns the recorded requester: nobody if the API server can't record requesters.
fn belay_records<'a>(world: &World, user: &'a str) -> &'a str {
    if world.can_record_requester() {
        user
    } else {
        ""
    }
}

pub async fn a_force_without_a_time_or_for_too_long_is_refused(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    let what = format!("operation/{upgrade}");
    let refused = |value: &str| {
        let note = format!("{ANNOTATION}={value}");
        refusal_message(belay.try_kubectl(&["annotate", &what, &note]))
    };
    let example = format!(
        "kubectl annotate operation {upgrade} {ANNOTATION}=$(date -u -d +30minutes +%FT%TZ) --overwrite"
    );
    for value in [
        "",
        "tomorrow",
        "30m",
        "2026-12-01",
        "2026-12-01T10:00:00",
        "2026-02-30T10:00:00Z",
        "2026-12-01T25:00:00Z",
        "2026-12-01t10:00:00z",
    ] {
        assert_eq!(
            refused(value),
            format!(
                "(InvalidParameter) annotation {ANNOTATION} is \"{value}\": write a time as in RFC 3339, for example: {example}"
            )
        );
    }
    let past = "2020-01-01T00:00:00Z";
    assert_eq!(
        refused(past),
        format!(
            "(InvalidParameter) annotation {ANNOTATION} is {past}, which has passed: write a later time, for example: {example}"
        )
    );
    let late = in_seconds(48 * 3600);
    let too_long = format!(
        "(InvalidParameter) annotation {ANNOTATION} is {late}, which is more than 24 hours ahead: write an earlier time, and set it again if that isn't enough"
    );
    assert_eq!(refused(&late), too_long);
    // The same holds at the creation.
    let mut forced: serde_json::Value = serde_json::from_str(&operation(
        "forced",
        json!({"type": "Delete", "on": "demo"}),
    ))
    .expect("an operation");
    for (value, says) in [(past, "which has passed"), (&late, "more than 24 hours")] {
        forced["metadata"]["annotations"] = json!({ANNOTATION: value});
        let message = refusal_message(belay.create(&forced.to_string()));
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(belay.status(&upgrade).await.force, None);
    // Other ways to write a time are accepted.
    let offset = in_seconds(1800).replace('Z', "+00:00");
    belay.kubectl(&["annotate", &what, &format!("{ANNOTATION}={offset}")]);
    belay.abort(&upgrade, "enough").await;
    belay.is_canceled(&upgrade).await;
    let again = belay.try_kubectl(&["annotate", &what, "--overwrite", &until(3600)]);
    assert_eq!(
        refusal_message(again),
        format!(
            "(OperationNotAllowed) Operation {upgrade} has ended (Canceled): there is nothing to force"
        )
    );
}

pub async fn a_user_cannot_force_in_another_users_name(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let upgrade = belay.blocked_upgrade().await;
    let what = format!("operation/{upgrade}");
    let by_eve = format!("{FORCE_REQUESTED_BY_ANNOTATION}=eve");
    let annotate = ["annotate", &what, &until(3600), &by_eve];
    if !world.can_record_requester() {
        let refusal = format!(
            "(Forbidden) only the API server may set the annotation {FORCE_REQUESTED_BY_ANNOTATION}"
        );
        assert_eq!(refusal_message(belay.try_kubectl(&annotate)), refusal);
        return;
    }
    belay.kubectl(&annotate);
    for change in [by_eve.clone(), format!("{FORCE_REQUESTED_BY_ANNOTATION}-")] {
        belay.kubectl(&["annotate", &what, "--overwrite", &change]);
        let operation: Operation = belay.api().get(&upgrade).await.expect("the operation");
        let by = operation.annotations().get(FORCE_REQUESTED_BY_ANNOTATION);
        assert_eq!(by.map(String::as_str), Some("admin"));
    }
    belay
        .eventually("the requester is recorded", || async {
            let force = belay.status(&upgrade).await.force;
            force.is_some_and(|force| force.requested_by == "admin")
        })
        .await;
}
