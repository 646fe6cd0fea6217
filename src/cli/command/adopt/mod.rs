//! `kubectl belay adopt`: prints the manifests that put an existing cluster under Belay's operations.

#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::{
    cli::{cluster::session::Session, terminal::output},
    provider::cluster_api,
};

/// Print the manifests that put an existing cluster under Belay's operations.
///
/// The manifests ask for the cluster as it is now: applying them begins no operation, and changes nothing in the
/// cluster.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl belay adopt cluster-api prod > prod.yaml\n  kubectl belay adopt azure prod --subscription 00000000-1111-2222-3333-444444444444 --resource-group fleet > prod.yaml\n  kubectl belay adopt aws prod --region eu-west-1 > prod.yaml\n  kubectl apply -f prod.yaml"
)]
pub struct AdoptFlags {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Adopt a Cluster of Cluster API in the namespace.
    ClusterApi {
        /// The Cluster's name.
        name: String,
    },
    /// Adopt an AKS cluster. Reads it with the login of `az login`, or with the credentials in the given Secret.
    #[cfg(feature = "azure")]
    Azure(azure::AzureFlags),
    /// Adopt an EKS cluster. Reads it with the identity that AWS's own tools would use, for example from `AWS_PROFILE`,
    /// or with the credentials in the given Secret.
    #[cfg(feature = "aws")]
    Aws(aws::AwsFlags),
}

/// Prints the manifests. A comment names what Belay doesn't operate.
///
/// # Errors
/// Returns an error if the cluster can't be read.
pub async fn run(session: &Session, flags: &AdoptFlags) -> anyhow::Result<ExitCode> {
    let adopted = match &flags.from {
        From::ClusterApi { name } => {
            cluster_api::manifests(&session.client, &session.namespace, name).await?
        }
        #[cfg(feature = "azure")]
        From::Azure(azure) => azure.adopted(session).await?,
        #[cfg(feature = "aws")]
        From::Aws(aws) => aws.adopted(session).await?,
    };
    for left_out in &adopted.left_out {
        output::say(&format!("# Left out: {left_out}."))?;
    }
    let texts: Result<Vec<_>, _> = adopted
        .manifests
        .iter()
        .map(serde_saphyr::to_string)
        .collect();
    output::say(texts?.join("---\n").trim_end())?;
    Ok(ExitCode::SUCCESS)
}
