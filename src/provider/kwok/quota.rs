//! How many nodes a cluster may have.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use crate::{
    api::{CLUSTER_LABEL, NAMESPACE_LABEL, OperationError},
    lifecycle::Job,
};

use super::stores::Stores;

/// Whether the cluster may have one node more, beside those there are and those that are `coming`.
///
/// # Errors
/// `QuotaExceeded` where it may not.
pub(super) fn check<'a>(
    stores: &Stores,
    job: &Job,
    coming: impl Iterator<Item = &'a String>,
) -> Result<(), OperationError> {
    let quota = job.provider.kwok.as_ref().and_then(|kwok| kwok.max_nodes);
    let Some(quota) = quota.and_then(|quota| usize::try_from(quota).ok()) else {
        return Ok(());
    };
    let ours = stores.nodes.state_filter(|node| {
        let labels = node.labels();
        labels.get(NAMESPACE_LABEL) == Some(&job.namespace)
            && labels.get(CLUSTER_LABEL) == Some(&job.cluster)
    });
    let mut names: BTreeSet<String> = ours.iter().map(|node| node.name_any()).collect();
    names.extend(coming.cloned());
    if names.len() < quota {
        return Ok(());
    }
    Err(OperationError {
        code: "QuotaExceeded".into(),
        message: format!(
            "ManagedCluster {} has {} nodes and may have {quota}: lower a pool's count or surge, or raise spec.provider.kwok.maxNodes, then create an Operation of type Reconcile",
            job.cluster,
            names.len()
        ),
        ..OperationError::default()
    })
}
