//! What an operator wrote that leads no more. Each write carries the resourceVersion that it was decided on, so it is
//! refused where the next operator has written the object since. Where that one hasn't, it lands, and the next
//! operator learns of it by its next pass.

use std::collections::BTreeSet;

use crate::lifecycle::{action::Action, fixtures::World};

/// Operations, by their uids, that something was written of late and that the next operator hasn't followed yet.
#[derive(Clone, Debug, Default, Hash)]
pub struct Late {
    /// It hasn't looked since.
    unseen: BTreeSet<String>,
    /// It has looked, and its pass isn't done.
    seen: BTreeSet<String>,
}

impl Late {
    /// What is written late lands.
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

    /// The operator looks at what is there; whether there is something of that kind.
    pub fn look(&mut self) -> bool {
        let is_more = !self.unseen.is_empty();
        self.seen.append(&mut self.unseen);
        is_more
    }

    /// What it decided then is done.
    pub fn was_done(&mut self) {
        self.seen.clear();
    }

    /// What it decided then met a conflict: it decides anew.
    pub fn was_cut_off(&mut self) {
        self.unseen.append(&mut self.seen);
    }

    /// Whether the operator that works on it hasn't followed a late write yet.
    pub fn is_about(&self, uid: &str) -> bool {
        self.unseen.contains(uid) || self.seen.contains(uid)
    }

    pub fn is_empty(&self) -> bool {
        self.unseen.is_empty() && self.seen.is_empty()
    }
}
