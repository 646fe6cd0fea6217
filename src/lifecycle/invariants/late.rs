//! Late writes of an operator that is no longer the leader. Each write carries the resourceVersion that it was
//! decided on, so the API server refuses it if the next operator has already written the object. Otherwise the write
//! succeeds, and the next operator learns of it in its next pass.

use std::collections::BTreeSet;

use crate::lifecycle::{action::Action, fixtures::World};

/// The uids of Operations that a late write changed and that the next operator hasn't processed yet.
#[derive(Clone, Debug, Default, Hash)]
pub struct Late {
    /// The next operator hasn't looked since the write.
    unseen: BTreeSet<String>,
    /// It has looked, but its pass isn't done.
    seen: BTreeSet<String>,
}

impl Late {
    /// Records a late write that succeeded.
    pub fn lands(&mut self, world: &World, action: &Action) {
        match action {
            Action::WriteOperationStatus { name, .. } => {
                self.unseen.insert(world.uid(name));
            }
            Action::WriteClusterStatus(status) => {
                let holds_lock =
                    |uid: &&String| status.operations.iter().any(|held| held.uid == **uid);
                let without = world.working().filter(|uid| !holds_lock(uid));
                self.unseen.extend(without.cloned());
            }
            _ => {}
        }
    }

    /// The operator looks at the objects. Returns whether there were unseen late writes.
    pub fn look(&mut self) -> bool {
        let is_more = !self.unseen.is_empty();
        self.seen.append(&mut self.unseen);
        is_more
    }

    /// Its pass is done.
    pub fn was_done(&mut self) {
        self.seen.clear();
    }

    /// Its pass met a conflict, so it decides again.
    pub fn was_cut_off(&mut self) {
        self.unseen.append(&mut self.seen);
    }

    /// Whether the operator that works on the Operation hasn't processed a late write yet.
    pub fn is_about(&self, uid: &str) -> bool {
        self.unseen.contains(uid) || self.seen.contains(uid)
    }

    pub fn is_empty(&self) -> bool {
        self.unseen.is_empty() && self.seen.is_empty()
    }
}
