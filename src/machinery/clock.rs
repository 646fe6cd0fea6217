//! The one place where the time is read, and how far ahead anybody may look.

use std::time::Duration;

use jiff::Timestamp;

/// The longest duration that is counted with: what comes from outside may be longer than time itself.
const LONGEST: Duration = Duration::from_hours(24 * 366 * 10);

/// Now.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// So long after a time. It never fails: a duration of more than ten years counts as ten, and no time is
/// later than the last that there is.
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration.min(LONGEST))
        .unwrap_or(Timestamp::MAX)
}

/// How long it is from now until a time: nothing where that has passed, and ten years at the most.
pub fn until(time: Timestamp) -> Duration {
    let left = time.duration_since(now());
    Duration::try_from(left).unwrap_or_default().min(LONGEST)
}

/// Seconds as others give them, negative or not.
pub fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default()).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_from_outside_leads_beyond_the_last_time() {
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
