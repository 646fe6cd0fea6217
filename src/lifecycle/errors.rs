//! Errors that more than one layer gives.

use crate::{
    api::{Operation, OperationError, OperationType},
    lifecycle::messages::INVALID_PARAMETER,
};

/// The code of what a target, or its provider, can't do.
pub const NOT_SUPPORTED: &str = "OperationNotSupported";

/// The error of what can never be done.
pub fn invalid(message: String) -> OperationError {
    OperationError {
        code: INVALID_PARAMETER.into(),
        message,
        ..OperationError::default()
    }
}

/// The error of what needs a control plane.
pub fn no_control_plane() -> OperationError {
    OperationError {
        code: "ControlPlaneNotFound".into(),
        message: "the cluster has no control plane: bring it to its spec first, with an Operation of type Reconcile on the ManagedCluster".into(),
        ..OperationError::default()
    }
}

/// The error of an Operation whose target there isn't.
pub fn target_not_found(operation: &Operation) -> OperationError {
    let target = &operation.spec.target;
    OperationError {
        code: "NotFound".into(),
        message: format!(
            "{:?} {} does not exist in namespace {}: create it, or correct spec.target of a new Operation",
            target.kind,
            target.name,
            operation.metadata.namespace.as_deref().unwrap_or_default()
        ),
        ..OperationError::default()
    }
}

/// The error of an Operation on a pool whose cluster there isn't.
pub fn cluster_of_target_not_found(operation: &Operation, cluster: &str) -> OperationError {
    OperationError {
        code: "NotFound".into(),
        message: format!(
            "ManagedCluster {cluster} of AgentPool {} does not exist in namespace {}: create it, and then a new Operation",
            operation.spec.target.name,
            operation.metadata.namespace.as_deref().unwrap_or_default()
        ),
        ..OperationError::default()
    }
}

/// The error of a type that doesn't fit its target.
pub fn unsupported(type_: OperationType, kind: &str) -> OperationError {
    OperationError {
        code: NOT_SUPPORTED.into(),
        message: format!(
            "an Operation of type {type_:?} can't be run on this {kind} as its spec is: use type Reconcile to bring it to its spec"
        ),
        ..OperationError::default()
    }
}
