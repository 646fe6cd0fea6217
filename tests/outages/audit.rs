//! The API server's audit log: who wrote what, and when.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use serde_json::Value;
use testenv::{Component, ControlPlane};

use super::world::World;

/// Logs only the writes to objects that Belay writes, because kwok and the controllers write many others.
const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
  {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "resources": [
    {"group": "belay.dev"}, {"group": "", "resources": ["nodes", "pods/eviction"]}, {"group": "coordination.k8s.io"}]},
  {"level": "None"}]}"#;

/// The path of the log.
static LOG: OnceLock<PathBuf> = OnceLock::new();

/// Starts the control plane that all tests share, with its audit log in this folder.
pub async fn world(folder: &Path) -> Arc<World> {
    let policy = folder.join("policy.json");
    fs::write(&policy, POLICY).expect("written");
    let log = LOG.get_or_init(|| folder.join("log"));
    let args = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
    ];
    let builder = args
        .into_iter()
        .fold(ControlPlane::builder(), |builder, arg| {
            builder.arg(Component::ApiServer, arg)
        });
    World::start_on(builder).await
}

/// A write that reached the API server.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: Timestamp,
    pub code: u64,
}

/// Returns the writes of a user that the shared API server has answered, in order.
pub fn writes_of(user: &str) -> Vec<Write> {
    let log = LOG.get().expect("the log");
    let log = fs::read_to_string(log).expect("the log");
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.filter_map(|line| write(&line, user)).collect()
}

fn write(line: &Value, user: &str) -> Option<Write> {
    let by = line["impersonatedUser"]["username"].as_str()?;
    let time = line["requestReceivedTimestamp"].as_str()?;
    (by == user).then(|| Write {
        at: time.parse().expect("a time"),
        code: line["responseStatus"]["code"].as_u64().unwrap_or_default(),
    })
}
