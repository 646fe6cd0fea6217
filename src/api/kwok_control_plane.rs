//! [`KwokControlPlane`]: what the kwok provider stores about a cluster's control plane.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{KubernetesVersion, PowerState};

/// The control plane of a ManagedCluster of the provider kwok, with the same name. Only Belay writes this object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "belay.dev",
    version = "v1alpha1",
    kind = "KwokControlPlane",
    namespaced,
    category = "belay",
    derive = "PartialEq",
    doc = "The control plane of a ManagedCluster of the provider kwok, with the same name. Only Belay writes this object.",
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".spec.kubernetesVersion",
        description = "The Kubernetes version of the control plane"
    ),
    printcolumn(
        name = "Power",
        type_ = "string",
        json_path = ".spec.powerState",
        description = "Running or Stopped"
    ),
    printcolumn(
        name = "Changing To",
        type_ = "string",
        json_path = ".spec.changingTo",
        description = "The version that the control plane is being rolled back to"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KwokControlPlaneSpec {
    /// The version that it runs. Absent while it is being created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub kubernetes_version: Option<KubernetesVersion>,
    /// Whether it is turned on.
    #[serde(default)]
    pub power_state: PowerState,
    /// The version that it is going back to. Once this is set, the change can't be stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 5, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,5}[.][0-9]{1,5}[.][0-9]{1,5}$')").message("must be MAJOR.MINOR.PATCH, for example 1.36.3"))]
    pub changing_to: Option<KubernetesVersion>,
    /// The uid of the Operation that is changing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub operation: Option<String>,
}
