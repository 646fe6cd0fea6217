//! Makes the kinds, accounts and webhooks known to the API server.

use std::{
    io::{Error as IoError, ErrorKind},
    path::Path,
    time::{Duration, Instant},
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};

use super::{Manifests, READY, write};
use crate::{ControlPlane, Error, process, tried};

/// Makes the kinds known, and the accounts, and waits until both can be used. Files are written into the folder.
pub(super) async fn kinds_and_accounts(
    control_plane: &ControlPlane,
    manifests: &Manifests,
    folder: &Path,
) -> Result<(), Error> {
    apply(control_plane, &manifests.kinds, &folder.join("kinds.json"))?;
    apply(
        control_plane,
        &manifests.accounts,
        &folder.join("accounts.json"),
    )?;
    let mut kubectl = control_plane.kubectl()?;
    let timeout = format!("--timeout={}s", READY.as_secs());
    process::output(kubectl.args([
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        &timeout,
    ]))?;
    wait_for_roles(control_plane, &manifests.accounts).await
}

/// Makes the webhooks known, and waits until the API server asks them.
pub(super) async fn webhooks(
    control_plane: &ControlPlane,
    manifests: &Manifests,
    folder: &Path,
) -> Result<(), Error> {
    // The API server learns of them in this order. The core's are last, and are what is waited for.
    let webhooks: Vec<_> = manifests.webhooks.iter().rev().cloned().collect();
    apply(control_plane, &webhooks, &folder.join("webhooks.json"))?;
    wait_for_webhooks(control_plane).await
}

fn apply(control_plane: &ControlPlane, objects: &[Value], file: &Path) -> Result<(), Error> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    write(file, &list.to_string())?;
    let mut kubectl = control_plane.kubectl()?;
    kubectl.args(["apply", "--server-side", "--force-conflicts", "-f"]);
    process::output(kubectl.arg(file)).map(drop)
}

/// Waits until the controller-manager has filled the roles that are made of others.
async fn wait_for_roles(control_plane: &ControlPlane, accounts: &[Value]) -> Result<(), Error> {
    let roles = Api::<ClusterRole>::all(control_plane.client().await?);
    let aggregated = accounts
        .iter()
        .filter(|it| it["aggregationRule"].is_object());
    let began = Instant::now();
    for name in aggregated.filter_map(|role| role["metadata"]["name"].as_str()) {
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

/// Waits until a machine is refused by the validating webhook, with the version that the mutating one gave it.
async fn wait_for_webhooks(control_plane: &ControlPlane) -> Result<(), Error> {
    let spec = json!({
        "clusterName": "probe",
        "version": "probe",
        "bootstrap": {"dataSecretName": "probe"},
        "infrastructureRef": {"apiGroup": "probe.example", "kind": "Probe", "name": "probe"},
    });
    let kind = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Machine");
    let resource = ApiResource::from_gvk(&kind);
    let client = control_plane.client().await?;
    let machines = Api::<DynamicObject>::default_namespaced_with(client, &resource);
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

/// Waits before the next try, and fails where it took too long.
async fn wait_a_little(began: Instant, what: String) -> Result<(), Error> {
    if began.elapsed() > READY {
        let late = IoError::from(ErrorKind::TimedOut);
        return tried(what, Err(late));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}
