//! How long to wait before an engine is asked again.

use std::time::Duration;

use tokio::sync::watch;

/// Where an engine shows that something changes, it is asked so much more seldom as long as nothing does.
const PATIENCE: u32 = 5;

/// Waits between two looks at what goes on: for the pause where the engine doesn't show changes, else until something
/// changes, and no shorter than the pause.
pub async fn while_busy(pause: Duration, changes: Option<watch::Receiver<u64>>) {
    tokio::time::sleep(pause).await;
    if let Some(changes) = changes {
        let longest = tokio::time::timeout(pause * (PATIENCE - 1), changed(changes));
        // Either way it is time.
        let _ = longest.await;
    }
}

/// Waits between two looks at a cluster on which nothing goes on: for the pause, or until something changes. Changes
/// come in groups, so the look comes a moment after the first.
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
        // Nobody counts any more.
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
    async fn an_engine_that_shows_no_changes_is_asked_after_each_pause() {
        assert_eq!(waits(while_busy(PAUSE, None)).await, PAUSE);
        assert_eq!(waits(while_idle(IDLE, PAUSE, None)).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_the_wait_and_one_that_came_before_is_not_missed() {
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
