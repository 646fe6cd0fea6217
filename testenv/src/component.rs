//! The parts of a control plane.

/// A part of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Runs Deployments, garbage collection, `PodDisruptionBudgets`, nodes and the rest.
    ControllerManager,
    /// Assigns pods to nodes.
    Scheduler,
    /// Simulates nodes and their pods.
    Kwok,
}

impl Component {
    /// All parts, in the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kwok,
    ];

    /// Returns the name of its binary and of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }
}
