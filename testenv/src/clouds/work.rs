//! Work of a cloud: it takes time, a test can pause it, it stops some time after a request to stop, and a test can make
//! it fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// One piece of work.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    worked: Duration,
    stopping: Option<Instant>,
}

impl Work {
    /// Begins to stop it.
    pub fn stop(&mut self) {
        self.stopping = Some(Instant::now());
    }

    /// Cancels the stop.
    pub fn go_on(&mut self) {
        self.stopping = None;
    }

    /// Whether it is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Returns how long it has been at work.
    pub fn worked(&self) -> Duration {
        self.worked
    }
}

/// How a piece of work ends.
pub(super) enum End {
    Done,
    Stopped,
    /// Failed with a code and a message.
    Failed(String, String),
}

/// The clock of all work.
pub(super) struct Pace {
    takes: Duration,
    takes_to_stop: Duration,
    held: BTreeSet<String>,
    failing: BTreeMap<String, (String, String)>,
    settled: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            takes: Duration::from_millis(600),
            takes_to_stop: Duration::from_millis(300),
            held: BTreeSet::new(),
            failing: BTreeMap::new(),
            settled: Instant::now(),
        }
    }
}

impl Pace {
    /// Sets how long a piece of work takes from now on, and how long it takes to stop.
    pub fn set(&mut self, work: Duration, stop: Duration) {
        (self.takes, self.takes_to_stop) = (work, stop);
    }

    /// Returns how long a piece of work takes.
    pub fn takes(&self) -> Duration {
        self.takes
    }

    /// Pauses the work on resources with this name, or lets it continue.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        if is_held {
            self.held.insert(name.to_owned());
        } else {
            self.held.remove(name);
        }
    }

    /// Makes the next work on a resource with this name fail.
    pub fn fail_next(&mut self, name: &str, code: &str, message: &str) {
        let why = (code.to_owned(), message.to_owned());
        self.failing.insert(name.to_owned(), why);
    }

    /// Returns the time since the last call.
    pub fn passed(&mut self) -> Duration {
        let passed = self.settled.elapsed();
        self.settled = Instant::now();
        passed
    }

    /// Advances the work on a resource with this name by a time. Returns how it ends, if it ends.
    pub fn advance(&mut self, work: &mut Work, name: &str, passed: Duration) -> Option<End> {
        if !self.held.contains(name) {
            work.worked += passed;
        }
        match work.stopping {
            Some(since) => (since.elapsed() >= self.takes_to_stop).then_some(End::Stopped),
            None if work.worked < self.takes => None,
            None => match self.failing.remove(name) {
                Some((code, message)) => Some(End::Failed(code, message)),
                None => Some(End::Done),
            },
        }
    }
}
