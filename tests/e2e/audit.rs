//! Compares the operator's requests to the API server with the rights of its roles.

use std::{collections::BTreeSet, ops::Range};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::{Api, Client};
use serde::Deserialize;

use crate::stage::NAMESPACE;

/// Rights for requests that this test doesn't have. An admission plugin that is off by default needs the first right,
/// and policies need the second and the third one. The operator uses the fourth right if a volume is attached to a node
/// that it drains, and the fifth one if a person forces an operation.
const NOT_IN_THIS_TEST: [&str; 5] = [
    "update belay.dev/managedclusters/finalizers",
    "operate belay.dev/managedclusters",
    "operate belay.dev/nodes",
    "get /persistentvolumeclaims",
    "delete /pods",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(rename = "requestURI")]
    request_uri: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(default)]
    api_group: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

/// Checks that no request of the chart's pods was forbidden, and that the operator used all rights of its roles.
/// Requests in the lines of `uninstalling` may be forbidden, because the roles are deleted before the pods end.
pub async fn check(
    log: &str,
    uninstalling: &Range<usize>,
    client: &Client,
) -> anyhow::Result<String> {
    let events: Vec<Event> = log
        .lines()
        .map(|line| serde_json::from_str(line).context("an invalid audit event"))
        .collect::<anyhow::Result<_>>()?;
    let forbidden: BTreeSet<_> = events
        .iter()
        .enumerate()
        .filter(|(line, event)| decision(event) == Some("forbid") && !uninstalling.contains(line))
        .map(|(_, event)| event)
        .map(|event| {
            format!(
                "{}: {} {}",
                event.user.username, event.verb, event.request_uri
            )
        })
        .collect();
    ensure!(
        forbidden.is_empty(),
        "requests were forbidden: {forbidden:#?}"
    );
    let operator = format!("system:serviceaccount:{NAMESPACE}:belay");
    let of_operator: Vec<_> = events
        .iter()
        .filter(|event| event.user.username == operator)
        .collect();
    let used: BTreeSet<_> = of_operator
        .iter()
        .filter_map(|event| requested_right(event))
        .collect();
    let granted = granted(client).await?;
    let unused: Vec<_> = granted
        .iter()
        .filter(|right| !used.contains(*right) && !NOT_IN_THIS_TEST.contains(&right.as_str()))
        .collect();
    ensure!(
        unused.is_empty(),
        "granted but unused rights: {unused:#?}; used: {used:#?}"
    );
    Ok(format!(
        "{} requests of the operator, none forbidden; {} granted rights, all used",
        of_operator.len(),
        granted.len()
    ))
}

fn decision(event: &Event) -> Option<&str> {
    event
        .annotations
        .get("authorization.k8s.io/decision")
        .map(String::as_str)
}

/// Returns a right by its verb, API group, resource and subresource.
fn right(verb: &str, group: &str, resource: &str) -> String {
    format!("{verb} {group}/{resource}")
}

fn requested_right(event: &Event) -> Option<String> {
    let object = event.object_ref.as_ref()?;
    let resource = match object.subresource.as_str() {
        "" => object.resource.clone(),
        sub => format!("{}/{sub}", object.resource),
    };
    Some(right(&event.verb, &object.api_group, &resource))
}

/// Returns each right of the operator's roles.
async fn granted(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let cluster = Api::<ClusterRole>::all(client.clone())
        .get("belay-operator")
        .await?;
    let leader = Api::<Role>::namespaced(client.clone(), NAMESPACE)
        .get("belay-leader")
        .await?;
    let rules = [cluster.rules, leader.rules]
        .into_iter()
        .flatten()
        .flatten();
    Ok(rules.flat_map(|rule| rights(&rule)).collect())
}

fn rights(rule: &PolicyRule) -> Vec<String> {
    let mut rights = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            rights.extend(rule.verbs.iter().map(|verb| right(verb, group, resource)));
        }
    }
    rights
}
