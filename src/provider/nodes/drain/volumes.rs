//! Volumes that are attached to a node. If the machine is deleted before they are detached, they can't be attached
//! elsewhere for minutes.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttachment,
};
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{NodeEnd, Shared, pods_of};
use crate::provider::nodes::node_work::node_end;

/// Returns the persistent volumes that are attached to a node, except those of pods that stay there.
pub async fn attached(shared: &Shared, node: &str) -> Result<Vec<String>, NodeEnd> {
    let what = format!("list the volumes attached to node {node}");
    let attachments = Api::<VolumeAttachment>::all(shared.client.clone());
    let all = ListParams::default();
    let listed = shared.request(node, &what, || attachments.list(&all)).await;
    let listed = listed.map_err(|ended| node_end(&what, ended))?;
    let of_node = listed
        .items
        .into_iter()
        .filter(|it| it.spec.node_name == node);
    let mut volumes: BTreeSet<String> = of_node
        .filter_map(|it| it.spec.source.persistent_volume_name)
        .collect();
    if !volumes.is_empty() {
        for volume in in_use(shared, node).await? {
            volumes.remove(&volume);
        }
    }
    Ok(volumes.into_iter().collect())
}

/// Returns the persistent volumes of the pods on the node. These are the pods that a drain leaves there.
async fn in_use(shared: &Shared, node: &str) -> Result<Vec<String>, NodeEnd> {
    let (pods, what) = (
        Api::<Pod>::all(shared.client.clone()),
        format!("list the pods of node {node}"),
    );
    let of_node = pods_of(node);
    let pods = shared.request(node, &what, || pods.list(&of_node)).await;
    let mut used = Vec::new();
    for pod in pods.map_err(|ended| node_end(&what, ended))? {
        let namespace = pod.namespace().unwrap_or_default();
        let claims = Api::<PersistentVolumeClaim>::namespaced(shared.client.clone(), &namespace);
        let volumes = pod.spec.and_then(|spec| spec.volumes).unwrap_or_default();
        let names = volumes
            .into_iter()
            .filter_map(|volume| volume.persistent_volume_claim);
        for claim in names {
            let what = format!(
                "read PersistentVolumeClaim {namespace}/{}",
                claim.claim_name
            );
            let read = shared
                .request(node, &what, || claims.get_opt(&claim.claim_name))
                .await;
            let claim = read.map_err(|ended| node_end(&what, ended))?;
            used.extend(claim.and_then(|claim| claim.spec?.volume_name));
        }
    }
    Ok(used)
}
