//! How long to wait before an engine is asked again.

use std::time::Duration;

use tokio::sync::watch;

/// If an engine shows changes, the pause is up to this many times longer while nothing changes.
const PATIENCE: u32 = 5;

/// Waits between two looks at running work. If the engine doesn't show changes, it waits for the pause. Otherwise it
/// waits until something changes, at least for the pause, and at most for `PATIENCE` pauses.
pub async fn while_busy(pause: Duration, changes: Option<watch::Receiver<u64>>) {
    tokio::time::sleep(pause).await;
    if let Some(changes) = changes {
        let longest = tokio::time::timeout(pause * (PATIENCE - 1), changed(changes));
        // It is time to look, after a change or a timeout.
        let _ = longest.await;
    }
}

/// Waits between two looks at a cluster on which no work is running: for the pause, or until something changes. Changes
/// come in groups, so after the first change it waits for `group`.
pub async fn while_idle(pause: Duration, group: Duration, changes: Option<watch::Receiver<u64>>) {
    match changes {
        None => tokio::time::sleep(pause).await,
        Some(changes) => {
            if tokio::time::timeout(pause, changed(changes)).await.is_ok() {
                tokio::time::sleep(group).await;
            }
        }
    }
}

async fn changed(mut changes: watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        // Nobody counts changes any more.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);
    const IDLE: Duration = Duration::from_secs(30);

    async fn waits(wait: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        wait.await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_without_change_events_is_polled_after_each_pause() {
        assert_eq!(waits(while_busy(PAUSE, None)).await, PAUSE);
        assert_eq!(waits(while_idle(IDLE, PAUSE, None)).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_the_wait_even_if_it_came_before() {
        let (count, changes) = watch::channel(0);
        assert_eq!(
            waits(while_busy(PAUSE, Some(changes.clone()))).await,
            PAUSE * PATIENCE
        );
        assert_eq!(
            waits(while_idle(IDLE, PAUSE, Some(changes.clone()))).await,
            IDLE
        );
        count.send_modify(|count| *count += 1);
        assert_eq!(waits(while_busy(PAUSE, Some(changes.clone()))).await, PAUSE);
        assert_eq!(waits(while_idle(IDLE, PAUSE, Some(changes))).await, PAUSE);
    }
}
