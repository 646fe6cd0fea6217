//! Stateful fakes of clouds' APIs, over TLS on loopback. They show that a client uses a cloud's API correctly, and that
//! it keeps its promises while the cloud doesn't answer. They don't prove how a cloud itself behaves.

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

/// Locks a state, even after a thread that held the lock has panicked.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The maximum length of a request or an answer, in bytes.
const LONGEST: usize = 4 << 20;

/// Returns the current time of this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "a fake of a cloud has no other clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
