//! Changes of a pool by its scale subresource, as `kubectl scale` and autoscalers make them.
//!
//! Such a request contains only the pool's count, so the policy searches for the pool by a label, among the few pools
//! that can't be scaled now. The pool's status says why. (A rule of the custom resource definition would need no
//! search, but it would answer Invalid. On that answer, Flux and `kubectl apply` delete the pool and create it again if
//! they may use force.)

use crate::{api::SCALE_REFUSED_LABEL, lifecycle::messages::OPERATION_NOT_ALLOWED};

use super::{
    operator::is_operator,
    policy::{OURS, Params, Policy, Refusal, on},
};

/// The policy.
pub fn policy() -> Policy {
    Policy {
        name: "belay-pool-scale",
        description: "Refuses a change of an AgentPool by its scale subresource while a conflicting operation is in flight",
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
