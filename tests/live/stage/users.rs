//! Users with certain rights, and what they do.

use serde_json::{Value, json};

use super::belay::Belay;

impl Belay {
    /// Grants a user a role in the namespace.
    pub fn grant(&self, user: &str, role: &str) {
        let name = format!("{user}-{role}");
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={user}"));
        self.kubectl(&["create", "rolebinding", &name, &role, &user]);
    }

    /// Runs kubectl as a user.
    pub fn try_as(&self, user: &str, args: &[&str]) -> Result<String, String> {
        self.try_kubectl(&[&["--as", user], args].concat())
    }

    /// Grants a user verbs on resources in the namespace. Each rule has the form `VERBS on RESOURCES`.
    pub fn allow(&self, user: &str, rules: &[&str]) {
        for (nth, rule) in rules.iter().enumerate() {
            let (verbs, resources) = rule.split_once(" on ").expect("verbs on resources");
            let resources = resources.split(',').map(|resource| {
                let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
                let sub = if sub.is_empty() {
                    ""
                } else {
                    &format!("/{sub}")
                };
                format!("{resource}.belay.dev{sub}")
            });
            let resources = resources.collect::<Vec<_>>().join(",");
            let name = format!("{user}-{nth}");
            let (verbs, resources) = (format!("--verb={verbs}"), format!("--resource={resources}"));
            self.kubectl(&["create", "role", &name, &verbs, &resources]);
            let (role, user) = (format!("--role={name}"), format!("--user={user}"));
            self.kubectl(&["create", "rolebinding", &name, &role, &user]);
        }
    }

    /// Creates the objects of a manifest as a user.
    pub fn create_as(&self, user: &str, manifest: &str) -> Result<String, String> {
        let user = format!("--as={user}");
        let create = ["-n", &self.namespace, &user, "create"];
        self.world.kubectl_with(&create, manifest)
    }

    /// Changes the spec of an object as a user.
    pub fn patch_as(&self, user: &str, what: &str, spec: &Value) -> Result<String, String> {
        let patch = json!({"spec": spec}).to_string();
        self.try_as(user, &["patch", what, "--type=merge", "-p", &patch])
    }
}
