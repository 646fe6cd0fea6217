//! The environment of the tests: a control plane with Belay, the controllers of a GitOps tool, and a Git server.

use std::{
    ffi::OsStr,
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
    /// Starts the environment, with the controllers of a tool.
    pub async fn start(start_tool: fn(&mut Self)) -> Arc<Self> {
        let control_plane = ControlPlane::start().await;
        let control_plane = control_plane.unwrap_or_else(|error| panic!("{error}"));
        let files = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(files.path().join("repositories")).expect("a folder");
        let git = git_server::serve(files.path().join("repositories")).await;
        let mut this = Self {
            client: control_plane.client().await.expect("a client"),
            git: git.expect("a Git server"),
            namespaces: AtomicUsize::new(0),
            processes: Vec::new(),
            control_plane,
            files,
        };
        for folder in ["crds", "policies"] {
            this.install(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        }
        this.wait_for_policies();
        this.start_belay();
        start_tool(&mut this);
        Arc::new(this)
    }

    /// Applies the manifests in a folder, and waits until the API server serves their kinds.
    pub fn install(&self, folder: &Path) {
        let folder = folder.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &folder], "");
        let established = ["wait", "--for=condition=Established", "crd", "--all"];
        let wait = [&established[..], &["--timeout=5m"]].concat();
        let started = Instant::now();
        while let Err(error) = self.try_kubectl(&wait, "") {
            // kubectl takes it for an error that a new kind has no conditions yet.
            let is_new = error.contains("accessor error");
            assert!(is_new && started.elapsed() < PATIENCE, "{error}");
            std::thread::sleep(Duration::from_millis(50));
        }
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

    /// Starts a program with the administrator's kubeconfig. It ends with the environment.
    pub fn start_process(
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

    /// Returns the folder for a repository.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.files.path().join("repositories").join(name)
    }

    /// Creates a folder for files of a program.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.files.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        folder
    }

    /// Creates a namespace that no other test uses, and returns its name.
    pub fn new_namespace(&self) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("team-{number}");
        self.kubectl(&["create", "namespace", &namespace], "");
        namespace
    }

    /// Creates a workload on a pool whose budget allows no eviction, and waits until its pods run.
    pub fn protect(&self, namespace: &str, pool: &str) {
        let example = std::fs::read_to_string("examples/quickstart/workload.yaml");
        let own = format!("belay.dev/namespace: {namespace}\n        belay.dev/agentpool: {pool}");
        let workload = example.expect("the example");
        let workload = workload.replace("belay.dev/agentpool: demo-np1", &own);
        let within = ["--namespace", namespace];
        self.kubectl(&[&within[..], &["apply", "-f", "-"]].concat(), &workload);
        let available = ["wait", "--for=condition=Available", "deployment/web"];
        self.kubectl(&[&within[..], &available, &["--timeout=5m"]].concat(), "");
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
        let kept = std::env::temp_dir().join(format!("belay-gitops-logs-{}", std::process::id()));
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
