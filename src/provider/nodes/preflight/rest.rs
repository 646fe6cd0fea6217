//! Room for new nodes, and versions that differ too much.

use crate::{
    api::KubernetesVersion,
    lifecycle::{Finding, FindingKind, NodeView, is_too_old},
};

/// Returns a finding if a cluster that goes up to `most` nodes may have only `quota`. None for a quota means that any
/// number is allowed.
pub fn of_room(
    (namespace, cluster): (&str, &str),
    most: usize,
    quota: Option<usize>,
) -> Option<Finding> {
    let quota = quota.filter(|quota| most > *quota)?;
    let patch = format!(r#"{{"spec":{{"provider":{{"kwok":{{"maxNodes":{most}}}}}}}}}"#);
    Some(Finding {
        reason: FindingKind::NoRoom,
        message: format!(
            "ManagedCluster {cluster} needs room for {most} nodes while nodes are replaced, and may have at most {quota} (spec.provider.kwok.maxNodes)"
        ),
        help: format!(
            "kubectl -n {namespace} patch managedcluster {cluster} --type=merge -p '{patch}'"
        ),
    })
}

/// Returns a finding for each pool that has nodes which are too old or too new for a control plane of that version.
pub fn of_versions<'a>(
    namespace: &str,
    control_plane: KubernetesVersion,
    pools: impl IntoIterator<Item = (&'a str, &'a [NodeView])>,
) -> Vec<Finding> {
    let of_pool = |(pool, nodes): (&str, &[NodeView])| {
        let oldest = nodes.iter().map(|node| node.version).min()?;
        let newest = nodes.iter().map(|node| node.version).max()?;
        let (version, how) = if is_too_old(control_plane, oldest) {
            (oldest, "more than three minor versions older than")
        } else if newest > control_plane {
            (newest, "newer than")
        } else {
            return None;
        };
        Some(Finding {
            reason: FindingKind::VersionSkew,
            message: format!(
                "AgentPool {pool} has nodes of {version}, which is {how} its control plane's {control_plane}"
            ),
            help: format!("kubectl -n {namespace} get agentpool {pool}"),
        })
    };
    pools.into_iter().filter_map(of_pool).collect()
}
