//! What the API server refuses by itself: CEL policies, without a webhook.
//!
//! `belay policies` prints them, and `policies/` contains them. They refuse with the same messages as the core
//! (`crate::lifecycle::messages`). A policy judges a request by its object and by a cached copy of a cluster or pool.
//! If the copy is outdated, the core makes the same decision again.

mod abort;
mod cel;
mod cluster_changes;
mod cluster_creation;
mod force;
mod labels;
mod marks;
mod mutation;
mod new_pools;
mod nodes;
mod operations;
mod operator;
mod policy;
mod pool_changes;
mod pool_scale;
mod power;
mod replacing;
mod requested_by;
mod rights;
mod roles;
mod system_pools;

use serde::Serialize;
use serde_saphyr::ser::Error;

use mutation::Mutation;
use policy::Policy;

fn validating() -> Vec<Policy> {
    vec![
        cluster_changes::policy(),
        cluster_creation::policy(),
        pool_changes::policy(),
        pool_scale::policy(),
        new_pools::of_deleted_clusters(),
        new_pools::of_a_version(),
        new_pools::of_a_wrong_label(),
        system_pools::policy(),
        operations::on_clusters(),
        operations::on_pools(),
        rights::policy(),
        replacing::on_targets(),
        replacing::on_scale(),
        labels::policy(),
        nodes::policy(),
        abort::policy(),
        force::policy(),
    ]
}

/// Returns the policies and roles as YAML files, as in `policies/`: names and contents.
///
/// # Errors
/// Returns an error if one can't be written as YAML.
pub fn policy_files() -> Result<Vec<(String, String)>, Error> {
    let mut files = Vec::new();
    for policy in validating() {
        files.push(file(policy.name, &policy.policy(), &policy.binding())?);
    }
    files.push(mutating(&requested_by::policy())?);
    files.push(mutating(&force::requested_by())?);
    files.push(("roles.yaml".to_owned(), documents(&roles::roles())?));
    Ok(files)
}

/// The policy for namespaces of very many clusters, in the same form. It isn't installed by default.
///
/// # Errors
/// Where it can't be written as YAML.
pub fn policy_files_for_large_namespaces() -> Result<Vec<(String, String)>, Error> {
    Ok(vec![mutating(&marks::policy())?])
}

fn mutating(policy: &Mutation) -> Result<(String, String), Error> {
    file(policy.name, &policy.policy(), &policy.binding())
}

fn file(
    name: &str,
    policy: &impl Serialize,
    binding: &impl Serialize,
) -> Result<(String, String), Error> {
    let (policy, binding) = (
        serde_saphyr::to_string(policy)?,
        serde_saphyr::to_string(binding)?,
    );
    Ok((format!("{name}.yaml"), format!("{policy}---\n{binding}")))
}

fn documents<T: Serialize>(objects: &[T]) -> Result<String, Error> {
    let texts: Result<Vec<_>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    Ok(texts?.join("---\n"))
}
