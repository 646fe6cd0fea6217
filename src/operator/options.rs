//! How the operator runs.

use std::{net::SocketAddr, path::Path};

use crate::{
    machinery::{shard::Shard, watches::Scope},
    provider::{aws, azure},
};

/// What says that this process is a pod, and where.
const POD_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Whether only one of several operators works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LeaderElection {
    /// In a pod, and where there are shards, yes; elsewhere, no.
    Auto,
    /// Yes.
    Always,
    /// No: this is the only one.
    Never,
}

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clusters that are looked after.
    pub scope: Scope,
    /// The name of the Lease that the operators of the same clusters share, where it is given.
    pub lease: Option<String>,
    /// Where metrics and health are served.
    pub metrics_address: Option<SocketAddr>,
    /// Whether only one of several operators works.
    pub leader_election: LeaderElection,
    /// The namespace of the Lease that they share; the pod's where there is none.
    pub leader_election_namespace: Option<String>,
    /// Into how many shards the operators divide the clusters; one works on each.
    pub shards: u32,
    /// The OpenTelemetry collector that traces are sent to.
    pub otlp_endpoint: Option<String>,
    /// How AWS is asked, and how often.
    pub aws: aws::Settings,
    /// Where Azure is reached, and how often.
    pub azure: azure::Settings,
}

impl Options {
    /// The Lease of the operators that look after the same clusters.
    pub(super) fn lease(&self) -> String {
        let given = self.lease.clone();
        given.unwrap_or_else(|| match self.scope.namespaces() {
            [namespace] => format!("belay-{namespace}"),
            _ => "belay".into(),
        })
    }

    /// The Lease of a shard.
    pub(super) fn lease_of(&self, shard: Shard) -> String {
        format!("{}-shard-{shard}", self.lease())
    }

    /// Those by one of which an operator works: at least one.
    pub(super) fn leases_of_work(&self) -> Vec<String> {
        if self.shards > 1 {
            return Shard::all(self.shards)
                .map(|shard| self.lease_of(shard))
                .collect();
        }
        vec![self.lease()]
    }

    /// Whether it works only where it leads.
    ///
    /// # Errors
    /// Where it divides the clusters with others, and is the only one.
    pub(super) fn elects(&self) -> anyhow::Result<bool> {
        match self.leader_election {
            LeaderElection::Auto => Ok(self.shards > 1 || Path::new(POD_NAMESPACE).exists()),
            LeaderElection::Always => Ok(true),
            LeaderElection::Never => {
                anyhow::ensure!(
                    self.shards <= 1,
                    "{} shards need leader election: leave --leader-election at auto, or --shards at 1",
                    self.shards
                );
                Ok(false)
            }
        }
    }
}
