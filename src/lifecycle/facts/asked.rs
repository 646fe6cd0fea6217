//! What specs ask for, in a form that can be stored and compared.

use serde_json::json;

use crate::{
    api::{AgentPool, AskedFor, ManagedCluster},
    lifecycle::{names::fingerprint, settings::NodeSettings},
};

/// Returns what a cluster's spec asks for.
pub fn asked_of_cluster(cluster: &ManagedCluster) -> AskedFor {
    let spec = &cluster.spec;
    AskedFor {
        kubernetes_version: Some(spec.kubernetes_version.clone()),
        count: None,
        power_state: Some(spec.power_state),
        settings: None,
        options: Some(fingerprint(&json!(spec.provider).to_string())),
    }
}

/// Returns what the spec of a pool in this cluster asks for, with those settings.
pub fn asked_of_pool(
    cluster: &ManagedCluster,
    pool: &AgentPool,
    settings: &NodeSettings,
) -> AskedFor {
    let spec = &pool.spec;
    let own = spec.kubernetes_version.as_ref();
    let version = own.unwrap_or(&cluster.spec.kubernetes_version);
    let options = json!([cluster.spec.provider, spec.upgrade_settings]);
    AskedFor {
        kubernetes_version: Some(version.clone()),
        count: Some(spec.count),
        power_state: Some(spec.power_state),
        settings: Some(fingerprint(&json!(settings).to_string())),
        options: Some(fingerprint(&options.to_string())),
    }
}
