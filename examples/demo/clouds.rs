//! The fakes of clouds, which the operator and the plugin use instead of real clouds.

use std::fs;

use anyhow::Context as _;
use testenv::clouds::{FakeAws, FakeAzure};

use crate::{screen, stage::Stage};

/// The fakes that were started.
#[derive(Default)]
pub struct Clouds {
    aws: Option<FakeAws>,
    azure: Option<FakeAzure>,
}

impl Clouds {
    /// Whether a fake was started.
    pub fn is_any(&self) -> bool {
        self.aws.is_some() || self.azure.is_some()
    }

    /// Returns the fake of AWS.
    pub fn aws(&self) -> anyhow::Result<&FakeAws> {
        self.aws.as_ref().context("the demo doesn't run with AWS")
    }

    /// Returns the fake of Azure.
    pub fn azure(&self) -> anyhow::Result<&FakeAzure> {
        self.azure
            .as_ref()
            .context("the demo doesn't run with Azure")
    }
}

impl Stage {
    /// Starts a fake of AWS.
    pub async fn start_aws(&mut self) -> anyhow::Result<()> {
        screen::heading("A fake of AWS, which verifies signatures and answers as AWS documents")?;
        let aws = FakeAws::start().await?;
        let url = aws.url().to_owned();
        screen::say(&format!("STS and EKS: {url}"))?;
        self.environment = vec![
            ("AWS_ENDPOINT_URL_EKS", url.clone()),
            ("AWS_ENDPOINT_URL_STS", url),
            ("BELAY_AWS_CERTIFICATES", self.trusted(aws.authority())?),
            ("BELAY_AWS_LOOK_SECONDS", "1".into()),
        ];
        self.clouds.aws = Some(aws);
        Ok(())
    }

    /// Starts a fake of Azure.
    pub async fn start_azure(&mut self) -> anyhow::Result<()> {
        screen::heading("A fake of Azure, which answers like a recorded AKS")?;
        let azure = FakeAzure::start().await?;
        let url = azure.url().to_owned();
        screen::say(&format!("Entra ID and the Resource Manager: {url}"))?;
        self.environment = vec![
            ("BELAY_AZURE_RESOURCE_MANAGER", url.clone()),
            ("AZURE_AUTHORITY_HOST", url),
            ("BELAY_AZURE_CERTIFICATES", self.trusted(azure.authority())?),
            ("BELAY_AZURE_LOOK_SECONDS", "1".into()),
        ];
        self.clouds.azure = Some(azure);
        Ok(())
    }

    /// Writes the certificate of a cloud's authority to a file, and returns its path.
    fn trusted(&self, authority: &str) -> anyhow::Result<String> {
        let file = self.folder().join("cloud.pem");
        fs::write(&file, authority)?;
        Ok(file.display().to_string())
    }
}
