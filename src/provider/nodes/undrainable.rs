//! Nodes that can't be drained: whether the operation goes on without them, and what it reports at its end.

use jiff::Timestamp;

use crate::{
    api::{ErrorDetail, OperationError},
    lifecycle::{NodeView, PoolGoal, Undrainable, UndrainableNodes, join_sentences},
    provider::requests::Blocked,
};

use super::{drain::AFTER_TIMEOUT, rollout::Pool};

/// The code of the error.
pub const CODE: &str = "PodDrainFailure";

/// A drain that took too long.
#[derive(Clone, Debug, PartialEq)]
pub struct Undrained {
    /// The node's name.
    pub node: String,
    /// What blocked it.
    pub blocked: Blocked,
    /// The error of the operation if it ends because of that.
    pub error: OperationError,
}

/// What the operation does with a node that it can't drain, so that it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The node takes pods again.
    Schedule,
    /// The node is quarantined.
    Quarantine,
}

/// Returns whether the operation leaves a node alone, as if it weren't there: one that it quarantined, and, unless it
/// replaces nodes, one that was quarantined before. An operation that leaves the pool without nodes removes these too.
pub fn is_left_alone(goal: &PoolGoal, uid: &str, node: &NodeView) -> bool {
    let is_tried = goal.replace_outdated && !node.was_given_up_by(uid);
    node.quarantined && goal.count > 0 && !is_tried
}

/// Returns how the operation goes on after the drain of a node took too long. `others` is the number of nodes that it is
/// giving up now.
///
/// # Errors
/// The operation's error if it fails: the pool wants that, enough nodes are quarantined, or the node isn't replaced but
/// removed.
pub fn give_up(
    goal: &PoolGoal,
    uid: &str,
    nodes: &[NodeView],
    undrained: &Undrained,
    others: usize,
) -> Result<GiveUp, OperationError> {
    let name = &undrained.node;
    let mut error = undrained.error.clone();
    let pool = Pool::new(goal, uid, nodes);
    let is_replaced = pool.outdated().iter().any(|node| node.name == *name);
    let quarantined = || {
        let nodes = nodes.iter();
        let ours = nodes.filter(|node| node.quarantined && node.was_given_up_by(uid));
        ours.count() + others
    };
    match goal.undrainable {
        _ if !is_replaced || goal.count == 0 => Err(error),
        UndrainableNodes::Fail => Err(error),
        UndrainableNodes::Schedule => Ok(GiveUp::Schedule),
        UndrainableNodes::Cordon { most } if quarantined() < most => Ok(GiveUp::Quarantine),
        UndrainableNodes::Cordon { most } => {
            let limit = format!("Not more nodes may be quarantined (maxBlockedNodes: {most})");
            error.message = join_sentences(&error.message, &limit);
            Err(error)
        }
    }
}

/// Returns the mark of a node that the Operation of that uid couldn't drain.
pub fn mark(uid: &str, blocked: Blocked, since: Timestamp) -> Undrainable {
    let (reason, message) = blocked;
    Undrainable {
        operation: uid.to_owned(),
        reason,
        message,
        since,
    }
}

/// Returns what the step of a node says that the operation gave up.
pub fn step_message(node: &NodeView, undrainable: &Undrainable) -> String {
    let what = if node.quarantined {
        "could not be drained and is quarantined"
    } else {
        "could not be drained and takes pods again"
    };
    format!("{what}: {}", undrainable.message)
}

/// Returns the error of an operation that has gone on without some nodes. None if there are none.
pub fn error(uid: &str, nodes: &[NodeView]) -> Option<OperationError> {
    let given_up: Vec<_> = nodes
        .iter()
        .filter(|node| !node.deleting && node.was_given_up_by(uid))
        .filter_map(|node| Some((node, node.undrainable.as_ref()?)))
        .collect();
    let (first, why) = *given_up.first()?;
    let names: Vec<_> = given_up
        .iter()
        .map(|(node, _)| node.name.as_str())
        .collect();
    let what = match (names.as_slice(), first.quarantined) {
        ([name], true) => format!("node {name} could not be drained and is quarantined"),
        ([name], false) => format!("node {name} could not be drained and was not replaced"),
        (names, true) => format!(
            "{} nodes could not be drained and are quarantined ({})",
            names.len(),
            names.join(", ")
        ),
        (names, false) => format!(
            "{} nodes could not be drained and were not replaced ({})",
            names.len(),
            names.join(", ")
        ),
    };
    let detail = |(node, why): &(&NodeView, &Undrainable)| ErrorDetail {
        code: why.reason.clone(),
        message: why.message.clone(),
        target: format!("node/{}", node.name),
    };
    Some(OperationError {
        code: CODE.into(),
        message: join_sentences(&format!("{what}: {}", why.message), AFTER_TIMEOUT),
        subcode: why.reason.clone(),
        details: given_up.iter().take(10).map(detail).collect(),
    })
}

/// Adds the error of another pool to that of earlier ones.
pub fn join(before: Option<OperationError>, error: OperationError) -> OperationError {
    let Some(mut all) = before else {
        return error;
    };
    let (what, _) = all.message.split_once(AFTER_TIMEOUT).unwrap_or_default();
    all.message = join_sentences(what.trim_end(), &error.message);
    all.details.extend(error.details);
    all.details.truncate(10);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::lifecycle::{
        Stop,
        fixtures::{NEW, OLD, goal, node},
    };

    use super::*;
    use crate::provider::nodes::rollout::{self, NodeAction};

    const UID: &str = "uid-1";
    const CORDON: UndrainableNodes = UndrainableNodes::Cordon { most: 1 };

    fn blocked() -> Blocked {
        ("PodDisruptionBudget".into(), "web allows none".into())
    }

    fn undrained(node: &str) -> Undrained {
        Undrained {
            node: node.into(),
            blocked: blocked(),
            error: OperationError::new(CODE, "it took too long"),
        }
    }

    fn old(count: usize) -> Vec<NodeView> {
        let name = |age| format!("o{age}");
        (0..count).map(|age| node(&name(age), OLD)).collect()
    }

    fn with(undrainable: UndrainableNodes, count: usize) -> PoolGoal {
        PoolGoal {
            undrainable,
            ..goal(count)
        }
    }

    /// Rolls the pool out. These nodes can't be drained. Returns None if the operation fails at one of them.
    fn roll(goal: &PoolGoal, uid: &str, nodes: &mut Vec<NodeView>, stuck: &[&str]) -> Option<()> {
        for _ in 0..200 {
            let next = rollout::next(goal, uid, nodes, Stop::No);
            if next.done {
                return Some(());
            }
            for action in next.actions {
                act(goal, uid, nodes, stuck, action)?;
            }
            let available = nodes.iter().filter(|node| node.ready && !node.quarantined);
            assert!(
                available.count() + goal.unavailable >= goal.count,
                "{nodes:#?}"
            );
        }
        panic!("no end of it: {nodes:#?}");
    }

    fn act(
        goal: &PoolGoal,
        uid: &str,
        nodes: &mut Vec<NodeView>,
        stuck: &[&str],
        action: NodeAction,
    ) -> Option<()> {
        match action {
            NodeAction::Create(name) => nodes.push(NodeView {
                made_by: Some(uid.into()),
                ..goal.node(name)
            }),
            NodeAction::Remove(name) if stuck.contains(&&*name) => {
                let how = give_up(goal, uid, nodes, &undrained(&name), 0).ok()?;
                let node = nodes.iter_mut().find(|node| node.name == name)?;
                node.undrainable = Some(mark(uid, blocked(), Timestamp::UNIX_EPOCH));
                node.quarantined = how == GiveUp::Quarantine;
                node.cordoned = node.quarantined;
            }
            NodeAction::Remove(name) => nodes.retain(|node| node.name != name),
            NodeAction::Update(_) => {}
        }
        Some(())
    }

    /// Returns the old nodes that are left, each with a `q` if it is quarantined, and the number of new nodes.
    fn picture(nodes: &[NodeView]) -> (Vec<String>, usize) {
        let old = nodes.iter().filter(|node| node.version.to_string() == OLD);
        let old = old.map(|node| {
            if node.quarantined {
                format!("{}q", node.name)
            } else {
                node.name.clone()
            }
        });
        let new = nodes.iter().filter(|node| node.version.to_string() == NEW);
        (old.collect(), new.count())
    }

    #[test]
    fn with_cordon_the_node_stays_beside_its_replacement() {
        for stuck in ["o0", "o1", "o2"] {
            let (goal, mut nodes) = (with(CORDON, 3), old(3));
            roll(&goal, UID, &mut nodes, &[stuck]).expect("goes on");
            assert_eq!(picture(&nodes), (vec![format!("{stuck}q")], 3));
        }
    }

    #[test]
    fn with_schedule_the_node_stays_instead_of_its_replacement() {
        for stuck in ["o0", "o1", "o2"] {
            let (goal, mut nodes) = (with(UndrainableNodes::Schedule, 3), old(3));
            roll(&goal, UID, &mut nodes, &[stuck]).expect("goes on");
            assert_eq!(picture(&nodes), (vec![stuck.to_owned()], 2));
        }
    }

    #[test]
    fn without_a_wish_the_operation_fails_at_the_first_node() {
        let (goal, mut nodes) = (with(UndrainableNodes::Fail, 3), old(3));
        assert_eq!(roll(&goal, UID, &mut nodes, &["o0"]), None);
    }

    #[test]
    fn no_more_nodes_are_quarantined_than_may_be() {
        let (goal, mut nodes) = (with(CORDON, 3), old(3));
        assert_eq!(roll(&goal, UID, &mut nodes, &["o0", "o1"]), None);
        let quarantined = nodes.iter().filter(|node| node.quarantined);
        assert_eq!(quarantined.count(), 1);
        // Two drains that end at the same time aren't both given up.
        let error = give_up(&goal, UID, &old(3), &undrained("o1"), 1).expect_err("fails");
        assert_eq!(
            error.message,
            "it took too long. Not more nodes may be quarantined (maxBlockedNodes: 1)"
        );
    }

    #[test]
    fn the_next_operation_drains_a_quarantined_node_again() {
        let (goal, mut nodes) = (with(CORDON, 3), old(3));
        roll(&goal, UID, &mut nodes, &["o1"]).expect("goes on");
        roll(&goal, "uid-2", &mut nodes, &["o1"]).expect("goes on");
        assert_eq!(picture(&nodes), (vec!["o1q".to_owned()], 3));
        assert!(error(UID, &nodes).is_none() && error("uid-2", &nodes).is_some());
        roll(&goal, "uid-3", &mut nodes, &[]).expect("goes on");
        assert_eq!(picture(&nodes), (vec![], 3));
    }

    #[test]
    fn a_quarantined_node_goes_even_if_its_version_is_wanted_again() {
        let (up, mut nodes) = (with(CORDON, 3), old(3));
        roll(&up, UID, &mut nodes, &["o1"]).expect("goes on");
        let back = PoolGoal {
            version: OLD.parse().expect("a version"),
            ..up
        };
        roll(&back, "uid-2", &mut nodes, &[]).expect("goes on");
        let (old, new) = picture(&nodes);
        assert_eq!((old.len(), new), (3, 0));
        assert!(!nodes.iter().any(|node| node.name == "o1"), "{nodes:#?}");
    }

    #[test]
    fn a_scale_leaves_quarantined_nodes_alone_unless_it_leaves_none() {
        let (up, mut nodes) = (with(CORDON, 3), old(3));
        roll(&up, UID, &mut nodes, &["o1"]).expect("goes on");
        for (count, left) in [(5, 1), (2, 1), (0, 0)] {
            let scale = PoolGoal {
                count,
                replace_outdated: false,
                ..up.clone()
            };
            roll(&scale, "uid-2", &mut nodes, &[]).expect("goes on");
            let (old, new) = picture(&nodes);
            assert_eq!((old.len(), new), (left, count));
        }
    }

    #[test]
    fn the_error_names_the_nodes_and_what_blocked_them() {
        let (goal, mut nodes) = (with(UndrainableNodes::Cordon { most: 2 }, 3), old(3));
        assert_eq!(error(UID, &nodes), None);
        roll(&goal, UID, &mut nodes, &["o0", "o1"]).expect("goes on");
        let error = error(UID, &nodes).expect("an error");
        assert_eq!(
            error.message,
            "2 nodes could not be drained and are quarantined (o0, o1): web allows none. Let the pods be evicted, or set a longer spec.upgradeSettings.drainTimeout, then create an Operation of type Reconcile"
        );
        let targets: Vec<_> = error.details.iter().map(|it| it.target.as_str()).collect();
        assert_eq!(targets, ["node/o0", "node/o1"]);
    }

    #[test]
    fn the_errors_of_two_pools_become_one() {
        let of = |name: &str| {
            let mut node = node(name, OLD);
            node.undrainable = Some(mark(UID, blocked(), Timestamp::UNIX_EPOCH));
            error(UID, &[node]).expect("an error")
        };
        let joined = join(Some(of("a")), of("b"));
        assert_eq!(joined.details.len(), 2);
        assert_eq!(
            joined.message,
            "node a could not be drained and was not replaced: web allows none. node b could not be drained and was not replaced: web allows none. Let the pods be evicted, or set a longer spec.upgradeSettings.drainTimeout, then create an Operation of type Reconcile"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_stuck_the_other_nodes_are_replaced(
            (count, surge, unavailable) in (1..6_usize, 0..3_usize, 0..3_usize),
            stuck in proptest::collection::btree_set(0..6_usize, 0..6),
            cordons in any::<bool>(),
        ) {
            let undrainable = if cordons {
                UndrainableNodes::Cordon { most: count }
            } else {
                UndrainableNodes::Schedule
            };
            let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
            let goal = PoolGoal { surge, unavailable, ..with(undrainable, count) };
            let stuck: Vec<_> = stuck.iter().filter(|age| **age < count).map(|age| format!("o{age}")).collect();
            let names: Vec<_> = stuck.iter().map(String::as_str).collect();
            let mut nodes = old(count);
            prop_assert_eq!(roll(&goal, UID, &mut nodes, &names), Some(()));
            let (left, new) = picture(&nodes);
            prop_assert_eq!(left.len(), stuck.len());
            prop_assert_eq!(new, if cordons { count } else { count - stuck.len() });
        }
    }
}
