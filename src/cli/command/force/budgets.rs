//! Which budgets a force passes over: those that now protect a pod on a node of the Operation's target.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    api::{AGENT_POOL_LABEL, CLUSTER_LABEL, NAMESPACE_LABEL, Operation, TargetKind},
    cli::{
        cluster::session::Session,
        command::why::in_the_way::names,
        terminal::{look::Look, text},
    },
    provider::nodes::{budget_in_the_way, has_to_go, pods_of},
};

/// How many lists are read concurrently.
const AT_ONCE: usize = 8;

/// A budget that a force passes over.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The budget's namespace and name.
    pub budget: String,
    /// The namespaces and names of the pods that it protects.
    pub pods: Vec<String>,
}

/// Returns the budgets that a force of the Operation passes over.
///
/// # Errors
/// If nodes, pods or budgets can't be read.
pub async fn of(
    session: &Session,
    cluster: &str,
    operation: &Operation,
) -> anyhow::Result<Vec<Passed>> {
    let client = &session.client;
    let namespace = &session.namespace;
    let of_cluster = format!("{CLUSTER_LABEL}={cluster},{NAMESPACE_LABEL}={namespace}");
    let target = &operation.spec.target;
    let labels = match target.kind {
        TargetKind::ManagedCluster => of_cluster,
        TargetKind::AgentPool => format!("{of_cluster},{AGENT_POOL_LABEL}={}", target.name),
    };
    let nodes = Api::<Node>::all(client.clone());
    let nodes = nodes.list(&ListParams::default().labels(&labels)).await;
    let nodes = nodes.context("failed to read the nodes")?.items;
    let budgets = Api::<PodDisruptionBudget>::all(client.clone());
    let budgets = budgets.list(&ListParams::default()).await;
    let budgets = budgets
        .context("failed to read the PodDisruptionBudgets")?
        .items;
    let pods: Vec<_> = futures::stream::iter(nodes)
        .map(|node| {
            let pods = Api::<Pod>::all(client.clone());
            async move { pods.list(&pods_of(&node.name_any())).await }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("failed to read the pods")?;
    Ok(passed(
        pods.into_iter().flat_map(|list| list.items),
        &budgets,
    ))
}

fn passed(pods: impl Iterator<Item = Pod>, budgets: &[PodDisruptionBudget]) -> Vec<Passed> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.filter(has_to_go) {
        let blocked = budget_in_the_way(budgets, &pod);
        let named = blocked.and_then(|(_, message)| names(&message));
        if let Some((pod, budget)) = named {
            let budget = format!("{}/{}", budget.0, budget.1);
            let pods = all.entry(budget).or_default();
            pods.push(format!("{}/{}", pod.0, pod.1));
        }
    }
    all.into_iter()
        .map(|(budget, pods)| Passed { budget, pods })
        .collect()
}

/// Describes the budgets, a line for each.
pub fn sentences(passed: &[Passed], look: &Look) -> Vec<String> {
    if passed.is_empty() {
        let none = "Now every budget allows the evictions, so it would delete nothing by force.";
        return vec![look.wrap("", "", none)];
    }
    let heading = "These budgets allow no eviction now, and are passed over:".to_owned();
    let lines = passed.iter().map(|passed| {
        let names: Vec<_> = passed.pods.iter().map(String::as_str).collect();
        let pods = text::count(passed.pods.len(), "pod");
        let line = format!("{} protects {pods}: {}", passed.budget, text::list(&names));
        look.wrap("  - ", "    ", &line)
    });
    std::iter::once(heading).chain(lines).collect()
}
