//! The operator's flags. Each is an environment variable as well.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use belay::{
    machinery::shard::MOST_SHARDS,
    operator::LeaderElection,
    provider::{aws, azure},
    telemetry::log::LogFormat,
};
use clap::{Args, Parser, Subcommand};

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

    /// Into how many shards the operators that share the Lease divide the clusters, each with the same number: one operator
    /// works on each shard, and each takes its part of them.
    #[arg(long, env = "BELAY_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SHARDS)))]
    pub shards: u32,

    /// The OpenTelemetry collector that a trace of each Operation is sent to, by OTLP over HTTP, such as
    /// `http://collector:4318`; none is sent where it isn't set.
    #[arg(long, env = "BELAY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    #[command(flatten)]
    pub aws: AwsFlags,

    #[command(flatten)]
    pub azure: AzureFlags,
}

/// How AWS is asked. EKS and STS are reached where the region says, or `AWS_ENDPOINT_URL_EKS` and `AWS_ENDPOINT_URL_STS`.
#[derive(Args)]
pub struct AwsFlags {
    /// A file with the authorities that AWS's certificates are checked by, PEM; those of the system where it isn't set.
    #[arg(
        id = "aws-certificates",
        long = "aws-certificates",
        env = "BELAY_AWS_CERTIFICATES"
    )]
    pub certificates: Option<PathBuf>,

    /// The namespaces whose clusters may be operated by the operator's own identity in AWS, such as `team-a,team-b`, or
    /// `*`; none where it isn't set. Clusters of others name a Secret.
    #[arg(
        id = "aws-identity-namespaces",
        long = "aws-identity-namespaces",
        env = "BELAY_AWS_IDENTITY_NAMESPACES",
        value_delimiter = ','
    )]
    pub identity_namespaces: Vec<String>,

    /// How many seconds pass between two looks at an EKS cluster on which nothing goes on.
    #[arg(id = "aws-look-seconds", long = "aws-look-seconds", env = "BELAY_AWS_LOOK_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub look_seconds: u64,
}

impl From<AwsFlags> for aws::Settings {
    fn from(flags: AwsFlags) -> Self {
        Self {
            certificates: flags.certificates,
            identity_namespaces: flags.identity_namespaces,
            look_every: Duration::from_secs(flags.look_seconds),
        }
    }
}

/// Where Azure is reached, and how often. Entra ID is reached where `AZURE_AUTHORITY_HOST` says.
#[derive(Args)]
pub struct AzureFlags {
    /// Where the Resource Manager of Azure is reached; that of the public cloud where it isn't set.
    #[arg(long = "azure-resource-manager", env = "BELAY_AZURE_RESOURCE_MANAGER", default_value = azure::PUBLIC_CLOUD)]
    pub resource_manager: String,

    /// A file with the authorities that Azure's certificates are checked by, PEM; those of the system where it isn't set.
    #[arg(
        id = "azure-certificates",
        long = "azure-certificates",
        env = "BELAY_AZURE_CERTIFICATES"
    )]
    pub certificates: Option<PathBuf>,

    /// The namespaces whose clusters may be operated by the operator's own identity in Azure, such as `team-a,team-b`, or
    /// `*`; none where it isn't set. Clusters of others name a Secret.
    #[arg(
        id = "azure-identity-namespaces",
        long = "azure-identity-namespaces",
        env = "BELAY_AZURE_IDENTITY_NAMESPACES",
        value_delimiter = ','
    )]
    pub identity_namespaces: Vec<String>,

    /// How many seconds pass between two looks at an AKS cluster on which nothing goes on.
    #[arg(id = "azure-look-seconds", long = "azure-look-seconds", env = "BELAY_AZURE_LOOK_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub look_seconds: u64,
}

impl From<AzureFlags> for azure::Settings {
    fn from(flags: AzureFlags) -> Self {
        Self {
            resource_manager: flags.resource_manager,
            certificates: flags.certificates,
            identity_namespaces: flags.identity_namespaces,
            look_every: Duration::from_secs(flags.look_seconds),
        }
    }
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
        /// Only the additional policy for namespaces with hundreds of clusters (docs/refusals.md).
        #[arg(long)]
        large_namespaces: bool,
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
