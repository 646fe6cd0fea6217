//! Roles for people, which aggregate to Kubernetes' own `view`, `edit` and `admin`. They separate three rights: to change
//! a cluster, to abort, and to force.

use k8s_openapi::{
    api::rbac::v1::{AggregationRule, ClusterRole, PolicyRule},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::api::GROUP;

const KINDS: [&str; 3] = ["managedclusters", "agentpools", "operations"];
/// The records of providers. Only Belay writes them.
const RECORDS: [&str; 1] = ["kwokcontrolplanes"];
const READ: [&str; 3] = ["get", "list", "watch"];
const CHANGE: [&str; 2] = ["patch", "update"];
const AGGREGATE_TO_BELAY_ADMIN: &str = "rbac.belay.dev/aggregate-to-belay-admin";

/// The roles.
pub fn roles() -> [ClusterRole; 5] {
    let writes = ["create", "delete", "deletecollection", "patch", "update"];
    let aborts = KINDS.map(|kind| format!("{kind}/abort"));
    let aborts = aborts.each_ref().map(String::as_str);
    [
        role(
            "belay-viewer",
            "view",
            vec![rule(&KINDS, &READ), rule(&RECORDS, &READ)],
        ),
        role(
            "belay-editor",
            "edit",
            vec![
                rule(&KINDS, &READ),
                rule(&KINDS, &writes),
                rule(&["agentpools/scale"], &["get", "patch", "update"]),
            ],
        ),
        // To abort is to annotate an Operation, whose spec is immutable. A user who may also change clusters and pools
        // may annotate those instead.
        role(
            "belay-aborter",
            "edit",
            vec![
                rule(&KINDS, &READ),
                rule(&["operations"], &CHANGE),
                rule(&aborts, &["update"]),
            ],
        ),
        forcer(),
        admin(),
    ]
}

/// The role of people who may have pods deleted that a budget protects, also in other namespaces. Only administrators
/// get it by aggregation.
fn forcer() -> ClusterRole {
    let labels = [(AGGREGATE_TO_BELAY_ADMIN.to_owned(), "true".to_owned())];
    ClusterRole {
        metadata: ObjectMeta {
            name: Some("belay-forcer".to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![
            rule(&KINDS, &READ),
            rule(&["operations"], &CHANGE),
            rule(&["operations/force"], &["update"]),
        ]),
        aggregation_rule: None,
    }
}

fn rule(resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |of: &[&str]| of.iter().map(|&one| one.to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![GROUP.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

fn role(name: &str, folds_into: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let labels = [
        aggregate_to(folds_into),
        (AGGREGATE_TO_BELAY_ADMIN.to_owned(), "true".to_owned()),
    ];
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        rules: Some(rules),
        aggregation_rule: None,
    }
}

/// The role that aggregates all others.
fn admin() -> ClusterRole {
    let selector = LabelSelector {
        match_labels: Some([(AGGREGATE_TO_BELAY_ADMIN.to_owned(), "true".to_owned())].into()),
        ..LabelSelector::default()
    };
    ClusterRole {
        metadata: ObjectMeta {
            name: Some("belay-admin".to_owned()),
            labels: Some([aggregate_to("admin")].into()),
            ..ObjectMeta::default()
        },
        rules: None,
        aggregation_rule: Some(AggregationRule {
            cluster_role_selectors: Some(vec![selector]),
        }),
    }
}

fn aggregate_to(role: &str) -> (String, String) {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
    (label, "true".to_owned())
}
