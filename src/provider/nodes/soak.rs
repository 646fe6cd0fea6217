//! The soak: after a node is replaced, the next replacement waits for a while, so that people see trouble with the new
//! node before all nodes have it.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    lifecycle::{NodeView, PoolGoal},
    machinery::clock,
};

use super::rollout::{NodeAction, Pool};

/// Returns until when the operation begins to replace no further node of the pool. None if it may: there is no soak,
/// or it has replaced no node yet.
pub fn until(goal: &PoolGoal, uid: &str, nodes: &[NodeView]) -> Option<Timestamp> {
    if goal.soak.is_zero() {
        return None;
    }
    let pool = Pool::new(goal, uid, nodes);
    let has_replaced = pool.made().count() + goal.count > nodes.len();
    let since = pool.made().filter_map(|node| node.ready_since).max()?;
    has_replaced.then(|| clock::after(since, goal.soak))
}

/// Returns the actions that may begin during the soak: all but new replacements.
pub fn during(
    actions: Vec<NodeAction>,
    goal: &PoolGoal,
    uid: &str,
    nodes: &[NodeView],
) -> Vec<NodeAction> {
    let pool = Pool::new(goal, uid, nodes);
    let outdated = pool.outdated();
    let replaces = |action: &NodeAction| {
        let mut outdated = outdated.iter();
        outdated.any(|node| node.name == action.node() && node.drained_by.as_deref() != Some(uid))
    };
    let may_begin = |action: &NodeAction| !replaces(action);
    actions.into_iter().filter(may_begin).collect()
}

/// Returns the message of the step that waits. It changes at most every ten seconds.
pub fn message(until: Timestamp, now: Timestamp) -> String {
    let left = until.duration_since(now).unsigned_abs();
    let tens = Duration::from_secs(left.as_secs().div_ceil(10) * 10);
    let (minutes, seconds) = (tens.as_secs() / 60, tens.as_secs() % 60);
    match (minutes, seconds) {
        (0, seconds) => format!("soaking: {seconds}s left"),
        (minutes, 0) => format!("soaking: {minutes}m left"),
        (minutes, seconds) => format!("soaking: {minutes}m{seconds}s left"),
    }
}

#[cfg(test)]
mod tests {
    use crate::lifecycle::fixtures::{NEW, OLD, goal, node};

    use super::*;

    const UID: &str = "uid-1";

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn soaking() -> PoolGoal {
        PoolGoal {
            soak: Duration::from_mins(5),
            ..goal(3)
        }
    }

    fn made(name: &str, ready_since: i64) -> NodeView {
        NodeView {
            made_by: Some(UID.into()),
            ready_since: Some(second(ready_since)),
            ..node(name, NEW)
        }
    }

    #[test]
    fn the_first_replacement_does_not_wait() {
        let old = |name| node(name, OLD);
        let nodes = [old("a1"), old("a2"), old("a3")];
        assert_eq!(until(&soaking(), UID, &nodes), None);
        let surged = [old("a1"), old("a2"), old("a3"), made("b1", 100)];
        assert_eq!(until(&soaking(), UID, &surged), None);
    }

    #[test]
    fn the_next_replacement_waits_from_when_the_newest_node_was_ready() {
        let nodes = [node("a1", OLD), node("a2", OLD), made("b1", 100)];
        assert_eq!(until(&soaking(), UID, &nodes), Some(second(400)));
        let [one, other, first] = nodes;
        let nodes = [one, other, first, made("b2", 250)];
        assert_eq!(until(&soaking(), UID, &nodes), Some(second(550)));
        assert_eq!(until(&goal(3), UID, &nodes), None, "without a soak");
    }

    #[test]
    fn what_has_begun_goes_on_during_the_soak() {
        let begun = NodeView {
            drained_by: Some(UID.into()),
            ..node("a1", OLD)
        };
        let nodes = [begun, node("a2", OLD), made("b1", 100)];
        let actions = vec![
            NodeAction::Remove("a1".into()),
            NodeAction::Remove("a2".into()),
            NodeAction::Create("b2".into()),
        ];
        assert_eq!(
            during(actions, &soaking(), UID, &nodes),
            [
                NodeAction::Remove("a1".into()),
                NodeAction::Create("b2".into())
            ]
        );
    }

    #[test]
    fn the_message_says_how_much_is_left() {
        for (left, message_) in [
            (3, "soaking: 10s left"),
            (60, "soaking: 1m left"),
            (299, "soaking: 5m left"),
            (295, "soaking: 5m left"),
            (285, "soaking: 4m50s left"),
        ] {
            assert_eq!(message(second(left), second(0)), message_);
        }
    }
}
