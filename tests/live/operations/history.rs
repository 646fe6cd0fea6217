//! The history: Belay keeps the newest finished Operations and deletes the others.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{Operation, OperationPhase, OperationType};
use kube::ResourceExt;
use serde_json::json;

use crate::stage::belay::{Belay, World};

async fn names(belay: &Belay) -> BTreeSet<String> {
    let operations = belay
        .api::<Operation>()
        .list(&kube::api::ListParams::default())
        .await;
    let operations = operations.expect("operations").items;
    operations.iter().map(ResourceExt::name_any).collect()
}

pub async fn only_the_newest_finished_operations_are_kept_and_the_status_names_the_last(
    world: Arc<World>,
) {
    let belay = Belay::start(&world).await;
    belay
        .create_cluster_with(json!({"operationHistoryLimit": 2, "provider": {"kwok": {"nodeProvisioningTime": "0s"}}}))
        .await;
    belay.create_pool("np1", 1).await;
    belay.create_pool("np2", 0).await;
    belay.pool_is_ready("np1").await;
    belay.pool_is_ready("np2").await;
    let created = belay
        .cluster_status()
        .await
        .last_operation
        .expect("the last operation");
    for number in 0..4 {
        let name = format!("scale-{number}");
        belay.lock_is_free().await;
        belay
            .create_operation_on_pool(&name, "np1", "Scale", json!({"count": 2 + number}))
            .await;
        belay.succeeds(&name).await;
    }
    // The limit applies to each target: many Operations on one pool don't remove those of its cluster.
    let others = names(&belay).await;
    let others = others.into_iter().filter(|name| name.contains("-create-"));
    let others: BTreeSet<_> = others.filter(|name| !name.starts_with("np1-")).collect();
    assert_eq!(others.len(), 2, "{others:?}");
    let mut newest = BTreeSet::from(["scale-2".to_owned(), "scale-3".to_owned()]);
    newest.extend(others);
    belay
        .eventually("only the two newest Operations of np1 remain", || async {
            names(&belay).await == newest
        })
        .await;
    assert_eq!(
        belay.cluster_status().await.last_operation,
        Some(created),
        "the status still names a pruned Operation"
    );
    let last = belay
        .pool_status("np1")
        .await
        .last_operation
        .expect("the last operation");
    assert_eq!(
        (last.name.as_str(), last.phase),
        ("scale-3", OperationPhase::Succeeded)
    );
    belay.set_cluster(json!({"operationHistoryLimit": 0})).await;
    belay
        .eventually("no Operation remains", || async {
            names(&belay).await.is_empty()
        })
        .await;
    let last = belay
        .pool_status("np1")
        .await
        .last_operation
        .expect("the last operation");
    assert_eq!(last.name, "scale-3");
    belay.pool_is_ready("np1").await;
    belay.check_history();
}

pub async fn an_applied_operation_is_not_pruned(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.lock_is_free().await;
    // After pruning, the tool would apply it again, and it would run again.
    let manifest = json!({
        "apiVersion": "belay.dev/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": "from-git", "namespace": belay.namespace},
        "spec": {"type": "Reconcile", "target": {"kind": "AgentPool", "name": "np1"}},
    });
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=kustomize-controller",
    ];
    let applied = world.kubectl_with(&apply, &manifest.to_string());
    applied.expect("applied");
    belay.succeeds("from-git").await;
    belay.set_cluster(json!({"operationHistoryLimit": 0})).await;
    belay
        .eventually("only the applied Operation remains", || async {
            names(&belay).await == BTreeSet::from(["from-git".to_owned()])
        })
        .await;
}

pub async fn operations_in_flight_or_waiting_are_never_pruned(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(1).await;
    belay
        .set_cluster(json!({"operationHistoryLimit": 0, "concurrencyPolicy": "Queue"}))
        .await;
    belay
        .eventually("no finished Operation remains", || async {
            names(&belay).await.is_empty()
        })
        .await;
    belay.set_count("np1", 0).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    belay.is_blocked(&scale).await;
    belay
        .create_operation_on_cluster("waits", "Reconcile", json!({}))
        .await;
    let expected = BTreeSet::from([scale.clone(), "waits".to_owned()]);
    belay
        .eventually("only those two Operations remain", || async {
            names(&belay).await == expected
        })
        .await;
    belay.abort("waits", "not needed").await;
    // The hold remains after its Operation is deleted.
    belay.abort(&scale, "enough").await;
    belay
        .eventually("no Operation remains", || async {
            names(&belay).await.is_empty()
        })
        .await;
    let last = belay
        .pool_status("np1")
        .await
        .last_operation
        .expect("the last operation");
    assert_eq!((last.name, last.phase), (scale, OperationPhase::Canceled));
    belay.check_history();
}
