//! What a status write costs the API server, by how it is written. Belay uses the cheapest way that meets its needs.

use std::time::Instant;

use belay::api::Operation;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testenv::Component;

use crate::{Size, floor, numbers, report::Report, stage::Stage};

const NAMESPACE: &str = "belay";

/// Measures this, with and without the admission policies.
pub async fn measure(report: &mut Report, size: Size) -> anyhow::Result<()> {
    for (with, stage) in [
        ("with policies", Stage::set().await?),
        ("without policies", Stage::without_policies().await?),
    ] {
        stage.namespace(NAMESPACE).await?;
        for way in [Way::Apply, Way::Merge, Way::Replace] {
            let name = format!("{way:?}").to_lowercase();
            floor::operation(&stage.client, NAMESPACE, &name).await?;
            let operations = Api::<Operation>::namespaced(stage.client.clone(), NAMESPACE);
            let server = stage.pid(Component::ApiServer)?;
            let rounds = size.rounds * 10;
            let (used, began) = (numbers::cpu(server)?, Instant::now());
            for round in 0..rounds {
                way.write(&operations, &name, &status(round)).await?;
            }
            let each = |time: std::time::Duration| {
                time.as_secs_f64() * 1_000.0 / f64::from(u32::try_from(rounds).unwrap_or(u32::MAX))
            };
            report.note(
                &format!("a status write by {way:?}, {with}"),
                format!("{:.2} ms", each(began.elapsed())),
                format!(
                    "CPU of the API server: {:.2} ms",
                    each(numbers::cpu(server)?.saturating_sub(used))
                ),
                None,
                None,
            );
        }
    }
    Ok(())
}

/// How the status is written.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With server-side apply.
    Apply,
    /// With a merge patch.
    Merge,
    /// With a JSON patch that replaces it.
    Replace,
}

impl Way {
    async fn write(
        self,
        operations: &Api<Operation>,
        name: &str,
        status: &Value,
    ) -> kube::Result<()> {
        let written = match self {
            Self::Apply => {
                let object = json!({"apiVersion": "belay.dev/v1alpha1", "kind": "Operation", "metadata": {"name": name}, "status": status});
                let params = PatchParams::apply("belay").force();
                operations
                    .patch_status(name, &params, &Patch::Apply(object))
                    .await?
            }
            Self::Merge => {
                let patch = Patch::Merge(json!({"status": status}));
                operations
                    .patch_status(name, &PatchParams::default(), &patch)
                    .await?
            }
            Self::Replace => {
                let replaced = json!([{"op": "add", "path": "/status", "value": status}]);
                let patch = Patch::<()>::Json(
                    serde_json::from_value(replaced).map_err(kube::Error::SerdeError)?,
                );
                operations
                    .patch_status(name, &PatchParams::default(), &patch)
                    .await?
            }
        };
        assert!(written.uid().is_some());
        Ok(())
    }
}

/// Returns a status like the one of an upgrade of ten nodes.
fn status(round: usize) -> Value {
    let steps: Vec<_> = (0..10)
        .map(|node| json!({"name": format!("node/demo-np1-{node}"), "action": "Replace", "phase": "InProgress", "message": format!("draining: {round} pods left")}))
        .collect();
    json!({"phase": "InProgress", "percentComplete": round % 100, "startTime": "2026-01-01T00:00:00Z", "steps": steps})
}
