//! What will be in the way of an operation that drains nodes, before it drains any: budgets, pods that nothing makes
//! again, volumes, room and versions. The operator and the kubectl plugin share it. Everything but [`read`] is pure.

mod budgets;
mod pods;
pub mod read;
mod rest;

#[cfg(test)]
mod tests;

use std::{convert::Infallible, sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{PersistentVolume, Pod},
    policy::v1::PodDisruptionBudget,
};

use crate::{
    lifecycle::{Finding, Job, Preflight, Stop},
    provider::Control,
};

use super::drain::has_to_go;
pub use budgets::{keeps_a_number, rule_of};
pub use rest::{of_room, of_versions};

/// How long the operator looks at most. Work doesn't wait for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum number of objects that one finding names.
const MOST_NAMES: usize = 5;

/// The pods on the nodes of a pool that are drained.
#[derive(Clone, Debug, Default)]
pub struct PoolPods {
    /// The pool's name.
    pub pool: String,
    /// The pods.
    pub pods: Vec<Pod>,
}

/// What was seen inside a cluster.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The pods on the nodes that are drained, by pool.
    pub pools: Vec<PoolPods>,
    /// The budgets of all namespaces.
    pub budgets: Vec<Arc<PodDisruptionBudget>>,
    /// The volumes, as far as they were read.
    pub volumes: Vec<PersistentVolume>,
}

impl Seen {
    /// Returns the pods that a drain has to evict and that aren't being deleted yet, each with its pool.
    fn going(&self) -> impl Iterator<Item = (&str, &Pod)> {
        self.pools.iter().flat_map(|of| {
            let going = of.pods.iter().filter(|pod| is_to_be_evicted(pod));
            going.map(|pod| (of.pool.as_str(), pod))
        })
    }
}

fn is_to_be_evicted(pod: &Pod) -> bool {
    has_to_go(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Returns what will be in the way of the drains, the worst first.
pub fn of_pods(seen: &Seen) -> Vec<Finding> {
    let mut findings = budgets::findings(seen);
    findings.extend(pods::findings(seen));
    sorted(findings)
}

/// Returns the findings in the order in which they are listed.
pub fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings
}

/// Does the work of a job. Beside it, looks once at what will be in the way, and reports it. The work doesn't wait for
/// the look, and its end ends the look.
pub async fn beside<T>(
    (job, control): (&Job, &Control),
    look: impl Future<Output = Preflight>,
    work: impl Future<Output = T>,
) -> T {
    if job.has_preflight || control.stop() != Stop::No {
        return work.await;
    }
    let look = async {
        let looked = tokio::time::timeout(PATIENCE, look).await;
        let too_long = || Preflight::unseen("the API server of the cluster didn't answer in time");
        control.foresee(looked.unwrap_or_else(|_| too_long()));
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        end = work => end,
        never = look => match never {},
    }
}

/// Returns a number of objects with their names: `3 pods on the nodes of AgentPool np1 (a, b, c)`.
fn counted(names: &[String], place: &str) -> String {
    let shown = names[..names.len().min(MOST_NAMES)].join(", ");
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let pods = if names.len() == 1 { "pod" } else { "pods" };
    format!("{} {pods} {place} ({shown}{more})", names.len())
}

/// Returns where the nodes of these pools are, in words.
fn on_nodes_of(pools: &[String]) -> String {
    match pools {
        [one] => format!("on the nodes of AgentPool {one}"),
        many => format!("on the nodes of AgentPools {}", many.join(", ")),
    }
}
