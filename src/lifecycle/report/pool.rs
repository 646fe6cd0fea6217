//! A pool's status.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        AGENT_POOL_LABEL, AgentPoolStatus, CLUSTER_LABEL, KubernetesVersion, LastOperation,
        ManagedClusterStatus, NAMESPACE_LABEL, OperationInFlight, OperationPhase, OperationType,
        PoolOperation, PowerState, PowerStateStatus, QuarantinedNode, TargetKind, VersionCount,
    },
    lifecycle::{
        facts::{Pool, Target},
        gate,
        observed::NodeView,
        text::bounded,
    },
};

use super::{Conditions, Report, power};

/// The most quarantined nodes that a status lists, as its schema says.
const MOST_QUARANTINED: usize = 50;

impl Report<'_, '_> {
    /// Returns a pool's status, given its cluster's status.
    pub fn pool(
        &self,
        target: &Target<'_>,
        pool: &Pool<'_>,
        cluster: &ManagedClusterStatus,
    ) -> AgentPoolStatus {
        let before = pool.object.status.clone().unwrap_or_default();
        let ended = self.ledger.ended_on(&target.key).cloned();
        let last = ended.or(before.last_operation.clone());
        let mut lock = self.ledger.lock.iter();
        let held = lock.find(|held| is_at_work_on(held, target));
        let members = || pool.nodes.iter().filter(|node| !node.quarantined);
        let ready_count = members().filter(|node| node.ready).count();
        let quarantined = quarantined(pool.nodes);
        let power = power::of_pool(self.facts, target, held, self.ended_on(target));
        let ready = match power {
            PowerState::Running => ready_message(ready_count, members().count(), &quarantined),
            PowerState::Stopped => "stopped".to_owned(),
        };
        let summary = self.summary(target, held, last.as_ref(), &ready);
        let generation = target.metadata.generation;
        let mut conditions = before.conditions.clone();
        self.set_health(&mut conditions, generation, &summary);
        if !self.is_unseen() {
            Conditions::of(&mut conditions, generation, self.facts.now)
                .set_scaled_by(pool.scaled_by);
        }
        let versions = self.versions(target, pool, &before);
        let holds = self.ledger.holds_of(&target.key);
        let mut status = AgentPoolStatus {
            provisioning_state: Some(summary.state),
            power_state: Some(PowerStateStatus { code: power }),
            count: number(members().count()),
            ready_count: number(ready_count),
            quarantined_nodes: quarantined,
            version_summary: version_summary(&versions),
            versions,
            operation: held.map(of_pool),
            cluster: Some(self.cluster_of_pools(cluster, self.held_by_cluster())),
            scale_refusal: gate::scale_refusal(self.facts, &self.ledger.lock, target),
            last_operation: last,
            hold: holds.own,
            cluster_hold: holds.by_cluster,
            observed_generation: generation,
            observed_abort: self.observed_abort(target),
            conditions,
            selector: Some(self.selector(&target.key.name)),
        };
        if self.is_unseen() {
            keep_shown(&mut status, before);
        }
        status
    }

    /// Returns the operation that ends now on the pool, or on its cluster if that operation includes the pool.
    fn ended_on(&self, target: &Target<'_>) -> Option<&LastOperation> {
        self.ledger.ended.iter().rev().find(|last| {
            if last.target.kind == TargetKind::AgentPool {
                last.target == target.key
            } else {
                changes_pool(last.type_, target)
            }
        })
    }

    /// Returns the versions of the pool's nodes. For a pool without nodes, returns the version of its next nodes, as
    /// the last operation on it left it.
    fn versions(
        &self,
        target: &Target<'_>,
        pool: &Pool<'_>,
        before: &AgentPoolStatus,
    ) -> Vec<VersionCount> {
        if !pool.nodes.is_empty() {
            return counted(pool.nodes.iter().map(|node| node.version));
        }
        let succeeded = self
            .ended_on(target)
            .is_some_and(|last| last.phase == OperationPhase::Succeeded);
        let last = before.versions.last().map(|last| VersionCount {
            count: 0,
            ..last.clone()
        });
        let runs = self.facts.control_plane();
        let next = runs.map(|runs| VersionCount {
            kubernetes_version: target.version_under(runs).to_string(),
            count: 0,
        });
        let is_made = before.last_operation.is_some() || succeeded;
        match (target.follows() || succeeded, last) {
            _ if !is_made => Vec::new(),
            (false, Some(last)) => vec![last],
            _ => next.into_iter().collect(),
        }
    }

    fn selector(&self, pool: &str) -> String {
        let metadata = &self.facts.snapshot.cluster.metadata;
        format!(
            "{NAMESPACE_LABEL}={},{CLUSTER_LABEL}={},{AGENT_POOL_LABEL}={pool}",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }
}

/// Keeps the previous values of what can't be seen now.
fn keep_shown(status: &mut AgentPoolStatus, before: AgentPoolStatus) {
    status.power_state = before.power_state;
    status.count = before.count;
    status.ready_count = before.ready_count;
    status.quarantined_nodes = before.quarantined_nodes;
    status.versions = before.versions;
    status.version_summary = before.version_summary;
}

/// Returns the quarantined nodes among these, at most as many as a status lists.
fn quarantined(nodes: &[NodeView]) -> Vec<QuarantinedNode> {
    let nodes = nodes.iter().filter(|node| node.quarantined);
    let quarantined = nodes.filter_map(|node| {
        let why = node.undrainable.as_ref()?;
        Some(QuarantinedNode {
            name: node.name.clone(),
            reason: why.reason.clone(),
            message: bounded(&why.message),
            since: Some(Time(why.since)),
        })
    });
    quarantined.take(MOST_QUARANTINED).collect()
}

/// Returns how many nodes of a pool are Ready, and how many are quarantined.
fn ready_message(ready: usize, count: usize, quarantined: &[QuarantinedNode]) -> String {
    let message = format!("{ready} of {count} nodes are Ready");
    match quarantined {
        [] => message,
        [node] => format!("{message}, and node {} is quarantined", node.name),
        nodes => format!("{message}, and {} are quarantined", nodes.len()),
    }
}

fn of_pool(held: &OperationInFlight) -> PoolOperation {
    PoolOperation {
        name: held.name.clone(),
        type_: held.type_,
        phase: held.phase,
        percent_complete: held.percent_complete,
        start_time: held.start_time.clone(),
    }
}

/// Whether an operation in flight changes the pool: one on the pool, or one on its cluster that includes the pool.
fn is_at_work_on(held: &OperationInFlight, pool: &Target<'_>) -> bool {
    if held.target.kind == TargetKind::AgentPool {
        return held.target == pool.key;
    }
    changes_pool(held.type_, pool)
}

/// Whether an operation of that type on a cluster changes the pool too.
fn changes_pool(type_: OperationType, pool: &Target<'_>) -> bool {
    match type_ {
        OperationType::Create => false,
        OperationType::Upgrade => pool.follows(),
        OperationType::Update
        | OperationType::Rollback
        | OperationType::Scale
        | OperationType::Start
        | OperationType::Stop
        | OperationType::Delete
        | OperationType::Reconcile => true,
    }
}

fn counted(versions: impl Iterator<Item = KubernetesVersion>) -> Vec<VersionCount> {
    let mut counts = BTreeMap::<KubernetesVersion, i32>::new();
    for version in versions {
        *counts.entry(version).or_default() += 1;
    }
    let count = |(version, count): (KubernetesVersion, i32)| VersionCount {
        kubernetes_version: version.to_string(),
        count,
    };
    counts.into_iter().map(count).collect()
}

/// Returns a text such as `1.35.7 (2), 1.36.3 (1)`.
fn version_summary(versions: &[VersionCount]) -> Option<String> {
    let one = |of: &VersionCount| format!("{} ({})", of.kubernetes_version, of.count);
    let all: Vec<_> = versions.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Returns a number in the API's type.
pub fn number(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
