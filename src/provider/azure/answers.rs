//! What Azure's refusals mean.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    api::OperationError,
    provider::{
        engine::EngineError,
        requests::{Failure, Passing},
    },
};

/// The code of AKS's answer while another operation is in progress.
/// Source: Microsoft Learn, "Troubleshoot the OperationNotAllowed error".
pub const OTHER_IN_PROGRESS: &str = "OperationNotAllowed";

/// Returns what a refusal means. Azure writes the code and the message of an error in the body, some services one level
/// deeper.
pub fn refused(status: StatusCode, retry_after: Option<Duration>, body: &Value) -> EngineError {
    let text = |field: &str| {
        let inner = body["error"][field].as_str();
        inner.or(body[field].as_str()).map(ToOwned::to_owned)
    };
    let code = text("code").unwrap_or_else(|| {
        let name = status.canonical_reason().unwrap_or("Refused");
        name.replace(' ', "")
    });
    let message = text("message").unwrap_or_else(|| format!("Azure answered {status}"));
    let passes = match status {
        StatusCode::BAD_REQUEST => code == OTHER_IN_PROGRESS && is_about_another(&message),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => false,
        // Somebody may grant rights, tokens are renewed, others' operations end, quotas of requests refill, servers
        // come back.
        _ => true,
    };
    if passes {
        let reason = match status {
            StatusCode::TOO_MANY_REQUESTS => "Throttled".into(),
            StatusCode::PRECONDITION_FAILED => "Conflict".into(),
            _ => code,
        };
        return Failure::Passing(Passing {
            reason,
            message,
            retry_after,
        });
    }
    Failure::Final(OperationError::new(code, message))
}

/// Returns whether another operation is in progress. AKS uses the same code for what is never allowed, and for what
/// isn't allowed yet.
fn is_about_another(message: &str) -> bool {
    message.contains("in progress")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn temporary_errors_are_retried_and_others_are_final() {
        let another = "Operation is not allowed: Another operation (np1 - Scaling) is in progress";
        for (status, code, message, passes) in [
            (
                409,
                "OperationNotAllowed",
                another,
                Some("OperationNotAllowed"),
            ),
            (
                400,
                "OperationNotAllowed",
                another,
                Some("OperationNotAllowed"),
            ),
            (
                400,
                "OperationNotAllowed",
                "Stopping a System node pool is not allowed.",
                None,
            ),
            (400, "InsufficientVCPUQuota", "no quota", None),
            (
                401,
                "ExpiredAuthenticationToken",
                "",
                Some("ExpiredAuthenticationToken"),
            ),
            (403, "AuthorizationFailed", "", Some("AuthorizationFailed")),
            (412, "PreconditionFailed", "", Some("Conflict")),
            (429, "TooManyRequests", "", Some("Throttled")),
            (503, "ServerTimeout", "", Some("ServerTimeout")),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let body = json!({"error": {"code": code, "message": message}});
            let passing = match refused(status, None, &body) {
                Failure::Passing(passing) => Some(passing.reason),
                Failure::Final(error) => {
                    assert_eq!(error.code, code);
                    None
                }
            };
            assert_eq!(passing.as_deref(), passes, "{status} {code}");
        }
    }
}
