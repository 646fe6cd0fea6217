//! Cluster API's controllers beside a control plane, as processes.

mod controller;
mod install;
mod manifests;
mod ports;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub use controller::{Controller, Pace};
use manifests::Manifests;
use ports::Reserved;

use crate::{ControlPlane, Error, Process, binaries, control_plane::free_ports, tried};

/// How long to wait for anything.
const READY: Duration = Duration::from_mins(3);
/// How long a controller may take to answer whether it is ready.
const ANSWER: Duration = Duration::from_secs(5);

/// Cluster API's controllers on a control plane: the core, the kubeadm providers for bootstrap and control planes, and
/// the development provider, whose machines are in memory. They stop when this is dropped, which must happen before the
/// control plane ends.
///
/// Each controller runs as its own service account, with the rights, kinds and webhooks of its release. Only the parts
/// that need a container or cert-manager are left out.
///
/// Each network namespace can have only one: the development provider always listens on port 19000, and on one port
/// from 20000 on for each of its clusters.
pub struct ClusterApi {
    processes: BTreeMap<Controller, Process>,
    programs: BTreeMap<Controller, Program>,
    logs: PathBuf,
    pace: Pace,
}

/// The path, the kubeconfig and the certificates that a controller is started with.
struct Program {
    path: PathBuf,
    kubeconfig: PathBuf,
    webhook_port: u16,
    /// The folder with the webhook server's certificate and key.
    certificates: PathBuf,
}

impl ClusterApi {
    /// Starts them, and waits until they are ready and the API server calls their webhooks. The control plane needs its
    /// controller-manager, which aggregates their roles.
    ///
    /// # Errors
    /// If a binary can't be built, port 19000 is taken, or a controller doesn't become ready.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self, Error> {
        Self::start_at(control_plane, Pace::AtOnce).await
    }

    /// Starts them with a pace.
    ///
    /// # Errors
    /// The same as [`ClusterApi::start`].
    pub async fn start_at(control_plane: &ControlPlane, pace: Pace) -> Result<Self, Error> {
        let reserved = Reserved::take()?;
        let ports = reserved.webhooks()?;
        let folder = write_certificates(control_plane)?;
        let mut this = Self {
            processes: BTreeMap::new(),
            programs: BTreeMap::new(),
            logs: control_plane.logs_dir(),
            pace,
        };
        for (controller, webhook_port) in &ports {
            let program = Program {
                path: binaries::binary(controller.name())?,
                kubeconfig: folder.join(format!("{}.kubeconfig", controller.name())),
                webhook_port: *webhook_port,
                certificates: folder.clone(),
            };
            this.programs.insert(*controller, program);
        }
        let manifests = Manifests::read(&ports, &control_plane.authority().certificate())?;
        let client = control_plane.client().await?;
        install::kinds_and_accounts(&client, &manifests).await?;
        this.write_kubeconfigs(control_plane).await?;
        drop(reserved);
        this.start_all().await?;
        install::webhooks(&client, &manifests).await?;
        Ok(this)
    }

    /// Kills a controller with SIGKILL.
    pub fn kill(&mut self, controller: Controller) {
        self.processes.remove(&controller);
    }

    /// Starts a killed controller again with the same webhooks, and waits until it is ready.
    ///
    /// # Errors
    /// If it doesn't become ready.
    pub async fn start_again(&mut self, controller: Controller) -> Result<(), Error> {
        let health_port = self.start_process(controller)?;
        self.wait_until_ready(controller, health_port).await
    }

    /// Returns the process id of a running controller.
    pub fn pid(&self, controller: Controller) -> Option<u32> {
        self.processes.get(&controller).map(Process::pid)
    }

    async fn write_kubeconfigs(&self, control_plane: &ControlPlane) -> Result<(), Error> {
        for (controller, program) in &self.programs {
            let (namespace, name) = controller.account();
            let account = control_plane.kubeconfig_for_service_account(namespace, name);
            let text = serde_json::to_string_pretty(&account.await?).unwrap_or_default();
            write(&program.kubeconfig, &text)?;
        }
        Ok(())
    }

    async fn start_all(&mut self) -> Result<(), Error> {
        let mut health_ports = Vec::new();
        for controller in Controller::ALL {
            health_ports.push((controller, self.start_process(controller)?));
        }
        for (controller, health_port) in health_ports {
            self.wait_until_ready(controller, health_port).await?;
        }
        Ok(())
    }

    /// Starts a controller, and returns the port of its readiness probe.
    fn start_process(&mut self, controller: Controller) -> Result<u16, Error> {
        // A running controller still holds its port.
        self.kill(controller);
        let program = &self.programs[&controller];
        let [health_port] = tried("failed to find a free port", free_ports())?;
        let args = [
            "--v=2".to_owned(),
            format!("--feature-gates={}", controller.feature_gates(self.pace)),
            format!("--webhook-port={}", program.webhook_port),
            format!("--webhook-cert-dir={}", program.certificates.display()),
            format!("--health-addr=127.0.0.1:{health_port}"),
            "--diagnostics-address=0".into(),
        ];
        let environment = [
            ("KUBECONFIG", program.kubeconfig.as_os_str()),
            // The address where the development provider serves its clusters.
            ("POD_IP", OsStr::new("127.0.0.1")),
        ];
        let log = self.logs.join(format!("{}.log", controller.name()));
        let process = Process::start_with(&program.path, &args, &environment, &log)?;
        self.processes.insert(controller, process);
        Ok(health_port)
    }

    async fn wait_until_ready(
        &mut self,
        controller: Controller,
        health_port: u16,
    ) -> Result<(), Error> {
        let began = Instant::now();
        while !is_ready(health_port).await {
            let Some(process) = self.processes.get_mut(&controller) else {
                break;
            };
            if !process.is_running() {
                return Err(process.error(controller.name(), "ended"));
            }
            if began.elapsed() > READY {
                return Err(process.error(controller.name(), "was not ready in time"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Whether a controller reports that it is ready. It does so once its webhook server answers.
async fn is_ready(health_port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, health_port)).await?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    // While nothing listens on the port, a connection can connect to itself, which never answers.
    let answer = timeout(ANSWER, ask).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.split(' ').nth(1) == Some("200")))
}

/// Writes the certificate of the webhook servers, and returns its folder.
fn write_certificates(control_plane: &ControlPlane) -> Result<PathBuf, Error> {
    let folder = control_plane.dir().join("cluster-api");
    tried("failed to make a folder", fs::create_dir_all(&folder))?;
    let hosts = ["localhost", "127.0.0.1"];
    let identity = control_plane
        .authority()
        .identity("cluster-api-webhooks", None, &hosts)?;
    write(&folder.join("tls.crt"), &identity.certificate)?;
    write(&folder.join("tls.key"), &identity.key)?;
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let what = format!("failed to write {}", path.display());
    tried(what, fs::write(path, text))
}
