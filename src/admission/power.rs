//! A start or a stop at the wrong time.

use crate::{
    api::TargetKind,
    lifecycle::messages::{OPERATION_NOT_ALLOWED, STARTING, STOPPING, refusal, words},
};

use super::{
    cel::{elapsed_text, if_known},
    policy::Refusal,
};

/// A cluster or a pool, in the form of expressions.
pub struct Target<'a> {
    /// Its kind.
    pub kind: TargetKind,
    /// Its provisioning state.
    pub state: &'a str,
    /// Its power state.
    pub power: &'a str,
    /// When its previous operation began. Empty if that isn't known.
    pub since: &'a str,
    /// When it was stopped. Empty if that isn't known.
    pub stopped: &'a str,
}

impl Target<'_> {
    /// Refuses a start, or a stop if `is_start` is false, at the wrong time.
    pub fn wrong_time(&self, when: &str, is_start: &str, now: Option<&str>) -> Refusal {
        let change = format!("({is_start} ? \"{STARTING}\" : \"{STOPPING}\")");
        let kind = format!("\"{}\"", words(self.kind));
        let wrong_time = refusal::WRONG_TIME.cel(&[
            ("kind", &kind),
            ("state", self.state),
            ("power", self.power),
            ("change", &change),
        ]);
        let previous = refusal::PREVIOUS_OPERATION.cel(&[("since", self.since)]);
        let previous = previous + &elapsed_text(now, self.since, false);
        let message = format!("{wrong_time} + {}", if_known(self.since, &previous));
        Refusal::new(OPERATION_NOT_ALLOWED, when, &message)
    }

    /// Refuses a stop of a target that doesn't run.
    pub fn not_running(&self, when: &str, now: Option<&str>) -> Refusal {
        let kind = format!("\"{}\"", words(self.kind));
        let not_running = refusal::NOT_RUNNING.cel(&[("kind", &kind)]);
        let stop = refusal::STOP_OPERATION.cel(&[("since", self.stopped)]);
        let stop = stop + &elapsed_text(now, self.stopped, true);
        let message = format!("{not_running} + {}", if_known(self.stopped, &stop));
        Refusal::new(OPERATION_NOT_ALLOWED, when, &message)
    }
}
