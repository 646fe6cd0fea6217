//! The custom resources that users write: group `belay.dev`, version `v1alpha1`.
//!
//! `belay crds` prints their definitions, which are generated from these types. `crds/` contains them.

mod agent_pool;
mod aws;
mod azure;
mod cluster_api;
mod common;
mod force;
mod kwok_control_plane;
mod maintenance_window;
mod managed_cluster;
mod operation;
mod version;

pub use agent_pool::*;
pub use aws::*;
pub use azure::*;
pub use cluster_api::*;
pub use common::*;
pub use force::*;
pub use kwok_control_plane::*;
pub use maintenance_window::*;
pub use managed_cluster::*;
pub use operation::*;
pub use version::*;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt as _, core::ObjectMeta};

/// The API group of all of Belay's resources.
pub const GROUP: &str = "belay.dev";

/// Requests an abort. Its value is the reason.
pub const ABORT_ANNOTATION: &str = "belay.dev/abort";
/// How an abort treats the step in progress: [`ABORT_POLICY_AFTER_STEP`], or `Now` (the default).
pub const ABORT_POLICY_ANNOTATION: &str = "belay.dev/abort-policy";
/// Who requested the abort, as the API server saw it. It is stamped at admission.
pub const ABORT_REQUESTED_BY_ANNOTATION: &str = "belay.dev/abort-requested-by";
/// The abort policy that lets the step in progress finish.
pub const ABORT_POLICY_AFTER_STEP: &str = "AfterStep";
/// The abort policy that stops the step in progress where it is.
pub const ABORT_POLICY_NOW: &str = "Now";
/// Lets Belay delete pods that a `PodDisruptionBudget` protects, until the time in its value (RFC 3339).
pub const FORCE_ANNOTATION: &str = "belay.dev/force-until";
/// Who set that annotation, as the API server saw it. It is stamped at admission.
pub const FORCE_REQUESTED_BY_ANNOTATION: &str = "belay.dev/force-requested-by";
/// The maximum length of a text that a person or another program wrote, in characters: an abort's reason, an error.
pub const LONGEST_TEXT: usize = 1024;

/// The finalizer that keeps a cluster, a pool or an operation in flight until its work has ended.
pub const FINALIZER: &str = "belay.dev/operation";

/// Whether an object carries Belay's finalizer.
pub fn is_kept(metadata: &ObjectMeta) -> bool {
    let finalizers = metadata.finalizers.as_ref();
    finalizers.is_some_and(|kept| kept.iter().any(|name| name == FINALIZER))
}

/// On pools, Operations, nodes and what a provider creates: the cluster's name.
pub const CLUSTER_LABEL: &str = "belay.dev/cluster";
/// On Operations that Belay has taken up: their own uid. A copy of an Operation, or an Operation that a backup
/// restored, carries the uid of another Operation, and Belay doesn't run it.
pub const OPERATION_UID_LABEL: &str = "belay.dev/operation-uid";
/// On Operations that Belay created: the generation of their target's spec that they were created for.
pub const FOR_GENERATION_LABEL: &str = "belay.dev/for-generation";
/// The value of that label on an Operation that follows work that somebody began at the engine. No spec asked for that
/// work.
pub const NO_GENERATION: &str = "none";
/// The engine's name for the work that this Operation follows. Somebody began it at the engine, outside Belay.
pub const ENGINE_HANDLE_ANNOTATION: &str = "belay.dev/engine-handle";
/// Who began such work, if that is known.
pub const BEGUN_BY_ANNOTATION: &str = "belay.dev/begun-by";
/// On nodes and on a pool's Operations: the pool's name.
pub const AGENT_POOL_LABEL: &str = "belay.dev/agentpool";
/// On pools whose `status.scaleRefusal` says why they can't be scaled. Also on pools that only people with the right to
/// abort may scale, because a scale has an operation aborted. The API server finds these pools by this label.
pub const SCALE_REFUSED_LABEL: &str = "belay.dev/scale-refused";
/// On clusters that are being deleted. The API server finds them by this label.
pub const BEING_DELETED_LABEL: &str = "belay.dev/being-deleted";
/// On a new pool that pins no version, until Belay takes it up. The API server then doesn't need to look at its
/// cluster.
pub const FOLLOWS_CLUSTER_LABEL: &str = "belay.dev/follows-cluster";
/// On Operations that people create: the kind of their target. The API server then searches only among objects of that
/// kind.
pub const TARGET_KIND_LABEL: &str = "belay.dev/target-kind";
/// On nodes: the namespace of their cluster (nodes have none of their own).
pub const NAMESPACE_LABEL: &str = "belay.dev/namespace";
/// On nodes: the Kubernetes version that they run.
pub const VERSION_LABEL: &str = "belay.dev/kubernetes-version";

/// On a node: the uid of the Operation that created it.
pub const MADE_BY: &str = "belay.dev/made-by";
/// On a node that was created and isn't part of its pool yet. The node is cordoned, and nobody's pods run on it. An
/// abort deletes it.
pub const JOINING: &str = "belay.dev/joining";
/// On a node: the uid of the Operation that drains it.
pub const DRAINED_BY: &str = "belay.dev/drained-by";
/// On a node that is being drained: how many seconds the drain has taken, counted only while an operator was working.
pub const DRAINED_FOR: &str = "belay.dev/drained-for";
/// On a node that is being drained: someone else cordoned it before, so it stays cordoned.
pub const WAS_CORDONED: &str = "belay.dev/was-cordoned";
/// On a node that an Operation couldn't drain: which Operation, why and since when, as JSON.
pub const UNDRAINABLE: &str = "belay.dev/undrainable";
/// On a node that couldn't be drained and stays cordoned until the next Operation that replaces nodes. Whoever removes
/// the label gives the node back to its pool.
pub const UPGRADE_STATUS_LABEL: &str = "belay.dev/upgrade-status";
/// The value of that label.
pub const QUARANTINED: &str = "Quarantined";
/// On a node: the settings of its pool that were last applied to it, as JSON. Settings that aren't listed there belong
/// to someone else.
pub const APPLIED_SETTINGS: &str = "belay.dev/settings";
/// All annotations with which Belay marks a node. Only Belay changes them.
pub const NODE_MARKS: [&str; 7] = [
    MADE_BY,
    DRAINED_BY,
    DRAINED_FOR,
    WAS_CORDONED,
    JOINING,
    UNDRAINABLE,
    APPLIED_SETTINGS,
];

/// The definitions of all custom resources, in the order in which to install them.
pub fn crds() -> [CustomResourceDefinition; 4] {
    [
        ManagedCluster::crd(),
        AgentPool::crd(),
        Operation::crd(),
        KwokControlPlane::crd(),
    ]
}

/// The definitions as YAML files, as `crds/` contains them: names and contents.
///
/// # Errors
/// Returns an error if a definition can't be written as YAML.
pub fn crd_files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let file = |crd: &CustomResourceDefinition| {
        let yaml = serde_saphyr::to_string(crd)?;
        Ok((format!("{}.yaml", crd.spec.names.plural), yaml))
    };
    crds().iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::crds;

    fn in_one_line(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// `kubectl explain` shows the description of the kind, and that of its spec.
    #[test]
    fn kubectl_explain_says_what_each_kind_is_in_whole_sentences() {
        for crd in crds() {
            let kind = crd.spec.names.kind;
            let version = crd.spec.versions.into_iter().next().expect("a version");
            let schema = version.schema.and_then(|it| it.open_api_v3_schema);
            let schema = schema.expect("a schema");
            let of_kind = in_one_line(&schema.description.expect("a description"));
            let spec = schema.properties.expect("fields")["spec"].clone();
            let of_spec = in_one_line(&spec.description.expect("a description"));
            assert!(of_kind.starts_with(&of_spec), "{kind}: {of_kind}");
            assert!(of_spec.ends_with('.'), "{kind}: {of_spec}");
            let (first, _) = of_spec.split_once('.').expect("a sentence");
            let has_article = first.starts_with("A ") || first.starts_with("The ");
            assert!(has_article && !first.contains(':'), "{kind}: {first}");
            for column in version.additional_printer_columns.unwrap_or_default() {
                let is_described = column.description.is_some() || column.type_ == "date";
                assert!(is_described, "{kind}: {}", column.name);
            }
        }
    }
}
