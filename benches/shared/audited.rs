//! A control plane whose API server records each request of a program.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use testenv::{Component, ControlPlane};

/// Records who requests what, and nothing more.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
}"#;

/// Whether etcd waits until its writes are on the disk (`FSYNC=1`).
pub fn has_fsync() -> bool {
    env::var("FSYNC").is_ok_and(|fsync| !fsync.is_empty())
}

/// The control plane, and its audit log.
pub struct Audited {
    pub control_plane: ControlPlane,
    pub log: PathBuf,
    _files: tempfile::TempDir,
}

impl Audited {
    /// Starts the control plane.
    ///
    /// # Errors
    /// If it doesn't start.
    pub async fn start() -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let (policy, log) = (
            files.path().join("audit.json"),
            files.path().join("audit.log"),
        );
        fs::write(&policy, AUDIT)?;
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        // The last of two flags takes effect.
        let fsync = format!("--unsafe-no-fsync={}", !has_fsync());
        let control_plane = ControlPlane::builder()
            .arg(Component::Etcd, fsync)
            .arg(Component::ApiServer, flag("audit-policy-file", &policy))
            .arg(Component::ApiServer, flag("audit-log-path", &log))
            // In megabytes: the requests to count mustn't be rotated away.
            .arg(Component::ApiServer, "--audit-log-maxsize=100000")
            .start()
            .await?;
        Ok(Self {
            control_plane,
            log,
            _files: files,
        })
    }

    /// Runs kubectl as administrator, with this input.
    ///
    /// # Errors
    /// The error that kubectl reports.
    pub fn kubectl(&self, args: &[&str], input: &str) -> anyhow::Result<()> {
        let mut child = self
            .control_plane
            .kubectl()?
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
}
