//! The operator's flags. Each can be set by an environment variable as well.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use belay::{
    machinery::shard::MOST_SHARDS,
    operator::LeaderElection,
    provider::{aws, azure},
    telemetry::log::LogFormat,
};
use clap::{Args, Parser, Subcommand};

/// A Kubernetes operator that runs each change to a cluster as an operation, which shows its progress and can be
/// aborted.
///
/// Without a command, the operator runs: on the cluster of KUBECONFIG, or, in a pod, on the pod's own cluster.
#[derive(Parser)]
#[command(version, about, long_about)]
pub struct Flags {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The format of log lines. `RUST_LOG` selects which lines are written; its default is `info,kube_runtime=warn`.
    #[arg(long, env = "BELAY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// The namespaces whose clusters Belay manages, such as `team-a,team-b`. By default, all namespaces.
    #[arg(long, env = "BELAY_NAMESPACE", value_delimiter = ',')]
    pub namespace: Vec<String>,

    /// The address where /metrics, /healthz and /readyz are served, such as `0.0.0.0:8080`. By default, they aren't
    /// served.
    #[arg(long, env = "BELAY_METRICS_ADDRESS")]
    pub metrics_address: Option<SocketAddr>,

    /// Whether several operators elect a leader. The leader works, and the others stand by.
    #[arg(long, env = "BELAY_LEADER_ELECTION", value_enum, default_value_t = LeaderElection::Auto)]
    pub leader_election: LeaderElection,

    /// The namespace of the Lease that they share. By default, the pod's namespace.
    #[arg(long, env = "BELAY_LEADER_ELECTION_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// The name of that Lease. Operators that manage the same clusters share it. By default, `belay-NAMESPACE` if
    /// `--namespace` names exactly one namespace, otherwise `belay`.
    #[arg(long, env = "BELAY_LEASE")]
    pub lease: Option<String>,

    /// The number of shards into which the operators that share the Lease divide the clusters. All of them need the
    /// same number. One operator works on each shard, and each operator takes its part of the shards.
    #[arg(long, env = "BELAY_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SHARDS)))]
    pub shards: u32,

    /// The OpenTelemetry collector that receives a trace of each Operation, by OTLP over HTTP, such as
    /// `http://collector:4318`. By default, no traces are sent.
    #[arg(long, env = "BELAY_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// How long a `PodDisruptionBudget` has to refuse an eviction before a force deletes the pod, in seconds. For
    /// tests.
    #[arg(long, env = "BELAY_FORCE_AFTER_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), hide = true)]
    pub force_after_seconds: u64,

    #[command(flatten)]
    pub aws: AwsFlags,

    #[command(flatten)]
    pub azure: AzureFlags,
}

/// How Belay reaches AWS. The region sets the addresses of EKS and STS; `AWS_ENDPOINT_URL_EKS` and
/// `AWS_ENDPOINT_URL_STS` override them.
#[derive(Args)]
pub struct AwsFlags {
    /// A PEM file with the certificate authorities that AWS's certificates are checked against. By default, the
    /// system's authorities.
    #[arg(
        id = "aws-certificates",
        long = "aws-certificates",
        env = "BELAY_AWS_CERTIFICATES"
    )]
    pub certificates: Option<PathBuf>,

    /// The namespaces whose clusters may use the operator's own identity in AWS, such as `team-a,team-b`, or `*` for
    /// all. By default, none. Clusters in other namespaces name a Secret.
    #[arg(
        id = "aws-identity-namespaces",
        long = "aws-identity-namespaces",
        env = "BELAY_AWS_IDENTITY_NAMESPACES",
        value_delimiter = ','
    )]
    pub identity_namespaces: Vec<String>,

    /// How often Belay looks at an EKS cluster on which nothing is in progress, in seconds.
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

/// How Belay reaches Azure, and how often it looks. `AZURE_AUTHORITY_HOST` sets the address of Entra ID.
#[derive(Args)]
pub struct AzureFlags {
    /// The address of Azure Resource Manager. By default, that of the public cloud.
    #[arg(long = "azure-resource-manager", env = "BELAY_AZURE_RESOURCE_MANAGER", default_value = azure::PUBLIC_CLOUD)]
    pub resource_manager: String,

    /// A PEM file with the certificate authorities that Azure's certificates are checked against. By default, the
    /// system's authorities.
    #[arg(
        id = "azure-certificates",
        long = "azure-certificates",
        env = "BELAY_AZURE_CERTIFICATES"
    )]
    pub certificates: Option<PathBuf>,

    /// The namespaces whose clusters may use the operator's own identity in Azure, such as `team-a,team-b`, or `*` for
    /// all. By default, none. Clusters in other namespaces name a Secret.
    #[arg(
        id = "azure-identity-namespaces",
        long = "azure-identity-namespaces",
        env = "BELAY_AZURE_IDENTITY_NAMESPACES",
        value_delimiter = ','
    )]
    pub identity_namespaces: Vec<String>,

    /// How often Belay looks at an AKS cluster on which nothing is in progress, in seconds.
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
        /// Write them into this folder, one file each, instead of printing them.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Print the admission policies and roles: belay policies | kubectl apply -f -
    Policies {
        /// Write them into this folder, one file each, instead of printing them.
        #[arg(long)]
        output: Option<PathBuf>,
        /// Print only the additional policy for namespaces with hundreds of clusters (docs/refusals.md).
        #[arg(long)]
        large_namespaces: bool,
    },
    /// Check whether Belay works on the cluster of KUBECONFIG: create an Operation that must fail, and wait for the
    /// operator's answer.
    Check {
        /// The namespace of that Operation. By default, the kubeconfig's namespace.
        #[arg(long, short)]
        namespace: Option<String>,
        /// Skip the check of the admission policies, because they aren't installed.
        #[arg(long)]
        without_policies: bool,
    },
}
