//! Turns panics into results, so that a failed run doesn't stop the others.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;

/// Runs a future as its own task. If it panics, the error is the panic's message.
pub async fn caught<T: Send + 'static>(
    run: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let task = tokio::spawn(AssertUnwindSafe(run).catch_unwind());
    let ended = task.await.expect("the task ends");
    ended.unwrap_or_else(|panic| Err(message_of(panic.as_ref())))
}

/// Runs a check that panics on failure, and returns the panic as an error.
pub fn checked(check: impl FnOnce()) -> Result<(), String> {
    let checked = std::panic::catch_unwind(AssertUnwindSafe(check));
    checked.map_err(|panic| message_of(panic.as_ref()))
}

/// Returns the message of a panic.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
