//! What the API server refuses by itself: policies in CEL, without a webhook.
//!
//! `belay policies` prints them, and `policies/` holds them. They tell what the core tells of the same
//! refusal (`crate::lifecycle::messages`). A request is judged by what its object and a cached copy of a
//! cluster or pool say; where that is late, the core decides the same again.

mod abort;
mod cel;
mod cluster_changes;
mod new_pools;
mod operations;
mod operator;
mod policy;
mod pool_changes;
mod pool_scale;
mod power;
mod requested_by;
mod roles;
mod system_pools;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde::Serialize;
use serde_saphyr::ser::Error;

use crate::api::{AgentPool, ManagedCluster, Operation};

use policy::Policy;

fn validating() -> Vec<Policy> {
    vec![
        cluster_changes::policy(),
        pool_changes::policy(),
        new_pools::policy(),
        system_pools::policy(),
        operations::on_clusters(),
        operations::on_pools(),
        abort::policy(),
    ]
}

/// The definitions of all custom resources, in the order to install them: what the types say, and the rules
/// that are made from the core's messages.
pub fn crds() -> [CustomResourceDefinition; 3] {
    let mut pools = AgentPool::crd();
    for version in &mut pools.spec.versions {
        let schema = version.schema.as_mut();
        let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            let rules = schema.x_kubernetes_validations.get_or_insert_default();
            rules.push(pool_scale::rule());
        }
    }
    [ManagedCluster::crd(), pools, Operation::crd()]
}

/// The definitions as files of YAML, as `crds/` holds them: names and contents.
///
/// # Errors
/// Where a definition can't be written as YAML.
pub fn crd_files() -> Result<Vec<(String, String)>, Error> {
    let file = |crd: &CustomResourceDefinition| {
        let yaml = serde_saphyr::to_string(crd)?;
        Ok((format!("{}.yaml", crd.spec.names.plural), yaml))
    };
    crds().iter().map(file).collect()
}

/// The policies and roles as files of YAML, as `policies/` holds them: names and contents.
///
/// # Errors
/// Where one can't be written as YAML.
pub fn policy_files() -> Result<Vec<(String, String)>, Error> {
    let mut files = Vec::new();
    for policy in validating() {
        let both = [
            documents(&[policy.policy()])?,
            documents(&[policy.binding()])?,
        ];
        files.push((format!("{}.yaml", policy.name), both.join("---\n")));
    }
    let both = [
        documents(&[requested_by::policy()])?,
        documents(&[requested_by::binding()])?,
    ];
    files.push((format!("{}.yaml", requested_by::NAME), both.join("---\n")));
    files.push(("roles.yaml".to_owned(), documents(&roles::roles())?));
    Ok(files)
}

fn documents<T: Serialize>(objects: &[T]) -> Result<String, Error> {
    let texts: Result<Vec<_>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    Ok(texts?.join("---\n"))
}
