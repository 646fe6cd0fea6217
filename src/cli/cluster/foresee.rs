//! Looks at what will be in the way of drains, by the rights of the person who asks. What the person may not read is
//! named, and isn't an error.

use kube::ResourceExt as _;

use crate::{
    api::ManagedCluster,
    lifecycle::{Finding, Preflight},
    provider::nodes::preflight::{
        self, Seen,
        read::{self, Drained},
    },
};

use super::{errors, session::Session};

/// Returns what will be in the way if these nodes of a cluster are drained. `known` are findings that need no look into
/// the cluster.
pub async fn look(
    session: &Session,
    cluster: &ManagedCluster,
    drained: &[Drained],
    known: Vec<Finding>,
) -> Preflight {
    let mut found = Preflight {
        findings: known,
        unseen: Vec::new(),
    };
    if cluster.spec.provider.kwok.is_none() {
        found.unseen.push(format!(
            "the pods and PodDisruptionBudgets inside ManagedCluster {}: they aren't on this API server. The condition Preflight of an Operation reports what the operator sees",
            cluster.name_any()
        ));
    } else if drained.iter().any(|it| !it.nodes.is_empty()) {
        add_pods(session, drained, &mut found).await;
    }
    found.findings = preflight::sorted(found.findings);
    found
}

async fn add_pods(session: &Session, drained: &[Drained], found: &mut Preflight) {
    let client = &session.client;
    let mut seen = Seen::default();
    match read::pods(client, drained).await {
        Ok(pods) => seen.pools = pods,
        Err(error) => return found.unseen.push(unread("the pods", error)),
    }
    let (budgets, volumes) =
        tokio::join!(read::budgets(client), read::volumes(client, &seen.pools));
    match budgets {
        Ok(budgets) => seen.budgets = budgets,
        Err(error) => found.unseen.push(unread("the PodDisruptionBudgets", error)),
    }
    match volumes {
        Ok(volumes) => seen.volumes = volumes,
        Err(error) => found.unseen.push(unread("the PersistentVolumes", error)),
    }
    found.findings.extend(preflight::of_pods(&seen));
}

fn unread(what: &str, error: kube::Error) -> String {
    format!("{what}: {}", errors::words(&error.into()))
}
