//! The scenarios: the actions of a user, and the checks of the result.

use std::sync::Arc;

use belay::api::{OperationPhase::Canceled, OperationType::Upgrade, TargetKind};
use futures::future::BoxFuture;
use kube::api::ListParams;

use crate::{
    belay::Belay,
    machines::is_ready,
    stage::{NEW, OLD, api, machines_of, versions},
};

/// The number of Machines of each of the two pools.
pub const MACHINES: usize = 2;

/// The actions of a user until the end, with a check of the result.
pub struct Scenario {
    pub name: &'static str,
    pub act: fn(Arc<Belay>) -> BoxFuture<'static, ()>,
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "Upgrade",
        act: |belay| Box::pin(upgrade(belay)),
    },
    Scenario {
        name: "Upgrade, aborted in its first pool",
        act: |belay| Box::pin(abort(belay)),
    },
];

async fn upgrade(belay: Arc<Belay>) {
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay.succeeds(&upgrade).await;
    assert_eq!(
        versions(&machines_of(&belay, None).await),
        vec![NEW; 1 + 2 * MACHINES]
    );
    has_replaced_each_pool_once(&belay).await;
    belay.cluster_is_ready().await;
}

async fn abort(belay: Arc<Belay>) {
    belay.set_version(NEW).await;
    let upgrade = belay.operation(Upgrade, "demo").await;
    belay
        .eventually("a Machine of the first pool is replaced", || async {
            let machines = machines_of(&belay, Some("md-0")).await;
            versions(&machines).iter().any(|version| version == NEW)
        })
        .await;
    belay.abort(&upgrade, "not today").await;
    belay.is_in_phase(&upgrade, Canceled).await;
    let first = machines_of(&belay, Some("md-0")).await;
    assert!(first.iter().all(is_ready), "all Machines are Ready");
    assert!(
        (MACHINES..=MACHINES + 1).contains(&first.len()),
        "{} Machines",
        first.len()
    );
    let second = machines_of(&belay, Some("md-1")).await;
    assert_eq!(
        versions(&second),
        vec![OLD; MACHINES],
        "the second pool is not upgraded yet"
    );
    belay.lock_is_free().await;
    belay
        .reconcile(TargetKind::ManagedCluster, "demo", "continue")
        .await;
    belay.succeeds("continue").await;
    assert_eq!(
        versions(&machines_of(&belay, None).await),
        vec![NEW; 1 + 2 * MACHINES]
    );
    has_replaced_each_pool_once(&belay).await;
}

/// Checks that no change was started twice: this would have created a third `MachineSet`.
async fn has_replaced_each_pool_once(belay: &Belay) {
    let sets = api(belay, "MachineSet").list(&ListParams::default()).await;
    let sets = sets.expect("MachineSets").items.len();
    assert!(sets <= 4, "{sets} MachineSets of two pools");
}
