//! Two releases of the chart in one cluster, as its README describes: each one manages its own namespaces.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::json;
use testenv::{ControlPlane, Process};

use crate::stage::belay::{KUBECTL_PATIENCE, World};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/belay");

/// A separate control plane, with Helm.
struct Releases {
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
}

impl Releases {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.expect("a control plane");
        let kubeconfig = control_plane.dir().join("admin.kubeconfig");
        let this = Self {
            control_plane,
            kubeconfig,
        };
        for namespace in ["belay-system", "team-a", "team-b"] {
            this.kubectl(&["create", "namespace", namespace]);
        }
        this
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let output = Command::new(testenv::binary(program).expect(program))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.control_plane.dir())
            .args(args)
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let done = self.run("kubectl", args);
        done.unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    fn install(&self, release: &str, values: &[&str]) {
        let install = ["install", release, CHART, "--namespace=belay-system"];
        let installed = self.run("helm", &[&install[..], values].concat());
        installed.unwrap_or_else(|error| panic!("helm install {release}: {error}"));
    }

    /// Runs a release's operator as its Deployment would: for its namespaces, with its account.
    async fn start_operator(&self, release: &str) -> Process {
        let of_deployment = |path: &str| {
            let all = "app.kubernetes.io/instance=".to_owned() + release;
            let path = format!("jsonpath={{.items[0].spec.template.spec.{path}}}");
            let get = [
                "-n",
                "belay-system",
                "get",
                "deployment",
                "-l",
                &all,
                "-o",
                &path,
            ];
            self.kubectl(&get)
        };
        let account = of_deployment("serviceAccountName");
        let watched = of_deployment("containers[0].env[?(@.name=='BELAY_NAMESPACE')].value");
        let granted = self
            .control_plane
            .kubeconfig_for_service_account("belay-system", &account);
        let kubeconfig = granted.await.expect("a token");
        let kubeconfig = self.control_plane.write_kubeconfig(&kubeconfig, release);
        let kubeconfig = kubeconfig.expect("written");
        let environment = [
            ("KUBECONFIG", kubeconfig.as_os_str()),
            ("BELAY_NAMESPACE", watched.as_ref()),
        ];
        let log = self.control_plane.logs_dir().join(format!("{release}.log"));
        let program = Path::new(env!("CARGO_BIN_EXE_belay"));
        Process::start_with(program, &[], &environment, &log).expect("started")
    }

    fn create_cluster(&self, namespace: &str) {
        let manifest = json!({
            "apiVersion": "belay.dev/v1alpha1",
            "kind": "ManagedCluster",
            "metadata": {"name": "demo", "namespace": namespace},
            "spec": {"kubernetesVersion": "1.35.7", "provider": {"kwok": {"nodeProvisioningTime": "0s"}}},
        });
        let file = self.control_plane.dir().join(format!("{namespace}.json"));
        fs::write(&file, manifest.to_string()).expect("written");
        self.kubectl(&["apply", "-f", &file.display().to_string()]);
    }

    fn wait_until_ready(&self, namespace: &str) {
        let wait = ["wait", "managedcluster/demo", "--for=condition=Ready"];
        self.kubectl(&[&["-n", namespace], &wait[..], &[KUBECTL_PATIENCE]].concat());
    }

    /// Whether a release's account may change clusters in a namespace.
    fn may_change(&self, release: &str, namespace: &str) -> bool {
        let account = format!("--as=system:serviceaccount:belay-system:{release}");
        let patch = ["auth", "can-i", "patch", "managedclusters.belay.dev"];
        let status = ["--subresource=status", &account];
        let can_i = [&["-n", namespace], &patch[..], &status].concat();
        self.run("kubectl", &can_i).is_ok()
    }
}

/// Writes the values for the second release from the chart's README to a file, and returns its path.
fn values_of_second(folder: &Path) -> String {
    let page = fs::read_to_string(format!("{CHART}/README.md")).expect("the page");
    let values = page.split("```yaml\n").nth(1).expect("the values");
    let values = values.split("```").next().expect("their end");
    let file = folder.join("second.yaml");
    fs::write(&file, values).expect("written");
    format!("--values={}", file.display())
}

pub async fn two_releases_manage_only_their_own_namespaces(_: Arc<World>) {
    let releases = Releases::start().await;
    releases.install("belay", &["--set=watchNamespaces[0]=team-a"]);
    let values = values_of_second(releases.control_plane.dir());
    releases.install("second", &[&values]);
    for (account, own, others) in [
        ("belay", "team-a", "team-b"),
        ("second-belay", "team-b", "team-a"),
    ] {
        assert!(releases.may_change(account, own), "{account} in {own}");
        assert!(
            !releases.may_change(account, others),
            "{account} in {others}"
        );
    }
    releases.create_cluster("team-a");
    releases.create_cluster("team-b");
    let _first = releases.start_operator("belay").await;
    releases.wait_until_ready("team-a");
    let status = [
        "get",
        "managedcluster",
        "demo",
        "-o",
        "jsonpath={.status.kubernetesVersion}",
    ];
    let other = releases.kubectl(&[&["-n", "team-b"], &status[..]].concat());
    assert_eq!(other, "", "the first release must not work on it");
    let second = releases.start_operator("second").await;
    releases.wait_until_ready("team-b");
    drop(second);
    let uninstall = ["uninstall", "second", "--namespace=belay-system"];
    releases.run("helm", &uninstall).expect("uninstalled");
    // The first release still has the objects that exist only once in a cluster.
    let spec = r#"{"spec":{"kubernetesVersion":"1.36.3"}}"#;
    let patch = [
        "patch",
        "managedcluster",
        "demo",
        "--type=merge",
        "-p",
        spec,
    ];
    releases.kubectl(&[&["-n", "team-a"], &patch[..]].concat());
    let upgraded = "--for=jsonpath={.status.kubernetesVersion}=1.36.3";
    let wait = ["wait", "managedcluster/demo", upgraded, KUBECTL_PATIENCE];
    releases.kubectl(&[&["-n", "team-a"], &wait[..]].concat());
    releases.wait_until_ready("team-b");
}
