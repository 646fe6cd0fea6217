//! How far a change is, and whether it has come to rest.

use std::time::Duration;

use jiff::Timestamp;
use kube::{ResourceExt as _, core::DynamicObject};
use serde_json::Value;

use crate::{
    machinery::clock,
    provider::engine::{EngineError, Running, State},
};

use super::{
    blocked,
    found::{Found, Wanted},
    goal::STOPPED_BY,
    handle::Handle,
    kinds, look,
};

/// How long Machines that come up, or that go, are waited for after the stop. One that comes up no more, or whose
/// drain is blocked, would else keep the abort from its end for ever.
const REST: Duration = Duration::from_mins(1);

/// The Machines of a change, and what they are to be.
struct Work<'a> {
    object: &'a DynamicObject,
    /// Where it counts its Machines.
    shown: &'a Value,
    /// Whether it shows the version that is wanted. Of a pool, its Machines show that.
    has_version: bool,
    /// Whether Machines of another version are replaced.
    replaces: bool,
    machines: Vec<&'a DynamicObject>,
    wanted: Wanted,
}

/// How far the change of a handle is.
pub fn state(found: &Found, handle: &Handle) -> Result<State, EngineError> {
    let Some(written) = handle.written(found)? else {
        // Somebody wrote over it; what is asked for now isn't this change.
        return Ok(State::Stopped);
    };
    if let Some(pool) = &handle.pool
        && found.deployment(pool).is_err()
        && found.entry_of(pool).is_some()
    {
        return Ok(State::Running(Running {
            message: "waits until Cluster API has made its MachineDeployment".into(),
            blocked: blocked::of(found, found.cluster(), &[]),
            ..Running::default()
        }));
    }
    let work = work(found, handle)?;
    if let Some(waited) = waited(&written) {
        let moves = work.machines.iter().any(|machine| moves(machine));
        return Ok(if moves && waited < REST {
            work.stopping()
        } else {
            State::Stopped
        });
    }
    if work.is_done() {
        return Ok(State::Done);
    }
    Ok(State::Running(work.running(found)))
}

/// How long ago a change was asked to stop, by what is written of it.
fn waited(written: &str) -> Option<Duration> {
    let since = written.split('/').nth(1)?;
    let since: Timestamp = since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let waited = clock::now().duration_since(since);
    Some(waited.try_into().unwrap_or_default())
}

/// Whether a stopped change may be left to be settled: what it waits for may never come.
pub fn may_settle(found: &Found, handle: &Handle) -> Result<bool, EngineError> {
    let waited = handle
        .written(found)?
        .and_then(|written| self::waited(&written));
    Ok(waited.is_some_and(|waited| waited < 2 * REST))
}

/// The state of a change that was stopped, and isn't left as it is to be left.
pub fn settling(found: &Found, handle: &Handle) -> Result<State, EngineError> {
    Ok(work(found, handle)?.stopping())
}

fn work<'a>(found: &'a Found, handle: &Handle) -> Result<Work<'a>, EngineError> {
    let Some(pool) = &handle.pool else {
        let desired = kinds::count(found.cluster(), "/status/controlPlane/desiredReplicas");
        let machines = found.machines_of_control_plane();
        let runs = look::control_plane_version(found);
        return Ok(Work {
            replaces: true,
            shown: found.control_plane().map_or_else(
                || &found.cluster().data["status"]["controlPlane"],
                |control_plane| &control_plane.data["status"],
            ),
            has_version: runs.is_some() && runs == found.wanted_version(),
            object: found.control_plane().unwrap_or(found.cluster()),
            wanted: Wanted {
                version: found.wanted_version(),
                replicas: desired.unwrap_or(machines.len()),
            },
            machines,
        });
    };
    let deployment = found.deployment(pool)?;
    Ok(Work {
        replaces: handle.replaces,
        shown: &deployment.data["status"],
        has_version: true,
        object: deployment,
        wanted: found.wanted(deployment),
        machines: found.machines_of(deployment),
    })
}

impl Work<'_> {
    /// Whether all of it is there. A `MachineDeployment` says so for up to two seconds after a change that it hasn't
    /// seen, so each Machine is looked at as well.
    fn is_done(&self) -> bool {
        let mut counts = vec!["replicas", "readyReplicas", "availableReplicas"];
        counts.extend(self.replaces.then_some("upToDateReplicas"));
        // A roll-out that was stopped may have left one more.
        let is_paused = kinds::annotation(self.object, STOPPED_BY).is_some();
        let is_enough = |count: usize| {
            count == self.wanted.replicas || (is_paused && count > self.wanted.replicas)
        };
        let is_complete = counts.iter().all(|count| {
            let count = self.shown[count].as_u64().unwrap_or_default();
            usize::try_from(count).is_ok_and(is_enough)
        });
        is_complete
            && self.has_version
            && kinds::is_observed(self.object)
            && is_enough(self.machines.len())
            && self.machines.iter().all(|machine| self.has_come(machine))
    }

    /// Whether a Machine is as it is to be.
    fn has_come(&self, machine: &DynamicObject) -> bool {
        let is_new = self.wanted.has_version_of(machine);
        machine.metadata.deletion_timestamp.is_none()
            && kinds::is(machine, "Ready")
            && (!self.replaces || (is_new && kinds::is(machine, "UpToDate")))
    }

    /// How many Machines are as they are to be.
    fn come(&self) -> usize {
        let machines = self.machines.iter();
        machines.filter(|machine| self.has_come(machine)).count()
    }

    fn message(&self) -> String {
        let done = format!(
            "{} of {} Machines are done",
            self.come(),
            self.wanted.replicas
        );
        let moving = self.machines.iter().filter(|machine| moves(machine));
        let moving: Vec<_> = moving.map(|machine| described(machine)).collect();
        if moving.is_empty() {
            return done;
        }
        format!("{done}; {}", moving.join(", "))
    }

    /// A change that was stopped, and has not come to rest. What it shows last stays with its step.
    fn stopping(&self) -> State {
        State::Running(Running {
            message: self.message(),
            ..Running::default()
        })
    }

    fn running(&self, found: &Found) -> Running {
        let (come, wanted) = (self.come(), self.wanted.replicas);
        let surplus = self.machines.len().saturating_sub(wanted);
        let left = wanted.saturating_sub(come).max(surplus);
        Running {
            nodes_left: i32::try_from(left).ok(),
            message: self.message(),
            blocked: blocked::of(found, self.object, &self.machines),
            ..Running::default()
        }
    }
}

/// Whether a Machine comes up or goes.
fn moves(machine: &DynamicObject) -> bool {
    let phase = kinds::text(machine, "/status/phase").unwrap_or("Pending");
    machine.metadata.deletion_timestamp.is_some()
        || matches!(
            phase,
            "Pending" | "Provisioning" | "Provisioned" | "Deleting"
        )
}

fn described(machine: &DynamicObject) -> String {
    let phase = kinds::text(machine, "/status/phase").unwrap_or("Pending");
    format!("{} is {phase}", machine.name_any())
}
