//! Installs the kinds, accounts and webhooks on the API server.

use std::{
    io::{Error as IoError, ErrorKind},
    time::{Duration, Instant},
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Manifests, READY};
use crate::{Error, tried};

/// Installs the kinds and the accounts, and waits until both can be used.
pub(super) async fn kinds_and_accounts(
    client: &Client,
    manifests: &Manifests,
) -> Result<(), Error> {
    apply(client, &manifests.kinds).await?;
    apply(client, &manifests.accounts).await?;
    wait_for_kinds(client, &manifests.kinds).await?;
    wait_for_roles(client, &manifests.accounts).await
}

/// Installs the webhooks, and waits until the API server calls them.
pub(super) async fn webhooks(client: &Client, manifests: &Manifests) -> Result<(), Error> {
    // The API server sees them in this order. The core's webhooks come last, and `wait_for_webhooks` waits for them.
    let webhooks: Vec<_> = manifests.webhooks.iter().rev().cloned().collect();
    apply(client, &webhooks).await?;
    wait_for_webhooks(client).await
}

async fn apply(client: &Client, objects: &[Value]) -> Result<(), Error> {
    let by_force = PatchParams::apply("testenv").force();
    for object in objects {
        let patch = Patch::Apply(object);
        api(client, object)
            .patch(name(object), &by_force, &patch)
            .await?;
    }
    Ok(())
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = GroupVersionKind::gvk(group, version, &text(&object["kind"]));
    let resource = ApiResource::from_gvk(&kind);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Waits until the API server serves the kinds.
async fn wait_for_kinds(client: &Client, kinds: &[Value]) -> Result<(), Error> {
    let began = Instant::now();
    for kind in kinds {
        while !is_served(&api(client, kind).get(name(kind)).await?) {
            let what = format!("the API server doesn't serve {}", name(kind));
            wait_a_little(began, what).await?;
        }
    }
    Ok(())
}

fn is_served(kind: &DynamicObject) -> bool {
    let conditions = kind.data["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it["type"] == "Established" && it["status"] == "True")
}

/// Waits until the controller-manager has filled the aggregated roles.
async fn wait_for_roles(client: &Client, accounts: &[Value]) -> Result<(), Error> {
    let roles = Api::<ClusterRole>::all(client.clone());
    let aggregated = accounts
        .iter()
        .filter(|it| it["aggregationRule"].is_object());
    let began = Instant::now();
    for name in aggregated.map(name) {
        while roles
            .get(name)
            .await?
            .rules
            .is_none_or(|rules| rules.is_empty())
        {
            let what = format!("the controller-manager didn't fill the role {name}");
            wait_a_little(began, what).await?;
        }
    }
    Ok(())
}

/// Waits until the validating webhook refuses a Machine and shows the version that the mutating webhook set.
async fn wait_for_webhooks(client: &Client) -> Result<(), Error> {
    let spec = json!({
        "clusterName": "probe",
        "version": "probe",
        "bootstrap": {"dataSecretName": "probe"},
        "infrastructureRef": {"apiGroup": "probe.example", "kind": "Probe", "name": "probe"},
    });
    let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Machine");
    let resource = ApiResource::from_gvk(&kind);
    let machines = Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource);
    let machine = DynamicObject::new("probe", &resource).data(json!({"spec": spec}));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let began = Instant::now();
    loop {
        let what = match machines.create(&dry_run, &machine).await {
            Err(error) if error.to_string().contains("\"vprobe\"") => return Ok(()),
            Err(error) => error.to_string(),
            Ok(_) => "the API server didn't ask the webhooks".into(),
        };
        wait_a_little(began, what).await?;
    }
}

/// Waits before the next attempt, and fails if it took too long.
async fn wait_a_little(began: Instant, what: String) -> Result<(), Error> {
    if began.elapsed() > READY {
        let late = IoError::from(ErrorKind::TimedOut);
        return tried(what, Err(late));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}
