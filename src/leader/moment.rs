//! A moment on both clocks of a machine. The monotonic clock is never set back, but stands still while the machine is
//! paused. The wall clock goes on then.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::machinery::clock;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On the monotonic clock, which is never set.
    pub monotonic: Instant,
    /// On the wall clock, which goes on while the machine is paused.
    pub wall: Timestamp,
}

impl Moment {
    /// Returns the current moment.
    pub fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: clock::now(),
        }
    }

    /// Returns the moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self {
            monotonic: self.monotonic + duration,
            wall: clock::after(self.wall, duration),
        }
    }

    /// Returns whether it is later than `now` on both clocks.
    pub fn is_ahead_of(&self, now: &Self) -> bool {
        now.monotonic < self.monotonic && now.wall < self.wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_over_as_soon_as_one_of_the_clocks_has_passed_it() {
        let now = Moment::now();
        let until = now.after(Duration::from_secs(7));
        assert!(until.is_ahead_of(&now));
        let slept = Moment {
            wall: clock::after(now.wall, Duration::from_secs(8)),
            ..now
        };
        assert!(!until.is_ahead_of(&slept), "the machine was paused");
        let set_back = Moment {
            wall: Timestamp::UNIX_EPOCH,
            monotonic: now.monotonic + Duration::from_secs(8),
        };
        assert!(!until.is_ahead_of(&set_back), "its clock was set back");
    }
}
