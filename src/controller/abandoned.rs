//! Nodes of clusters that no longer exist: somebody removed a cluster's finalizer by hand, perhaps while no operator
//! ran, or an operator that stood still created a node after the cluster's deletion. Belay deletes nodes that hadn't
//! joined yet, because no pod ever ran on them. It deletes no other node on a guess: it logs their names and counts
//! them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::{Api, runtime::reflector::ObjectRef};

use crate::api::ManagedCluster;

use super::Context;

/// How often Belay looks for these nodes. At the second look, the nodes of a normal deletion no longer exist.
const EVERY: Duration = Duration::from_secs(10);

/// Names of nodes, by cluster.
type Abandoned = HashMap<ObjectRef<ManagedCluster>, Vec<String>>;

/// Looks for such nodes again and again.
pub async fn watch(context: Arc<Context>) {
    context.ready().await;
    let (mut before, mut reported) = (Abandoned::new(), Abandoned::new());
    let gauge = context.telemetry.abandoned.part();
    loop {
        let now = look(&context);
        let mut lasting = now.clone();
        lasting.retain(|cluster, _| before.contains_key(cluster));
        for (cluster, nodes) in &lasting {
            if reported.get(cluster) != Some(nodes) {
                tracing::warn!(
                    cluster = name(cluster),
                    nodes = nodes.join(","),
                    "nodes of a cluster that no longer exists are left: delete them, or create the cluster again"
                );
            }
            mend(&context, cluster).await;
        }
        let count = lasting.values().map(Vec::len).sum::<usize>();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        gauge.set(count);
        (before, reported) = (now, lasting);
        tokio::time::sleep(EVERY).await;
    }
}

fn look(context: &Context) -> Abandoned {
    let providers = context.providers.all();
    let holdings = providers.iter().flat_map(|provider| provider.nodes());
    holdings
        .filter(|(key, _)| context.stores.cluster(key).is_none())
        .collect()
}

/// Mends what work left half-done on the nodes of a cluster, if the cluster doesn't exist on the API server either.
async fn mend(context: &Context, cluster: &ObjectRef<ManagedCluster>) {
    let namespace = cluster.namespace.as_deref().unwrap_or_default();
    let clusters = Api::<ManagedCluster>::namespaced(context.client.clone(), namespace);
    if !matches!(clusters.get_opt(&cluster.name).await, Ok(None)) {
        return;
    }
    for provider in context.providers.all() {
        provider.mend_abandoned(cluster).await;
    }
}

fn name(cluster: &ObjectRef<ManagedCluster>) -> String {
    let namespace = cluster.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", cluster.name)
}
