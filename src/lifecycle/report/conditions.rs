//! Conditions as Kubernetes' API conventions and kstatus define them: `Ready`, and the abnormal-true conditions
//! `Reconciling` and `Stalled`. Operations also have `Succeeded`, `Finished` and
//! `Preflight`; pools also have `Autoscaled`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{Operation, OperationPhase, OperationStatus},
    lifecycle::{
        messages::{self, reason},
        observed::Trouble,
        preflight::{PREFLIGHT, Preflight},
    },
};

/// The condition of a pool that something other than Belay scales.
const AUTOSCALED: &str = "Autoscaled";

/// The health of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is as its spec says.
    Ready,
    /// Belay is bringing it to its spec, or it waits for its turn.
    Reconciling,
    /// It stays as it is until someone acts.
    Stalled,
}

/// The conditions of one object, for changes. A condition keeps its transition time while its status stays the same.
pub struct Conditions<'c> {
    all: &'c mut Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl<'c> Conditions<'c> {
    /// Returns the conditions of an object of that generation.
    pub fn of(all: &'c mut Vec<Condition>, generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            all,
            generation,
            now,
        }
    }

    /// Sets Ready, Reconciling and Stalled.
    pub fn set_health(&mut self, health: Health, reason: &str, message: &str) {
        let (ready, reconciling, stalled) = match health {
            Health::Ready => ("True", "False", "False"),
            Health::Reconciling => ("False", "True", "False"),
            Health::Stalled => ("False", "False", "True"),
        };
        self.set("Ready", ready, reason, message);
        self.set("Reconciling", reconciling, reason, message);
        self.set("Stalled", stalled, reason, message);
    }

    /// Sets Ready to Unknown, because Belay can't see now whether the object is as its spec says.
    pub fn set_unknown(&mut self, trouble: &Trouble) {
        self.set("Ready", "Unknown", &trouble.reason, &trouble.sentence());
    }

    /// Sets Autoscaled if something other than Belay scales a pool, and removes it otherwise.
    pub fn set_scaled_by(&mut self, scaled_by: Option<&str>) {
        match scaled_by {
            Some(by) => {
                let message =
                    format!("scaled by {by}; spec.count applies only when the pool is started");
                self.set(AUTOSCALED, "True", "ScaledByOthers", &message);
            }
            None => self.all.retain(|condition| condition.type_ != AUTOSCALED),
        }
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let mut all = self.all.iter_mut();
        let before = all.find(|condition| condition.type_ == type_);
        let since = before
            .as_ref()
            .filter(|condition| condition.status == status)
            .map_or(Time(self.now), |condition| {
                condition.last_transition_time.clone()
            });
        let condition = Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: self.generation,
            last_transition_time: since,
        };
        match before {
            Some(before) => *before = condition,
            None => self.all.push(condition),
        }
    }
}

/// Sets an Operation's conditions from its phase. `waits` says what a Pending one waits for: a reason, and a message that may
/// be empty.
pub fn of_operation(
    status: &mut OperationStatus,
    operation: &Operation,
    (waits_reason, waits): (&'static str, &str),
    now: Timestamp,
) {
    let (health, succeeded, reason, message) = match status.phase {
        OperationPhase::Pending => {
            let waits = if waits.is_empty() {
                "waits for its turn"
            } else {
                waits
            };
            (
                Health::Reconciling,
                "Unknown",
                waits_reason,
                waits.to_owned(),
            )
        }
        OperationPhase::InProgress => match &status.blocked {
            Some(blocked) => (
                Health::Reconciling,
                "Unknown",
                reason::BLOCKED,
                format!("{} ({})", blocked.message, blocked.reason),
            ),
            None => (
                Health::Reconciling,
                "Unknown",
                reason::IN_PROGRESS,
                "in progress".to_owned(),
            ),
        },
        OperationPhase::Canceling => (
            Health::Reconciling,
            "Unknown",
            reason::CANCELING,
            "coming to a stop".to_owned(),
        ),
        OperationPhase::Succeeded => (
            Health::Ready,
            "True",
            reason::SUCCEEDED,
            "succeeded".to_owned(),
        ),
        OperationPhase::Failed => (
            Health::Stalled,
            "False",
            reason::FAILED,
            messages::end_text(status),
        ),
        OperationPhase::Canceled => (
            Health::Stalled,
            "False",
            reason::CANCELED,
            messages::end_text(status),
        ),
    };
    let finished = if status.phase.is_finished() {
        "True"
    } else {
        "False"
    };
    let generation = operation.metadata.generation;
    let mut conditions = Conditions::of(&mut status.conditions, generation, now);
    conditions.set_health(health, reason, &message);
    conditions.set("Succeeded", succeeded, reason, &message);
    conditions.set("Finished", finished, reason, &message);
}

/// Sets an Operation's condition Preflight, unless it has one: it reports what was seen when the work began.
pub fn set_preflight(
    status: &mut OperationStatus,
    operation: &Operation,
    preflight: &Preflight,
    now: Timestamp,
) {
    let mut conditions = status.conditions.iter();
    if conditions.any(|condition| condition.type_ == PREFLIGHT) {
        return;
    }
    let (is, reason, message) = preflight.condition();
    let generation = operation.metadata.generation;
    Conditions::of(&mut status.conditions, generation, now).set(PREFLIGHT, is, reason, &message);
}

/// Sets the conditions of an object that stays as it is until someone acts.
pub fn stalled(
    conditions: &mut Vec<Condition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    Conditions::of(conditions, generation, now).set_health(Health::Stalled, reason, message);
}
