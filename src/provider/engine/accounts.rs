//! How often each account is asked: in bounds, and not by all clusters at the same moment.

use std::{num::NonZeroU32, time::Duration};

use governor::{Jitter, Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};

/// The accounts, by name.
pub struct Accounts {
    limits: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    spread: Jitter,
}

impl Accounts {
    /// Accounts that are good for so many looks in a second each, one at the least. Looks are spread over up
    /// to `spread`.
    pub fn new(per_second: u32, spread: Duration) -> Self {
        let each = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            limits: RateLimiter::hashmap(Quota::per_second(each)),
            spread: Jitter::up_to(spread),
        }
    }

    /// Waits for the account's turn.
    pub async fn turn_of(&self, account: &String) {
        self.limits
            .until_key_ready_with_jitter(account, self.spread)
            .await;
    }

    /// Forgets accounts that nobody asks any more.
    pub fn tidy(&self) {
        self.limits.retain_recent();
    }
}
