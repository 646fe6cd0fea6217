//! A change of a pool's count by its scale subresource, as `kubectl scale` and autoscalers make it.
//!
//! Such a request carries nothing of the pool but its count, and a policy would have to look for the pool
//! among all of its namespace. A rule of the definition has the pool at hand, whose status tells why it
//! can't be scaled. It holds for every other door too, and where the policies aren't installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use crate::lifecycle::messages::OPERATION_NOT_ALLOWED;

/// The rule.
pub fn rule() -> ValidationRule {
    ValidationRule {
        rule: "self.spec.count == oldSelf.spec.count || !oldSelf.?status.?scaleRefusal.hasValue()"
            .to_owned(),
        message_expression: Some(format!(
            "\"({OPERATION_NOT_ALLOWED}) \" + oldSelf.status.scaleRefusal"
        )),
        reason: Some("FieldValueForbidden".to_owned()),
        field_path: Some(".spec.count".to_owned()),
        ..ValidationRule::default()
    }
}
