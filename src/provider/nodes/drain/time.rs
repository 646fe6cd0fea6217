//! How long a drain has taken. Only the time in which an operator was at work counts: while none was, or its machine
//! was paused, no pod could be evicted.

use std::time::Duration;

use jiff::Timestamp;

use crate::machinery::clock;

/// How often the time is counted.
const TICK: Duration = Duration::from_secs(1);
/// The most that counts between two ticks. It is a little more than a tick, for a machine that is busy.
const LONGEST_TICK: Duration = Duration::from_secs(3);

/// The time at work.
pub struct TimeAtWork {
    spent: Duration,
    counted: Timestamp,
}

impl TimeAtWork {
    /// Continues from the seconds that an earlier operator spent.
    pub fn since(seconds: u64) -> Self {
        Self {
            spent: Duration::from_secs(seconds),
            counted: clock::now(),
        }
    }

    /// Returns the time that was spent, in seconds.
    pub fn seconds(&mut self) -> u64 {
        self.count(clock::now());
        self.spent.as_secs()
    }

    /// Waits until the time that was spent reaches `timeout`.
    pub async fn is_up(&mut self, timeout: Duration) {
        loop {
            self.count(clock::now());
            if self.spent >= timeout {
                return;
            }
            tokio::time::sleep(timeout.saturating_sub(self.spent).min(TICK)).await;
        }
    }

    fn count(&mut self, now: Timestamp) {
        let passed = Duration::try_from(now.duration_since(self.counted)).unwrap_or_default();
        self.spent = self.spent.saturating_add(passed.min(LONGEST_TICK));
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_machine_and_a_clock_set_back_hardly_count_as_drain_time() {
        let mut time = TimeAtWork::since(60);
        let start = time.counted;
        time.count(start + Duration::from_secs(1));
        assert_eq!(time.spent, Duration::from_secs(61));
        time.count(start + Duration::from_hours(9));
        assert_eq!(time.spent, Duration::from_secs(64));
        time.count(start);
        assert_eq!(time.spent, Duration::from_secs(64));
    }
}
