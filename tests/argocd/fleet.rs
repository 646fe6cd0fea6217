//! A repository with clusters in two waves, and the namespace that Argo CD applies it to.

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use belay::api::{Operation, OperationPhase, OperationType};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::{
    repository::Repository,
    stage::{PATIENCE, Stage},
};

/// The clusters of all waves, as files of the repository.
const IN_WAVES: [&str; 3] = [
    "wave-1/dev/cluster.yaml",
    "wave-2/eu/cluster.yaml",
    "wave-2/us/cluster.yaml",
];

pub struct Fleet {
    pub stage: Arc<Stage>,
    pub namespace: String,
    repository: Repository,
}

impl Fleet {
    /// Creates a repository with a cluster in the first wave and two in the second, and applies an example that makes
    /// Argo CD bring them into a namespace. The example's names begin with the namespace.
    pub fn start(stage: &Arc<Stage>, example: &str) -> Self {
        let namespace = stage.new_namespace();
        let repository = Repository::create(stage.repository(&namespace));
        for manifest in IN_WAVES {
            repository.copy(&format!("waves/fleet/{manifest}"), manifest);
        }
        repository.commit();
        let example = Path::new("examples/waves").join(example);
        let example = fs::read_to_string(example).expect("the example");
        let url = format!("{}/{}", stage.git, repository.path());
        let manifest = example
            .replace("https://git.example.com/fleet.git", &url)
            .replace("team-a", &namespace)
            .replace("name: fleet", &format!("name: {namespace}-fleet"))
            .replace(
                "'{{.path.basename}}'",
                &format!("'{namespace}-{{{{.path.basename}}}}'"),
            )
            .replace("30s", "2s");
        stage.kubectl(&["apply", "-f", "-"], &manifest);
        Self {
            stage: stage.clone(),
            namespace,
            repository,
        }
    }

    /// Upgrades the clusters of all waves by one commit. Returns the revision.
    pub fn upgrade(&self) -> String {
        for manifest in IN_WAVES {
            self.repository.replace(manifest, "1.35.7", "1.36.3");
        }
        self.repository.commit()
    }

    /// Makes Argo CD compare an Application with Git, like `argocd app get --refresh`.
    pub fn refresh(&self, application: &str) {
        let name = format!("{}-{application}", self.namespace);
        let refresh = "argocd.argoproj.io/refresh=normal";
        let annotate = ["annotate", "--overwrite", "application", &name, refresh];
        let within = ["--namespace", "argocd"];
        self.stage.kubectl(&[&within[..], &annotate].concat(), "");
    }

    /// Returns the status of an Application. `Null` if there is none yet.
    pub fn application(&self, application: &str) -> Value {
        let name = format!("{}-{application}", self.namespace);
        let get = ["get", "application", &name, "--output", "json"];
        let within = ["--namespace", "argocd"];
        let found = self.stage.try_kubectl(&[&within[..], &get].concat(), "");
        let found = found.ok().and_then(|text| serde_json::from_str(&text).ok());
        found.map_or(Value::Null, |mut found: Value| found["status"].take())
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let within = ["--namespace", &self.namespace];
        self.stage.kubectl(&[&within, args].concat(), "")
    }

    /// Requests the abort of an Operation.
    pub fn abort(&self, operation: &str) {
        let reason = "belay.dev/abort=not now";
        self.kubectl(&["annotate", "operation", operation, reason]);
    }

    /// Returns the Operations of a type, oldest first.
    pub async fn operations(&self, type_: OperationType) -> Vec<Operation> {
        let api = Api::<Operation>::namespaced(self.stage.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await;
        let mut all = list.expect("operations").items;
        all.retain(|operation| operation.spec.type_ == type_);
        all.sort_by_key(|operation| operation.metadata.creation_timestamp.clone());
        all
    }

    /// Returns the clusters that are or were upgraded.
    pub async fn upgraded(&self) -> BTreeSet<String> {
        let upgrades = self.operations(OperationType::Upgrade).await;
        let targets = upgrades.into_iter().map(|upgrade| upgrade.spec.target.name);
        targets.collect()
    }

    /// Waits until the upgrade of a cluster is in this phase. Returns its name.
    pub async fn upgrade_is(&self, cluster: &str, phase: OperationPhase) -> String {
        let upgrade = || async {
            let upgrades = self.operations(OperationType::Upgrade).await;
            let of = |upgrade: &Operation| upgrade.spec.target.name == cluster;
            let is_in_phase = |upgrade: &Operation| {
                upgrade
                    .status
                    .as_ref()
                    .is_some_and(|status| status.phase == phase)
            };
            let found = upgrades
                .into_iter()
                .find(|upgrade| of(upgrade) && is_in_phase(upgrade));
            found.and_then(|upgrade| upgrade.metadata.name)
        };
        let what = format!("the upgrade of {cluster} is {phase:?}");
        self.eventually(&what, || async { upgrade().await.is_some() })
            .await;
        upgrade().await.expect("the upgrade")
    }

    /// Waits until Argo CD reports an Application as synced and healthy.
    pub async fn is_healthy(&self, application: &str) {
        let what = format!("{application} is Synced and Healthy");
        self.eventually(&what, || async {
            let status = self.application(application);
            status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy"
        })
        .await;
    }

    /// Waits until the `ApplicationSet` reports that Applications wait for their step.
    pub async fn waits_for_step(&self, applications: &[&str], step: &str) {
        let set = format!("{}-fleet", self.namespace);
        let get = ["get", "applicationset", &set, "-n", "argocd", "-o", "json"];
        let waits = |statuses: &Value, application: &str| {
            let name = format!("{}-{application}", self.namespace);
            statuses.as_array().into_iter().flatten().any(|status| {
                status["application"] == name
                    && status["status"] == "Waiting"
                    && status["step"] == step
            })
        };
        self.eventually("the Applications wait for their step", || async {
            let set: Value = serde_json::from_str(&self.stage.kubectl(&get, "")).expect("JSON");
            let statuses = &set["status"]["applicationStatus"];
            applications
                .iter()
                .all(|application| waits(statuses, application))
        })
        .await;
    }

    /// No upgrade of the second wave began before that of the first had ended.
    pub async fn every_wave_came_after_the_first(&self) {
        self.one_after_the_other(["dev", "eu"]).await;
        self.one_after_the_other(["dev", "us"]).await;
    }

    /// The upgrade of the second cluster didn't begin before that of the first had ended.
    pub async fn one_after_the_other(&self, [first, second]: [&str; 2]) {
        let upgrades = self.operations(OperationType::Upgrade).await;
        let of = |cluster: &str| {
            let upgrade = upgrades
                .iter()
                .find(|upgrade| upgrade.spec.target.name == cluster);
            let upgrade = upgrade.unwrap_or_else(|| panic!("no upgrade of {cluster}"));
            upgrade.status.clone().expect("a status")
        };
        let (end, start) = (of(first).end_time, of(second).start_time);
        assert!(
            end.is_some() && end <= start,
            "{first} ended {end:?}, {second} began {start:?}"
        );
    }

    /// Waits until Argo CD reports an Application as synced with a revision and healthy.
    pub async fn is_done(&self, application: &str, revision: &str) {
        let what = format!("{application} is Synced and Healthy at {revision}");
        self.eventually(&what, || async {
            let status = self.application(application);
            status["sync"]["status"] == "Synced"
                && status["sync"]["revision"] == revision
                && status["health"]["status"] == "Healthy"
        })
        .await;
    }

    /// Waits until a statement is true. If it doesn't become true, the panic contains the statement.
    pub async fn eventually<F: Future<Output = bool>>(&self, what: &str, is_true: impl Fn() -> F) {
        let started = Instant::now();
        while !is_true().await {
            if started.elapsed() > PATIENCE {
                let seen = self.kubectl(&["get", "mc,ap,op", "-o", "wide"]);
                let tool = [
                    "get",
                    "applicationset,application",
                    "-n",
                    "argocd",
                    "-o",
                    "yaml",
                ];
                let tool = self.stage.kubectl(&tool, "");
                panic!(
                    "{}: this did not become true: {what}\n{seen}\n{tool}",
                    self.namespace
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the versions of the clusters' nodes.
    pub async fn versions(&self) -> Vec<String> {
        let ours = ListParams::default().labels(&format!("belay.dev/namespace={}", self.namespace));
        let nodes = Api::<Node>::all(self.stage.client.clone());
        let version = |node: Node| {
            let version = node.status?.node_info?.kubelet_version;
            Some(version.trim_start_matches('v').to_owned())
        };
        let nodes = nodes.list(&ours).await.expect("nodes").into_iter();
        nodes.filter_map(version).collect()
    }
}
