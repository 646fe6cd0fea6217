//! What the refusals of EKS mean.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};

use crate::{
    api::OperationError,
    provider::{
        adopted::credentials::words_of,
        engine::EngineError,
        requests::{Failure, Passing},
    },
};

/// The code of an answer that isn't AWS's own, such as a proxy's.
const UNNAMED: &str = "Refused";

/// The reason if no credentials were found, or if their provider doesn't answer.
pub const NO_CREDENTIALS: &str = "NoCredentials";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Whether the cluster, nodegroup or update doesn't exist.
    pub is_missing: bool,
    /// Whether AWS doesn't know the credentials, or no longer accepts them.
    pub is_about_credentials: bool,
    /// What that means for the engine.
    pub error: EngineError,
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self {
            is_missing: false,
            is_about_credentials: false,
            error,
        }
    }
}

impl<E> From<SdkError<E>> for Refused
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let SdkError::ServiceError(answer) = &error else {
            let words = words_of(&error);
            let is_about_credentials = has_no_credentials(&error);
            let reason = if is_about_credentials {
                NO_CREDENTIALS
            } else {
                "Unreachable"
            };
            return Self {
                is_missing: false,
                is_about_credentials,
                error: Failure::Passing(Passing::new(reason, words)),
            };
        };
        let status = answer.raw().status().as_u16();
        let (code, message) = (answer.err().code(), answer.err().message());
        Self {
            is_missing: code == Some("ResourceNotFoundException"),
            is_about_credentials: matches!(status, 401 | 403),
            error: refusal(status, code, message),
        }
    }
}

/// Returns whether nobody provided credentials.
fn has_no_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| cause.downcast_ref::<CredentialsError>().is_some())
}

/// Returns what a refusal means, by its status, its code and its message.
fn refusal(status: u16, code: Option<&str>, message: Option<&str>) -> EngineError {
    let message = message.map_or_else(|| format!("AWS answered {status}"), ToOwned::to_owned);
    let code = code.unwrap_or(UNNAMED);
    let is_busy = || {
        let about_another = ["in progress", "not in Active", "not ACTIVE"];
        about_another.iter().any(|part| message.contains(part))
    };
    let passes = match code {
        "InvalidRequestException" => is_busy(),
        "ResourceInUseException" => true,
        _ if code.contains("Throttl") || code == "TooManyRequestsException" => {
            return Failure::Passing(Passing::new("Throttled", message));
        }
        // Somebody may grant rights or renew credentials, and servers may come back.
        _ => matches!(status, 401 | 403 | 408 | 429 | 500..) || code == UNNAMED,
    };
    if passes {
        Failure::Passing(Passing::new(code, message))
    } else {
        Failure::Final(OperationError::new(code, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_errors_are_retried_and_others_are_final() {
        let inactive = "Nodegroup cannot be updated as it is currently not in Active State";
        for (status, code, message, passes) in [
            (
                409,
                "ResourceInUseException",
                "",
                Some("ResourceInUseException"),
            ),
            (429, "ThrottlingException", "", Some("Throttled")),
            (400, "Throttling", "", Some("Throttled")),
            (
                403,
                "ExpiredTokenException",
                "",
                Some("ExpiredTokenException"),
            ),
            (
                403,
                "AccessDeniedException",
                "",
                Some("AccessDeniedException"),
            ),
            (
                503,
                "ServiceUnavailableException",
                "",
                Some("ServiceUnavailableException"),
            ),
            (500, "ServerException", "", Some("ServerException")),
            (
                400,
                "InvalidRequestException",
                inactive,
                Some("InvalidRequestException"),
            ),
            (
                400,
                "InvalidRequestException",
                "it can't be cancelled",
                None,
            ),
            (400, "InvalidParameterException", "", None),
            (400, "InvalidStateException", "", None),
            (400, "ResourceLimitExceededException", "", None),
            (404, "ResourceNotFoundException", "", None),
        ] {
            let passing = match refusal(status, Some(code), Some(message)) {
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
