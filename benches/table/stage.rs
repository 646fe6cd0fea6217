//! The environment of the measurements: a real control plane with the chart's kinds, policies and rights, and an
//! operator with its own service account.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use belay::machinery::connection;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use serde_json::Value;
use testenv::{Component, Process};

use crate::audited::Audited;

/// The namespace where the chart is installed.
const RELEASE: &str = "belay-system";

/// The whole environment. It ends when it is dropped.
pub struct Stage {
    /// The client for people's requests: it has every right, through a service account. (The API server's Priority and
    /// Fairness doesn't apply to an administrator's requests.)
    pub client: Client,
    pub audited: Audited,
    /// The kubeconfig of the operator's service account.
    pub operators: PathBuf,
    /// The kubeconfig for people's requests.
    peoples: PathBuf,
}

impl Stage {
    /// Starts the environment.
    pub async fn set() -> anyhow::Result<Self> {
        Self::with(true).await
    }

    /// Starts the environment without the admission policies.
    pub async fn without_policies() -> anyhow::Result<Self> {
        Self::with(false).await
    }

    async fn with(policies: bool) -> anyhow::Result<Self> {
        let audited = Audited::start().await?;
        let control_plane = &audited.control_plane;
        let admin = control_plane.client().await?;
        namespace(&admin, RELEASE).await?;
        apply_chart(&audited, policies)?;
        let operator = control_plane
            .kubeconfig_for_service_account(RELEASE, "belay")
            .await?;
        let (people, peoples) = account(&audited, "people").await?;
        let people = control_plane.config(&people).await?;
        Ok(Self {
            peoples,
            client: connection::builder(people)?.build(),
            operators: control_plane.write_kubeconfig(&operator, "operator")?,
            audited,
        })
    }

    /// Returns the kubeconfig of another service account with every right, and its file.
    pub async fn account(&self, name: &str) -> anyhow::Result<(Kubeconfig, PathBuf)> {
        account(&self.audited, name).await
    }

    /// Returns a client for a kubeconfig.
    pub async fn client_of(&self, kubeconfig: &Kubeconfig) -> anyhow::Result<Client> {
        let config = self.audited.control_plane.config(kubeconfig).await?;
        Ok(connection::builder(config)?.build())
    }

    /// Applies an object as administrator.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let args = ["apply", "--server-side", "-f-"];
        self.audited.kubectl(&args, &object.to_string())
    }

    /// Deletes the bindings of the policies, so that nothing is refused and admission costs nothing.
    pub fn without_bindings(&self) -> anyhow::Result<()> {
        let all = "validatingadmissionpolicybindings,mutatingadmissionpolicybindings";
        self.audited.kubectl(&["delete", all, "--all"], "")
    }

    /// Installs the chart again, with its policies.
    pub fn install(&self) -> anyhow::Result<()> {
        apply_chart(&self.audited, true)
    }

    /// Creates a namespace.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        namespace(&self.client, name).await
    }

    /// Starts the operator for one namespace in its own process.
    pub fn operate_in(&self, namespace: &str) -> anyhow::Result<Process> {
        self.operate_with(&[&format!("--namespace={namespace}")])
    }

    /// Starts the operator with these arguments.
    pub fn operate_with(&self, args: &[&str]) -> anyhow::Result<Process> {
        // Another version, for comparison.
        let other = std::env::var_os("BELAY");
        let program = other
            .as_deref()
            .unwrap_or(OsStr::new(env!("CARGO_BIN_EXE_belay")));
        self.start(Path::new(program), args, "belay")
    }

    fn start(&self, program: &Path, args: &[&str], name: &str) -> anyhow::Result<Process> {
        let environment: [(&str, &OsStr); 2] = [
            ("KUBECONFIG", self.operators.as_os_str()),
            ("BELAY_LEADER_ELECTION_NAMESPACE", OsStr::new(RELEASE)),
        ];
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let log = self
            .audited
            .control_plane
            .logs_dir()
            .join(format!("{name}.log"));
        Ok(Process::start_with(program, &args, &environment, &log)?)
    }

    /// Starts a program of another project with every right.
    pub fn start_as_people(&self, program: &Path, args: &[&str]) -> anyhow::Result<Process> {
        let mut all = vec![
            "--kubeconfig".to_owned(),
            self.peoples.display().to_string(),
        ];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = self
            .audited
            .control_plane
            .logs_dir()
            .join(format!("{name}.log"));
        Ok(Process::start_with(program, &all, &[], &log)?)
    }

    /// Returns the process id of a part of the control plane.
    ///
    /// # Errors
    /// If it doesn't run.
    pub fn pid(&self, component: Component) -> anyhow::Result<u32> {
        self.audited
            .control_plane
            .pid(component)
            .context("a process")
    }
}

/// Creates a service account with every right. Returns its kubeconfig, and the file of the kubeconfig.
async fn account(audited: &Audited, name: &str) -> anyhow::Result<(Kubeconfig, PathBuf)> {
    let control_plane = &audited.control_plane;
    let kubeconfig = control_plane
        .kubeconfig_for_service_account(RELEASE, name)
        .await?;
    let subject = format!("--serviceaccount={RELEASE}:{name}");
    let all = "--clusterrole=cluster-admin";
    audited.kubectl(&["create", "clusterrolebinding", name, all, &subject], "")?;
    let file = control_plane.write_kubeconfig(&kubeconfig, name)?;
    Ok((kubeconfig, file))
}

async fn namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.into());
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

fn apply_chart(audited: &Audited, policies: bool) -> anyhow::Result<()> {
    let manifests = chart(audited.control_plane.dir(), policies)?;
    // This undoes what a benchmark changed.
    let args = ["apply", "--server-side", "--force-conflicts", "-f-"];
    audited.kubectl(&args, &manifests)
}

/// Returns what `helm install` creates, except the Deployment: its pods couldn't run anywhere.
fn chart(home: &Path, policies: bool) -> anyhow::Result<String> {
    let output = Command::new(testenv::binary("helm")?)
        .env("HOME", home)
        .args([
            "template",
            "belay",
            concat!(env!("CARGO_MANIFEST_DIR"), "/charts/belay"),
        ])
        .args([
            "--namespace",
            RELEASE,
            "--set",
            "replicas=0",
            "--kube-version",
            "1.36.0",
            // Without a cluster, Helm knows only the APIs that it was built with.
            "--api-versions",
            "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
        ])
        .arg(format!("--set=admission.enabled={policies}"))
        .arg("--set=admission.largeNamespaces=true")
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The shortest pause between two checks of [`until`].
const SOONEST: Duration = Duration::from_millis(200);
const LATEST: Duration = Duration::from_secs(3);

/// Checks again and again until something is true.
///
/// # Errors
/// If it isn't true within half an hour.
pub async fn until<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    is_so: impl Fn() -> F,
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        if is_so().await? {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_mins(30), "never {what}");
        // A check may cost the API server much, so checks take at most a tenth of the time.
        let pause = asked.elapsed() * 9;
        tokio::time::sleep(pause.clamp(SOONEST, LATEST)).await;
    }
}
