//! Argo CD's controllers, without its user interface.

use std::{
    env,
    ffi::OsString,
    fs::{self, Permissions},
    iter,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use super::stage::Stage;

/// What Argo CD expects to find when it starts. Its installer makes the same.
const SETTINGS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: argocd}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-rbac-cm, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
---
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: only-for-tests}
---
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{namespace: '*', server: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
";

/// Installs Argo CD's kinds and Belay's settings for it, and starts its controllers.
pub fn start(stage: &mut Stage) {
    let argo_cd = testenv::argo_cd_folder().unwrap_or_else(|error| panic!("{error}"));
    let kinds = argo_cd.join("manifests/crds");
    for kind in ["application", "applicationset", "appproject"] {
        stage.install(&kinds.join(format!("{kind}-crd.yaml")));
    }
    stage.kubectl(&["apply", "-f", "-"], SETTINGS);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/argocd-cm.yaml");
    let ours = ours.display().to_string();
    let patch = ["patch", "configmap", "argocd-cm", "--namespace", "argocd"];
    let merge = ["--type", "merge", "--patch-file", &ours];
    stage.kubectl(&[&patch[..], &merge].concat(), "");

    let program = testenv::binary("argocd").unwrap_or_else(|error| panic!("{error}"));
    let files = stage.folder("argocd");
    let path = path_with_scripts(&argo_cd.join("hack"), &files);
    let environment = [
        ("PATH", path.as_os_str()),
        ("TMPDIR", files.as_os_str()),
        // The cluster that it runs beside is the one of the kubeconfig.
        ("ARGOCD_FAKE_IN_CLUSTER", "true".as_ref()),
        ("ARGOCD_GPG_ENABLED", "false".as_ref()),
        ("ARGOCD_PLUGINSOCKFILEPATH", files.as_os_str()),
    ];
    for command in commands(free_port(), free_port()) {
        let words = command.split_whitespace().map(str::to_owned);
        let args: Vec<String> = words.collect();
        stage.start_process(&program, &args[0], &args, &environment);
    }
}

/// Returns the programs and their flags. Servers that nobody needs get the port 0, which is any free one, or which turns
/// them off. An Application's health follows its pools only with each comparison, which by default takes 2 to 3 minutes.
fn commands(redis: u16, repositories: u16) -> [String; 4] {
    let redis = format!("127.0.0.1:{redis}");
    [
        format!("redis {redis}"),
        format!(
            "argocd-repo-server --address=127.0.0.1 --port={repositories} --disable-tls --client-ca-path= \
             --metrics-address=127.0.0.1 --metrics-port=0 --redis={redis}"
        ),
        format!(
            "argocd-application-controller --namespace=argocd --repo-server=127.0.0.1:{repositories} \
             --repo-server-plaintext --metrics-port=0 --redis={redis} --app-resync=5 --app-resync-jitter=0"
        ),
        format!(
            "argocd-applicationset-controller --namespace=argocd --argocd-repo-server=127.0.0.1:{repositories} \
             --repo-server-plaintext --enable-progressive-syncs --metrics-addr=0 --probe-addr=0 \
             --webhook-addr=127.0.0.1:0"
        ),
    ]
}

/// Copies the script that the repository server runs on each commit, and returns a `PATH` that contains it.
fn path_with_scripts(scripts: &Path, files: &Path) -> OsString {
    const SCRIPT: &str = "git-verify-wrapper.sh";
    let copy = files.join(SCRIPT);
    let text = fs::read(scripts.join(SCRIPT)).expect("Argo CD's script");
    fs::write(&copy, text).expect("written");
    // Files of a module aren't executable.
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("executable");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = iter::once(files.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).expect("a path")
}

/// Returns a free port. Another process may take it first. Then the controller ends, and its log shows this.
fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port").port()
}
