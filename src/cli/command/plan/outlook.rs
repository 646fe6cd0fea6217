//! What happens to each cluster that an apply changes: takes the current state, replaces the objects in the manifests
//! with the API server's results, and lets the core decide from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, ConcurrencyPolicy, ManagedCluster, Operation, OperationPhase, OperationTarget,
        TargetKind,
    },
    cli::{
        cluster::session::Session,
        cluster::view::{self, of_cluster, operations_on_any},
        cluster::{errors, foresee},
    },
    lifecycle::{
        NodeView, Preflight, Snapshot, excludes, failed_without_target,
        forecast::{Foreseen, Part, forecast},
        windows::Windows,
    },
    machinery::clock,
    provider::{
        self, kwok,
        nodes::preflight::{of_room, read::Drained},
    },
};

use super::dry_run::{Effect, Ours, Tried};

/// A cluster, and what happens to it.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The cluster's namespace.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// Its Operations, in the order in which they begin.
    pub operations: Vec<Foreseen>,
    /// Other facts that people should know.
    pub notes: Vec<String>,
    /// What will be in the way of the operations that will begin.
    pub preflight: Preflight,
}

/// A namespace and the name of a cluster there.
type Key = (String, String);

/// Returns the clusters that change, in the order in which the manifests name them.
///
/// # Errors
/// Returns an error if something can't be read.
pub async fn of(session: &Session, tried: &[Tried]) -> anyhow::Result<Vec<Outlook>> {
    let now = clock::now();
    let mut keys: Vec<Key> = Vec::new();
    let mut lost = Vec::new();
    for one in tried {
        let Ok((effect, object)) = &one.result else {
            continue;
        };
        if *effect == Effect::Unchanged {
            continue;
        }
        let session = &in_namespace(session, &one.namespace);
        match cluster_of(session, tried, object).await? {
            Some(cluster) => keys.push((one.namespace.clone(), cluster)),
            None => lost.extend(without_target(object, &one.namespace, now)),
        }
    }
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    let mut outlooks = Vec::new();
    for key in keys {
        let session = in_namespace(session, &key.0);
        let of_key = tried.iter().filter(|one| one.namespace == key.0);
        let changes = Changes::of(of_key, &key.1);
        outlooks.push(outlook(&session, key, changes, now).await?);
    }
    outlooks.extend(lost);
    Ok(outlooks)
}

fn in_namespace(session: &Session, namespace: &str) -> Session {
    Session {
        namespace: namespace.to_owned(),
        ..session.clone()
    }
}

/// Returns the name of the cluster that an object is or belongs to.
async fn cluster_of(
    session: &Session,
    tried: &[Tried],
    object: &Ours,
) -> anyhow::Result<Option<String>> {
    let target = match object {
        Ours::Cluster(cluster) => return Ok(Some(cluster.name_any())),
        Ours::Pool(pool) => return Ok(Some(pool.spec.cluster_name.clone())),
        Ours::Operation(operation) => &operation.spec.target,
    };
    if target.kind == TargetKind::ManagedCluster {
        return Ok(Some(target.name.clone()));
    }
    let made = tried.iter().find_map(|one| match &one.result {
        Ok((_, Ours::Pool(pool)))
            if one.namespace == session.namespace && pool.name_any() == target.name =>
        {
            Some(pool.spec.cluster_name.clone())
        }
        _ => None,
    });
    if made.is_some() {
        return Ok(made);
    }
    let there = errors::find(&session.api::<AgentPool>(), &target.name).await?;
    Ok(there.map(|pool| pool.spec.cluster_name))
}

/// Returns the outlook of an Operation whose target doesn't exist.
fn without_target(object: &Ours, namespace: &str, now: Timestamp) -> Option<Outlook> {
    let Ours::Operation(operation) = object else {
        return None;
    };
    let mut operation = operation.as_ref().clone();
    operation.status = Some(failed_without_target(
        &operation,
        &operation.spec.target,
        now,
    ));
    Some(Outlook {
        namespace: namespace.to_owned(),
        cluster: operation.spec.target.name.clone(),
        operations: vec![Foreseen {
            operation,
            turn: None,
            window: None,
            is_new: true,
            parts: Vec::new(),
        }],
        notes: Vec::new(),
        preflight: Preflight::default(),
    })
}

/// What an apply changes in one cluster and in the objects that belong to it.
#[derive(Default)]
struct Changes {
    cluster: Option<ManagedCluster>,
    pools: Vec<AgentPool>,
    operations: Vec<Operation>,
    /// Existing objects that change.
    changed: Vec<OperationTarget>,
}

impl Changes {
    fn of<'a>(tried: impl Iterator<Item = &'a Tried>, name: &str) -> Self {
        let mut changes = Self::default();
        for one in tried {
            let Ok((effect, object)) = &one.result else {
                continue;
            };
            let target = match object {
                Ours::Cluster(cluster) if cluster.name_any() == name => {
                    changes.cluster = Some(cluster.as_ref().clone());
                    target(TargetKind::ManagedCluster, name)
                }
                Ours::Pool(pool) if pool.spec.cluster_name == name => {
                    // If two manifests are of the same object, the later one counts.
                    let is_other = |it: &AgentPool| it.name_any() != pool.name_any();
                    changes.pools.retain(is_other);
                    changes.pools.push(pool.as_ref().clone());
                    target(TargetKind::AgentPool, &pool.name_any())
                }
                // The snapshot shows which cluster the Operation is about.
                Ours::Operation(operation) if *effect == Effect::Made => {
                    changes.operations.push(operation.as_ref().clone());
                    continue;
                }
                _ => continue,
            };
            if *effect == Effect::Changed {
                changes.changed.push(target);
            }
        }
        changes
    }
}

fn target(kind: TargetKind, name: &str) -> OperationTarget {
    OperationTarget {
        kind,
        name: name.to_owned(),
    }
}

async fn outlook(
    session: &Session,
    (namespace, name): Key,
    changes: Changes,
    now: Timestamp,
) -> anyhow::Result<Outlook> {
    let nothing = Outlook {
        namespace,
        cluster: name.clone(),
        operations: Vec::new(),
        notes: Vec::new(),
        preflight: Preflight::default(),
    };
    let there = errors::find(&session.api::<ManagedCluster>(), &name).await?;
    let is_there = there.is_some();
    let Some(cluster) = changes.cluster.or(there) else {
        return Ok(Outlook {
            operations: lost_operations(changes.operations, &name, now),
            notes: changes.pools.iter().map(waits_for_cluster).collect(),
            ..nothing
        });
    };
    let mut pools = Vec::new();
    if is_there {
        let of_cluster = of_cluster(&name);
        let listed = session.api::<AgentPool>().list(&of_cluster).await;
        pools = listed.context("failed to read the pools")?.items;
    }
    pools.retain(|pool| {
        changes
            .pools
            .iter()
            .all(|it| it.name_any() != pool.name_any())
    });
    pools.extend(changes.pools);
    let mut targets: Vec<String> = pools.iter().map(kube::ResourceExt::name_any).collect();
    targets.push(name.clone());
    let mut operations = operations_on_any(session, targets).await?;
    let asked_for: Vec<_> = changes
        .operations
        .iter()
        .map(kube::ResourceExt::uid)
        .collect();
    operations.extend(changes.operations);
    let is_ours = |target: &OperationTarget| match target.kind {
        TargetKind::ManagedCluster => target.name == name,
        TargetKind::AgentPool => pools.iter().any(|pool| pool.name_any() == target.name),
    };
    operations.retain(|operation| is_ours(&operation.spec.target));
    let observed = provider::look(&session.client, &cluster).await;
    let observed = observed.context("failed to read the cluster's nodes")?;
    let rules = provider::rules_of(&cluster.spec.provider);
    let meet = may_meet_each_other(&cluster, &changes.changed);
    let windows = Windows::at(&cluster.spec.maintenance_windows, now);
    let (nodes, cluster) = (observed.nodes.clone(), Arc::new(cluster));
    let snapshot = Snapshot::new(
        cluster.clone(),
        pools.into_iter().map(Arc::new).collect(),
        operations.into_iter().map(Arc::new).collect(),
        observed,
        rules,
    );
    let mut operations = forecast(snapshot, now);
    for foreseen in &mut operations {
        foreseen.is_new |= asked_for.contains(&foreseen.operation.uid());
    }
    let preflight = preflight(session, &cluster, &operations, &nodes).await;
    let are_many = operations.iter().filter(|it| it.is_new).count() > 1;
    let notes = meet.filter(|_| are_many).into_iter();
    Ok(Outlook {
        operations,
        notes: notes.chain(unknown(&windows)).collect(),
        preflight,
        ..nothing
    })
}

/// Returns what will be in the way of those of the operations that will begin.
async fn preflight(
    session: &Session,
    cluster: &ManagedCluster,
    operations: &[Foreseen],
    nodes: &BTreeMap<String, Vec<NodeView>>,
) -> Preflight {
    let begins = |foreseen: &&Foreseen| {
        let is_canceled = view::phase(&foreseen.operation) == OperationPhase::Canceled;
        foreseen.turn.is_some_and(|turn| turn > 0) && !is_canceled
    };
    let parts = operations.iter().filter(begins).flat_map(|it| &it.parts);
    let parts: Vec<&Part> = parts.filter(|part| !part.drained.is_empty()).collect();
    if parts.is_empty() {
        return Preflight::default();
    }
    // Nodes that the operations themselves will make have no pods yet.
    let drained = nodes.iter().map(|(pool, nodes)| {
        let of_pool = parts.iter().filter(|part| part.pool.as_ref() == Some(pool));
        let names: BTreeSet<&String> = of_pool.flat_map(|part| &part.drained).collect();
        let names = nodes
            .iter()
            .map(|it| &it.name)
            .filter(|name| names.contains(name));
        Drained {
            pool: pool.clone(),
            nodes: names.cloned().collect(),
        }
    });
    let drained: Vec<_> = drained.collect();
    let most = parts.iter().map(|part| part.most_nodes).max();
    let place = (session.namespace.as_str(), cluster.name_any());
    let quota = kwok::quota(&cluster.spec.provider);
    let room = of_room((place.0, &place.1), most.unwrap_or_default(), quota);
    foresee::look(session, cluster, &drained, room.into_iter().collect()).await
}

/// Returns the Operations on a cluster that doesn't exist.
fn lost_operations(operations: Vec<Operation>, cluster: &str, now: Timestamp) -> Vec<Foreseen> {
    let on_it = target(TargetKind::ManagedCluster, cluster);
    let lost = operations.into_iter().filter(|it| it.spec.target == on_it);
    let lost = lost.filter_map(|operation| {
        let namespace = operation.namespace().unwrap_or_default();
        without_target(&Ours::Operation(Box::new(operation)), &namespace, now)
    });
    lost.flat_map(|outlook| outlook.operations).collect()
}

fn waits_for_cluster(pool: &AgentPool) -> String {
    format!(
        "AgentPool {} waits: there is no ManagedCluster {}",
        pool.name_any(),
        pool.spec.cluster_name
    )
}

/// Returns a note if it isn't known when a maintenance window opens. None otherwise.
fn unknown(windows: &Windows) -> Option<String> {
    match windows {
        Windows::Unknown(why) => Some(format!("No change of a version begins by itself: {why}")),
        _ => None,
    }
}

/// With Forbid, the operation that follows from one change prevents the next change.
fn may_meet_each_other(cluster: &ManagedCluster, changed: &[OperationTarget]) -> Option<String> {
    let meets = |(at, one): (usize, &OperationTarget)| {
        changed[at + 1..].iter().any(|other| excludes(one, other))
    };
    let is_forbidden = cluster.spec.concurrency_policy == ConcurrencyPolicy::Forbid;
    (is_forbidden && changed.iter().enumerate().any(meets)).then(|| {
        "Its concurrencyPolicy is Forbid: while an operation is in flight, the API server refuses further changes. Apply them again after it has ended".into()
    })
}
