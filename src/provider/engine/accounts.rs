//! The rate limit of each account, with jitter.

use std::{num::NonZeroU32, time::Duration};

use governor::{Jitter, Quota, RateLimiter, clock::DefaultClock, state::keyed::HashMapStateStore};

/// The accounts, by name.
pub struct Accounts {
    limits: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
    spread: Jitter,
}

impl Accounts {
    /// Allows `per_second` looks for each account, at least one. Each look waits up to `spread` longer.
    pub fn new(per_second: u32, spread: Duration) -> Self {
        let each = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            limits: RateLimiter::hashmap(Quota::per_second(each)),
            spread: Jitter::up_to(spread),
        }
    }

    /// Waits until the account's rate limit allows a look.
    pub async fn turn_of(&self, account: &String) {
        self.limits
            .until_key_ready_with_jitter(account, self.spread)
            .await;
    }

    /// Removes accounts that nobody asks any more.
    pub fn tidy(&self) {
        self.limits.retain_recent();
    }
}
