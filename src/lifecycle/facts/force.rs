//! The request to force an Operation, by its annotation, and whether a force is in effect.

use jiff::Timestamp;

use crate::{
    api::{
        AbortPolicy, CancellationStatus, FORCE_ANNOTATION, FORCE_REQUESTED_BY_ANNOTATION,
        Operation as Object,
    },
    lifecycle::{messages::force, names::fingerprint},
};

use super::{AbortRequest, Operation};

/// A request to delete pods that `PodDisruptionBudgets` protect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForceRequest {
    /// What is written.
    pub written: String,
    /// Until when, or why that can't be accepted.
    pub until: Result<Timestamp, String>,
    /// Who asked, if the API server stamped it.
    pub requested_by: String,
    /// Identifies the same request when Belay sees it again.
    pub fingerprint: String,
}

impl Operation<'_> {
    /// Returns the request in its annotation.
    pub fn force_request(&self) -> Option<ForceRequest> {
        request(self.object)
    }

    /// Returns when its force ends by itself, if one is in effect.
    pub(super) fn force_ends_at(&self) -> Option<Timestamp> {
        self.status.force.as_ref()?.ends_at()
    }
}

fn request(operation: &Object) -> Option<ForceRequest> {
    let annotations = operation.metadata.annotations.as_ref()?;
    let written = annotations.get(FORCE_ANNOTATION)?;
    let by = annotations.get(FORCE_REQUESTED_BY_ANNOTATION);
    let name = operation.metadata.name.as_deref().unwrap_or_default();
    let until = written.parse::<Timestamp>();
    Some(ForceRequest {
        written: written.clone(),
        until: until.map_err(|_| force::no_time(name, written)),
        requested_by: by.cloned().unwrap_or_default(),
        fingerprint: fingerprint(written),
    })
}

/// Returns until when pods that a budget protects are deleted, by what the API server has stored. None if no force is
/// in effect, if somebody has changed or removed the annotation since, or if somebody asks to stop at once.
pub fn forced_until(operation: &Object) -> Option<Timestamp> {
    let status = operation.status.as_ref()?;
    let force = status.force.as_ref()?;
    let is_same = request(operation)
        .is_some_and(|it| Some(&it.fingerprint) == status.observed_force.as_ref());
    let asked = AbortRequest::by_annotation(operation).map(|abort| abort.policy);
    let accepted = status.cancellation.as_ref();
    let accepted = accepted.filter(|it| it.status == CancellationStatus::InProgress);
    let mut policies = asked.into_iter().chain(accepted.map(|it| it.policy));
    let stops = policies.any(|policy| policy == AbortPolicy::Now);
    force.ends_at().filter(|_| is_same && !stops)
}
