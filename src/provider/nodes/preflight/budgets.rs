//! The PodDisruptionBudgets that refuse evictions.
//!
//! Source of the rules: the Eviction API of Kubernetes (`pkg/registry/core/pod/storage/eviction.go`).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt as _;

use crate::{
    lifecycle::{Finding, FindingKind},
    machinery::watches::full_name,
    provider::nodes::drain::{budget_allows, budget_selects},
};

use super::{Seen, counted, on_nodes_of};

/// The pods that the same budgets select.
#[derive(Default)]
struct Group<'a> {
    budgets: Vec<&'a PodDisruptionBudget>,
    pools: BTreeSet<&'a str>,
    pods: Vec<&'a Pod>,
}

/// Returns a finding for each budget that refuses the eviction of at least one pod, and for each set of budgets that
/// select the same pod.
pub fn findings(seen: &Seen) -> Vec<Finding> {
    let mut in_namespace = BTreeMap::<Option<&str>, Vec<&PodDisruptionBudget>>::new();
    for budget in &seen.budgets {
        let namespace = budget.metadata.namespace.as_deref();
        in_namespace.entry(namespace).or_default().push(budget);
    }
    let mut groups = BTreeMap::<Vec<String>, Group<'_>>::new();
    for (pool, pod) in seen.going().filter(|(_, pod)| is_asked_about(pod)) {
        let budgets = in_namespace.get(&pod.metadata.namespace.as_deref());
        let mut budgets = budgets.cloned().unwrap_or_default();
        budgets.retain(|budget| budget_selects(budget, pod));
        budgets.sort_by_key(|budget| full_name(*budget));
        let is_allowed = match budgets[..] {
            [] => true,
            [budget] => lets_go(budget, pod) || why_not(budget).is_none(),
            _ => false,
        };
        if is_allowed {
            continue;
        }
        let key = budgets.iter().map(|budget| full_name(*budget)).collect();
        let group = groups.entry(key).or_default();
        group.budgets = budgets;
        group.pools.insert(pool);
        group.pods.push(pod);
    }
    groups.values().filter_map(Group::finding).collect()
}

/// Whether the Eviction API asks a budget before it evicts the pod. A pod that hasn't started goes without asking.
fn is_asked_about(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) != Some("Pending")
}

/// Whether the budget lets the pod go, whatever it allows, because the pod isn't Ready.
fn lets_go(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    if is_ready(pod) {
        return false;
    }
    let spec = budget.spec.as_ref();
    let policy = spec.and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let [healthy, least, _] = counts(&budget.status.clone().unwrap_or_default());
    policy == Some("AlwaysAllow") || (least > 0 && healthy >= least)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

/// Returns how many of a budget's pods are healthy, how many it requires, and how many there should be.
fn counts(status: &PodDisruptionBudgetStatus) -> [i32; 3] {
    [
        status.current_healthy,
        status.desired_healthy,
        status.expected_pods,
    ]
    .map(Option::unwrap_or_default)
}

/// Returns whether a budget refuses evictions now or always, and why. None if it allows one now.
fn why_not(budget: &PodDisruptionBudget) -> Option<(FindingKind, String)> {
    use FindingKind::{BudgetAllowsNoneNow, BudgetNeverAllows};
    let status = budget.status.clone().unwrap_or_default();
    if let Some(words) = uncountable(&status) {
        let why = format!("can't be evaluated ({words}), so it allows no eviction");
        return Some((BudgetNeverAllows, why));
    }
    if never_by_its_rule(budget) {
        return Some((BudgetNeverAllows, "never allows an eviction".to_owned()));
    }
    if status.observed_generation < budget.metadata.generation {
        let why = "has not counted its pods yet, so it allows no eviction now".to_owned();
        return Some((BudgetAllowsNoneNow, why));
    }
    if budget_allows(budget) > 0 {
        return None;
    }
    let [healthy, least, expected] = counts(&status);
    if least >= expected {
        let why = format!("requires {least} of {expected} pods, so it never allows an eviction");
        return Some((BudgetNeverAllows, why));
    }
    let why = format!(
        "requires {least} of {expected} pods and {healthy} are healthy, so it allows no eviction now"
    );
    Some((BudgetAllowsNoneNow, why))
}

/// Returns the error if Kubernetes can't count a budget's pods, for example because a pod has no controller. None if it
/// can.
fn uncountable(status: &PodDisruptionBudgetStatus) -> Option<&str> {
    let mut conditions = status.conditions.iter().flatten();
    let failed = conditions.find(|it| it.type_ == "DisruptionAllowed" && it.reason == "SyncFailed");
    failed.map(|failed| failed.message.as_str())
}

fn never_by_its_rule(budget: &PodDisruptionBudget) -> bool {
    let is = |value: &IntOrString, number: Option<i32>, percent: &str| match value {
        IntOrString::Int(is) => Some(*is) == number,
        IntOrString::String(is) => is == percent,
    };
    let spec = budget.spec.clone().unwrap_or_default();
    let most = spec
        .max_unavailable
        .is_some_and(|it| is(&it, Some(0), "0%"));
    most || spec.min_available.is_some_and(|it| is(&it, None, "100%"))
}

/// Whether one more pod would allow one eviction. With a percentage of all pods, it wouldn't.
pub fn keeps_a_number(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    let least = spec.and_then(|spec| spec.min_available.as_ref());
    matches!(least, Some(IntOrString::Int(_)))
}

/// Returns the rule of a budget, such as `minAvailable 2`.
pub fn rule_of(budget: &PodDisruptionBudget) -> String {
    let number = |value: &IntOrString| match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    };
    let spec = budget.spec.clone().unwrap_or_default();
    match (&spec.min_available, &spec.max_unavailable) {
        (Some(least), _) => format!("minAvailable {}", number(least)),
        (_, Some(most)) => format!("maxUnavailable {}", number(most)),
        _ => "no limit".into(),
    }
}

impl Group<'_> {
    fn finding(&self) -> Option<Finding> {
        let mut names: Vec<String> = self.pods.iter().map(|pod| full_name(*pod)).collect();
        names.sort();
        let pools: Vec<String> = self.pools.iter().map(|&pool| pool.to_owned()).collect();
        let pods = counted(&names, &on_nodes_of(&pools));
        let namespace = self.budgets.first()?.namespace().unwrap_or_default();
        if let [budget] = self.budgets[..] {
            let (reason, why) = why_not(budget)?;
            let (name, rule) = (full_name(budget), rule_of(budget));
            return Some(Finding {
                reason,
                message: format!("PodDisruptionBudget {name} ({rule}) {why}: {pods}"),
                help: self.help(budget, reason),
            });
        }
        let full: Vec<String> = self.budgets.iter().map(|it| full_name(*it)).collect();
        let short: Vec<String> = self.budgets.iter().map(|it| it.name_any()).collect();
        let budgets = full.join(" and ");
        Some(Finding {
            reason: FindingKind::BudgetsOverlap,
            message: format!(
                "PodDisruptionBudgets {budgets} select the same pod, so the Eviction API refuses to evict it: {pods}"
            ),
            help: format!("kubectl -n {namespace} get pdb {}", short.join(" ")),
        })
    }

    /// Returns the command that makes an eviction possible, or shows what is missing for it.
    fn help(&self, budget: &PodDisruptionBudget, reason: FindingKind) -> String {
        let (namespace, name) = (budget.namespace().unwrap_or_default(), budget.name_any());
        if reason == FindingKind::BudgetAllowsNoneNow {
            return match selector(budget) {
                Some(labels) => format!("kubectl -n {namespace} get pods -l {labels}"),
                None => format!("kubectl -n {namespace} get pdb {name}"),
            };
        }
        match self.owner().filter(|_| keeps_a_number(budget)) {
            Some((kind, owner)) => {
                let [_, least, _] = counts(&budget.status.clone().unwrap_or_default());
                let more = least + 1;
                format!("kubectl -n {namespace} scale {kind} {owner} --replicas={more}")
            }
            None => format!("kubectl -n {namespace} edit pdb {name}"),
        }
    }

    /// Returns the kind and the name of the workload of all these pods, if they have the same.
    fn owner(&self) -> Option<(&'static str, String)> {
        let mut owners: Vec<_> = self.pods.iter().map(|pod| owner(pod)).collect();
        owners.dedup();
        match &mut owners[..] {
            [one] => one.take(),
            _ => None,
        }
    }
}

/// Returns the kind and the name of the workload that makes a pod and can be scaled.
fn owner(pod: &Pod) -> Option<(&'static str, String)> {
    let mut owners = pod.owner_references().iter();
    let by = owners.find(|owner| owner.controller == Some(true))?;
    match by.kind.as_str() {
        "StatefulSet" => Some(("statefulset", by.name.clone())),
        "ReplicationController" => Some(("replicationcontroller", by.name.clone())),
        "ReplicaSet" => {
            // A Deployment names its ReplicaSets after itself and this label.
            let hash = pod.labels().get("pod-template-hash");
            let deployment = hash.and_then(|hash| by.name.strip_suffix(&format!("-{hash}")));
            Some(match deployment {
                Some(name) => ("deployment", name.to_owned()),
                None => ("replicaset", by.name.clone()),
            })
        }
        _ => None,
    }
}

/// Returns the labels that a budget selects. None if it also has expressions, or selects everything.
fn selector(budget: &PodDisruptionBudget) -> Option<String> {
    let selector = budget.spec.as_ref()?.selector.as_ref()?;
    let labels = selector.match_labels.as_ref().filter(|it| !it.is_empty())?;
    let has_expressions = selector
        .match_expressions
        .as_ref()
        .is_some_and(|it| !it.is_empty());
    let terms = labels.iter().map(|(key, value)| format!("{key}={value}"));
    let terms: Vec<String> = terms.collect();
    (!has_expressions).then(|| terms.join(","))
}
