//! What blocks a pool's work now, the nearest cause first.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;

use crate::{api::MADE_BY, lifecycle::NodeView, machinery::clock, provider::requests::Blocked};

use super::{
    node,
    node_work::{Reported, Shared},
    rollout,
};

/// How long a node's deletion may take before that is reported.
const SLACK: Duration = Duration::from_secs(3);

/// Returns what blocks the work. None if nothing does.
pub(super) fn of(
    shared: &Shared,
    nodes: &[Arc<Node>],
    views: &[NodeView],
    reported: &Reported,
    is_idle: bool,
) -> Option<Blocked> {
    let (goal, uid) = (&shared.goal, &shared.job.uid);
    let drain = || {
        reported
            .drains
            .values()
            .find_map(|drain| drain.blocked.clone())
    };
    let request = || reported.blocked.values().next().cloned();
    let rollout = || rollout::waits_for(goal, uid, views).filter(|_| is_idle);
    // A drain that a restart interrupted stays reported as blocked until its first eviction is answered.
    let is_unknown = |node: &NodeView| {
        let is_drained = node.drained_by.as_ref() == Some(uid) && !node.deleting;
        is_drained && !reported.drains.contains_key(&node.name)
    };
    let before = || {
        shared
            .job
            .blocked
            .clone()
            .filter(|_| views.iter().any(is_unknown))
    };
    drain()
        .or_else(before)
        .or_else(request)
        .or_else(rollout)
        .or_else(|| nodes.iter().find_map(|node| unready(node, uid)))
        .or_else(|| nodes.iter().find_map(|node| held(node)))
}

/// Returns the block by a node of this operation whose Ready condition isn't True. A node without that condition is
/// still coming up.
fn unready(node: &Node, uid: &str) -> Option<Blocked> {
    let is_ours = node.annotations().get(MADE_BY).map(String::as_str) == Some(uid);
    let is_going = node.metadata.deletion_timestamp.is_some();
    node::unready_since(node).filter(|_| is_ours && !is_going)?;
    let message = if node::is_joining(node) {
        format!("node {} is not Ready", node.name_any())
    } else {
        format!("node {} is no longer Ready", node.name_any())
    };
    Some(("NodeNotReady".to_owned(), message))
}

/// Returns the block by a node whose deletion waits for someone else.
fn held(node: &Node) -> Option<Blocked> {
    let since = node.metadata.deletion_timestamp.as_ref()?.0;
    (clock::after(since, SLACK) <= clock::now()).then(|| {
        let message = format!(
            "node {} is being deleted and is held by finalizers ({})",
            node.name_any(),
            node::held_by(node)
        );
        ("NodeTerminating".to_owned(), message)
    })
}
