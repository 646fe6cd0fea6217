//! `kubectl belay adopt aws`.

use clap::Args;

use crate::{
    api::AwsProviderSpec,
    cli::cluster::session::Session,
    provider::{Adopted, aws},
};

/// The EKS cluster to adopt, and the credentials to read it with.
#[derive(Args, Debug)]
pub struct AwsFlags {
    /// The cluster's name in AWS.
    name: String,

    /// The cluster's region.
    #[arg(long, env = "AWS_REGION")]
    region: String,

    /// The name of the `ManagedCluster`. By default, the cluster's name in AWS, in lower case.
    #[arg(long = "as")]
    as_: Option<String>,

    /// A Secret in the namespace with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Belay will use it as well.
    #[arg(long)]
    credentials_secret: Option<String>,

    /// A PEM file with the certificate authorities that AWS's certificates are checked against. By default, the
    /// system's authorities.
    #[arg(long, env = "BELAY_AWS_CERTIFICATES")]
    certificates: Option<std::path::PathBuf>,
}

impl AwsFlags {
    /// Returns the manifests that put the cluster under Belay's operations.
    pub async fn adopted(&self, session: &Session) -> anyhow::Result<Adopted> {
        let spec = AwsProviderSpec {
            region: self.region.clone(),
            name: self.name.clone(),
            credentials_secret: self.credentials_secret.clone(),
            ..AwsProviderSpec::default()
        };
        let settings = aws::Settings {
            certificates: self.certificates.clone(),
            ..aws::Settings::default()
        };
        let small = || self.name.to_lowercase().replace('_', "-");
        let name = self.as_.clone().unwrap_or_else(small);
        let place = (session.namespace.as_str(), name.as_str());
        aws::manifests(&session.client, &settings, place, &spec).await
    }
}
