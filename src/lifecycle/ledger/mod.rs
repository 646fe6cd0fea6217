//! What is kept of operations beyond their end: the lock, the last operation on each target, the holds, and
//! the history. An operation is known by its uid everywhere.

mod history;
mod holds;
mod last;
mod lock;

use crate::api::{LastOperation, OperationInFlight, OperationTarget};

use super::{
    facts::{Facts, Target},
    transition::Transition,
};

pub use history::{asked_again, surplus};
pub use holds::{Holds, holds};
pub use last::never_took_the_lock;
pub use lock::unseen;

/// What is kept, as it will be once the transitions are written.
pub struct Ledger {
    /// The lock.
    pub lock: Vec<OperationInFlight>,
    /// The operations that end now, or that ended and aren't kept on their targets yet, oldest first.
    pub ended: Vec<LastOperation>,
    /// What is held back, by target.
    pub holds: Vec<(OperationTarget, Holds)>,
}

impl Ledger {
    /// What is kept once the transitions are written.
    pub fn of(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Self {
        let ends = last::ends(facts, transitions);
        let hold = |target: &Target<'_>| (target.key.clone(), holds(facts, target, &ends));
        Self {
            lock: lock::next(facts, transitions),
            holds: facts.targets().map(hold).collect(),
            ended: ends.into_iter().map(|end| end.record).collect(),
        }
    }

    /// The operation that ends now on the target, where one does.
    pub fn ended_on(&self, target: &OperationTarget) -> Option<&LastOperation> {
        let mut ended = self.ended.iter().rev();
        ended.find(|last| last.target == *target)
    }

    /// What is held back on a target.
    pub fn holds_of(&self, target: &OperationTarget) -> Holds {
        let mut holds = self.holds.iter();
        let found = holds.find(|(of, _)| of == target);
        found.map(|(_, holds)| holds.clone()).unwrap_or_default()
    }
}
