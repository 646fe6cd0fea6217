//! The `PodDisruptionBudgets` of pods.

use std::sync::Arc;

use crate::{
    machinery::{index::Index, watches::full_name},
    provider::requests::Blocked,
};
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Resource as _, ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use super::BLOCKED_BY_BUDGET;

/// Returns the budgets that select a pod.
pub fn of(budgets: &Index<PodDisruptionBudget>, pod: &Pod) -> Vec<Arc<PodDisruptionBudget>> {
    let mut found = budgets.of(&(pod.namespace().unwrap_or_default(), String::new()));
    found.retain(|budget| selects(budget, pod));
    found
}

/// Returns whether every budget of the pod allows a disruption now.
pub fn allow(budgets: &Index<PodDisruptionBudget>, pod: &Pod) -> bool {
    of(budgets, pod).iter().all(|budget| allowed(budget) > 0)
}

/// Returns how many disruptions a budget allows now.
pub fn allowed(budget: &PodDisruptionBudget) -> i32 {
    let status = budget.status.as_ref();
    let allowed = status.and_then(|status| status.disruptions_allowed);
    allowed.unwrap_or_default()
}

/// Explains a budget that waits for an eviction that was approved but never carried out, because the process that asked
/// for it died. For two minutes, the budget counts that pod as disrupted and allows no other eviction.
pub fn cut_off(budget: &PodDisruptionBudget, pod: &Pod) -> String {
    let status = budget.status.as_ref();
    let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
    let since = disrupted.and_then(|pods| pods.get(&pod.name_any()));
    since.map_or_else(String::new, |since| {
        format!(
            ", which counts an eviction that was approved at {} but didn't complete; this ends 2 minutes after that time",
            since.0
        )
    })
}

/// Returns the budget that doesn't allow the eviction of a pod now. None if each of these allows it.
pub fn protecting<'b>(
    budgets: impl IntoIterator<Item = &'b PodDisruptionBudget>,
    pod: &Pod,
) -> Option<&'b PodDisruptionBudget> {
    let protects = |budget: &&PodDisruptionBudget| allowed(budget) <= 0 && selects(budget, pod);
    budgets.into_iter().find(protects)
}

/// Returns what blocks a pod among these budgets. None if each of them allows its eviction now.
pub fn in_the_way(budgets: &[PodDisruptionBudget], pod: &Pod) -> Option<Blocked> {
    let budget = protecting(budgets, pod)?;
    let message = would_violate(&full_name(pod), budget);
    Some((BLOCKED_BY_BUDGET.to_owned(), message))
}

/// Returns a sentence that says that a budget doesn't allow the eviction of a pod.
pub fn would_violate(pod: &str, budget: &PodDisruptionBudget) -> String {
    let budget = full_name(budget);
    format!("eviction of {pod} would violate {BLOCKED_BY_BUDGET} {budget}")
}

/// Returns whether a budget selects a pod.
pub fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let matches = |selector: &LabelSelector| {
        let labels = pod.meta().labels.clone().unwrap_or_default();
        Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&labels))
    };
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    budget.namespace() == pod.namespace() && selector.is_some_and(matches)
}
