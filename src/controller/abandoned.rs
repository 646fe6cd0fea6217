//! Nodes of clusters that no longer exist, since somebody removed a cluster's finalizer by hand, perhaps while no
//! operator ran. Belay deletes no node on a guess: it logs their names and counts them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::runtime::reflector::ObjectRef;

use super::Context;

/// How often Belay looks for them. Nodes of a normal deletion are gone by the second look.
const EVERY: Duration = Duration::from_secs(10);

/// Nodes by their clusters, as `namespace/name`.
type Abandoned = BTreeMap<String, Vec<String>>;

/// Looks for them again and again.
pub async fn watch(context: Arc<Context>) {
    context.ready().await;
    let (mut before, mut told) = (Abandoned::new(), Abandoned::new());
    loop {
        let now = look(&context);
        let mut lasting = now.clone();
        lasting.retain(|cluster, _| before.contains_key(cluster));
        for (cluster, nodes) in &lasting {
            if told.get(cluster) != Some(nodes) {
                tracing::warn!(
                    cluster,
                    nodes = nodes.join(","),
                    "nodes are left of a cluster that there isn't any more: delete them, or create the cluster again"
                );
            }
        }
        let count = lasting.values().map(Vec::len).sum::<usize>();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        context.telemetry.abandoned.set(count);
        (before, told) = (now, lasting);
        tokio::time::sleep(EVERY).await;
    }
}

fn look(context: &Context) -> Abandoned {
    let providers = context.providers.all();
    let holdings = providers.iter().flat_map(|provider| provider.nodes());
    let is_there = |key: &ObjectRef<_>| context.stores.cluster(key).is_some();
    let abandoned = holdings.filter(|(key, _)| !is_there(key));
    abandoned
        .map(|(key, nodes)| {
            let namespace = key.namespace.unwrap_or_default();
            (format!("{namespace}/{}", key.name), nodes)
        })
        .collect()
}
