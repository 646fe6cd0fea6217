//! Nodes whose cluster there isn't any more: somebody removed its finalizer by hand, perhaps while no operator
//! ran. Nobody may delete them on a guess; they are named, and counted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::runtime::reflector::ObjectRef;

use super::Context;

/// How often it is looked for them. What goes with its cluster is gone by the second look.
const EVERY: Duration = Duration::from_secs(10);

/// Nodes by their clusters, as `namespace/name`.
type Abandoned = BTreeMap<String, Vec<String>>;

/// Looks for them for ever.
pub async fn watch(context: Arc<Context>) {
    context.stores.ready().await;
    for provider in context.providers.all() {
        provider.ready().await;
    }
    let (mut before, mut told) = (Abandoned::new(), Abandoned::new());
    loop {
        let now = look(&context);
        let stay = |cluster: &String| before.contains_key(cluster);
        let lasting: Abandoned = now.clone().into_iter().filter(|(it, _)| stay(it)).collect();
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
