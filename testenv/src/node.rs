//! A real node: kubelet, containerd, runc and kube-proxy, beside a control plane in the same namespaces.

mod files;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1 as core;
use kube::Api;

use crate::{
    Component, ControlPlane, Error, Process, binaries, control_plane::Builder, image,
    kubeconfig::User, namespaces::run, tried,
};

/// The binaries that are built for a node.
pub(crate) const BINARIES: [&str; 9] = [
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "bridge",
    "host-local",
    "loopback",
    "runc",
    "kubelet",
    "kube-proxy",
];

/// The node's name.
pub const NAME: &str = "real-0";
/// The node's address, on the veth pair that acts as its network card. The API server uses it as well.
pub(crate) const ADDRESS: &str = "172.30.0.1";
/// The image of a pod's sandbox.
const PAUSE: &str = "localhost/pause:1";
/// How long the node may take to become ready.
const READY: Duration = Duration::from_mins(3);
/// The programs that run as long as the node, in the order in which they start.
const PARTS: [&str; 3] = ["containerd", "kubelet", "kube-proxy"];

/// A running node. It ends when it is dropped, and its pods end with their namespaces.
pub struct Node {
    processes: Vec<(&'static str, Process)>,
    folder: PathBuf,
    ctr: PathBuf,
}

impl Node {
    /// Prepares a control plane for a node: pods can reach the API server, and the API server can reach the kubelet.
    #[must_use]
    pub fn prepared(builder: Builder) -> Builder {
        [
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={ADDRESS}"),
            "--endpoint-reconciler-type=lease".into(),
            "--kubelet-preferred-address-types=InternalIP".into(),
        ]
        .into_iter()
        .fold(builder, |builder, arg| {
            builder.arg(Component::ApiServer, arg)
        })
        .kubelet_client()
    }

    /// Creates the network of the process's namespaces: loopback, and the node's address. Call it before the control
    /// plane starts.
    ///
    /// # Errors
    /// If the network can't be created.
    pub fn make_network() -> Result<(), Error> {
        let address = format!("{ADDRESS}/24");
        for args in [
            "link set lo up",
            "link add node0 type veth peer name node0p",
            &format!("addr add {address} dev node0"),
            "link set node0 up",
            "link set node0p up",
            "route add default dev node0",
        ] {
            run("ip", &args.split(' ').collect::<Vec<_>>())?;
        }
        tried(
            "failed to let packets pass",
            fs::write("/proc/sys/net/ipv4/ip_forward", "1"),
        )
    }

    /// Starts the node, and waits until it is ready.
    ///
    /// # Errors
    /// If a binary can't be built, or the node doesn't become ready.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self, Error> {
        let folder = control_plane.dir().join("node");
        tried("failed to make a folder", fs::create_dir(&folder))?;
        // So that one unmount removes everything that is mounted below.
        run(
            "mount",
            &[
                "--bind",
                &folder.to_string_lossy(),
                &folder.to_string_lossy(),
            ],
        )?;
        let mut this = Self {
            processes: Vec::new(),
            ctr: binaries::binary("ctr")?,
            folder,
        };
        files::write(control_plane, &this.folder)?;
        for part in PARTS {
            this.start_part(part, control_plane)?;
            if part == "containerd" {
                this.wait_for_containerd().await?;
                let pause = image::archive(PAUSE, &image::pause(&this.folder)?, &this.folder)?;
                this.import(&pause)?;
            }
        }
        this.wait_until_ready(control_plane).await?;
        Ok(this)
    }

    fn start_part(
        &mut self,
        part: &'static str,
        control_plane: &ControlPlane,
    ) -> Result<(), Error> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let args = match part {
            "containerd" => vec![format!("--config={}", file("containerd.toml"))],
            "kubelet" => vec![
                format!("--config={}", file("kubelet.yaml")),
                format!("--kubeconfig={}", file("kubelet.kubeconfig")),
                format!("--hostname-override={NAME}"),
                format!("--root-dir={}", file("kubelet")),
                format!("--cert-dir={}", file("kubelet-pki")),
                format!("--node-ip={ADDRESS}"),
            ],
            _ => vec![format!("--config={}", file("kube-proxy.yaml"))],
        };
        let program = binaries::binary(part)?;
        let log = control_plane.logs_dir().join(format!("{part}.log"));
        // containerd looks for its shim in PATH.
        let path = files::path_with(&[&binaries::binary("containerd-shim-runc-v2")?])?;
        let environment = [("PATH", path.as_os_str())];
        let process = Process::start_with(&program, &args, &environment, &log)?;
        self.processes.push((part, process));
        Ok(())
    }

    /// Imports an image into the node from an archive.
    ///
    /// # Errors
    /// If containerd refuses.
    pub fn import(&self, archive: &Path) -> Result<(), Error> {
        self.run_ctr(&[
            "--namespace=k8s.io",
            "images",
            "import",
            &archive.to_string_lossy(),
        ])
    }

    fn run_ctr(&self, args: &[&str]) -> Result<(), Error> {
        let socket = self.folder.join("containerd.sock");
        let address = format!("--address={}", socket.display());
        run(
            &self.ctr.to_string_lossy(),
            &[&[address.as_str()], args].concat(),
        )
    }

    async fn wait_for_containerd(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        while let Err(error) = self.run_ctr(&["version"]) {
            self.check_parts()?;
            if began.elapsed() > READY {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        let nodes = Api::<core::Node>::all(control_plane.client().await?);
        let began = Instant::now();
        while !nodes
            .get_opt(NAME)
            .await?
            .is_some_and(|node| is_ready(&node))
        {
            self.check_parts()?;
            if began.elapsed() > READY
                && let Some((part, process)) =
                    self.processes.iter().find(|(part, _)| *part == "kubelet")
            {
                return Err(process.error(part, "was not ready in time"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn check_parts(&mut self) -> Result<(), Error> {
        for (part, process) in &mut self.processes {
            if !process.is_running() {
                return Err(process.error(part, "ended"));
            }
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.processes.clear();
        // It is in the test's own mount namespace, and disappears with it in any case.
        let _ = run("umount", &["--lazy", &self.folder.to_string_lossy()]);
    }
}

fn is_ready(node: &core::Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl ControlPlane {
    /// Returns the kubeconfig of a part of a node.
    fn kubeconfig_of_part(
        &self,
        user: &str,
        group: Option<&str>,
    ) -> Result<kube::config::Kubeconfig, Error> {
        let identity = self.authority().identity(user, group, &[])?;
        Ok(self.kubeconfig(&User::Certificate(&identity)))
    }
}
