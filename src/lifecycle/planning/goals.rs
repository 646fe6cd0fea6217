//! The goals for a pool's nodes: as its spec says, unchanged, or none.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{
    api::{
        KubernetesVersion, PowerState, ScaleSetPriority, UndrainableNodeBehavior, UpgradeSettings,
    },
    lifecycle::{
        facts::{Facts, Target},
        observed::NodeView,
        plan::{PoolGoal, UndrainableNodes},
        settings::NodeSettings,
    },
};

/// The version of new nodes if none will be created.
const NO_VERSION: KubernetesVersion = KubernetesVersion {
    major: 0,
    minor: 0,
    patch: 0,
};

/// Returns the goal by the pool's spec, with nodes of `version`.
pub fn goal(facts: &Facts<'_>, target: &Target<'_>, version: KubernetesVersion) -> PoolGoal {
    let name = target.key.name.clone();
    let cluster = &facts.cluster.key.name;
    let spec = target.pool.as_ref().map(|pool| &pool.object.spec);
    let upgrades = spec
        .map(|spec| spec.upgrade_settings.clone())
        .unwrap_or_default();
    let full = target.count_if(true);
    let surge = surge_of(&upgrades, full);
    let unavailable = resolve(&upgrades.max_unavailable, full, false);
    PoolGoal {
        node_prefix: if name.starts_with(&format!("{cluster}-")) {
            name.clone()
        } else {
            format!("{cluster}-{name}")
        },
        pool: name,
        count: target.desired_count(facts.snapshot),
        version,
        replace_outdated: true,
        update_settings: true,
        surge,
        // With a small count both can be 0. Then use 1, as Deployments do.
        unavailable: if surge == 0 {
            unavailable.max(1)
        } else {
            unavailable
        },
        drain: true,
        stopped: !target.is_to_run(),
        deleted: false,
        drain_timeout: upgrades.drain_timeout.into(),
        soak: upgrades.node_soak_duration.into(),
        undrainable: undrainable(&upgrades, full),
        settings: target
            .pool
            .as_ref()
            .map(|pool| pool.settings.clone())
            .unwrap_or_default(),
        vm_size: spec.and_then(|spec| spec.vm_size.clone()),
        priority: spec.map(|spec| spec.scale_set_priority).unwrap_or_default(),
    }
}

/// Returns the goal that keeps the pool's nodes and gives them its settings.
pub fn in_place(facts: &Facts<'_>, pool: &Target<'_>) -> PoolGoal {
    let version = facts.control_plane().unwrap_or(NO_VERSION);
    PoolGoal {
        count: pool.there.count,
        stopped: pool.there.power == PowerState::Stopped,
        replace_outdated: false,
        ..goal(facts, pool, pool.version_under(version))
    }
}

/// Returns the goal without nodes.
pub fn gone(facts: &Facts<'_>, pool: &Target<'_>, drain: bool) -> PoolGoal {
    let version = facts.control_plane().unwrap_or(NO_VERSION);
    PoolGoal {
        count: 0,
        replace_outdated: false,
        update_settings: false,
        drain,
        stopped: false,
        deleted: true,
        ..goal(facts, pool, version)
    }
}

/// Returns the goal for nodes whose pool no longer exists.
pub fn gone_with_pool(pool: &str, nodes: &[NodeView]) -> PoolGoal {
    PoolGoal {
        pool: pool.to_owned(),
        node_prefix: pool.to_owned(),
        count: 0,
        version: nodes[0].version,
        replace_outdated: false,
        update_settings: false,
        surge: 1,
        unavailable: 0,
        drain: false,
        stopped: false,
        deleted: true,
        drain_timeout: Duration::ZERO,
        soak: Duration::ZERO,
        undrainable: UndrainableNodes::Fail,
        settings: NodeSettings::default(),
        vm_size: None,
        priority: ScaleSetPriority::default(),
    }
}

/// Returns what happens to nodes that can't be drained, in a pool of `count` nodes.
fn undrainable(upgrades: &UpgradeSettings, count: usize) -> UndrainableNodes {
    let most = match &upgrades.max_blocked_nodes {
        Some(blocked) => resolve(blocked, count, true),
        None => surge_of(upgrades, count),
    };
    match upgrades.undrainable_node_behavior {
        None => UndrainableNodes::Fail,
        Some(UndrainableNodeBehavior::Schedule) => UndrainableNodes::Schedule,
        Some(UndrainableNodeBehavior::Cordon) => UndrainableNodes::Cordon { most: most.max(1) },
    }
}

/// Returns how many nodes may exist beyond `count`.
pub fn surge_of(settings: &UpgradeSettings, count: usize) -> usize {
    resolve(&settings.max_surge, count, true)
}

/// Returns the number of nodes that a setting means. A percentage of `count` is rounded up for the surge and down for
/// the unavailable nodes, as Deployments do.
fn resolve(setting: &IntOrString, count: usize, round_up: bool) -> usize {
    match setting {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or_default(),
        IntOrString::String(text) => {
            let percent: usize = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .unwrap_or_default();
            if round_up {
                (count * percent).div_ceil(100)
            } else {
                count * percent / 100
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_nodes_may_be_quarantined_as_the_surge_says_but_at_least_one() {
        let percent = |text: &str| IntOrString::String(text.into());
        for (surge, blocked, most) in [
            (IntOrString::Int(2), None, 2),
            (IntOrString::Int(0), None, 1),
            (percent("33%"), None, 4),
            (IntOrString::Int(2), Some(IntOrString::Int(5)), 5),
            (IntOrString::Int(2), Some(percent("1%")), 1),
        ] {
            let upgrades = UpgradeSettings {
                max_surge: surge,
                undrainable_node_behavior: Some(UndrainableNodeBehavior::Cordon),
                max_blocked_nodes: blocked,
                ..UpgradeSettings::default()
            };
            let expected = UndrainableNodes::Cordon { most };
            assert_eq!(undrainable(&upgrades, 10), expected, "{upgrades:?}");
        }
    }

    #[test]
    fn a_percentage_is_rounded_as_in_deployments() {
        let percent = |text: &str| IntOrString::String(text.into());
        for (setting, count, up, down) in [
            (IntOrString::Int(2), 10, 2, 2),
            (IntOrString::Int(0), 10, 0, 0),
            (percent("33%"), 3, 1, 0),
            (percent("33%"), 10, 4, 3),
            (percent("50%"), 4, 2, 2),
            (percent("1%"), 1, 1, 0),
            (percent("0%"), 5, 0, 0),
            (percent("100%"), 7, 7, 7),
            (percent("33%"), 0, 0, 0),
        ] {
            assert_eq!(resolve(&setting, count, true), up, "{setting:?} of {count}");
            assert_eq!(
                resolve(&setting, count, false),
                down,
                "{setting:?} of {count}"
            );
        }
    }
}
