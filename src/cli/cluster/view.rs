//! One cluster for the output: the cluster, its pools, and the Operations on them that haven't ended.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    api::{
        AgentPool, CLUSTER_LABEL, Hold, ManagedCluster, Operation, OperationPhase, OperationStatus,
        OperationTarget, TargetKind,
    },
    cli::{
        cluster::{errors, session::Session},
        terminal::text,
    },
};

/// How many lists are read concurrently.
const AT_ONCE: usize = 8;

/// One cluster for the output.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The cluster.
    pub cluster: ManagedCluster,
    /// Its pools, by name.
    pub pools: Vec<AgentPool>,
    /// The Operations on it and on its pools that haven't ended, oldest first.
    pub operations: Vec<Operation>,
    /// The ended Operations that left something on hold.
    pub held: Vec<Operation>,
}

impl View {
    /// Combines the parts in the order in which they are shown.
    pub fn new(
        cluster: ManagedCluster,
        mut pools: Vec<AgentPool>,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Self {
        let name = cluster.name_any();
        pools.retain(|pool| pool.spec.cluster_name == name);
        pools.sort_by_key(kube::ResourceExt::name_any);
        let is_ours = |target: &OperationTarget| match target.kind {
            TargetKind::ManagedCluster => target.name == name,
            TargetKind::AgentPool => pools.iter().any(|pool| pool.name_any() == target.name),
        };
        let (mut held, mut operations): (Vec<_>, Vec<_>) = operations
            .into_iter()
            .filter(|operation| is_ours(&operation.spec.target))
            .partition(|operation| phase(operation).is_finished());
        let holders: Vec<_> = holds(&cluster, &pools)
            .map(|hold| &hold.operation.uid)
            .collect();
        held.retain(|operation| operation.uid().is_some_and(|uid| holders.contains(&&uid)));
        for operations in [&mut operations, &mut held] {
            operations
                .sort_by_key(|operation| (operation.creation_timestamp(), operation.name_any()));
            operations.dedup_by_key(|operation| operation.name_any());
        }
        Self {
            cluster,
            pools,
            operations,
            held,
        }
    }

    /// Reads a cluster and what belongs to it, with three requests and one more for each pool.
    ///
    /// # Errors
    /// Returns an error if the cluster doesn't exist, or if something can't be read.
    pub async fn read(session: &Session, cluster: &str) -> anyhow::Result<Self> {
        let (clusters, pools) = (session.api::<ManagedCluster>(), session.api::<AgentPool>());
        let of_cluster = of_cluster(cluster);
        let (cluster, pools) =
            tokio::join!(errors::get(&clusters, cluster), pools.list(&of_cluster));
        let (cluster, pools) = (cluster?, pools.context("failed to read the pools")?.items);
        let mut targets: Vec<String> = pools.iter().map(kube::ResourceExt::name_any).collect();
        targets.push(cluster.name_any());
        let operations = operations_on_any(session, targets).await?;
        Ok(Self::new(cluster, pools, operations))
    }
}

/// Returns what is on hold on a cluster, and then on each of its pools.
pub fn holds<'a>(
    cluster: &'a ManagedCluster,
    pools: &'a [AgentPool],
) -> impl Iterator<Item = &'a Hold> {
    let of_cluster = cluster
        .status
        .iter()
        .filter_map(|status| status.hold.as_ref());
    let of_pools = pools.iter().filter_map(|pool| pool.status.as_ref());
    of_cluster.chain(of_pools.filter_map(|status| status.hold.as_ref()))
}

/// Returns the Operations on targets with these names. Makes one request for each name.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn operations_on_any(
    session: &Session,
    mut targets: Vec<String>,
) -> anyhow::Result<Vec<Operation>> {
    targets.sort();
    targets.dedup();
    let operations = session.api::<Operation>();
    let lists: Vec<_> = futures::stream::iter(targets)
        .map(|target| {
            let operations = operations.clone();
            async move { operations.list(&on_target(&target)).await }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("failed to read the Operations")?;
    Ok(lists.into_iter().flat_map(|list| list.items).collect())
}

/// Selects the pools of a cluster.
pub fn of_cluster(cluster: &str) -> ListParams {
    ListParams::default().labels(&format!("{CLUSTER_LABEL}={cluster}"))
}

/// Selects the Operations on targets with this name.
pub fn on_target(name: &str) -> ListParams {
    ListParams::default().fields(&format!("spec.target.name={name}"))
}

/// Returns the phase of an Operation.
pub fn phase(operation: &Operation) -> OperationPhase {
    let status = operation.status.as_ref();
    status.map(|status| status.phase).unwrap_or_default()
}

/// Returns the status of an Operation.
pub fn status(operation: &Operation) -> OperationStatus {
    operation.status.clone().unwrap_or_default()
}

/// Returns the condition of this type.
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Returns the target's kind and name: `ManagedCluster demo`.
pub fn target_name(target: &OperationTarget) -> String {
    format!("{:?} {}", target.kind, target.name)
}

/// Returns the target as it is typed: `cluster demo`.
pub fn target_words(target: &OperationTarget) -> String {
    let kind = match target.kind {
        TargetKind::ManagedCluster => "cluster",
        TargetKind::AgentPool => "pool",
    };
    format!("{kind} {}", target.name)
}

/// Returns the command that does the same as an Operation, without waiting for a maintenance window.
pub fn at_once(operation: &Operation) -> String {
    let spec = &operation.spec;
    let type_ = format!("{:?}", spec.type_).to_lowercase();
    let target = target_words(&spec.target);
    match &spec.kubernetes_version {
        Some(version) => format!("{type_} {target} --kubernetes-version {version}"),
        None => format!("reconcile {target}"),
    }
}

/// Describes what an Operation does: `Upgrade of ManagedCluster demo to 1.36.3`.
pub fn what_it_does(operation: &Operation) -> String {
    let spec = &operation.spec;
    let nodes = |count: i32| text::count(usize::try_from(count).unwrap_or_default(), "node");
    let goal = spec.kubernetes_version.clone().or(spec.count.map(nodes));
    let goal = goal.map_or_else(String::new, |goal| format!(" to {goal}"));
    format!("{:?} of {}{goal}", spec.type_, target_name(&spec.target))
}
