//! What is recorded about operations beyond their end: the lock, the last operation on each target, the holds, and
//! the history. Operations are always identified by uid.

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

/// The records as they will be once the transitions are written.
pub struct Ledger {
    /// The lock.
    pub lock: Vec<OperationInFlight>,
    /// The operations that end now, or that ended and aren't recorded on their targets yet, oldest first.
    pub ended: Vec<LastOperation>,
    /// The holds, by target.
    pub holds: Vec<(OperationTarget, Holds)>,
}

impl Ledger {
    /// Returns the records as they will be once the transitions are written.
    pub fn of(facts: &Facts<'_>, transitions: &[Transition<'_, '_>]) -> Self {
        let ends = last::ends(facts, transitions);
        let hold = |target: &Target<'_>| (target.key.clone(), holds(facts, target, &ends));
        Self {
            lock: lock::next(facts, transitions),
            holds: facts.targets().map(hold).collect(),
            ended: ends.into_iter().map(|end| end.record).collect(),
        }
    }

    /// Returns the operation on the target that ends now, if any.
    pub fn ended_on(&self, target: &OperationTarget) -> Option<&LastOperation> {
        let mut ended = self.ended.iter().rev();
        ended.find(|last| last.target == *target)
    }

    /// Returns the holds on a target.
    pub fn holds_of(&self, target: &OperationTarget) -> Holds {
        let mut holds = self.holds.iter();
        let found = holds.find(|(of, _)| of == target);
        found.map(|(_, holds)| holds.clone()).unwrap_or_default()
    }
}
