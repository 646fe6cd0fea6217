//! Pools and Operations whose cluster doesn't exist. No reconcile of a cluster covers them. So they get a condition
//! here that says what is missing, and their finalizer is removed when they are deleted.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Api, Client, ResourceExt as _, runtime::reflector::ObjectRef};
use tokio::sync::mpsc;

use crate::{
    api::{AgentPool, ManagedCluster, Operation, OperationTarget, TargetKind, is_kept},
    lifecycle,
    machinery::{clock, patch_params},
};

use super::{
    patches,
    stores::{Stores, cluster_of_pool},
};

/// How long Belay waits for the missing object: people apply a pool and its cluster together, in any order.
const GRACE: Duration = Duration::from_secs(2);

/// The longest pause before a retry after a failure.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How often Belay looks through all pools and Operations. Changes are reported at once, but a cluster may be deleted
/// while an Operation that was just seen waits for its turn.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Stray {
    Pool(ObjectRef<AgentPool>),
    Operation(ObjectRef<Operation>),
}

/// Receives strays.
#[derive(Clone)]
pub struct Strays {
    sender: mpsc::UnboundedSender<Stray>,
    stores: Stores,
}

impl Strays {
    /// Returns where to report strays, and the future that looks after them.
    pub fn new(
        client: Client,
        stores: Stores,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, mut strays) = mpsc::unbounded_channel();
        let this = Self {
            sender,
            stores: stores.clone(),
        };
        let looking = async move {
            stores.ready().await;
            let in_hand = InHand::default();
            let mut looks = tokio::time::interval(EVERY);
            loop {
                let found = tokio::select! {
                    reported = strays.recv() => match reported {
                        Some(stray) => vec![stray],
                        None => return,
                    },
                    _ = looks.tick() => all(&stores),
                };
                for stray in found {
                    in_hand.look_after(stray, &client, &stores);
                }
            }
        };
        (this, looking)
    }

    /// Looks after a pool if its cluster doesn't exist.
    pub fn pool(&self, pool: &AgentPool, cluster: &ObjectRef<ManagedCluster>) {
        if self.stores.is_own(cluster) && self.stores.cluster(cluster).is_none() {
            // The receiver is dropped only when the process ends.
            let _ = self.sender.send(Stray::Pool(ObjectRef::from_obj(pool)));
        }
    }

    /// Looks after an Operation whose cluster doesn't exist, unless another operator does.
    pub fn operation(&self, operation: &Operation) {
        if self.stores.is_own_operation(operation) {
            let stray = Stray::Operation(ObjectRef::from_obj(operation));
            let _ = self.sender.send(stray);
        }
    }
}

/// Strays that are being looked after now.
#[derive(Clone, Default)]
struct InHand(Arc<Mutex<HashSet<Stray>>>);

impl InHand {
    /// Looks after a stray, unless a task already does.
    fn look_after(&self, stray: Stray, client: &Client, stores: &Stores) {
        if !self.lock().insert(stray.clone()) {
            return;
        }
        let (this, client, stores) = (self.clone(), client.clone(), stores.clone());
        tokio::spawn(async move {
            look_after(&stray, client, stores).await;
            this.lock().remove(&stray);
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Stray>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns all strays that the stores show.
fn all(stores: &Stores) -> Vec<Stray> {
    let pools = stores.own_pools().into_iter();
    let pools = pools.filter(|pool| stores.cluster(&cluster_of_pool(pool)).is_none());
    let pools = pools.map(|pool| Stray::Pool(ObjectRef::from_obj(pool.as_ref())));
    let operations = stores.own_operations().into_iter();
    let operations = operations.filter(|operation| {
        let needs_care = !is_finished(operation) || is_kept(&operation.metadata);
        needs_care && stores.existing_cluster_of(operation).is_none()
    });
    let operations =
        operations.map(|operation| Stray::Operation(ObjectRef::from_obj(operation.as_ref())));
    pools.chain(operations).collect()
}

fn is_finished(operation: &Operation) -> bool {
    let status = operation.status.as_ref();
    status.is_some_and(|status| status.phase.is_finished())
}

/// Looks at a stray after the missing object has had time to appear. Tries again if that fails.
async fn look_after(stray: &Stray, client: Client, stores: Stores) {
    let mut pause = GRACE;
    loop {
        tokio::time::sleep(pause).await;
        let client = client.clone();
        let (kind, key, looked) = match stray {
            Stray::Pool(key) => {
                let looked = look_at_pool(client, &stores, key).await;
                ("AgentPool", (&key.namespace, &key.name), looked)
            }
            Stray::Operation(key) => {
                let looked = look_at_operation(client, &stores, key).await;
                ("Operation", (&key.namespace, &key.name), looked)
            }
        };
        let Err(error) = looked else { return };
        let (namespace, name) = key;
        tracing::warn!(kind, name, namespace, %error, "failed to check an object that has no cluster, trying again");
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn look_at_pool(
    client: Client,
    stores: &Stores,
    key: &ObjectRef<AgentPool>,
) -> kube::Result<()> {
    let Some(pool) = stores
        .pools
        .get(key.namespace.as_deref().unwrap_or_default(), &key.name)
    else {
        return Ok(());
    };
    let cluster = cluster_of_pool(&pool);
    if !stores.is_own(&cluster) || stores.cluster(&cluster).is_some() {
        return Ok(());
    }
    let namespace = pool.namespace().unwrap_or_default();
    let pools = Api::<AgentPool>::namespaced(client, &namespace);
    if lifecycle::owned_by_nothing(&pool.metadata) {
        let patch = patches::release(pool.as_ref());
        pools
            .patch(&pool.name_any(), &patch_params(), &patch)
            .await?;
        return Ok(());
    }
    let message = format!(
        "ManagedCluster {} does not exist in namespace {namespace}: create it, or create a new AgentPool with the right spec.clusterName",
        cluster.name
    );
    let mut status = pool.status.clone().unwrap_or_default();
    lifecycle::stalled(
        &mut status.conditions,
        "ClusterNotFound",
        &message,
        pool.metadata.generation,
        clock::now(),
    );
    status.observed_generation = pool.metadata.generation;
    // With this copy of the cluster, admission would refuse the deletion of its last System pool.
    status.cluster = None;
    if pool.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let patch = patches::status(pool.resource_version().as_deref(), &status);
    pools
        .patch_status(&pool.name_any(), &patch_params(), &patch)
        .await?;
    Ok(())
}

async fn look_at_operation(
    client: Client,
    stores: &Stores,
    key: &ObjectRef<Operation>,
) -> kube::Result<()> {
    let Some(operation) = stores
        .operations
        .get(key.namespace.as_deref().unwrap_or_default(), &key.name)
    else {
        return Ok(());
    };
    if !stores.is_own_operation(&operation) || stores.existing_cluster_of(&operation).is_some() {
        return Ok(());
    }
    let namespace = operation.namespace().unwrap_or_default();
    let operations = Api::<Operation>::namespaced(client.clone(), &namespace);
    if is_finished(&operation) {
        if is_kept(&operation.metadata) {
            let patch = patches::release(operation.as_ref());
            operations
                .patch(&operation.name_any(), &patch_params(), &patch)
                .await?;
        }
        return Ok(());
    }
    let Some(missing) = missing(client, &namespace, &operation.spec.target).await? else {
        return Ok(());
    };
    let status = lifecycle::failed_without_target(&operation, &missing, clock::now());
    let patch = patches::status(operation.resource_version().as_deref(), &status);
    operations
        .patch_status(&operation.name_any(), &patch_params(), &patch)
        .await?;
    Ok(())
}

/// Returns what is missing for an Operation: its target, or the cluster of the pool that is its target. Asks the API
/// server, because the stores may lag behind.
async fn missing(
    client: Client,
    namespace: &str,
    target: &OperationTarget,
) -> kube::Result<Option<OperationTarget>> {
    let mut cluster = target.clone();
    if target.kind == TargetKind::AgentPool {
        let pools = Api::<AgentPool>::namespaced(client.clone(), namespace);
        let Some(pool) = pools.get_opt(&target.name).await? else {
            return Ok(Some(target.clone()));
        };
        cluster = OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: pool.spec.cluster_name,
        };
    }
    let clusters = Api::<ManagedCluster>::namespaced(client, namespace);
    let found = clusters.get_opt(&cluster.name).await?;
    Ok(found.is_none().then_some(cluster))
}
