//! A control plane starts, is real, and leaves nothing behind.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::{
    Api, Client, Config,
    api::{EvictParams, ListParams, PostParams},
    config::KubeConfigOptions,
};
use serde_json::json;
use testenv::{Component, ControlPlane};

/// Waits until `is_so`, and says what was waited for where it never is.
async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_mins(5), "never {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn object<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn create<K>(api: &Api<K>, value: serde_json::Value) -> K
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    api.create(&PostParams::default(), &object(value))
        .await
        .expect("created")
}

/// One that doesn't repeat what is refused with 429, as kube does by itself.
async fn client_that_asks_once(control_plane: &ControlPlane) -> Client {
    let admin = control_plane.kubeconfig_admin();
    let config = Config::from_custom_kubeconfig(admin, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a configuration");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

async fn fake_node(client: &Client) {
    let node =
        json!({"metadata": {"name": "fake-0", "annotations": {"kwok.x-k8s.io/node": "fake"}}});
    create(
        &Api::<k8s_openapi::api::core::v1::Node>::all(client.clone()),
        node,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_deployment_runs_on_a_fake_node_and_a_pdb_refuses_its_eviction() {
    let control_plane = ControlPlane::start().await.expect("a control plane");
    let client = client_that_asks_once(&control_plane).await;
    fake_node(&client).await;
    let labels = json!({"app": "web"});
    create(
        &Api::<k8s_openapi::api::apps::v1::Deployment>::default_namespaced(client.clone()),
        json!({"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}}}),
    )
    .await;
    let budgets = Api::<k8s_openapi::api::policy::v1::PodDisruptionBudget>::default_namespaced(
        client.clone(),
    );
    create(&budgets, json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}})).await;
    let pods = Api::<Pod>::default_namespaced(client);
    let running = || async {
        let list = pods.list(&ListParams::default()).await.expect("pods");
        let is_running = |pod: &Pod| {
            pod.status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                == Some("Running")
        };
        list.items.iter().any(is_running)
    };
    eventually("runs a pod", running).await;
    eventually("counts the pod as healthy", || async {
        let budget = budgets.get("web").await.expect("the budget");
        budget
            .status
            .is_some_and(|status| status.current_healthy == Some(1))
    })
    .await;
    let name = pods.list(&ListParams::default()).await.expect("pods").items[0]
        .metadata
        .name
        .clone()
        .expect("a name");
    let refusal = pods.evict(&name, &EvictParams::default()).await;
    let refusal = refusal.expect_err("the eviction was allowed");
    assert!(
        matches!(&refusal, kube::Error::Api(status) if status.code == 429),
        "{refusal}"
    );
    assert!(
        pods.get(&name)
            .await
            .expect("the pod")
            .metadata
            .deletion_timestamp
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_run_side_by_side() {
    let bare = || {
        ControlPlane::builder()
            .without(Component::ControllerManager)
            .without(Component::Scheduler)
            .without(Component::Kwok)
    };
    let (one, two) = tokio::join!(bare().start(), bare().start());
    let (one, two) = (one.expect("one"), two.expect("two"));
    assert_ne!(one.url(), two.url());
    let namespaces = Api::<Namespace>::all(one.client().await.expect("a client"));
    create(&namespaces, json!({"metadata": {"name": "only-here"}})).await;
    let others = Api::<Namespace>::all(two.client().await.expect("a client"));
    assert!(
        others
            .get_opt("only-here")
            .await
            .expect("an answer")
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_was_killed_comes_back_with_its_data() {
    let mut control_plane = ControlPlane::start().await.expect("a control plane");
    let client = control_plane.client().await.expect("a client");
    let maps = Api::<ConfigMap>::default_namespaced(client);
    create(&maps, json!({"metadata": {"name": "kept"}})).await;
    control_plane.kill(Component::ApiServer);
    control_plane
        .start_again(Component::ApiServer)
        .await
        .expect("started again");
    assert!(maps.get_opt("kept").await.expect("an answer").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_service_account_may_do_only_what_a_role_allows() {
    let control_plane = ControlPlane::start().await.expect("a control plane");
    let account = control_plane
        .kubeconfig_for_service_account("default", "tester")
        .await
        .expect("a token");
    for kubeconfig in [
        control_plane.kubeconfig_for_user("jane", &["developers"]),
        account,
    ] {
        let client = control_plane
            .client_for(&kubeconfig)
            .await
            .expect("a client");
        let refusal = Api::<Pod>::default_namespaced(client)
            .list(&ListParams::default())
            .await
            .expect_err("forbidden");
        assert!(
            matches!(&refusal, kube::Error::Api(status) if status.code == 403),
            "{refusal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_a_drop() {
    let control_plane = ControlPlane::start().await.expect("a control plane");
    let (dir, pids) = (
        control_plane.dir().to_owned(),
        Component::ALL.map(|part| control_plane.pid(part).expect("a pid")),
    );
    drop(control_plane);
    assert!(!dir.exists(), "the folder is left");
    for pid in pids {
        assert!(!runs(pid), "process {pid} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_on_when_its_process_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = Command::new(env!("CARGO_BIN_EXE_testenv"))
        .args(["up", "--kubeconfig"])
        .arg(folder.path().join("kubeconfig"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut ready = String::new();
    BufReader::new(up.stdout.take().expect("its output"))
        .read_line(&mut ready)
        .expect("a line");
    assert!(ready.starts_with("ready: KUBECONFIG="), "{ready}");
    let logs = ready
        .trim()
        .rsplit_once("logs=")
        .expect("a folder")
        .1
        .to_owned();
    let home = Path::new(&logs).parent().expect("a folder").to_owned();
    assert!(!with_text(&home).is_empty(), "nothing ran");
    up.kill().expect("killed");
    up.wait().expect("ended");
    eventually("ended with its process", || async {
        with_text(&home).is_empty()
    })
    .await;
    std::fs::remove_dir_all(home).expect("removed");
}

/// Whether a process of that id runs.
fn runs(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// The processes whose command line names the folder.
fn with_text(folder: &Path) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let text = folder.display().to_string();
    pids.filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains(&text))
    })
    .collect()
}
