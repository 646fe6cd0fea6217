//! Where nothing is to do, nothing is done.

use std::{sync::Arc, time::Duration};

use super::belay::{Belay, World};

pub async fn nothing_is_written_while_nothing_changes(world: Arc<World>) {
    let belay = Belay::start(&world).await;
    belay.ready_cluster(0, 2).await;
    let versions = || async {
        let (cluster, pool) = (belay.cluster().await, belay.pool("np1").await);
        let operations = belay.kubectl(&[
            "get",
            "op",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ]);
        let records = belay.kubectl(&[
            "get",
            "configmap",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ]);
        let events = belay.kubectl(&[
            "get",
            "events.events.k8s.io",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ]);
        (
            cluster.metadata.resource_version,
            pool.metadata.resource_version,
            operations,
            records,
            events,
        )
    };
    // What is still on its way (Events are sent beside the reconcile) comes to rest first.
    let mut before = versions().await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = versions().await;
        if now == before {
            break;
        }
        before = now;
    }
    let settled = versions().await;
    // A quiet time is what is tested here, so it passes: longer than the watches last.
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(
        versions().await,
        settled,
        "something was written in a quiet time"
    );
}
