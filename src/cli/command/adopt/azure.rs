//! `kubectl belay adopt azure`.

use clap::Args;

use crate::{
    api::AzureProviderSpec,
    cli::cluster::session::Session,
    provider::{Adopted, azure},
};

/// The AKS cluster to adopt, and the credentials to read it with.
#[derive(Args, Debug)]
pub struct AzureFlags {
    /// The cluster's name in Azure.
    name: String,

    /// The id of the cluster's subscription.
    #[arg(long)]
    subscription: String,

    /// The cluster's resource group.
    #[arg(long)]
    resource_group: String,

    /// The name of the `ManagedCluster`. By default, the cluster's name in Azure, in lower case.
    #[arg(long = "as")]
    as_: Option<String>,

    /// A Secret in the namespace with `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`. Belay will use it
    /// as well.
    #[arg(long)]
    credentials_secret: Option<String>,

    /// The address of Azure Resource Manager. By default, that of the public cloud.
    #[arg(long, env = "BELAY_AZURE_RESOURCE_MANAGER", default_value = azure::PUBLIC_CLOUD)]
    resource_manager: String,

    /// A PEM file with the certificate authorities that Azure's certificates are checked against. By default, the
    /// system's authorities.
    #[arg(long, env = "BELAY_AZURE_CERTIFICATES")]
    certificates: Option<std::path::PathBuf>,
}

impl AzureFlags {
    /// Returns the manifests that put the cluster under Belay's operations.
    pub async fn adopted(&self, session: &Session) -> anyhow::Result<Adopted> {
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
