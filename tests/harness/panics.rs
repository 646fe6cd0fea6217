//! Panics as results, for runs of which one must not end the others.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;

/// Runs it as a task of its own; where it panics, that is why it failed.
pub async fn caught<T: Send + 'static>(
    running: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let task = tokio::spawn(AssertUnwindSafe(running).catch_unwind());
    let ended = task.await.expect("it ended");
    ended.unwrap_or_else(|panic| Err(said(panic.as_ref())))
}

/// Checks something that panics where it isn't so.
pub fn checked(check: impl FnOnce()) -> Result<(), String> {
    let checked = std::panic::catch_unwind(AssertUnwindSafe(check));
    checked.map_err(|panic| said(panic.as_ref()))
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}
