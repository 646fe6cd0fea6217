//! How the operator runs.

use std::{net::SocketAddr, path::Path, time::Duration};

use crate::{
    machinery::{shard::Shard, watches::Scope},
    provider::{aws, azure},
};

/// The file with the pod's namespace. It exists only if this process runs in a pod.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Whether only one of several operators works, elected as the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LeaderElection {
    /// Yes in a pod or if there are several shards, otherwise no.
    Auto,
    /// Yes.
    Always,
    /// No: this is the only operator.
    Never,
}

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clusters that the operator manages.
    pub scope: Scope,
    /// The name of the Lease that the operators of the same clusters share. None for the default name.
    pub lease: Option<String>,
    /// Where metrics and health are served. None if they aren't served.
    pub metrics_address: Option<SocketAddr>,
    /// Whether only one of several operators works.
    pub leader_election: LeaderElection,
    /// The namespace of the Lease that they share. None for the pod's namespace.
    pub leader_election_namespace: Option<String>,
    /// Into how many shards the operators divide the clusters; one works on each.
    pub shards: u32,
    /// The OpenTelemetry collector that receives the traces. None for no traces.
    pub otlp_endpoint: Option<String>,
    /// How long a budget has to refuse an eviction before a force deletes the pod.
    pub force_after: Duration,
    /// How AWS is asked, and how often.
    pub aws: aws::Settings,
    /// Where Azure is reached, and how often.
    pub azure: azure::Settings,
}

impl Options {
    /// Returns the Lease of the operators that manage the same clusters.
    pub(super) fn lease(&self) -> String {
        let given = self.lease.clone();
        given.unwrap_or_else(|| match self.scope.namespaces() {
            [namespace] => format!("belay-{namespace}"),
            _ => "belay".into(),
        })
    }

    /// Returns the Lease of a shard.
    pub(super) fn lease_of(&self, shard: Shard) -> String {
        format!("{}-shard-{shard}", self.lease())
    }

    /// Returns the Leases of which an operator needs one to work. There is at least one.
    pub(super) fn leases_of_work(&self) -> Vec<String> {
        if self.shards > 1 {
            return Shard::all(self.shards)
                .map(|shard| self.lease_of(shard))
                .collect();
        }
        vec![self.lease()]
    }

    /// Returns whether it works only while it leads.
    ///
    /// # Errors
    /// If there are several shards, but leader election is off.
    pub(super) fn elects(&self) -> anyhow::Result<bool> {
        match self.leader_election {
            LeaderElection::Auto => Ok(self.shards > 1 || Path::new(POD_NAMESPACE).exists()),
            LeaderElection::Always => Ok(true),
            LeaderElection::Never => {
                anyhow::ensure!(
                    self.shards <= 1,
                    "{} shards need leader election: set --leader-election to auto or always, or --shards to 1",
                    self.shards
                );
                Ok(false)
            }
        }
    }
}
