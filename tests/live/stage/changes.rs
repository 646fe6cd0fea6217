//! Requests for changes, in each way that users can make them, and the answers of admission.

use belay::api::OperationType;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::belay::Belay;

/// Returns the message of a refusal, from Belay's code on. The reason must be Forbidden and never Invalid: on Invalid,
/// tools that apply by force delete the object.
pub fn refusal_message(result: Result<String, String>) -> String {
    let shown = result.expect_err("it is refused");
    assert!(shown.contains("Error from server (Forbidden): "), "{shown}");
    let (_, message) = shown.split_once(" denied request: ").expect(&shown);
    message.trim_end().to_owned()
}

/// Returns the text before an elapsed time, which must be less than an hour.
pub fn without_elapsed(message: &str, days: &str) -> String {
    let (start, elapsed) = message
        .split_once(" and elapsed time is: '")
        .unwrap_or_else(|| panic!("no elapsed time: {message}"));
    let minutes = elapsed
        .strip_prefix(days)
        .and_then(|elapsed| elapsed.strip_prefix("00:"))
        .unwrap_or_else(|| panic!("no minutes: {elapsed}"));
    let minutes = minutes.strip_suffix("' (RFC3339 format)").expect(elapsed);
    let (minutes, seconds) = minutes.split_once(':').expect(elapsed);
    let is_valid = |part: &str| part.len() == 2 && part.parse::<u8>().is_ok_and(|part| part < 60);
    assert!(is_valid(minutes) && is_valid(seconds), "{elapsed}");
    start.to_owned()
}

/// Returns the end of a refusal because of an operation in flight.
pub fn wait_or_abort(operation: &str) -> String {
    format!(
        "please wait for it to finish before starting a new operation, or abort it: kubectl annotate operation {operation} belay.dev/abort=<reason>"
    )
}

/// Returns the manifest of an Operation as users write it. `on` in its spec is the name of the target.
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

    /// Creates an Operation that admission refuses. Returns the message of the refusal.
    pub fn refusal_of(&self, spec: Value) -> String {
        refusal_message(self.create(&operation("refused", spec)))
    }

    pub fn patch(&self, what: &str, spec: &Value) -> Result<String, String> {
        let patch = json!({"spec": spec}).to_string();
        self.try_kubectl(&["patch", what, "--type=merge", "-p", &patch])
    }

    /// Requests the same change in every way that users can. Returns the message of each refusal.
    pub fn refusals_of_change(&self, kind: &str, name: &str, spec: &Value) -> Vec<String> {
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
        // If Belay writes the status in the meantime, there is a conflict, and users try again.
        let replaced = || loop {
            let answer = with(&["replace"], &whole);
            if !matches!(&answer, Err(why) if why.contains("(Conflict)")) {
                return answer;
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
        .map(refusal_message)
        .to_vec()
    }

    /// Creates a Ready cluster whose upgrade is blocked by a disruption budget. Returns the upgrade's name.
    pub async fn blocked_upgrade(&self) -> String {
        self.blocked_upgrade_of(2, 2).await
    }

    /// Does the same with a pool of this many nodes and this many pods. The budget allows no eviction.
    pub async fn blocked_upgrade_of(&self, nodes: usize, pods: usize) -> String {
        self.ready_cluster(50, nodes).await;
        self.create_workload(pods, pods).await;
        self.set_version("1.36.3").await;
        let upgrade = self.operation(OperationType::Upgrade, "demo").await;
        self.is_blocked(&upgrade).await;
        upgrade
    }

    /// Begins an upgrade of a Ready cluster, whose pool np1 first gets these upgrade settings. Returns its name.
    pub async fn upgrade_with(&self, settings: Value) -> String {
        self.set_pool("np1", json!({"upgradeSettings": settings}))
            .await;
        self.pool_is_ready("np1").await;
        self.lock_is_free().await;
        self.set_version("1.36.3").await;
        self.operation(OperationType::Upgrade, "demo").await
    }

    /// Creates a Ready cluster with pools np1 and np2, and a Scale of np1 that a disruption budget blocks. Returns its
    /// name.
    pub async fn blocked_scale(&self) -> String {
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

    pub async fn last_started(&self) -> Timestamp {
        let status = self.cluster().await.status.expect("a status");
        let last = status.last_operation.expect("a last operation");
        last.start_time.expect("a time").0
    }
}
