//! Which budgets a force passes over: those that now protect a pod on a node of the Operation's target.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};

use crate::{
    api::{Operation, TargetKind},
    cli::{
        cluster::session::Session,
        terminal::{look::Look, text},
    },
    machinery::watches::full_name,
    provider::nodes::{
        has_to_go, look,
        preflight::read::{self, Drained},
        protecting_budget,
    },
};

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
    let nodes = look(client, &session.namespace, cluster).await;
    let nodes = nodes.context("failed to read the nodes")?;
    let target = &operation.spec.target;
    let is_concerned =
        |pool: &String| target.kind == TargetKind::ManagedCluster || *pool == target.name;
    let concerned = nodes.into_iter().filter(|(pool, _)| is_concerned(pool));
    let concerned = concerned.map(|(pool, nodes)| Drained {
        pool,
        nodes: nodes.into_iter().map(|node| node.name).collect(),
    });
    let concerned: Vec<_> = concerned.collect();
    let budgets = read::budgets(client).await;
    let budgets = budgets.context("failed to read the PodDisruptionBudgets")?;
    let pools = read::pods(client, &concerned).await;
    let pools = pools.context("failed to read the pods")?;
    let pods = pools.into_iter().flat_map(|pool| pool.pods);
    Ok(passed(pods, &budgets))
}

fn passed(pods: impl Iterator<Item = Pod>, budgets: &[Arc<PodDisruptionBudget>]) -> Vec<Passed> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.filter(has_to_go) {
        if let Some(budget) = protecting_budget(budgets.iter().map(AsRef::as_ref), &pod) {
            let pods = all.entry(full_name(budget)).or_default();
            pods.push(full_name(&pod));
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
