//! An Operation in the form of `az aks operation show`: the same fields with the same names.

use kube::ResourceExt as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{GROUP, Operation, TargetKind},
    cli::cluster::view::status,
};

/// An Operation's record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The path of the Operation at the API server.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The path of the target at the API server.
    pub resource_id: String,
    /// What the operation does.
    #[serde(rename = "type")]
    pub type_: Value,
    /// Its phase.
    pub status: Value,
    /// The progress in percent.
    pub percent_complete: i32,
    /// When it began, or null.
    pub start_time: Value,
    /// When it ended, or null.
    pub end_time: Value,
    /// Why it failed, or null.
    pub error: Value,
}

impl From<&Operation> for Record {
    fn from(operation: &Operation) -> Self {
        let status = status(operation);
        let namespace = operation.namespace().unwrap_or_default();
        let target = &operation.spec.target;
        let plural = match target.kind {
            TargetKind::ManagedCluster => "managedclusters",
            TargetKind::AgentPool => "agentpools",
        };
        let id = |plural: &str, name: &str| {
            format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{plural}/{name}")
        };
        Self {
            id: id("operations", &operation.name_any()),
            name: operation.name_any(),
            resource_id: id(plural, &target.name),
            type_: json!(operation.spec.type_),
            status: json!(status.phase),
            percent_complete: status.percent_complete,
            start_time: json!(status.start_time),
            end_time: json!(status.end_time),
            error: json!(status.error),
        }
    }
}
