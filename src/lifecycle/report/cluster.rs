//! The cluster's status.

use crate::{
    api::{
        ClusterPool, KubernetesVersion, ManagedClusterStatus, OperationInFlight, PoolCluster,
        PowerStateStatus,
    },
    lifecycle::facts::Target,
};

use super::{Report, pool::number, power};

impl Report<'_, '_> {
    /// Returns the cluster's status.
    pub fn cluster(&self) -> ManagedClusterStatus {
        let cluster = &self.facts.cluster;
        let before = self
            .facts
            .snapshot
            .cluster
            .status
            .clone()
            .unwrap_or_default();
        let ended = self.ledger.ended_on(&cluster.key).cloned();
        let last = ended.or(before.last_operation);
        let held = self.held_by_cluster();
        let runs = self.facts.control_plane();
        let summary = self.summary(cluster, held, last.as_ref(), &self.ready(runs));
        let generation = cluster.metadata.generation;
        let mut conditions = before.conditions;
        self.set_health(&mut conditions, generation, &summary);
        let power_state = Some(PowerStateStatus {
            code: power::of_cluster(self.facts.snapshot, held),
        });
        // Keep the previous values of what can't be seen now.
        let (power_state, kubernetes_version) = if self.is_unseen() {
            (before.power_state, before.kubernetes_version)
        } else {
            (power_state, runs.map(|runs| runs.to_string()))
        };
        ManagedClusterStatus {
            provisioning_state: Some(summary.state),
            power_state,
            kubernetes_version,
            operations: self.ledger.lock.clone(),
            agent_pools: self.agent_pools(),
            last_operation: last,
            hold: self.ledger.holds_of(&cluster.key).own,
            observed_generation: generation,
            observed_abort: self.observed_abort(cluster),
            conditions,
        }
    }

    fn ready(&self, runs: Option<KubernetesVersion>) -> String {
        match runs {
            Some(runs) if self.facts.snapshot.is_running() => {
                format!("the control plane runs {runs}{}", self.of_no_pool())
            }
            Some(runs) => format!("stopped; once started, the control plane will run {runs}"),
            None => String::new(),
        }
    }

    /// Returns a text about nodes whose pool somebody removed by force. Empty if there are none.
    fn of_no_pool(&self) -> String {
        let left = self.facts.snapshot.nodes_of_no_pool();
        let left: Vec<_> = left
            .map(|(pool, nodes)| format!("{} of AgentPool {pool}", nodes.len()))
            .collect();
        if left.is_empty() {
            return String::new();
        }
        format!(
            "; nodes of pools that no longer exist are left ({}): they are deleted with the cluster",
            left.join(", ")
        )
    }

    fn agent_pools(&self) -> Vec<ClusterPool> {
        let of_pool = |target: &Target<'_>| {
            let pool = target.pool.as_ref()?;
            Some(ClusterPool {
                name: target.key.name.clone(),
                mode: pool.settings.mode,
                kubernetes_version: pool.object.spec.kubernetes_version.clone(),
                oldest_version: target.there.oldest.map(|oldest| oldest.to_string()),
            })
        };
        let pools = self.facts.pools.iter();
        pools
            .filter(|pool| pool.deleted.is_none())
            .filter_map(of_pool)
            .collect()
    }

    /// Returns the cluster, with that status, as its pools show it.
    pub(super) fn cluster_of_pools(
        &self,
        status: &ManagedClusterStatus,
        held: Option<&OperationInFlight>,
    ) -> PoolCluster {
        let cluster = &self.facts.snapshot.cluster;
        let pools = self
            .facts
            .pools
            .iter()
            .filter(|pool| pool.deleted.is_none());
        PoolCluster {
            kubernetes_version: status.kubernetes_version.clone(),
            concurrency_policy: cluster.spec.concurrency_policy,
            provisioning_state: status.provisioning_state,
            power_state: status.power_state,
            operation: held.map(|held| held.name.clone()),
            system_pools: number(pools.filter(|pool| pool.is_system()).count()),
            deletion_timestamp: cluster.metadata.deletion_timestamp.clone(),
        }
    }
}
