//! The distribution of times.

use std::{fmt, time::Duration};

/// Times, sorted.
#[derive(Clone)]
pub struct Spread(Vec<Duration>);

impl Spread {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// Returns a percentile of the times.
    pub fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    /// Returns the ratio of this spread's percentile to the other one's.
    pub fn ratio(&self, floor: &Self, percent: usize) -> f64 {
        self.at(percent).as_secs_f64() / floor.at(percent).as_secs_f64()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, most_of_them, most) = (self.at(50), self.at(99), self.at(100));
        write!(
            formatter,
            "median {median:.1?}, 99 % within {most_of_them:.1?}, at most {most:.1?}"
        )
    }
}
