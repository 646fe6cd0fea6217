//! What will be in the way of a job whose nodes Belay orders itself, from what watches show and the pods on its nodes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Client;

use crate::{
    api::KubernetesVersion,
    lifecycle::{Job, NodeView, PoolGoal, Preflight, Rules as _, Stage},
};

use super::{
    NodeByNode,
    preflight::{self, Seen, read::Drained},
    requests::passing,
};

/// What is known when the work begins. Later, the work itself takes away what budgets allow.
pub struct Foresight {
    drained: Vec<Drained>,
    budgets: Vec<Arc<PodDisruptionBudget>>,
    preflight: Preflight,
}

impl Foresight {
    /// Returns what is known of a job before it begins. None if it drains no node.
    pub fn of(
        job: &Job,
        nodes: &BTreeMap<String, Vec<NodeView>>,
        control_plane: Option<KubernetesVersion>,
        quota: Option<usize>,
        budgets: impl FnOnce() -> Vec<Arc<PodDisruptionBudget>>,
    ) -> Option<Self> {
        let goals: Vec<&PoolGoal> = job.stages.iter().filter_map(goal_of).collect();
        let of = |goal: &PoolGoal| nodes.get(&goal.pool).map_or(&[][..], Vec::as_slice);
        let drained = goals.iter().map(|goal| Drained {
            pool: goal.pool.clone(),
            nodes: NodeByNode.drained(goal, &job.uid, of(goal)),
        });
        let drained: Vec<_> = drained.filter(|it| !it.nodes.is_empty()).collect();
        if drained.is_empty() {
            return None;
        }
        let most = goals.iter().map(|goal| goal.most_nodes(nodes)).max();
        let cluster = (job.namespace.as_str(), job.cluster.as_str());
        let mut findings = Vec::new();
        findings.extend(preflight::of_room(cluster, most.unwrap_or_default(), quota));
        if let Some(version) = job.control_plane().or(control_plane) {
            let is_left = |pool: &str| {
                let mut changed = goals.iter().filter(|goal| goal.replace_outdated);
                !changed.any(|goal| goal.pool == pool)
            };
            let left = nodes.iter().filter(|(pool, _)| is_left(pool));
            let left = left.map(|(pool, nodes)| (pool.as_str(), nodes.as_slice()));
            findings.extend(preflight::of_versions(&job.namespace, version, left));
        }
        Some(Self {
            drained,
            budgets: budgets(),
            preflight: Preflight {
                findings,
                unseen: Vec::new(),
            },
        })
    }

    /// Reads the pods, and returns all findings.
    pub async fn look(self, client: &Client) -> Preflight {
        let mut preflight = self.preflight;
        match preflight::read::pods(client, &self.drained).await {
            Ok(pools) => {
                let seen = Seen {
                    pools,
                    budgets: self.budgets,
                    volumes: Vec::new(),
                };
                preflight.findings.extend(preflight::of_pods(&seen));
            }
            Err(error) => preflight
                .unseen
                .push(format!("the pods on the nodes ({})", passing(&error))),
        }
        preflight.findings = preflight::sorted(preflight.findings);
        preflight
    }
}

fn goal_of(stage: &Stage) -> Option<&PoolGoal> {
    match stage {
        Stage::Pool(goal) => Some(goal),
        Stage::ControlPlane(_) | Stage::Follow(_) => None,
    }
}
