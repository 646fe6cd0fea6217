//! Access to a control plane: kubeconfigs of users and accounts, clients, kubectl.

use std::{path::PathBuf, process::Command};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::ControlPlane;
use crate::{
    Error, binaries,
    certificates::Authority,
    kubeconfig::{User, kubeconfig},
};

impl ControlPlane {
    /// Returns a kubeconfig of the administrator, with all rights.
    pub fn kubeconfig_admin(&self) -> Kubeconfig {
        self.kubeconfig(&User::Certificate(&self.admin))
    }

    /// Returns a kubeconfig of a user in these groups and in `system:authenticated`.
    pub fn kubeconfig_for_user(&self, name: &str, groups: &[&str]) -> Kubeconfig {
        self.kubeconfig(&User::As(&self.admin, name, groups))
    }

    /// Returns a kubeconfig of a `ServiceAccount` with a token for a day. Creates the account if it doesn't exist.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Kubeconfig, Error> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client().await?, namespace);
        if accounts.get_opt(name).await?.is_none() {
            let mut account = ServiceAccount::default();
            account.metadata.name = Some(name.to_owned());
            accounts.create(&PostParams::default(), &account).await?;
        }
        let spec = TokenRequestSpec {
            expiration_seconds: Some(24 * 60 * 60),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest {
            spec: Some(spec),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        let token = answer
            .status
            .and_then(|status| status.token)
            .unwrap_or_default();
        Ok(self.kubeconfig(&User::Token(&token)))
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn kubeconfig(&self, user: &User<'_>) -> Kubeconfig {
        kubeconfig(&self.url(), &self.authority.certificate(), user)
    }

    /// Returns a client of the administrator, with all rights.
    ///
    /// # Errors
    /// If no client can be made.
    pub async fn client(&self) -> Result<Client, Error> {
        self.client_for(&self.kubeconfig_admin()).await
    }

    /// Returns a client for a kubeconfig.
    ///
    /// # Errors
    /// If no client can be made.
    pub async fn client_for(&self, kubeconfig: &Kubeconfig) -> Result<Client, Error> {
        Ok(Client::try_from(self.config(kubeconfig).await?)?)
    }

    /// Returns a client's configuration for a kubeconfig.
    ///
    /// # Errors
    /// If the kubeconfig can't be used.
    pub async fn config(&self, kubeconfig: &Kubeconfig) -> Result<Config, Error> {
        Ok(
            Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
                .await?,
        )
    }

    /// Writes a kubeconfig into the folder, for programs. Returns its path.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write_kubeconfig(&self, kubeconfig: &Kubeconfig, name: &str) -> Result<PathBuf, Error> {
        let text = serde_json::to_string_pretty(kubeconfig).unwrap_or_default();
        self.write(&format!("{name}.kubeconfig"), &text)
    }

    /// Returns a kubectl command of the control plane's version, as administrator.
    ///
    /// # Errors
    /// If kubectl can't be built.
    pub fn kubectl(&self) -> Result<Command, Error> {
        let mut command = Command::new(binaries::binary("kubectl")?);
        command.env("KUBECONFIG", self.path.join("admin.kubeconfig"));
        Ok(command)
    }
}
