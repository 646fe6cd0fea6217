//! The requests that lead to a goal. EKS takes one update of a control plane or a nodegroup at a time, so Belay asks
//! for the differences one after the other: configuration, version, sizes.

use std::hash::{Hash as _, Hasher as _};

use fnv::FnvHasher;

use crate::{
    api::{AgentPoolMode, KubernetesVersion, NodeTaint},
    lifecycle::{ControlPlaneGoal, PoolGoal},
    provider::adopted::labels::is_reserved,
};

use super::{
    config::Config,
    resource::{ControlPlane, Doing, LEAST, MODE, Nodegroup, Pace, Share, Sizes},
};

/// A request that brings a resource nearer to a goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Another version.
    Version(KubernetesVersion),
    /// Another configuration of a nodegroup.
    Config(Config),
    /// The deletion of a nodegroup.
    Delete,
}

impl Request {
    /// Returns the idempotency token of the request, at most 64 characters: EKS carries out a request once, even if it
    /// gets it twice. `change` is the token of the change.
    pub fn token(&self, change: &str) -> String {
        // EKS accepts a token again only with the same parameters.
        let mut hasher = FnvHasher::default();
        format!("{self:?}").hash(&mut hasher);
        format!("{change}-{:016x}", hasher.finish())
    }
}

/// Returns the next request that a control plane needs to reach the goal. None if nothing is missing.
pub fn of_control_plane(now: &ControlPlane, goal: ControlPlaneGoal) -> Option<Request> {
    (now.version != Some(goal.version)).then_some(Request::Version(goal.version))
}

/// Returns the next request that a nodegroup needs to reach the goal. None if nothing is missing.
pub fn of_nodegroup(now: &Nodegroup, goal: &PoolGoal) -> Option<Request> {
    if goal.deleted {
        return (now.doing != Doing::Goes).then_some(Request::Delete);
    }
    let mut config = Config::default();
    if goal.update_settings {
        settle(&mut config, now, goal);
    }
    let is_outdated = goal.replace_outdated && !goal.stopped && now.version != Some(goal.version);
    if is_outdated {
        config.pace = pace(now, goal);
    } else {
        resize(&mut config, now, goal);
    }
    if !config.is_empty() {
        return Some(Request::Config(config));
    }
    is_outdated.then_some(Request::Version(goal.version))
}

/// Sets the labels and taints of a goal. Labels that `AgentPools` can't have stay.
fn settle(config: &mut Config, now: &Nodegroup, goal: &PoolGoal) {
    let (before, asked) = (now.settings(), &goal.settings);
    let new = asked.labels.iter();
    let new = new.filter(|(key, value)| now.labels.get(*key) != Some(value));
    config.labels = new
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let old = now.labels.keys().filter(|key| !is_reserved(key));
    let old = old.filter(|key| !asked.labels.contains_key(*key));
    config.old_labels = old.cloned().collect();
    if before.mode != asked.mode {
        match asked.mode {
            AgentPoolMode::System => {
                config.labels.insert(MODE.into(), "System".into());
            }
            AgentPoolMode::User => config.old_labels.push(MODE.into()),
        }
    }
    let lacks = asked.taints.iter();
    let lacks = lacks.filter(|taint| !now.taints.contains(taint));
    config.taints = lacks.cloned().collect();
    // A taint is identified by its key and effect: a taint with another value is overwritten.
    let is_asked = |taint: &&NodeTaint| {
        let mut asked = asked.taints.iter();
        asked.any(|asked| asked.key == taint.key && asked.effect == taint.effect)
    };
    let old = now.taints.iter().filter(|taint| !is_asked(taint));
    config.old_taints = old.cloned().collect();
}

/// Returns how nodes are to be replaced. None if EKS already does it so.
fn pace(now: &Nodegroup, goal: &PoolGoal) -> Option<Pace> {
    let number = |nodes: usize| i32::try_from(nodes).unwrap_or(i32::MAX).max(1);
    let is_minimal = goal.surge == 0;
    let at_once = number(if is_minimal {
        goal.unavailable
    } else {
        goal.surge
    });
    let is_so =
        now.pace.at_once.of(now.sizes.desired) == at_once && now.pace.is_minimal == is_minimal;
    (!is_so).then_some(Pace {
        at_once: Share::Nodes(at_once),
        is_minimal,
    })
}

/// Sets the sizes. The minimum and the maximum are adapted to the count that somebody asks for. The minimum is restored
/// when a nodegroup without nodes gets nodes again.
fn resize(config: &mut Config, now: &Nodegroup, goal: &PoolGoal) {
    let Sizes {
        least,
        most,
        desired,
    } = now.sizes;
    let count = i32::try_from(goal.count).unwrap_or(i32::MAX);
    let is_others = now.is_autoscaled && !goal.stopped && desired > 0;
    if is_others || desired == count {
        return;
    }
    let kept = now.kept_least();
    if count == 0 && least > 0 {
        config.labels.insert(LEAST.into(), least.to_string());
    } else if desired == 0 && kept.is_some() {
        config.old_labels.push(LEAST.into());
    }
    let least = kept.filter(|_| desired == 0).unwrap_or(least);
    config.sizes = Some(Sizes {
        least: least.min(count),
        most: most.max(count).max(1),
        desired: count,
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        api::{ScaleSetPriority, TaintEffect},
        lifecycle::{NodeSettings, UndrainableNodes},
    };

    use super::*;

    fn version(minor: u32) -> KubernetesVersion {
        KubernetesVersion {
            major: 1,
            minor,
            patch: 0,
        }
    }

    fn sizes(least: i32, desired: i32, most: i32) -> Sizes {
        Sizes {
            least,
            most,
            desired,
        }
    }

    fn group() -> Nodegroup {
        Nodegroup {
            name: "np1".into(),
            version: Some(version(33)),
            sizes: sizes(2, 3, 5),
            ..Nodegroup::default()
        }
    }

    fn goal() -> PoolGoal {
        PoolGoal {
            pool: "np1".into(),
            node_prefix: "demo-np1".into(),
            count: 3,
            version: version(33),
            replace_outdated: true,
            update_settings: true,
            surge: 1,
            unavailable: 0,
            drain: true,
            drain_timeout: Duration::from_secs(90),
            soak: Duration::from_secs(90),
            undrainable: UndrainableNodes::Fail,
            stopped: false,
            deleted: false,
            settings: NodeSettings {
                mode: AgentPoolMode::User,
                ..NodeSettings::default()
            },
            vm_size: None,
            priority: ScaleSetPriority::Regular,
        }
    }

    /// Returns a nodegroup after an update that did what was asked.
    fn after(mut group: Nodegroup, request: &Request) -> Nodegroup {
        match request {
            Request::Version(version) => group.version = Some(*version),
            Request::Config(config) => {
                group.labels.extend(config.labels.clone());
                group
                    .labels
                    .retain(|key, _| !config.old_labels.contains(key));
                group
                    .taints
                    .retain(|taint| !config.old_taints.contains(taint));
                group.taints.extend(config.taints.clone());
                group.sizes = config.sizes.unwrap_or(group.sizes);
                group.pace = config.pace.unwrap_or(group.pace);
            }
            Request::Delete => group.doing = Doing::Goes,
        }
        group
    }

    /// Returns what is asked for until nothing is missing, in short, and the nodegroup after that.
    fn asked(mut group: Nodegroup, goal: &PoolGoal) -> (Vec<String>, Nodegroup) {
        let mut asked = Vec::new();
        while let Some(request) = of_nodegroup(&group, goal) {
            asked.push(match &request {
                Request::Version(version) => format!("version {version}"),
                Request::Delete => "delete".into(),
                Request::Config(config) => {
                    let parts = [
                        ("labels", config.written_labels().is_some()),
                        ("taints", config.written_taints().is_some()),
                        ("sizes", config.sizes.is_some()),
                        ("pace", config.pace.is_some()),
                    ];
                    let parts = parts.into_iter().filter(|(_, is_there)| *is_there);
                    parts.map(|(part, _)| part).collect::<Vec<_>>().join(" ")
                }
            });
            group = after(group, &request);
            assert!(asked.len() < 9, "{asked:?}");
        }
        (asked, group)
    }

    #[test]
    fn differences_are_requested_one_after_the_other() {
        let taint = NodeTaint {
            key: "team".into(),
            value: "gold".into(),
            effect: TaintEffect::NoSchedule,
        };
        let all = PoolGoal {
            count: 7,
            version: version(34),
            surge: 2,
            settings: NodeSettings {
                mode: AgentPoolMode::System,
                labels: [("team".to_owned(), "gold".to_owned())].into(),
                taints: vec![taint],
            },
            ..goal()
        };
        let (asked, then) = asked(group(), &all);
        assert_eq!(asked, ["labels taints pace", "version 1.34.0", "sizes"]);
        assert_eq!(then.settings(), all.settings);
        assert_eq!(then.sizes, sizes(2, 7, 7), "the most gives way");
    }

    #[test]
    fn a_nodegroup_that_matches_its_goal_gets_no_request() {
        let deleted = PoolGoal {
            deleted: true,
            count: 0,
            ..goal()
        };
        let mut autoscaled = group();
        (autoscaled.is_autoscaled, autoscaled.sizes) = (true, sizes(1, 9, 9));
        let mut own = group();
        own.labels.insert("node.kubernetes.io/x".into(), "y".into());
        for (group, goal) in [(group(), goal()), (autoscaled, goal()), (own, goal())] {
            assert_eq!(of_nodegroup(&group, &goal), None, "{group:?}");
        }
        assert_eq!(asked(group(), &deleted).0, ["delete"]);
    }

    #[test]
    fn a_restarted_pool_has_its_minimum_size_again() {
        let stopped = PoolGoal {
            stopped: true,
            count: 0,
            version: version(34),
            ..goal()
        };
        let (requests, off) = asked(group(), &stopped);
        assert_eq!(requests, ["labels sizes"]);
        assert_eq!(off.sizes, sizes(0, 0, 5));
        let (requests, on) = asked(off, &goal());
        assert_eq!(requests, ["labels sizes"]);
        assert_eq!(on, group());
    }

    #[test]
    fn a_taint_with_another_value_is_overwritten() {
        let taint = |value: &str| NodeTaint {
            key: "team".into(),
            value: value.into(),
            effect: TaintEffect::NoSchedule,
        };
        let mut now = group();
        now.taints = vec![taint("gold")];
        let mut goal = goal();
        goal.settings.taints = vec![taint("silver")];
        let Some(Request::Config(config)) = of_nodegroup(&now, &goal) else {
            panic!("a taint differs")
        };
        assert_eq!(config.taints, [taint("silver")]);
        assert_eq!(config.old_taints, []);
    }

    #[test]
    fn equal_requests_of_a_change_have_the_same_token_and_different_ones_have_not() {
        let to = |minor| Request::Version(version(minor));
        let change = "0b0c1f0e-7c55-4d0e-8a8e-111111111111-12";
        assert_eq!(to(34).token(change), to(34).token(change));
        assert_ne!(to(34).token(change), to(33).token(change));
        assert!(to(34).token(change).len() <= 64);
    }
}
