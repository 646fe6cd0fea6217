//! The part of all runs to execute: `SWEEP_PART=k/n` selects every n-th run, from the k-th run on.

use std::{env, fmt};

/// A part of all runs.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// Reads the part from the environment; all runs if it isn't set.
    pub fn read() -> Self {
        let part = env::var("SWEEP_PART").unwrap_or_default();
        let (part, of) = part.split_once('/').unwrap_or(("1", "1"));
        let number = |text: &str| text.parse().expect("SWEEP_PART is k/n, such as 3/10");
        Self {
            number: number(part),
            of: number(of),
        }
    }

    /// Whether the run with this number, from 1, belongs to the part.
    pub fn has(self, number: usize) -> bool {
        number % self.of == self.number % self.of
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}
