//! `kubectl belay why`: explains in sentences why something isn't Ready, from its condition to what blocks it.

mod explain;
pub mod in_the_way;

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use kube::ResourceExt as _;

use crate::{
    api::{
        AgentPool, MaintenanceWindow, ManagedCluster, Operation, OperationInFlight, OperationPhase,
    },
    cli::{
        cluster::{
            errors,
            session::Session,
            target::{self, Kind},
            view,
        },
        display::progress,
        terminal::output,
    },
    lifecycle::messages::reason,
    machinery::clock,
    provider,
};

use in_the_way::InTheWay;

pub use explain::explain;

/// Explain in sentences why a cluster, a pool or an operation is not Ready.
///
/// Goes from the condition to the operation, the step, the pod and the PodDisruptionBudget, and shows what helps.
#[derive(Args, Debug)]
pub struct WhyFlags {
    /// The name of a cluster, a pool or an Operation, or KIND/NAME if several objects have this name.
    pub name: String,
}

/// What was found about the object in question.
pub struct Facts {
    /// The object in question.
    pub subject: Subject,
    /// The Operation in flight on it.
    pub operation: Option<Operation>,
    /// What blocks the Operation.
    pub in_the_way: Option<InTheWay>,
    /// The pools of the cluster.
    pub pools: Vec<AgentPool>,
    /// The operations in flight on the cluster, if the Operation waits for its turn.
    pub lock: Vec<OperationInFlight>,
    /// The maintenance windows of the cluster.
    pub windows: Vec<MaintenanceWindow>,
    /// Whether the Operation's provider can delete pods that a budget protects.
    pub can_force: bool,
}

/// The object in question.
pub enum Subject {
    /// A cluster.
    Cluster(Box<ManagedCluster>),
    /// A pool.
    Pool(Box<AgentPool>),
    /// An Operation.
    Operation(Box<Operation>),
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the object doesn't exist, or can't be read.
pub async fn run(session: &Session, flags: &WhyFlags) -> anyhow::Result<ExitCode> {
    let facts = Facts::read(session, &flags.name).await?;
    output::say(&explain(&facts, &session.look.now(), clock::now()))?;
    Ok(ExitCode::SUCCESS)
}

impl Facts {
    async fn read(session: &Session, name: &str) -> anyhow::Result<Self> {
        let subject = subject(session, name).await?;
        let in_flight = match &subject {
            Subject::Operation(operation) => Some(operation.as_ref().clone()),
            Subject::Cluster(cluster) => {
                let lock = cluster
                    .status
                    .as_ref()
                    .map_or(&[][..], |status| &status.operations);
                read_operation(session, lock.first().map(|held| held.name.as_str())).await?
            }
            Subject::Pool(pool) => {
                let operation = pool
                    .status
                    .as_ref()
                    .and_then(|status| status.operation.as_ref());
                read_operation(session, operation.map(|operation| operation.name.as_str())).await?
            }
        };
        let in_flight = match in_flight {
            None => awaited(session, &subject).await?,
            found => found,
        };
        let blocked = in_flight
            .as_ref()
            .and_then(|operation| progress::in_the_way(&view::status(operation)).cloned());
        let in_the_way = match &blocked {
            Some(blocked) => InTheWay::read(&session.client, &blocked.message).await,
            None => None,
        };
        let pools = match &subject {
            Subject::Cluster(cluster) => {
                view::View::read(session, &cluster.name_any()).await?.pools
            }
            _ => Vec::new(),
        };
        let cluster = match &subject {
            Subject::Cluster(cluster) => Some(cluster.as_ref().clone()),
            Subject::Pool(pool) => errors::find(&session.api(), &pool.spec.cluster_name).await?,
            Subject::Operation(operation) => target::cluster_of(session, &operation.spec.target)
                .await
                .ok(),
        };
        let is_pending = in_flight
            .as_ref()
            .is_some_and(|operation| view::phase(operation) == OperationPhase::Pending);
        let lock = cluster.as_ref().filter(|_| is_pending).map(lock_of);
        let can_force = in_the_way.is_some() && cluster.as_ref().is_some_and(can_force);
        let windows = cluster.map(|cluster| cluster.spec.maintenance_windows);
        Ok(Self {
            can_force,
            subject,
            operation: in_flight,
            in_the_way,
            pools,
            lock: lock.unwrap_or_default(),
            windows: windows.unwrap_or_default(),
        })
    }
}

/// Returns the operations in flight on a cluster.
fn lock_of(cluster: &ManagedCluster) -> Vec<OperationInFlight> {
    let status = cluster.status.as_ref();
    status
        .map(|status| status.operations.clone())
        .unwrap_or_default()
}

/// Returns the Operation on a cluster or a pool that waits for a maintenance window. None if none does.
async fn awaited(session: &Session, subject: &Subject) -> anyhow::Result<Option<Operation>> {
    let (target, conditions) = match subject {
        Subject::Cluster(cluster) => (
            Kind::Cluster.named(&cluster.name_any()),
            cluster.status.as_ref().map(|status| &status.conditions),
        ),
        Subject::Pool(pool) => (
            Kind::Pool.named(&pool.name_any()),
            pool.status.as_ref().map(|status| &status.conditions),
        ),
        Subject::Operation(_) => return Ok(None),
    };
    let ready = conditions.and_then(|conditions| view::condition(conditions, "Ready"));
    if ready.is_none_or(|ready| ready.reason != reason::WAITS_FOR_WINDOW) {
        return Ok(None);
    }
    let operations = target::operations_on(session, &target).await?;
    let waits = |operation: &Operation| progress::window(&view::status(operation)).is_some();
    Ok(operations.into_iter().find(waits))
}

/// Returns whether the provider of a cluster can delete pods that a budget protects.
fn can_force(cluster: &ManagedCluster) -> bool {
    let rules = provider::rules_of(&cluster.spec.provider);
    rules.instead_of_force().is_none()
}

async fn read_operation(
    session: &Session,
    name: Option<&str>,
) -> anyhow::Result<Option<Operation>> {
    match name {
        Some(name) => errors::find(&session.api(), name).await,
        None => Ok(None),
    }
}

async fn subject(session: &Session, name: &str) -> anyhow::Result<Subject> {
    let (kind, name) = name
        .split_once('/')
        .map_or((None, name), |(kind, name)| (Some(kind), name));
    let kind = match kind.map(|kind| kind.split('.').next().unwrap_or(kind)) {
        None => None,
        Some("cluster" | "managedcluster" | "managedclusters" | "mc") => Some("cluster"),
        Some("pool" | "agentpool" | "agentpools" | "ap") => Some("pool"),
        Some("operation" | "operations" | "op") => Some("operation"),
        Some(other) => bail!(
            "{other:?} isn't a kind of Belay: write cluster/NAME, pool/NAME or operation/NAME"
        ),
    };
    let may_be = |wanted: &str| kind.is_none_or(|kind| kind == wanted);
    if may_be("cluster")
        && let Some(cluster) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Cluster(Box::new(cluster)));
    }
    if may_be("pool")
        && let Some(pool) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Pool(Box::new(pool)));
    }
    if may_be("operation")
        && let Some(operation) = errors::find(&session.api(), name).await?
    {
        return Ok(Subject::Operation(Box::new(operation)));
    }
    let what = kind.unwrap_or("cluster, pool or Operation");
    bail!(
        "there is no {what} {name} in namespace {}; `kubectl get belay -A` lists what there is",
        session.namespace
    )
}
