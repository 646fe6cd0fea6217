//! Which writes go first. A busy API server answers all requests at the same slow pace. So writes that show people the
//! state of their operation would wait behind writes that nobody waits for. Therefore the statuses of Operations are
//! written at once, and only a limited number of other writes to existing objects at a time.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::lifecycle::Action;

/// The maximum number of other writes in flight.
const AT_A_TIME: usize = 16;

/// The longest time that a write waits for its turn. A write that hangs must not hold up the others.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// The turns of all writes.
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }
}

impl Turns {
    /// Waits for the turn of an action. The turn lasts until the returned permit is dropped. None if the action needs
    /// no turn, or has waited long enough.
    pub async fn wait_for(&self, action: &Action) -> Option<SemaphorePermit<'_>> {
        if goes_first(action) {
            return None;
        }
        let turn = tokio::time::timeout(LONGEST_WAIT, self.0.acquire()).await;
        turn.ok()?.ok()
    }
}

/// Whether an action shows people the state of an Operation, or sends no request.
fn goes_first(action: &Action) -> bool {
    matches!(
        action,
        Action::WriteOperationStatus { .. }
            | Action::StopWork { .. }
            | Action::StartWork { .. }
            | Action::ForgetWork { .. }
            | Action::Mend { .. }
            | Action::Publish(_)
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    fn of_a_target() -> Action {
        Action::WriteClusterStatus(Box::default())
    }

    fn of_an_operation() -> Action {
        Action::WriteOperationStatus {
            name: "it".into(),
            status: Box::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_of_an_operation_has_priority_and_other_writes_wait_for_a_limited_time() {
        let (turns, other) = (Turns::default(), of_a_target());
        let taken = join_all((0..AT_A_TIME).map(|_| turns.wait_for(&other))).await;
        assert_eq!(taken.iter().flatten().count(), AT_A_TIME);
        for first in [
            of_an_operation(),
            Action::Mend {
                uids: BTreeSet::new(),
            },
        ] {
            let at_once = turns.wait_for(&first).now_or_never();
            assert!(at_once.is_some(), "{first:?}");
        }
        assert!(turns.wait_for(&other).now_or_never().is_none(), "it waits");
        assert!(turns.wait_for(&other).await.is_none(), "and goes on");
        drop(taken);
        assert!(
            turns.wait_for(&other).await.is_some(),
            "there is room again"
        );
    }
}
