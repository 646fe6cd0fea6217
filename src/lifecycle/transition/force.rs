//! What a force does to an Operation's status: it is accepted or refused, it ends, and it records the pods that are
//! deleted. A pod is recorded before it is deleted, so that no crash can hide a deletion.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Force, ForceStatus, ForcedPod, OperationStatus},
    lifecycle::{
        errors::NOT_SUPPORTED,
        facts::{Facts, ForceRequest, Operation},
        messages::force,
        snapshot::Work,
        text::bounded,
    },
};

/// How long a force may be in effect.
const LONGEST: SignedDuration = SignedDuration::from_hours(force::LONGEST_HOURS);
/// How far the clocks of people and of the operator may differ before a force counts as shortened.
const SKEW: SignedDuration = SignedDuration::from_mins(1);
/// How many pods a status names.
const MOST_PODS: usize = 50;

/// Decides on the annotation of an Operation that hasn't ended.
pub(super) fn update(status: &mut OperationStatus, operation: &Operation<'_>, facts: &Facts<'_>) {
    let now = facts.now;
    match operation.force_request() {
        None => {
            status.observed_force = None;
            end(status, force::REMOVED, now);
        }
        Some(request) if status.observed_force.as_ref() != Some(&request.fingerprint) => {
            let instead = facts.snapshot.rules.instead_of_force();
            status.force = Some(decided(
                status.force.take(),
                &request,
                operation,
                instead,
                now,
            ));
            status.observed_force = Some(request.fingerprint);
        }
        Some(_) => {}
    }
    if let Some(until) = status.force.as_ref().and_then(Force::ends_at)
        && until <= now
    {
        end(status, force::TIME_IS_UP, until);
    }
}

/// Returns the force of a new request. It keeps the pods of the force before.
fn decided(
    before: Option<Force>,
    request: &ForceRequest,
    operation: &Operation<'_>,
    instead: Option<&str>,
    now: Timestamp,
) -> Force {
    let (pod_count, pods) = before.map(|it| (it.pod_count, it.pods)).unwrap_or_default();
    let asked = match (&request.until, instead) {
        (Err(why), _) => Err(why.clone()),
        (Ok(_), Some(instead)) => Err(format!("{NOT_SUPPORTED}: {instead}")),
        (Ok(until), None) if *until <= now => Err(force::is_over(operation.name, &request.written)),
        (Ok(until), None) => Ok(*until),
    };
    let latest = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
    let (status, until, message) = match asked {
        Err(why) => (ForceStatus::Refused, None, why),
        Ok(until) if until.duration_since(latest) > SKEW => {
            let message = force::shortened(&request.written, latest);
            (ForceStatus::InEffect, Some(latest), message)
        }
        Ok(until) => (
            ForceStatus::InEffect,
            Some(until.min(latest)),
            String::new(),
        ),
    };
    Force {
        status,
        until: until.map(Time),
        requested_by: bounded(&request.requested_by),
        accepted_at: until.map(|_| Time(now)),
        ended_at: None,
        message: bounded(&message),
        pod_count,
        pods,
    }
}

/// Records the pods that the work is about to delete by force. The work deletes none before it is stored here.
pub(super) fn record(status: &mut OperationStatus, work: Option<&Work>, now: Timestamp) {
    let Some(force) = status.force.as_mut().filter(|it| it.is_in_effect()) else {
        return;
    };
    let asked = work.map_or(&[][..], |work| &work.progress().forcing);
    let is_new = |pod: &&ForcedPod| force.pods.iter().all(|known| known.uid != pod.uid);
    let new: Vec<_> = asked.iter().filter(is_new).take(MOST_PODS).collect();
    force.pod_count = force
        .pod_count
        .saturating_add(i64::try_from(new.len()).unwrap_or(i64::MAX));
    let decided = new.into_iter().map(|pod| ForcedPod {
        decided_at: Some(Time(now)),
        ..pod.clone()
    });
    force.pods.extend(decided);
    let surplus = force.pods.len().saturating_sub(MOST_PODS);
    force.pods.drain(..surplus);
}

/// Ends the force, if one is in effect.
pub(super) fn end(status: &mut OperationStatus, why: &str, at: Timestamp) {
    if let Some(force) = status.force.as_mut().filter(|it| it.is_in_effect()) {
        force.status = ForceStatus::Ended;
        force.ended_at = Some(Time(at));
        why.clone_into(&mut force.message);
    }
}
