//! The progress that an operation reports, and since when it is blocked.

use std::{collections::BTreeSet, sync::Arc};

use belay::api::{OperationPhase, OperationType, StepPhase};
use kube::ResourceExt as _;
use serde_json::json;

use crate::stage::belay::{Belay, World, is_cordoned};

/// The maximum size of an Operation that Belay guarantees.
const LARGEST: usize = 100 * 1024;

pub async fn the_percentage_rises_with_each_node_and_steps_have_times(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(5).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    // The pods of a node are deleted only after the previous percentage was reported.
    let (mut drained, mut percent) = (BTreeSet::new(), 0);
    for _ in 0..5 {
        let next = || async {
            let nodes = belay.nodes().await;
            let mut draining = nodes.iter().filter(|node| is_cordoned(node));
            draining.find_map(|node| Some(node.name_any()).filter(|name| !drained.contains(name)))
        };
        belay
            .eventually("the next node is drained", || async {
                belay.status(&upgrade).await.percent_complete > percent && next().await.is_some()
            })
            .await;
        percent = belay.status(&upgrade).await.percent_complete;
        let next = next().await.expect("a node that is drained");
        drained.insert(next);
        belay.delete_blocking_pods().await;
    }
    let steps = belay.succeeds(&upgrade).await.steps;
    assert_eq!(steps.len(), 6);
    for step in &steps {
        assert_eq!(step.phase, StepPhase::Succeeded);
        assert!(
            step.start_time.is_some() && step.start_time <= step.end_time,
            "{step:?}"
        );
    }
    assert!(
        steps
            .windows(2)
            .all(|pair| pair[0].start_time <= pair[1].start_time),
        "steps start in order: {steps:#?}"
    );
    let mut percents: Vec<_> = belay
        .statuses(&upgrade)
        .await
        .iter()
        .map(|status| status.percent_complete)
        .collect();
    percents.dedup();
    let largest = percents.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(percents.len() >= 6, "{percents:?}");
    assert!(
        largest <= Some(34),
        "no step counts for more than a third: {percents:?}"
    );
    belay.check_history();
}

pub async fn a_block_keeps_its_start_time_across_a_restart(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.cluster_with_blocked_drains(2).await;
    belay.set_version("1.36.3").await;
    let upgrade = belay.operation(OperationType::Upgrade, "demo").await;
    let first = belay.is_blocked(&upgrade).await.blocked.expect("a block");
    // Neither changes nor a restart reset the time.
    belay.wait_until_later(&belay.cluster().await, 5).await;
    belay.kill_operator();
    belay.start_operator();
    belay
        .annotate::<belay::api::ManagedCluster>("demo", json!({"example.com/touched": "yes"}))
        .await;
    belay.create_pool("np2", 0).await;
    let later = belay.is_blocked(&upgrade).await.blocked.expect("a block");
    assert_eq!(later.since, first.since);
    belay.set_min_available(0).await;
    assert_eq!(belay.succeeds(&upgrade).await.blocked, None);
    // The drain of the next node may start before the new budget is in effect. That would be a new block.
    let statuses = belay.statuses(&upgrade).await.into_iter();
    let statuses = statuses.skip_while(|status| status.blocked.is_none());
    let blocked = statuses.map_while(|status| status.blocked);
    let since: Vec<_> = blocked.map(|blocked| blocked.since).collect();
    assert!(since.iter().all(|since| *since == first.since), "{since:?}");
    belay.check_history();
}

pub async fn an_operation_on_hundreds_of_nodes_stays_small_and_succeeds(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 1).await;
    belay.set_count("np1", 230).await;
    let scale = belay.operation(OperationType::Scale, "np1").await;
    let steps = belay.succeeds(&scale).await.steps;
    assert_eq!(
        steps.len(),
        201,
        "one step for each of 200 nodes, and one for the rest"
    );
    let rest = steps.last().expect("the rest");
    assert_eq!(
        (rest.name.as_str(), rest.nodes, rest.nodes_done),
        ("agentpool/np1", Some(29), Some(29))
    );
    belay.pool_is_ready("np1").await;
    assert_eq!(belay.nodes().await.len(), 230);
    let operation = belay.kubectl(&["get", "op", &scale, "-o", "json", "--show-managed-fields"]);
    assert!(operation.len() < LARGEST, "{} bytes", operation.len());
    let percents = belay.statuses(&scale).await;
    assert!(percents.len() < 150, "{} writes", percents.len());
    belay.set_count("np1", 0).await;
    let scale = belay.nth_operation(2, OperationType::Scale, "np1").await;
    belay.is_in_phase(&scale, OperationPhase::Succeeded).await;
    assert!(belay.nodes().await.is_empty());
    belay.check_history();
}
