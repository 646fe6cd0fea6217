//! The texts about a force: the permission to delete pods that `PodDisruptionBudgets` protect.

use jiff::Timestamp;

use crate::{
    api::{FORCE_ANNOTATION, ForcedPod},
    lifecycle::template::Template,
};

/// How long a force may be in effect, in hours.
pub const LONGEST_HOURS: i64 = 24;

/// The reason of the Event about an accepted force.
pub const ACCEPTED: &str = "ForceAccepted";
/// The reason of the Event about a force that is refused.
pub const REFUSED: &str = "ForceRefused";
/// The reason of the Event about a force that is over.
pub const ENDED: &str = "ForceEnded";
/// The reason of the Event about a pod that is deleted by force.
pub const POD_FORCED: &str = "PodForced";

/// Why a force ended: its time has passed.
pub const TIME_IS_UP: &str = "its time has passed";
/// Why a force ended: somebody removed the annotation.
pub const REMOVED: &str = "the annotation was removed";
/// Why a force ended: there is nothing left to force.
pub const OPERATION_ENDED: &str = "the operation ended";

/// A value that isn't a time.
pub const NO_TIME: Template = Template(
    "annotation {annotation} is \"{written}\": write a time as in RFC 3339, for example: kubectl annotate operation {name} {annotation}=$(date -u -d +30minutes +%FT%TZ) --overwrite",
);
/// A time that has passed.
pub const IS_OVER: Template = Template(
    "annotation {annotation} is {written}, which has passed: write a later time, for example: kubectl annotate operation {name} {annotation}=$(date -u -d +30minutes +%FT%TZ) --overwrite",
);
/// A time that is too far ahead.
pub const TOO_LONG: Template = Template(
    "annotation {annotation} is {written}, which is more than {hours} hours ahead: write an earlier time, and set it again if that isn't enough",
);
/// A force for an operation that has ended.
pub const HAS_ENDED: Template =
    Template("Operation {name} has ended ({phase}): there is nothing to force");
/// A force by a user who isn't allowed to force.
pub const MAY_NOT_FORCE: Template = Template(
    "User \"{user}\" cannot force an operation: this needs the verb update on operations/force in API group belay.dev in the namespace \"{namespace}\"",
);

/// Returns why a value isn't accepted.
pub fn no_time(name: &str, written: &str) -> String {
    NO_TIME.fill(&[
        ("annotation", &FORCE_ANNOTATION),
        ("written", &written),
        ("name", &name),
    ])
}

/// Returns why a time that has passed has no effect.
pub fn is_over(name: &str, written: &str) -> String {
    IS_OVER.fill(&[
        ("annotation", &FORCE_ANNOTATION),
        ("written", &written),
        ("name", &name),
    ])
}

/// Says that a force ends earlier than the annotation asks for.
pub fn shortened(written: &str, until: Timestamp) -> String {
    format!(
        "annotation {FORCE_ANNOTATION} is {written}, but a force lasts at most {LONGEST_HOURS} hours: it ends at {until}, set it again then if that isn't enough"
    )
}

/// Returns the text about an accepted force.
pub fn accepted(until: Timestamp, by: &str) -> String {
    format!(
        "until {until}{}, pods that a PodDisruptionBudget protects are deleted once their eviction was refused for a minute",
        asked_by(by)
    )
}

/// Returns the text about a pod that is deleted by force.
pub fn pod_forced(pod: &ForcedPod, until: Timestamp, by: &str) -> String {
    format!(
        "deletes pod {}, which PodDisruptionBudget {} protects: forced until {until}{}",
        pod.name,
        pod.budget,
        asked_by(by)
    )
}

/// Returns who asked for a force, if that is known.
pub fn asked_by(by: &str) -> String {
    if by.is_empty() {
        String::new()
    } else {
        format!(" by {by}")
    }
}
