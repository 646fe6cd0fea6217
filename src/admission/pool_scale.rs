//! A change of a pool by its scale subresource, as `kubectl scale` and autoscalers make it.
//!
//! Such a request carries nothing of the pool but its count, so the pool is looked for: by a label, among the
//! few that can't be scaled now. Its status says why. (A rule of the definition would need no search. But it
//! would answer Invalid, for which Flux and `kubectl apply`, where they may use force, delete the pool
//! and make it anew.)

use crate::{api::SCALE_REFUSED_LABEL, lifecycle::messages::OPERATION_NOT_ALLOWED};

use super::{
    operator::is_operator,
    policy::{OURS, Params, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "belay-pool-scale",
        description: "Refuses a change of an AgentPool by its scale subresource while an operation is in flight that excludes it",
        operations: &[on::UPDATE],
        group: OURS,
        resources: &["agentpools/scale"],
        params: Some(Params {
            kind: "AgentPool",
            label: Some(SCALE_REFUSED_LABEL),
        }),
        skips: &[],
        condition: (
            "scales-the-pool",
            format!(
                "params.metadata.name == request.name && object.spec.?replicas.orValue(0) != params.spec.count && !({})",
                is_operator()
            ),
        ),
        variables: Vec::new(),
        refusals: vec![Refusal::new(
            OPERATION_NOT_ALLOWED,
            "params.?status.?scaleRefusal.hasValue()",
            "params.status.scaleRefusal",
        )],
        rights: Vec::new(),
    }
}
