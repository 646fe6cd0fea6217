//! The versions that a control plane and its nodegroups may change to.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{
    answers::Refusal,
    call::read,
    resources::{Id, Resources},
    update::{Change, Kind, Plan},
};

/// The platform of every control plane.
pub(super) const PLATFORM: &str = "eks.9";
/// How many minor versions nodes may be behind their control plane.
const BEHIND: u32 = 3;

/// Returns the newest node release of a version.
pub(super) fn newest_release(version: &str) -> String {
    format!("{version}.4-20251112")
}

/// Returns the minor version of a version such as `1.33`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfCluster {
    version: String,
    #[serde(default)]
    force: bool,
    rollback_config: Option<RollbackConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollbackConfig {
    timeout_minutes: Option<i64>,
}

impl RollbackConfig {
    fn is_valid(&self) -> bool {
        let minutes = self.timeout_minutes;
        minutes.is_none_or(|minutes| (120..=10_080).contains(&minutes))
    }
}

/// Returns what a control plane does when a request changes its version: one minor version up, or one back.
pub(super) fn of_cluster(resources: &Resources, id: &Id, body: &Value) -> Result<Plan, Refusal> {
    let asked: OfCluster = read(body)?;
    let (runs, version) = (resources.text(id, "version"), &asked.version);
    let (Some(from), Some(to)) = (minor(runs), minor(version)) else {
        let message = format!("unsupported Kubernetes version {version}");
        return Err(Refusal::parameter(message));
    };
    let kind = match i64::from(to) - i64::from(from) {
        1 => upgrade(resources, id, from, &asked)?,
        -1 => rollback(resources, id, to, &asked)?,
        _ => {
            let message =
                format!("Unsupported Kubernetes minor version update from {runs} to {version}");
            return Err(Refusal::parameter(message));
        }
    };
    Ok(Plan {
        kind,
        params: vec![
            ("Version", version.clone()),
            ("PlatformVersion", PLATFORM.to_owned()),
        ],
        change: Change::Version {
            version: version.clone(),
            release: None,
        },
    })
}

fn upgrade(resources: &Resources, id: &Id, from: u32, asked: &OfCluster) -> Result<Kind, Refusal> {
    if asked.rollback_config.is_some() {
        let message = "rollbackConfig is only valid for a version rollback";
        return Err(Refusal::parameter(message));
    }
    let old = nodegroups(resources, id, |minor| minor + BEHIND <= from);
    if !old.is_empty() {
        let runs = resources.text(id, "version");
        return Err(Refusal::parameter(format!(
            "Nodegroups {} must be updated to match cluster version {runs} before updating cluster version",
            old.join(", ")
        )));
    }
    Ok(Kind::VersionUpdate)
}

fn rollback(resources: &Resources, id: &Id, to: u32, asked: &OfCluster) -> Result<Kind, Refusal> {
    let config = asked.rollback_config.as_ref();
    if !config.is_none_or(RollbackConfig::is_valid) {
        let message = "timeoutMinutes must be between 120 and 10080";
        return Err(Refusal::parameter(message));
    }
    let new = nodegroups(resources, id, |minor| minor > to);
    if !new.is_empty() && !asked.force {
        let message = format!(
            "Rollback readiness insights of status ERROR block the rollback: nodegroups {} run a newer version than {}. Pass the force flag to override them.",
            new.join(", "),
            asked.version
        );
        let status = StatusCode::BAD_REQUEST;
        return Err(Refusal::new(status, "InvalidStateException", message));
    }
    Ok(Kind::VersionRollback)
}

/// Returns the names of a cluster's nodegroups whose minor version matches.
fn nodegroups<'a>(
    resources: &'a Resources,
    cluster: &'a Id,
    is_such: impl Fn(u32) -> bool,
) -> Vec<&'a str> {
    let all = resources.nodegroups_of(cluster);
    all.filter(|id| minor(resources.text(id, "version")).is_some_and(&is_such))
        .map(Id::name)
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfNodegroup {
    version: Option<String>,
    release_version: Option<String>,
    /// Whether to delete pods that can't be evicted. In this fake all pods can be evicted.
    #[serde(default, rename = "force")]
    _force: bool,
}

/// Returns what a nodegroup does when a request changes its version: to its control plane's version, to the version
/// before that, or to a newer release of its own version.
pub(super) fn of_nodegroup(resources: &Resources, id: &Id, body: &Value) -> Result<Plan, Refusal> {
    let asked: OfNodegroup = read(body)?;
    let control_plane = resources.text(&id.of_cluster(), "version");
    let own = resources.text(id, "version");
    let version = asked.version.unwrap_or_else(|| control_plane.to_owned());
    let behind = minor(control_plane).zip(minor(&version));
    let behind = behind.and_then(|(newest, asked)| newest.checked_sub(asked));
    if version != own && behind.is_none_or(|behind| behind > 1) {
        return Err(Refusal::parameter(format!(
            "Nodegroup Kubernetes version should be equal to Cluster kubernetes version {control_plane} or NodeGroup kubernetes version {own}"
        )));
    }
    let newest = newest_release(&version);
    let release = asked.release_version.unwrap_or(newest);
    if !release.starts_with(&format!("{version}.")) {
        return Err(Refusal::parameter(format!(
            "Requested release version {release} is not valid for kubernetes version {version}."
        )));
    }
    Ok(Plan {
        kind: Kind::VersionUpdate,
        params: vec![
            ("Version", version.clone()),
            ("ReleaseVersion", release.clone()),
        ],
        change: Change::Version {
            version,
            release: Some(release),
        },
    })
}
