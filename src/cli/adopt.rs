//! `kubectl belay adopt`: prints the manifests that take an existing cluster under Belay's operations.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::provider::cluster_api;
#[cfg(feature = "azure")]
use crate::{
    api::AzureProviderSpec,
    provider::{Adopted, azure},
};

use super::{output, session::Session};

/// Print the manifests that take an existing cluster under Belay's operations.
///
/// They ask for what is there: applying them begins no operation, and changes nothing of the cluster.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl belay adopt cluster-api prod > prod.yaml\n  kubectl belay adopt azure prod --subscription 00000000-1111-2222-3333-444444444444 --resource-group fleet > prod.yaml\n  kubectl apply -f prod.yaml"
)]
pub struct AdoptFlags {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Adopt a Cluster of Cluster API, in the namespace.
    ClusterApi {
        /// The Cluster's name.
        name: String,
    },
    /// Adopt an AKS cluster. It is read as who is logged in by `az login`, or as the Secret that is named.
    #[cfg(feature = "azure")]
    Azure(AzureFlags),
}

/// Which AKS cluster is adopted, and who reads it.
#[cfg(feature = "azure")]
#[derive(Args, Debug)]
struct AzureFlags {
    /// The cluster's name in Azure.
    name: String,

    /// The id of its subscription.
    #[arg(long)]
    subscription: String,

    /// Its resource group.
    #[arg(long)]
    resource_group: String,

    /// The name of the `ManagedCluster`; that of the cluster in Azure, in small letters, where it isn't set.
    #[arg(long = "as")]
    as_: Option<String>,

    /// A Secret in the namespace with `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`; Belay will use it as
    /// well.
    #[arg(long)]
    credentials_secret: Option<String>,

    /// Where the Resource Manager of Azure is reached; that of the public cloud where it isn't set.
    #[arg(long, env = "BELAY_AZURE_RESOURCE_MANAGER", default_value = azure::PUBLIC_CLOUD)]
    resource_manager: String,

    /// A file with the authorities that Azure's certificates are checked by, PEM; those of the system where it isn't set.
    #[arg(long, env = "BELAY_AZURE_CERTIFICATES")]
    certificates: Option<std::path::PathBuf>,
}

#[cfg(feature = "azure")]
impl AzureFlags {
    async fn adopted(&self, session: &Session) -> anyhow::Result<Adopted> {
        let spec = AzureProviderSpec {
            subscription_id: self.subscription.clone(),
            resource_group: self.resource_group.clone(),
            name: self.name.clone(),
            credentials_secret: self.credentials_secret.clone(),
            ..AzureProviderSpec::default()
        };
        let settings = azure::Settings {
            resource_manager: self.resource_manager.clone(),
            certificates: self.certificates.clone(),
            ..azure::Settings::default()
        };
        let small = || self.name.to_lowercase().replace('_', "-");
        let name = self.as_.clone().unwrap_or_else(small);
        let place = (session.namespace.as_str(), name.as_str());
        azure::manifests(&session.client, &settings, place, &spec).await
    }
}

/// Prints the manifests. What Belay doesn't operate is named in a comment.
///
/// # Errors
/// Where the cluster can't be read.
pub async fn run(session: &Session, flags: &AdoptFlags) -> anyhow::Result<ExitCode> {
    let adopted = match &flags.from {
        From::ClusterApi { name } => {
            let adopted = cluster_api::manifests(&session.client, &session.namespace, name).await;
            adopted.map_err(|error| anyhow::anyhow!("{}: {}", error.reason, error.message))?
        }
        #[cfg(feature = "azure")]
        From::Azure(azure) => azure.adopted(session).await?,
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
