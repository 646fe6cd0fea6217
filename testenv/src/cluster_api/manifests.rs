//! The controllers' manifests, adapted to processes: the manifests of the release, without the parts that need a
//! container or cert-manager, and with webhooks that the API server reaches by address.

use std::{process::Command, thread};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Controller;
use crate::{Error, binaries, process, tried};

/// Kinds that only controllers in pods need.
const LEFT_OUT: [&str; 4] = ["Deployment", "Service", "Certificate", "Issuer"];
/// Kinds that other objects need first.
const ORDER: [&str; 4] = ["Namespace", "ServiceAccount", "ClusterRole", "Role"];
/// The annotation that makes cert-manager fill in a certificate.
const INJECT: &str = "cert-manager.io/inject-ca-from";

/// The manifests of all controllers.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub kinds: Vec<Value>,
    /// Namespaces, service accounts, and their rights.
    pub accounts: Vec<Value>,
    pub webhooks: Vec<Value>,
}

impl Manifests {
    /// Reads the manifests of controllers. `ports` has the port of each controller's webhooks; `authority` (PEM) issued
    /// their certificates.
    pub fn read(ports: &[(Controller, u16)], authority: &str) -> Result<Self, Error> {
        let bundle = STANDARD.encode(authority);
        // kustomize takes some seconds for each.
        let built: Result<Vec<_>, Error> = thread::scope(|scope| {
            let threads: Vec<_> = ports
                .iter()
                .map(|(controller, _)| scope.spawn(|| build(*controller)))
                .collect();
            let results = threads.into_iter().map(thread::ScopedJoinHandle::join);
            results.map(|result| result.expect("no panic")).collect()
        });
        let mut this = Self::default();
        for ((_, port), objects) in ports.iter().zip(built?) {
            for object in objects {
                this.add(object, *port, &bundle);
            }
        }
        this.accounts.sort_by_key(|object| {
            let place = ORDER.iter().position(|kind| object["kind"] == **kind);
            place.unwrap_or(ORDER.len())
        });
        Ok(this)
    }

    fn add(&mut self, mut object: Value, port: u16, bundle: &str) {
        let annotations = object.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(INJECT);
        }
        let kind = object["kind"].as_str().unwrap_or_default();
        if LEFT_OUT.contains(&kind) {
            return;
        }
        if kind == "CustomResourceDefinition" {
            if let Some(config) = object.pointer_mut("/spec/conversion/webhook/clientConfig") {
                find_by_address(config, port, bundle);
            }
            self.kinds.push(object);
        } else if kind.ends_with("WebhookConfiguration") {
            for webhook in object["webhooks"].as_array_mut().into_iter().flatten() {
                find_by_address(&mut webhook["clientConfig"], port, bundle);
            }
            self.webhooks.push(object);
        } else {
            self.accounts.push(object);
        }
    }
}

/// Replaces the service of a webhook by its address, because no Service leads to a process.
fn find_by_address(config: &mut Value, port: u16, bundle: &str) {
    let path = config["service"]["path"].as_str().unwrap_or("/");
    let url = format!("https://127.0.0.1:{port}{path}");
    *config = json!({"url": url, "caBundle": bundle});
}

/// Returns a controller's manifests as they are released.
fn build(controller: Controller) -> Result<Vec<Value>, Error> {
    let mut kubectl = Command::new(binaries::binary("kubectl")?);
    let text = process::output(kubectl.arg("kustomize").arg(controller.manifests()?))?;
    let what = format!("failed to read the manifests of {}", controller.name());
    tried(
        what,
        serde_saphyr::from_multiple(&text).map_err(std::io::Error::other),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(object: Value) -> Manifests {
        let mut manifests = Manifests::default();
        manifests.add(object, 4000, "Q0E=");
        manifests
    }

    #[test]
    fn a_kind_is_converted_by_address() {
        let service = json!({"name": "webhook", "namespace": "capi-system", "path": "/convert"});
        let config = json!({"clientConfig": {"service": service}});
        let manifests = added(json!({
            "kind": "CustomResourceDefinition",
            "metadata": {"annotations": {INJECT: "capi-system/cert", "kept": "yes"}},
            "spec": {"conversion": {"strategy": "Webhook", "webhook": config}},
        }));
        let config = json!({"url": "https://127.0.0.1:4000/convert", "caBundle": "Q0E="});
        let kind = json!({
            "kind": "CustomResourceDefinition",
            "metadata": {"annotations": {"kept": "yes"}},
            "spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": config}}},
        });
        assert_eq!(manifests.kinds, [kind]);
    }

    #[test]
    fn each_webhook_is_found_by_address() {
        let webhook = |path| json!({"clientConfig": {"service": {"path": path}}});
        let manifests = added(json!({
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {},
            "webhooks": [webhook("/a"), webhook("/b")],
        }));
        let url = |index| &manifests.webhooks[0]["webhooks"][index]["clientConfig"]["url"];
        assert_eq!(url(0), "https://127.0.0.1:4000/a");
        assert_eq!(url(1), "https://127.0.0.1:4000/b");
    }

    #[test]
    fn a_role_stays_as_it_is() {
        let role =
            json!({"kind": "ClusterRole", "metadata": {"name": "capi-manager-role"}, "rules": []});
        assert_eq!(added(role.clone()).accounts, [role]);
    }

    #[test]
    fn what_needs_a_container_is_left_out() {
        for kind in LEFT_OUT {
            let manifests = added(json!({"kind": kind, "metadata": {}}));
            assert!(manifests.accounts.is_empty(), "{kind}");
        }
    }
}
