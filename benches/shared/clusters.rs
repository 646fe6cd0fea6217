//! Clusters and pools of the benchmarks, by number, without nodes.

use belay::api::{AgentPool, ManagedCluster};
use kube::api::PostParams;
use serde_json::{Value, json};

use super::objects::Objects;

/// Creates a cluster with this many pools.
pub async fn create(objects: &Objects, number: usize, pools: usize) -> anyhow::Result<()> {
    let cluster = name(number);
    create_cluster(objects, &cluster, json!({})).await?;
    for pool in 0..pools {
        create_pool(objects, &pool_of(number, pool), &cluster, 0).await?;
    }
    Ok(())
}

/// Creates a cluster whose nodes come up at once, with these options of the provider kwok.
pub async fn create_cluster(objects: &Objects, name: &str, mut kwok: Value) -> anyhow::Result<()> {
    kwok["nodeProvisioningTime"] = json!("0s");
    let spec = json!({"kubernetesVersion": "1.36.3", "provider": {"kwok": kwok}});
    let made = ManagedCluster::new(name, serde_json::from_value(spec)?);
    let params = PostParams::default();
    objects.api().create(&params, &made).await?;
    Ok(())
}

/// Creates a pool.
pub async fn create_pool(
    objects: &Objects,
    name: &str,
    cluster: &str,
    count: i32,
) -> anyhow::Result<()> {
    create_pool_with(objects, name, cluster, count, json!({})).await
}

/// Creates a pool with additional fields in its spec.
pub async fn create_pool_with(
    objects: &Objects,
    name: &str,
    cluster: &str,
    count: i32,
    mut spec: Value,
) -> anyhow::Result<()> {
    spec["clusterName"] = json!(cluster);
    spec["count"] = json!(count);
    let made = AgentPool::new(name, serde_json::from_value(spec)?);
    let params = PostParams::default();
    objects.api().create(&params, &made).await?;
    Ok(())
}

/// Returns a change that makes a cluster's nodes take an hour to come up.
pub fn slow() -> Value {
    json!({"spec": {"provider": {"kwok": {"nodeProvisioningTime": "1h"}}}})
}

/// Returns the name of a cluster.
pub fn name(number: usize) -> String {
    format!("c{number}")
}

/// Returns the name of a pool.
pub fn pool_of(cluster: usize, pool: usize) -> String {
    format!("c{cluster}-p{pool}")
}
