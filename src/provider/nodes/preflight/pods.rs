//! Pods that something besides a budget ties to their nodes.

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::ResourceExt as _;

use crate::{
    lifecycle::{Finding, FindingKind},
    machinery::watches::full_name,
};

use super::{PoolPods, Seen, counted, is_to_be_evicted, on_nodes_of};

/// The label with a node's name. A volume that requires it exists on one node only.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Returns the findings about pods without a controller, volumes and directories of nodes.
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pool in &seen.pools {
        findings.extend(without_controller(pool));
        findings.extend(with_host_path(pool));
    }
    findings.extend(seen.going().flat_map(|(_, pod)| on_this_node(seen, pod)));
    findings
}

fn chosen(pool: &PoolPods, is_chosen: impl Fn(&Pod) -> bool) -> Vec<&Pod> {
    let going = pool.pods.iter().filter(|pod| is_to_be_evicted(pod));
    going.filter(|pod| is_chosen(pod)).collect()
}

fn names(pods: &[&Pod]) -> Vec<String> {
    let mut names: Vec<String> = pods.iter().map(|pod| full_name(*pod)).collect();
    names.sort();
    names
}

fn place(pool: &PoolPods) -> String {
    on_nodes_of(std::slice::from_ref(&pool.pool))
}

/// Returns the command that shows the first of these pods.
fn show(pods: &[&Pod]) -> String {
    let first = pods.iter().min_by_key(|pod| full_name(**pod));
    first.map_or_else(String::new, |pod| {
        let namespace = pod.namespace().unwrap_or_default();
        format!("kubectl -n {namespace} get pod {} -o yaml", pod.name_any())
    })
}

fn without_controller(pool: &PoolPods) -> Option<Finding> {
    let is_bare = |pod: &Pod| {
        let mut owners = pod.owner_references().iter();
        !owners.any(|owner| owner.controller == Some(true))
    };
    let pods = chosen(pool, is_bare);
    (!pods.is_empty()).then(|| Finding {
        reason: FindingKind::NoController,
        message: format!(
            "no controller makes these pods again: {}",
            counted(&names(&pods), &place(pool))
        ),
        help: show(&pods),
    })
}

fn with_host_path(pool: &PoolPods) -> Option<Finding> {
    let pods = chosen(pool, writes_to_host);
    (!pods.is_empty()).then(|| Finding {
        reason: FindingKind::HostPath,
        message: format!(
            "these pods can write to a hostPath volume, which is lost with its node: {}",
            counted(&names(&pods), &place(pool))
        ),
        help: show(&pods),
    })
}

/// Whether a container of the pod may write to a `hostPath` volume.
fn writes_to_host(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let volumes = spec.volumes.iter().flatten();
    let host: Vec<&str> = volumes
        .filter(|volume| volume.host_path.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    let mounts = spec
        .containers
        .iter()
        .flat_map(|it| it.volume_mounts.iter().flatten());
    let mut writable = mounts.filter(|mount| mount.read_only != Some(true));
    writable.any(|mount| host.contains(&mount.name.as_str()))
}

/// Returns a finding for each volume of the pod that exists only on its node.
fn on_this_node(seen: &Seen, pod: &Pod) -> Vec<Finding> {
    let claims = claims_of(pod);
    let namespace = pod.namespace().unwrap_or_default();
    let is_its = |volume: &&PersistentVolume| {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref());
        claim.is_some_and(|claim| {
            let name = claim.name.as_deref().unwrap_or_default();
            claim.namespace.as_deref() == Some(&namespace) && claims.iter().any(|it| it == name)
        })
    };
    let local = seen.volumes.iter().filter(is_its).filter(|it| is_local(it));
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let node = node.unwrap_or_default();
    let finding = |volume: &PersistentVolume| Finding {
        reason: FindingKind::VolumeOnNode,
        message: format!(
            "PersistentVolume {} of pod {} exists only on node {node}: once the node is gone, the pod can't run anywhere",
            volume.name_any(),
            full_name(pod)
        ),
        help: format!("kubectl describe pv {}", volume.name_any()),
    };
    local.map(finding).collect()
}

/// Returns the names of the claims that a pod uses.
pub fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let volumes = volumes.into_iter().flatten();
    let claims = volumes.filter_map(|volume| {
        let named = volume.persistent_volume_claim.as_ref();
        let own = volume.ephemeral.as_ref();
        let own = own.map(|_| format!("{}-{}", pod.name_any(), volume.name));
        named.map(|claim| claim.claim_name.clone()).or(own)
    });
    claims.collect()
}

/// Whether a volume exists on one node only.
fn is_local(volume: &PersistentVolume) -> bool {
    let Some(spec) = &volume.spec else {
        return false;
    };
    let required = spec
        .node_affinity
        .as_ref()
        .and_then(|it| it.required.as_ref());
    let terms = required.into_iter().flat_map(|it| &it.node_selector_terms);
    let mut keys = terms.flat_map(|term| term.match_expressions.iter().flatten());
    spec.local.is_some() || spec.host_path.is_some() || keys.any(|it| it.key == HOSTNAME)
}
