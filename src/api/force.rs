//! The force of an [`Operation`](super::Operation): the permission to delete pods that `PodDisruptionBudgets` protect,
//! until a given time.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The permission to delete pods that PodDisruptionBudgets protect, and what Belay did with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Force {
    /// `InEffect` until its time has passed, somebody removes the annotation, or the operation ends.
    pub status: ForceStatus,
    /// Until when it is in effect: at most 24 hours after Belay accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Who set the annotation, as the API server saw it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// When Belay accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why it was refused or ended, or how it differs from what the annotation asks for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many pods the operation has decided to delete by force, also by an earlier annotation.
    #[serde(default)]
    pub pod_count: i64,
    /// The newest 50 of these pods. Belay writes a pod here before it deletes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<ForcedPod>,
}

impl Force {
    /// Whether it is in effect, as far as Belay has decided.
    pub fn is_in_effect(&self) -> bool {
        self.status == ForceStatus::InEffect
    }

    /// Returns when it ends by itself. None if it isn't in effect.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let until = self.until.as_ref().filter(|_| self.is_in_effect());
        until.map(|until| until.0)
    }
}

/// Whether a force is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForceStatus {
    /// Pods that a PodDisruptionBudget protects are deleted once their eviction was refused for a minute.
    InEffect,
    /// It is over, and Belay waits for PodDisruptionBudgets again.
    Ended,
    /// It was never in effect.
    Refused,
}

/// A pod that is deleted by force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForcedPod {
    /// The pod's namespace and name, such as `team-a/web-0`.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The namespace and name of the PodDisruptionBudget that refused its eviction.
    pub budget: String,
    /// When Belay decided to delete it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
}
