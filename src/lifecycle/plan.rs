//! What an Operation has to bring about, as a provider gets it: stages, one after the other. Belay plans once, when
//! the Operation begins, and stores the plan in the Operation's status.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{
    AskedFor, Aspect, KubernetesVersion, OperationError, OperationTarget, ProviderSpec,
    ScaleSetPriority, Step, StepAction,
};

use super::{observed::NodeView, settings::NodeSettings, step_names::step, text::join_sentences};

/// A set of aspects: those that differ, or those that an operation brings about.
pub type Aspects = BTreeSet<Aspect>;

/// The current format of a plan. A program that doesn't know a format refuses it and doesn't guess.
const FORMAT: u32 = 1;

/// The work of one Operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The Operation's name.
    pub operation: String,
    /// The Operation's uid. Belay passes it to a provider, so that a call for an operation that ended can be
    /// recognized.
    pub uid: String,
    /// The namespace of the Operation and its cluster.
    pub namespace: String,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's uid.
    pub cluster_uid: String,
    /// The cluster's provider.
    pub provider: ProviderSpec,
    /// The stages to reach, one after the other.
    pub stages: Vec<Stage>,
    /// The steps as they were planned, or as a restart found them.
    pub steps: Vec<Step>,
    /// What blocked it before a restart. It stays blocked by that until the work reports again.
    pub blocked: Option<(String, String)>,
    /// Whether the Operation's status already reports what will be in the way.
    pub has_preflight: bool,
}

impl Job {
    /// Returns the version of the control plane that it leads to. None if it leaves the control plane as it is.
    pub fn control_plane(&self) -> Option<KubernetesVersion> {
        control_plane_in(&self.stages).map(|goal| goal.version)
    }
}

/// What an Operation's status records of its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The format.
    pub version: u32,
    /// The stages to reach, one after the other.
    pub stages: Vec<Stage>,
    /// The targets that it covers: the cluster and pools.
    #[serde(default)]
    pub targets: Vec<PlannedTarget>,
}

/// A cluster or a pool with the state in which an Operation has to leave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedTarget {
    /// Its kind and name.
    pub target: OperationTarget,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
    /// The generation of its spec.
    #[serde(default)]
    pub generation: i64,
    /// The aspects that the Operation brings about.
    #[serde(default)]
    pub aspects: Aspects,
    /// The aspects in which it differed from its spec when the Operation began.
    #[serde(default)]
    pub differed: Aspects,
    /// What its spec asked for when the Operation began.
    #[serde(default)]
    pub asked_for: AskedFor,
}

/// One stage of a [`Job`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    /// The control plane has this state. None: it no longer exists.
    ControlPlane(Option<ControlPlaneGoal>),
    /// A pool has its desired nodes.
    Pool(PoolGoal),
    /// What somebody else began at the engine has ended.
    Follow(Followed),
}

/// What somebody else began at the engine, and Belay follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The name of its step.
    pub step: String,
    /// What it does.
    pub action: StepAction,
    /// The engine's name for it.
    pub handle: String,
}

impl Followed {
    /// Returns its step, with the handle.
    pub fn step(&self) -> Step {
        Step {
            handle: Some(self.handle.clone()),
            ..step(self.step.clone(), self.action, String::new())
        }
    }
}

/// The desired state of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlaneGoal {
    /// Its version.
    pub version: KubernetesVersion,
    /// Whether it is on.
    pub running: bool,
}

/// The desired nodes of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct PoolGoal {
    /// The pool's name.
    pub pool: String,
    /// The prefix of the names of new nodes.
    pub node_prefix: String,
    /// The number of nodes.
    pub count: usize,
    /// The version of new nodes.
    pub version: KubernetesVersion,
    /// Whether nodes of another version are replaced.
    #[serde(default)]
    pub replace_outdated: bool,
    /// Whether existing nodes get the settings; new ones always have them.
    #[serde(default)]
    pub update_settings: bool,
    /// How many nodes may exist beyond `count` while nodes are replaced.
    #[serde(default = "one")]
    pub surge: usize,
    /// How many of `count` may be unavailable while nodes are replaced.
    #[serde(default)]
    pub unavailable: usize,
    /// Whether a node is drained before it is deleted.
    #[serde(default = "yes")]
    pub drain: bool,
    /// How long the drain of one node may take.
    #[serde(default = "half_an_hour")]
    pub drain_timeout: Duration,
    /// How long after the replacement of a node the next one waits.
    #[serde(default)]
    pub soak: Duration,
    /// What happens to a node that can't be drained while it is replaced.
    #[serde(default)]
    pub undrainable: UndrainableNodes,
    /// Whether it has no nodes because it has to be off. An engine with a notion of stopped pools keeps their count.
    #[serde(default)]
    pub stopped: bool,
    /// Whether the pool itself is deleted, and not only its nodes.
    #[serde(default)]
    pub deleted: bool,
    /// The settings of the nodes.
    #[serde(default)]
    pub settings: NodeSettings,
    /// The VM size of new machines.
    #[serde(default)]
    pub vm_size: Option<String>,
    /// Whether new machines are regular or Spot machines.
    #[serde(default)]
    pub priority: ScaleSetPriority,
}

impl PoolGoal {
    /// Returns the highest number of nodes that a cluster with these nodes, by pool, has at the same time on the way to
    /// the pool's goal.
    pub fn most_nodes(&self, by_pool: &BTreeMap<String, Vec<NodeView>>) -> usize {
        let nodes = by_pool.get(&self.pool).into_iter().flatten();
        let members: Vec<_> = nodes.filter(|node| !node.quarantined).collect();
        let all: usize = by_pool.values().map(Vec::len).sum();
        let is_outdated = |node: &&&NodeView| self.replace_outdated && node.version != self.version;
        let outdated = members.iter().filter(is_outdated).count();
        all - members.len() + members.len().max(self.count + self.surge.min(outdated))
    }

    /// Returns a Ready node of this pool with that name.
    pub fn node(&self, name: String) -> NodeView {
        NodeView {
            name,
            version: self.version,
            ready: true,
            ready_since: None,
            cordoned: false,
            joining: false,
            deleting: false,
            settings: self.settings.clone(),
            drained_by: None,
            made_by: None,
            undrainable: None,
            quarantined: false,
            created: Timestamp::UNIX_EPOCH,
        }
    }
}

/// What happens to a node that can't be drained while it is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UndrainableNodes {
    /// The operation fails.
    #[default]
    Fail,
    /// The node takes pods again, and the others are replaced before the operation fails.
    Schedule,
    /// The node is quarantined, and the others are replaced before the operation fails.
    Cordon {
        /// How many nodes may be quarantined.
        most: usize,
    },
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

fn half_an_hour() -> Duration {
    Duration::from_mins(30)
}

impl Plan {
    /// Returns a plan of these stages.
    pub fn new(stages: Vec<Stage>, targets: Vec<PlannedTarget>) -> Self {
        Self {
            version: FORMAT,
            stages,
            targets,
        }
    }

    /// Returns the plan as an Operation's status stores it.
    ///
    /// # Errors
    /// Returns an error if it can't be written as JSON.
    pub fn to_text(&self) -> Result<String, OperationError> {
        serde_json::to_string(self).map_err(|error| unreadable(&error.to_string()))
    }

    /// Returns the plan that a status stores.
    ///
    /// # Errors
    /// Returns an error if there is none, or if this program can't read it.
    pub fn of_text(text: Option<&str>) -> Result<Self, OperationError> {
        let text = text.ok_or_else(|| unreadable("there is none"))?;
        let plan: Self =
            serde_json::from_str(text).map_err(|error| unreadable(&error.to_string()))?;
        if plan.version == FORMAT {
            Ok(plan)
        } else {
            let why = format!(
                "it has version {}, but this operator supports only version {FORMAT}",
                plan.version
            );
            Err(unreadable(&why))
        }
    }

    /// Returns what is kept of the plan after the Operation's end, until the end is recorded on its targets: what it
    /// covered.
    #[must_use]
    pub fn once_ended(mut self) -> Self {
        self.stages
            .retain(|stage| matches!(stage, Stage::ControlPlane(_)));
        self
    }

    /// Returns what it does to the target of that kind and name.
    pub fn of_target(&self, target: &OperationTarget) -> Option<&PlannedTarget> {
        self.targets
            .iter()
            .find(|planned| planned.target == *target)
    }

    /// Returns the desired state of the control plane, if the plan changes it.
    pub fn control_plane(&self) -> Option<ControlPlaneGoal> {
        control_plane_in(&self.stages)
    }
}

fn control_plane_in(stages: &[Stage]) -> Option<ControlPlaneGoal> {
    stages.iter().find_map(|stage| match stage {
        Stage::ControlPlane(goal) => *goal,
        Stage::Pool(_) | Stage::Follow(_) => None,
    })
}

fn unreadable(why: &str) -> OperationError {
    OperationError::new(
        "PlanUnreadable",
        join_sentences(
            &format!("Belay can't read the plan in status.plan: {why}"),
            "What is done stays as it is. To do the rest, create an Operation of type Reconcile",
        ),
    )
}

#[cfg(test)]
mod tests {
    use crate::lifecycle::fixtures::{NEW, OLD, goal, node};

    use super::*;

    #[test]
    fn a_quarantined_node_takes_no_place_of_the_surge() {
        let quarantined = || NodeView {
            quarantined: true,
            ..node("q", OLD)
        };
        let of = |version: &str| ["a", "b", "c"].map(|name| node(name, version));
        for (nodes, most) in [(of(OLD), 5), (of(NEW), 4)] {
            let mut nodes = nodes.to_vec();
            nodes.push(quarantined());
            let by_pool = BTreeMap::from([("np1".to_owned(), nodes)]);
            assert_eq!(goal(3).most_nodes(&by_pool), most);
        }
    }

    #[test]
    fn a_plan_survives_writing_and_reading() {
        let plan = Plan::new(vec![Stage::ControlPlane(None)], Vec::new());
        let text = plan.to_text().expect("JSON");
        assert_eq!(Plan::of_text(Some(&text)), Ok(plan));
    }

    #[test]
    fn an_unreadable_plan_has_a_code_and_a_cause() {
        for (text, why) in [
            (None, "there is none"),
            (Some("[]"), "invalid"),
            (
                Some(r#"{"version":1,"stages":[{"Pool":{"pool":"np1"}}]}"#),
                "missing field",
            ),
            (Some(r#"{"version":2,"stages":[]}"#), "it has version 2"),
        ] {
            let error = Plan::of_text(text).expect_err("no plan");
            assert_eq!(error.code, "PlanUnreadable");
            assert!(error.message.contains(why), "{}", error.message);
        }
    }

    #[test]
    fn a_plan_of_an_earlier_version_is_read_with_defaults_for_new_fields() {
        let text = r#"{"version":1,"stages":[{"Pool":{"pool":"np1","node_prefix":"demo-np1","count":2,"version":"1.36.3"}}]}"#;
        let plan = Plan::of_text(Some(text)).expect("a plan");
        let Stage::Pool(goal) = &plan.stages[0] else {
            panic!("{plan:?}")
        };
        assert!(goal.drain && !goal.replace_outdated);
        assert_eq!(goal.surge, 1);
    }
}
