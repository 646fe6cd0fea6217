//! Conditions, as Kubernetes' API conventions and kstatus read them: `Ready`, and the abnormal-true
//! `Reconciling` and `Stalled`; on an Operation also `Succeeded` and `Finished`; on a pool also `Autoscaled`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{Operation, OperationPhase, OperationStatus},
    lifecycle::{
        messages::{self, reason},
        observed::Trouble,
    },
};

/// The condition of a pool that something else than Belay scales.
const AUTOSCALED: &str = "Autoscaled";

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is as its spec says.
    Ready,
    /// It is on its way there.
    Reconciling,
    /// It stays as it is until someone acts.
    Stalled,
}

/// The conditions of one object, to be set. A condition keeps its transition time while its status stays.
pub struct Conditions<'c> {
    all: &'c mut Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl<'c> Conditions<'c> {
    /// Those of an object of that generation.
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

    /// Sets Ready to Unknown: whether the object is as its spec says can't be seen now.
    pub fn set_unknown(&mut self, trouble: &Trouble) {
        self.set("Ready", "Unknown", &trouble.reason, &trouble.sentence());
    }

    /// Sets Autoscaled where something else than Belay scales a pool, and takes it away where nothing does.
    pub fn set_scaled_by(&mut self, scaled_by: Option<&str>) {
        match scaled_by {
            Some(by) => {
                let message = format!("scaled by {by}; spec.count counts when the pool is started");
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

/// Sets an Operation's conditions from its phase. `waits` says what a Pending one waits for.
pub fn of_operation(
    status: &mut OperationStatus,
    operation: &Operation,
    waits: &str,
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
                reason::PENDING,
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

/// Says of an object that it stays as it is until someone acts.
pub fn stalled(
    conditions: &mut Vec<Condition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    Conditions::of(conditions, generation, now).set_health(Health::Stalled, reason, message);
}
