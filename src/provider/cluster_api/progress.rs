//! How far a change is, and whether nothing moves any more.

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

/// How long a stop waits for Machines that come up or are being deleted. Otherwise, a Machine that never comes up, or
/// whose drain is blocked, would keep the abort from ending.
const REST: Duration = Duration::from_mins(1);

/// The Machines of a change, and their desired state.
struct Work<'a> {
    object: &'a DynamicObject,
    /// The status that counts its Machines.
    shown: &'a Value,
    /// Whether it shows the wanted version. For a pool, its Machines show that.
    has_version: bool,
    /// Whether Machines of another version are replaced.
    replaces: bool,
    machines: Vec<&'a DynamicObject>,
    wanted: Wanted,
}

/// Returns how far the change of a handle is.
pub fn state(found: &Found, handle: &Handle) -> Result<State, EngineError> {
    let Some(written) = handle.written(found)? else {
        // Somebody overwrote it. What is asked for now isn't this change.
        return Ok(State::Stopped);
    };
    if let Some(pool) = &handle.pool
        && found.deployment(pool).is_err()
        && found.entry_of(pool).is_some()
    {
        return Ok(State::Running(Running {
            message: "waiting until Cluster API has created the MachineDeployment".into(),
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

/// Returns how long ago a change was asked to stop, according to what is written of it. None if it wasn't.
fn waited(written: &str) -> Option<Duration> {
    let since = written.split('/').nth(1)?;
    let since: Timestamp = since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let waited = clock::now().duration_since(since);
    Some(waited.try_into().unwrap_or_default())
}

/// Returns whether there is still time to settle a stopped change: what it waits for may never come.
pub fn may_settle(found: &Found, handle: &Handle) -> Result<bool, EngineError> {
    let waited = handle
        .written(found)?
        .and_then(|written| self::waited(&written));
    Ok(waited.is_some_and(|waited| waited < 2 * REST))
}

/// Returns the state of a change that was stopped, but isn't settled yet.
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
    /// Returns whether all of it is done. For up to two seconds after a change that it hasn't seen, a
    /// `MachineDeployment` still says that it is done, so each Machine is checked as well.
    fn is_done(&self) -> bool {
        let mut counts = vec!["replicas", "readyReplicas", "availableReplicas"];
        counts.extend(self.replaces.then_some("upToDateReplicas"));
        // A roll-out that was stopped may have left one Machine more.
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

    /// Returns whether a Machine is in its desired state.
    fn has_come(&self, machine: &DynamicObject) -> bool {
        let is_new = self.wanted.has_version_of(machine);
        machine.metadata.deletion_timestamp.is_none()
            && kinds::is(machine, "Ready")
            && (!self.replaces || (is_new && kinds::is(machine, "UpToDate")))
    }

    /// Returns how many Machines are in their desired state.
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

    /// Returns the state of a change that was stopped, but whose Machines still move. What it shows last stays with its
    /// step.
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

/// Returns whether a Machine is coming up or being deleted.
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
