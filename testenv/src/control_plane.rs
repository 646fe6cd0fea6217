//! A control plane: its folder and its processes.

mod access;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Component, Error, binaries,
    certificates::{self, Authority, Identity},
    kubeconfig::User,
    process::Process,
    tried,
};

/// How long a part may take to become ready.
const READY: Duration = Duration::from_mins(3);
/// How long a part may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// How often a start is attempted if another process takes a port first.
const ATTEMPTS: usize = 3;

/// The configuration of a control plane.
#[derive(Clone, Debug)]
pub struct Builder {
    components: BTreeSet<Component>,
    args: Vec<(Component, String)>,
    has_kubelets: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            components: Component::ALL.into(),
            args: Vec::new(),
            has_kubelets: false,
        }
    }
}

impl Builder {
    /// Leaves a part out. etcd and the API server always run.
    #[must_use]
    pub fn without(mut self, component: Component) -> Self {
        if !matches!(component, Component::Etcd | Component::ApiServer) {
            self.components.remove(&component);
        }
        self
    }

    /// Adds a flag to a part.
    #[must_use]
    pub fn arg(mut self, component: Component, arg: impl Into<String>) -> Self {
        self.args.push((component, arg.into()));
        self
    }

    /// Lets the API server send requests to kubelets, for example for logs.
    pub(crate) fn kubelet_client(mut self) -> Self {
        self.has_kubelets = true;
        self
    }

    /// Starts the control plane, and waits until it is ready.
    ///
    /// # Errors
    /// If a binary can't be built, or a part doesn't become ready.
    pub async fn start(self) -> Result<ControlPlane, Error> {
        let mut attempt = 1;
        loop {
            match ControlPlane::launch(&self).await {
                Err(Error::Component { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }
}

/// A running control plane. It ends when it is dropped.
pub struct ControlPlane {
    // Before the folder, so that the processes end before their files are deleted.
    processes: BTreeMap<Component, Process>,
    programs: BTreeMap<Component, (PathBuf, Vec<String>)>,
    authority: Authority,
    admin: Identity,
    port: u16,
    etcd_port: u16,
    folder: Option<TempDir>,
    path: PathBuf,
    /// Whether it failed to start; then its logs are kept.
    failed: bool,
}

impl ControlPlane {
    /// Returns a builder for a control plane with all parts.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a control plane with all parts.
    ///
    /// # Errors
    /// The same as [`Builder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    async fn launch(builder: &Builder) -> Result<Self, Error> {
        let folder = tried("failed to make a folder", TempDir::with_prefix("testenv-"))?;
        let authority = Authority::new()?;
        let admin = authority.identity("admin", Some("system:masters"), &[])?;
        let path = folder.path().to_owned();
        tried("failed to make a folder", fs::create_dir(path.join("logs")))?;
        let [etcd, peers, port] = tried("failed to find free ports", free_ports())?;
        let mut this = Self {
            processes: BTreeMap::new(),
            programs: BTreeMap::new(),
            authority,
            admin,
            port,
            etcd_port: etcd,
            folder: Some(folder),
            path,
            failed: false,
        };
        let started = this.start_all(builder, etcd, peers).await;
        this.failed = started.is_err();
        started.map(|()| this)
    }

    async fn start_all(&mut self, builder: &Builder, etcd: u16, peers: u16) -> Result<(), Error> {
        self.write_identities()?;
        for component in &builder.components {
            let program = binaries::binary(component.name())?;
            let mut args = self.args(*component, etcd, peers)?;
            if builder.has_kubelets && *component == Component::ApiServer {
                args.extend(self.kubelet_client_args()?);
            }
            args.extend(
                builder
                    .args
                    .iter()
                    .filter(|(of, _)| of == component)
                    .map(|(_, arg)| arg.clone()),
            );
            self.programs.insert(*component, (program, args));
        }
        for component in &builder.components {
            self.start_component(*component).await?;
        }
        self.wait_for_defaults().await
    }

    fn write_identities(&self) -> Result<(), Error> {
        self.write("ca.crt", &self.authority.certificate())?;
        let [private, public] = certificates::keys()?;
        self.write("service-accounts.key", &private)?;
        self.write("service-accounts.pub", &public)?;
        let hosts = [
            "localhost",
            "kubernetes",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
        ];
        let server = self.authority.identity("kube-apiserver", None, &hosts)?;
        self.write("apiserver.crt", &server.certificate)?;
        self.write("apiserver.key", &server.key)?;
        for component in [Component::ControllerManager, Component::Scheduler] {
            let user = format!("system:{}", component.name());
            let identity = self.authority.identity(&user, None, &[])?;
            self.write_kubeconfig(
                &self.kubeconfig(&User::Certificate(&identity)),
                component.name(),
            )?;
        }
        // kwok uses nodes, pods, leases and events of all namespaces; as administrator it needs no roles.
        self.write_kubeconfig(&self.kubeconfig_admin(), Component::Kwok.name())?;
        self.write_kubeconfig(&self.kubeconfig_admin(), "admin")?;
        Ok(())
    }

    fn args(&self, component: Component, etcd: u16, peers: u16) -> Result<Vec<String>, Error> {
        let file = |name: &str| self.path.join(name).display().to_string();
        let kubeconfig = format!(
            "--kubeconfig={}",
            file(&format!("{}.kubeconfig", component.name()))
        );
        Ok(match component {
            Component::Etcd => vec![
                format!("--data-dir={}", file("etcd")),
                format!("--listen-client-urls=http://127.0.0.1:{etcd}"),
                format!("--advertise-client-urls=http://127.0.0.1:{etcd}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peers}"),
                format!("--initial-cluster=default=http://127.0.0.1:{peers}"),
                "--unsafe-no-fsync".into(),
            ],
            Component::ApiServer => vec![
                format!("--etcd-servers=http://127.0.0.1:{etcd}"),
                "--bind-address=127.0.0.1".into(),
                format!("--secure-port={}", self.port),
                // The default reconciler refuses an address on loopback.
                "--endpoint-reconciler-type=none".into(),
                format!("--tls-cert-file={}", file("apiserver.crt")),
                format!("--tls-private-key-file={}", file("apiserver.key")),
                format!("--client-ca-file={}", file("ca.crt")),
                format!(
                    "--service-account-key-file={}",
                    file("service-accounts.pub")
                ),
                format!(
                    "--service-account-signing-key-file={}",
                    file("service-accounts.key")
                ),
                "--service-account-issuer=https://kubernetes.default.svc".into(),
                "--service-cluster-ip-range=10.96.0.0/16".into(),
                "--authorization-mode=Node,RBAC".into(),
                "--allow-privileged=true".into(),
            ],
            Component::ControllerManager => vec![
                kubeconfig,
                "--use-service-account-credentials".into(),
                // With the default limits, the tokens of its many controllers alone take 5 s.
                "--kube-api-qps=500".into(),
                "--kube-api-burst=500".into(),
                format!(
                    "--service-account-private-key-file={}",
                    file("service-accounts.key")
                ),
                format!("--root-ca-file={}", file("ca.crt")),
                // On a busy machine kwok's heartbeats are late, but the nodes aren't dead.
                "--node-monitor-grace-period=10m".into(),
                "--leader-elect=false".into(),
                "--secure-port=0".into(),
            ],
            Component::Scheduler => {
                vec![
                    kubeconfig,
                    "--leader-elect=false".into(),
                    "--secure-port=0".into(),
                ]
            }
            Component::Kwok => {
                let stages = binaries::kwok_stages()?;
                let stages = stages
                    .iter()
                    .map(|stage| format!("--config={}", stage.display()));
                [
                    kubeconfig,
                    "--manage-all-nodes=false".into(),
                    "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".into(),
                ]
                .into_iter()
                .chain(stages)
                .collect()
            }
        })
    }

    fn kubelet_client_args(&self) -> Result<[String; 2], Error> {
        let certificate = self.write("admin.crt", &self.admin.certificate)?;
        let key = self.write("admin.key", &self.admin.key)?;
        Ok([
            format!("--kubelet-client-certificate={}", certificate.display()),
            format!("--kubelet-client-key={}", key.display()),
        ])
    }

    async fn start_component(&mut self, component: Component) -> Result<(), Error> {
        let Some((program, args)) = self.programs.get(&component) else {
            return Ok(());
        };
        let log = self.logs_dir().join(format!("{}.log", component.name()));
        let process = Process::start(program, args, &log)?;
        self.processes.insert(component, process);
        // The API server is ready only while it reaches etcd, and it starts after etcd.
        if self.processes.contains_key(&Component::ApiServer)
            && matches!(component, Component::Etcd | Component::ApiServer)
        {
            self.wait_until_ready().await?;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let mut config = self.config(&self.kubeconfig_admin()).await?;
        config.default_retry = false;
        let client = Client::try_from(config)?;
        let began = Instant::now();
        loop {
            if let Ok(request) = http::Request::get("/readyz").body(Vec::new())
                && client.request_text(request).await.is_ok()
            {
                return Ok(());
            }
            for (component, process) in &mut self.processes {
                if !process.is_running() {
                    return Err(process.error(component.name(), "ended"));
                }
            }
            if began.elapsed() > READY
                && let Some(process) = self.processes.get(&Component::ApiServer)
            {
                return Err(process.error(Component::ApiServer.name(), "was not ready in time"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the default `ServiceAccount`, which the controller-manager creates and pods need.
    async fn wait_for_defaults(&mut self) -> Result<(), Error> {
        if !self.processes.contains_key(&Component::ControllerManager) {
            return Ok(());
        }
        let accounts = Api::<ServiceAccount>::namespaced(self.client().await?, "default");
        let began = Instant::now();
        while accounts.get_opt("default").await?.is_none() {
            let Some(process) = self.processes.get_mut(&Component::ControllerManager) else {
                break;
            };
            if !process.is_running() || began.elapsed() > READY {
                return Err(process.error(
                    Component::ControllerManager.name(),
                    "didn't create a ServiceAccount in time",
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Stops a part with SIGTERM and, after ten seconds, SIGKILL.
    pub fn stop(&mut self, component: Component) {
        if let Some(mut process) = self.processes.remove(&component) {
            process.end(GRACE);
        }
    }

    /// Kills a part with SIGKILL.
    pub fn kill(&mut self, component: Component) {
        self.processes.remove(&component);
    }

    /// Starts a stopped or killed part again with the same ports and data, and waits until the API server is ready.
    ///
    /// # Errors
    /// If it doesn't become ready.
    pub async fn start_again(&mut self, component: Component) -> Result<(), Error> {
        self.start_component(component).await
    }

    /// Freezes a part: it answers nothing, and its connections stay open.
    pub fn pause(&self, component: Component) {
        if let Some(process) = self.processes.get(&component) {
            process.signal(Signal::STOP);
        }
    }

    /// Resumes a paused part.
    pub fn resume(&self, component: Component) {
        if let Some(process) = self.processes.get(&component) {
            process.signal(Signal::CONT);
        }
    }

    /// Returns the process id of a running part.
    pub fn pid(&self, component: Component) -> Option<u32> {
        self.processes.get(&component).map(Process::pid)
    }

    /// Returns the API server's URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Returns etcd's address, for a client that uses its API without TLS.
    pub fn etcd_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.etcd_port).into()
    }

    /// Returns the folder with all files of this control plane.
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// Returns the folder with a log of each part.
    pub fn logs_dir(&self) -> PathBuf {
        self.path.join("logs")
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        tried(
            format!("failed to write {}", path.display()),
            fs::write(&path, text),
        )?;
        Ok(path)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // All at once, because their data is deleted anyway.
        for process in self.processes.values() {
            process.signal(Signal::KILL);
        }
        self.processes.clear();
        let is_kept =
            self.failed || std::thread::panicking() || std::env::var_os("TESTENV_KEEP").is_some();
        if let Some(folder) = self.folder.take().filter(|_| is_kept) {
            eprintln!(
                "testenv: logs are kept in {}",
                folder.keep().join("logs").display()
            );
        }
    }
}

/// Finds free ports on loopback. Another process may take a port first; then the control plane is started again.
pub(crate) fn free_ports<const COUNT: usize>() -> std::io::Result<[u16; COUNT]> {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}
