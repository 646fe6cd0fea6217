//! Rules that hold once everything has settled.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::lifecycle::{
    fixtures::{CLUSTER, World, cluster, condition, pool},
    snapshot::ObjectId,
};

use super::{Broken, REST, holds};

/// Checks the rules for a settled world. `was_forced`: an object was removed by force, and left nodes for the next
/// Operation.
pub fn at_rest(world: &World, was_forced: bool) -> Result<(), Broken> {
    let nodes = world.nodes_of_no_pool();
    holds(REST, nodes.is_empty() || was_forced, || {
        format!("{nodes:?} are gone, and their nodes are left")
    })?;
    if world.is_gone() {
        let is_kept = |pool: &String| world.is_kept(&ObjectId::Pool(pool.clone()));
        let left: Vec<_> = world.pools().filter(is_kept).collect();
        return holds(REST, left.is_empty(), || {
            format!("{left:?} wait for a cluster that is gone")
        });
    }
    let (unfinished, lock) = (world.unfinished(), world.lock());
    holds(REST, unfinished.is_empty(), || {
        format!("{unfinished:?} never end")
    })?;
    holds(REST, lock.is_empty(), || format!("{lock:?} keep the lock"))?;
    check_cluster(world)?;
    check_history(world)?;
    for pool in world.pools() {
        check_pool(world, &pool)?;
        let is_mended = world.cordoned(&pool) == 0 || was_forced;
        holds(REST, is_mended, || {
            format!("{pool} has a node that takes no pods")
        })?;
    }
    Ok(())
}

fn check_cluster(world: &World) -> Result<(), Broken> {
    let status = world.cluster_status();
    check_reported(&status.conditions, CLUSTER)?;
    if is_ready(&status.conditions) {
        let (runs, wanted) = (status.kubernetes_version, world.wanted_version());
        holds(REST, runs.as_ref() == Some(&wanted), || {
            format!("the cluster is Ready and runs {runs:?}, not {wanted}")
        })?;
        let (shown, wanted) = world.power();
        holds(REST, shown == wanted, || {
            format!("the cluster is Ready and {shown:?}, not {wanted:?}")
        })?;
    }
    Ok(())
}

/// Checks that no more finished Operations are kept than the spec allows.
fn check_history(world: &World) -> Result<(), Broken> {
    let limit = world.history_limit();
    for target in std::iter::once(cluster()).chain(world.pools().map(|name| pool(&name))) {
        let kept = world.finished_on(&target);
        holds(REST, kept.0 <= limit && kept.1 <= limit, || {
            format!("{target:?} keeps {kept:?}")
        })?;
    }
    Ok(())
}

fn check_pool(world: &World, pool: &str) -> Result<(), Broken> {
    let (status, of_pool) = (world.cluster_status(), world.pool_status(pool));
    let waits_for_cluster =
        status.kubernetes_version.is_none() || world.is_going(&ObjectId::Cluster);
    if !waits_for_cluster {
        check_reported(&of_pool.conditions, pool)?;
    }
    if !is_ready(&of_pool.conditions) {
        return Ok(());
    }
    let (count, own) = world.wanted_nodes(pool);
    let runs = status.kubernetes_version.unwrap_or_default();
    let expected = vec![own.map_or(runs.clone(), |own| own.min(runs)); count];
    let versions = world.versions(pool);
    holds(REST, versions == expected, || {
        format!("{pool} is Ready and runs {versions:?}, not {expected:?}")
    })
}

/// Checks that an object is either Ready, or Stalled with a reason.
fn check_reported(conditions: &[Condition], of: &str) -> Result<(), Broken> {
    let (is_stalled, reason) = condition(conditions, "Stalled");
    let is_stalled = is_stalled == "True";
    holds(REST, is_ready(conditions) != is_stalled, || {
        format!("{of}: {conditions:#?}")
    })?;
    holds(REST, !is_stalled || !reason.is_empty(), || {
        format!("{of} is Stalled without a reason")
    })
}

fn is_ready(conditions: &[Condition]) -> bool {
    condition(conditions, "Ready").0 == "True"
}
