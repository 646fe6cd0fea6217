//! Plans an Operation when it begins: the stages that bring its targets from their observed state to their specs.
//! Aspects on hold are left unchanged.

mod goals;
mod jobs;

use crate::api::{
    Aspect, KubernetesVersion, OperationError, OperationType, PowerState, StepAction, TargetKind,
};

use super::{
    desired::{aspects_of, differs, waiting_for_window, wanted_version},
    errors,
    facts::{Facts, Operation, Target, is_deletion},
    gate,
    plan::{Aspects, ControlPlaneGoal, Followed, Plan, PlannedTarget, PoolGoal, Stage},
    step_names::step_of,
};

pub use goals::surge_of;
use goals::{goal, gone, gone_with_pool, in_place};
pub use jobs::{job, job_of, job_without_operation};

/// Returns the plan of an Operation that begins now.
///
/// # Errors
/// Returns an error if its type doesn't fit its target, or if something that it needs doesn't exist.
pub fn plan(facts: &Facts<'_>, operation: &Operation<'_>) -> Result<Plan, OperationError> {
    let target = facts
        .target(&operation.spec.target)
        .ok_or_else(|| errors::target_not_found(operation.object))?;
    if let Some(handle) = operation.begun_by_others() {
        return Ok(Plan::new(vec![follow(operation, handle)], Vec::new()));
    }
    if target.deleted.is_some() {
        return Ok(if target.is_cluster() {
            deletion_of_cluster(facts)
        } else {
            let targets = vec![planned(facts, target, deletion())];
            let stages = vec![Stage::Pool(gone(facts, target, true))];
            deletion_plan(facts, Some(&target.key.name), stages, targets)
        });
    }
    if target.is_cluster() {
        Cluster::new(facts, operation)?.plan()
    } else {
        plan_of_pool(facts, target, operation)
    }
}

/// Returns the stage that follows what somebody else began at the engine.
fn follow(operation: &Operation<'_>, handle: &str) -> Stage {
    let target = &operation.spec.target;
    Stage::Follow(Followed {
        step: step_of(target),
        action: match operation.spec.type_ {
            OperationType::Create | OperationType::Scale => StepAction::Create,
            OperationType::Update | OperationType::Reconcile => StepAction::Update,
            OperationType::Upgrade | OperationType::Rollback => StepAction::Upgrade,
            OperationType::Start => StepAction::Start,
            OperationType::Stop => StepAction::Stop,
            OperationType::Delete => StepAction::Delete,
        },
        handle: handle.to_owned(),
    })
}

/// Returns the plan of a cluster's deletion: first its nodes, then its control plane.
pub fn deletion_of_cluster(facts: &Facts<'_>) -> Plan {
    let pools = facts.pools.iter();
    let stages = pools.map(|pool| Stage::Pool(gone(facts, pool, false)));
    let left = facts.snapshot.nodes_of_no_pool();
    let left = left.map(|(pool, nodes)| Stage::Pool(gone_with_pool(pool, nodes)));
    let stages = stages.chain(left).chain([Stage::ControlPlane(None)]);
    let targets = facts
        .targets()
        .map(|target| planned(facts, target, deletion()));
    deletion_plan(facts, None, stages.collect(), targets.collect())
}

/// Returns the plan of the deletion of a pool or of the cluster. If the provider retains everything at its engine,
/// the plan has no stages.
fn deletion_plan(
    facts: &Facts<'_>,
    pool: Option<&str>,
    stages: Vec<Stage>,
    targets: Vec<PlannedTarget>,
) -> Plan {
    let (rules, provider) = (facts.snapshot.rules, &facts.snapshot.cluster.spec.provider);
    let stages = if rules.retains(provider, pool) {
        Vec::new()
    } else {
        stages
    };
    Plan::new(stages, targets)
}

fn deletion() -> Aspects {
    [Aspect::Deletion].into()
}

fn planned(facts: &Facts<'_>, target: &Target<'_>, aspects: Aspects) -> PlannedTarget {
    PlannedTarget {
        generation: target.generation,
        differed: differs(facts, target),
        target: target.key.clone(),
        uid: target.uid.to_owned(),
        aspects,
        asked_for: target.asked.clone(),
    }
}

/// An operation on a whole cluster while it is planned.
struct Cluster<'f, 'a> {
    facts: &'f Facts<'a>,
    operation: &'f Operation<'a>,
    aspects: Aspects,
    /// The version of the control plane after the operation.
    version: KubernetesVersion,
    /// Whether the cluster is on after the operation.
    running: bool,
}

impl<'f, 'a> Cluster<'f, 'a> {
    fn new(facts: &'f Facts<'a>, operation: &'f Operation<'a>) -> Result<Self, OperationError> {
        let cluster = &facts.cluster;
        let aspects = brings_about(facts, cluster, operation);
        let wanted = wanted_version(cluster)
            .ok_or_else(|| errors::invalid("spec.kubernetesVersion is not a version: write MAJOR.MINOR.PATCH, for example 1.36.3".into()))?;
        let runs = facts.control_plane();
        let version = match runs {
            Some(runs) if !aspects.contains(&Aspect::Version) => runs,
            Some(_) | None => wanted,
        };
        let running = if cluster.there.exists && !aspects.contains(&Aspect::Power) {
            cluster.there.power == PowerState::Running
        } else {
            cluster.is_to_run()
        };
        Ok(Self {
            facts,
            operation,
            aspects,
            version,
            running,
        })
    }

    fn plan(&self) -> Result<Plan, OperationError> {
        let control_plane = Stage::ControlPlane(Some(ControlPlaneGoal {
            version: self.version,
            running: self.running,
        }));
        let goes_back = self
            .facts
            .control_plane()
            .is_some_and(|runs| runs > self.version);
        let all = self.system_first(|_| true);
        let followers = || self.system_first(Target::follows);
        let (pools, control_plane_last) = match self.operation.spec.type_ {
            OperationType::Create => (Vec::new(), false),
            OperationType::Stop | OperationType::Reconcile if !self.running => {
                // System pools keep the cluster running, so they stop last.
                (all.into_iter().rev().collect(), true)
            }
            OperationType::Rollback | OperationType::Reconcile if goes_back => (all, true),
            OperationType::Upgrade | OperationType::Rollback => (followers(), false),
            OperationType::Start | OperationType::Reconcile => (all, false),
            OperationType::Update => return Ok(self.update(&all)),
            other @ (OperationType::Stop | OperationType::Scale | OperationType::Delete) => {
                return Err(errors::unsupported(other, "ManagedCluster"));
            }
        };
        let mut targets = vec![planned(
            self.facts,
            &self.facts.cluster,
            self.aspects.clone(),
        )];
        targets.extend(
            pools
                .iter()
                .map(|pool| planned(self.facts, pool, self.of_pool(pool))),
        );
        if !self.running && self.facts.snapshot.rules.stops_whole() {
            return Ok(Plan::new(vec![control_plane], targets));
        }
        let pools = pools.into_iter().map(|pool| Stage::Pool(self.goal(pool)));
        let stages = if control_plane_last {
            pools.chain([control_plane]).collect()
        } else {
            [control_plane].into_iter().chain(pools).collect()
        };
        Ok(Plan::new(stages, targets))
    }

    /// Returns the plan that changes everything that can be changed in place, on all pools.
    fn update(&self, pools: &[&Target<'_>]) -> Plan {
        let settings: Aspects = [Aspect::Settings].into();
        let stage = |pool: &&Target<'_>| Stage::Pool(in_place(self.facts, pool));
        let targets = pools
            .iter()
            .map(|pool| planned(self.facts, pool, settings.clone()));
        Plan::new(pools.iter().map(stage).collect(), targets.collect())
    }

    /// Returns the selected pools, System pools first. A pool that is being deleted is left to its Delete: it gets no
    /// more nodes. It is included only if the cluster stops, and then loses its nodes.
    fn system_first(&self, is_meant: impl Fn(&Target<'a>) -> bool) -> Vec<&'f Target<'a>> {
        let stays = |pool: &Target<'_>| pool.deleted.is_none();
        let stops = |pool: &Target<'_>| !self.running && !pool.is_gone();
        let pools = self.facts.pools.iter();
        let mut pools: Vec<_> = pools
            .filter(|pool| is_meant(pool) && (stays(pool) || stops(pool)))
            .collect();
        pools.sort_by_key(|pool| !pool.is_system());
        pools
    }

    /// Returns the aspects of a pool that the operation brings about: those that the pool needs anyway, and those
    /// that the operation is about. A Reconcile of the cluster continues what operations on the cluster left undone.
    /// What an operation on the pool itself left undone waits for an operation on the pool.
    fn of_pool(&self, pool: &Target<'_>) -> Aspects {
        let mut aspects = gate::pursued(self.facts, pool, Some(self.operation));
        let about = aspects_of(self.operation.spec.type_);
        let held = &pool.held.own;
        aspects.extend(about.into_iter().filter(|aspect| !held.contains(aspect)));
        // Continue what an operation on the cluster left undone, unless the cluster's own power is on hold.
        if !self.facts.cluster.held.own.contains(&Aspect::Power) {
            let undone = pool.held.by_cluster.difference(&pool.held.own);
            aspects.extend(undone.copied());
        }
        if self.aspects.contains(&Aspect::Version) && pool.follows() {
            aspects.insert(Aspect::Version);
        }
        if self.operation.is_from_spec() {
            let waiting = waiting_for_window(self.facts, pool);
            aspects.retain(|aspect| !waiting.contains(aspect));
        }
        but_deletion(aspects)
    }

    fn goal(&self, pool: &Target<'_>) -> PoolGoal {
        let aspects = self.of_pool(pool);
        let is_on = if aspects.contains(&Aspect::Power) || !pool.held.all().contains(&Aspect::Power)
        {
            pool.is_to_run()
        } else {
            pool.there.power == PowerState::Running
        };
        let runs = self.running && is_on;
        let was_on = pool.there.power == PowerState::Running;
        // A running pool keeps its nodes if its count is on hold, or if others scale it.
        let is_held = !aspects.contains(&Aspect::Count) && pool.held.all().contains(&Aspect::Count);
        let keeps_count = runs && was_on && (is_held || pool.is_scaled_by_others());
        PoolGoal {
            count: if keeps_count {
                pool.there.count
            } else {
                pool.count_if(runs)
            },
            drain: self.running,
            stopped: !is_on,
            replace_outdated: aspects.contains(&Aspect::Version),
            update_settings: aspects.contains(&Aspect::Settings),
            ..goal(self.facts, pool, pool.version_under(self.version))
        }
    }
}

/// Returns the aspects that an operation brings about on its own target: those that the target needs anyway, and
/// those that its type is about.
fn brings_about(facts: &Facts<'_>, target: &Target<'_>, operation: &Operation<'_>) -> Aspects {
    let mut aspects = gate::pursued(facts, target, Some(operation));
    // For a new target, or for one that lost its control plane, bring about everything.
    if !operation.is_from_spec() || !target.there.exists {
        aspects.extend(aspects_of(operation.spec.type_));
    }
    but_deletion(aspects)
}

/// Removes the deletion: only a Delete brings it about. After the operation it is still outstanding, or on hold.
fn but_deletion(mut aspects: Aspects) -> Aspects {
    aspects.remove(&Aspect::Deletion);
    aspects
}

fn plan_of_pool(
    facts: &Facts<'_>,
    pool: &Target<'_>,
    operation: &Operation<'_>,
) -> Result<Plan, OperationError> {
    let control_plane = facts.control_plane().ok_or_else(errors::no_control_plane)?;
    let aspects = brings_about(facts, pool, operation);
    let goal = goal(facts, pool, pool.version_under(control_plane));
    let resizes = aspects.contains(&Aspect::Count) || aspects.contains(&Aspect::Power);
    let goal = match operation.spec.type_ {
        OperationType::Create
        | OperationType::Start
        | OperationType::Stop
        | OperationType::Scale
        | OperationType::Upgrade
        | OperationType::Rollback
        | OperationType::Reconcile
        | OperationType::Update => PoolGoal {
            count: if resizes {
                goal.count
            } else {
                pool.there.count
            },
            stopped: if resizes {
                goal.stopped
            } else {
                pool.there.power == PowerState::Stopped
            },
            replace_outdated: aspects.contains(&Aspect::Version),
            update_settings: aspects.contains(&Aspect::Settings),
            ..goal
        },
        other @ OperationType::Delete => return Err(errors::unsupported(other, "AgentPool")),
    };
    Ok(Plan::new(
        vec![Stage::Pool(goal)],
        vec![planned(facts, pool, aspects)],
    ))
}

/// Whether an operation that has begun rolls its cluster's control plane back, whatever its type.
pub fn goes_back(facts: &Facts<'_>, operation: &Operation<'_>) -> bool {
    let goal = operation.begun().and_then(Plan::control_plane);
    let runs = facts.control_plane();
    operation.spec.target.kind == TargetKind::ManagedCluster
        && !is_deletion(facts, operation)
        && goal.is_some_and(|goal| runs.is_some_and(|runs| goal.version < runs))
}
