//! What the API server's answers mean for the engine.

use crate::{
    api::OperationError,
    provider::{
        engine::EngineError,
        nodes::passing,
        requests::{Failure, Passing},
    },
};

/// A request that failed.
pub fn failed(error: &kube::Error) -> EngineError {
    match error {
        // Written by somebody else meanwhile: it is read again.
        kube::Error::Api(status) if status.code == 409 => Failure::Passing(Passing {
            reason: "Conflict".into(),
            message: status.message.clone(),
            retry_after: None,
        }),
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
            Failure::Final(refusal(&status.reason, status.message.clone()))
        }
        // Also 404: Cluster API isn't installed, or is about to be.
        error => Failure::Passing(passing(error)),
    }
}

/// What Cluster API can't do.
pub fn refusal(code: &str, message: String) -> OperationError {
    OperationError {
        code: code.into(),
        message,
        ..OperationError::default()
    }
}

/// What Belay doesn't do by Cluster API, and what to do instead.
pub fn not_supported(message: String) -> EngineError {
    Failure::Final(refusal("OperationNotSupported", message))
}
