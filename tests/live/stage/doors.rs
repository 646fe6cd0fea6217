//! The ways in which a change can come, and their answers.

use belay::api::OperationType;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::belay::Belay;

/// Returns what kubectl shows of a refusal, from the code on. It must be Forbidden and never Invalid: on Invalid, tools
/// that apply by force delete the object.
pub fn told(result: Result<String, String>) -> String {
    let shown = result.expect_err("it is refused");
    assert!(shown.contains("Error from server (Forbidden): "), "{shown}");
    let (_, told) = shown.split_once(" denied request: ").expect(&shown);
    told.trim_end().to_owned()
}

/// Returns the text before an elapsed time, which must be less than an hour.
pub fn without_elapsed(told: &str, days: &str) -> String {
    let (told, elapsed) = told
        .split_once(" and elapsed time is: '")
        .unwrap_or_else(|| panic!("an elapsed time: {told}"));
    let minutes = elapsed
        .strip_prefix(days)
        .and_then(|elapsed| elapsed.strip_prefix("00:"))
        .unwrap_or_else(|| panic!("some minutes: {elapsed}"));
    let minutes = minutes.strip_suffix("' (RFC3339 format)").expect(elapsed);
    let (minutes, seconds) = minutes.split_once(':').expect(elapsed);
    let is_one = |of: &str| of.len() == 2 && of.parse::<u8>().is_ok_and(|of| of < 60);
    assert!(is_one(minutes) && is_one(seconds), "{elapsed}");
    told.to_owned()
}

pub fn and_abort(operation: &str) -> String {
    format!(
        "please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {operation} belay.dev/abort=<reason>"
    )
}

/// Returns an Operation as a person writes it.
pub fn operation(name: &str, spec: Value) -> String {
    let mut spec = spec;
    let (kind, target) = if spec["on"] == "demo" {
        ("ManagedCluster", "demo".to_owned())
    } else {
        ("AgentPool", spec["on"].as_str().expect("a name").to_owned())
    };
    spec.as_object_mut().expect("a spec").remove("on");
    spec["target"] = json!({"kind": kind, "name": target});
    json!({
        "apiVersion": "belay.dev/v1alpha1", "kind": "Operation",
        "metadata": {"name": name}, "spec": spec,
    })
    .to_string()
}

impl Belay {
    pub fn create(&self, manifest: &str) -> Result<String, String> {
        let create = ["-n", &self.namespace, "create"];
        self.world.kubectl_with(&create, manifest)
    }

    /// Creates an Operation that is refused, and returns the refusal.
    pub fn ask(&self, spec: Value) -> String {
        told(self.create(&operation("refused", spec)))
    }

    pub fn patch(&self, what: &str, spec: &Value) -> Result<String, String> {
        let patch = json!({"spec": spec}).to_string();
        self.try_kubectl(&["patch", what, "--type=merge", "-p", &patch])
    }

    /// Makes the same change in every way, and returns each answer.
    pub fn through_every_door(&self, kind: &str, name: &str, spec: &Value) -> Vec<String> {
        let object = self.kubectl(&["get", kind, name, "-o", "json"]);
        let mut object: Value = serde_json::from_str(&object).expect("an object");
        for (field, value) in spec.as_object().expect("fields") {
            object["spec"][field] = value.clone();
        }
        object["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("resourceVersion");
        let whole = object.to_string();
        let metadata = json!({"name": name, "namespace": self.namespace});
        object["metadata"] = metadata;
        object.as_object_mut().expect("an object").remove("status");
        let applied = object.to_string();
        let namespace = ["-n", self.namespace.as_str()];
        let with = |args: &[&str], manifest: &str| {
            self.world
                .kubectl_with(&[&namespace, args].concat(), manifest)
        };
        // If the status is written in the meantime, there is a conflict; then people try again.
        let replaced = || loop {
            let told = with(&["replace"], &whole);
            if !matches!(&told, Err(why) if why.contains("(Conflict)")) {
                return told;
            }
        };
        let json_patch = |(field, value): (&String, &Value)| json!({"op": "replace", "path": format!("/spec/{field}"), "value": value});
        let fields = spec.as_object().expect("fields").iter();
        let patches = Value::from(fields.map(json_patch).collect::<Vec<_>>()).to_string();
        [
            self.patch(&format!("{kind}/{name}"), spec),
            self.try_kubectl(&["patch", kind, name, "--type=json", "-p", &patches]),
            replaced(),
            with(&["apply"], &applied),
            with(
                &[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--field-manager=gitops",
                ],
                &applied,
            ),
        ]
        .map(told)
        .to_vec()
    }

    /// Creates a Ready cluster whose upgrade is blocked by a disruption budget. Returns the upgrade's name.
    pub async fn upgrading(&self) -> String {
        self.upgrading_of(2, 2).await
    }

    /// The same, with a pool of this many nodes, and with this many pods, of which the budget lets none go.
    pub async fn upgrading_of(&self, nodes: usize, pods: usize) -> String {
        self.ready_cluster(50, nodes).await;
        self.create_workload(pods, pods).await;
        self.set_version("1.36.3").await;
        let upgrade = self.operation(OperationType::Upgrade, "demo").await;
        self.is_blocked(&upgrade).await;
        upgrade
    }

    /// Creates a Ready cluster with pools np1 and np2, and a Scale of np1 that a disruption budget blocks. Returns its
    /// name.
    pub async fn scaling(&self) -> String {
        self.ready_cluster(50, 2).await;
        self.create_pool("np2", 0).await;
        self.pool_is_ready("np2").await;
        self.create_workload(2, 2).await;
        self.lock_is_free().await;
        self.set_count("np1", 1).await;
        let scale = self.operation(OperationType::Scale, "np1").await;
        self.is_blocked(&scale).await;
        scale
    }

    pub async fn held_since(&self) -> Timestamp {
        let status = self.cluster().await.status.expect("a status");
        status.operations[0].start_time.clone().expect("a time").0
    }

    pub async fn last_began(&self) -> Timestamp {
        let status = self.cluster().await.status.expect("a status");
        let last = status.last_operation.expect("a last operation");
        last.start_time.expect("a time").0
    }
}
