//! A force: for a limited time, an operation deletes pods that a budget protects.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use belay::{
    api::{Force, ForceStatus, OperationPhase, OperationStatus},
    machinery::clock,
};
use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    stage::belay::{Belay, World},
    telemetry::metrics::{OWN_ADDRESS, address, scrape},
};

/// A budget has to refuse an eviction for a second only.
const AFTER_A_SECOND: (&str, &str) = ("BELAY_FORCE_AFTER_SECONDS", "1");

/// Returns the time after that many seconds, as users write it.
pub fn in_seconds(seconds: i64) -> String {
    let now = Timestamp::from_second(clock::now().as_second()).expect("a time");
    (now + seconds.seconds()).to_string()
}

impl Belay {
    /// Forces an operation until a time.
    fn force(&self, operation: &str, until: &str) {
        let note = format!("belay.dev/force-until={until}");
        self.kubectl(&["annotate", "operation", operation, "--overwrite", &note]);
    }

    /// Waits until the force of an operation has ended. Returns the operation's status.
    async fn force_has_ended(&self, operation: &str) -> OperationStatus {
        self.eventually("the force has ended", || async {
            let force = self.status(operation).await.force;
            force.is_some_and(|force| force.status == ForceStatus::Ended)
        })
        .await;
        self.status(operation).await
    }

    /// Returns the uids of the pods that exist and aren't being deleted.
    async fn lasting_pods(&self) -> BTreeSet<String> {
        let pods = self.api::<Pod>().list(&ListParams::default()).await;
        let pods = pods.expect("pods").items.into_iter();
        pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(|pod| pod.uid())
            .collect()
    }

    /// Waits until an operation has been blocked for that long since it was blocked or since now.
    async fn is_blocked_for(&self, operation: &str, time: Duration) {
        let from = clock::now();
        self.eventually("stays blocked", || async {
            let status = self.is_blocked(operation).await;
            let since = status.blocked.and_then(|blocked| blocked.since);
            let since = since.expect("a time").0.max(from);
            clock::now() > clock::after(since, time)
        })
        .await;
    }
}

fn force(status: &OperationStatus) -> &Force {
    status.force.as_ref().expect("a force")
}

pub async fn a_forced_upgrade_deletes_protected_pods_and_succeeds(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    let (_operator, log) = belay.operator(&[OWN_ADDRESS, AFTER_A_SECOND]);
    let address = address(&belay, &log).await;
    let upgrade = belay.blocked_upgrade().await;
    let metric = "belay_forced_pod_deletions_total";
    assert_eq!(scrape(&address).value(metric, &[]), Some(0.0));
    let before = belay.lasting_pods().await;
    let until = in_seconds(3600);
    belay.force(&upgrade, &until);
    let status = belay.succeeds(&upgrade).await;
    let forced = force(&status);
    assert_eq!(forced.status, ForceStatus::Ended);
    assert_eq!(forced.message, "the operation ended");
    let requester = if world.can_record_requester() {
        "admin"
    } else {
        ""
    };
    assert_eq!(forced.requested_by, requester);
    let asked = forced.until.as_ref().map(|until| until.0.to_string());
    assert_eq!(asked, Some(until));
    let named: BTreeSet<_> = forced.pods.iter().map(|pod| pod.uid.clone()).collect();
    assert!(!named.is_disjoint(&before), "{forced:?}");
    assert!(before.is_disjoint(&belay.lasting_pods().await));
    let budget = format!("{}/web", belay.namespace);
    assert!(forced.pods.iter().all(|pod| pod.budget == budget));
    assert_eq!(usize::try_from(forced.pod_count), Ok(forced.pods.len()));
    let count = scrape(&address).value(metric, &[]);
    assert_eq!(
        count.map(|count| count.to_string()),
        Some(forced.pod_count.to_string())
    );
    let pod = &forced.pods[0];
    let note = format!(
        "deletes pod {}, which PodDisruptionBudget {budget} protects",
        pod.name
    );
    belay
        .eventually("Events name the force, the pod and the budget", || async {
            let events = belay.events(&upgrade).await;
            let has = |reason: &str, note: &str| {
                let mut events = events.iter();
                events.any(|(its_reason, its_note)| its_reason == reason && its_note.contains(note))
            };
            has("ForceAccepted", "force accepted: until") && has("PodForced", &note)
        })
        .await;
    belay.check_history();
}

pub async fn without_a_force_a_protected_pod_stays_however_long_it_takes(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    belay.start_operator_with(&[AFTER_A_SECOND]);
    let upgrade = belay.blocked_upgrade().await;
    let before = belay.lasting_pods().await;
    belay.is_blocked_for(&upgrade, Duration::from_secs(4)).await;
    assert_eq!(belay.lasting_pods().await, before);
    assert_eq!(belay.status(&upgrade).await.force, None);
}

pub async fn after_the_end_of_a_force_the_drain_waits_for_the_budget_again(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    belay.start_operator_with(&[AFTER_A_SECOND]);
    // One node after the other, each of them after a second: more than the force lasts.
    let upgrade = belay.blocked_upgrade_of(6, 6).await;
    belay.force(&upgrade, &in_seconds(4));
    let status = belay.force_has_ended(&upgrade).await;
    assert_eq!(status.phase, OperationPhase::InProgress);
    assert_eq!(force(&status).message, "its time has passed");
    let count = force(&status).pod_count;
    belay.is_blocked_for(&upgrade, Duration::from_secs(4)).await;
    let status = belay.is_blocked(&upgrade).await;
    assert_eq!(force(&status).pod_count, count);
    let blocked = status.blocked.expect("a block").message;
    assert!(!blocked.contains("by force"), "{blocked}");
    belay.check_history();
}

pub async fn removing_the_annotation_ends_the_force(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    // Long enough that no pod is deleted.
    belay.start_operator_with(&[("BELAY_FORCE_AFTER_SECONDS", "3600")]);
    let upgrade = belay.blocked_upgrade().await;
    belay.force(&upgrade, &in_seconds(7200));
    let says_when = || async {
        let status = belay.is_blocked(&upgrade).await;
        let blocked = status.blocked.expect("a block").message;
        blocked.contains("; by force, the pod is deleted at ")
    };
    belay
        .eventually("says when the pod is deleted", says_when)
        .await;
    let remove = ["annotate", "operation", &upgrade, "belay.dev/force-until-"];
    belay.kubectl(&remove);
    let status = belay.force_has_ended(&upgrade).await;
    assert_eq!(force(&status).message, "the annotation was removed");
    belay
        .eventually("says it no more", || async { !says_when().await })
        .await;
    assert_eq!(force(&belay.status(&upgrade).await).pod_count, 0);
}

pub async fn an_abort_during_a_force_deletes_nothing_after_canceled(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    belay.start_operator_with(&[AFTER_A_SECOND]);
    let upgrade = belay.blocked_upgrade_of(4, 4).await;
    belay.force(&upgrade, &in_seconds(3600));
    belay
        .eventually("a pod is deleted by force", || async {
            let force = belay.status(&upgrade).await.force;
            force.is_some_and(|force| force.pod_count > 0)
        })
        .await;
    belay.abort(&upgrade, "enough").await;
    let status = belay.is_canceled(&upgrade).await;
    let at_the_end = belay.lasting_pods().await;
    assert_eq!(force(&status).status, ForceStatus::Ended);
    belay.workload_is_healthy(4).await;
    belay.is_idle().await;
    let later = belay.lasting_pods().await;
    assert!(at_the_end.is_subset(&later), "{at_the_end:?}, {later:?}");
    let status = belay.status(&upgrade).await;
    assert_eq!(status.phase, OperationPhase::Canceled);
    let known: BTreeSet<_> = force(&status).pods.iter().map(|pod| &pod.uid).collect();
    assert!(later.iter().all(|uid| !known.contains(uid)));
    belay.check_history();
}

pub async fn a_force_that_outlives_a_restart_goes_on(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    belay.start_operator_with(&[("BELAY_FORCE_AFTER_SECONDS", "3600")]);
    let upgrade = belay.blocked_upgrade().await;
    belay.force(&upgrade, &in_seconds(3600));
    belay
        .eventually("the force is accepted", || async {
            let force = belay.status(&upgrade).await.force;
            force.is_some_and(|force| force.status == ForceStatus::InEffect)
        })
        .await;
    belay.kill_operator();
    belay.start_operator_with(&[AFTER_A_SECOND]);
    let status = belay.succeeds(&upgrade).await;
    assert!(force(&status).pod_count > 0);
}
