//! Mends what ended Operations left half-done. This runs independently of the reconcile, once at a time for each
//! cluster.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::api::ManagedCluster;

use super::Context;

/// How soon mending is tried again if something is left.
const RETRY: Duration = Duration::from_secs(5);

/// Begins to mend, unless mending is already running for the cluster.
pub fn mend(context: &Arc<Context>, cluster: &Arc<ManagedCluster>, uids: BTreeSet<String>) {
    let key = ObjectRef::from_obj(cluster.as_ref());
    let uid = cluster.uid().unwrap_or_default();
    let provider = context.providers.of(&cluster.spec.provider);
    let (Some(provider), Some(under_way)) = (provider, context.mending.begin(&uid)) else {
        return;
    };
    let (context, namespace) = (context.clone(), cluster.namespace().unwrap_or_default());
    tokio::spawn(async move {
        let left = provider.mend(&namespace, &key.name, &uids).await;
        if !left.is_empty() {
            for (what, why) in left {
                tracing::warn!(
                    namespace,
                    cluster = key.name,
                    left = what,
                    error = why,
                    "an ended operation left something behind, trying again to clean it up"
                );
            }
            tokio::time::sleep(RETRY).await;
        }
        drop(under_way);
        context.wake(&key);
    });
}
