//! The observed state of a cluster, from one look at it.

use aws_sdk_eks::types::{Update, UpdateParamType, UpdateType};
use jiff::Timestamp;

use crate::{
    api::{OperationSpec, OperationTarget, OperationType, TargetKind},
    lifecycle::{BegunByOthers, ControlPlaneView, NodeView, Observation},
    provider::{adopted::handle::Handle, engine::Site},
};

use super::{
    resource::{ControlPlane, Doing, Nodegroup, settings, version_of},
    updates::param,
};

/// Returns the observed state of a cluster.
pub fn observation(site: &Site, control_plane: &ControlPlane, groups: &[Nodegroup]) -> Observation {
    let settings = settings(&site.provider);
    let mut seen = Observation {
        control_plane: control_plane.version.map(|version| ControlPlaneView {
            version,
            running: true,
            // EKS itself says until when a rollback can be cancelled.
            changing_to: None,
        }),
        ..Observation::default()
    };
    for group in groups {
        let pool = settings.pool_of(&group.name).to_owned();
        let count = usize::try_from(group.sizes.desired).unwrap_or_default();
        seen.kept.insert(pool.clone(), count);
        if group.is_autoscaled {
            let by = format!(
                "the cluster autoscaler, by the tags of nodegroup {} ({} to {} nodes)",
                group.name, group.sizes.least, group.sizes.most
            );
            seen.scaled_by_others.insert(pool.clone(), by);
        }
        seen.nodes.insert(pool, nodes(group, count));
    }
    seen
}

/// Returns the nodes of a nodegroup. EKS shows how many nodes it should have, but not their names.
fn nodes(group: &Nodegroup, count: usize) -> Vec<NodeView> {
    let Some(version) = group.version else {
        return Vec::new();
    };
    let node = |number: usize| NodeView {
        name: format!("{}-{number}", group.name),
        version,
        ready: !group.is_degraded,
        ready_since: None,
        cordoned: false,
        joining: group.doing == Doing::Comes,
        deleting: false,
        settings: group.settings(),
        drained_by: None,
        made_by: None,
        undrainable: None,
        quarantined: false,
        created: Timestamp::UNIX_EPOCH,
    };
    (0..count).map(node).collect()
}

/// Returns the update of a nodegroup, or of the control plane, as somebody else's Operation.
pub fn begun(site: &Site, group: Option<&str>, update: &Update) -> Option<BegunByOthers> {
    let version = param(update, &UpdateParamType::Version).and_then(version_of);
    let size = param(update, &UpdateParamType::DesiredSize).and_then(|size| size.parse().ok());
    let type_ = match update.r#type() {
        Some(UpdateType::VersionUpdate) => OperationType::Upgrade,
        Some(UpdateType::VersionRollback) => OperationType::Rollback,
        _ if size.is_some() => OperationType::Scale,
        _ => OperationType::Update,
    };
    let target = match group {
        None => OperationTarget {
            kind: TargetKind::ManagedCluster,
            name: site.cluster.clone(),
        },
        Some(group) => OperationTarget {
            kind: TargetKind::AgentPool,
            name: settings(&site.provider).pool_of(group).to_owned(),
        },
    };
    let handle = Handle {
        node_pool: group.map(ToOwned::to_owned),
        operation: update.id()?.to_owned(),
    };
    let of_version = matches!(type_, OperationType::Upgrade | OperationType::Rollback);
    Some(BegunByOthers {
        handle: handle.to_string(),
        spec: OperationSpec {
            target,
            kubernetes_version: version
                .filter(|_| of_version)
                .map(|version| version.to_string()),
            count: size.filter(|_| type_ == OperationType::Scale),
            type_,
            timeout: None,
        },
        by: "somebody in AWS (CloudTrail shows who)".into(),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::UpdateParam;

    use super::{super::resource::Sizes, *};
    use crate::api::ProviderSpec;

    fn site() -> Site {
        Site {
            namespace: "team".into(),
            cluster: "demo".into(),
            provider: ProviderSpec::default(),
        }
    }

    #[test]
    fn a_nodegroup_shows_as_many_nodes_as_its_desired_size() {
        let sizes = Sizes {
            least: 1,
            most: 9,
            desired: 5,
        };
        let group = Nodegroup {
            name: "np1".into(),
            version: version_of("1.33"),
            sizes,
            is_autoscaled: true,
            ..Nodegroup::default()
        };
        let seen = observation(&site(), &ControlPlane::default(), &[group]);
        assert_eq!(seen.nodes["np1"].len(), 5);
        assert_eq!(seen.kept["np1"], 5);
        let by = &seen.scaled_by_others["np1"];
        assert_eq!(
            by,
            "the cluster autoscaler, by the tags of nodegroup np1 (1 to 9 nodes)"
        );
        assert_eq!(seen.control_plane, None);
    }

    #[test]
    fn an_update_of_eks_is_shown_as_an_operation_of_belay() {
        let update = |type_, param, value: &str| {
            let param = UpdateParam::builder().r#type(param).value(value).build();
            Update::builder()
                .id("0a")
                .r#type(type_)
                .params(param)
                .build()
        };
        let version = update(
            UpdateType::VersionRollback,
            UpdateParamType::Version,
            "1.33",
        );
        let begun_at = begun(&site(), None, &version).expect("an Operation");
        assert_eq!(begun_at.handle, "cluster/0a");
        assert_eq!(begun_at.spec.type_, OperationType::Rollback);
        assert_eq!(begun_at.spec.kubernetes_version.as_deref(), Some("1.33.0"));
        let scale = update(UpdateType::ConfigUpdate, UpdateParamType::DesiredSize, "7");
        let begun_at = begun(&site(), Some("np1"), &scale).expect("an Operation");
        assert_eq!(begun_at.handle, "nodepool/np1/0a");
        assert_eq!(
            (begun_at.spec.type_, begun_at.spec.count),
            (OperationType::Scale, Some(7))
        );
        let labels = update(UpdateType::ConfigUpdate, UpdateParamType::LabelsToAdd, "{}");
        let begun_at = begun(&site(), Some("np1"), &labels).expect("an Operation");
        assert_eq!(begun_at.spec.type_, OperationType::Update);
    }
}
