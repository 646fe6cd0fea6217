//! A control plane with Belay's kinds, and kubectl for it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use testenv::{Builder, Component, ControlPlane};
use tokio::sync::{Mutex, OnceCell};

use super::belay::{KUBECTL_PATIENCE, PATIENCE};

/// The control plane of all tests, or of a single test.
pub struct World {
    pub control_plane: Mutex<ControlPlane>,
    admin: Kubeconfig,
    pub kubeconfig: PathBuf,
    pub logs: PathBuf,
    namespaces: AtomicUsize,
    /// Whether its clients retry when the API server reports that it isn't ready yet.
    pub retries: AtomicBool,
    without_policies: OnceCell<Arc<World>>,
}

/// Whether a file contains a policy of a kind that API servers before 1.36 don't have.
fn is_mutating(policy: &Path) -> bool {
    let text = std::fs::read_to_string(policy).expect("a policy");
    text.contains("kind: MutatingAdmissionPolicy\n")
}

impl World {
    /// Starts a control plane with Belay's kinds and policies.
    pub async fn start() -> Arc<Self> {
        Self::start_on(ControlPlane::builder()).await
    }

    /// Starts a control plane from this builder, with Belay's kinds and policies.
    pub async fn start_on(builder: Builder) -> Arc<Self> {
        let control_plane = builder.start().await;
        let this = Self::of(control_plane.unwrap_or_else(|error| panic!("{error}")));
        let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
        let files = std::fs::read_dir(policies).expect("the policies");
        let can_record = this.can_record_requester();
        let files: Vec<_> = files
            .map(|file| file.expect("a policy").path())
            .filter(|file| can_record || !is_mutating(file))
            .map(|file| format!("--filename={}", file.display()))
            .collect();
        let files = files.iter().map(String::as_str);
        this.kubectl(&["apply"].into_iter().chain(files).collect::<Vec<_>>());
        this.wait_for_policies();
        this
    }

    /// Whether the API server can record who requests an abort: it can since Kubernetes 1.36.
    pub fn can_record_requester(&self) -> bool {
        self.try_kubectl(&[
            "get",
            "mutatingadmissionpolicies.v1.admissionregistration.k8s.io",
        ])
        .is_ok()
    }

    /// Returns a world whose API server has no policies, so that Belay itself must refuse. The first call starts it.
    pub async fn without_policies(&self) -> Arc<Self> {
        let started = self
            .without_policies
            .get_or_init(Self::start_without_policies)
            .await;
        started.clone()
    }

    async fn start_without_policies() -> Arc<Self> {
        let control_plane = ControlPlane::start().await;
        Self::of(control_plane.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Installs Belay's kinds on a control plane.
    pub fn of(control_plane: ControlPlane) -> Arc<Self> {
        let this = Self {
            admin: control_plane.kubeconfig_admin(),
            kubeconfig: control_plane.dir().join("admin.kubeconfig"),
            logs: control_plane.logs_dir(),
            control_plane: Mutex::new(control_plane),
            namespaces: AtomicUsize::new(0),
            retries: AtomicBool::new(false),
            without_policies: OnceCell::new(),
        };
        this.apply_kinds();
        Arc::new(this)
    }

    /// Applies Belay's kinds, and waits until the API server serves them.
    pub fn apply_kinds(&self) {
        self.kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")]);
        let kinds = [
            "managedclusters",
            "agentpools",
            "operations",
            "kwokcontrolplanes",
        ];
        for kind in kinds {
            let crd = format!("crd/{kind}.belay.dev");
            let is_established = "--for=condition=Established";
            self.kubectl(&["wait", is_established, &crd, KUBECTL_PATIENCE]);
        }
        // Discovery is ready a little later.
        let started = Instant::now();
        while self.try_kubectl(&["explain", "operation"]).is_err() {
            assert!(
                started.elapsed() < PATIENCE,
                "`kubectl explain operation` still fails"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        // Storage is ready later still; kubectl retries until then.
        self.kubectl(&["get", "--all-namespaces", &kinds.join(",")]);
    }

    /// Waits until the API server enforces the policies: the last one, and the one that records who requests an abort.
    pub fn wait_for_policies(&self) {
        let cluster = "{apiVersion: belay.dev/v1alpha1, kind: ManagedCluster, metadata: {name: probe, annotations: {belay.dev/abort: x}}, spec: {kubernetesVersion: 1.35.7, provider: {kwok: {}}}}";
        let pool = "{apiVersion: belay.dev/v1alpha1, kind: AgentPool, metadata: {name: probe}, spec: {clusterName: probe, count: 1, kubernetesVersion: 1.36.3}}";
        let apply = ["apply", "--server-side", "-o", "yaml"];
        let dry_run = [&apply[..], &["--dry-run=server"]].concat();
        let can_record = self.can_record_requester();
        let started = Instant::now();
        loop {
            let is_recorded = self.kubectl_with(&dry_run, cluster).is_ok_and(|object| {
                let recorded = belay::api::ABORT_REQUESTED_BY_ANNOTATION;
                (object.contains(recorded) || !can_record)
                    && self.kubectl_with(&apply, cluster).is_ok()
            });
            let refused = self.kubectl_with(&dry_run, pool).err();
            if is_recorded && refused.is_some_and(|why| why.contains("can't be newer")) {
                break;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the policies are still not in effect"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kubectl(&["delete", "managedcluster", "probe"]);
    }

    /// Runs kubectl with a manifest.
    pub fn kubectl_with(&self, args: &[&str], manifest: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(manifest.as_bytes()).expect("written");
        let path = file.path().display().to_string();
        self.try_kubectl(&[args, &["-f", &path]].concat())
    }

    /// Creates a namespace that no other test uses, and returns its name.
    pub async fn new_namespace(&self, client: &Client) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("team-{number}");
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        let namespaces = Api::all(client.clone());
        let created = namespaces.create(&PostParams::default(), &namespace).await;
        created.expect("created");
        name
    }

    /// Runs kubectl, and returns its output. Panics if it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args)
            .unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    /// Runs kubectl, and returns its output or its error.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let program = testenv::binary("kubectl").expect("kubectl");
        let output = Command::new(program)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(args)
            .output()
            .expect("runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    pub async fn client(&self) -> Client {
        Client::try_from(self.config().await).expect("a client")
    }

    /// Returns an administrator's client configuration, without retries.
    pub async fn config(&self) -> Config {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(self.admin.clone(), &options).await;
        let mut config = config.expect("a configuration");
        config.default_retry = self.retries.load(Ordering::Relaxed);
        config
    }

    /// Kills the API server. It stays down until [`World::start_api_server`].
    pub async fn kill_api_server(&self) {
        self.kill(Component::ApiServer).await;
    }

    /// Starts the API server again.
    pub async fn start_api_server(&self) {
        self.start_again(Component::ApiServer).await;
    }

    /// Kills a component with SIGKILL. It stays down until [`World::start_again`].
    pub async fn kill(&self, component: Component) {
        self.control_plane.lock().await.kill(component);
    }

    /// Starts a component again, and waits until the API server answers.
    pub async fn start_again(&self, component: Component) {
        let started = self.control_plane.lock().await.start_again(component).await;
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Freezes the API server: it answers no request, and its connections stay open.
    pub async fn pause_api_server(&self) {
        self.control_plane.lock().await.pause(Component::ApiServer);
    }

    /// Resumes the API server.
    pub async fn resume_api_server(&self) {
        self.control_plane.lock().await.resume(Component::ApiServer);
    }

    /// Copies the logs to a folder that remains when the control plane is deleted.
    pub fn keep_logs(&self) {
        let kept = std::env::temp_dir().join(format!("belay-test-logs-{}", std::process::id()));
        let copied = Command::new("cp")
            .arg("-r")
            .arg(&self.logs)
            .arg(&kept)
            .status();
        if copied.is_ok_and(|status| status.success()) {
            eprintln!(
                "the logs of the control plane and of each operator are in {}",
                kept.display()
            );
        }
    }
}
