//! Errors that more than one layer returns.

use crate::{
    api::{Operation, OperationError, OperationTarget, OperationType},
    lifecycle::messages::INVALID_PARAMETER,
};

/// The code for an operation that a target or its provider can't do.
pub const NOT_SUPPORTED: &str = "OperationNotSupported";

/// Returns the error for something that can never be done.
pub fn invalid(message: String) -> OperationError {
    OperationError::new(INVALID_PARAMETER, message)
}

/// Returns the error for an operation that needs a control plane.
pub fn no_control_plane() -> OperationError {
    OperationError::new(
        "ControlPlaneNotFound",
        "the cluster has no control plane: first create an Operation of type Reconcile on the ManagedCluster",
    )
}

/// Returns the error for an Operation whose target doesn't exist.
pub fn target_not_found(operation: &Operation) -> OperationError {
    not_found(operation, &operation.spec.target)
}

/// Returns the error for an Operation that misses an object: its target, or the cluster of the pool that is its
/// target.
pub fn not_found(operation: &Operation, missing: &OperationTarget) -> OperationError {
    let target = &operation.spec.target;
    let namespace = operation.metadata.namespace.as_deref().unwrap_or_default();
    let (kind, name) = (missing.kind, &missing.name);
    let message = if missing == target {
        format!(
            "{kind:?} {name} does not exist in namespace {namespace}: create it, or create a new Operation with the right spec.target"
        )
    } else {
        format!(
            "{kind:?} {name} of {:?} {} does not exist in namespace {namespace}: create it, then create a new Operation",
            target.kind, target.name
        )
    };
    OperationError::new("NotFound", message)
}

/// Returns the error for a type that doesn't fit its target.
pub fn unsupported(type_: OperationType, kind: &str) -> OperationError {
    OperationError::new(
        NOT_SUPPORTED,
        format!(
            "an Operation of type {type_:?} doesn't fit the current spec of this {kind}: use type Reconcile to apply the spec"
        ),
    )
}
