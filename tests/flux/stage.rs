//! The environment of the tests: a control plane with Belay, Flux's two controllers, and a Git server.

use std::{
    ffi::OsStr,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kube::Client;
use tempfile::TempDir;
use testenv::{ClusterApi, ControlPlane, Process};

use super::git_server;

/// The longest wait for a state.
pub const PATIENCE: Duration = Duration::from_mins(5);

pub struct Stage {
    pub client: Client,
    /// The URL of the Git server.
    pub git: String,
    namespaces: AtomicUsize,
    // This field comes before the control plane, so that the processes end first.
    processes: Vec<Process>,
    control_plane: ControlPlane,
    files: TempDir,
}

impl Stage {
    /// Starts the environment.
    pub async fn start() -> Arc<Self> {
        let control_plane = ControlPlane::start().await;
        let control_plane = control_plane.unwrap_or_else(|error| panic!("{error}"));
        let files = tempfile::tempdir().expect("a folder");
        for folder in ["repositories", "artifacts"] {
            std::fs::create_dir(files.path().join(folder)).expect("a folder");
        }
        let git = git_server::serve(files.path().join("repositories")).await;
        let mut this = Self {
            client: control_plane.client().await.expect("a client"),
            git: git.expect("a Git server"),
            namespaces: AtomicUsize::new(0),
            processes: Vec::new(),
            control_plane,
            files,
        };
        this.install();
        this.start_belay();
        this.start_flux();
        Arc::new(this)
    }

    /// Installs Belay's and Flux's kinds, and Belay's policies.
    fn install(&self) {
        let ours =
            ["crds", "policies"].map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        let theirs = testenv::flux_crds().expect("Flux's kinds");
        for folder in ours.iter().chain(&theirs) {
            let folder = folder.display().to_string();
            self.kubectl(&["apply", "--server-side", "-f", &folder], "");
        }
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        self.kubectl(&[&established[..], &["--timeout=5m"]].concat(), "");
        self.wait_for_policies();
    }

    /// Waits until the API server enforces the policies.
    fn wait_for_policies(&self) {
        let cluster = "{apiVersion: belay.dev/v1alpha1, kind: ManagedCluster, metadata: {name: probe}, spec: {kubernetesVersion: 1.35.7, provider: {kwok: {}}}}";
        let pool = "{apiVersion: belay.dev/v1alpha1, kind: AgentPool, metadata: {name: probe}, spec: {clusterName: probe, count: 1, kubernetesVersion: 1.36.3}}";
        let started = Instant::now();
        loop {
            let created = self.try_kubectl(&["apply", "-f", "-"], cluster);
            let refused = self.try_kubectl(&["create", "--dry-run=server", "-f", "-"], pool);
            if created.is_ok() && refused.is_err_and(|why| why.contains("can't be newer")) {
                break;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the policies are still not in effect"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kubectl(&["delete", "managedcluster", "probe"], "");
    }

    fn start_belay(&mut self) {
        let log = OsStr::new("info,kube_runtime=warn,belay=debug");
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        self.start_process(program, "belay", &[], &[("RUST_LOG", log)]);
    }

    fn start_flux(&mut self) {
        let artifacts = self.files.path().join("artifacts");
        // Another process may take the port first. Then source-controller ends, and its log shows this.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        // Metrics and health have fixed ports, and 0 turns them off.
        let common = ["--metrics-addr=0", "--health-addr=0", "--log-level=debug"].map(String::from);
        let source = [
            format!("--storage-path={}", artifacts.display()),
            format!("--storage-addr={address}"),
            format!("--storage-adv-addr={address}"),
        ];
        let kustomize = [
            // A new commit must not wait for the health checks of the previous commit.
            "--feature-gates=CancelHealthCheckOnNewRevision=true".to_owned(),
            // A test must not wait for the health checks of other tests.
            "--concurrent=20".to_owned(),
        ];
        for (name, own) in [
            ("source-controller", &source[..]),
            ("kustomize-controller", &kustomize[..]),
        ] {
            let program = testenv::binary(name).unwrap_or_else(|error| panic!("{error}"));
            let temporary = self.files.path().as_os_str().to_owned();
            let args = [&common, own].concat();
            self.start_process(&program, name, &args, &[("TMPDIR", &temporary)]);
        }
    }

    fn start_process(
        &mut self,
        program: &Path,
        name: &str,
        args: &[String],
        more: &[(&str, &OsStr)],
    ) {
        let kubeconfig = self.control_plane.dir().join("admin.kubeconfig");
        let environment = [&[("KUBECONFIG", kubeconfig.as_os_str())], more].concat();
        let process = Process::start_with(program, args, &environment, &self.log_file(name));
        self.processes.push(process.expect("started"));
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.control_plane.logs_dir().join(format!("{name}.log"))
    }

    /// Starts the controllers of Cluster API. They end when the returned value is dropped.
    pub async fn start_cluster_api(&self) -> ClusterApi {
        let cluster_api = ClusterApi::start(&self.control_plane).await;
        cluster_api.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs the plugin in a namespace, and returns its output.
    pub fn plugin(&self, namespace: &str, args: &[&str]) -> String {
        let kubeconfig = self.control_plane.dir().join("admin.kubeconfig");
        let mut plugin = Command::new(env!("CARGO_BIN_EXE_kubectl-belay"));
        plugin.env("KUBECONFIG", kubeconfig).args(["-n", namespace]);
        run(plugin.args(args), "").unwrap_or_else(|error| panic!("belay {args:?}: {error}"))
    }

    /// Returns the log of a process.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_file(name)).expect("a log")
    }

    /// Returns the folder of the repositories.
    pub fn repositories(&self) -> PathBuf {
        self.files.path().join("repositories")
    }

    /// Creates a namespace that no other test uses, and returns its name.
    pub fn new_namespace(&self) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("team-{number}");
        self.kubectl(&["create", "namespace", &namespace], "");
        namespace
    }

    /// Runs kubectl with this input, and returns its output.
    pub fn kubectl(&self, args: &[&str], input: &str) -> String {
        self.try_kubectl(args, input)
            .unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    /// Runs kubectl, and returns its output or its error.
    pub fn try_kubectl(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut kubectl = self.control_plane.kubectl().expect("kubectl");
        run(kubectl.args(args), input)
    }

    /// Copies the logs to a folder that remains when the control plane is deleted.
    pub fn keep_logs(&self) {
        let kept = std::env::temp_dir().join(format!("belay-flux-logs-{}", std::process::id()));
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(self.control_plane.logs_dir()).arg(&kept);
        if run(&mut copy, "").is_ok() {
            eprintln!("all logs are in {}", kept.display());
        }
    }
}

/// Runs a program with this input, and returns its output or its error.
pub fn run(command: &mut Command, input: &str) -> Result<String, String> {
    use std::io::Write as _;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    // The program may end before it has read the whole input.
    let _ = child
        .stdin
        .take()
        .expect("an input")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().expect("ends");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
