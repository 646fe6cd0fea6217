//! The operator's flags. Each is an environment variable as well.

use std::{net::SocketAddr, path::PathBuf};

use belay::{operator::LeaderElection, telemetry::log::LogFormat};
use clap::{Parser, Subcommand};

/// Kubernetes clusters whose changes are operations that can be seen and aborted.
///
/// Without a command, the operator runs: on the cluster of KUBECONFIG, or as a pod on its own.
#[derive(Parser)]
#[command(version, about, long_about)]
pub struct Flags {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How log lines are written. Which ones are is set by `RUST_LOG`, "`info,kube_runtime=warn`" where it isn't set.
    #[arg(long, env = "BELAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// The namespaces whose clusters are looked after, such as `team-a,team-b`; all where it isn't set.
    #[arg(long, env = "BELAY_NAMESPACE", value_delimiter = ',')]
    pub namespace: Vec<String>,

    /// Where /metrics, /healthz and /readyz are served, such as `0.0.0.0:8080`; nowhere where it isn't set.
    #[arg(long, env = "BELAY_METRICS_ADDRESS")]
    pub metrics_address: Option<SocketAddr>,

    /// Whether only one of several operators works, and the others stand by.
    #[arg(long, env = "BELAY_LEADER_ELECTION", value_enum, default_value_t = LeaderElection::Auto)]
    pub leader_election: LeaderElection,

    /// The namespace of the Lease that they share; the pod's where it isn't set.
    #[arg(long, env = "BELAY_LEADER_ELECTION_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// The name of that Lease. Operators that look after the same clusters share it; made of the namespace
    /// where there is one, and `belay` otherwise, where it isn't set.
    #[arg(long, env = "BELAY_LEASE")]
    pub lease: Option<String>,

    /// The OpenTelemetry collector that a trace of each Operation is sent to, by OTLP over HTTP, such as
    /// `http://collector:4318`; none is sent where it isn't set.
    #[arg(long, env = "BELAY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Print the custom resource definitions: belay crds | kubectl apply -f -
    Crds {
        /// Write a file for each into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Print the admission policies and roles: belay policies | kubectl apply -f -
    Policies {
        /// Write a file for each into this folder instead.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Tell whether Belay works on the cluster of KUBECONFIG: it is asked for something that can't be done,
    /// and has to answer.
    Check {
        /// Where it is asked; the kubeconfig's namespace where this isn't set.
        #[arg(long, short)]
        namespace: Option<String>,
        /// Don't expect the API server to refuse: the policies aren't installed.
        #[arg(long)]
        without_policies: bool,
    },
}
