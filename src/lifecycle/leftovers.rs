//! What ended Operations left half-done: it couldn't be cleaned up when their work stopped, or nobody was there to do
//! it. Belay cleans it up as soon as possible.

use std::collections::BTreeSet;

use super::{action::Action, facts::Facts};

/// Returns the action that cleans up what carries marks of Operations that have ended or no longer exist.
pub fn mend(facts: &Facts<'_>) -> Option<Action> {
    let nodes = facts.snapshot.observed.nodes.values().flatten();
    let marks = nodes.filter(|node| !node.deleting).flat_map(|node| {
        let made = node.made_by.as_ref().filter(|_| node.joining);
        made.into_iter().chain(&node.drained_by)
    });
    let marks = marks.chain(&facts.snapshot.observed.in_work_of);
    let is_in_work = |uid: &String| facts.snapshot.work.contains_key(uid);
    let over = marks.filter(|uid| facts.snapshot.is_over(uid) && !is_in_work(uid));
    let uids: BTreeSet<String> = over.cloned().collect();
    (!uids.is_empty()).then_some(Action::Mend { uids })
}
