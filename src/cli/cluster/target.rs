//! The object that a command is about: a cluster, a pool or an Operation, by kind and name.

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    api::{AgentPool, ManagedCluster, Operation, OperationInFlight, OperationTarget, TargetKind},
    cli::cluster::{
        errors,
        session::Session,
        view::{on_target, phase, target_name},
    },
};

/// A kind that can be changed, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A `ManagedCluster`.
    #[value(alias = "managedcluster", alias = "mc")]
    Cluster,
    /// An `AgentPool`.
    #[value(alias = "agentpool", alias = "ap")]
    Pool,
}

impl Kind {
    /// Returns the target of this kind and name.
    pub fn named(self, name: &str) -> OperationTarget {
        let kind = match self {
            Self::Cluster => TargetKind::ManagedCluster,
            Self::Pool => TargetKind::AgentPool,
        };
        OperationTarget {
            kind,
            name: name.to_owned(),
        }
    }
}

/// Returns the cluster that a target is or belongs to.
///
/// # Errors
/// Returns an error if the cluster or pool doesn't exist.
pub async fn cluster_of(
    session: &Session,
    target: &OperationTarget,
) -> anyhow::Result<ManagedCluster> {
    let cluster = match target.kind {
        TargetKind::ManagedCluster => target.name.clone(),
        TargetKind::AgentPool => {
            let pool = errors::get(&session.api::<AgentPool>(), &target.name).await?;
            pool.spec.cluster_name
        }
    };
    errors::get(&session.api(), &cluster).await
}

/// Returns the Operations on a target, newest first.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn operations_on(
    session: &Session,
    target: &OperationTarget,
) -> anyhow::Result<Vec<Operation>> {
    let list = session
        .api::<Operation>()
        .list(&on_target(&target.name))
        .await
        .context("failed to read the Operations")?;
    let of_target = |operation: &Operation| operation.spec.target == *target;
    Ok(newest_first(list.items.into_iter().filter(of_target)))
}

/// Returns all Operations of the namespace, or of all namespaces, newest first.
///
/// # Errors
/// Returns an error if they can't be read.
pub async fn all_operations(
    session: &Session,
    all_namespaces: bool,
) -> anyhow::Result<Vec<Operation>> {
    let api = session.api_in::<Operation>(all_namespaces);
    let mut operations = Vec::new();
    let mut params = ListParams::default().limit(500);
    loop {
        let page = api
            .list(&params)
            .await
            .context("failed to read the Operations")?;
        operations.extend(page.items);
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => return Ok(newest_first(operations.into_iter())),
        }
    }
}

fn newest_first(operations: impl Iterator<Item = Operation>) -> Vec<Operation> {
    let mut operations: Vec<_> = operations.collect();
    operations.sort_by_key(|operation| (operation.creation_timestamp(), operation.name_any()));
    operations.reverse();
    operations
}

/// Returns the Operation in flight on a target. If there is none, returns the oldest one that waits.
///
/// # Errors
/// Returns an error if there is none. The error names the operation in flight on the cluster, if there is one.
pub async fn in_flight_on(
    session: &Session,
    target: &OperationTarget,
) -> anyhow::Result<Operation> {
    let cluster = cluster_of(session, target).await?;
    let lock = cluster.status.unwrap_or_default().operations;
    if let Some(held) = lock.iter().find(|held| held.target == *target) {
        return errors::get(&session.api(), &held.name).await;
    }
    let operations = operations_on(session, target).await?;
    let waiting = operations.into_iter().rev();
    let mut waiting = waiting.filter(|operation| !phase(operation).is_finished());
    match waiting.next() {
        Some(operation) => Ok(operation),
        None => nothing_on(session, target, &lock),
    }
}

fn nothing_on(
    session: &Session,
    target: &OperationTarget,
    lock: &[OperationInFlight],
) -> anyhow::Result<Operation> {
    let name = target_name(target);
    match lock.first() {
        None => bail!("no operation is in flight on {name}: there is nothing to abort"),
        Some(held) => bail!(
            "no operation is in flight on {name} itself, but {:?} {} of {} is. To abort that one: kubectl belay abort operation {}{}",
            held.type_,
            held.name,
            target_name(&held.target),
            held.name,
            session.look.flags
        ),
    }
}
