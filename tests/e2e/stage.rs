//! The environment of the story: a control plane with an audit log, a real node with the images, kubectl and helm.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use kube::Client;
use testenv::{Component, ControlPlane, Node, image};
use tokio::{process::Command, time::sleep};

/// The namespace where the chart is installed.
pub const NAMESPACE: &str = "belay-system";
/// The longest wait for a state.
const PATIENCE: Duration = Duration::from_mins(5);
/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(100);
/// The image that the chart uses for kwok.
const KWOK: &str = "registry.k8s.io/kwok/kwok:v0.8.0";
/// Records all requests of pods to the API server.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts:belay-system"]}, {"level": "None"}]
}"#;

/// Everything that the story needs. It stops when it is dropped.
pub struct Stage {
    pub client: Client,
    path: OsString,
    // This field comes before the control plane, so that the node ends first.
    _node: Node,
    control_plane: ControlPlane,
    files: tempfile::TempDir,
    audit_log: PathBuf,
}

impl Stage {
    /// Starts a control plane and a node, and imports the images into the node.
    pub async fn start() -> anyhow::Result<Self> {
        let belay = std::env::var_os("BELAY_IMAGE").context(
            "BELAY_IMAGE must be the path of an archive of the operator's image: run make e2e, which builds it",
        )?;
        let path = path_with(&["kubectl", "helm"])?;
        let started = Instant::now();
        let files = tempfile::tempdir()?;
        let (policy, audit_log) = (
            files.path().join("audit.json"),
            files.path().join("audit.log"),
        );
        fs::write(&policy, AUDIT)?;
        Node::make_network()?;
        let control_plane = Node::prepared(ControlPlane::builder())
            // The chart runs it in a pod.
            .without(Component::Kwok)
            .arg(
                Component::ApiServer,
                format!("--audit-policy-file={}", policy.display()),
            )
            .arg(
                Component::ApiServer,
                format!("--audit-log-path={}", audit_log.display()),
            )
            .start()
            .await?;
        let node = Node::start(&control_plane).await?;
        node.import(Path::new(&belay))?;
        let kwok = testenv::binary("kwok")?;
        node.import(&image::archive(KWOK, &kwok, files.path())?)?;
        println!(
            "A control plane and a real node: ready in {:.1} s",
            started.elapsed().as_secs_f32()
        );
        Ok(Self {
            client: control_plane.client().await?,
            path,
            _node: node,
            control_plane,
            files,
            audit_log,
        })
    }

    /// Runs a command as a user would type it, and prints it with its output. Returns the output.
    pub async fn run(&self, line: &str) -> anyhow::Result<String> {
        println!("\n$ {line}");
        let output = self.shell(line).output().await?;
        let text = text(&output);
        if !text.is_empty() {
            println!("{text}");
        }
        if !output.status.success() {
            bail!("`{line}` ended with {}", output.status);
        }
        Ok(text)
    }

    /// Runs a command silently. Returns its output if it succeeded.
    pub async fn run_silently(&self, line: &str) -> anyhow::Result<Option<String>> {
        let output = self.shell(line).output().await?;
        Ok(output.status.success().then(|| text(&output)))
    }

    /// Waits until `check` returns a value.
    pub async fn until<T>(
        &self,
        what: &str,
        check: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            if let Some(seen) = check().await? {
                return Ok(seen);
            }
            if started.elapsed() > PATIENCE {
                bail!("not true after {} s: {what}", PATIENCE.as_secs());
            }
            sleep(PAUSE).await;
        }
    }

    /// Returns a folder for the story's files.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Returns the requests of the chart's pods to the API server, one JSON object per line.
    pub fn audit_log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.audit_log)?)
    }

    /// Prints the current state, and keeps the logs.
    pub async fn report_failure(&self) {
        for line in [
            "kubectl get nodes,mc,ap,op",
            "kubectl get pods -A -o wide",
            "kubectl get events -A --sort-by=.lastTimestamp | tail -20",
            "kubectl -n belay-system describe pods | tail -60",
            "kubectl -n belay-system logs -l app.kubernetes.io/part-of=belay --tail=30 --prefix",
        ] {
            // If the command fails, there is no other output to show.
            let _ = self.run(line).await;
        }
        let kept = std::env::temp_dir().join("belay-e2e");
        let copied = fs::create_dir_all(&kept).and_then(|()| {
            for log in fs::read_dir(self.control_plane.logs_dir())? {
                let log = log?;
                fs::copy(log.path(), kept.join(log.file_name()))?;
            }
            fs::copy(&self.audit_log, kept.join("audit.log"))
        });
        match copied {
            Ok(_) => eprintln!("\nAll logs: {}", kept.display()),
            Err(error) => eprintln!("\nfailed to keep the logs: {error}"),
        }
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", &self.path)
            .env(
                "KUBECONFIG",
                self.control_plane.dir().join("admin.kubeconfig"),
            )
            .env("HELM_CACHE_HOME", self.control_plane.dir().join("helm"))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        shell
    }
}

/// Prints the heading of the next part.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// Returns PATH with these programs' folders in front.
fn path_with(programs: &[&str]) -> anyhow::Result<OsString> {
    let mut folders = Vec::new();
    for name in programs {
        let program = testenv::binary(name)?;
        folders.push(
            program
                .parent()
                .context("a program without a folder")?
                .to_owned(),
        );
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        folders.into_iter().chain(std::env::split_paths(&path)),
    )?)
}
