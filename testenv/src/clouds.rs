//! Stateful fakes of clouds' APIs, over TLS on loopback. They show that a client speaks a cloud's language, and keeps
//! its promises while the cloud doesn't answer. How a cloud itself behaves they don't prove.

pub mod aws;
pub mod azure;
mod exchanges;
mod outage;
mod server;
mod work;

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub use aws::FakeAws;
pub use azure::FakeAzure;
pub use exchanges::Exchange;
pub use outage::Outage;

/// Locks a state, also after a thread that held it has panicked.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No request and no answer is longer.
const LONGEST: usize = 4 << 20;

/// The time that this machine has.
#[expect(
    clippy::disallowed_methods,
    reason = "a fake of a cloud has no other clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
