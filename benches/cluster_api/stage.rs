//! What the fleet stands on: a control plane that notes each request, Cluster API, and an operator with the chart's
//! rights.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use kube::Client;
use testenv::{ClusterApi, Component, ControlPlane, Process, cluster_api::Pace};

use super::{fleet, kinds, rights};

/// Who asks what, and no more.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;

/// All of it. It ends when it is dropped.
pub struct Stage {
    pub client: Client,
    // Before the control plane, so that it ends first.
    pub cluster_api: ClusterApi,
    pub audit_log: PathBuf,
    kubeconfig: PathBuf,
    operators: PathBuf,
    logs: PathBuf,
    _control_plane: ControlPlane,
    _files: tempfile::TempDir,
}

impl Stage {
    /// Starts it.
    pub async fn set() -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let (policy, audit_log) = (
            files.path().join("audit.json"),
            files.path().join("audit.log"),
        );
        fs::write(&policy, AUDIT)?;
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let control_plane = ControlPlane::builder()
            .arg(Component::ApiServer, flag("audit-policy-file", &policy))
            .arg(Component::ApiServer, flag("audit-log-path", &audit_log))
            // In megabytes: what is counted must not be rotated away.
            .arg(Component::ApiServer, "--audit-log-maxsize=100000")
            .start()
            .await?;
        let client = control_plane.client().await?;
        kinds::install(&client, &[fleet::NAMESPACE, rights::NAMESPACE]).await?;
        let kubeconfig = control_plane.dir().join("admin.kubeconfig");
        kubectl(
            &kubeconfig,
            &["apply", "-f-"],
            &rights::of_chart(control_plane.dir()),
        )?;
        let account =
            control_plane.kubeconfig_for_service_account(rights::NAMESPACE, rights::ACCOUNT);
        let operators = control_plane.write_kubeconfig(&account.await?, "operator")?;
        Ok(Self {
            client,
            cluster_api: ClusterApi::start_at(&control_plane, Pace::AsReleased).await?,
            audit_log,
            kubeconfig,
            operators,
            logs: control_plane.logs_dir(),
            _control_plane: control_plane,
            _files: files,
        })
    }

    /// Starts the operator, in a process of its own.
    pub fn operate(&self) -> anyhow::Result<Process> {
        let environment = [
            ("KUBECONFIG", self.operators.as_os_str()),
            ("BELAY_NAMESPACE", OsStr::new(fleet::NAMESPACE)),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        let log = self.logs.join("belay.log");
        Ok(Process::start_with(program, &[], &environment, &log)?)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let namespace = format!("--namespace={}", fleet::NAMESPACE);
        kubectl(&self.kubeconfig, &["apply", &namespace, "-f-"], manifests)
    }

    /// What the plugin prints for adopting a Cluster.
    pub fn adoption(&self, cluster: &str) -> anyhow::Result<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_kubectl-belay"))
            .env("KUBECONFIG", &self.kubeconfig)
            .args(["-n", fleet::NAMESPACE, "adopt", "cluster-api", cluster])
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "adopt {cluster}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn kubectl(kubeconfig: &Path, args: &[&str], input: &str) -> anyhow::Result<()> {
    let mut child = Command::new(testenv::binary("kubectl")?)
        .env("KUBECONFIG", kubeconfig)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("its input")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {args:?}: {error}");
    Ok(())
}
