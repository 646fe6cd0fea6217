//! The controllers of Cluster API.

use std::path::PathBuf;

use crate::{Error, binaries};

/// The module of the development provider; the other controllers are in Cluster API's own module.
const DEV_MODULE: &str = "sigs.k8s.io/cluster-api/test";

/// One of Cluster API's controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Clusters, their topology, Machines, `MachineSets` and `MachineDeployments`.
    Core,
    /// Turns a machine into a node with kubeadm.
    Bootstrap,
    /// Control planes with kubeadm.
    ControlPlane,
    /// The development provider: machines in memory.
    Dev,
}

/// How often the controllers reconcile an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Immediately after each change: a single Cluster comes up in half the time. With many Clusters this causes many
    /// conflicts.
    AtOnce,
    /// At most once a second, as a release does.
    AsReleased,
}

impl Controller {
    /// All controllers, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::Core, Self::Bootstrap, Self::ControlPlane, Self::Dev];

    /// Returns the name of its binary and of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Core => "cluster-api-core",
            Self::Bootstrap => "cluster-api-bootstrap",
            Self::ControlPlane => "cluster-api-control-plane",
            Self::Dev => "cluster-api-dev",
        }
    }

    /// Returns the namespace and the name of its service account.
    pub fn account(self) -> (&'static str, &'static str) {
        match self {
            Self::Core => ("capi-system", "capi-manager"),
            Self::Bootstrap => (
                "capi-kubeadm-bootstrap-system",
                "capi-kubeadm-bootstrap-manager",
            ),
            Self::ControlPlane => (
                "capi-kubeadm-control-plane-system",
                "capi-kubeadm-control-plane-manager",
            ),
            Self::Dev => ("capd-system", "capd-manager"),
        }
    }

    /// Returns the feature gates, including whether an object is reconciled at most once a second.
    pub(super) fn feature_gates(self, pace: Pace) -> String {
        let gates = match self {
            Self::Core => "ClusterTopology=true,RuntimeSDK=false,MachinePool=true",
            Self::Bootstrap => "MachinePool=true",
            Self::ControlPlane | Self::Dev => "ClusterTopology=true,MachinePool=true",
        };
        let is_limited = pace == Pace::AsReleased;
        format!("{gates},ReconcilerRateLimiting={is_limited}")
    }

    /// Returns the folder with the kustomization of its manifests.
    pub(super) fn manifests(self) -> Result<PathBuf, Error> {
        let (module, folder) = match self {
            Self::Core => (None, "core"),
            Self::Bootstrap => (None, "bootstrap/kubeadm"),
            Self::ControlPlane => (None, "controlplane/kubeadm"),
            Self::Dev => (Some(DEV_MODULE), "infrastructure/docker"),
        };
        let module = binaries::cluster_api_folder(module)?;
        Ok(module.join(folder).join("config/default"))
    }
}
