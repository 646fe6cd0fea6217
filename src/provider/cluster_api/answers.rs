//! What the API server's answers mean for the engine.

use crate::{
    api::OperationError,
    provider::{
        engine::EngineError,
        nodes::passing,
        requests::{Failure, Passing},
    },
};

/// Returns what a failed request means for the engine.
pub fn failed(error: &kube::Error) -> EngineError {
    match error {
        // Somebody else wrote the object meanwhile: it is read again.
        kube::Error::Api(status) if status.code == 409 => {
            Failure::Passing(Passing::new("Conflict", &status.message))
        }
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
            Failure::Final(OperationError::new(&status.reason, &status.message))
        }
        // Also 404: Cluster API isn't installed, or is about to be.
        error => Failure::Passing(passing(error)),
    }
}

/// Returns the error for what Belay doesn't do with Cluster API. The message says what to do instead.
pub fn not_supported(message: String) -> EngineError {
    Failure::Final(OperationError::new("OperationNotSupported", message))
}
