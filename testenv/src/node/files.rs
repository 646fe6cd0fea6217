//! The configuration files of a node's parts.

use std::{env, ffi::OsString, fs, path::Path};

use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::{NAME, PAUSE};
use crate::{ControlPlane, Error, binaries, tried};

/// The address range of the pods.
const PODS: &str = "10.244.0.0/24";

pub(super) fn write(control_plane: &ControlPlane, folder: &Path) -> Result<(), Error> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        tried(
            format!("failed to write {}", path.display()),
            fs::write(&path, text),
        )
    };
    let node = format!("system:node:{NAME}");
    let of_kubelet = control_plane.kubeconfig_of_part(&node, Some("system:nodes"))?;
    let of_proxy = control_plane.kubeconfig_of_part("system:kube-proxy", None)?;
    tried(
        "failed to make a folder",
        fs::create_dir(folder.join("cni")),
    )?;
    write("kubelet.kubeconfig", &text(&of_kubelet))?;
    write("kube-proxy.kubeconfig", &text(&of_proxy))?;
    write("containerd.toml", &containerd(folder)?)?;
    write("cni/bridge.conflist", &network().to_string())?;
    write("kubelet.yaml", &kubelet(control_plane, folder).to_string())?;
    write("kube-proxy.yaml", &proxy(folder).to_string())
}

fn text(kubeconfig: &Kubeconfig) -> String {
    serde_json::to_string_pretty(kubeconfig).unwrap_or_default()
}

/// Returns PATH with the folders of these programs in front.
pub(super) fn path_with(programs: &[&Path]) -> Result<OsString, Error> {
    let folders = programs.iter().filter_map(|program| program.parent());
    let path = env::var_os("PATH").unwrap_or_default();
    let all = folders.map(Path::to_owned).chain(env::split_paths(&path));
    let joined = env::join_paths(all).map_err(std::io::Error::other);
    tried("failed to make a PATH", joined)
}

/// Returns containerd's configuration. Not every environment for tests lets a process lower `oom_score_adj`.
fn containerd(folder: &Path) -> Result<String, Error> {
    let plugins = binaries::binary("bridge")?;
    for plugin in ["host-local", "loopback"] {
        binaries::binary(plugin)?;
    }
    let plugins = plugins.parent().unwrap_or(folder).display();
    let (folder, runc) = (folder.display(), binaries::binary("runc")?);
    Ok(format!(
        r#"version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{plugins}"]
  conf_dir = "{folder}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{}"
  SystemdCgroup = false
"#,
        runc.display()
    ))
}

fn network() -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }]})
}

fn kubelet(control_plane: &ControlPlane, folder: &Path) -> Value {
    let little =
        json!({"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"});
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": control_plane.dir().join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "failSwapOn": false,
        "failCgroupV1": false,
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", folder.display()),
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "evictionHard": little,
    })
}

fn proxy(folder: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": folder.join("kube-proxy.kubeconfig")},
        "hostnameOverride": NAME,
        // Leaves the namespace's own tables as they are.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
