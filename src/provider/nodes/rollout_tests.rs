//! Tests of the rollouts of a pool in memory. They run to their end, and each stride checks their bounds.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    api::StepPhase,
    lifecycle::fixtures::{NEW, OLD, goal, grow, leave_nothing_half_done, node},
    provider::nodes::steps,
};

const UID: &str = "uid-1";

/// Draws the nodes as letters: `o` runs the old version, `n` the new one, `d` is drained, `c` is coming up. `-` means
/// no node.
fn picture(nodes: &[NodeView]) -> String {
    let letter = |node: &NodeView| match node {
        node if node.drained_by.is_some() => 'd',
        node if !node.ready => 'c',
        node if node.version.to_string() == OLD => 'o',
        _ => 'n',
    };
    let mut letters: Vec<_> = nodes.iter().map(letter).collect();
    letters.sort_by_key(|letter| "odnc".find(*letter));
    if letters.is_empty() {
        return "-".into();
    }
    letters.into_iter().collect()
}

/// Returns the picture of a pool that has reached its goal.
fn reached(count: usize) -> String {
    if count == 0 {
        return "-".into();
    }
    "n".repeat(count)
}

fn old(count: usize) -> Vec<NodeView> {
    (0..count)
        .map(|age| node(&format!("o{age}"), OLD))
        .collect()
}

/// Returns how many nodes are available: Ready, and not on their way out.
fn available(nodes: &[NodeView]) -> usize {
    let is_available = |node: &&NodeView| node.ready && node.drained_by.is_none();
    nodes.iter().filter(is_available).count()
}

/// Makes one stride, and checks its bounds. Returns whether it was the last.
fn stride(goal: &PoolGoal, uid: &str, nodes: &mut Vec<NodeView>, stop: Stop) -> bool {
    let next = next(goal, uid, nodes, stop);
    let (before, removed) = (nodes.clone(), removals(&next));
    let is_new = |node: &NodeView| node.version == goal.version;
    let begins = |node: &&NodeView| removed.contains(&node.name) && node.drained_by.is_none();
    let takes_available = before
        .iter()
        .filter(begins)
        .any(|node| node.ready && !is_new(node) && goal.replace_outdated);
    let left: Vec<_> = before
        .iter()
        .filter(|node| !removed.contains(&node.name))
        .cloned()
        .collect();
    let fewest = goal.count.saturating_sub(goal.unavailable);
    assert!(
        !takes_available || available(&left) >= fewest,
        "{} is too few: {before:#?} {next:?}",
        available(&left)
    );
    let done = next.done;
    grow(nodes, goal, uid, next.actions, false);
    let most = before.len().max(goal.count + goal.surge);
    assert!(
        nodes.len() <= most,
        "{} is too many: {nodes:#?}",
        nodes.len()
    );
    done
}

fn removals(next: &Next) -> Vec<String> {
    let removed = next.actions.iter().filter_map(|action| match action {
        NodeAction::Remove(name) => Some(name.clone()),
        NodeAction::Create(_) | NodeAction::Update(_) => None,
    });
    removed.collect()
}

/// Makes strides to the end. Returns the picture at each.
fn roll(goal: &PoolGoal, uid: &str, nodes: &mut Vec<NodeView>) -> Vec<String> {
    let mut pictures = vec![picture(nodes)];
    while !stride(goal, uid, nodes, Stop::No) {
        pictures.push(picture(nodes));
        assert!(pictures.len() < 200, "no end of it: {pictures:?}");
    }
    pictures.dedup();
    pictures
}

#[test]
fn nodes_are_replaced_within_surge_and_unavailable() {
    for (count, surge, unavailable, expected) in [
        (1, 1, 0, "o oc on dn n"),
        (
            3,
            1,
            0,
            "ooo oooc ooon oodn oon oonc oonn odnn onn onnc onnn dnnn nnn",
        ),
        (3, 0, 1, "ooo ood oo ooc oon odn on onc onn dnn nn nnc nnn"),
        (3, 2, 1, "ooo oodcc oonn ddnnc nnn"),
        (4, 4, 0, "oooo oooocccc oooonnnn ddddnnnn nnnn"),
        (4, 0, 4, "oooo dddd - cccc nnnn"),
    ] {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let pictures = roll(&goal, UID, &mut old(count)).join(" ");
        assert_eq!(
            pictures, expected,
            "{count} nodes, {surge} more, {unavailable} fewer"
        );
    }
}

#[test]
fn every_rollout_ends_with_the_requested_nodes() {
    for (count, surge, unavailable, there) in combinations() {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let mut nodes = old(there);
        roll(&goal, UID, &mut nodes);
        assert_eq!(picture(&nodes), reached(count), "{goal:?} of {there}");
    }
}

/// Returns combinations of: the count to reach, surge, unavailable, and the count at the start.
fn combinations() -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let counts = (0..5).flat_map(|count| (0..7).map(move |there| (count, there)));
    let settings = [(1, 0), (0, 1), (1, 1), (2, 0), (0, 3), (3, 2)];
    counts.flat_map(move |(count, there)| {
        settings.map(|(surge, unavailable)| (count, surge, unavailable, there))
    })
}

#[test]
fn a_rollout_continues_after_a_restart_at_any_point() {
    for (count, surge, unavailable, there) in combinations() {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let mut nodes = old(there);
        loop {
            // The operator that takes over reads the nodes, in whichever order.
            let mut seen: Vec<_> = nodes.iter().rev().cloned().collect();
            let actions = |nodes: &[NodeView]| {
                let actions = next(&goal, UID, nodes, Stop::No).actions;
                actions.into_iter().collect::<BTreeSet<_>>()
            };
            assert_eq!(actions(&seen), actions(&nodes));
            roll(&goal, UID, &mut seen);
            assert_eq!(picture(&seen), reached(count));
            if stride(&goal, UID, &mut nodes, Stop::No) {
                break;
            }
        }
    }
}

#[test]
fn another_operation_continues_a_rollout_that_was_stopped_at_any_point() {
    for (count, surge, unavailable, there) in combinations() {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let mut nodes = old(there);
        while !stride(&goal, UID, &mut nodes, Stop::No) {
            let mut stopped = nodes.clone();
            leave_nothing_half_done(&mut stopped, &[UID.to_owned()].into());
            roll(&goal, "uid-2", &mut stopped);
            assert_eq!(picture(&stopped), reached(count));
        }
    }
}

#[test]
fn an_abort_after_step_finishes_started_steps_and_starts_no_other() {
    for (count, surge, unavailable, there) in combinations() {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let mut nodes = old(there);
        while !stride(&goal, UID, &mut nodes, Stop::No) {
            let mut stopping = nodes.clone();
            let begun = |node: &&NodeView| node.drained_by.is_some();
            let expected = nodes.len() - nodes.iter().filter(begun).count();
            while !stride(&goal, UID, &mut stopping, Stop::AfterStep) {}
            assert_eq!(stopping.len(), expected, "{nodes:#?}");
            assert_eq!(available(&stopping), expected, "nothing is half-done");
        }
    }
}

#[test]
fn a_stop_now_starts_nothing() {
    let mut nodes = old(3);
    let goal = goal(3);
    while !stride(&goal, UID, &mut nodes, Stop::No) {
        let next = next(&goal, UID, &nodes, Stop::Now);
        let begun = |name: &String| {
            let node = nodes.iter().find(|node| node.name == *name);
            node.is_some_and(|node| node.drained_by.as_deref() == Some(UID))
        };
        let removed = removals(&next);
        assert_eq!(removed.len(), next.actions.len(), "{next:?}");
        assert!(removed.iter().all(begun), "{next:?}");
    }
}

#[test]
fn a_scale_changes_all_nodes_at_once_and_replaces_none() {
    let scale = |count, there| {
        let goal = PoolGoal {
            replace_outdated: false,
            ..goal(count)
        };
        let mut nodes = old(there);
        roll(&goal, UID, &mut nodes).join(" ")
    };
    assert_eq!(scale(4, 2), "oo oocc oonn");
    assert_eq!(scale(1, 3), "ooo odd o");
    assert_eq!(scale(0, 2), "oo dd -");
}

#[test]
fn a_scale_down_removes_the_least_useful_nodes_first() {
    let of = |name: &str, runs: &str| node(name, runs);
    let cordoned = |name: &str| NodeView {
        cordoned: true,
        ..node(name, NEW)
    };
    let not_ready = |name: &str| NodeView {
        ready: false,
        ..node(name, NEW)
    };
    let begun = |name: &str| NodeView {
        drained_by: Some(UID.into()),
        cordoned: true,
        ..node(name, NEW)
    };
    for (nodes, why) in [
        (
            [of("a1", NEW), begun("b2"), cordoned("c3")],
            "what has begun",
        ),
        (
            [not_ready("a1"), cordoned("b2"), of("c3", NEW)],
            "a cordoned one",
        ),
        (
            [of("a1", OLD), not_ready("b2"), of("c3", NEW)],
            "one that isn't Ready",
        ),
        (
            [of("a1", NEW), of("b2", OLD), of("c3", NEW)],
            "one of the older version",
        ),
        ([of("a1", NEW), of("b3", NEW), of("c2", NEW)], "the newest"),
    ] {
        let goal = PoolGoal {
            replace_outdated: false,
            ..goal(2)
        };
        let next = next(&goal, UID, &nodes, Stop::No);
        let name = nodes[1].name.clone();
        assert_eq!(next.actions, [NodeAction::Remove(name)], "{why}");
    }
}

#[test]
fn unready_nodes_are_replaced_first_and_then_the_oldest() {
    let not_ready = NodeView {
        ready: false,
        ..node("z9", OLD)
    };
    let one_by_one = PoolGoal {
        surge: 0,
        unavailable: 1,
        ..goal(3)
    };
    let nodes = [node("a2", OLD), node("b1", OLD), not_ready];
    let first = next(&one_by_one, UID, &nodes, Stop::No).actions;
    assert_eq!(first, [NodeAction::Remove("z9".into())]);
    let nodes = [node("a2", OLD), node("b1", OLD), node("c3", OLD)];
    let first = next(&one_by_one, UID, &nodes, Stop::No).actions;
    assert_eq!(first, [NodeAction::Remove("b1".into())]);
}

#[test]
fn a_node_that_does_not_come_up_pauses_the_rollout() {
    let mut nodes = old(2);
    nodes.push(NodeView {
        ready: false,
        made_by: Some(UID.into()),
        ..node("n3", NEW)
    });
    let waiting = next(&goal(2), UID, &nodes, Stop::No);
    assert_eq!(waiting, Next::default());
}

#[test]
fn nodes_get_the_same_names_when_they_are_created_again() {
    let made = |uid, nodes: &[NodeView]| next(&goal(2), uid, nodes, Stop::No).actions;
    assert_eq!(made(UID, &[]), made(UID, &[]));
    let [NodeAction::Create(first), second] = &made(UID, &[])[..] else {
        panic!("two are made");
    };
    let left = made(UID, &[node(first, NEW)]);
    assert_eq!(left.iter().collect::<Vec<_>>(), [second]);
    assert_ne!(made("uid-2", &[]), made(UID, &[]));
}

#[test]
fn the_planned_steps_are_those_that_run() {
    for (count, surge, unavailable, there) in combinations() {
        let goal = PoolGoal {
            surge,
            unavailable,
            ..goal(count)
        };
        let mut nodes = old(there);
        let steps = steps::plan(&goal, UID, &nodes, 200);
        roll(&goal, UID, &mut nodes);
        let reports = steps::report(
            &goal,
            UID,
            &steps,
            &steps::Seen {
                nodes: &nodes,
                making: &[],
                draining: &|_| None,
                soaking: None,
            },
        );
        let phases: Vec<_> = reports.iter().map(|report| report.phase).collect();
        assert_eq!(
            phases,
            vec![StepPhase::Succeeded; steps.len()],
            "{steps:#?}"
        );
        assert_eq!(steps.len(), there.max(count), "a step for each node");
    }
}

#[test]
fn a_replacement_that_becomes_unready_starts_no_other_step() {
    let goal = PoolGoal {
        surge: 1,
        unavailable: 0,
        ..goal(2)
    };
    let mut nodes = old(2);
    let steps = steps::plan(&goal, UID, &nodes, 200);
    let phases = |nodes: &[NodeView]| {
        let reports = steps::report(
            &goal,
            UID,
            &steps,
            &steps::Seen {
                nodes,
                making: &[],
                draining: &|_| None,
                soaking: None,
            },
        );
        let phases = reports
            .into_iter()
            .map(|report| (report.name, report.phase));
        phases.collect::<Vec<_>>()
    };
    let (first, second) = (steps[0].name.clone(), steps[1].name.clone());
    let mut made = node("made", NEW);
    (made.made_by, made.ready) = (Some(UID.into()), false);
    nodes.push(made);
    assert_eq!(
        phases(&nodes),
        [(first.clone(), StepPhase::InProgress)],
        "it comes up"
    );
    nodes[2].ready = true;
    nodes[0].drained_by = Some(UID.into());
    assert_eq!(
        phases(&nodes),
        [(first.clone(), StepPhase::InProgress)],
        "the old one is drained"
    );
    nodes[2].ready = false;
    assert_eq!(
        phases(&nodes),
        [(first.clone(), StepPhase::InProgress)],
        "the new one fails"
    );
    nodes.remove(0);
    assert_eq!(phases(&nodes), [(first.clone(), StepPhase::Succeeded)]);
    let mut next = node("next", NEW);
    (next.made_by, next.ready) = (Some(UID.into()), false);
    nodes.push(next);
    assert_eq!(
        phases(&nodes),
        [
            (first, StepPhase::Succeeded),
            (second, StepPhase::InProgress)
        ]
    );
}

#[test]
fn a_step_is_in_progress_when_its_node_is_marked_even_without_a_drain() {
    let goal = PoolGoal {
        drain: false,
        ..goal(0)
    };
    let mut nodes = [node("a1", OLD), node("a2", OLD)];
    let steps = steps::plan(&goal, UID, &nodes, 200);
    nodes[0].drained_by = Some(UID.into());
    nodes[1].drained_by = Some("another".into());
    let reports = steps::report(
        &goal,
        UID,
        &steps,
        &steps::Seen {
            nodes: &nodes,
            making: &[],
            draining: &|_| None,
            soaking: None,
        },
    );
    let begun: Vec<_> = reports
        .iter()
        .filter(|report| report.phase == StepPhase::InProgress)
        .map(|report| report.name.as_str())
        .collect();
    assert_eq!(begun, ["node/a1"]);
}

fn any_node() -> impl Strategy<Value = NodeView> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 0..100).prop_map(
        |(is_old, ready, cordoned, age)| NodeView {
            ready,
            cordoned,
            ..node(&format!("a{age}"), if is_old { OLD } else { NEW })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_keeps_its_bounds_from_any_start(
        mut nodes in vec(any_node(), 0..8),
        count in 0..6_usize,
        (surge, unavailable) in (0..4_usize, 0..3_usize).prop_filter("both 0", |both| *both != (0, 0)),
    ) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let goal = PoolGoal { surge, unavailable, ..goal(count) };
        roll(&goal, UID, &mut nodes);
        prop_assert_eq!(picture(&nodes), reached(count));
    }
}

#[test]
fn an_unready_node_blocks_a_rollout_only_if_nodes_must_be_replaced() {
    let mut broken = node("a1", NEW);
    broken.ready = false;
    let nodes = [broken.clone(), node("a2", OLD)];
    let (reason, message) = waits_for(&goal(2), UID, &nodes).expect("it waits");
    assert_eq!(reason, "NodeNotReady");
    assert!(message.starts_with("node a1 is not Ready"), "{message}");
    let nodes = [broken, node("a2", NEW)];
    assert_eq!(waits_for(&goal(2), UID, &nodes), None);
}
