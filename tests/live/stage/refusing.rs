//! Policies that make the API server refuse some changes, for a time.

use kube::ResourceExt as _;
use serde_json::json;

use super::belay::Belay;

impl Belay {
    /// Makes the API server refuse a verb on the namespace's nodes, as if a permission were missing.
    pub async fn refuse_node_changes(&self, verb: &str) {
        let namespace = &self.namespace;
        let object = if verb == "DELETE" {
            "oldObject"
        } else {
            "object"
        };
        let label = format!("{object}.metadata.labels[?'belay.dev/namespace']");
        let ours = format!("{label}.orValue('') == '{namespace}'");
        let node = self.nodes().await[0].name_any();
        let probe = if verb == "DELETE" {
            vec!["delete", "node", &node, "--dry-run=server"]
        } else {
            vec!["annotate", "node", &node, "probe=yes", "--dry-run=server"]
        };
        self.refuse("nodes", verb, &ours, "false", &probe).await;
    }

    /// Makes the API server refuse the end of a change of the control plane. Until the refusals stop, the change stays
    /// in progress.
    pub async fn refuse_end_of_control_plane_change(&self) {
        let namespace = &self.namespace;
        let ours = format!("request.namespace == '{namespace}' && request.name == 'demo'");
        let still_changes = "has(object.spec.changingTo) || has(object.spec.operation)";
        let record = "kwokcontrolplane/demo";
        let probe = ["annotate", record, "probe=yes", "--dry-run=server"];
        self.refuse("kwokcontrolplanes", "UPDATE", &ours, still_changes, &probe)
            .await;
    }

    /// Makes the API server refuse every change of a pool and of its status.
    pub async fn refuse_changes_of_pool(&self, pool: &str) {
        let namespace = &self.namespace;
        let ours = format!("request.namespace == '{namespace}' && request.name == '{pool}'");
        let of_pool = format!("agentpool/{pool}");
        let probe = ["annotate", &of_pool, "probe=yes", "--dry-run=server"];
        self.refuse(
            "*/*",
            "UPDATE",
            &ours,
            "request.resource.resource != 'agentpools'",
            &probe,
        )
        .await;
    }

    /// Makes the API server refuse every change of the namespace's Operations and their statuses. `name` is an existing
    /// Operation.
    pub async fn refuse_changes_of_operations(&self, name: &str) {
        let namespace = &self.namespace;
        let ours = format!("has(request.namespace) && request.namespace == '{namespace}'");
        let operation = format!("operation/{name}");
        let probe = ["annotate", &operation, "probe=yes", "--dry-run=server"];
        let allowed_if = "request.resource.resource != 'operations'";
        self.refuse("*/*", "UPDATE", &ours, allowed_if, &probe)
            .await;
    }

    /// Makes the API server refuse every change of one Operation and of its status.
    pub async fn refuse_changes_of_operation(&self, name: &str) {
        let namespace = &self.namespace;
        let ours = format!("request.namespace == '{namespace}' && request.name == '{name}'");
        let operation = format!("operation/{name}");
        let try_it = ["annotate", &operation, "tried=yes", "--dry-run=server"];
        let but = "request.resource.resource != 'operations'";
        self.refuse("*/*", "UPDATE", &ours, but, &try_it).await;
    }

    /// Makes the API server refuse changes of a pool that doesn't exist yet, but not of its status. The test checks on
    /// the pool `other` that this is in effect.
    pub async fn refuse_metadata_of_pool(&self, pool: &str, other: &str) {
        let namespace = &self.namespace;
        let ours = format!(
            "request.namespace == '{namespace}' && request.resource.resource == 'agentpools'"
        );
        let of_other = format!("agentpool/{other}");
        let probe = [
            "annotate",
            &of_other,
            "belay.dev/probe=yes",
            "--dry-run=server",
        ];
        let allowed_if = format!(
            "request.name != '{pool}' && !('belay.dev/probe' in object.metadata.?annotations.orValue({{}}))"
        );
        self.refuse("agentpools", "UPDATE", &ours, &allowed_if, &probe)
            .await;
    }

    /// Makes the API server refuse a verb on objects that match `ours`, unless `allowed_if` is true. Waits until the
    /// refusal of `probe` shows that this is in effect.
    async fn refuse(
        &self,
        resource: &str,
        verb: &str,
        ours: &str,
        allowed_if: &str,
        probe: &[&str],
    ) {
        let name = format!("refuse-{}", self.namespace);
        let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": [verb], "resources": [resource]});
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [{"name": "ours", "expression": ours}],
                "validations": [{"expression": allowed_if, "message": "not now", "reason": "Forbidden"}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        self.apply(&policy);
        self.apply(&binding);
        self.eventually(&format!("changes of {resource} are refused"), || async {
            let tried = self.try_kubectl(probe);
            tried.is_err_and(|error| error.contains("not now"))
        })
        .await;
    }

    /// Ends the refusals that this test started.
    pub fn stop_refusing(&self) {
        let name = format!("refuse-{}", self.namespace);
        let binding = ["delete", "validatingadmissionpolicybinding", &name];
        self.kubectl(&[&binding[..], &["--ignore-not-found"]].concat());
    }
}
