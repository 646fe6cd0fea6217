//! The number of writes that an operation needs besides the writes to nodes.

use std::{sync::Arc, time::Instant};

use crate::stage::{
    belay::{Belay, World},
    proxy::Proxy,
};

/// The fixed number of writes of an operation: to itself, its lock, its pool, and their finalizers and labels.
const WRITES: u64 = 14;
/// The number of writes in each second of an operation: the progress of itself, its pool and its cluster.
const EACH_SECOND: u64 = 3;

pub async fn the_writes_of_an_operation_depend_on_its_duration_and_not_on_its_nodes(
    world: Arc<World>,
) {
    let (belay, proxy) = Belay::start_behind_proxy(&world).await;
    belay.ready_cluster(0, 0).await;
    for count in [2, 20] {
        belay.lock_is_free().await;
        let (before, started) = (writes(&proxy), Instant::now());
        belay.set_count("np1", count).await;
        let has_nodes = || async {
            let pool = belay.pool_status("np1").await;
            usize::try_from(pool.ready_count) == Ok(count) && pool.operation.is_none()
        };
        belay.eventually("the pool has its nodes", has_nodes).await;
        belay.lock_is_free().await;
        let (written, seconds) = (writes(&proxy) - before, started.elapsed().as_secs() + 1);
        let allowed = WRITES + EACH_SECOND * seconds;
        assert!(
            written <= allowed,
            "{written} writes within {seconds} s for {count} nodes: {:#?}",
            proxy.writes()
        );
    }
}

/// Returns the number of writes that the work on nodes itself doesn't need. Events don't count.
fn writes(proxy: &Proxy) -> u64 {
    let is_counted = |path: &&String| {
        let excluded = ["/nodes", "/events", "/leases", "/kwokcontrolplanes"];
        !excluded.iter().any(|resource| path.contains(resource))
    };
    let count = proxy.writes().iter().filter(is_counted).count();
    u64::try_from(count).expect("a small number")
}
