//! Stateful fakes of clouds' APIs, over TLS on loopback. They show that a client speaks a cloud's language, and keeps
//! its promises while the cloud doesn't answer. How a cloud itself behaves they don't prove.

pub mod azure;
mod exchanges;
mod outage;
mod server;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use azure::FakeAzure;
pub use exchanges::Exchange;
pub use outage::Outage;

/// Locks a state, also after a thread that held it has panicked.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
