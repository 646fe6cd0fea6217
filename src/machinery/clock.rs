//! The only place where Belay reads the time. It also limits how far ahead a time may be.

use std::time::Duration;

use jiff::Timestamp;

/// The longest duration that Belay uses. Durations from outside may be too long to add to a time.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);

/// Returns the current time.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns the time `duration` after `time`. It never fails: a duration of more than ten years counts as ten years, and
/// no result is later than [`Timestamp::MAX`].
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration.min(LONGEST))
        .unwrap_or(Timestamp::MAX)
}

/// Returns how long it is from now until a time: zero if the time has passed, and at most ten years.
pub fn until(time: Timestamp) -> Duration {
    let left = time.duration_since(now());
    Duration::try_from(left).unwrap_or_default().min(LONGEST)
}

/// Returns a duration of `seconds` from outside: zero if they are negative, and at most ten years.
pub fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default()).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_overflows_the_range_of_timestamps() {
        for seconds_ in [i64::MIN, -1, 0, 30, 300_000_000_000, i64::MAX] {
            let time = after(Timestamp::MAX, seconds(seconds_));
            assert_eq!(time, Timestamp::MAX);
            assert!(after(now(), seconds(seconds_)) <= after(now(), LONGEST));
        }
        assert_eq!(
            after(Timestamp::UNIX_EPOCH, Duration::MAX),
            after(Timestamp::UNIX_EPOCH, LONGEST)
        );
        assert_eq!(until(Timestamp::UNIX_EPOCH), Duration::ZERO);
        assert_eq!(until(Timestamp::MAX), LONGEST);
    }
}
