//! What a cluster and a pool tell of themselves, made from the snapshot, the Operations as they will be
//! written, and the lock as it will be.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

use crate::api::{
    AGENT_POOL_LABEL, AgentPool, AgentPoolMode, AgentPoolStatus, CLUSTER_LABEL, ClusterPool,
    KubernetesVersion, LastOperation, ManagedClusterStatus, NAMESPACE_LABEL, OperationInFlight,
    OperationPhase, OperationStatus, OperationType, PoolCluster, PoolOperation, PowerState,
    PowerStateStatus, ProvisioningState, TargetKind, VersionCount,
};

use super::{
    Snapshot, abort,
    conditions::{self, Standing},
    hold::{self, is_hold},
    messages::{self, reason},
    need, objection, power, scale_refusal,
};

/// What the statuses of cluster and pools are made from.
pub(super) struct Report<'a> {
    pub snapshot: &'a Snapshot,
    /// The Operations' statuses as they will be, by name.
    pub operations: &'a BTreeMap<String, OperationStatus>,
    /// The lock as it will be.
    pub lock: &'a [OperationInFlight],
    /// The operations that ended last, where that changes, by target.
    pub ended: &'a [LastOperation],
    pub now: Timestamp,
}

/// How far a target is.
struct Told {
    state: ProvisioningState,
    standing: Standing,
    reason: String,
    message: String,
}

impl Report<'_> {
    /// The cluster's status.
    pub fn cluster(&self) -> ManagedClusterStatus {
        let cluster = &self.snapshot.cluster;
        let before = cluster.status.clone().unwrap_or_default();
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        let ended = self.ended(TargetKind::ManagedCluster, name);
        let generation = cluster.metadata.generation;
        let last = last_of(ended, before.last_operation.clone(), generation);
        let held = self
            .lock
            .iter()
            .find(|held| held.target.kind == TargetKind::ManagedCluster);
        let runs = self.snapshot.control_plane();
        let is_settled = need::cluster_need(self.snapshot).is_none();
        let ready = runs.filter(|_| is_settled).map(|runs| {
            if self.snapshot.is_running() {
                format!("the control plane runs {runs}")
            } else {
                format!("stopped; the control plane is to run {runs}")
            }
        });
        let deleting = cluster.metadata.deletion_timestamp.is_some();
        let told = self.told(
            TargetKind::ManagedCluster,
            held,
            last.as_ref(),
            ready,
            generation,
            deleting,
        );
        let mut conditions = before.conditions.clone();
        set_conditions(&mut conditions, &told, generation, self.now);
        ManagedClusterStatus {
            provisioning_state: Some(told.state),
            power_state: Some(PowerStateStatus {
                code: power::of_cluster(self.snapshot, held),
            }),
            kubernetes_version: runs.map(|runs| runs.to_string()),
            operations: self.lock.to_vec(),
            agent_pools: self.agent_pools(),
            last_operation: last,
            observed_generation: generation,
            observed_abort: self.observed_abort(
                &cluster.metadata,
                held,
                before.observed_abort.as_ref(),
            ),
            conditions,
        }
    }

    /// What is noted of a target's abort annotation: a request is, once the operation in flight on the very
    /// target has accepted it. (Its work is told to begin nothing new before that.)
    fn observed_abort(
        &self,
        metadata: &ObjectMeta,
        held: Option<&OperationInFlight>,
        before: Option<&String>,
    ) -> Option<String> {
        let asked = abort::observed_abort(metadata);
        let in_flight = held.and_then(|held| self.operations.get(&held.name));
        let is_to_be_accepted = in_flight.is_some_and(|status| {
            status.phase == OperationPhase::InProgress && status.cancellation.is_none()
        });
        if asked.is_some() && is_to_be_accepted {
            return before.cloned();
        }
        asked
    }

    fn agent_pools(&self) -> Vec<ClusterPool> {
        let pools = self.snapshot.pools.iter();
        pools
            .filter(|pool| pool.metadata.deletion_timestamp.is_none())
            .map(|pool| ClusterPool {
                name: pool.metadata.name.clone().unwrap_or_default(),
                mode: pool.spec.mode,
                kubernetes_version: pool.spec.kubernetes_version.clone(),
            })
            .collect()
    }

    /// The cluster with that status, as its pools tell it.
    fn cluster_of_pools(&self, status: &ManagedClusterStatus) -> PoolCluster {
        let cluster = &self.snapshot.cluster;
        let mut lock = self.lock.iter();
        let held = lock.find(|held| held.target.kind == TargetKind::ManagedCluster);
        let pools = status.agent_pools.iter();
        let system_pools = pools.filter(|pool| pool.mode == AgentPoolMode::System);
        PoolCluster {
            kubernetes_version: status.kubernetes_version.clone(),
            concurrency_policy: cluster.spec.concurrency_policy,
            provisioning_state: status.provisioning_state,
            power_state: status.power_state,
            operation: held.map(|held| held.name.clone()),
            system_pools: count(system_pools.count()),
            deletion_timestamp: cluster.metadata.deletion_timestamp.clone(),
        }
    }

    /// A pool's status, where its cluster has that one.
    pub fn pool(&self, pool: &AgentPool, cluster: &ManagedClusterStatus) -> AgentPoolStatus {
        let before = pool.status.clone().unwrap_or_default();
        let name = pool.metadata.name.as_deref().unwrap_or_default();
        let nodes = self.snapshot.nodes(name);
        let ended = self.ended(TargetKind::AgentPool, name);
        let generation = pool.metadata.generation;
        let last = last_of(ended, before.last_operation.clone(), generation);
        let held = self
            .lock
            .iter()
            .find(|held| Self::is_at_work_on(held, pool));
        let ready_count = nodes.iter().filter(|node| node.ready).count();
        let power = power::of_pool(self.snapshot, pool, held, self.ended_on(pool));
        // A spec that asks for an operation that isn't there yet has nothing ready.
        let is_changed = last
            .as_ref()
            .is_some_and(|last| Some(last.target_generation) != generation);
        let waits = is_changed && need::pool_need(self.snapshot, pool).is_some();
        let is_settled = self.pool_is_settled(pool) && !waits;
        let ready = is_settled.then(|| match power {
            PowerState::Running => format!("{ready_count} of {} nodes are Ready", nodes.len()),
            PowerState::Stopped => "stopped".to_owned(),
        });
        let deleting = pool.metadata.deletion_timestamp.is_some();
        let hold = last.as_ref().filter(|last| is_hold(last, generation));
        let hold = hold.or_else(|| self.cluster_hold_on(pool)).cloned();
        let told = self.told(
            TargetKind::AgentPool,
            held,
            hold.as_ref().or(last.as_ref()),
            ready,
            generation,
            deleting,
        );
        let stays = (deleting
            && held.is_none()
            && last
                .as_ref()
                .is_none_or(|last| last.type_ != OperationType::Delete))
        .then(|| objection::to_deletion(self.snapshot, pool))
        .flatten();
        let told = match stays {
            Some(message) => Told { message, ..told },
            None => told,
        };
        let state = match (held, &last) {
            (None, Some(last)) if hold.is_some() => last.type_.provisioning_state_in(last.phase),
            _ => told.state,
        };
        let mut conditions = before.conditions.clone();
        set_conditions(&mut conditions, &told, generation, self.now);
        let versions = self.versions(pool, &before);
        AgentPoolStatus {
            provisioning_state: Some(state),
            power_state: Some(PowerStateStatus { code: power }),
            count: count(nodes.len()),
            ready_count: count(ready_count),
            version_summary: summary(&versions),
            versions,
            operation: held.map(|held| PoolOperation {
                name: held.name.clone(),
                type_: held.type_,
                phase: held.phase,
                percent_complete: held.percent_complete,
                start_time: held.start_time.clone(),
            }),
            cluster: Some(self.cluster_of_pools(cluster)),
            scale_refusal: scale_refusal::of(self.snapshot, self.lock, pool),
            last_operation: last,
            observed_generation: generation,
            observed_abort: self.observed_abort(
                &pool.metadata,
                held.filter(|held| held.target.kind == TargetKind::AgentPool),
                before.observed_abort.as_ref(),
            ),
            conditions,
            selector: Some(self.selector(name)),
        }
    }

    /// The operation that ends now on the pool, or on its cluster with the pool in it.
    fn ended_on(&self, pool: &AgentPool) -> Option<&LastOperation> {
        self.ended.iter().rev().find(|last| {
            if last.target.kind == TargetKind::AgentPool {
                Some(&last.target.name) == pool.metadata.name.as_ref()
            } else {
                changes_pool(last.type_, pool)
            }
        })
    }

    /// What the pool's nodes run. Where it has none, what its next ones will run, as the last operation on
    /// it left it.
    fn versions(&self, pool: &AgentPool, before: &AgentPoolStatus) -> Vec<VersionCount> {
        let nodes = self
            .snapshot
            .nodes(pool.metadata.name.as_deref().unwrap_or_default());
        if !nodes.is_empty() {
            return versions(nodes.iter().map(|node| node.version));
        }
        let succeeded = self
            .ended_on(pool)
            .is_some_and(|last| last.phase == OperationPhase::Succeeded);
        let last = before.versions.last().map(|last| VersionCount {
            count: 0,
            ..last.clone()
        });
        let next = need::desired_version(self.snapshot, pool).map(|version| VersionCount {
            kubernetes_version: version.to_string(),
            count: 0,
        });
        let is_made = before.last_operation.is_some() || succeeded;
        match (need::follows(pool) || succeeded, last) {
            _ if !is_made => Vec::new(),
            (false, Some(last)) => vec![last],
            _ => next.into_iter().collect(),
        }
    }

    /// Whether an operation in flight changes the pool: one on itself, or one on its cluster that does.
    fn is_at_work_on(held: &OperationInFlight, pool: &AgentPool) -> bool {
        if held.target.kind == TargetKind::AgentPool {
            return Some(&held.target.name) == pool.metadata.name.as_ref();
        }
        changes_pool(held.type_, pool)
    }

    fn ended(&self, kind: TargetKind, name: &str) -> Option<LastOperation> {
        let ended = self.ended.iter().rev();
        ended
            .into_iter()
            .find(|last| last.target.kind == kind && last.target.name == name)
            .cloned()
    }

    /// The hold of the cluster, where it leaves the pool's nodes begun.
    fn cluster_hold_on(&self, pool: &AgentPool) -> Option<&LastOperation> {
        if self.pool_is_settled(pool) {
            return None;
        }
        let cluster = &self.snapshot.cluster;
        let now = self
            .ended
            .iter()
            .find(|last| last.target.kind == TargetKind::ManagedCluster);
        let before = cluster
            .status
            .as_ref()
            .and_then(|status| status.last_operation.as_ref());
        now.or(before)
            .filter(|last| is_hold(last, cluster.metadata.generation))
            .filter(|last| hold::cluster_hold_covers(last, pool))
            .filter(|_| !hold::is_rolled_back_halfway(self.snapshot, pool))
    }

    /// Whether the pool's nodes are what its spec and its cluster ask for.
    fn pool_is_settled(&self, pool: &AgentPool) -> bool {
        self.snapshot.control_plane().is_some()
            && need::has_its_nodes(self.snapshot, pool)
            && !need::has_outdated_nodes(self.snapshot, pool)
    }

    fn selector(&self, pool: &str) -> String {
        let metadata = &self.snapshot.cluster.metadata;
        format!(
            "{NAMESPACE_LABEL}={},{CLUSTER_LABEL}={},{AGENT_POOL_LABEL}={pool}",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    fn told(
        &self,
        kind: TargetKind,
        held: Option<&OperationInFlight>,
        last: Option<&LastOperation>,
        ready: Option<String>,
        generation: Option<i64>,
        deleting: bool,
    ) -> Told {
        if let Some(held) = held {
            return self.told_in_flight(held);
        }
        if let Some(last) =
            last.filter(|last| is_hold(last, generation) || last.target.kind != kind)
        {
            return Self::told_on_hold(kind, last);
        }
        let state = match last {
            _ if deleting => ProvisioningState::Deleting,
            Some(last) => last.type_.provisioning_state_in(last.phase),
            None => ProvisioningState::Creating,
        };
        match ready {
            Some(message) if last.is_some() && !deleting => Told {
                state,
                standing: Standing::Ready,
                reason: "Succeeded".into(),
                message,
            },
            _ => Told {
                state,
                standing: Standing::Reconciling,
                reason: reason::PENDING.into(),
                message: self.waiting_for(kind),
            },
        }
    }

    fn told_in_flight(&self, held: &OperationInFlight) -> Told {
        let canceling = held.phase == OperationPhase::Canceling;
        let state = held.type_.provisioning_state_in(held.phase);
        let blocked = self
            .operations
            .get(&held.name)
            .and_then(|status| status.blocked.as_ref());
        let name = &held.name;
        let message = match blocked {
            _ if canceling => format!("Operation {name} is coming to a stop"),
            Some(blocked) => format!("Operation {name} is blocked: {}", blocked.message),
            None => format!("Operation {name} is in progress"),
        };
        Told {
            state,
            standing: Standing::Reconciling,
            reason: format!("{state:?}"),
            message,
        }
    }

    fn told_on_hold(kind: TargetKind, last: &LastOperation) -> Told {
        let (reason, how) = match last.phase {
            OperationPhase::Failed => (reason::FAILED, format!("failed ({})", last.message)),
            _ => (reason::CANCELED, "was canceled".to_owned()),
        };
        Told {
            state: last.type_.provisioning_state_in(last.phase),
            standing: Standing::Stalled,
            reason: reason.into(),
            message: messages::on_hold(kind, &last.name, &how, &last.target),
        }
    }

    fn waiting_for(&self, kind: TargetKind) -> String {
        let is_pool = kind == TargetKind::AgentPool;
        let cluster_goes = self.snapshot.cluster.metadata.deletion_timestamp.is_some();
        match self.lock.first() {
            Some(held) => format!("waits for Operation {} to end", held.name),
            None if is_pool && cluster_goes => "waits for its cluster's deletion".into(),
            None if is_pool && self.snapshot.control_plane().is_none() => {
                "waits for its cluster's control plane".into()
            }
            None => "an Operation is about to begin".into(),
        }
    }
}

/// The last operation, with one that ends now. The hold of a newer change, aborted while it waited, isn't
/// lifted by the end of what it waited for.
fn last_of(
    ended: Option<LastOperation>,
    before: Option<LastOperation>,
    generation: Option<i64>,
) -> Option<LastOperation> {
    match (ended, before) {
        (Some(ended), Some(before))
            if ended.target_generation < before.target_generation
                && is_hold(&before, generation) =>
        {
            Some(before)
        }
        (ended, before) => ended.or(before),
    }
}

/// Whether an operation of that type on a cluster changes the pool too.
fn changes_pool(type_: OperationType, pool: &AgentPool) -> bool {
    match type_ {
        OperationType::Create => false,
        OperationType::Upgrade => need::follows(pool),
        _ => true,
    }
}

fn set_conditions(
    conditions: &mut Vec<Condition>,
    told: &Told,
    generation: Option<i64>,
    now: Timestamp,
) {
    conditions::set_standing(
        conditions,
        &told.standing,
        &told.reason,
        &told.message,
        generation,
        now,
    );
}

fn versions(versions: impl Iterator<Item = KubernetesVersion>) -> Vec<VersionCount> {
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

/// `1.35.7 (2), 1.36.3 (1)`.
fn summary(versions: &[VersionCount]) -> Option<String> {
    let one = |of: &VersionCount| format!("{} ({})", of.kubernetes_version, of.count);
    let all: Vec<_> = versions.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
