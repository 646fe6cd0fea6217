//! The environment of the fleet: a control plane that records each request, Cluster API, and an operator with the
//! chart's rights.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use kube::Client;
use testenv::{ClusterApi, Process, cluster_api::Pace};

use super::{audited::Audited, fleet, kinds, rights};

/// The whole environment. It ends when it is dropped.
pub struct Stage {
    pub client: Client,
    // Before the control plane, so that it ends first.
    pub cluster_api: ClusterApi,
    pub audited: Audited,
    operators: PathBuf,
}

impl Stage {
    /// Starts the environment.
    pub async fn set() -> anyhow::Result<Self> {
        let audited = Audited::start().await?;
        let control_plane = &audited.control_plane;
        let client = control_plane.client().await?;
        kinds::install(&client, &[fleet::NAMESPACE, rights::NAMESPACE]).await?;
        audited.kubectl(&["apply", "-f-"], &rights::of_chart(control_plane.dir()))?;
        let account =
            control_plane.kubeconfig_for_service_account(rights::NAMESPACE, rights::ACCOUNT);
        let operators = control_plane.write_kubeconfig(&account.await?, "operator")?;
        Ok(Self {
            client,
            cluster_api: ClusterApi::start_at(control_plane, Pace::AsReleased).await?,
            operators,
            audited,
        })
    }

    /// Starts the operator in its own process.
    pub fn operate(&self) -> anyhow::Result<Process> {
        let environment = [
            ("KUBECONFIG", self.operators.as_os_str()),
            ("BELAY_NAMESPACE", OsStr::new(fleet::NAMESPACE)),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        let log = self.audited.control_plane.logs_dir().join("belay.log");
        Ok(Process::start_with(program, &[], &environment, &log)?)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let namespace = format!("--namespace={}", fleet::NAMESPACE);
        self.audited
            .kubectl(&["apply", &namespace, "-f-"], manifests)
    }

    /// Returns what the plugin prints to adopt a Cluster.
    pub fn adoption(&self, cluster: &str) -> anyhow::Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_kubectl-belay"))
            .env(
                "KUBECONFIG",
                self.audited.control_plane.dir().join("admin.kubeconfig"),
            )
            .args(["-n", fleet::NAMESPACE, "adopt", "cluster-api", cluster])
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "adopt {cluster}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }
}
