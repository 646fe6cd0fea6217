//! Restarts: a killed operator loses nothing.

use std::{sync::Arc, time::Duration};

use belay::api::{Operation, OperationPhase, OperationType, TargetKind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::stage::belay::{Belay, World, is_cordoned};

/// Returns when the API server recorded the abort annotation.
fn annotated_at(operation: &Operation) -> Option<Time> {
    let entries = operation.metadata.managed_fields.iter().flatten();
    let mut entries = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| {
            !fields.0["f:metadata"]["f:annotations"]["f:belay.dev/abort"].is_null()
        })
    });
    entries.next()?.time.clone()
}

/// The maximum number of kills. After them, the operator can finish.
const KILLS: u64 = 20;

/// Kills the operator repeatedly while the future runs, each time a little later.
async fn under_kills(belay: &Belay, work: impl Future<Output = ()>) {
    let killing = async {
        for round in 0..KILLS {
            tokio::time::sleep(Duration::from_millis(60 + round * 45)).await;
            belay.kill_operator();
            belay.start_operator();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = work => {}
        () = killing => {}
    }
}

pub async fn a_killed_operator_continues_from_the_current_state(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    under_kills(&belay, belay.ready_cluster(100, 3)).await;
    // The budget allows all evictions, because an eviction that a kill interrupts counts against it for two minutes.
    belay.create_workload(6, 0).await;
    assert_eq!(belay.nodes().await.len(), 3);
    under_kills(&belay, async {
        belay.set_count("np1", 4).await;
        belay
            .eventually("there are four nodes", || async {
                belay.nodes().await.len() == 4
            })
            .await;
        belay.pool_is_ready("np1").await;
    })
    .await;
    under_kills(&belay, async {
        belay.set_version("1.36.3").await;
        let operation = belay.operation(OperationType::Upgrade, "demo").await;
        belay
            .is_in_phase(&operation, OperationPhase::Succeeded)
            .await;
        belay.cluster_is_ready().await;
    })
    .await;
    belay.has_upgraded_nodes(4).await;
    let all = [
        OperationType::Create,
        OperationType::Scale,
        OperationType::Upgrade,
        OperationType::Reconcile,
    ];
    for (type_, target, expected) in [
        (all[0], "demo", 1),
        (all[0], "np1", 1),
        (all[1], "np1", 1),
        (all[2], "demo", 1),
        (all[3], "np1", 0),
    ] {
        assert_eq!(
            belay.operations(type_, target).await.len(),
            expected,
            "{type_:?} of {target}"
        );
    }
    belay.check_history();
}

pub async fn the_next_operator_honours_an_abort(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    let operation = belay.blocked_upgrade().await;
    belay.kill_operator();
    assert!(
        belay.nodes().await.iter().any(is_cordoned),
        "the operator must be killed during a drain"
    );
    belay.abort(&operation, "while no operator runs").await;
    let requested: Operation = belay.api().get(&operation).await.expect("an Operation");
    belay.start_operator();
    let canceled = belay
        .is_in_phase(&operation, OperationPhase::Canceled)
        .await;
    let cancellation = canceled.cancellation.expect("a cancellation");
    assert_eq!(cancellation.requested_at, annotated_at(&requested));
    assert!(belay.nodes().await.iter().all(|node| !is_cordoned(node)));
    // Repeated kills from here to the end of the next operation.
    belay.set_min_available(0).await;
    under_kills(&belay, async {
        belay
            .reconcile(TargetKind::ManagedCluster, "demo", "continue")
            .await;
        belay
            .is_in_phase("continue", OperationPhase::Succeeded)
            .await;
    })
    .await;
    belay.check_history();
}
